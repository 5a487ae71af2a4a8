//! A machine that was there before the build and will be there after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::communicator::ssh::{self, Target};
use crate::engine::machine::Shutdown;
use crate::engine::shown_output::ShownOutput;
use crate::engine::{Artifact, BuildCx, CaptureSpec, Command, Communicator, Health, Machine};
use crate::error::{Error, Kind, Result};

/// How long a shutdown may take unless it is said.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5 * 60);

/// An existing machine, reached over SSH.
pub struct HostMachine {
    name: String,
    target: Target,
    timeout: Duration,
    /// Whether it took a login before: one that refuses them afterwards is rebooting.
    met: AtomicBool,
    health: watch::Sender<Health>,
}

impl HostMachine {
    pub(super) fn new(name: String, target: Target, timeout: Duration) -> HostMachine {
        let (health, _) = watch::channel(Health::Running);
        HostMachine { name, target, timeout, met: AtomicBool::new(false), health }
    }
}

#[async_trait]
impl Machine for HostMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> String {
        self.target.address()
    }

    fn address(&self) -> Option<(String, u16)> {
        Some((self.target.host.clone(), self.target.port))
    }

    fn user(&self) -> Option<String> {
        Some(self.target.user.clone())
    }

    async fn connect(&self, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        let connected = match self.met.load(Ordering::Acquire) {
            false => ssh::wait(&self.target, self.timeout, cx).await?,
            true => ssh::wait(&self.target.clone().booting(), self.timeout, cx).await?,
        };
        self.met.store(true, Ordering::Release);
        // The machine stays; the connection must not, in a script that goes on for long after this build.
        let connection = Arc::downgrade(&connected);
        cx.resources.enter_memory("connection", self.target.address(), move || async move {
            if let Some(connection) = connection.upgrade() {
                connection.close().await;
            }
            Ok(())
        });
        Ok(connected)
    }

    /// Nobody watches a foreign machine; a lost connection is all there is to notice.
    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn shutdown(&self, request: Shutdown<'_>, cx: &BuildCx) -> Result<()> {
        let (Some(command), Some(communicator)) = (request.command, request.communicator) else {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{} was not started by rimg, and has no power button", self.name),
            )
            .hint("to shut it down, say how: vm:shutdown{ command = \"sudo poweroff\" }")
            .hint("to leave it as it is, end the build without vm:shutdown or vm:finish"));
        };
        let limit = request.timeout.unwrap_or(SHUTDOWN_LIMIT);
        let work = async {
            let mut output = ShownOutput::new(&cx.ui, &self.name);
            match communicator.exec(&Command::shell(command), &mut output).await {
                Err(error) if !matches!(error.kind(), Kind::Connect | Kind::Network) => return Err(error),
                Ok(status) if (1..128).contains(&status.code()) => {
                    return Err(Error::new(Kind::Command, format!("`{command}` exited with status {}", status.code()))
                        .field("status", status.code()));
                }
                _ => {}
            }
            communicator.closed().await;
            Ok(())
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("{} did not go down within {limit:?}", self.name)))
        })?;
        self.health.send_replace(Health::Off);
        Ok(())
    }

    async fn capture(&self, _: &CaptureSpec, _: &BuildCx) -> Result<Artifact> {
        Err(Error::new(
            Kind::Unsupported,
            format!("{} was not started by rimg: there is no image to take of it", self.name),
        )
        .hint("leave out vm:finish: the build ends with its last operation")
        .hint("vm:download and rimg.artifact{ files = … } make an artifact of files"))
    }

    fn is_foreign(&self) -> bool {
        true
    }

    /// Nothing was made, so nothing is removed.
    async fn destroy(&self) -> Result<()> {
        Ok(())
    }
}
