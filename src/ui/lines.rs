//! Events as lines of text under their build's name: what the terminal, a pipe and the log file have in common.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::event::{ArtifactFile, ErrorReport, Event, Level, Stamped, Stream};
use super::style::Style;
use super::{error_text, text, units};

/// How long the line that an operation has started is held back, in the hope of showing one line for it instead of two.
const HELD_BACK: Duration = Duration::from_secs(1);

/// Names up to this width are aligned; a longer one stands out by itself.
const ALIGNED: usize = 24;

/// What stands before each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    None,
    /// `14:03:59`, local time: for a person who watches.
    Clock,
    /// RFC 3339 in UTC: for whoever compares logs.
    Full,
}

/// What [`Lines`] shows, and how.
#[derive(Debug, Clone, Copy)]
pub struct LineOptions {
    pub style: Style,
    pub times: Times,
    /// Messages below this level are left out.
    pub level: Level,
    /// Every event at once and errors in full: for a log, which nobody watches and which has no summary.
    pub complete: bool,
    /// Whether names are padded to the same width.
    pub aligned: bool,
}

/// An operation whose start has not been shown.
struct Held {
    id: u64,
    build: String,
    since: Instant,
    line: String,
}

/// Turns events into lines.
pub struct Lines {
    options: LineOptions,
    /// Columns of the terminal, where lines are wrapped.
    pub columns: Option<usize>,
    names: Vec<String>,
    machines: BTreeMap<String, Vec<String>>,
    depths: BTreeMap<u64, usize>,
    held: Vec<Held>,
    out: Vec<String>,
}

