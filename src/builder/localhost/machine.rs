//! This host as a machine that rimg may work on, and not switch off.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::communicator::local::LocalCommunicator;
use crate::engine::machine::Shutdown;
use crate::engine::{Artifact, BuildCx, CaptureSpec, Communicator, Health, Machine};
use crate::error::{Error, Kind, Result};

/// This host.
pub struct LocalMachine {
    name: String,
    health: watch::Sender<Health>,
}

impl LocalMachine {
    pub(super) fn new(name: &str) -> LocalMachine {
        let (health, _) = watch::channel(Health::Running);
        LocalMachine { name: name.to_owned(), health }
    }

    fn refuse(&self, what: &str) -> Error {
        Error::new(Kind::Unsupported, format!("{} is the machine rimg itself runs on: it cannot be {what}", self.name))
            .hint(
                "end the build without vm:shutdown or vm:finish; rimg.artifact{ files = … } makes an artifact of files",
            )
    }
}

#[async_trait]
impl Machine for LocalMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn user(&self) -> Option<String> {
        std::env::var("USER").ok()
    }

    async fn connect(&self, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        Ok(Arc::new(LocalCommunicator::new(&cx.settings.script_dir)))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn can_power(&self) -> bool {
        false
    }

    async fn shutdown(&self, _: Shutdown<'_>, _: &BuildCx) -> Result<()> {
        Err(self.refuse("shut down"))
    }

    async fn capture(&self, _: &CaptureSpec, _: &BuildCx) -> Result<Artifact> {
        Err(self.refuse("captured"))
    }

    fn is_foreign(&self) -> bool {
        true
    }

    /// Nothing was made, so nothing is removed.
    async fn destroy(&self) -> Result<()> {
        Ok(())
    }
}
