//! A QEMU machine as the engine sees it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use super::checkpoint::Clock;
use super::connect::Login;
use super::keyboard::Keyboard;
use super::supervisor::Shared;
use super::{capture, console, tail};
use crate::console::{BootOptions, boot_command};
use crate::engine::machine::Shutdown;
use crate::engine::placeholders::Placeholders;
use crate::engine::{
    Access, Artifact, BuildCx, CaptureSpec, Checkpoints, Command, Communicator, Console, Health, KeyEvent, Machine,
    OutputSink, ResourceId, ScreenText,
};
use crate::error::{Error, Kind, Result};

const SHUTDOWN_LIMIT: Duration = Duration::from_secs(300);
/// A guest that is still starting does not hear the power button.
const PRESS_AGAIN: Duration = Duration::from_secs(4);

/// A running machine.
pub struct QemuMachine {
    pub shared: Arc<Shared>,
    pub keyboard: Keyboard,
    /// None when commands do not reach it.
    pub login: Option<Login>,
    pub clock: Clock,
    pub resource: ResourceId,
    pub cx: BuildCx,
}

#[async_trait]
impl Machine for QemuMachine {
    fn name(&self) -> &str {
        "qemu"
    }

    fn id(&self) -> String {
        let id = self.shared.process_id.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        id.map(|id| id.to_string()).unwrap_or_default()
    }

    fn address(&self) -> Option<(String, u16)> {
        let host = self.login.as_ref()?.host()?;
        Some((host.to_owned(), *self.shared.port.borrow()))
    }

    fn user(&self) -> Option<String> {
        Some(self.login.as_ref()?.user().to_owned())
    }

    fn has_communicator(&self) -> bool {
        self.login.is_some()
    }

    async fn connect(&self, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        let Some(login) = &self.login else {
            return Err(Error::new(
                Kind::Unsupported,
                "this machine has no communicator (`communicator = \"none\"`): no command or file reaches it",
            )
            .hint("drive it by its console: vm:type, vm:expect, vm:screenshot; or leave `communicator` out"));
        };
        let mut health = self.health();
        let mut port = self.shared.port.subscribe();
        loop {
            let now = *port.borrow_and_update();
            let began = Instant::now();
            let connection = tokio::select! {
                biased;
                error = death(&mut health) => return Err(error),
                // The machine was started over and listens elsewhere.
                Ok(()) = port.changed() => continue,
                connection = login.connect(now, &self.shared.mac, cx) => connection?,
            };
            self.shared.reached.store(true, Ordering::Release);
            self.clock.set(connection.as_ref(), login, began.elapsed(), cx).await;
            return Ok(connection);
        }
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.shared.options.knows_its_disks().then_some(self)
    }

    async fn shutdown(&self, request: Shutdown<'_>, cx: &BuildCx) -> Result<()> {
        let mut health = self.health();
        if *health.borrow() == Health::Off {
            return Ok(());
        }
        let options = &self.shared.options.machine;
        let limit = request.timeout.or(options.shutdown_timeout.map(|seconds| seconds.0)).unwrap_or(SHUTDOWN_LIMIT);
        let command = request.command.or(options.shutdown_command.as_deref());
        let communicator = match (command, request.communicator) {
            (Some(_), None) => Some(self.connect(cx).await?),
            (_, given) => given,
        };
        if let (Some(login), Some(communicator)) = (&self.login, &communicator) {
            login.take_back(communicator.as_ref()).await;
        }
        // A QEMU that is to end while its guest's memory is being stored may hang.
        let saved = tokio::time::timeout(limit, self.shared.saving.clone().lock_owned()).await;
        let _no_saving = saved.map_err(|_| self.still_running(command, limit))?;
        self.shared.going_off.store(true, Ordering::Release);
        let _progress = cx.ui.progress("shutting down", None, crate::ui::event::Unit::Spinner);
        let asked = async {
            match (command, &communicator) {
                (Some(command), Some(communicator)) => run_command(command, communicator.as_ref()).await,
                // It goes by itself.
                (None, _) if options.disable_shutdown => std::future::pending().await,
                _ => self.press_power_button().await,
            }
        };
        let result = tokio::select! {
            biased;
            gone = off(&mut health) => gone,
            Err(error) = asked => Err(error),
            () = tokio::time::sleep(limit) => Err(self.still_running(command, limit)),
        };
        if result.is_err() {
            self.shared.going_off.store(options.disable_shutdown, Ordering::Release);
        }
        result
    }

    async fn capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
        match &*self.shared.health.borrow() {
            Health::Off => {}
            Health::Running => {
                return Err(Error::new(Kind::Internal, "the machine must be off before its image is made"));
            }
            Health::Dead(why) => return Err(Error::new(Kind::Machine, format!("the machine died: {why}"))),
        }
        capture::capture(&self.shared, spec, cx).await
    }

    async fn keep(&self, why: &str) -> Result<()> {
        // A QEMU that was let go while its guest's memory is being stored would stand still.
        let saved = tokio::time::timeout(SHUTDOWN_LIMIT, self.shared.saving.clone().lock_owned()).await;
        let _no_saving = saved.map_err(|_| Error::new(Kind::Timeout, "a checkpoint of it is still being saved"))?;
        self.cx.resources.keep(self.resource, why).await?;
        self.cx.resources.forget_path(&self.shared.dir);
        self.shared.leave.cancel();
        self.shared.finished.cancelled().await;
        Ok(())
    }

    fn access(&self) -> Result<Option<Access>> {
        self.login.as_ref().map_or(Ok(None), |login| login.access(*self.shared.port.borrow()))
    }

    fn resource(&self) -> Option<ResourceId> {
        Some(self.resource)
    }

    async fn destroy(&self) -> Result<()> {
        self.cx.resources.release(self.resource).await
    }
}

