//! What a builder makes and what can be asked of it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::access::Access;
use super::artifact::Artifact;
use super::checkpoint::{Checkpoint, Checkpoints};
use super::communicator::Communicator;
use super::console::Console;
use super::cx::BuildCx;
use super::options::Seconds;
use super::resource::ResourceId;
use crate::error::{Error, Kind, Result};

/// Whether a machine can still do anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Running,
    /// It is gone or stuck; the text says why, with the last console lines where there are any.
    Dead(String),
    /// It was shut down because rimg asked for it.
    Off,
}

/// Makes machines of one kind from decoded, validated options.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Returns the builder's name, `qemu`.
    fn kind(&self) -> &'static str;

    /// Checks all that can be known without touching anything but files on this host; returns warnings.
    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>>;

    /// Checks what `capture` is going to be asked for, while the machine still runs: a wrong format or an output that
    /// exists must not be found out after the machine is gone.
    fn check_capture(&self, _spec: &CaptureSpec, _cx: &BuildCx) -> Result<()> {
        Ok(())
    }

    /// Returns all that a machine of these options starts from, as data: hardware, the digests of images and of what it
    /// is given to read, the boot command, the version of what runs it. It is the first operation's request, so two
    /// builders with equal identities make machines that are the same until something is done to them. None means that
    /// operations on these machines are never replayed.
    async fn identity(&self, _cx: &BuildCx) -> Result<Option<serde_json::Value>> {
        Ok(None)
    }

    /// Returns what of the options the machine's shutdown and capture depend on, and nothing before them.
    fn ending(&self, _cx: &BuildCx) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Returns what a script may expect of this builder's artifact where none was made, in place of a plain one.
    fn pretend(&self, artifact: Artifact) -> Artifact {
        artifact
    }

    /// Makes and starts a machine, or goes on from a checkpoint of one with the same identity. It need not be reachable
    /// yet: `connect` waits for that. Everything it makes is entered in `cx.resources` first.
    async fn launch(&self, cx: &BuildCx, from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>>;
}

/// How and where to leave the finished image; the options of `vm:finish`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureSpec {
    /// The folder the image goes to; it appears whole.
    pub output_directory: Option<PathBuf>,
    /// The image's file name without extension; the default is the machine's name.
    pub name: Option<String>,
    /// `qcow2`, `raw`, `vmdk`, `vdi` or `vhdx`; the default is the builder's own.
    pub format: Option<String>,
    /// Whether unused space is squeezed out; true unless said otherwise.
    pub compact: Option<bool>,
    /// Whether the image's clusters are compressed (qcow2, vmdk).
    pub compress: Option<bool>,
    /// The command that shuts the machine down, in place of the builder's.
    pub shutdown_command: Option<String>,
    /// How long the shutdown may take.
    pub shutdown_timeout: Option<Seconds>,
}

/// One machine. Calls may run side by side.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Returns a short name for output: `qemu`, or the host's name.
    fn name(&self) -> &str;

    /// Returns what identifies it to its platform: an instance id, a process id.
    fn id(&self) -> String;

    /// Returns the address and port its communicator uses, where it has one.
    fn address(&self) -> Option<(String, u16)> {
        None
    }

    /// Returns the user that commands run as, where known.
    fn user(&self) -> Option<String> {
        None
    }

    /// Tells whether commands and files reach it at all; where not, it is only driven by its console.
    fn has_communicator(&self) -> bool {
        true
    }

    /// Waits until the machine takes commands and returns a new connection. Told apart in the error: nothing listens,
    /// something else answers, authentication failed.
    async fn connect(&self, cx: &BuildCx) -> Result<Arc<dyn Communicator>>;

    /// Watches the machine; every wait selects on it.
    fn health(&self) -> watch::Receiver<Health>;

    /// Returns the console, where the machine has one.
    fn console(&self) -> Option<&dyn Console> {
        None
    }

    /// Returns what takes checkpoints of it, where that is possible.
    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        None
    }

    /// Tells whether a shutdown or reboot of this machine is rimg's to do (not so for `rimg.localhost`).
    fn can_power(&self) -> bool {
        true
    }

    /// Shuts the machine down and waits until it is off: by `command` over `communicator` where given, else by the
    /// platform's power button.
    async fn shutdown(&self, request: Shutdown<'_>, cx: &BuildCx) -> Result<()>;

    /// Makes the artifact from the machine, which is off.
    async fn capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact>;

    /// Tells whether it was there before the build and stays after it: nothing of it is rimg's to remove or to keep.
    fn is_foreign(&self) -> bool {
        false
    }

    /// Lets go of it: it goes on when this process has ended, and is written down as kept for that reason. What it does
    /// not need to go on is removed.
    async fn keep(&self, _why: &str) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "a machine of this builder ends with rimg"))
    }

    /// Tells how a person gets in from elsewhere, once it was connected to; none where nobody does.
    fn access(&self) -> Result<Option<Access>> {
        Ok(None)
    }

    /// Returns the command that opens a shell in it on this host, where `rimg ssh` does not.
    fn shell(&self) -> Option<String> {
        None
    }

    /// Returns what it is among the build's resources.
    fn resource(&self) -> Option<ResourceId> {
        None
    }

    /// Removes the machine and all it holds. Idempotent.
    async fn destroy(&self) -> Result<()>;
}

/// How to shut a machine down.
pub struct Shutdown<'a> {
    /// The command to run on it, such as `sudo poweroff`; none means the power button.
    pub command: Option<&'a str>,
    pub communicator: Option<Arc<dyn Communicator>>,
    pub timeout: Option<std::time::Duration>,
}
