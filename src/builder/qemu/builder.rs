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
use super::machine::QemuMachine;
use super::options::QemuOptions;
use super::supervisor::{self, Shared};
use super::tail::Tail;
use crate::communicator::ssh::SshOptions;
use crate::console::BootOptions;
use crate::engine::options::{OptionError, OptionTable, fields};
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Health, Machine, Value};
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::media::{CdOptions, FloppyOptions, HttpServerOptions, IsoOptions};

/// Makes QEMU machines from one set of options.
pub struct QemuBuilder {
    pub options: QemuOptions,
    pub iso: IsoOptions,
    pub boot: BootOptions,
    pub http: HttpServerOptions,
    pub cd: CdOptions,
    pub floppy: FloppyOptions,
    pub ssh: SshOptions,
}

/// Decodes the option table of `rimg.qemu`.
pub fn decode(value: Value) -> Result<Arc<dyn Builder>> {
    let mut table = OptionTable::new("rimg.qemu", value)?;
    Ok(Arc::new(QemuBuilder {
        iso: table.take()?,
        boot: table.take()?,
        http: table.take()?,
        cd: table.take()?,
        floppy: table.take()?,
        ssh: table.take()?,
        options: table.rest()?,
    }))
}

/// Lists the options of `rimg.qemu`.
pub fn field_names() -> &'static [&'static str] {
    static FIELDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        [
            fields::<QemuOptions>(),
            fields::<IsoOptions>(),
            fields::<BootOptions>(),
            fields::<HttpServerOptions>(),
            fields::<CdOptions>(),
            fields::<FloppyOptions>(),
            fields::<SshOptions>(),
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
    // Of the first boot only: the source and its checksum, and files that belong to it.
    let gone = ["source_image", "source_checksum", "use_backing_file", "disk_size", "vm_name", "serial_log"];
    entries.retain(|(name, _)| !gone.contains(&name.as_str()));
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
        warnings.extend(connect::validate(&self.ssh, cx)?);
        Ok(warnings)
    }

    async fn launch(&self, cx: &BuildCx) -> Result<Arc<dyn Machine>> {
        let options = &self.options;
        let binary = options.find_programs()?;
        let source = disk::find(options, cx).await?;
        let dir = cx.private_dir("qemu")?;
        let disk = dir.join("disk.qcow2");
        disk::make(&source, &disk, options, cx).await?;
        let (login, seed) = connect::prepare(options, &self.ssh, cx).await?;
        let seed = match seed {
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
        let serial_path = match &options.serial_log {
            None => dir.join("serial.log"),
            Some(path) => {
                let path = cx.settings.resolve(path);
                if let Some(parent) = path.parent() {
                    tokio::fs::create_dir_all(parent).await.map_err(|e| io_error("create folder", parent, e))?;
                }
                path
            }
        };
        let choice = accelerator::choose(options, &binary, cx).await?;

        let shared = Arc::new(Shared {
            name: options.vm_name(cx).to_owned(),
            options: options.clone(),
            binary,
            source,
            disk,
            seed,
            serial: Mutex::new(Tail::new(serial_path.clone())),
            serial_seen: Default::default(),
            firmware: Mutex::new(Tail::new(dir.join("firmware.log"))),
            serial_path,
            dir: dir.clone(),
            guest_port: self.ssh.port(),
            health: watch::Sender::new(Health::Running),
            port: watch::Sender::new(0),
            qmp: Mutex::default(),
            process_id: Mutex::default(),
            going_off: AtomicBool::new(false),
            reached: AtomicBool::new(false),
            stop: CancellationToken::new(),
            finished: CancellationToken::new(),
        });
        let (started, hears) = oneshot::channel();
        let (stop, finished) = (shared.stop.clone(), shared.finished.clone());
        let resource = cx.resources.enter("machine", format!("qemu {}", shared.name), move || async move {
            stop.cancel();
            finished.cancelled().await;
            let removed = tokio::task::spawn_blocking(move || crate::host::atomic::remove(&dir)).await;
            removed.context(Kind::Internal, "removing the machine's folder was interrupted")
        });
        tokio::spawn(supervisor::run(shared.clone(), choice, started, cx.clone()));
        hears.await.map_err(|_| Error::new(Kind::Internal, "the machine's supervisor is gone"))??;
        Ok(Arc::new(QemuMachine { shared, login, resource, cx: cx.clone() }))
    }
}
