//! From a machine that is off to a finished image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::disk::whole;
use super::firmware;
use super::hardware::Hardware;
use super::supervisor::Shared;
use crate::engine::artifact::ArtifactFile;
use crate::engine::{Artifact, BuildCx, CaptureSpec};
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::host::atomic::{self, Pending};
use crate::host::qemu_img::{self, Conversion, DiskFormat};
use crate::ui::event::Unit;

/// Where the image goes and what it becomes; checked.
#[derive(Debug)]
pub struct Target {
    /// Absolute.
    directory: PathBuf,
    /// The disks' names, without extension.
    name: String,
    format: DiskFormat,
    compress: bool,
    compact: bool,
    force: bool,
}

impl Target {
    /// Checks what was asked for; an output that exists is refused here already.
    pub fn of(options: &Hardware, spec: &CaptureSpec, cx: &BuildCx) -> Result<Target> {
        let format = match spec.format.as_ref().or(options.disks.format.as_ref()) {
            Some(name) => DiskFormat::parse(name).map_err(|e| e.within("option `format`"))?,
            None => DiskFormat::Qcow2,
        };
        let compress = spec.compress.unwrap_or(options.disks.disk_compression);
        if compress && !format.compresses() {
            let name = format.as_str();
            return Err(Error::new(
                Kind::Option,
                format!("option `compress`: {name} images cannot be compressed inside"),
            )
            .hint("use qcow2 or vmdk, or compress the finished file with artifact:compress{…}"));
        }
        let name = spec.name.as_deref().unwrap_or_else(|| options.machine.vm_name(cx));
        // A build's name may have a path's characters; the user's own name for the file may not.
        let name = match &spec.name {
            Some(name) if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') => {
                return Err(Error::new(Kind::Option, format!("option `name`: {name:?} cannot be a file's name")));
            }
            _ => name.replace(['/', '\0'], "_"),
        };
        let directory = match &spec.output_directory {
            Some(directory) if directory.as_os_str().is_empty() => {
                return Err(Error::new(Kind::Option, "option `output_directory`: is empty"));
            }
            Some(directory) => cx.settings.resolve(directory),
            None => cx.settings.resolve(format!("output-{}", cx.build.replace(['/', '\0'], "_"))),
        };
        let directory = std::path::absolute(&directory).map_err(|e| io_error("resolve", &directory, e))?;
        let force = cx.settings.force;
        if !is_empty_folder(&directory) {
            atomic::refuse_existing(&directory, force).map_err(|e| e.within("option `output_directory`"))?;
        }
        // Packer's users write the extension into the name.
        let name = name.strip_suffix(&format!(".{}", format.as_str())).unwrap_or(&name).to_owned();
        let compact = spec.compact.unwrap_or(!options.disks.skip_compaction);
        Ok(Target { directory, name, format, compress, compact, force })
    }
}

