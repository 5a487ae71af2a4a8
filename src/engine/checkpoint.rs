//! A machine's disk and memory at one instant, kept so that a later run can go on from there.
//!
//! The engine decides when one is taken and where it is kept; how is the builder's own. A builder whose machines can do
//! it returns [`Checkpoints`] from `Machine::checkpoints`, and takes a [`Checkpoint`] in `Builder::launch`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::cx::BuildCx;
use crate::error::Result;

/// A checkpoint that is kept, whole.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Its folder, as [`Checkpoints::save`] left it. Read only: several machines may go on from it at once.
    pub folder: PathBuf,
    /// What the builder returned as [`Saved::state`].
    pub state: serde_json::Value,
}

/// Taking checkpoints of one machine.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// Saves the machine, on which nothing is being done, into `folder`: empty, private, on the file system of the
    /// run's work folder, its path final. Returns as soon as the machine may go on; [`Saving::rest`] then completes the
    /// folder. The machine may from now on depend on what is in it (its disks being overlays on the disks there): the
    /// engine keeps the folder for as long as the machine, or a later checkpoint of it, is there, whatever `rest` says.
    async fn save(&self, folder: &Path, cx: &BuildCx) -> Result<Saving>;
}

/// A checkpoint of which the instant is over, and which is being written.
pub struct Saving {
    /// How long the machine stood still.
    pub paused: Duration,
    /// Writes what is left; to cancel it is to drop it. At most one is going on for a machine, which may be shut down, captured
    /// and destroyed meanwhile.
    pub rest: BoxFuture<'static, Result<Saved>>,
}

/// What there is to know about a checkpoint that is complete.
#[derive(Debug, Clone)]
pub struct Saved {
    /// What the builder needs to go on from it, besides the folder's files. May hold what the machine itself holds
    /// (keys to log in with); it is kept beside the machine's memory, as private as that.
    pub state: serde_json::Value,
    /// By how much all of it delayed the machine: how long that stood still, and for how long its processors had to wait
    /// for the host's because of the rest, where that can be known.
    pub delayed: Duration,
}
