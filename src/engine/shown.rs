//! An operation as a person sees it: begun, ended, how long it took.

use std::time::Instant;

use super::cx::BuildCx;
use crate::ui::{Event, Ui};

/// An operation that is shown. One that is dropped before its end has failed.
pub struct Shown {
    ui: Ui,
    build: String,
    id: u64,
    machine: String,
    kind: &'static str,
    title: String,
    started: Instant,
    ended: bool,
}

impl Shown {
    /// Shows that an operation begins: of a machine, or of none, for a build, in the step that is going on.
    pub fn begin(cx: &BuildCx, build: &str, machine: &str, kind: &'static str, title: &str) -> Shown {
        let (id, build, machine, title) = (cx.ui.next_id(), build.to_owned(), machine.to_owned(), title.to_owned());
        cx.ui.emit(Event::OperationStarted {
            build: build.clone(),
            id,
            step: cx.step,
            machine: machine.clone(),
            kind,
            title: title.clone(),
        });
        Shown { ui: cx.ui.clone(), build, id, machine, kind, title, started: Instant::now(), ended: false }
    }

    /// Shows that it is over; `cached` tells whether its recorded result was given back.
    pub fn end(mut self, ok: bool, cached: bool) {
        self.finish(ok, cached);
    }

    fn finish(&mut self, ok: bool, cached: bool) {
        self.ended = true;
        self.ui.emit(Event::OperationFinished {
            build: std::mem::take(&mut self.build),
            id: self.id,
            machine: std::mem::take(&mut self.machine),
            kind: self.kind,
            title: std::mem::take(&mut self.title),
            ok,
            cached,
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(false, false);
        }
    }
}
