//! What the tests of media share: the surroundings of a build, and the events that came of it.

use std::sync::{Arc, Mutex};

use crate::engine::{BuildCx, Mode, Resources, Scope, Settings};
use crate::ui::{Event, Renderer, Stamped, Ui, UiThread};

/// Returns the surroundings of a build whose script is in the folder `script` of the temporary one.
pub fn cx() -> (tempfile::TempDir, BuildCx) {
    with_ui(Ui::silent())
}

fn with_ui(ui: Ui) -> (tempfile::TempDir, BuildCx) {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let cx = BuildCx {
        build: "test".into(),
        scope: Scope::new(),
        resources: Resources::new(),
        ui: ui.for_build("test"),
        settings: Arc::new(Settings {
            mode: Mode::Live,
            force: false,
            debug: false,
            script_dir: folder("script"),
            cache_dir: folder("cache"),
            state_dir: folder("state"),
            work_dir: folder("work"),
        }),
        step: None,
    };
    (dir, cx)
}

/// The events of a build, as they come.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Renderer for Recorder {
    fn event(&mut self, stamped: &Stamped) {
        self.0.lock().unwrap().push(stamped.event.clone());
    }
}

impl Recorder {
    /// Returns the surroundings of a build whose events are recorded.
    pub fn cx() -> (tempfile::TempDir, BuildCx, UiThread, Recorder) {
        let recorder = Recorder::default();
        let (ui, thread) = Ui::start(vec![Box::new(recorder.clone())]);
        let (dir, cx) = with_ui(ui);
        (dir, cx, thread, recorder)
    }

    /// Returns what came so far.
    pub fn events(&self, thread: &UiThread) -> Vec<Event> {
        thread.flush();
        self.0.lock().unwrap().clone()
    }
}
