//! The handle through which everything speaks, and the thread that listens.
//!
//! Renderers run on one thread of their own, which alone owns the terminal. Senders never block on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::event::{Counter, Event, Level, Stamped, Stream, Unit};
use super::secrets::Secrets;

/// Shows events. All calls come from one thread.
pub trait Renderer: Send {
    /// Shows one event. Its texts are masked already.
    fn event(&mut self, stamped: &Stamped);
    /// Called about ten times a second, for progress lines.
    fn tick(&mut self) {}
    /// Called once, last.
    fn finish(&mut self) {}
}

enum Item {
    Event(Box<Stamped>),
    /// Runs with the terminal quiet (a prompt, a shell), then answers.
    Suspend(Box<dyn FnOnce() + Send>),
    Flush(mpsc::Sender<()>),
}

struct Shared {
    tx: mpsc::Sender<Item>,
    secrets: Secrets,
    next_id: AtomicU64,
}

/// A cheap handle on the user's eyes. Clones share the same renderers and secrets.
#[derive(Clone)]
pub struct Ui {
    shared: Arc<Shared>,
    build: Option<Arc<str>>,
}

/// Owns the renderer thread; [`UiThread::join`] shows what is still queued and ends it.
pub struct UiThread {
    tx: mpsc::Sender<Item>,
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Ui {
    /// Starts the renderer thread.
    pub fn start(mut renderers: Vec<Box<dyn Renderer>>) -> (Ui, UiThread) {
        let (tx, rx) = mpsc::channel::<Item>();
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let handle = |item: Item, renderers: &mut Vec<Box<dyn Renderer>>| match item {
                Item::Event(stamped) => renderers.iter_mut().for_each(|r| r.event(&stamped)),
                Item::Suspend(action) => action(),
                Item::Flush(done) => {
                    let _ = done.send(());
                }
            };
            loop {
                match rx.recv_timeout(Duration::from_millis(100)) {
                    Ok(item) => handle(item, &mut renderers),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        renderers.iter_mut().for_each(|r| r.tick());
                        if stopped.try_recv().is_ok() {
                            break;
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            while let Ok(item) = rx.try_recv() {
                handle(item, &mut renderers);
            }
            renderers.iter_mut().for_each(|r| r.finish());
        });
        let ui = Ui {
            shared: Arc::new(Shared { tx: tx.clone(), secrets: Secrets::default(), next_id: AtomicU64::new(1) }),
            build: None,
        };
        (ui, UiThread { tx, stop, thread })
    }

    /// A handle whose events nobody sees; for tests.
    pub fn silent() -> Ui {
        let (tx, _) = mpsc::channel();
        Ui { shared: Arc::new(Shared { tx, secrets: Secrets::default(), next_id: AtomicU64::new(1) }), build: None }
    }

    /// Returns a handle whose messages, output and progress belong to `build`.
    pub fn for_build(&self, build: &str) -> Ui {
        Ui { shared: self.shared.clone(), build: Some(build.into()) }
    }

    /// Returns the build this handle speaks for, or an empty name for the run itself.
    pub fn build(&self) -> String {
        self.build.as_deref().unwrap_or_default().to_owned()
    }

    /// Returns a number that no other event of this run has.
    pub fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    /// Sends an event, masked and stamped.
    pub fn emit(&self, mut event: Event) {
        self.mask(&mut event);
        let time = jiff::Timestamp::now();
        let stamped = Stamped { time: format!("{time:.3}"), event };
        // Nobody listens any more: the run is over, and so is what there was to say.
        let _ = self.shared.tx.send(Item::Event(Box::new(stamped)));
    }

    pub fn message(&self, level: Level, text: impl Into<String>) {
        self.emit(Event::Message { build: self.build.as_deref().map(str::to_owned), level, text: text.into() });
    }

    pub fn debug(&self, text: impl Into<String>) {
        self.message(Level::Debug, text);
    }

    pub fn info(&self, text: impl Into<String>) {
        self.message(Level::Info, text);
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.message(Level::Warn, text);
    }

    /// Shows one line of a command's output.
    pub fn output(&self, machine: &str, stream: Stream, line: impl Into<String>) {
        self.emit(Event::Output { build: self.build(), machine: machine.to_owned(), stream, line: line.into() });
    }

    /// Begins a piece of work with a counter; it ends when the returned value is dropped.
    pub fn progress(&self, what: impl Into<String>, total: Option<u64>, unit: Unit) -> Progress {
        let id = self.next_id();
        let counter = Counter::default();
        self.emit(Event::ProgressStarted {
            build: self.build.as_deref().map(str::to_owned),
            id,
            what: what.into(),
            total,
            unit,
            counter: counter.clone(),
        });
        Progress { ui: self.clone(), id, counter, started: Instant::now() }
    }

    /// Runs `action` on the renderer thread while nothing else writes to the terminal, and waits for it. Blocking:
    /// call it from `spawn_blocking`.
    pub fn suspend<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tx, rx) = mpsc::channel();
        let run = Box::new(move || {
            let _ = tx.send(action());
        });
        self.shared.tx.send(Item::Suspend(run)).ok()?;
        rx.recv().ok()
    }

    fn mask(&self, event: &mut Event) {
        let secrets = &self.shared.secrets;
        let mask = |text: &mut String| *text = secrets.mask(text);
        let mask_error = |error: &mut super::event::ErrorReport| {
            error.message = secrets.mask(&error.message);
            error.hints.iter_mut().for_each(|h| *h = secrets.mask(h));
            error.traceback.iter_mut().for_each(|t| *t = secrets.mask(t));
            if let Some(excerpt) = &mut error.excerpt {
                *excerpt = secrets.mask(excerpt);
            }
            for value in error.fields.values_mut() {
                if let serde_json::Value::String(text) = value {
                    *text = secrets.mask(text);
                }
            }
        };
        match event {
            Event::Output { line, .. } => mask(line),
            Event::Message { text, .. } => mask(text),
            Event::StepStarted { name, .. } | Event::StepFinished { name, .. } => mask(name),
            Event::OperationStarted { title, .. } | Event::OperationFinished { title, .. } => mask(title),
            Event::ProgressStarted { what, .. } => mask(what),
            Event::BuildFinished { error: Some(error), .. } | Event::Failed { error } => mask_error(error),
            _ => {}
        }
    }
}

impl UiThread {
    /// Waits until everything sent so far is shown.
    pub fn flush(&self) {
        let (tx, rx) = mpsc::channel();
        if self.tx.send(Item::Flush(tx)).is_ok() {
            let _ = rx.recv();
        }
    }

    /// Shows what is queued, ends the renderers and waits for the thread.
    pub fn join(self) {
        self.flush();
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// A piece of work with a counter that a person can watch.
pub struct Progress {
    ui: Ui,
    id: u64,
    counter: Counter,
    started: Instant,
}

impl Progress {
    pub fn add(&self, n: u64) {
        self.counter.add(n);
    }

    pub fn set(&self, n: u64) {
        self.counter.set(n);
    }

    /// Returns the counter itself, for work on another thread.
    pub fn counter(&self) -> Counter {
        self.counter.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ui.emit(Event::ProgressFinished {
            id: self.id,
            done: self.counter.get(),
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}
