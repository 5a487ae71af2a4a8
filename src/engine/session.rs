//! A machine in use by a build: its connection, its state, its beginning and its end. What is done to it in between goes
//! through the door (`door`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

use super::artifact::Artifact;
use super::communicator::Communicator;
use super::cx::BuildCx;
use super::limits::watch_health;
use super::machine::{Builder, CaptureSpec, Machine, Shutdown};
use super::operation::Operation;
use super::replay::history::History;
use super::shown::Shown;
use crate::error::{Error, Kind, Result};

/// A machine that a build works on. It may be asleep: as long as all that is asked for was recorded, there is no machine.
pub struct Session {
    /// None where it is asleep, or only pretended.
    machine: Mutex<Option<Arc<dyn Machine>>>,
    /// What makes it; none where it was made otherwise (tests).
    pub(super) builder: Option<Arc<dyn Builder>>,
    /// What was done to it; none where nothing is ever replayed.
    pub(super) history: Option<Arc<History>>,
    pretended: bool,
    /// The name in output and errors.
    name: String,
    pub(super) cx: BuildCx,
    connection: tokio::sync::Mutex<Option<Arc<dyn Communicator>>>,
    ended: AtomicBool,
    /// Whether what is done to it is no part of its history any more: the build has failed.
    unrecorded: AtomicBool,
    notes: Mutex<BTreeMap<&'static str, serde_json::Value>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Takes a machine into use.
    pub fn new(machine: Arc<dyn Machine>, cx: BuildCx) -> Arc<Session> {
        let name = machine.name().to_owned();
        Arc::new(Session { machine: Mutex::new(Some(machine)), ..Session::of(name, None, None, cx) })
    }

    /// Makes one without a machine.
    pub(super) fn of(
        name: String,
        builder: Option<Arc<dyn Builder>>,
        history: Option<Arc<History>>,
        cx: BuildCx,
    ) -> Session {
        Session {
            machine: Mutex::default(),
            builder,
            history,
            pretended: false,
            name,
            cx,
            connection: tokio::sync::Mutex::default(),
            ended: AtomicBool::new(false),
            unrecorded: AtomicBool::new(false),
            notes: Mutex::default(),
        }
    }

    /// Makes, starts and reaches a machine, or finds that it was booted before and leaves it asleep. In `rimg check` it is
    /// only pretended, after its options were checked. Of a machine that is thrown away no checkpoints are taken.
    pub async fn launch(builder: Arc<dyn Builder>, cx: BuildCx, throwaway: bool) -> Result<Arc<Session>> {
        let kind = builder.kind();
        for warning in builder.validate(&cx).map_err(|e| e.within(format_args!("rimg.{kind}")))? {
            cx.ui.warn(format!("rimg.{kind}: {warning}"));
        }
        if !cx.settings.is_live() {
            return Ok(Arc::new(Session { pretended: true, ..Session::of(kind.to_owned(), Some(builder), None, cx) }));
        }
        let shown = Shown::begin(&cx, &cx.build, kind, "boot", "");
        let begun = cx.scope.run(Session::begin(builder, &cx, throwaway)).await;
        let cached = begun.as_ref().is_ok_and(|(_, replayed)| *replayed);
        shown.end(begun.is_ok(), cached);
        begun.map(|(session, _)| session).map_err(|e| e.within(format_args!("rimg.{kind}")))
    }

    /// A machine that answers "done" to everything (`rimg check`).
    pub fn pretended(name: impl Into<String>, cx: BuildCx) -> Arc<Session> {
        Arc::new(Session { pretended: true, ..Session::of(name.into(), None, None, cx) })
    }

    /// Returns the machine's name in output and errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the surroundings of the build that the machine belongs to.
    pub fn cx(&self) -> &BuildCx {
        &self.cx
    }

    /// Tells whether it answers "done" to everything (`rimg check`).
    pub fn is_pretended(&self) -> bool {
        self.pretended
    }

    /// Tells whether its operations are known by what they ask for, so that they may be replayed.
    pub fn replays(&self) -> bool {
        self.history.is_some()
    }

