//! The handle through which everything speaks, and the thread that listens.
//!
//! Renderers run on one thread of their own, which alone owns the terminal. Senders never block on it; output, of which there
//! may be more than they can show, waits for [`Ui::room`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    /// Called before something else writes to the terminal: progress lines go away until [`Renderer::resume`].
    fn suspend(&mut self) {}
    /// Called when the terminal is the renderer's own again.
    fn resume(&mut self) {}
    /// Called once, last.
    fn finish(&mut self) {}
}

enum Item {
    Event(Box<Stamped>),
    /// Runs with the terminal quiet (a prompt, a shell), then answers.
    Suspend(Box<dyn FnOnce() + Send>),
    Flush(mpsc::Sender<()>),
    Stop,
}

struct Shared {
    tx: mpsc::Sender<Item>,
    secrets: Secrets,
    next_id: AtomicU64,
    waiting: Arc<AtomicUsize>,
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
    thread: std::thread::JoinHandle<()>,
}

/// How often renderers may redraw progress.
const TICK: Duration = Duration::from_millis(100);

/// How many bytes of events may wait for the renderers before output has to wait, too.
const ROOM: usize = 16 << 20;
/// How long it waits before it looks again.
const BEHIND: Duration = Duration::from_millis(5);

/// Returns roughly what an event takes while it waits.
fn weight(event: &Event) -> usize {
    match event {
        Event::Output { line, .. } => 512 + line.len(),
        _ => 512,
    }
}

/// Feeds the renderers until [`Item::Stop`]: a stream of events must not keep the ticks from coming, nor an end wait
/// for one.
fn render(rx: &mpsc::Receiver<Item>, renderers: &mut [Box<dyn Renderer>], waiting: &AtomicUsize) {
    let mut next_tick = Instant::now() + TICK;
    loop {
        match rx.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
            Ok(Item::Event(stamped)) => {
                renderers.iter_mut().for_each(|r| r.event(&stamped));
                waiting.fetch_sub(weight(&stamped.event), Ordering::Relaxed);
            }
            Ok(Item::Suspend(action)) => {
                renderers.iter_mut().for_each(|r| r.suspend());
                action();
                renderers.iter_mut().for_each(|r| r.resume());
            }
            Ok(Item::Flush(done)) => {
                let _ = done.send(());
            }
            Ok(Item::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= next_tick {
            renderers.iter_mut().for_each(|r| r.tick());
            next_tick = Instant::now() + TICK;
        }
    }
    renderers.iter_mut().for_each(|r| r.finish());
}

/// Masks every string in a value.
fn mask_value(secrets: &Secrets, value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = secrets.mask(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mask_value(secrets, item)),
        serde_json::Value::Object(map) => map.values_mut().for_each(|item| mask_value(secrets, item)),
        _ => {}
    }
}

impl Ui {
    /// Starts the renderer thread.
    pub fn start(mut renderers: Vec<Box<dyn Renderer>>) -> (Ui, UiThread) {
        let (tx, rx) = mpsc::channel::<Item>();
        let ui = Ui::of(tx.clone());
        let waiting = ui.shared.waiting.clone();
        let thread = std::thread::spawn(move || render(&rx, &mut renderers, &waiting));
        (ui, UiThread { tx, thread })
    }

    /// A handle whose events nobody sees; for tests.
    pub fn silent() -> Ui {
        Ui::of(mpsc::channel().0)
    }

