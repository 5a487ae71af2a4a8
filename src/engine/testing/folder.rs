//! A machine for tests that is a folder, with checkpoints that are layers of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::guest::Guest;
use super::layers::{self, Listing};
use crate::engine::artifact::ArtifactFile;
use crate::engine::machine::Shutdown;
use crate::engine::{
    Artifact, BuildCx, CaptureSpec, Checkpoint, Checkpoints, Command, Communicator, Health, Machine, OutputSink, Saved,
    Saving, Seconds,
};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::{atomic, dirs};

/// How the machine behaves. Nothing of it is part of what the machine starts from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Behaviour {
    pub name: Option<String>,
    /// A file to which all that is done to the machine is added.
    pub log: Option<PathBuf>,
    pub boot_time: Option<Seconds>,
    /// How long the machine stands still for a checkpoint, and how long the rest of it takes.
    pub save_time: Option<Seconds>,
    pub rest_time: Option<Seconds>,
    pub save_fails: bool,
    pub rest_fails: bool,
    /// A machine that cannot make any.
    pub without_checkpoints: bool,
}

/// The machine.
pub struct FolderMachine {
    pub guest: Arc<Guest>,
    behaviour: Behaviour,
    /// Its private folder, where its disk and memory are.
    folder: PathBuf,
    /// What the last checkpoint of it holds, to which the next adds.
    base: Mutex<Option<Listing>>,
    health: watch::Sender<Health>,
}

/// What the layer of a checkpoint is called in its folder, and the list of what there is.
const LAYER: &str = "layer";
const LIST: &str = "list.json";

/// A checkpoint.
#[derive(Serialize, Deserialize)]
struct Kept {
    disk: Listing,
    memory: Listing,
}

fn parts(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (disk, memory) = (folder.join("disk"), folder.join("memory"));
    dirs::private(&disk)?;
    dirs::private(&memory)?;
    Ok((disk, memory))
}

async fn take(time: Option<Seconds>) {
    if let Some(Seconds(time)) = time.filter(|time| !time.0.is_zero()) {
        tokio::time::sleep(time).await;
    }
}

impl FolderMachine {
    /// Boots a machine in `folder`, which need not be there.
    pub fn new(folder: PathBuf, behaviour: Behaviour) -> FolderMachine {
        let (disk, memory) = parts(&folder).unwrap();
        super::guest::note(behaviour.log.as_deref(), "boot");
        let guest = Guest::boot(disk, memory, behaviour.log.clone());
        FolderMachine::of(guest, folder, None, behaviour)
    }

    /// The same; its disk is a copy of `source`, a folder or what was captured.
    pub async fn boot(folder: PathBuf, source: Option<&Path>, behaviour: Behaviour) -> Result<FolderMachine> {
        let (disk, _) = parts(&folder)?;
        match source {
            Some(source) if source.is_dir() => layers::copy(source, &disk)?,
            Some(source) => {
                let file = std::fs::File::open(source).map_err(|e| io_error("open", source, e))?;
                tar::Archive::new(file).unpack(&disk).map_err(|e| io_error("unpack", source, e))?;
            }
            None => {}
        }
        take(behaviour.boot_time).await;
        Ok(FolderMachine::new(folder, behaviour))
    }

    /// Makes a machine that goes on from a checkpoint.
    pub fn resume(folder: PathBuf, from: &Checkpoint, behaviour: Behaviour) -> Result<FolderMachine> {
        let (disk, memory) = parts(&folder)?;
        let list = from.folder.join(LIST);
        let text = std::fs::read(&list).map_err(|e| io_error("read", &list, e))?;
        if from.state != serde_json::json!(blake3::hash(&text).to_hex().as_str()) {
            return Err(Error::new(Kind::Checksum, format!("{} is damaged", list.display())));
        }
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|e| Error::new(Kind::Io, "it is no list").caused_by(e))?;
        layers::restore(&kept.disk, &disk)?;
        layers::restore(&kept.memory, &memory)?;
        super::guest::note(behaviour.log.as_deref(), "resume");
        let guest = Guest::resume(disk, memory, behaviour.log.clone());
        Ok(FolderMachine::of(guest, folder, Some(kept.disk), behaviour))
    }

    fn of(guest: Guest, folder: PathBuf, base: Option<Listing>, behaviour: Behaviour) -> FolderMachine {
        let health = watch::channel(Health::Running).0;
        FolderMachine { guest: Arc::new(guest), behaviour, folder, base: Mutex::new(base), health }
    }
}

#[async_trait]
impl Machine for FolderMachine {
    fn name(&self) -> &str {
        self.behaviour.name.as_deref().unwrap_or("vm")
    }

    fn id(&self) -> String {
        self.folder.display().to_string()
    }