impl Lines {
    /// Makes one that has seen no event.
    pub fn new(options: LineOptions) -> Lines {
        Lines {
            options,
            columns: None,
            names: Vec::new(),
            machines: BTreeMap::new(),
            depths: BTreeMap::new(),
            held: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Returns the lines that show an event; some events have none.
    pub fn event(&mut self, stamped: &Stamped) -> Vec<String> {
        let style = self.options.style;
        let time = stamped.time.as_str();
        match &stamped.event {
            Event::RunStarted { version, script, mode } => {
                let script = text::sanitize(script);
                self.push(time, "", &style.dim(&format!("rimg {version}: {mode} {script}")));
            }
            Event::LeftOver { runs } => {
                let whose = match runs.len() {
                    1 => "an earlier run was killed and".to_owned(),
                    many => format!("{many} earlier runs were killed and"),
                };
                self.push(time, "", &format!("{whose} left something: `rimg gc` removes it, `rimg ps` shows it"));
            }
            Event::RunFinished { ok, seconds, .. } if self.options.complete => {
                let how = if *ok { "finished" } else { "failed" };
                self.push(time, "", &format!("run {how} after {}", units::seconds(*seconds)));
            }
            Event::RunFinished { .. } => {}
            Event::BuildStarted { build } => self.push(time, build, "build started"),
            Event::BuildFinished { build, ok, seconds, error } => {
                self.build_finished(time, build, *ok, *seconds, error.as_ref());
            }
            Event::BuildSkipped { build } => self.push(time, build, &style.dim("build left out (--only, --except)")),
            Event::StepStarted { build, id, parent, name } => {
                let depth = parent.and_then(|parent| self.depths.get(&parent)).map_or(0, |depth| depth + 1);
                self.depths.insert(*id, depth);
                let line = format!("{}{}", "  ".repeat(depth), style.bold(&format!("{}:", text::sanitize(name))));
                self.push(time, build, &line);
            }
            Event::StepFinished { build, id, name, ok, seconds } => {
                let depth = self.depths.remove(id).unwrap_or(0);
                let line = self.finished(depth, &text::sanitize(name), *ok, &units::seconds(*seconds));
                self.push(time, build, &line);
            }
            Event::OperationStarted { build, id, step, machine, kind, title } => {
                self.note_machine(build, machine);
                let depth = step.and_then(|step| self.depths.get(&step)).map_or(0, |depth| depth + 1);
                self.depths.insert(*id, depth);
                let line = format!("{}{}", "  ".repeat(depth), self.operation(build, machine, kind, title));
                if self.options.complete {
                    self.push(time, build, &line);
                } else {
                    self.held.push(Held { id: *id, build: build.clone(), since: Instant::now(), line });
                }
            }
            Event::OperationFinished { build, id, machine, kind, title, ok, cached, seconds } => {
                self.held.retain(|held| held.id != *id);
                let depth = self.depths.remove(id).unwrap_or(0);
                let took = if *cached { "cached".to_owned() } else { units::seconds(*seconds) };
                let line = self.finished(depth, &self.operation(build, machine, kind, title), *ok, &took);
                self.push(time, build, &line);
            }
            Event::Output { build, machine, stream, line } => {
                let line = text::sanitize(line);
                let machine = self.machine_prefix(build, machine);
                let line = match stream {
                    Stream::Stdout => style.dim(&line),
                    Stream::Stderr => line,
                };
                self.push(time, build, &format!("    {machine}{line}"));
            }
            Event::Message { build, level, text } => {
                if *level >= self.options.level {
                    self.message(time, build.as_deref().unwrap_or_default(), *level, text);
                }
            }
            Event::Artifact { build, id, kind, builder, files } => {
                self.artifact(time, build, (id, kind, builder), files)
            }
            Event::ResourceRemoved { build, kind, name, ok, seconds } => {
                if self.options.level <= Level::Debug {
                    let how = if *ok { "removed" } else { "could not be removed" };
                    let line = format!("{kind} {} {how} ({})", text::sanitize(name), units::seconds(*seconds));
                    self.push(time, build, &style.dim(&line));
                }
            }
            Event::MachineKept { build, machine, shell, .. } => {
                let build_name = text::sanitize(build);
                let line = format!(
                    "{} is kept: `{}` opens a shell in it, `rimg gc {build_name}` ends it",
                    text::sanitize(machine),
                    text::sanitize(shell)
                );
                self.push(time, build, &style.warning(&line));
            }
            Event::HttpRequest { build, method, path, status, bytes, .. } => {
                let request = format!("{} {}", text::sanitize(method), text::sanitize(path));
                let line = format!("    http: {request} {status} ({})", units::size(*bytes));
                let line = if *status < 400 { style.dim(&line) } else { line };
                self.push(time, build, &line);
            }
            Event::Failed { error } if self.options.complete => self.error(time, "", "error", error),
            Event::Failed { .. }
            | Event::ProgressStarted { .. }
            | Event::ProgressAdvanced { .. }
            | Event::ProgressFinished { .. } => {}
        }
        std::mem::take(&mut self.out)
    }

    /// Returns the lines that are due because time has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<String> {
        let (due, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held: &Held| now.duration_since(held.since) >= HELD_BACK);
        self.held = held;
        self.show_held(due);
        std::mem::take(&mut self.out)
    }

    fn show_held(&mut self, due: Vec<Held>) {
        for Held { build, line, .. } in due {
            // The moment it is shown is what a reader compares with the lines around it.
            let time = format!("{:.3}", jiff::Timestamp::now());
            self.line(&time, &build, &line);
        }
    }

    /// Returns a line of progress with its build's name, for renderers without a live region.
    pub fn progress(&mut self, build: &str, text: &str) -> Vec<String> {
        let time = format!("{:.3}", jiff::Timestamp::now());
        self.push(&time, build, text);
        std::mem::take(&mut self.out)
    }

    /// Returns what stands before a build's lines, and how wide it is.
    pub fn prefix(&mut self, build: &str) -> (String, usize) {
        if build.is_empty() {
            return (String::new(), 0);
        }
        let index = match self.names.iter().position(|name| name == build) {
            Some(index) => index,
            None => {
                self.names.push(build.to_owned());
                self.names.len() - 1
            }
        };
        let clean = text::sanitize(build);
        let padded = if self.options.aligned {
            let widths = self.names.iter().map(|name| text::width(name)).filter(|width| *width <= ALIGNED);
            text::pad(&clean, widths.max().unwrap_or(0))
        } else {
            clean
        };
        let style = self.options.style;
        let width = text::width(&padded) + 3;
        (format!("{} {} ", style.name(index, &padded), style.dim(style.bar())), width)
    }

    fn build_finished(&mut self, time: &str, build: &str, ok: bool, seconds: f64, error: Option<&ErrorReport>) {
        let style = self.options.style;
        let took = units::seconds(seconds);
        if ok {
            self.push(time, build, &format!("{}{}", style.tick(), style.good(&format!("build finished in {took}"))));
            return;
        }
        let verb = if error.is_some_and(|error| error.kind == "cancelled") { "cancelled" } else { "failed" };
        let line = format!("{}{}", style.cross(), style.bad(&format!("build {verb} after {took}")));
        match error {
            Some(error) if self.options.complete => {
                self.push(time, build, &line);
                self.error(time, build, "error", error);
            }
            Some(error) => {
                let first = text::sanitize(error.message.lines().next().unwrap_or_default());
                self.push(time, build, &format!("{line}: {first}"));
            }
            None => self.push(time, build, &line),
        }
    }

    fn message(&mut self, time: &str, build: &str, level: Level, message: &str) {
        let style = self.options.style;
        for line in message.lines() {
            let line = text::sanitize(line);
            let line = match level {
                Level::Debug => style.dim(&line),
                Level::Info => line,
                Level::Warn => format!("{} {line}", style.warning("warning:")),
                Level::Error => format!("{} {line}", style.bad("error:")),
            };
            self.push(time, build, &line);
        }
    }

    fn artifact(&mut self, time: &str, build: &str, (id, kind, builder): (&str, &str, &str), files: &[ArtifactFile]) {
        let style = self.options.style;
        let label = if builder == kind { kind.to_owned() } else { format!("{builder} {kind}") };
        self.push(time, build, &format!("{} {label}", style.bold("artifact:")));
        for id in id.split(',').filter(|_| files.is_empty()) {
            self.push(time, build, &format!("    {}", text::sanitize(id)));
        }
        for file in files {
            self.push(time, build, &format!("    {} ({})", text::sanitize(&file.path), units::size(file.size)));
        }
    }

    fn error(&mut self, time: &str, build: &str, heading: &str, error: &ErrorReport) {
        for line in error_text::lines(heading, error, self.options.style) {
            self.push(time, build, &line);
        }
    }

    /// Returns an operation in words: the command itself where the kind says nothing more.
    fn operation(&self, build: &str, machine: &str, kind: &str, title: &str) -> String {
        let machine = self.machine_prefix(build, machine);
        let title = text::sanitize(title);
        let style = self.options.style;
        if title.is_empty() { format!("{machine}{kind}") } else { format!("{machine}{} {title}", style.bold(kind)) }
    }

    fn finished(&self, depth: usize, what: &str, ok: bool, took: &str) -> String {
        let style = self.options.style;
        let indent = "  ".repeat(depth);
        if ok {
            format!("{indent}{}{what} {}", style.tick(), style.dim(&format!("({took})")))
        } else {
            format!("{indent}{}{what} {}", style.cross(), style.bad(&format!("(failed, {took})")))
        }
    }

    /// Remembers a build's machines: only when there are several does a line have to say which. What a program of this
    /// host says makes it none.
    fn note_machine(&mut self, build: &str, machine: &str) {
        let machines = self.machines.entry(build.to_owned()).or_default();
        // Post-processing happens on no machine.
        if !machine.is_empty() && !machines.iter().any(|known| known == machine) {
            machines.push(machine.to_owned());
        }
    }

    fn machine_prefix(&self, build: &str, machine: &str) -> String {
        let several = !machine.is_empty() && self.machines.get(build).is_some_and(|machines| machines.len() > 1);
        if several { format!("[{}] ", text::sanitize(machine)) } else { String::new() }
    }

    fn push(&mut self, time: &str, build: &str, line: &str) {
        // What a build's operations began with comes before what they say.
        if self.held.iter().any(|held| held.build == build) {
            let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|held: &Held| held.build == build);
            self.held = held;
            self.show_held(due);
        }
        self.line(time, build, line);
    }

