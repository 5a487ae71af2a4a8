//! A small world for tests of the API: a script folder, a Lua state, and ears for what the user would be told.

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mlua::{Lua, Table};

use crate::engine::{BuildCx, Mode, Resources, Scope, Settings};
use crate::error::Error;
use crate::script::error::find;
use crate::ui::{Event, Renderer, Stamped, Ui, UiThread};

struct Ears(Arc<Mutex<Vec<String>>>);

impl Renderer for Ears {
    fn event(&mut self, stamped: &Stamped) {
        let heard = match &stamped.event {
            Event::Message { level, text, .. } => format!("{} {text}", format!("{level:?}").to_lowercase()),
            Event::Output { stream, line, .. } => format!("{} {line}", format!("{stream:?}").to_lowercase()),
            _ => return,
        };
        self.0.lock().unwrap().push(heard);
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub lua: Lua,
    pub cx: BuildCx,
    heard: Arc<Mutex<Vec<String>>>,
    ui: RefCell<Option<UiThread>>,
}

impl World {
    /// Makes a world for a live run; `register` fills the `rimg` table.
    pub fn new(register: impl Fn(&Lua, &Table) -> mlua::Result<()>) -> World {
        World::with_mode(Mode::Live, register)
    }

    pub fn with_mode(mode: Mode, register: impl Fn(&Lua, &Table) -> mlua::Result<()>) -> World {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("script")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (ui, thread) = Ui::start(vec![Box::new(Ears(heard.clone()))]);
        let settings = Settings {
            mode,
            force: false,
            on_error: Default::default(),
            debug: false,
            script_dir: path("script").canonicalize().unwrap(),
            cache_dir: path("cache"),
            state_dir: path("state"),
            work_dir: path("work"),
            abort: Default::default(),
            needs: Default::default(),
        };
        let cx = BuildCx {
            build: "test".into(),
            scope: Scope::new(),
            resources: Resources::new(),
            machines: Default::default(),
            ui: ui.for_build("test"),
            settings: Arc::new(settings),
            step: None,
            steps: Default::default(),
            lane: Default::default(),
            replay: None,
        };
        let lua = Lua::new();
        let rimg = lua.create_table().unwrap();
        register(&lua, &rimg).unwrap();
        lua.globals().set("rimg", rimg).unwrap();
        World { dir, lua, cx, heard, ui: RefCell::new(Some(thread)) }
    }

    /// Returns the script's folder.
    pub fn script_dir(&self) -> &Path {
        &self.cx.settings.script_dir
    }

    /// Runs `work` as the engine would: on a LocalSet, in the build's surroundings.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, self.cx.clone().enter(work))
    }

    pub fn run<R: mlua::FromLuaMulti>(&self, chunk: &str) -> mlua::Result<R> {
        self.block_on(self.lua.load(chunk).set_name("@test.lua").eval_async())
    }

    /// Runs a chunk that must succeed.
    pub fn ok(&self, chunk: &str) {
        if let Err(error) = self.run::<()>(chunk) {
            panic!("{error}");
        }
    }

    /// Runs a chunk that must fail with one of our errors.
    pub fn err(&self, chunk: &str) -> Error {
        match self.run::<mlua::MultiValue>(chunk) {
            Ok(values) => panic!("it succeeded with {values:?}: {chunk}"),
            Err(error) => find(&error).unwrap_or_else(|| panic!("not one of ours: {error}")).clone(),
        }
    }

    /// Returns what the user was told so far.
    pub fn messages(&self) -> Vec<String> {
        if let Some(thread) = self.ui.borrow().as_ref() {
            thread.flush();
        }
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(thread) = self.ui.take() {
            thread.join();
        }
    }
}