    /// Says that nothing that is done from now on is recorded, or replayed.
    pub fn stop_recording(&self) {
        self.unrecorded.store(true, Ordering::Release);
    }

    pub(super) fn is_unrecorded(&self) -> bool {
        self.unrecorded.load(Ordering::Acquire)
    }

    /// Tells whether it has been shut down or finished.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Returns the machine; none where there is none now.
    pub fn machine(&self) -> Option<Arc<dyn Machine>> {
        lock(&self.machine).clone()
    }

    /// Puts a machine, or none, in the place of the one there was, which is no longer talked to.
    pub(super) async fn put(&self, machine: Option<Arc<dyn Machine>>) {
        self.disconnect().await;
        *lock(&self.machine) = machine;
    }

    /// Returns the live machine, for the inside of an operation's action.
    pub fn live(&self) -> Result<Arc<dyn Machine>> {
        self.machine().ok_or_else(|| Error::new(Kind::Internal, "a machine that is not there was asked to act"))
    }

    /// Returns what a machine is known by: its `host`, `port`, `user` or `id`. The first and the third were recorded with
    /// the boot; for the others there must be a machine, and what is done with them is not known here: nothing after them
    /// is replayed.
    pub async fn attribute(self: &Arc<Self>, name: &str) -> Result<Option<serde_json::Value>> {
        if let Some(history) = &self.history
            && self.machine().is_none()
            && !self.has_ended()
        {
            if matches!(name, "host" | "user") {
                return Ok(history.steps().first().and_then(|boot| super::waking::recorded(&boot.record, name)));
            }
            history.stop_replaying(format!("the script asks for the machine's {name}"));
            let cx = BuildCx::current().unwrap_or_else(|| self.cx.clone());
            self.wake(history, &cx).await.map_err(|e| e.within(format_args!("{}: {name}", self.name)))?;
        }
        Ok(self.machine().and_then(|machine| attribute_of(machine.as_ref(), name)))
    }

    /// Returns what was noted about the machine under a name, such as its facts.
    pub fn noted(&self, name: &str) -> Option<serde_json::Value> {
        lock(&self.notes).get(name).cloned()
    }

    /// Notes something about the machine until it reboots.
    pub fn note(&self, name: &'static str, value: serde_json::Value) {
        lock(&self.notes).insert(name, value);
    }

    /// Forgets all notes: the machine may be another one now.
    pub fn forget_notes(&self) {
        lock(&self.notes).clear();
    }

