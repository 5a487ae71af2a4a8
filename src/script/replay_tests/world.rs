//! A script's folder with a cache of its own, and what a run in it did.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::engine::{Scope, testing::layers};
use crate::error::{Error, Kind};
use crate::script::{Outcome, RunOptions, run};
use crate::ui::{Event, Renderer, Stamped, Ui};

/// A folder with a script, the files that it uses, its outputs, a cache and a log of what reached its machines.
pub struct World {
    dir: tempfile::TempDir,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub outcome: Outcome,
    pub events: Vec<Event>,
    /// What was done to machines: `boot`, `resume`, `save`, `run …`, `upload …`, `download …`, `shutdown`, `capture`.
    pub live: Vec<String>,
}

#[derive(Clone, Default)]
struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
    /// The operation with which the run is to end, counted from 1, and the scope to cancel then.
    cancel: Option<(usize, Scope)>,
    seen: usize,
}

impl Renderer for Recorder {
    fn event(&mut self, stamped: &Stamped) {
        if let Event::OperationStarted { .. } = &stamped.event {
            self.seen += 1;
            if let Some((_, scope)) = self.cancel.as_ref().filter(|(at, _)| *at == self.seen) {
                scope.cancel(Error::new(Kind::Cancelled, "cancelled by a test"));
            }
        }
        self.events.lock().unwrap().push(stamped.event.clone());
    }
}

impl World {
    pub fn new() -> World {
        let world = World { dir: tempfile::Builder::new().prefix("rimg-replay-").tempdir().unwrap() };
        std::fs::create_dir(world.path("cache")).unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the script.
    pub fn file(&self, name: &str, text: &str) -> &World {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn remove(&self, name: &str) -> &World {
        crate::host::atomic::remove(&self.path(name));
        self
    }

    /// Returns what is in a folder: path, mode and content of each thing.
    pub fn tree(&self, name: &str) -> std::collections::BTreeMap<String, String> {
        layers::contents(&self.path(name)).unwrap()
    }

    /// Runs a script.
    pub fn run(&self, source: &str) -> Ran {
        self.run_with(source, |_| {})
    }

    pub fn run_with(&self, source: &str, change: impl FnOnce(&mut RunOptions)) -> Ran {
        self.run_until(source, None, change)
    }

    /// Runs a script, and cancels it when that many operations have been begun.
    pub fn run_until(&self, source: &str, cancel_at: Option<usize>, change: impl FnOnce(&mut RunOptions)) -> Ran {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
        runtime.block_on(self.start(source, cancel_at, change))
    }

    async fn start(&self, source: &str, cancel_at: Option<usize>, change: impl FnOnce(&mut RunOptions)) -> Ran {
        self.file("build.lua", &format!("{PRELUDE}\n{source}"));
        let before = self.live().len();
        let mut options = RunOptions::new(self.path("build.lua"));
        options.cache_dir = Some(self.path("cache"));
        options.state_dir = Some(self.path("state"));
        options.force = true;
        change(&mut options);
        let scope = Scope::new();
        let recorder = Recorder { cancel: cancel_at.map(|at| (at, scope.clone())), ..Recorder::default() };
        let (ui, thread) = Ui::start(vec![Box::new(recorder.clone())]);
        let (outcome, _) = run(options, ui.clone(), scope).await;
        drop(ui);
        thread.join();
        let events = recorder.events.lock().unwrap().clone();
        Ran { outcome, events, live: self.live().split_off(before) }
    }

    fn live(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("live.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What each script begins with, in one line: the lines of errors are those of a test's text, one further down.
const PRELUDE: &str = r#"local rimg = require "rimg" local function machine(options) options = options or {} options.log = "live.log" return rimg.folder(options) end"#;

impl Ran {
    #[track_caller]
    pub fn done(self) -> Ran {
        assert_eq!(self.outcome, Outcome::Done, "{self}");
        self
    }

    #[track_caller]
    pub fn failed(self) -> Ran {
        assert_eq!(self.outcome, Outcome::Failed, "{self}");
        self
    }

    /// Returns how many commands ran whose line contains `text`.
    pub fn ran(&self, text: &str) -> usize {
        self.count("run", text)
    }

    /// Returns how many lines of the log begin with a word and contain `text`.
    pub fn count(&self, word: &str, text: &str) -> usize {
        let begins = |line: &str| line.split(' ').next() == Some(word);
        self.live.iter().filter(|line| begins(line) && line.contains(text)).count()
    }

    /// Fails unless everything was replayed: no machine was made.
    #[track_caller]
    pub fn nothing_ran(self) -> Ran {
        assert!(self.live.is_empty(), "{self}");
        self
    }

    /// Returns what was printed.
    pub fn messages(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Message { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    /// Returns kind and title of the operations that were, or were not, replayed.
    pub fn operations(&self, replayed: bool) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::OperationFinished { kind, title, cached, .. } if *cached == replayed => {
                Some(format!("{kind} {title}"))
            }
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}; done to machines:", self.outcome)?;
        self.live.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        for event in &self.events {
            match event {
                Event::Message { text, .. } => writeln!(f, "message: {text}")?,
                Event::OperationFinished { kind, title, ok, cached, .. } => {
                    writeln!(f, "{kind} {title}: ok {ok}, cached {cached}")?;
                }
                Event::Failed { error } | Event::BuildFinished { error: Some(error), .. } => {
                    writeln!(f, "error: {} {:?} {:?}", error.message, error.location, error.hints)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() && !path.is_symlink() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}
