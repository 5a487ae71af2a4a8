//! How a machine comes to be there: booted, or brought to where its history stands from the nearest checkpoint.

use std::sync::Arc;
use std::time::Instant;

use super::cx::BuildCx;
use super::machine::Builder;
use super::operation_options::OperationOptions;
use super::replay::checkpoints::Held;
use super::replay::history::{History, Place, Step};
use super::replay::lookup::{Found, Wanted};
use super::replay::record::{Outcome, ROOT, Record};
use super::session::{Session, attribute_of};
use super::shown::Shown;
use crate::engine::Operation;
use crate::error::{Error, Kind, Result};
use crate::host::blocking;

/// What is recorded of a machine when it is booted.
const ATTRIBUTES: [&str; 2] = ["host", "user"];

/// Returns one of the machine's attributes as it was recorded.
pub(super) fn recorded(boot: &Record, name: &str) -> Option<serde_json::Value> {
    match &boot.outcome {
        Outcome::Done(value) => value.get(name).cloned(),
        _ => None,
    }
}

impl Session {
    /// Begins a session: asleep where the same machine was booted before, else by booting it. Tells whether it was replayed.
    pub(super) async fn begin(
        builder: Arc<dyn Builder>,
        cx: &BuildCx,
        throwaway: bool,
    ) -> Result<(Arc<Session>, bool)> {
        let kind = builder.kind();
        let identity = match &cx.replay {
            Some(run) => builder.identity(cx).await?.map(|identity| (run.clone(), run.hide(&identity, cx))),
            None => None,
        };
        let Some((run, request)) = identity else {
            let machine = builder.launch(cx, None).await?;
            let name = machine.name().to_owned();
            let session = Arc::new(Session::of(name, Some(builder), None, cx.clone()));
            cx.machines.add(&session);
            session.put(Some(machine)).await;
            session.reach().await?;
            return Ok((session, false));
        };
        let history = Arc::new(History::new(run.clone(), run.owner(&cx.build), kind, !throwaway));
        let session = Arc::new(Session::of(kind.to_owned(), Some(builder), Some(history.clone()), cx.clone()));
        cx.machines.add(&session);
        let operation = Operation::new("boot", kind, &request);
        let options = OperationOptions::default();
        let place = history.place(&cx.lane, "boot", &request);
        let wanted = || Wanted { place: &place, kind: "boot", request: &request, options: &options };
        let find = async || history.find::<serde_json::Value>(wanted(), &operation, cx).await;
        let replay = |found: Found<serde_json::Value>| {
            run.count_replayed(found.record.seconds);
            history.replayed(&place, Step { record: Arc::new(found.record), redo: None });
        };
        let why = match find().await {
            Ok(found) => {
                replay(found);
                return Ok((session, true));
            }
            Err(why) => why,
        };
        let waits = Instant::now();
        let alone =
            run.boot_alone(&place.key.to_string(), || cx.ui.info("Waiting: the same machine is being booted")).await?;
        if let Ok(found) = find().await {
            run.count_resumed(waits.elapsed().as_secs_f64());
            replay(found);
            return Ok((session, true));
        }
        history.explain(&operation, &why, cx);
        let started = Instant::now();
        session.boot(cx).await?;
        let seconds = started.elapsed().as_secs_f64();
        run.count_performed();
        let record = session.record_boot(&history, &place, request.clone(), seconds).await?;
        history.wake(0.0, 0.0);
        history.begin(&place).done(Step { record: Arc::new(record), redo: None }, seconds);
        session.save(&history, None, Some(alone), cx).await;
        Ok((session, false))
    }

