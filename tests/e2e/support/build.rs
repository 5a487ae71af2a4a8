//! The surroundings of one build, for tests that work below the command line.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rimg::engine::{BuildCx, Mode, Resources, Scope, Settings};
use rimg::ui::{Event, Renderer, Stamped, Ui};

/// Keeps the messages that a person would see.
#[derive(Clone, Default)]
pub struct Messages(Arc<Mutex<Vec<String>>>);

impl Renderer for Messages {
    fn event(&mut self, stamped: &Stamped) {
        if let Event::Message { text, .. } = &stamped.event {
            self.0.lock().expect("messages").push(text.clone());
        }
    }
}

/// A build of its own, in a folder of its own.
pub struct TestBuild {
    pub cx: BuildCx,
    messages: Messages,
    ui: rimg::ui::UiThread,
}

impl TestBuild {
    pub fn new(dir: &Path) -> TestBuild {
        TestBuild::with(dir, false)
    }

    pub fn with(dir: &Path, force: bool) -> TestBuild {
        let messages = Messages::default();
        let (ui, thread) = Ui::start(vec![Box::new(messages.clone())]);
        let settings = Settings {
            mode: Mode::Live,
            force,
            on_error: Default::default(),
            debug: false,
            script_dir: dir.to_owned(),
            cache_dir: dir.join("cache"),
            state_dir: dir.join("state"),
            work_dir: dir.join("work"),
            abort: Default::default(),
            needs: Default::default(),
        };
        let cx = BuildCx {
            build: "web".into(),
            scope: Scope::new(),
            resources: Resources::new(),
            machines: Default::default(),
            ui: ui.for_build("web"),
            settings: Arc::new(settings),
            step: None,
            steps: Default::default(),
            lane: Default::default(),
            replay: None,
        };
        TestBuild { cx, messages, ui: thread }
    }

    /// Returns the messages so far.
    pub fn messages(&self) -> Vec<String> {
        self.ui.flush();
        self.messages.0.lock().expect("messages").clone()
    }

    /// Removes everything the build still has; nothing may resist.
    pub async fn clean(&self) {
        let failures = self.cx.resources.release_all().await;
        assert!(failures.is_empty(), "{failures:?}");
    }
}
