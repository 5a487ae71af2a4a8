//! Makes the volume and mounts it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use tokio::sync::watch;

use super::super::artifact_copy::copy_artifact;
use super::super::image_options::ImageOptions;
use super::super::{AccessOptions, Client, actions, artifact, capture, source, tags, target};
use super::as_root::AsRoot;
use super::copied::Copied;
use super::here::Here;
use super::machine::{ChrootMachine, refuse_command};
use super::mounts::Tree;
use super::options::ChrootOptions;
use super::volume::{self, Root};
use super::{device, image};
use crate::builder::Entry;
use crate::communicator::chroot::ChrootCommunicator;
use crate::communicator::local::LocalCommunicator;
use crate::engine::options::{OptionTable, fields};
use crate::engine::placeholders::Placeholders;
use crate::engine::shown_output::ShownOutput;
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Checkpoint, Command, Communicator, Health, Machine};
use crate::error::{Error, Kind, Result};

pub const NAME: &str = "amazon.chroot";

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    name: NAME,
    class: "rimg.AmazonChrootOptions",
    fields: || {
        static FIELDS: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| [fields::<AccessOptions>(), fields::<ChrootOptions>(), fields::<ImageOptions>()].concat());
        &FIELDS
    },
    // A chroot has nothing to boot: rimg.amazon.ebs starts an instance of the image.
    boot_options: None,
    destroy_artifact: Some(|options, artifact| Box::pin(artifact::destroy(options, artifact))),
    copy_artifact: Some(|options, regions, artifact, cx| Box::pin(copy_artifact(options, regions, artifact, cx))),
    decode: |value| {
        let mut table = OptionTable::new("rimg.amazon.chroot", value)?;
        Ok(Arc::new(ChrootBuilder { access: table.take()?, image: table.take()?, options: table.rest()? }))
    },
};

/// Makes chroots on this instance, and images of them.
struct ChrootBuilder {
    access: AccessOptions,
    image: ImageOptions,
    options: ChrootOptions,
}

/// Returns what stands for values in the lines that this host runs; no folder as long as nothing is mounted.
fn placeholders(device: &str, folder: Option<&Path>) -> Placeholders {
    let known = Placeholders::default().with("Device", device);
    match folder {
        Some(folder) => known.with("MountPath", folder.display().to_string()),
        None => known,
    }
}

/// Runs lines in this host's shell, as root.
async fn run_lines(
    option: &'static str,
    lines: &[String],
    known: &Placeholders,
    as_root: &AsRoot,
    cx: &BuildCx,
) -> Result<()> {
    let host = LocalCommunicator::new(&cx.settings.script_dir);
    for line in lines {
        let line = known.fill(line)?;
        let own = ["/bin/sh", "-c", &line].map(str::to_owned);
        let mut output = ShownOutput::new(&cx.ui, "localhost");
        let ended = host.exec(&Command::argv(as_root.0.iter().cloned().chain(own)), &mut output).await?;
        if ended.code() != 0 {
            let message = format!("option `{option}`: `{line}` exited with status {}", ended.code());
            return Err(Error::new(Kind::Command, message).field("status", ended.code()));
        }
    }
    Ok(())
}

impl ChrootBuilder {
    /// Mounts the volume and all that is in it, and copies the files that are wanted.
    async fn mount(&self, found: &Path, tree: &Tree, as_root: &AsRoot, cx: &BuildCx) -> Result<Vec<Copied>> {
        let (options, shown) = (&self.options, found.display().to_string());
        let root = device::partition(found, options.partition()?).await?;
        tree.mount(&root, &options.mount_options).await?;
        let known = placeholders(&shown, Some(&tree.path));
        run_lines("post_mount_commands", &options.post_mount_commands, &known, as_root, cx).await?;
        for mount in options.mounts() {
            tree.mount_inside(&mount).await?;
        }
        let chroot = ChrootCommunicator::new(&tree.path, &options.command_wrapper);
        let mut copied = Vec::new();
        for file in options.files() {
            copied.push(Copied::put(&file, &chroot).await?);
        }
        Ok(copied)
    }
}

