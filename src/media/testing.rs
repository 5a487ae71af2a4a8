//! What the tests of media share: the surroundings of a build, and the events that came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::engine::{BuildCx, Mode, testing};
use crate::ui::{Event, Renderer, Stamped, Ui, UiThread};

/// Returns the surroundings of a build whose script is in the folder `script` of the temporary one.
pub fn cx() -> (tempfile::TempDir, BuildCx) {
    testing::surroundings(Mode::Live, Ui::silent())
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
        let (dir, cx) = testing::surroundings(Mode::Live, ui.for_build("test"));
        (dir, cx, thread, recorder)
    }

    /// Returns what came so far.
    pub fn events(&self, thread: &UiThread) -> Vec<Event> {
        thread.flush();
        self.0.lock().unwrap().clone()
    }
}

/// Returns every file below a folder by its path from there, with its content.
pub fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}