    /// Returns the connection, made now if there is none or if the one there was is gone.
    pub async fn communicator(&self) -> Result<Arc<dyn Communicator>> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            if connection.closed().now_or_never().is_none() {
                return Ok(connection.clone());
            }
            if let Some(gone) = slot.take() {
                gone.close().await;
            }
        }
        let connection = self.live()?.connect(&self.cx).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Drops the connection, so that the next operation makes a new one.
    pub async fn disconnect(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// Makes the first connection to a machine that has just been started.
    pub(super) async fn reach(&self) -> Result<()> {
        let machine = self.live()?;
        match machine.has_communicator() {
            true => watch_health(machine.health(), false, self.communicator()).await.map(drop)?,
            false => return Ok(()),
        }
        if let Some(resource) = machine.resource() {
            let written = machine.access().and_then(|access| {
                access.map(|access| access.sealed(machine.as_ref(), &self.cx.settings.state_dir)).transpose()
            });
            match written {
                Ok(way) => way.into_iter().for_each(|way| self.cx.resources.has_way(resource, way)),
                Err(error) => self.cx.ui.warn(format!("`rimg ssh` will not get into this machine: {error}")),
            }
        }
        Ok(())
    }

    /// Shuts the machine down and forgets its connection.
    pub async fn shutdown(self: &Arc<Self>, command: Option<&str>, timeout: Option<Duration>) -> Result<()> {
        self.shut_down(command, timeout, || Ok(())).await
    }

    async fn shut_down(
        self: &Arc<Self>,
        command: Option<&str>,
        timeout: Option<Duration>,
        check: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let request = serde_json::json!({ "shutdown_command": command, "machine": self.ending() });
        let operation = Operation::new("shutdown", command.unwrap_or_default(), request);
        let operation = operation.survives_death().limits_itself();
        let command = command.map(str::to_owned);
        self.perform_after(operation, check, move |session| {
            let command = command.clone();
            async move {
                let communicator = match command {
                    Some(_) => Some(session.communicator().await?),
                    None => session.connection.lock().await.clone(),
                };
                let how = Shutdown { command: command.as_deref(), communicator, timeout };
                session.live()?.shutdown(how, &session.cx).await
            }
        })
        .await?;
        self.disconnect().await;
        self.ended.store(true, Ordering::Release);
        Ok(())
    }

    /// Shuts the machine down if it is still up, makes the artifact, and removes the machine.
    pub async fn finish(self: &Arc<Self>, spec: &CaptureSpec) -> Result<Artifact> {
        let check = || match &self.builder {
            None => Ok(()),
            Some(builder) => match builder.check_capture(spec, &self.cx) {
                // A check says nothing of outputs: they may well be there from the last run.
                Err(error) if error.kind() == Kind::Exists && !self.cx.settings.is_live() => Ok(()),
                result => result.map_err(|e| e.within(format_args!("{}: finish", self.name))),
            },
        };
        // A machine that is asleep may have been finished before: then what is there is what is asked for.
        if self.machine().is_some() || self.pretended {
            check()?;
        }
        if !self.has_ended() {
            let timeout = spec.shutdown_timeout.map(|s| s.0);
            self.shut_down(spec.shutdown_command.as_deref(), timeout, check).await?;
        }
        let output = spec.output_directory.as_deref().unwrap_or(Path::new(""));
        let mut asked = spec.clone();
        // A path of the script's is the same wherever the script's folder is.
        let inside = |path: &Path| path.strip_prefix(&self.cx.settings.script_dir).unwrap_or(path).to_owned();
        asked.output_directory = spec.output_directory.as_deref().map(inside);
        let request = serde_json::json!({ "options": asked, "build": &*self.cx.build, "machine": self.ending() });
        let operation = Operation::new("finish", output.display().to_string(), request).survives_death();
        let capture = spec.clone();
        let artifact: Artifact = self
            .perform_after(operation, check, move |session| {
                let spec = capture.clone();
                async move {
                    let machine = session.live()?;
                    let artifact = machine.capture(&spec, &session.cx).await?;
                    if let Err(error) = machine.destroy().await {
                        // The image is finished: what the machine left behind is no reason to lose it.
                        session.cx.ui.warn(error.to_string());
                    }
                    Ok(artifact)
                }
            })
            .await?;
        if let Some(history) = &self.history {
            history.release();
        }
        if self.cx.settings.is_live() {
            self.cx.ui.emit(artifact.event());
        }
        match &self.builder {
            Some(builder) if self.pretended => Ok(builder.pretend(artifact)),
            _ => Ok(artifact),
        }
    }

    /// Returns what of the builder's options the machine's end depends on.
    fn ending(&self) -> serde_json::Value {
        self.builder.as_ref().map(|builder| builder.ending(&self.cx)).unwrap_or_default()
    }

    /// Removes the machine without making anything of it. Idempotent.
    pub async fn destroy(&self) -> Result<()> {
        self.disconnect().await;
        self.cx.machines.remove(self);
        self.ended.store(true, Ordering::Release);
        let removed = match self.machine() {
            Some(machine) => machine.destroy().await,
            None => Ok(()),
        };
        if let Some(history) = &self.history {
            history.release();
        }
        removed
    }
}

/// Returns what a machine is known by.
pub(super) fn attribute_of(machine: &dyn Machine, name: &str) -> Option<serde_json::Value> {
    match name {
        "host" => machine.address().map(|(host, _)| host.into()),
        "port" => machine.address().map(|(_, port)| port.into()),
        "user" => machine.user().map(Into::into),
        "id" => Some(machine.id().into()),
        _ => None,
    }
}