    fn line(&mut self, time: &str, build: &str, line: &str) {
        let clock = match self.options.times {
            Times::None => String::new(),
            Times::Full => format!("{time} "),
            Times::Clock => format!("{} ", self.options.style.dim(&clock(time))),
        };
        let clock_width = match self.options.times {
            Times::None => 0,
            Times::Full => time.len() + 1,
            Times::Clock => 9,
        };
        let (prefix, prefix_width) = self.prefix(build);
        let room = self.columns.map(|columns| columns.saturating_sub(clock_width + prefix_width));
        match room {
            // A line that is longer than the terminal goes on under its own build's name.
            Some(room) if room >= 20 => {
                for piece in wrap_styled(line, room) {
                    self.out.push(format!("{clock}{prefix}{piece}"));
                }
            }
            _ => self.out.push(format!("{clock}{prefix}{line}")),
        }
    }
}

/// Wraps a line that may carry colours: those of a line that has to be wrapped are given up, except when one colour
/// spans it all.
fn wrap_styled(line: &str, columns: usize) -> Vec<String> {
    let bare = text::sanitize(line);
    if text::width(&bare) <= columns {
        return vec![line.to_owned()];
    }
    let indent = " ".repeat(bare.len() - bare.trim_start().len());
    let trimmed = bare.trim_start();
    let dim = line.trim_start().starts_with("\x1b[2m");
    text::wrap(trimmed, columns.saturating_sub(indent.len()).max(10))
        .into_iter()
        .map(|piece| if dim { format!("{indent}\x1b[2m{piece}\x1b[0m") } else { format!("{indent}{piece}") })
        .collect()
}

/// Returns the local wall-clock time of an RFC 3339 timestamp.
fn clock(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(
        |_| "--:--:--".to_owned(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string(),
    )
}
