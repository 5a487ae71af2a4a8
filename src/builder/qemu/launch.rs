//! From what a machine begins with to one that runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accelerator::{self, Choice};
use super::builder::QemuBuilder;
use super::checkpoint::{Incoming, Reference};
use super::connect::{self, Login};
use super::disk::{self, Source};
use super::firmware::Firmware;
use super::keyboard::Keyboard;
use super::machine::QemuMachine;
use super::media::{self, Media};
use super::network;
use super::supervisor::{self, Shared};
use super::tail::Tail;
use crate::engine::{BuildCx, Health, Resource};
use crate::error::{Context, Error, Kind, Result, io_error};

/// All that a machine begins with, on an empty disk, an image or a checkpoint.
pub struct Begun {
    /// The machine's private folder.
    pub dir: PathBuf,
    pub binary: PathBuf,
    pub source: Option<Source>,
    /// The files elsewhere that its disks and drives depend on.
    pub references: Vec<Reference>,
    pub disks: Vec<PathBuf>,
    pub flash: Firmware,
    pub media: Media,
    pub seed: Option<PathBuf>,
    pub login: Option<Login>,
    pub serial_path: PathBuf,
    /// Up to where the serial console's text is used up.
    pub serial_seen: u64,
    pub mac: String,
    pub choice: Choice,
    /// The memory that it goes on with.
    pub incoming: Option<Incoming>,
}

/// Prepares a machine that is yet to boot.
pub async fn afresh(builder: &QemuBuilder, cx: &BuildCx) -> Result<Begun> {
    let options = &builder.options;
    let binary = options.machine.find_programs()?;
    let medium = builder.iso.fetch(cx).await?;
    let (image, medium) = if options.machine.disk_image { (medium, None) } else { (None, medium) };
    let source = disk::find(&options.machine, image, cx).await?;
    let references = Reference::of(source.as_ref(), medium.as_deref(), options).await?;
    let dir = cx.private_dir("qemu")?;
    let disks = disk::paths(&options.disks, &dir);
    disk::make(source.as_ref(), &disks, &options.disks, cx).await?;
    let inherited = options.machine.inherited_vars();
    let flash = options.firmware.prepare(&options.for_firmware(&binary), inherited, &dir, cx).await?;
    let (mut login, key) = connect::login(builder, cx).await?;
    let public_key = key.as_ref().map(|key| key.authorized_key.clone()).or_else(|| login.as_ref()?.public_key());
    let media = media::prepare(builder, medium, public_key.as_deref(), &dir, cx).await?;
    let seed = match connect::seed(builder, login.as_mut(), key, &media.values, cx).await? {
        None => None,
        Some(seed) => {
            let path = dir.join(media::SEED);
            let to = path.clone();
            tokio::task::spawn_blocking(move || seed.write(&to))
                .await
                .context(Kind::Internal, "writing the seed was interrupted")??;
            Some(path)
        }
    };
    let serial_path = serial_path(builder, &dir, cx).await?;
    let choice = accelerator::choose(&options.machine, &binary, cx).await?;
    Ok(Begun {
        dir,
        binary,
        source,
        references,
        disks,
        flash,
        media,
        seed,
        login,
        serial_path,
        serial_seen: 0,
        mac: network::new_mac(),
        choice,
        incoming: None,
    })
}

/// Returns where the serial console's text goes, after making the folder for it.
pub async fn serial_path(builder: &QemuBuilder, dir: &std::path::Path, cx: &BuildCx) -> Result<PathBuf> {
    let Some(path) = &builder.options.machine.serial_log else { return Ok(dir.join("serial.log")) };
    let path = cx.settings.resolve(path);
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(|e| io_error("create folder", parent, e))?;
    }
    Ok(path)
}

/// Starts the machine; one that is yet to boot is typed to.
pub async fn machine(builder: &QemuBuilder, begun: Begun, cx: &BuildCx) -> Result<Arc<QemuMachine>> {
    let options = &builder.options;
    let Begun { dir, media, login, choice, .. } = begun;
    let resumes = begun.incoming.is_some();
    let types = !resumes && !builder.boot.is_empty();
    let shared = Arc::new(Shared {
        name: options.machine.vm_name(cx).to_owned(),
        options: options.clone(),
        binary: begun.binary,
        source: begun.source,
        references: begun.references,
        disks: Mutex::new(begun.disks),
        layers: AtomicU32::new(0),
        flash: begun.flash,
        mac: begun.mac,
        cdroms: media.cdroms,
        boots_cd: media.boots_cd,
        floppy: media.floppy,
        values: media.values.clone(),
        seed: begun.seed,
        serial: Mutex::new(Tail::new(begun.serial_path.clone())),
        serial_seen: AtomicU64::new(begun.serial_seen),
        screen: Default::default(),
        firmware: Mutex::new(Tail::new(dir.join("firmware.log"))),
        serial_path: begun.serial_path,
        dir: dir.clone(),
        guest_port: builder.ssh.port(),
        health: watch::Sender::new(Health::Running),
        port: watch::Sender::new(0),
        starts: watch::Sender::new(0),
        qmp: Mutex::default(),
        process_id: Mutex::default(),
        resource: OnceLock::new(),
        user: login.as_ref().map(|login| login.user().to_owned()),
        going_off: AtomicBool::new(options.machine.disable_shutdown),
        reached: AtomicBool::new(resumes),
        typed: AtomicBool::new(false),
        waits_for_system: !resumes && login.is_some() && !types,
        incoming: begun.incoming,
        choice: Mutex::new(choice.clone()),
        stands_still: AtomicBool::new(false),
        saving: Default::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        leave: CancellationToken::new(),
        finished: CancellationToken::new(),
    });
    let (started, hears) = oneshot::channel();
    let (stop, finished, tasks) = (shared.stop.clone(), shared.finished.clone(), shared.tasks.clone());
    let server = media.server;
    let what = Resource { name: shared.name.clone(), ..Resource::path("machine", &dir) };
    let entered = cx.resources.enter(what, move || async move {
        stop.cancel();
        finished.cancelled().await;
        tasks.close();
        tasks.wait().await;
        let stopped = match server {
            Some(server) => server.stop().await,
            None => Ok(()),
        };
        let removed = tokio::task::spawn_blocking(move || crate::host::atomic::remove(&dir)).await;
        removed.context(Kind::Internal, "removing the machine's folder was interrupted")?;
        stopped
    });
    let resource = entered.await?;
    let _ = shared.resource.set(resource);
    tokio::spawn(supervisor::run(shared.clone(), choice, started, cx.clone()));
    hears.await.map_err(|_| Error::new(Kind::Internal, "the machine's supervisor is gone"))??;
    let machine = Arc::new(QemuMachine {
        shared,
        login,
        keyboard: Keyboard::new(&builder.boot),
        clock: super::checkpoint::Clock::new(resumes),
        resource,
        cx: cx.clone(),
    });
    if types {
        machine.type_boot_command(&builder.boot, &media.values, cx).await?;
    }
    Ok(machine)
}
