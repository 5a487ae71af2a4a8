//! What is known of a checkpoint besides its files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::reference::Digested;
use crate::builder::qemu::options::Accelerator;
use crate::engine::Checkpoint;
use crate::error::{Error, Kind, Result};

/// Counts the changes of [`State`], and of what makes a machine: a checkpoint of another number is of no use.
const VERSION: u32 = 2;

/// The names of files in a checkpoint's folder.
pub const MEMORY: &str = "memory.zst";
pub const SERIAL: &str = "serial.log";
pub const FLOPPY: &str = "floppy.img";

/// What is needed to go on from a checkpoint. It holds the key to log in with, sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub version: u32,
    /// QEMU's accelerator and processor, as they were chosen when the machine was started.
    pub accelerator: Accelerator,
    pub cpu_model: Option<String>,
    pub memory: Memory,
    /// The disks' layers, by their names in the folder, and the bytes that the guest sees.
    pub disks: Vec<Disk>,
    /// The files elsewhere that the disks and drives depend on.
    pub references: Vec<Digested>,
    pub cdroms: Vec<Medium>,
    pub boots_cd: bool,
    pub floppy: bool,
    pub seed: bool,
    /// Whether EFI's variables are in the folder.
    pub vars: bool,
    /// The hardware address that the network card was given.
    pub mac: String,
    /// What the placeholders stood for.
    pub values: BTreeMap<String, String>,
    /// Up to where the serial console's text was used up.
    pub serial_seen: u64,
    pub login: Option<KeptLogin>,
}

/// A machine's memory and devices, in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Of the file, as it is on the disk.
    pub digest: String,
    pub size: u64,
    /// Bytes before they were compressed.
    pub raw: u64,
}

/// One disk's layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub name: String,
    pub virtual_size: u64,
}

/// What is in a CD drive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// A file in the folder.
    Kept(String),
    /// A file of the user's, or in the cache of downloads; it is among the references.
    Elsewhere(PathBuf),
}

/// How a machine is logged in to, as far as the script does not say it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptLogin {
    /// The temporary key's private half, where one was made; sealed.
    pub key: Option<String>,
    /// The comment that finds its public half in the guest.
    pub comment: Option<String>,
    /// Whether its host key came with the seed.
    pub planted_host_key: bool,
    /// The host key that the machine was seen with.
    pub host_key: Option<String>,
}

impl std::fmt::Debug for KeptLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptLogin").field("host_key", &self.host_key).finish_non_exhaustive()
    }
}

impl State {
    /// Returns the version that states are written in.
    pub fn version() -> u32 {
        VERSION
    }

    /// Reads the state of a checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Result<State> {
        let unusable = || {
            Error::new(Kind::Io, format!("the checkpoint {} was written by another rimg", checkpoint.folder.display()))
        };
        let version = checkpoint.state.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            return Err(unusable());
        }
        serde_json::from_value(checkpoint.state.clone()).map_err(|e| unusable().caused_by(e))
    }
}
