//! A machine in use by a build: its connection, its state, and the door that every operation goes through.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{Mutex, watch};

use super::artifact::Artifact;
use super::communicator::Communicator;
use super::cx::BuildCx;
use super::machine::{Builder, CaptureSpec, Health, Machine, Shutdown};
use super::operation::{Answer, Operation};
use super::operation_options::{OperationOptions, repeated};
use crate::error::{Error, Kind, Result};
use crate::ui::Event;

/// How long a lost connection waits for the news that the machine itself died.
const OBITUARY_GRACE: Duration = Duration::from_millis(800);

/// A machine that a build works on.
pub struct Session {
    machine: Option<Arc<dyn Machine>>,
    /// What made it; none where it was made otherwise (tests).
    builder: Option<Arc<dyn Builder>>,
    /// The name in output and errors.
    name: String,
    cx: BuildCx,
    connection: Mutex<Option<Arc<dyn Communicator>>>,
    ended: AtomicBool,
    notes: std::sync::Mutex<BTreeMap<&'static str, serde_json::Value>>,
}

impl Session {
    /// Takes a machine into use.
    pub fn new(machine: Arc<dyn Machine>, cx: BuildCx) -> Arc<Session> {
        Arc::new(Session::of(Some(machine), None, cx))
    }

    fn of(machine: Option<Arc<dyn Machine>>, builder: Option<Arc<dyn Builder>>, cx: BuildCx) -> Session {
        let name = match (&machine, &builder) {
            (Some(machine), _) => machine.name(),
            (None, Some(builder)) => builder.kind(),
            (None, None) => "vm",
        };
        Session {
            name: name.to_owned(),
            machine,
            builder,
            cx,
            connection: Mutex::new(None),
            ended: AtomicBool::new(false),
            notes: Default::default(),
        }
    }

    /// Makes, starts and reaches a machine. In `rimg check` it is only pretended, after its options were checked.
    pub async fn launch(builder: Arc<dyn Builder>, cx: BuildCx) -> Result<Arc<Session>> {
        let kind = builder.kind();
        for warning in builder.validate(&cx).map_err(|e| e.within(format_args!("rimg.{kind}")))? {
            cx.ui.warn(format!("rimg.{kind}: {warning}"));
        }
        if !cx.settings.is_live() {
            return Ok(Arc::new(Session::of(None, Some(builder), cx)));
        }
        let (id, started) = (cx.ui.next_id(), Instant::now());
        let (build, title) = (cx.build.to_string(), String::new());
        cx.ui.emit(Event::OperationStarted {
            build: build.clone(),
            id,
            step: cx.step,
            machine: kind.to_owned(),
            kind: "boot",
            title: title.clone(),
        });
        let result = async {
            let machine = builder.launch(&cx, None).await?;
            let health = machine.health();
            let session = Arc::new(Session::of(Some(machine), Some(builder.clone()), cx.clone()));
            if session.live()?.has_communicator() {
                watch_health(health, false, session.communicator()).await?;
            }
            Ok(session)
        };
        let result = cx.scope.run(result).await;
        cx.ui.emit(Event::OperationFinished {
            build,
            id,
            machine: kind.to_owned(),
            kind: "boot",
            title,
            ok: result.is_ok(),
            cached: false,
            seconds: started.elapsed().as_secs_f64(),
        });
        result.map_err(|e| e.within(format_args!("rimg.{kind}")))
    }

    /// A machine that answers "done" to everything (`rimg check`).
    pub fn pretended(name: impl Into<String>, cx: BuildCx) -> Arc<Session> {
        Arc::new(Session { name: name.into(), ..Session::of(None, None, cx) })
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
        self.machine.is_none()
    }

    /// Tells whether its operations are known by what they ask for, so that they may be replayed.
    pub fn replays(&self) -> bool {
        false
    }

    /// Returns the machine; none where there is none now.
    pub fn machine(&self) -> Option<Arc<dyn Machine>> {
        self.machine.clone()
    }

    /// Returns the live machine, for the inside of an operation's action.
    pub fn live(&self) -> Result<Arc<dyn Machine>> {
        self.machine().ok_or_else(|| Error::new(Kind::Internal, "a pretended machine was asked to act"))
    }

    /// Returns what a machine is known by: its `host`, `port`, `user` or `id`.
    #[expect(clippy::unused_async, reason = "a machine that does not run has to be started first")]
    pub async fn attribute(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let Some(machine) = self.machine() else { return Ok(None) };
        Ok(match name {
            "host" => machine.address().map(|(host, _)| host.into()),
            "port" => machine.address().map(|(_, port)| port.into()),
            "user" => machine.user().map(Into::into),
            "id" => Some(machine.id().into()),
            _ => None,
        })
    }

    /// Returns what was noted about the machine under a name, such as its facts.
    pub fn noted(&self, name: &str) -> Option<serde_json::Value> {
        self.notes().get(name).cloned()
    }

    /// Notes something about the machine until it reboots.
    pub fn note(&self, name: &'static str, value: serde_json::Value) {
        self.notes().insert(name, value);
    }

