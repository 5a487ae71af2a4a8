//! What one run of one script shares: kept in the Lua state's application data.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Function, Lua, Table};
use tokio::task::JoinHandle;

use super::builds::Build;
use super::loader::Modules;
use super::variables::Variables;
use crate::engine::journal::Journal;
use crate::engine::schedule::{Schedule, Selection};
use crate::engine::{BuildCx, Scope, Settings};
use crate::ui::Ui;

/// The shared state of a run; one thread, many coroutines.
pub struct State {
    pub settings: Arc<Settings>,
    pub ui: Ui,
    /// The run's own scope: only a person (or a signal) cancels it.
    pub scope: Scope,
    /// The surroundings of the main chunk; its scope is inside the run's.
    pub main: BuildCx,
    /// Whether the main chunk has done work of its own, which makes it a build.
    pub main_worked: Cell<bool>,
    /// Whether the world was touched: a program run, a file written, something asked for over the network.
    pub acted: Cell<bool>,
    /// Whether a machine that only answers "done" was handed out (`rimg check`).
    pub pretended: Cell<bool>,
    /// Whether a build that fails stops the others.
    pub fail_fast: bool,
    pub schedule: Arc<Schedule>,
    pub selection: Selection,
    pub variables: Variables,
    pub journal: Option<Arc<Journal>>,
    pub builds: RefCell<Vec<Rc<Build>>>,
    /// The tasks of the builds that were started and are not waited for yet, in order.
    pub tasks: RefCell<VecDeque<JoinHandle<()>>>,
    /// The source of every chunk that was loaded, by the name Lua shows for it.
    pub sources: RefCell<BTreeMap<String, String>>,
    /// Where `require` looks besides the script's folder.
    pub modules: Modules,
    /// `trampoline` of the prelude.
    pub trampoline: OnceCell<Function>,
    /// `flow` of the prelude: step, timeout, parallel, retry, apply.
    pub flow: OnceCell<Table>,
}

/// Returns the state of the run that this Lua state belongs to.
pub fn of(lua: &Lua) -> mlua::Result<Rc<State>> {
    lua.app_data_ref::<Rc<State>>()
        .map(|state| state.clone())
        .ok_or_else(|| mlua::Error::runtime("rimg's runtime is not set up"))
}

/// Returns a function of the prelude's control flow.
pub fn flow(lua: &Lua, name: &str) -> mlua::Result<Function> {
    of(lua)?.flow.get().ok_or_else(|| mlua::Error::runtime("the prelude is not loaded"))?.get(name)
}

impl State {
    /// Returns the surroundings of the code that runs now; the main chunk's outside of any build.
    pub fn current(&self) -> BuildCx {
        BuildCx::current().unwrap_or_else(|| self.main.clone())
    }

    /// Writes down that work is about to be done; the main chunk becomes a build by it.
    pub fn begin_work(&self) {
        self.acted.set(true);
        if self.current().build == self.main.build && !self.main_worked.replace(true) {
            self.ui.emit(crate::ui::Event::BuildStarted { build: self.main.build.to_string() });
        }
    }

    /// Returns the build of that name.
    pub fn build(&self, name: &str) -> Option<Rc<Build>> {
        self.builds.borrow().iter().find(|build| build.name() == name).cloned()
    }
}