impl Target {
    /// Returns the name of one of the disks' files.
    fn disk_name(&self, number: usize) -> String {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        format!("{}{suffix}.{}", self.name, self.format.as_str())
    }
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Makes the image and its folder, whole or not at all.
pub async fn capture(shared: &Shared, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
    let target = Target::of(&shared.options, spec, cx)?;
    let pending = Pending::beside(&target.directory)?;
    let resource = cx.resources.enter_path("folder", pending.path())?;
    let made = make(shared, &target, &pending, cx).await;
    let committed = match made {
        Ok(virtual_size) => put_in_place(pending, &target).await.map(|directory| (directory, virtual_size)),
        Err(error) => {
            drop(pending);
            Err(error)
        }
    };
    cx.resources.forget(resource);
    let (directory, virtual_size) = committed?;
    let mut names: Vec<String> = (0..shared.disks().len()).map(|number| target.disk_name(number)).collect();
    names.extend(shared.kept_vars().map(|_| firmware::VARS.to_owned()));
    let mut files = Vec::new();
    for name in names {
        let path = directory.join(name);
        let size = std::fs::metadata(&path).map_err(|e| io_error("read", &path, e))?.len();
        files.push(ArtifactFile { path, size, digests: Vec::new() });
    }
    let options = &shared.options;
    let metadata = BTreeMap::from([
        ("format".to_owned(), json!(target.format.as_str())),
        ("virtual_size".to_owned(), json!(virtual_size)),
        ("architecture".to_owned(), json!(options.architecture())),
        ("cpus".to_owned(), json!(options.topology.cpus())),
        ("memory".to_owned(), json!(options.machine.memory_mib())),
        ("machine_type".to_owned(), json!(options.machine_type())),
        ("disk_interface".to_owned(), json!(options.disks.disk_interface())),
        ("firmware".to_owned(), json!(if shared.flash.vars().is_some() { "efi" } else { "bios" })),
        ("net_device".to_owned(), json!(options.network.net_device())),
    ]);
    Ok(Artifact {
        id: "VM".into(),
        kind: "image".into(),
        builder: "qemu".into(),
        build: cx.build.to_string(),
        files,
        metadata,
    })
}

/// Writes the disks, and EFI's variables, into the pending folder and returns the bytes that the guest sees on the first.
async fn make(shared: &Shared, target: &Target, pending: &Pending, cx: &BuildCx) -> Result<u64> {
    tokio::fs::create_dir(pending.path()).await.map_err(|e| io_error("create folder", pending.path(), e))?;
    let mut written = Vec::new();
    let mut virtual_size = 0;
    for (number, disk) in shared.disks().iter().enumerate() {
        let to = pending.path().join(target.disk_name(number));
        let size = write_disk(shared, target, disk, &to, cx).await?;
        if number == 0 {
            virtual_size = size;
        }
        written.push(to);
    }
    if let Some(vars) = shared.kept_vars() {
        let to = pending.path().join(firmware::VARS);
        tokio::fs::copy(vars, &to).await.map_err(|e| io_error("copy", vars, e))?;
        written.push(to);
    }
    tokio::task::spawn_blocking(move || {
        written.iter().try_for_each(|path| {
            let file = std::fs::File::open(path).map_err(|e| io_error("open", path, e))?;
            file.sync_all().map_err(|e| io_error("sync", path, e))
        })
    })
    .await
    .context(Kind::Internal, "syncing the image was interrupted")??;
    Ok(virtual_size)
}

async fn write_disk(shared: &Shared, target: &Target, disk: &Path, to: &Path, cx: &BuildCx) -> Result<u64> {
    let info = qemu_img::info(disk, Some("qcow2")).await?;
    let as_it_is =
        target.format == DiskFormat::Qcow2 && !target.compact && !target.compress && info.backing_file.is_none();
    if !as_it_is || tokio::fs::rename(disk, to).await.is_err() {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let progress = cx.ui.progress(format!("writing {name}"), Some(100), Unit::Percent);
        let conversion = Conversion {
            source: disk,
            source_format: Some("qcow2"),
            target: to,
            format: target.format,
            compress: target.compress,
            compact: target.compact,
            options: &[],
            more: &shared.options.disks.qemu_img_args.convert,
        };
        qemu_img::convert(&conversion, |percent| progress.set(whole(percent))).await?;
    }
    Ok(info.virtual_size)
}

/// Renames the pending folder to its place; one that is there is replaced if that is wanted.
async fn put_in_place(pending: Pending, target: &Target) -> Result<PathBuf> {
    let (directory, force) = (target.directory.clone(), target.force);
    tokio::task::spawn_blocking(move || match std::fs::symlink_metadata(&directory) {
        Ok(_) if is_empty_folder(&directory) => pending.commit(),
        Ok(_) if force => pending.replace(),
        Ok(_) => atomic::refuse_existing(&directory, false).map(|()| directory),
        Err(_) => pending.commit(),
    })
    .await
    .context(Kind::Internal, "renaming the output was interrupted")?
}
