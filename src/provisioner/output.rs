//! A command's output: shown line by line as it comes, captured up to a bound.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::OutputSink;
use crate::ui::{Stream, Ui};

/// How much of each stream a result holds.
const CAPTURE_LIMIT: usize = 16 << 20;
/// How much of each stream is shown, in bytes and in lines; beyond it a person reads nothing, and logs only grow.
const SHOW_LIMIT: u64 = 16 << 20;
const SHOW_LINES: usize = 100_000;
/// How much of one line is shown.
const LINE_LIMIT: usize = 8 << 10;
/// How much of the end is remembered where the capture was cut.
const TAIL: usize = 4 << 10;
/// A progress line that overwrites itself (`\r`) is shown at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Shows and captures the two streams of one command.
pub struct Capture {
    ui: Ui,
    machine: String,
    quiet: bool,
    stdout: Channel,
    stderr: Channel,
}

/// What one stream carried.
#[derive(Debug, Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    /// How many bytes were not kept.
    pub dropped: u64,
    tail: Vec<u8>,
}

/// What both streams carried.
#[derive(Debug, Default)]
pub struct Captured {
    pub stdout: Kept,
    pub stderr: Kept,
}

struct Channel {
    stream: Stream,
    kept: Kept,
    limit: usize,
    shown: u64,
    shown_lines: usize,
    is_full: bool,
    /// The line that has not ended yet, and how many bytes of it were cut.
    pending: Vec<u8>,
    cut: usize,
    /// Whether the pending line ended with a carriage return, so far.
    returned: bool,
    progress_at: Option<Instant>,
}

impl Capture {
    /// Makes a capture whose lines are shown as `machine`'s unless it is `quiet`.
    pub fn new(ui: Ui, machine: &str, quiet: bool) -> Capture {
        Capture {
            ui,
            machine: machine.to_owned(),
            quiet,
            stdout: Channel::new(Stream::Stdout),
            stderr: Channel::new(Stream::Stderr),
        }
    }

    /// Shows what did not end with a line end, and returns what was captured.
    pub fn finish(mut self) -> Captured {
        for channel in [&mut self.stdout, &mut self.stderr] {
            if let Some(line) = channel.take_line().filter(|_| !self.quiet) {
                self.ui.output(&self.machine, channel.stream, line);
            }
            if channel.kept.dropped > 0 {
                self.ui.warn(format!(
                    "the command wrote more than {} MiB to {}; the result holds only the first {0} MiB",
                    channel.limit >> 20,
                    match channel.stream {
                        Stream::Stdout => "stdout",
                        Stream::Stderr => "stderr",
                    },
                ));
            }
        }
        Captured { stdout: self.stdout.kept, stderr: self.stderr.kept }
    }

    fn feed(ui: &Ui, machine: &str, quiet: bool, channel: &mut Channel, bytes: &[u8]) {
        channel.kept.push(bytes, channel.limit);
        if quiet || channel.is_full {
            return;
        }
        let (stream, mut lines) = (channel.stream, channel.shown_lines);
        channel.lines(bytes, |line| {
            lines += 1;
            if lines <= SHOW_LINES {
                ui.output(machine, stream, line);
            }
        });
        channel.shown += bytes.len() as u64;
        channel.shown_lines = lines;
        if lines > SHOW_LINES || channel.shown > SHOW_LIMIT {
            let most = format!("{SHOW_LINES} lines or {} MiB", SHOW_LIMIT >> 20);
            ui.output(machine, stream, format!("[more than {most} of output: the rest is not shown]"));
            channel.is_full = true;
            channel.pending.clear();
        }
    }
}