impl QemuMachine {
    /// Types the boot command; from its first key when the machine is started over on the way.
    pub async fn type_boot_command(&self, boot: &BootOptions, values: &Placeholders, cx: &BuildCx) -> Result<()> {
        let mut health = self.health();
        let mut starts = self.shared.starts.subscribe();
        loop {
            starts.mark_unchanged();
            tokio::select! {
                biased;
                error = death(&mut health) => return Err(error),
                Ok(()) = starts.changed() => cx.ui.debug("the machine was started over: the boot command begins again"),
                typed = boot_command::run(boot, self, values, cx) => {
                    self.shared.typed.store(typed.is_ok(), Ordering::Release);
                    return typed;
                }
            }
        }
    }

    async fn press_power_button(&self) -> Result<()> {
        loop {
            // A machine that has just gone takes no commands: its health says so in a moment.
            if let Ok(qmp) = self.shared.qmp() {
                let _ = qmp.execute("system_powerdown", serde_json::Value::Null).await;
            }
            tokio::time::sleep(PRESS_AGAIN).await;
        }
    }

    fn still_running(&self, command: Option<&str>, limit: Duration) -> Error {
        let lines = self.shared.console_lines(5);
        let console = match lines.as_slice() {
            [] => String::new(),
            lines => format!("; its last console lines:\n    {}", lines.join("\n    ")),
        };
        let error = Error::new(
            Kind::Timeout,
            format!("the machine was still running {} s after it was shut down{console}", limit.as_secs()),
        );
        match command {
            Some(_) => {
                error.hint("a longer `shutdown_timeout`, or a shutdown_command that powers off: `sudo poweroff`")
            }
            None => error
                .hint("does the guest listen to the ACPI power button (systemd-logind, acpid)?")
                .hint("`shutdown_command = \"sudo poweroff\"` needs no button"),
        }
    }
}

/// Waits until the machine is off; dying on the way is an error.
async fn off(health: &mut watch::Receiver<Health>) -> Result<()> {
    match health.wait_for(|health| *health != Health::Running).await.as_deref() {
        Ok(Health::Dead(why)) => Err(Error::new(Kind::Machine, format!("the machine died: {why}"))),
        _ => Ok(()),
    }
}

/// Waits until the machine cannot be reached any more, and says why.
async fn death(health: &mut watch::Receiver<Health>) -> Error {
    match health.wait_for(|health| *health != Health::Running).await.as_deref() {
        Ok(Health::Dead(why)) => Error::new(Kind::Machine, format!("the machine died: {why}")),
        _ => Error::new(Kind::Machine, "the machine is off"),
    }
}

/// Runs the shutdown command. Losing the connection is how it should end; then, and after a success, this waits forever
/// for the machine's end to be seen.
async fn run_command(command: &str, communicator: &dyn Communicator) -> Result<()> {
    let mut words = Words::default();
    let ended = communicator.exec(&Command::shell(command), &mut words).await;
    if let Ok(status) = ended {
        let code = status.code();
        // 255 and signals: the shell was ended with everything else.
        if code != 0 && code < 128 {
            let said = String::from_utf8_lossy(&words.0).trim().to_owned();
            let colon = if said.is_empty() { "" } else { ": " };
            return Err(Error::new(
                Kind::Command,
                format!("the shutdown command `{command}` failed with status {code}{colon}{said}"),
            )
            .field("status", code)
            .field("stderr", said));
        }
    }
    std::future::pending().await
}

/// Keeps the end of what a command wrote.
#[derive(Default)]
struct Words(Vec<u8>);

impl OutputSink for Words {
    fn stdout(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(4096);
        self.0.drain(..excess);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.stdout(bytes);
    }
}

#[async_trait]
impl Console for QemuMachine {
    async fn press(&self, events: &[KeyEvent]) -> Result<()> {
        self.keyboard.press(&self.shared.qmp()?, events, |text| self.cx.ui.warn(text)).await
    }

    fn keyboard_layout(&self) -> Option<&str> {
        self.keyboard.layout.as_deref()
    }

    async fn screen_text(&self) -> Result<ScreenText> {
        let shared = &self.shared;
        shared.screen.read(&shared.qmp()?, &shared.dir, shared.options.is_pc()).await
    }

    fn serial_since(&self, from: u64) -> Result<(Vec<u8>, u64)> {
        tail::piece(&self.shared.serial_path, from)
    }

    fn serial_seen(&self) -> &AtomicU64 {
        &self.shared.serial_seen
    }

    async fn screenshot(&self, to: &Path) -> Result<()> {
        console::screenshot(&self.shared.qmp()?, &self.shared.dir, to).await
    }

    fn serial_tail(&self, lines: usize) -> Vec<String> {
        self.shared.console_lines(lines)
    }
}
