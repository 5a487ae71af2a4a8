//! `rimg.qemu{…}`: from options to a running machine.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::accelerator;
use super::capture;
use super::connect;
use super::disk;
use super::disk_options::DiskOptions;
use super::display::DisplayOptions;
use super::firmware::FirmwareOptions;
use super::hardware::Hardware;
use super::keyboard::Keyboard;
use super::machine::QemuMachine;
use super::media;
use super::network::{self, NetworkOptions};
use super::options::{QemuOptions, wrong};
use super::supervisor::{self, Shared};
use super::tail::Tail;
use super::topology::Topology;
use crate::communicator::ssh::SshOptions;
use crate::communicator::ssh::keys::TemporaryKeyOptions;
use crate::console::BootOptions;
use crate::engine::options::{OptionError, OptionTable, fields};
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Checkpoint, Health, Machine, Value};
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::media::{CdOptions, FloppyOptions, HttpServerOptions, IsoOptions};

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

    async fn launch(&self, cx: &BuildCx, _from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        let options = &self.options;
        let binary = options.machine.find_programs()?;
        let medium = self.iso.fetch(cx).await?;
        let (image, medium) = if options.machine.disk_image { (medium, None) } else { (None, medium) };
        let source = disk::find(&options.machine, image, cx).await?;
        let dir = cx.private_dir("qemu")?;
        let disks = disk::paths(&options.disks, &dir);
        disk::make(source.as_ref(), &disks, &options.disks, cx).await?;
        let inherited = options.machine.inherited_vars();
        let flash = options.firmware.prepare(&options.for_firmware(&binary), inherited, &dir, cx).await?;
        let (mut login, key) = connect::login(self, cx).await?;
        let public_key = key.as_ref().map(|key| key.authorized_key.clone()).or_else(|| login.as_ref()?.public_key());
        let media = media::prepare(self, medium, public_key.as_deref(), &dir, cx).await?;
        let seed = match connect::seed(self, login.as_mut(), key, &media.values, cx).await? {
            None => None,
            Some(seed) => {
                let path = dir.join("seed.iso");
                let to = path.clone();
                tokio::task::spawn_blocking(move || seed.write(&to))
                    .await
                    .context(Kind::Internal, "writing the seed was interrupted")??;
                Some(path)
            }
        };
        let serial_path = match &options.machine.serial_log {
            None => dir.join("serial.log"),
            Some(path) => {
                let path = cx.settings.resolve(path);
                if let Some(parent) = path.parent() {
                    tokio::fs::create_dir_all(parent).await.map_err(|e| io_error("create folder", parent, e))?;
                }
                path
            }
        };
        let choice = accelerator::choose(&options.machine, &binary, cx).await?;

        let shared = Arc::new(Shared {
            name: options.machine.vm_name(cx).to_owned(),
            options: options.clone(),
            binary,
            source,
            disks,
            flash,
            mac: network::new_mac(),
            cdroms: media.cdroms,
            boots_cd: media.boots_cd,
            floppy: media.floppy,
            values: media.values.clone(),
            seed,
            serial: Mutex::new(Tail::new(serial_path.clone())),
            serial_seen: Default::default(),
            screen: Default::default(),
            firmware: Mutex::new(Tail::new(dir.join("firmware.log"))),
            serial_path,
            dir: dir.clone(),
            guest_port: self.ssh.port(),
            health: watch::Sender::new(Health::Running),
            port: watch::Sender::new(0),
            starts: watch::Sender::new(0),
            qmp: Mutex::default(),
            process_id: Mutex::default(),
            going_off: AtomicBool::new(options.machine.disable_shutdown),
            reached: AtomicBool::new(false),
            typed: AtomicBool::new(false),
            waits_for_system: login.is_some() && self.boot.is_empty(),
            stop: CancellationToken::new(),
            finished: CancellationToken::new(),
        });
        let (started, hears) = oneshot::channel();
        let (stop, finished) = (shared.stop.clone(), shared.finished.clone());
        let server = media.server;
        let resource = cx.resources.enter("machine", format!("qemu {}", shared.name), move || async move {
            stop.cancel();
            finished.cancelled().await;
            let stopped = match server {
                Some(server) => server.stop().await,
                None => Ok(()),
            };
            let removed = tokio::task::spawn_blocking(move || crate::host::atomic::remove(&dir)).await;
            removed.context(Kind::Internal, "removing the machine's folder was interrupted")?;
            stopped
        });
        tokio::spawn(supervisor::run(shared.clone(), choice, started, cx.clone()));
        hears.await.map_err(|_| Error::new(Kind::Internal, "the machine's supervisor is gone"))??;
        let machine =
            Arc::new(QemuMachine { shared, login, keyboard: Keyboard::new(&self.boot), resource, cx: cx.clone() });
        if !self.boot.is_empty() {
            machine.type_boot_command(&self.boot, &media.values, cx).await?;
        }
        Ok(machine)
    }
}