    /// Forgets all notes: the machine may be another one now.
    pub fn forget_notes(&self) {
        self.notes().clear();
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, serde_json::Value>> {
        self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// Does one operation: shows it, times it, ends it when the machine dies, the scope is cancelled or its time is
    /// up, makes as many attempts as its [`OperationOptions`] say, and puts machine and operation into the error. On a
    /// pretended machine the action is not run.
    pub async fn perform<T, Fut>(
        self: &Arc<Self>,
        operation: Operation,
        action: impl Fn(Arc<Session>) -> Fut + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Answer,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        if self.ended.load(Ordering::Acquire) && operation.kind != "finish" {
            return Err(self.describe(
                &operation,
                Error::new(Kind::Machine, "the machine has been shut down or finished")
                    .hint("do everything that needs the machine before vm:shutdown() and vm:finish()"),
            ));
        }
        let cx = BuildCx::current().unwrap_or_else(|| self.cx.clone());
        let id = cx.ui.next_id();
        let title = operation.title.clone();
        cx.ui.emit(Event::OperationStarted {
            build: self.cx.build.to_string(),
            id,
            step: cx.step,
            machine: self.name.clone(),
            kind: operation.kind,
            title: title.clone(),
        });
        let started = Instant::now();
        let result = match &self.machine {
            None => Ok(T::done(&operation)),
            Some(machine) => {
                let options = OperationOptions::current();
                let limit = match operation.limits_itself {
                    true => None,
                    false => options.timeout.map(|limit| limit.0).or(operation.timeout),
                };
                // Actions are large futures, and a script may have hundreds of them in flight.
                let attempts = async {
                    options.pause(operation.kind, &cx).await;
                    repeated(&cx, options.max_retries, || within_limit(limit, Box::pin(action(self.clone())))).await
                };
                let watched = watch_health(machine.health(), operation.survives_death, attempts);
                cx.scope.run(watched).await
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        cx.ui.emit(Event::OperationFinished {
            build: self.cx.build.to_string(),
            id,
            machine: self.name.clone(),
            kind: operation.kind,
            title,
            ok: result.is_ok(),
            cached: false,
            seconds,
        });
        result.map_err(|error| self.describe(&operation, error))
    }

    /// Shuts the machine down and forgets its connection.
    pub async fn shutdown(self: &Arc<Self>, command: Option<&str>, timeout: Option<Duration>) -> Result<()> {
        let request = serde_json::json!({ "shutdown_command": command });
        let operation = Operation::new("shutdown", command.unwrap_or_default(), request);
        let operation = operation.survives_death().limits_itself();
        let command = command.map(str::to_owned);
        self.perform(operation, move |session| {
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
        if let Some(builder) = &self.builder {
            match builder.check_capture(spec, &self.cx) {
                // A check says nothing of outputs: they may well be there from the last run.
                Err(error) if error.kind() == Kind::Exists && !self.cx.settings.is_live() => {}
                result => result.map_err(|e| e.within(format_args!("{}: finish", self.name)))?,
            }
        }
        if !self.ended.load(Ordering::Acquire) {
            let timeout = spec.shutdown_timeout.map(|s| s.0);
            self.shutdown(spec.shutdown_command.as_deref(), timeout).await?;
        }
        let output = spec.output_directory.as_deref().unwrap_or(Path::new(""));
        let operation = Operation::new("finish", output.display().to_string(), spec).survives_death();
        let spec = spec.clone();
        let artifact: Artifact = self
            .perform(operation, move |session| {
                let spec = spec.clone();
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
        if self.cx.settings.is_live() {
            self.cx.ui.emit(artifact.event());
        }
        Ok(artifact)
    }

    /// Removes the machine without making anything of it. Idempotent.
    pub async fn destroy(&self) -> Result<()> {
        self.disconnect().await;
        self.ended.store(true, Ordering::Release);
        match &self.machine {
            Some(machine) => machine.destroy().await,
            None => Ok(()),
        }
    }

    fn describe(&self, operation: &Operation, error: Error) -> Error {
        let titled = match operation.title.as_str() {
            "" => format!("{}: {}", self.name, operation.kind),
            title => format!("{}: {} `{title}`", self.name, operation.kind),
        };
        error.within(titled).field("machine", self.name.clone()).field("operation", operation.kind)
    }
}

impl Answer for Artifact {
    fn done(operation: &Operation) -> Self {
        let directory = operation.request.get("output_directory").and_then(|v| v.as_str()).unwrap_or("output");
        Artifact {
            id: "VM".into(),
            kind: "image".into(),
            builder: "pretended".into(),
            build: String::new(),
            files: vec![super::artifact::ArtifactFile {
                path: Path::new(directory).join("image"),
                size: 0,
                digests: Vec::new(),
            }],
            metadata: Default::default(),
        }
    }
}

async fn within_limit<T>(limit: Option<Duration>, action: impl Future<Output = Result<T>>) -> Result<T> {
    match limit {
        None => action.await,
        Some(limit) => tokio::time::timeout(limit, action).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("took longer than its timeout of {limit:?}"))
                .hint("give it a longer `timeout`, or find out with a shorter command what it waits for"))
        }),
    }
}

/// Runs `action`, but fails with the machine's cause of death as soon as it is known.
async fn watch_health<T>(
    mut health: watch::Receiver<Health>,
    survives_death: bool,
    action: impl Future<Output = Result<T>>,
) -> Result<T> {
    let died = async |health: &mut watch::Receiver<Health>| loop {
        if let Health::Dead(why) = &*health.borrow_and_update() {
            return Error::new(Kind::Machine, format!("the machine died: {why}"));
        }
        if health.changed().await.is_err() {
            // Nobody watches this machine any more; it will not die of anything we hear of.
            std::future::pending::<()>().await;
        }
    };
    if survives_death {
        return action.await;
    }
    let result = tokio::select! {
        biased;
        error = died(&mut health) => return Err(error),
        result = action => result,
    };
    match result {
        // A connection often notices before the machine's watcher does.
        Err(error) if matches!(error.kind(), Kind::Connect | Kind::Network) => {
            match tokio::time::timeout(OBITUARY_GRACE, died(&mut health)).await {
                Ok(obituary) => Err(obituary),
                Err(_) => Err(error),
            }
        }
        other => other,
    }
}
