//! What every room's unit tests stand on: the surroundings of a build, and a machine that is a folder on this host.

pub mod folder;
pub mod guest;
pub mod layers;

use std::sync::Arc;

use super::{BuildCx, Mode, Resources, Scope, Settings};
use crate::ui::Ui;

/// Returns the surroundings of a build named `test` in a folder of its own, where `script`, `cache`, `state` and `work` are.
pub fn surroundings(mode: Mode, ui: Ui) -> (tempfile::TempDir, BuildCx) {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().canonicalize().unwrap().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let settings = Settings {
        mode,
        force: false,
        on_error: Default::default(),
        debug: false,
        script_dir: folder("script"),
        cache_dir: folder("cache"),
        state_dir: folder("state"),
        work_dir: folder("work"),
        abort: Default::default(),
        needs: Default::default(),
    };
    let cx = BuildCx {
        build: "test".into(),
        scope: Scope::new(),
        resources: Resources::new(),
        machines: Default::default(),
        ui,
        settings: Arc::new(settings),
        step: None,
        steps: Default::default(),
        lane: Default::default(),
        replay: None,
    };
    (dir, cx)
}