#[async_trait]
impl Builder for ChrootBuilder {
    fn kind(&self) -> &'static str {
        NAME
    }

    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        self.access.validate(cx)?;
        self.image.validate()?;
        self.options.validate()?;
        tags::check("root_volume_tags", &self.options.root_volume_tags)?;
        tags::check("tags", &self.image.tags)?;
        tags::check("snapshot_tags", &self.image.snapshot_tags)?;
        for (lines, folder) in
            [(&self.options.pre_mount_commands, None), (&self.options.post_mount_commands, Some(Path::new("x")))]
        {
            lines.iter().try_for_each(|line| placeholders("x", folder).fill(line).map(drop))?;
        }
        cx.settings.needs.note(actions::chroot(&self.image, self.options.root_volume_kms_key_id.is_some()));
        let mut warnings = Vec::new();
        if self.access.insecure_skip_tls_verify {
            warnings.push("insecure_skip_tls_verify: whoever answers is taken for AWS".to_owned());
        }
        Ok(warnings)
    }

    fn check_capture(&self, spec: &CaptureSpec, _cx: &BuildCx) -> Result<()> {
        if spec.shutdown_command.is_some() {
            return Err(refuse_command());
        }
        capture::check(spec, &self.image)
    }

    fn pretend(&self, artifact: Artifact) -> Artifact {
        artifact::pretended(NAME, &self.image, &self.access.pretended_region(), artifact.build)
    }

    async fn launch(&self, cx: &BuildCx, _from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        let options = &self.options;
        let as_root = AsRoot(options.command_wrapper.clone());
        as_root.check().await?;
        let here = Here::find(&self.access).await?;
        let client = Client::connect(&self.access.in_region(&here.region)).await?;
        target::check(&client, &self.image, NAME, cx).await?;
        let source = match options.from_scratch {
            true => None,
            false => Some(source::find(&client, options.source()).await?),
        };
        if let Some(source) = &source {
            let name = source.name().unwrap_or("without a name");
            cx.ui.info(format!("From {} ({name})", source.image_id().unwrap_or_default()));
            let (theirs, ours) = (source.architecture().map(|kind| kind.as_str()), here.architecture.as_str());
            if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
                cx.ui.warn(format!(
                    "the source is {theirs}, this instance {ours}: it runs none of its programs by itself"
                ));
            }
            let others = image::left_out(source, &self.image.ami_block_device_mappings);
            if !others.is_empty() {
                let disks = others.join(", ");
                cx.ui.warn(format!(
                    "only the source's root is in the image, not {disks}: see ami_block_device_mappings"
                ));
            }
        }
        let root = Root::of(source.as_ref(), options)?;
        let volume = volume::make(&client, &root, options, &here, cx).await?;
        let name = volume::attach(&client, &volume.id, options, &here).await?;
        let found = device::of_volume(&volume.id, &name, options.nvme_device_path.as_deref()).await?;
        let shown = found.display().to_string();
        cx.ui.info(format!("Attached {} to {} as {name}: {shown}", volume.id, here.instance));
        let before = &options.pre_mount_commands;
        run_lines("pre_mount_commands", before, &placeholders(&shown, None), &as_root, cx).await?;
        let (tree, mounted) = Tree::enter(options, cx).await?;
        let copied = self.mount(&found, &tree, &as_root, cx).await?;
        cx.ui.info(format!("Mounted {shown} at {}", tree.path.display()));
        Ok(Arc::new(ChrootMachine {
            client,
            here,
            options: options.clone(),
            image: self.image.clone(),
            source,
            root,
            volume,
            tree,
            mounted,
            copied,
            health: watch::Sender::new(Health::Running),
            cx: cx.clone(),
        }))
    }
}
