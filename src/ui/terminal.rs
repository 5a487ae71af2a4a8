//! The terminal: lines that stay, above a region of lines that show what is going on.

use std::io::Write;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::{Event, Level, Stamped};
use super::handle::Renderer;
use super::lines::{LineOptions, Lines, Times};
use super::progress::{Active, SHOWN_AFTER};
use super::style::Style;
use super::{text, units};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

/// An operation or a step that is going on.
struct Operation {
    id: u64,
    build: String,
    text: String,
    started: Instant,
}

/// Which of the two standard outputs the terminal is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    Output,
    Error,
}

/// Owns the terminal.
pub struct Terminal {
    lines: Lines,
    style: Style,
    work: Vec<Active>,
    operations: Vec<Operation>,
    steps: Vec<Operation>,
    live: Live,
    frame: usize,
    suspended: bool,
}

impl Terminal {
    /// Makes a renderer for the terminal.
    pub fn new(on: Standard, style: Style, timestamps: bool, debug: bool) -> Terminal {
        let options = LineOptions {
            style,
            times: if timestamps { Times::Clock } else { Times::None },
            level: if debug { Level::Debug } else { Level::Info },
            complete: false,
            aligned: true,
        };
        Terminal {
            lines: Lines::new(options),
            style,
            work: Vec::new(),
            operations: Vec::new(),
            steps: Vec::new(),
            live: Live::new(on),
            frame: 0,
            suspended: false,
        }
    }

    /// Forgets what an event says has ended.
    fn forget(&mut self, event: &Event) {
        match event {
            Event::ProgressFinished { id, .. } => self.work.retain(|work| work.id != *id),
            Event::OperationFinished { id, .. } => self.operations.retain(|operation| operation.id != *id),
            Event::StepFinished { id, .. } => self.steps.retain(|step| step.id != *id),
            _ => {}
        }
    }

    /// Remembers what an event says has begun.
    fn note(&mut self, event: &Event) {
        let began = |id: &u64, build: &String, text: String| Operation {
            id: *id,
            build: build.clone(),
            text,
            started: Instant::now(),
        };
        match event {
            Event::OperationStarted { build, id, kind, title, .. } => {
                self.operations.push(began(
                    id,
                    build,
                    format!("{kind} {}", text::sanitize(title)).trim_end().to_owned(),
                ));
            }
            Event::StepStarted { build, id, name, .. } => self.steps.push(began(id, build, text::sanitize(name))),
            event => self.work.extend(Active::new(event)),
        }
    }

    /// Makes the live region's lines: counted work first come first, then operations that count nothing, then steps of
    /// builds that show neither.
    fn live_lines(&mut self, columns: usize, rows: usize) -> Vec<String> {
        let now = Instant::now();
        let frame = self.frame;
        let style = self.style;
        let spinner = match style.unicode {
            true => SPINNER.get(frame % SPINNER.len()),
            false => ASCII_SPINNER.get(frame % ASCII_SPINNER.len()),
        };
        let spinner = spinner.copied().unwrap_or_default();
        let mut shown = Vec::new();
        for work in &mut self.work {
            work.sample(now);
            if work.is_long(now) {
                let (prefix, used) = self.lines.prefix(work.build.as_deref().unwrap_or_default());
                shown.push(format!("{prefix}{}", work_line(work, now, columns.saturating_sub(used), style, spinner)));
            }
        }
        let counts = |build: &str| self.work.iter().any(|w| w.build.as_deref() == Some(build) && w.is_long(now));
        // An operation that counts its own work is on the screen already.
        let operations = self.operations.iter().filter(|operation| !counts(&operation.build));
        let innermost = self.steps.iter().enumerate().filter(|(index, step)| {
            let inner = self.steps.iter().skip(index + 1).any(|other| other.build == step.build);
            let busy = self.operations.iter().any(|operation| operation.build == step.build);
            !inner && !busy && !counts(&step.build)
        });
        for operation in operations.chain(innermost.map(|(_, step)| step)) {
            let elapsed = now.duration_since(operation.started);
            if elapsed < SHOWN_AFTER {
                continue;
            }
            let (prefix, used) = self.lines.prefix(&operation.build);
            let took = units::whole_seconds(elapsed.as_secs_f64());
            let room = columns.saturating_sub(used + text::width(&took) + 5);
            let what = text::truncate(&operation.text, room);
            shown.push(format!("{prefix}{} {what}  {}", style.good(spinner), style.dim(&took)));
        }
        // The region must leave room for what it is about.
        let most = (rows / 2).max(1);
        if shown.len() > most {
            let hidden = shown.len() - (most - 1);
            shown.truncate(most - 1);
            shown.push(style.dim(&format!("and {hidden} more")));
        }
        shown
    }
}