    async fn record_boot(
        &self,
        history: &Arc<History>,
        place: &Place,
        request: serde_json::Value,
        seconds: f64,
    ) -> Result<Record> {
        let machine = self.live()?;
        let attributes =
            ATTRIBUTES.iter().filter_map(|name| Some(((*name).to_owned(), attribute_of(&*machine, name)?)));
        let outcome = Outcome::Done(serde_json::Value::Object(attributes.collect()));
        let of = ("boot", history.builder.to_owned(), request);
        let record = Record::new(&history.owner, ROOT, place.key, of, outcome, seconds);
        let (run, written) = (history.run.clone(), record.clone());
        blocking::run(move |_| run.records.write(&written)).await?;
        Ok(record)
    }

    /// Starts a machine from its beginning.
    async fn boot(&self, cx: &BuildCx) -> Result<()> {
        let machine = self.builder()?.launch(&self.inside(cx), None).await?;
        self.put(Some(machine)).await;
        self.reach().await
    }

    fn builder(&self) -> Result<&Arc<dyn Builder>> {
        self.builder.as_ref().ok_or_else(|| Error::new(Kind::Internal, "this machine cannot be made again"))
    }

    /// The surroundings of the build, in the scope of what is going on.
    fn inside(&self, cx: &BuildCx) -> BuildCx {
        BuildCx { scope: cx.scope.clone(), ..self.cx.clone() }
    }

    /// Sees that there is a machine, in the state that its history tells.
    pub(super) async fn wake(self: &Arc<Self>, history: &Arc<History>, cx: &BuildCx) -> Result<()> {
        let _alone = history.waking.lock().await;
        if history.is_live() {
            return Ok(());
        }
        let started = Instant::now();
        let woken = cx.scope.run(self.go_on(history, cx)).await;
        history.run.count_resumed(started.elapsed().as_secs_f64());
        if woken.is_err()
            && let Some(machine) = self.machine()
        {
            self.put(None).await;
            if let Err(error) = machine.destroy().await {
                cx.ui.warn(error.to_string());
            }
        }
        woken
    }

    async fn go_on(self: &Arc<Self>, history: &Arc<History>, cx: &BuildCx) -> Result<()> {
        let began = Instant::now();
        let steps = history.steps();
        let mut from = 0;
        let mut resumed = false;
        for (number, step) in steps.iter().enumerate().rev() {
            if let Some(held) = hold(history, step).await?
                && self.resume(history, step, held, cx).await?
            {
                (from, resumed) = (number, true);
                break;
            }
        }
        let mut booted = None;
        if !resumed {
            booted = self.boot_again(history, steps.first(), cx).await?;
        }
        let redone = Instant::now();
        for step in steps.iter().skip(from + 1) {
            self.redo(history, step, cx).await?;
        }
        let redone = redone.elapsed().as_secs_f64();
        history.wake(began.elapsed().as_secs_f64(), redone);
        // Only where nothing was redone is the machine what its first record says.
        let alone = booted.filter(|_| steps.len() == 1);
        if alone.is_some() || history.is_worth_saving_after(redone) {
            self.save(history, None, alone, cx).await;
        }
        Ok(())
    }

    /// Starts a machine from a checkpoint; false where that one cannot be used.
    async fn resume(&self, history: &Arc<History>, step: &Step, held: Held, cx: &BuildCx) -> Result<bool> {
        let after = step.record.named();
        let shown = Shown::begin(cx, &self.cx.build, self.name(), "resume", &after);
        let inside = self.inside(cx);
        let launched = async {
            let machine = self.builder()?.launch(&inside, Some(&held.checkpoint())).await?;
            self.put(Some(machine)).await;
            self.reach().await
        };
        let launched = launched.await;
        shown.end(launched.is_ok(), false);
        let Err(error) = launched else {
            history.hold(held);
            return Ok(true);
        };
        if cx.scope.is_cancelled() {
            return Err(error);
        }
        cx.ui.warn(format!("the checkpoint after {after} cannot be used and is dropped: {error}"));
        if let Some(machine) = self.machine() {
            self.put(None).await;
            machine.destroy().await?;
        }
        let (run, id) = (history.run.clone(), step.record.id.clone());
        blocking::run(move |_| {
            drop(held);
            run.checkpoints.remove(&id);
            Ok(())
        })
        .await?;
        Ok(false)
    }

