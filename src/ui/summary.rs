//! What a run left and where its time went, once it is over; and its errors, once more and in full.

use std::io::Write;

use super::event::{ArtifactFile, ErrorReport, Event, Level, Stamped};
use super::handle::Renderer;
use super::plain::write_lines;
use super::style::Style;
use super::{error_text, text, units};

/// How many of the slowest operations, and of the steps, are listed.
const SLOWEST: usize = 10;
const STEPS: usize = 40;
/// Operations that are quicker are not worth a line.
const WORTH_A_LINE: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ok,
    Failed,
    Cancelled,
    Skipped,
}

struct Build {
    name: String,
    state: State,
    seconds: f64,
    operations: usize,
    cached: usize,
}

struct Timed {
    build: String,
    what: String,
    ok: bool,
    seconds: f64,
}

struct Made {
    build: String,
    id: String,
    label: String,
    files: Vec<ArtifactFile>,
}

/// Collects events, and writes the closing summary to `out` and the errors to `err`.
pub struct Summary<O, E> {
    out: Option<O>,
    err: E,
    style: Style,
    err_style: Style,
    mode: &'static str,
    builds: Vec<Build>,
    steps: Vec<(u64, Timed)>,
    operations: Vec<Timed>,
    artifacts: Vec<Made>,
    errors: Vec<(Option<String>, ErrorReport)>,
    /// Machines that stay up, by their builds.
    kept: Vec<(String, String, String)>,
    /// What was removed at the ends of builds, and what could not be.
    removed: (usize, usize),
    warnings: usize,
    finished: Option<(bool, f64)>,
    /// Operations replayed, operations done, seconds saved.
    replay: (u64, u64, f64),
}

impl<O: Write + Send, E: Write + Send> Summary<O, E> {
    /// Makes a summary; without `out` it only repeats errors.
    pub fn new(out: Option<O>, err: E, style: Style, err_style: Style) -> Summary<O, E> {
        Summary {
            out,
            err,
            style,
            err_style,
            mode: "",
            builds: Vec::new(),
            steps: Vec::new(),
            operations: Vec::new(),
            artifacts: Vec::new(),
            errors: Vec::new(),
            kept: Vec::new(),
            removed: (0, 0),
            warnings: 0,
            finished: None,
            replay: (0, 0, 0.0),
        }
    }

    fn build(&mut self, name: &str) -> Option<&mut Build> {
        if !self.builds.iter().any(|build| build.name == name) {
            let name = name.to_owned();
            self.builds.push(Build { name, state: State::Running, seconds: 0.0, operations: 0, cached: 0 });
        }
        self.builds.iter_mut().find(|build| build.name == name)
    }

    fn set(&mut self, name: &str, state: State, seconds: f64) {
        if let Some(build) = self.build(name) {
            (build.state, build.seconds) = (state, seconds);
        }
    }