/// Returns `what ━━━───  45%  …` in the given columns.
fn work_line(work: &Active, now: Instant, columns: usize, style: Style, spinner: &str) -> String {
    let numbers = work.numbers(now);
    let room = columns.saturating_sub(text::width(&numbers) + 3);
    let bar_columns = if room >= 60 { 24 } else { 12 };
    match work.bar(bar_columns, style) {
        Some(bar) if room >= bar_columns + 16 => {
            let what = text::truncate(&work.what, room - bar_columns - 1);
            format!("{what} {bar} {numbers}")
        }
        _ if room >= 16 => {
            format!("{} {}  {}", style.good(spinner), text::truncate(&work.what, room - 1), style.dim(&numbers))
        }
        _ => {
            let number = work.short_number(now);
            let room = columns.saturating_sub(text::width(&number) + 4);
            let what = text::truncate(&work.what, room);
            if room < 8 {
                return text::truncate(&number, columns);
            }
            format!("{} {what}  {}", style.good(spinner), style.dim(&number))
        }
    }
}

impl Renderer for Terminal {
    fn event(&mut self, stamped: &Stamped) {
        self.lines.columns = Some(self.live.size().0);
        self.forget(&stamped.event);
        let lines = self.lines.event(stamped);
        self.note(&stamped.event);
        self.live.print(&lines);
    }

    fn tick(&mut self) {
        if self.suspended {
            return;
        }
        let (columns, rows) = self.live.size();
        self.lines.columns = Some(columns);
        let lines = self.lines.tick(Instant::now());
        self.live.print(&lines);
        self.frame = self.frame.wrapping_add(1);
        // One column less: writing into the last one makes some terminals wrap.
        let live = self.live_lines(columns.saturating_sub(1), rows);
        self.live.show(&live);
    }

    fn suspend(&mut self) {
        self.suspended = true;
        self.live.show(&[]);
    }

    fn resume(&mut self) {
        self.suspended = false;
    }

    fn finish(&mut self) {
        self.live.show(&[]);
    }
}

