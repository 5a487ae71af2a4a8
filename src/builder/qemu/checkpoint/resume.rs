//! Going on from a checkpoint.

use std::path::Path;

use super::incoming::Incoming;
use super::layers;
use super::state::{FLOPPY, MEMORY, Medium, SERIAL, State};
use crate::builder::qemu::accelerator::Choice;
use crate::builder::qemu::builder::QemuBuilder;
use crate::builder::qemu::disk::{self, Source};
use crate::builder::qemu::firmware::VARS;
use crate::builder::qemu::launch::{self, Begun};
use crate::builder::qemu::media::{self, SEED};
use crate::builder::qemu::{connect, firmware::Firmware};
use crate::engine::{BuildCx, Checkpoint};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::qemu_img::ImageInfo;

/// Prepares a machine that goes on from a checkpoint.
pub async fn resume(builder: &QemuBuilder, checkpoint: &Checkpoint, cx: &BuildCx) -> Result<Begun> {
    let options = &builder.options;
    let state = State::of(checkpoint)?;
    let folder = &checkpoint.folder;
    let binary = options.machine.find_programs()?;
    let mut references = Vec::new();
    for reference in &state.references {
        references.push(reference.check(cx).await?);
    }
    let dir = cx.private_dir("qemu")?;
    let disks = disk::paths(&options.disks, &dir);
    if disks.len() != state.disks.len() {
        return Err(Error::new(Kind::Io, format!("the checkpoint {} has other disks", folder.display())));
    }
    for (disk, path) in state.disks.iter().zip(&disks) {
        let layer = folder.join(&disk.name);
        tokio::fs::metadata(&layer).await.map_err(|e| io_error("read the disk of a checkpoint", &layer, e))?;
        layers::overlay(&options.disks.qemu_img_args.create, &layer, path, disk.virtual_size).await?;
    }
    let flash = options.firmware.prepare(&options.for_firmware(&binary), None, &dir, cx).await?;
    if let Firmware::Efi { vars, .. } = &flash {
        copy(&folder.join(VARS), vars).await?;
    }
    let media = media::again(builder, &state, folder, &dir, cx).await?;
    let serial_path = launch::serial_path(builder, &dir, cx).await?;
    copy(&folder.join(SERIAL), &serial_path).await?;
    let seed = state.seed.then(|| folder.join(SEED));
    Ok(Begun {
        source: source(&state),
        references,
        login: connect::again(builder, state.login.as_ref(), cx).await?,
        serial_path,
        serial_seen: state.serial_seen,
        mac: state.mac.clone(),
        choice: Choice { accelerator: state.accelerator, cpu_model: state.cpu_model.clone(), may_fall_back: false },
        incoming: Some(Incoming { path: folder.join(MEMORY), memory: state.memory }),
        dir,
        binary,
        disks,
        flash,
        media,
        seed,
    })
}

/// Returns what to call the image that the machine once started from.
fn source(state: &State) -> Option<Source> {
    let below = state.references.iter().find(|reference| {
        !state.cdroms.iter().any(|medium| matches!(medium, Medium::Elsewhere(path) if *path == reference.path))
    })?;
    let virtual_size = state.disks.first().map_or(0, |disk| disk.virtual_size);
    let info = ImageInfo { format: String::new(), virtual_size, actual_size: 0, backing_file: None };
    Some(Source { path: below.path.clone(), info })
}

/// Copies what the machine may write to.
pub async fn copy(from: &Path, to: &Path) -> Result<()> {
    crate::host::atomic::remove(to);
    tokio::fs::copy(from, to).await.map(drop).map_err(|e| io_error("copy", from, e))
}

/// Copies the floppy.
pub async fn floppy(folder: &Path, dir: &Path) -> Result<std::path::PathBuf> {
    let to = dir.join(FLOPPY);
    copy(&folder.join(FLOPPY), &to).await?;
    Ok(to)
}