    fn of(tx: mpsc::Sender<Item>) -> Ui {
        let (secrets, next_id, waiting) = (Secrets::default(), AtomicU64::new(1), Arc::default());
        Ui { shared: Arc::new(Shared { tx, secrets, next_id, waiting }), build: None }
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

    /// Returns the values that are masked everywhere.
    pub fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    /// Sends an event, masked and stamped.
    pub fn emit(&self, mut event: Event) {
        self.mask(&mut event);
        let time = jiff::Timestamp::now();
        let weight = weight(&event);
        let stamped = Stamped { time: format!("{time:.3}"), event };
        self.shared.waiting.fetch_add(weight, Ordering::Relaxed);
        if self.shared.tx.send(Item::Event(Box::new(stamped))).is_err() {
            // Nobody listens any more: the run is over, and so is what there was to say.
            self.shared.waiting.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    /// Waits until the renderers have caught up: what comes faster than it is read, such as a flood of output, waits for
    /// its reader and not in memory.
    pub async fn room(&self) {
        while self.shared.waiting.load(Ordering::Relaxed) > ROOM {
            tokio::time::sleep(BEHIND).await;
        }
    }

    /// Says something to a person.
    pub fn message(&self, level: Level, text: impl Into<String>) {
        self.emit(Event::Message { build: self.build.as_deref().map(str::to_owned), level, text: text.into() });
    }

    /// Says what `--debug` is for.
    pub fn debug(&self, text: impl Into<String>) {
        self.message(Level::Debug, text);
    }

    /// Says what is good to know.
    pub fn info(&self, text: impl Into<String>) {
        self.message(Level::Info, text);
    }

    /// Says what may need attention.
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
            error.fields.values_mut().for_each(|value| mask_value(secrets, value));
        };
        match event {
            Event::Output { line, .. } => mask(line),
            Event::Message { text, .. } => mask(text),
            Event::RunStarted { script, .. } => mask(script),
            Event::Artifact { id, files, .. } => {
                mask(id);
                files.iter_mut().for_each(|file| mask(&mut file.path));
            }
            Event::StepStarted { name, .. } | Event::StepFinished { name, .. } => mask(name),
            Event::ResourceRemoved { name, .. } => mask(name),
            Event::OperationStarted { title, .. } | Event::OperationFinished { title, .. } => mask(title),
            Event::ProgressStarted { what, .. } => mask(what),
            Event::HttpRequest { path, .. } => mask(path),
            Event::BuildFinished { error: Some(error), .. } | Event::Failed { error } => mask_error(error),
            // Names of builds and machines are the script's words for them, by which renderers know what belongs together.
            Event::RunFinished { .. }
            | Event::LeftOver { .. }
            | Event::BuildStarted { .. }
            | Event::BuildFinished { error: None, .. }
            | Event::BuildSkipped { .. }
            | Event::MachineKept { .. }
            | Event::ProgressAdvanced { .. }
            | Event::ProgressFinished { .. } => {}
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
        let _ = self.tx.send(Item::Stop);
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
    /// Advances by `n`.
    pub fn add(&self, n: u64) {
        self.counter.add(n);
    }

    /// Sets what is done so far.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Renderer for Recorder {
        fn event(&mut self, stamped: &Stamped) {
            self.0.lock().unwrap().push(serde_json::to_string(&stamped.event).unwrap());
        }
        fn tick(&mut self) {
            self.0.lock().unwrap().push("tick".into());
        }
        fn finish(&mut self) {
            self.0.lock().unwrap().push("finish".into());
        }
    }

    #[test]
    fn ends_at_once_with_everything_shown_and_masked() {
        let ends = || {
            let recorder = Recorder::default();
            let (ui, thread) = Ui::start(vec![Box::new(recorder.clone())]);
            ui.secrets().add("hunter2");
            let started = Instant::now();
            for n in 0..100 {
                ui.for_build("web").info(format!("{n} hunter2"));
            }
            thread.join();
            let took = started.elapsed();
            let seen = recorder.0.lock().unwrap();
            assert_eq!(seen.len(), 101);
            assert_eq!(seen[99], r#"{"event":"message","build":"web","level":"info","text":"99 ********"}"#);
            assert_eq!(seen[100], "finish");
            took
        };
        // A busy host may take its time now and then, but not always.
        assert!((0..50).any(|_| ends() < TICK), "ending must not wait for a tick");
    }

    #[test]
    fn ticks_come_in_a_stream_of_events() {
        let recorder = Recorder::default();
        let (ui, thread) = Ui::start(vec![Box::new(recorder.clone())]);
        let started = Instant::now();
        while started.elapsed() < TICK * 3 {
            ui.info("busy");
            std::thread::yield_now();
        }
        thread.join();
        assert!(recorder.0.lock().unwrap().iter().any(|line| line == "tick"));
    }

    #[test]
    fn nested_fields_of_errors_are_masked() {
        let secrets = Secrets::default();
        secrets.add("hunter2");
        let mut value = serde_json::json!({ "env": ["A=hunter2", { "b": "hunter2" }], "n": 1 });
        mask_value(&secrets, &mut value);
        assert_eq!(value, serde_json::json!({ "env": ["A=********", { "b": "********" }], "n": 1 }));
    }
}