fn write(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// The region at the bottom whose lines change in place.
struct Live {
    on: Standard,
    multi: MultiProgress,
    slots: Vec<ProgressBar>,
}

impl Live {
    fn new(on: Standard) -> Live {
        let target = match on {
            Standard::Output => ProgressDrawTarget::stdout(),
            Standard::Error => ProgressDrawTarget::stderr(),
        };
        Live { on, multi: MultiProgress::with_draw_target(target), slots: Vec::new() }
    }

    /// Returns the terminal's columns and rows.
    fn size(&self) -> (usize, usize) {
        let size = match self.on {
            Standard::Output => rustix::termios::tcgetwinsize(std::io::stdout()),
            Standard::Error => rustix::termios::tcgetwinsize(std::io::stderr()),
        };
        size.ok()
            .filter(|size| size.ws_col > 0 && size.ws_row > 0)
            .map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Prints lines that stay, above the region.
    fn print(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if self.slots.is_empty() {
            let mut text = lines.join("\n");
            text.push('\n');
            let _ = match self.on {
                Standard::Output => write(&mut std::io::stdout().lock(), &text),
                Standard::Error => write(&mut std::io::stderr().lock(), &text),
            };
        } else {
            let _ = self.multi.println(lines.join("\n"));
        }
    }

    /// Makes the region show exactly these lines.
    fn show(&mut self, lines: &[String]) {
        while self.slots.len() > lines.len() {
            if let Some(slot) = self.slots.pop() {
                slot.finish_and_clear();
                self.multi.remove(&slot);
            }
        }
        if lines.is_empty() {
            let _ = self.multi.clear();
        }
        while self.slots.len() < lines.len() {
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            self.slots.push(self.multi.add(ProgressBar::new_spinner().with_style(style)));
        }
        for (slot, line) in self.slots.iter().zip(lines) {
            slot.set_message(line.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::event::{Counter, Unit};
    use std::time::Duration;

    const STYLE: Style = Style { color: false, unicode: true };

    fn work(what: &str, counter: &Counter) -> Active {
        Active::new(&Event::ProgressStarted {
            build: Some("web".into()),
            id: 1,
            what: what.into(),
            total: Some(200),
            unit: Unit::Files,
            counter: counter.clone(),
        })
        .unwrap()
    }

    #[test]
    fn a_line_of_progress_fits_any_terminal() {
        let counter = Counter::default();
        counter.set(100);
        let work = work("copying a folder with a rather long 日本 name", &counter);
        let now = work.started + Duration::from_secs(3);
        let expected = "copying a folder with a rath… ━━━━━━──────  50%  100 of 200 files  3 s";
        assert_eq!(work_line(&work, now, 72, STYLE, "⠋"), expected);
        assert!(work_line(&work, now, 120, STYLE, "⠋").contains("日本 name ━━━━━━━━━━━━────────────  50%"));
        assert_eq!(work_line(&work, now, 30, STYLE, "⠋"), "⠋ copying a folder with…  50%");
        for columns in 1..200 {
            assert!(text::width(&work_line(&work, now, columns, STYLE, "⠋")) <= columns, "{columns}");
        }
    }

    #[test]
    fn many_things_at_once_leave_room_and_quick_ones_are_not_shown() {
        let mut terminal = Terminal::new(Standard::Output, STYLE, false, false);
        let now = Instant::now();
        for id in 0..40 {
            let started = if id < 20 { now.checked_sub(Duration::from_secs(5)).unwrap() } else { now };
            terminal.operations.push(Operation { id, build: "web".into(), text: format!("run {id}"), started });
        }
        let shown = terminal.live_lines(80, 24);
        assert_eq!(shown.len(), 12);
        assert_eq!(shown[0], "web │ ⠋ run 0  5 s");
        assert_eq!(shown[11], "and 9 more");
        assert_eq!(terminal.live_lines(80, 100).len(), 20);
    }

    #[test]
    fn a_step_is_shown_only_while_nothing_in_it_is() {
        let mut terminal = Terminal::new(Standard::Output, STYLE, false, false);
        let step = |id, parent, name: &str| Event::StepStarted { build: "web".into(), id, parent, name: name.into() };
        terminal.note(&step(1, None, "outer"));
        terminal.note(&step(2, Some(1), "inner"));
        let later = Instant::now().checked_sub(Duration::from_secs(4)).unwrap();
        terminal.steps.iter_mut().for_each(|step| step.started = later);
        assert_eq!(terminal.live_lines(80, 24), ["web │ ⠋ inner  4 s"]);
        terminal.forget(&Event::StepFinished {
            build: "web".into(),
            id: 2,
            name: "inner".into(),
            ok: true,
            seconds: 4.0,
        });
        assert_eq!(terminal.live_lines(80, 24), ["web │ ⠋ outer  4 s"]);
        terminal.operations.push(Operation { id: 3, build: "web".into(), text: "run x".into(), started: later });
        assert_eq!(terminal.live_lines(80, 24), ["web │ ⠋ run x  4 s"]);
    }
}
