//! `rimg.qemu{…}`: from options to a running machine.

use std::sync::{Arc, LazyLock};

use super::capture;
use super::checkpoint;
use super::connect;
use super::disk_options::DiskOptions;
use super::display::DisplayOptions;
use super::firmware::FirmwareOptions;
use super::hardware::Hardware;
use super::identity;
use super::launch;
use super::media;
use super::network::NetworkOptions;
use super::options::{QemuOptions, wrong};
use super::topology::Topology;
use crate::communicator::ssh::SshOptions;
use crate::communicator::ssh::keys::TemporaryKeyOptions;
use crate::console::BootOptions;
use crate::engine::options::{OptionError, OptionTable, fields};
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Checkpoint, Machine, Value};
use crate::error::{Context, Error, Kind, Result};
use crate::media::{CdOptions, FloppyOptions, HttpServerOptions, IsoOptions};
use async_trait::async_trait;

/// Makes QEMU machines from one set of options.
pub struct QemuBuilder {
    pub options: Hardware,
    pub iso: IsoOptions,
    pub boot: BootOptions,
    pub http: HttpServerOptions,
    pub cd: CdOptions,
    pub floppy: FloppyOptions,
    pub ssh: SshOptions,
    pub temporary_key: TemporaryKeyOptions,
    /// The option table as it was given.
    pub given: Value,
    /// Whether a temporary key can reach the guest through what it is given.
    pub can_pass_key: bool,
}

impl QemuBuilder {
    /// Tells whether a system is installed from a medium on an empty disk.
    pub fn installs(&self) -> bool {
        self.iso.is_given() && !self.options.machine.disk_image && self.options.machine.source_image.is_none()
    }
}

/// Decodes the option table of `rimg.qemu`.
pub fn decode(value: Value) -> Result<Arc<dyn Builder>> {
    let can_pass_key = media::can_pass_key(&value);
    let given = value.clone();
    let mut table = OptionTable::new("rimg.qemu", value)?;
    Ok(Arc::new(QemuBuilder {
        iso: table.take()?,
        boot: table.take()?,
        http: table.take()?,
        cd: table.take()?,
        floppy: table.take()?,
        ssh: SshOptions::take(&mut table)?,
        temporary_key: table.take()?,
        can_pass_key,
        given,
        options: Hardware {
            topology: table.take()?,
            disks: table.take()?,
            firmware: table.take()?,
            display: table.take()?,
            network: table.take()?,
            machine: table.rest()?,
        },
    }))
}

/// Lists the options of `rimg.qemu`.
pub fn field_names() -> &'static [&'static str] {
    static FIELDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        [
            fields::<QemuOptions>(),
            fields::<Topology>(),
            fields::<DiskOptions>(),
            fields::<FirmwareOptions>(),
            fields::<DisplayOptions>(),
            fields::<NetworkOptions>(),
            fields::<IsoOptions>(),
            fields::<BootOptions>(),
            fields::<HttpServerOptions>(),
            fields::<CdOptions>(),
            fields::<FloppyOptions>(),
            &SshOptions::names(),
            fields::<TemporaryKeyOptions>(),
        ]
        .concat()
    });
    &FIELDS
}

/// Returns the options that boot an image which a machine with these options has become: on a throwaway overlay.
pub fn boot_options(value: Value, artifact: &Artifact) -> Result<Value> {
    let Value::Map(mut entries) = value else {
        return Err(OptionError::new("expected a table of options").into_error("rimg.qemu"));
    };
    let has = |wanted: &str| entries.iter().any(|(name, _)| name == wanted);
    let installed = (has("iso_url") || has("iso_urls")) && !has("source_image");
    // Of the first boot only: what it started from, what it was given to read, and files that belong to it.
    let media = [
        fields::<IsoOptions>(),
        fields::<BootOptions>(),
        fields::<HttpServerOptions>(),
        fields::<CdOptions>(),
        fields::<FloppyOptions>(),
    ]
    .concat();
    let source = [
        "source_image",
        "source_checksum",
        "disk_image",
        "use_backing_file",
        "disk_size",
        "disk_additional_size",
        "vm_name",
        "serial_log",
        "disable_shutdown",
    ];
    let answers = ["user_data", "meta_data", "network_config"];
    entries.retain(|(name, _)| {
        let name = name.as_str();
        !(source.contains(&name) || media.contains(&name) || (installed && answers.contains(&name)))
    });
    let artifact = serde_json::to_value(artifact).context(Kind::Internal, "cannot pass an artifact on")?;
    entries.push(("source_image".into(), artifact.into()));
    Ok(Value::Map(entries))
}

#[async_trait]
impl Builder for QemuBuilder {
    fn kind(&self) -> &'static str {
        "qemu"
    }

    fn check_capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<()> {
        capture::Target::of(&self.options, spec, cx).map(drop)
    }

    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        let mut warnings = self.options.validate(cx)?;
        self.iso.validate(cx)?;
        self.boot.validate(cx)?;
        self.http.validate(cx)?;
        self.cd.validate(cx)?;
        self.floppy.validate(cx)?;
        let placeholders = media::placeholders(self);
        self.boot.check_placeholders(&placeholders)?;
        self.http.check_placeholders(&placeholders)?;
        self.cd.check_placeholders(&placeholders)?;
        self.floppy.check_placeholders(&placeholders)?;
        if self.options.machine.disk_image && !self.iso.is_given() {
            return Err(wrong("disk_image", "says that iso_url is a disk image, and there is no iso_url"));
        }
        if self.options.machine.disk_image && self.options.machine.source_image.is_some() {
            return Err(wrong("disk_image", "says that iso_url is the disk image, and source_image names another")
                .hint("leave `disk_image` out to have the medium in the CD drive beside source_image"));
        }
        if self.options.machine.source_image.is_none() && !self.iso.is_given() {
            return Err(wrong("source_image", "is required, or `iso_url`: a machine starts from something")
                .hint(
                    "source_image is the path or the URL of a disk image, or what another build's vm:finish() returned",
                )
                .hint("iso_url is the medium of an installer, which starts with an empty disk"));
        }
        if self.floppy.is_given() && !self.options.is_pc() {
            let message = format!("a machine of type {:?} has no floppy drive", self.options.machine_type());
            return Err(Error::new(Kind::Option, message).hint("put the files on a CD: `cd_files`, `cd_content`"));
        }
        warnings.extend(connect::validate(self, cx)?);
        Ok(warnings)
    }

    async fn identity(&self, cx: &BuildCx) -> Result<Option<serde_json::Value>> {
        identity::of(self, cx).await
    }

    fn ending(&self, cx: &BuildCx) -> serde_json::Value {
        identity::ending(self, cx)
    }

    async fn launch(&self, cx: &BuildCx, from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        let begun = match from {
            None => launch::afresh(self, cx).await?,
            Some(checkpoint) => checkpoint::resume(self, checkpoint, cx).await?,
        };
        Ok(launch::machine(self, begun, cx).await?)
    }
}