#[async_trait]
impl OutputSink for Capture {
    fn stdout(&mut self, bytes: &[u8]) {
        Self::feed(&self.ui, &self.machine, self.quiet, &mut self.stdout, bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        Self::feed(&self.ui, &self.machine, self.quiet, &mut self.stderr, bytes);
    }

    async fn room(&mut self) {
        self.ui.room().await;
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.bytes.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.bytes.extend_from_slice(kept);
        if rest.is_empty() {
            return;
        }
        self.dropped += rest.len() as u64;
        self.tail.extend_from_slice(rest.get(rest.len().saturating_sub(TAIL)..).unwrap_or(rest));
        if self.tail.len() > 4 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    /// Returns what was kept as text, invalid UTF-8 replaced.
    pub fn into_text(self) -> String {
        String::from_utf8(self.bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    fn last_lines(&self, count: usize) -> String {
        let bytes = if self.dropped > 0 { &self.tail } else { &self.bytes };
        let text = String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes));
        let lines: Vec<&str> =
            text.lines().map(|l| l.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("")).collect();
        let lines: Vec<&str> = lines.into_iter().filter(|l| !l.trim().is_empty()).collect();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }
}

impl Captured {
    /// Tells whether some of it was not kept.
    pub fn truncated(&self) -> bool {
        self.stdout.dropped > 0 || self.stderr.dropped > 0
    }

    /// Returns the last lines of stderr, or of stdout when stderr is empty.
    pub fn last_lines(&self, count: usize) -> String {
        match self.stderr.last_lines(count) {
            text if text.is_empty() => self.stdout.last_lines(count),
            text => text,
        }
    }
}

impl Channel {
    fn new(stream: Stream) -> Channel {
        Channel {
            stream,
            kept: Kept::default(),
            limit: CAPTURE_LIMIT,
            shown: 0,
            shown_lines: 0,
            is_full: false,
            pending: Vec::new(),
            cut: 0,
            returned: false,
            progress_at: None,
        }
    }

    /// Calls `show` for each line that ends within `bytes`.
    fn lines(&mut self, bytes: &[u8], mut show: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (content, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), content)) => (content, Some(*end)),
                _ => (piece, None),
            };
            if self.returned && !content.is_empty() {
                // The line is being overwritten: a progress display.
                self.returned = false;
                let due = self.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY);
                match self.take_line() {
                    Some(line) if due => {
                        self.progress_at = Some(Instant::now());
                        show(line);
                    }
                    _ => {}
                }
            }
            let room = LINE_LIMIT.saturating_sub(self.pending.len()).min(content.len());
            self.pending.extend_from_slice(content.get(..room).unwrap_or(content));
            self.cut += content.len() - room;
            match end {
                Some(b'\n') => {
                    self.returned = false;
                    show(self.take_line().unwrap_or_default());
                }
                Some(_) => self.returned = true,
                None => {}
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let (pending, cut) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.cut));
        if pending.is_empty() {
            return None;
        }
        let mut line = String::from_utf8_lossy(&pending).into_owned();
        if cut > 0 {
            line.push_str(&format!(" … ({cut} bytes more)"));
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut channel = Channel::new(Stream::Stdout);
        let mut shown = Vec::new();
        for piece in pieces {
            channel.lines(piece, |line| shown.push(line));
        }
        shown.extend(channel.take_line());
        shown
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        assert_eq!(lines(&[b"one\ntw", b"o\r", b"\nthree"]), ["one", "two", "three"]);
        assert_eq!(lines(&[b"gr\xc3", b"\xbc\xc3\x9fe\n", b"\n", b"\xff\n"]), ["grüße", "", "\u{fffd}"]);
    }

    #[test]
    fn a_progress_line_is_shown_now_and_then_and_at_its_end() {
        let mut bytes = Vec::new();
        for percent in 0..=100 {
            bytes.extend_from_slice(format!("{percent}%\r").as_bytes());
        }
        bytes.extend_from_slice(b"\ndone\n");
        assert_eq!(lines(&[&bytes]), ["0%", "100%", "done"]);
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let long = vec![b'x'; LINE_LIMIT + 100];
        let shown = lines(&[&long, b"\nnext\n"]);
        assert_eq!(shown[0].len(), LINE_LIMIT + " … (100 bytes more)".len());
        assert_eq!(shown[1], "next");
    }

    #[test]
    fn a_capture_is_bounded_and_remembers_the_end() {
        let mut capture = Capture::new(Ui::silent(), "vm", true);
        capture.stdout.limit = 1000;
        for n in 0..5000 {
            capture.stdout(format!("line {n}\n").as_bytes());
        }
        let captured = capture.finish();
        assert_eq!(captured.stdout.bytes.len(), 1000);
        assert!(captured.truncated());
        assert!(captured.stdout.tail.len() <= 4 * TAIL);
        assert_eq!(captured.last_lines(2), "line 4998\nline 4999");
    }

    proptest! {
        #[test]
        fn cutting_elsewhere_changes_nothing(text in "[a-zé\r\n]{0,60}", at in 0usize..60) {
            let bytes = text.as_bytes();
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(lines(&[bytes]), lines(&[a, b]));
        }
    }
}