    fn builds_text(&self, lines: &mut Vec<String>) {
        let known: Vec<_> = self.builds.iter().filter(|build| build.state != State::Running).collect();
        if known.is_empty() {
            return;
        }
        self.heading(lines, "Builds");
        let name_width = known.iter().map(|build| text::width(&build.name)).max().unwrap_or(0);
        for build in known {
            let state = match build.state {
                State::Ok => self.style.good("ok       "),
                State::Failed => self.style.bad("failed   "),
                State::Cancelled => self.style.warning("cancelled"),
                State::Running | State::Skipped => self.style.dim("left out "),
            };
            let mut line = format!("  {}  {state}", text::pad(&text::sanitize(&build.name), name_width));
            if build.state != State::Skipped {
                line.push_str(&format!("  {:>8}", units::seconds(build.seconds)));
            }
            match (build.operations, build.cached) {
                (0, _) => {}
                (1, 0) => line.push_str(&self.style.dim("  1 operation")),
                (all, 0) => line.push_str(&self.style.dim(&format!("  {all} operations"))),
                (all, cached) => line.push_str(&self.style.dim(&format!("  {all} operations, {cached} cached"))),
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    fn artifacts_text(&self, lines: &mut Vec<String>) {
        if self.artifacts.is_empty() {
            return;
        }
        self.heading(lines, "Artifacts");
        for made in &self.artifacts {
            lines.push(format!("  {}: {}", text::sanitize(&made.build), made.label));
            // What is no files is known by its ids, one in each region.
            for id in made.id.split(',').filter(|_| made.files.is_empty()) {
                lines.push(format!("    {}", text::sanitize(id)));
            }
            for file in &made.files {
                lines.push(format!("    {}  {}", text::sanitize(&file.path), self.style.dim(&units::size(file.size))));
                for (algorithm, hex) in &file.digests {
                    lines.push(self.style.dim(&format!("      {algorithm}:{hex}")));
                }
            }
        }
    }

    fn kept_text(&self, lines: &mut Vec<String>) {
        if self.kept.is_empty() {
            return;
        }
        self.heading(lines, "Kept machines");
        let mut ways: Vec<(&str, &str)> = Vec::new();
        for (build, machine, shell) in &self.kept {
            lines.push(format!("  {}: {}", text::sanitize(build), text::sanitize(machine)));
            if !ways.contains(&(build, shell)) {
                ways.push((build, shell));
            }
        }
        for (build, shell) in ways {
            lines.push(format!("  a shell in it: {}", text::sanitize(shell)));
            lines.push(format!("  to end it:     rimg gc {}", text::sanitize(build)));
        }
    }

    /// Says what a run that was cancelled has removed.
    fn removed_text(&self) -> String {
        let things = |count: usize| if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") };
        match self.removed {
            (0, 0) => String::new(),
            (gone, 0) => format!(", {} removed", things(gone)),
            (gone, left) => format!(", {} removed, {left} left (rimg gc)", things(gone)),
        }
    }

    fn times_text(&self, lines: &mut Vec<String>) {
        let several = self.builds.iter().filter(|build| build.state != State::Skipped).count() > 1;
        if !self.steps.is_empty() {
            self.heading(lines, "Steps");
            let steps: Vec<&Timed> = self.steps.iter().map(|(_, step)| step).take(STEPS).collect();
            self.table(lines, &steps, several);
            if let Some(more) = self.steps.len().checked_sub(STEPS).filter(|more| *more > 0) {
                lines.push(self.style.dim(&format!("  and {more} more")));
            }
        }
        let mut slowest: Vec<&Timed> = self.operations.iter().filter(|op| op.seconds >= WORTH_A_LINE).collect();
        slowest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        slowest.truncate(SLOWEST);
        if !slowest.is_empty() {
            self.heading(lines, "Slowest operations");
            self.table(lines, &slowest, several);
        }
    }

    fn table(&self, lines: &mut Vec<String>, rows: &[&Timed], several: bool) {
        let name_width = rows.iter().map(|row| text::width(&row.build)).max().unwrap_or(0);
        for row in rows {
            let name = if several { format!("{}  ", text::pad(&row.build, name_width)) } else { String::new() };
            // What was cut short has no duration of its own.
            let (took, verdict) = match (row.ok, row.seconds.is_nan()) {
                (true, _) => (units::seconds(row.seconds), String::new()),
                (false, false) => (units::seconds(row.seconds), self.style.bad("  failed")),
                (false, true) => ("-".to_owned(), self.style.dim("  not finished")),
            };
            lines.push(format!("  {took:>8}  {name}{}{verdict}", text::truncate(&row.what, 80)));
        }
    }

    fn heading(&self, lines: &mut Vec<String>, title: &str) {
        lines.push(String::new());
        lines.push(self.style.bold(title));
    }

    /// Returns what replay was good for; nothing where nothing was replayed.
    fn replayed(&self) -> Option<String> {
        let (replayed, performed, saved) = self.replay;
        let operations = if replayed == 1 { "operation" } else { "operations" };
        (replayed > 0).then(|| {
            let saved = units::seconds(saved);
            format!("{replayed} {operations} replayed, {performed} run, {saved} saved.")
        })
    }

    /// Returns the sentence that says it all.
    fn verdict(&self) -> Option<String> {
        let (ok, seconds) = self.finished?;
        let count = |state| self.builds.iter().filter(|build| build.state == state).count();
        let (done, failed, cancelled) = (count(State::Ok), count(State::Failed), count(State::Cancelled));
        let took = units::seconds(seconds);
        let builds = |n: usize| if n == 1 { "1 build".to_owned() } else { format!("{n} builds") };
        let warnings = match self.warnings {
            0 => String::new(),
            1 => ", 1 warning".to_owned(),
            n => format!(", {n} warnings"),
        };
        let is_cancelled = cancelled > 0 || self.errors.iter().any(|(_, error)| error.kind == "cancelled");
        Some(if ok {
            let verb = if self.mode == "check" { "checked" } else { "done" };
            self.style.good(&format!("{} {verb} in {took}{warnings}.", builds(done)))
        } else if is_cancelled && failed == 0 {
            let removed = self.removed_text();
            self.style.warning(&format!("Cancelled after {took}: {} done{removed}{warnings}.", builds(done)))
        } else if failed > 0 {
            let all = done + failed + cancelled;
            self.style.bad(&format!("{failed} of {} failed after {took}{warnings}.", builds(all)))
        } else {
            self.style.bad(&format!("Failed after {took}{warnings}."))
        })
    }
}

impl<O: Write + Send, E: Write + Send> Renderer for Summary<O, E> {
    fn event(&mut self, stamped: &Stamped) {
        match &stamped.event {
            Event::RunStarted { mode, .. } => self.mode = mode,
            Event::RunFinished { ok, seconds, replayed, performed, saved_seconds } => {
                self.finished = Some((*ok, *seconds));
                self.replay = (*replayed, *performed, *saved_seconds);
            }
            Event::BuildStarted { build } => {
                self.build(build);
            }
            Event::BuildFinished { build, ok, seconds, error } => {
                let state = match error {
                    _ if *ok => State::Ok,
                    Some(error) if error.kind == "cancelled" => State::Cancelled,
                    _ => State::Failed,
                };
                self.set(build, state, *seconds);
                // That a build was cancelled is no news to whoever pressed Ctrl-C.
                if let (Some(error), State::Failed) = (error, state) {
                    self.errors.push((Some(build.clone()), error.clone()));
                }
            }
            Event::BuildSkipped { build } => self.set(build, State::Skipped, 0.0),
            Event::StepStarted { build, id, name, .. } => {
                let what = text::sanitize(name);
                self.steps.push((*id, Timed { build: build.clone(), what, ok: false, seconds: f64::NAN }));
            }
            Event::StepFinished { id, ok, seconds, .. } => {
                if let Some((_, step)) = self.steps.iter_mut().find(|(known, _)| known == id) {
                    (step.ok, step.seconds) = (*ok, *seconds);
                }
            }
            Event::OperationFinished { build, kind, title, ok, cached, seconds, .. } => {
                if let Some(build) = self.build(build) {
                    build.operations += 1;
                    build.cached += usize::from(*cached);
                }
                let what = format!("{kind} {}", text::sanitize(title)).trim_end().to_owned();
                self.operations.push(Timed { build: build.clone(), what, ok: *ok, seconds: *seconds });
                // Only the slowest are ever shown; a run of a million operations must not grow with them.
                if self.operations.len() >= 1000 {
                    self.operations.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
                    self.operations.truncate(SLOWEST);
                }
            }
            Event::Artifact { build, id, kind, builder, files } => {
                let label = if builder == kind { kind.clone() } else { format!("{builder} {kind}") };
                // An artifact that comes again has learnt something: a digest, a checksum file beside it.
                if let Some(known) = self.artifacts.iter_mut().find(|made| {
                    made.build == *build
                        && made.label == label
                        && (made.id == *id || !files.is_empty())
                        && made.files.len() <= files.len()
                        && made.files.iter().zip(files).all(|(known, file)| known.path == file.path)
                }) {
                    known.files.clone_from(files);
                } else {
                    self.artifacts.push(Made { build: build.clone(), id: id.clone(), label, files: files.clone() });
                }
            }
            Event::MachineKept { build, machine, shell, .. } => {
                self.kept.push((build.clone(), machine.clone(), shell.clone()));
            }
            Event::ResourceRemoved { ok: true, .. } => self.removed.0 += 1,
            Event::ResourceRemoved { ok: false, .. } => self.removed.1 += 1,
            Event::Message { level: Level::Warn, .. } => self.warnings += 1,
            Event::Failed { error } => self.errors.push((None, error.clone())),
            _ => {}
        }
    }

    fn finish(&mut self) {
        let mut lines = Vec::new();
        if self.finished.is_some() && self.mode != "inspect" {
            self.builds_text(&mut lines);
            self.artifacts_text(&mut lines);
            self.times_text(&mut lines);
            self.kept_text(&mut lines);
            lines.push(String::new());
        }
        let replayed = self.replayed();
        let verdict = self.verdict().filter(|_| self.mode != "inspect");
        let mut errors = Vec::new();
        for (build, error) in &self.errors {
            let heading = match build {
                Some(build) => format!("error in build {}", text::sanitize(build)),
                None => "error".to_owned(),
            };
            errors.extend(error_text::lines(&heading, error, self.err_style));
            errors.push(String::new());
        }
        if verdict.is_none() || self.out.is_none() {
            errors.pop();
        }
        if let Some(out) = &mut self.out {
            write_lines(out, &lines);
        }
        write_lines(&mut self.err, &errors);
        if let (Some(out), Some(verdict)) = (&mut self.out, verdict) {
            let lines: Vec<String> = replayed.into_iter().chain([verdict]).collect();
            write_lines(out, &lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{Buffer, play, sample};

    #[test]
    fn says_what_was_built_what_it_left_and_where_the_time_went() {
        let (out, err) = (Buffer::default(), Buffer::default());
        play(&mut Summary::new(Some(out.clone()), err.clone(), Style::PLAIN, Style::PLAIN), sample());
        let expected = "
Builds
  web    ok           12.3 s  1 operation
  db     failed        3.2 s  1 operation
  cache  left out

Artifacts
  web: qemu image
    /srv/out/web.qcow2  460 MiB
      sha256:abc123

Steps
     2.0 s  web  install

Slowest operations
     1.5 s  web  run apt-get update

3 operations replayed, 2 run, 41.5 s saved.
1 of 2 builds failed after 15.0 s, 1 warning.
";
        assert_eq!(out.text(), expected);
        assert!(err.text().starts_with("error in build db: web: `apt-get update` ended"), "{}", err.text());
        assert!(err.text().ends_with("hint: look at the guest's network\n\n"), "{}", err.text());
    }

    #[test]
    fn an_error_before_anything_ran_is_all_there_is() {
        let (out, err) = (Buffer::default(), Buffer::default());
        let error = crate::error::Error::new(crate::error::Kind::Usage, "cannot read /x/build.lua").hint("check it");
        let event = Event::Failed { error: error_text::report(&error) };
        play(&mut Summary::new(Some(out.clone()), err.clone(), Style::PLAIN, Style::PLAIN), vec![event]);
        assert_eq!(out.text(), "");
        assert_eq!(err.text(), "error: cannot read /x/build.lua\n  hint: check it\n");
    }

    #[test]
    fn a_cancelled_run_says_so_without_an_error() {
        let (out, err) = (Buffer::default(), Buffer::default());
        let error = error_text::report(&crate::error::Error::new(crate::error::Kind::Cancelled, "cancelled"));
        let events = vec![
            Event::StepStarted { build: "web".into(), id: 1, parent: None, name: "install".into() },
            Event::BuildFinished { build: "web".into(), ok: false, seconds: 1.0, error: Some(error) },
            Event::RunFinished { ok: false, seconds: 2.0, replayed: 0, performed: 0, saved_seconds: 0.0 },
        ];
        play(&mut Summary::new(Some(out.clone()), err.clone(), Style::PLAIN, Style::PLAIN), events);
        let expected = "
Builds
  web  cancelled     1.0 s

Steps
         -  install  not finished

Cancelled after 2.0 s: 0 builds done.
";
        assert_eq!(out.text(), expected);
        assert_eq!(err.text(), "");
    }
}
