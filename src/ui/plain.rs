//! Plain lines, for pipes, files and CI: `build | text`.

use std::io::Write;
use std::time::{Duration, Instant};

use super::event::{Event, Level, Stamped};
use super::handle::Renderer;
use super::lines::{LineOptions, Lines, Times};
use super::progress::Active;
use super::style::Style;
use super::units;

/// How often long work shows a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Writes plain lines.
pub struct Plain<W> {
    out: W,
    lines: Lines,
    work: Vec<(Active, Option<Instant>)>,
}

impl<W: Write + Send> Plain<W> {
    /// Makes a renderer that writes to `out`.
    pub fn new(out: W, timestamps: bool, debug: bool) -> Plain<W> {
        let options = LineOptions {
            style: Style::PLAIN,
            times: if timestamps { Times::Full } else { Times::None },
            level: if debug { Level::Debug } else { Level::Info },
            complete: false,
            aligned: false,
        };
        Plain { out, lines: Lines::new(options), work: Vec::new() }
    }

    fn write(&mut self, lines: &[String]) {
        write_lines(&mut self.out, lines);
    }

    fn progress_finished(&mut self, id: u64, done: u64, seconds: f64) {
        let Some(index) = self.work.iter().position(|(work, _)| work.id == id) else { return };
        let (work, announced) = self.work.swap_remove(index);
        if announced.is_some() {
            let amount = match work.unit {
                super::event::Unit::Bytes => format!("{} in ", units::size(done)),
                super::event::Unit::Files => format!("{done} files in "),
                _ => String::new(),
            };
            let text = format!("{}: {amount}{}", work.what, units::seconds(seconds));
            let lines = self.lines.progress(work.build.as_deref().unwrap_or_default(), &text);
            self.write(&lines);
        }
    }
}

/// Writes lines in one go; whoever stopped reading does not stop the run.
pub(super) fn write_lines(out: &mut impl Write, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let mut text = lines.join("\n");
    text.push('\n');
    // Whoever does not read any more does not want to be told either.
    let _ = try_write(out, &text);
}

/// Writes text at once.
pub(super) fn try_write(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn event(&mut self, stamped: &Stamped) {
        let lines = self.lines.event(stamped);
        self.write(&lines);
        if let Some(work) = Active::new(&stamped.event) {
            self.work.push((work, None));
        }
        if let Event::ProgressFinished { id, done, seconds } = stamped.event {
            self.progress_finished(id, done, seconds);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let mut lines = self.lines.tick(now);
        for (work, announced) in &mut self.work {
            work.sample(now);
            let text = match announced {
                None if work.is_long(now) => format!("{} …", work.what),
                Some(last) if now.duration_since(*last) >= SIGN_OF_LIFE => {
                    format!("{}: {}", work.what, work.numbers(now).trim_start())
                }
                _ => continue,
            };
            *announced = Some(now);
            lines.extend(self.lines.progress(work.build.as_deref().unwrap_or_default(), &text));
        }
        self.write(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{Buffer, play, sample};

    #[test]
    fn one_line_a_thing_under_its_build() {
        let buffer = Buffer::default();
        play(&mut Plain::new(buffer.clone(), false, false), sample());
        let expected = "\
rimg 0.1.0: run /srv/build.lua
web | build started
db | build started
web | install:
web |   run apt-get update
web |     Get:1 http://deb red
web |     warned
web |   run apt-get update (1.5 s)
db | upload /etc/app.conf (0.01 s)
web | install (2.0 s)
db | warning: slow mirror
web | artifact: qemu image
web |     /srv/out/web.qcow2 (460 MiB)
web | build finished in 12.3 s
db | build failed after 3.2 s: web: `apt-get update` ended with status 100
cache | build left out (--only, --except)
";
        assert_eq!(buffer.text(), expected);
    }

    #[test]
    fn timestamps_and_debug_messages_on_demand() {
        let buffer = Buffer::default();
        let debug = Event::Message { build: None, level: Level::Debug, text: "a\nb".into() };
        play(&mut Plain::new(buffer.clone(), true, true), vec![debug.clone()]);
        assert_eq!(buffer.text(), "2026-01-02T03:04:05.678Z a\n2026-01-02T03:04:05.678Z b\n");
        let buffer = Buffer::default();
        play(&mut Plain::new(buffer.clone(), false, false), vec![debug]);
        assert_eq!(buffer.text(), "");
    }

    #[test]
    fn several_machines_of_a_build_are_told_apart() {
        let output = |machine: &str| Event::Output {
            build: "web".into(),
            machine: machine.into(),
            stream: crate::ui::Stream::Stdout,
            line: "x".into(),
        };
        let begun = |machine: &str, id| Event::OperationStarted {
            build: "web".into(),
            id,
            step: None,
            machine: machine.into(),
            kind: "run",
            title: "y".into(),
        };
        let buffer = Buffer::default();
        let events = vec![
            output("localhost"),
            begun("a", 1),
            output("a"),
            output("localhost"),
            begun("b", 2),
            output("b"),
            output("a"),
            output("localhost"),
        ];
        play(&mut Plain::new(buffer.clone(), false, false), events);
        let expected = "\
web |     x
web | run y
web |     x
web |     x
web | [b] run y
web |     [b] x
web |     [a] x
web |     [localhost] x
";
        assert_eq!(buffer.text(), expected);
    }

    #[test]
    fn a_reader_that_went_away_does_not_stop_the_run() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        play(&mut Plain::new(Closed, false, false), sample());
    }
}