    /// Boots a machine that was booted before and of which no checkpoint is left. Returns what keeps other builds from
    /// booting the same.
    async fn boot_again(
        self: &Arc<Self>,
        history: &Arc<History>,
        boot: Option<&Step>,
        cx: &BuildCx,
    ) -> Result<Option<std::fs::File>> {
        let shown = Shown::begin(cx, &self.cx.build, self.name(), "boot", "");
        let booted = async {
            let Some(boot) = boot.filter(|_| history.saves()) else {
                return self.boot(cx).await.map(|()| None);
            };
            let waits = || cx.ui.info("Waiting: the same machine is being booted");
            let alone = history.run.boot_alone(&boot.record.key, waits).await?;
            if let Some(held) = hold(history, boot).await?
                && self.resume(history, boot, held, cx).await?
            {
                return Ok(None);
            }
            self.boot(cx).await.map(|()| Some(alone))
        };
        let booted = booted.await;
        shown.end(booted.is_ok(), false);
        booted
    }

    /// Does an operation again. One that was done before and fails now is an error: what the script was told of it does not
    /// hold for this machine.
    async fn redo(self: &Arc<Self>, history: &Arc<History>, step: &Step, cx: &BuildCx) -> Result<()> {
        let Some(redo) = &step.redo else { return Ok(()) };
        let what = step.record.named();
        let shown = Shown::begin(cx, &self.cx.build, self.name(), "redo", &what);
        let done = redo(self.clone(), cx.clone()).await;
        shown.end(done.is_ok(), false);
        let outcome = history.run.opened(step.record.outcome.clone());
        let failed_before = matches!(outcome, Some(Outcome::Failed(_)));
        match done {
            Err(error) if !failed_before => {
                history.run.records.remove(&step.record);
                Err(error
                    .within(format_args!("{}: doing {what} again, which passed in an earlier run", self.name()))
                    .hint(
                        "its record is dropped: the next run does it, and all that follows, as if for the first time",
                    ))
            }
            _ => Ok(()),
        }
    }

    /// Returns what another machine that goes on from here is made by.
    pub(super) fn forkable(&self) -> Result<(&Arc<History>, &Arc<dyn Builder>)> {
        match (&self.history, &self.builder) {
            (Some(history), Some(builder)) => Ok((history, builder)),
            _ if self.cx.replay.is_none() => {
                let message =
                    format!("{}: fork: machines go on from a checkpoint, and --no-cache keeps none", self.name());
                Err(Error::new(Kind::Usage, message).hint("leave --no-cache out; --fresh does everything anew, too"))
            }
            _ => {
                let message =
                    format!("{}: fork: machines of this builder cannot go on side by side from one point", self.name());
                Err(Error::new(Kind::Unsupported, message)
                    .hint("make each of them from its beginning, in a build of its own"))
            }
        }
    }

    /// Returns another machine that goes on from here; this one stays as it is.
    pub fn fork(self: &Arc<Self>, name: &str, cx: &BuildCx) -> Result<Arc<Session>> {
        if self.is_pretended() {
            return Ok(Session::pretended(name, cx.clone()));
        }
        let (history, builder) = self.forkable()?;
        let history = Arc::new(history.fork(name, &cx.lane));
        let session = Arc::new(Session::of(name.to_owned(), Some(builder.clone()), Some(history), cx.clone()));
        cx.machines.add(&session);
        Ok(session)
    }
}

/// Holds the checkpoint that was taken after a step, where there is one.
async fn hold(history: &Arc<History>, step: &Step) -> Result<Option<Held>> {
    let (run, id, builder) = (history.run.clone(), step.record.id.clone(), history.builder);
    blocking::run(move |_| Ok(run.checkpoints.hold(&id, builder))).await
}