    async fn connect(&self, _: &BuildCx) -> Result<Arc<dyn Communicator>> {
        Ok(self.guest.connect())
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        (!self.behaviour.without_checkpoints).then_some(self)
    }

    async fn shutdown(&self, request: Shutdown<'_>, _: &BuildCx) -> Result<()> {
        if let Some((command, communicator)) = request.command.zip(request.communicator) {
            communicator.exec(&Command::shell(command), &mut Unheard).await?;
        }
        self.guest.note("shutdown");
        self.health.send_replace(Health::Off);
        Ok(())
    }

    /// The image is the disk as an archive, or with `format = "tree"` as a folder.
    async fn capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
        self.guest.note("capture");
        let target = target(spec, cx)?;
        atomic::remove(&target);
        std::fs::create_dir_all(&target).map_err(|e| io_error("create", &target, e))?;
        let name = spec.name.as_deref().unwrap_or(self.name());
        let mut paths = Vec::new();
        if spec.format.as_deref() == Some("tree") {
            layers::copy(self.guest.disk(), &target.join(name))?;
            for (path, what) in layers::contents(&target)? {
                if !what.ends_with(" folder") {
                    paths.push(target.join(path));
                }
            }
        } else {
            let path = target.join(format!("{name}.tar"));
            archive(self.guest.disk(), &path).map_err(|e| io_error("write", &path, e))?;
            paths.push(path);
        }
        let mut files = Vec::new();
        for path in paths {
            let size = std::fs::symlink_metadata(&path).map_err(|e| io_error("read", &path, e))?.len();
            files.push(ArtifactFile { path, size, digests: Vec::new() });
        }
        Ok(Artifact {
            id: "VM".into(),
            kind: "image".into(),
            builder: "folder".into(),
            build: cx.build.to_string(),
            files,
            metadata: Default::default(),
        })
    }

    async fn destroy(&self) -> Result<()> {
        self.health.send_replace(Health::Off);
        atomic::remove(&self.folder);
        Ok(())
    }
}

/// Returns where the image goes; one that is there is refused unless the run may replace it.
pub fn target(spec: &CaptureSpec, cx: &BuildCx) -> Result<PathBuf> {
    let target = match &spec.output_directory {
        Some(directory) => cx.settings.resolve(directory),
        None => cx.settings.resolve(format!("output-{}", cx.build)),
    };
    atomic::refuse_existing(&target, cx.settings.force)?;
    Ok(target)
}

/// Writes an archive that equal folders make equal.
fn archive(folder: &Path, to: &Path) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(std::fs::File::create(to)?);
    let mut names: Vec<String> = layers::contents(folder).map_err(std::io::Error::other)?.into_keys().collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let meta = std::fs::symlink_metadata(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&meta, tar::HeaderMode::Complete);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        if meta.is_symlink() {
            archive.append_link(&mut header, name, std::fs::read_link(&path)?)?;
        } else if meta.is_dir() {
            header.set_size(0);
            archive.append_data(&mut header, name, std::io::empty())?;
        } else {
            archive.append_data(&mut header, name, std::fs::File::open(&path)?)?;
        }
    }
    archive.finish()
}

#[async_trait]
impl Checkpoints for FolderMachine {
    async fn save(&self, folder: &Path, _: &BuildCx) -> Result<Saving> {
        self.guest.note("save");
        if self.behaviour.save_fails {
            return Err(Error::new(Kind::Host, "no checkpoint: the test said so"));
        }
        let started = std::time::Instant::now();
        take(self.behaviour.save_time).await;
        let layer = folder.join(LAYER);
        dirs::private(&layer)?;
        let base = self.base.lock().unwrap().clone();
        let disk = layers::keep(self.guest.disk(), &layer, base.as_ref())?;
        let memory = layers::keep(self.guest.memory(), &layer, None)?;
        *self.base.lock().unwrap() = Some(disk.clone());
        let paused = started.elapsed();
        let (rest_time, fails) = (self.behaviour.rest_time, self.behaviour.rest_fails);
        let list = folder.join(LIST);
        let rest = async move {
            tokio::time::sleep(rest_time.map_or(Duration::from_millis(5), |time| time.0)).await;
            if fails {
                return Err(Error::new(Kind::Host, "no rest of the checkpoint: the test said so"));
            }
            let text = serde_json::to_vec(&Kept { disk, memory })
                .map_err(|e| Error::new(Kind::Internal, "a list cannot be written").caused_by(e))?;
            std::fs::write(&list, &text).map_err(|e| io_error("write", &list, e))?;
            Ok(Saved { state: serde_json::json!(blake3::hash(&text).to_hex().as_str()), delayed: paused })
        };
        Ok(Saving { paused, rest: rest.boxed() })
    }
}

struct Unheard;

impl OutputSink for Unheard {
    fn stdout(&mut self, _: &[u8]) {}
    fn stderr(&mut self, _: &[u8]) {}
}
