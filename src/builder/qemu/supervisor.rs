//! The task that owns a machine's QEMU: starts it, watches it, says of what it died, ends it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accelerator::{self, Choice};
use super::arguments::{self, Plan};
use super::checkpoint::{Incoming, Reference};
use super::console;
use super::disk::{self, Source};
use super::emulator::Emulator;
use super::firmware::Firmware;
use super::hardware::Hardware;
use super::qmp::{Event, Qmp};
use super::screen::Reader;
use super::tail::Tail;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Health, ResourceId, picture};
use crate::error::{Error, Kind, Result, full_disk};

/// How often what the guest and its firmware wrote is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// A death is reported within a second, with a picture or without.
const PICTURE_LIMIT: Duration = Duration::from_millis(600);
/// How long a prompt of EFI's shell may stand until nobody is believed to go on.
const SHELL_PATIENCE: Duration = Duration::from_secs(3);
/// How long a QEMU whose guest went off while it was being saved may take to end.
const HANG_PATIENCE: Duration = Duration::from_secs(5);
const PORT_ATTEMPTS: u32 = 8;
/// Texts of firmware that has found nothing to boot: SeaBIOS's and EDK II's.
const NOTHING_TO_BOOT: [&str; 2] = ["No bootable device", "No bootable option or device was found"];
const EDK_NOTHING_TO_BOOT: &str = "BdsDxe: No bootable option or device was found";
const PANIC: &str = "Kernel panic - not syncing";

/// What the machine's methods and its supervisor share.
pub struct Shared {
    pub name: String,
    pub options: Hardware,
    pub binary: PathBuf,
    /// None when the disk starts empty.
    pub source: Option<Source>,
    /// What is in the CD drives; `boots_cd` tells whether the first one is to be booted from.
    pub cdroms: Vec<PathBuf>,
    pub boots_cd: bool,
    pub floppy: Option<PathBuf>,
    /// What the placeholders in `qemuargs` stand for.
    pub values: Placeholders,
    /// The machine's private folder.
    pub dir: PathBuf,
    /// The files elsewhere that its disks and drives depend on.
    pub references: Vec<Reference>,
    /// What the guest writes to: the machine's own disk first.
    pub disks: Mutex<Vec<PathBuf>>,
    /// How many layers its disks have got since it was started.
    pub layers: AtomicU32,
    pub flash: Firmware,
    /// The hardware address of the network card.
    pub mac: String,
    pub seed: Option<PathBuf>,
    pub serial_path: PathBuf,
    pub guest_port: u16,
    pub health: watch::Sender<Health>,
    /// The port on 127.0.0.1 that leads to the guest's; 0 before the first start.
    pub port: watch::Sender<u16>,
    /// How often QEMU was started.
    pub starts: watch::Sender<u32>,
    pub qmp: Mutex<Option<Qmp>>,
    pub process_id: Mutex<Option<u32>>,
    /// What the machine is among the build's resources, from before its first start.
    pub resource: OnceLock<ResourceId>,
    /// Whom one logs in as.
    pub user: Option<String>,
    pub serial: Mutex<Tail>,
    pub firmware: Mutex<Tail>,
    /// Up to which offset expectations have used up what is on the serial console.
    pub serial_seen: AtomicU64,
    pub screen: Reader,
    /// Whether rimg asked the guest to go off.
    pub going_off: AtomicBool,
    /// Whether the guest ever took a command: from then on starting over would lose work.
    pub reached: AtomicBool,
    /// Whether a login is waited for and nothing is typed: then EFI's own shell is where the start has ended.
    pub waits_for_system: bool,
    /// Whether a boot command was typed to its end: the same holds then.
    pub typed: AtomicBool,
    /// The memory that it goes on with, where it was started from a checkpoint.
    pub incoming: Option<Incoming>,
    /// What it was started with.
    pub choice: Mutex<Choice>,
    /// Whether the guest has to stand still while a checkpoint's memory is stored.
    pub stands_still: AtomicBool,
    /// Held while a checkpoint is being saved.
    pub saving: Arc<tokio::sync::Mutex<()>>,
    /// What has to end before the machine's folder is removed.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Cancelled when the machine is to go on without us.
    pub leave: CancellationToken,
    pub finished: CancellationToken,
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn qmp(&self) -> Result<Qmp> {
        lock(&self.qmp).clone().ok_or_else(|| Error::new(Kind::Machine, "QEMU is not running"))
    }

    /// Returns the last console lines: the serial console's, or before there are any the firmware's.
    pub fn console_lines(&self, count: usize) -> Vec<String> {
        let mut serial = lock(&self.serial);
        serial.poll();
        let lines = serial.last(count);
        if !lines.is_empty() {
            return lines;
        }
        let mut firmware = lock(&self.firmware);
        firmware.poll();
        firmware.last(count)
    }

    /// Returns what the guest writes to, the machine's own disk first.
    pub fn disks(&self) -> Vec<PathBuf> {
        lock(&self.disks).clone()
    }

    /// Gives the machine the disks and variables it began with.
    async fn begin_anew(&self, cx: &BuildCx) -> Result<()> {
        disk::make(self.source.as_ref(), &self.disks(), &self.options.disks, cx).await?;
        self.flash.reset().await
    }

    /// Returns the EFI variables that the finished image is to have beside it.
    pub fn kept_vars(&self) -> Option<&Path> {
        self.flash.vars().filter(|_| !self.options.firmware.efi_drop_efivars)
    }

    /// Tells whether nothing would be lost by starting over.
    fn is_fresh(&self) -> bool {
        !self.reached.load(Ordering::Acquire) && !self.typed.load(Ordering::Acquire)
    }

    /// Names what the machine can boot from, for a message.
    fn boots_from(&self) -> String {
        let disk = self.source.as_ref().map(|source| source.path.display().to_string());
        let medium = self.cdroms.first().filter(|_| self.boots_cd).map(|path| path.display().to_string());
        match (disk, medium) {
            (Some(disk), Some(medium)) => format!("{disk} and {medium}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "an empty disk".to_owned(),
        }
    }

    /// Tells whether EFI's shell waits for somebody to type.
    fn is_in_efi_shell(&self) -> bool {
        self.waits_for_system && lock(&self.serial).last(1).first().is_some_and(|line| line == "Shell>")
    }

    fn new_lines(&self) -> (Vec<String>, Vec<String>) {
        (lock(&self.serial).poll(), lock(&self.firmware).poll())
    }

    /// Writes down which processes the machine is now, and where it is logged in to.
    fn note(&self, emulator: &Emulator, cx: &BuildCx) {
        let Some(resource) = self.resource.get() else { return };
        emulator.ids().for_each(|pid| cx.resources.has_process(*resource, Some(pid)));
        if let Some(user) = self.user.as_ref().filter(|_| self.options.network.forwards()) {
            let way = serde_json::json!({ "host": "127.0.0.1", "port": *self.port.borrow(), "user": user });
            cx.resources.has_way(*resource, way);
        }
    }

    async fn start(&self, choice: &Choice, seen: &Path) -> Result<(Emulator, broadcast::Receiver<Event>)> {
        let mut port = *self.port.borrow();
        let disks = self.disks();
        for attempt in 1.. {
            if !self.options.network.forwards() {
                port = self.guest_port;
            } else if port == 0 || attempt > 1 {
                port = self.options.network.free_port()?;
            }
            let plan = Plan {
                options: &self.options,
                name: &self.name,
                choice,
                dir: &self.dir,
                disks: &disks,
                flash: &self.flash,
                cdroms: &self.cdroms,
                boots_cd: self.boots_cd,
                floppy: self.floppy.as_deref(),
                seed: self.seed.as_deref(),
                values: &self.values,
                serial: &self.serial_path,
                resumes: self.incoming.is_some(),
                firmware: seen,
                host_port: port,
                guest_port: self.guest_port,
                mac: &self.mac,
            };
            let tpm_dir = self.options.firmware.vtpm.then_some(self.dir.as_path());
            match Emulator::start(&self.binary, &arguments::build(&plan)?, tpm_dir).await {
                // Somebody else took the port between our look and QEMU's.
                Err(error) if error.message().contains("host forwarding rule") && attempt < PORT_ATTEMPTS => {
                    tracing::debug!(port, "the port was taken");
                }
                Err(error) => {
                    let error = self.options.network.explain(self.options.display.explain(error));
                    return Err(error.hint("`qemuargs` and the hardware options make QEMU's command line"));
                }
                Ok((emulator, events)) => {
                    *lock(&self.qmp) = Some(emulator.qmp.clone());
                    *lock(&self.process_id) = emulator.id();
                    self.port.send_replace(port);
                    return Ok((emulator, events));
                }
            }
        }
        Err(Error::new(Kind::Host, "no free port on 127.0.0.1 was found"))
    }
}

/// How the watch over one QEMU ended.
enum End {
    /// rimg wants it gone.
    Stopped,
    /// rimg lets go of it.
    Left,
    /// The guest went off as it was asked to.
    Off,
    /// It died; `exited` tells whether QEMU is gone too, `accelerator` whether that may be what it died of.
    Dead { why: String, exited: bool, accelerator: bool },
}

impl End {
    fn alive(why: impl Into<String>) -> End {
        End::Dead { why: why.into(), exited: false, accelerator: false }
    }
}

/// Runs the machine to its end. `started` hears of the first start.
pub async fn run(shared: Arc<Shared>, mut choice: Choice, started: oneshot::Sender<Result<()>>, cx: BuildCx) {
    let _finished = shared.finished.clone().drop_guard();
    let mut started = Some(started);
    let firmware_path = shared.dir.join("firmware.log");
    loop {
        let begun = async {
            let (mut emulator, events) = shared.start(&choice, &firmware_path).await?;
            shared.note(&emulator, &cx);
            shared.options.display.open(&emulator.qmp, &cx).await?;
            if let Some(incoming) = &shared.incoming {
                incoming.load(&mut emulator).await?;
            }
            emulator.run().await?;
            shared.starts.send_modify(|starts| *starts += 1);
            Ok::<_, Error>((emulator, events))
        };
        let begun = tokio::select! {
            biased;
            () = shared.stop.cancelled() => {
                shared.health.send_replace(Health::Off);
                return;
            }
            begun = begun => begun,
        };
        let (mut emulator, events) = match begun {
            Ok(begun) => begun,
            Err(error) if choice.may_fall_back && blames_accelerator(error.message()) => {
                choice = fall_back(&shared, &choice, error.message(), &cx).await;
                continue;
            }
            Err(error) => {
                shared.health.send_replace(Health::Dead(error.full_message()));
                if let Some(started) = started.take() {
                    let _ = started.send(Err(error));
                }
                return;
            }
        };
        if let Some(started) = started.take() {
            let _ = started.send(Ok(()));
        }
        let end = watch(&shared, &mut emulator, events).await;
        lock(&shared.process_id).take();
        match end {
            End::Left => {
                emulator.leave();
                return;
            }
            End::Stopped | End::Off => {
                lock(&shared.qmp).take();
                emulator.end().await;
                shared.health.send_replace(Health::Off);
                return;
            }
            End::Dead { why, accelerator: true, .. } if choice.may_fall_back && shared.is_fresh() => {
                emulator.end().await;
                choice = fall_back(&shared, &choice, &why, &cx).await;
                // What the guest wrote before it died is not to be trusted.
                if let Err(error) = shared.begin_anew(&cx).await {
                    shared.health.send_replace(Health::Dead(error.full_message()));
                    return;
                }
            }
            End::Dead { why, exited, .. } => {
                let reason = obituary(&shared, &why, (!exited).then_some(&emulator.qmp), &cx).await;
                shared.health.send_replace(Health::Dead(reason));
                if !exited {
                    // Its screen can still be looked at until the machine is removed.
                    tokio::select! {
                        () = shared.stop.cancelled() => {}
                        _ = emulator.wait() => {}
                    }
                }
                lock(&shared.qmp).take();
                emulator.end().await;
                return;
            }
        }
    }
}

async fn fall_back(shared: &Shared, choice: &Choice, why: &str, cx: &BuildCx) -> Choice {
    let name = choice.accelerator.as_str().to_uppercase();
    let first = why.lines().next().unwrap_or_default();
    cx.ui.warn(format!("{name} does not work on this host: {first}; going on with emulation (TCG)"));
    accelerator::remember(choice, &shared.binary, Some(first.to_owned()), cx).await;
    let choice = Choice::emulation(&shared.options.machine);
    lock(&shared.choice).clone_from(&choice);
    choice
}

/// Tells whether QEMU's words or its end point at the accelerator rather than at the machine's options.
fn blames_accelerator(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["kvm", "hvf", "whpx", "msr", "vcpu", "signal: 6", "signal 6"].iter().any(|mark| words.contains(mark))
}

async fn watch(shared: &Shared, emulator: &mut Emulator, mut events: broadcast::Receiver<Event>) -> End {
    let qmp = emulator.qmp.clone();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut heard = true;
    let mut prompted: Option<Instant> = None;
    let mut guest_went_off = false;
    let mut went_off_amid_saving: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return End::Stopped,
            () = shared.leave.cancelled() => return End::Left,
            event = events.recv(), if heard => match event {
                Ok(event) if event.name == "SHUTDOWN" => {
                    guest_went_off = event.data.get("guest").and_then(Value::as_bool).unwrap_or(false);
                    if guest_went_off && shared.saving.try_lock().is_err() {
                        // QEMU may hang at its end while the guest's memory is being stored; the guest has written what
                        // it had to.
                        went_off_amid_saving = Some(Instant::now());
                    }
                }
                Ok(event) => {
                    if let Some(end) = judge(&event, &qmp, &shared.dir).await {
                        return end;
                    }
                }
                // Events were lost: look at what they would have said.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if let Some(end) = stopped(&qmp).await {
                        return end;
                    }
                }
                Err(broadcast::error::RecvError::Closed) => heard = false,
            },
            status = emulator.wait() => {
                if !guest_went_off {
                    // The last events may still be on their way through the channel.
                    while let Ok(event) = events.try_recv() {
                        guest_went_off |= event.name == "SHUTDOWN"
                            && event.data.get("guest").and_then(Value::as_bool).unwrap_or(false);
                    }
                }
                return exited(shared, emulator, status, guest_went_off);
            }
            _ = look.tick() => {
                if went_off_amid_saving.is_some_and(|since| since.elapsed() > HANG_PATIENCE) {
                    emulator.end().await;
                    return match shared.going_off.load(Ordering::Acquire) {
                        true => End::Off,
                        false => End::Dead {
                            why: "the guest powered itself off while a checkpoint was being saved".into(),
                            exited: true,
                            accelerator: false,
                        },
                    };
                }
                if let Some(end) = read_console(shared) {
                    return end;
                }
                // A script that the shell runs shows its prompt as well, but only for a moment.
                let since = prompted.take().filter(|_| shared.is_in_efi_shell());
                if since.is_some_and(|since| since.elapsed() > SHELL_PATIENCE) {
                    return End::alive(format!(
                        "the firmware found nothing to boot on {}, and started the EFI shell",
                        shared.boots_from()
                    ));
                }
                if shared.is_in_efi_shell() {
                    prompted = since.or_else(|| Some(Instant::now()));
                }
            }
        }
    }
}

async fn judge(event: &Event, qmp: &Qmp, dir: &Path) -> Option<End> {
    match event.name.as_str() {
        "GUEST_PANICKED" => Some(End::alive("the guest's kernel panicked")),
        "BLOCK_IO_ERROR" => {
            let full = event.data.get("nospace").and_then(Value::as_bool).unwrap_or(false);
            let reason = event.data.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
            let stops = event.data.get("action").and_then(Value::as_str) == Some("stop");
            match (full, stops) {
                (true, _) => {
                    Some(End::alive(format!("there is no room for what the guest writes: {}", full_disk(dir))))
                }
                (false, true) => Some(End::alive(format!("the guest's disk failed: {reason}"))),
                (false, false) => None,
            }
        }
        "STOP" => stopped(qmp).await,
        _ => None,
    }
}

/// Looks why the processors are stopped; rimg itself never stops them for good.
async fn stopped(qmp: &Qmp) -> Option<End> {
    match qmp.status().await.ok()?.as_str() {
        "internal-error" => Some(End::Dead {
            why: "the accelerator gave up on the guest (QEMU reports `internal-error`)".into(),
            exited: false,
            accelerator: true,
        }),
        "io-error" => Some(End::alive("the guest's disk failed (QEMU reports `io-error`); is this host's disk full?")),
        "guest-panicked" => Some(End::alive("the guest's kernel panicked")),
        _ => None,
    }
}

fn exited(
    shared: &Shared,
    emulator: &Emulator,
    status: std::io::Result<std::process::ExitStatus>,
    guest_went_off: bool,
) -> End {
    use std::os::unix::process::ExitStatusExt;
    let clean = status.as_ref().is_ok_and(|status| status.success());
    if clean && shared.going_off.load(Ordering::Acquire) {
        return End::Off;
    }
    if clean && guest_went_off {
        let mut why = "the guest powered itself off, which rimg had not asked for".to_owned();
        if shared.boots_cd && !shared.reached.load(Ordering::Acquire) {
            why.push_str(
                "; if that was the end of an installation: the installer must reboot instead (preseed: leave out \
                 `d-i debian-installer/exit/poweroff`; kickstart: `reboot`; autoinstall: leave out `shutdown: poweroff`)",
            );
        }
        return End::Dead { why, exited: true, accelerator: false };
    }
    let said = emulator.said();
    let (ended, aborted) = match &status {
        Ok(status) => match status.signal() {
            Some(signal) => (format!("QEMU was killed by signal {signal}"), signal == 6),
            None => (format!("QEMU ended ({status})"), false),
        },
        Err(error) => (format!("QEMU is gone ({error})"), false),
    };
    let why = if said.is_empty() { ended } else { format!("{ended}: {said}") };
    End::Dead { exited: true, accelerator: aborted || (!clean && blames_accelerator(&said)), why }
}

/// Tells whether the firmware gave up. On the serial console systems speak as well: only its own whole words count
/// there.
fn found_nothing(firmware: &[String], serial: &[String]) -> bool {
    firmware.iter().any(|line| NOTHING_TO_BOOT.iter().any(|text| line.contains(text)))
        || serial.iter().any(|line| line.starts_with(EDK_NOTHING_TO_BOOT))
}

fn read_console(shared: &Shared) -> Option<End> {
    let (serial, firmware) = shared.new_lines();
    if found_nothing(&firmware, &serial) {
        let places = shared.boots_from();
        return Some(End::alive(format!("the firmware found nothing to boot on {places}")));
    }
    // At the start of the line, after the kernel's timestamp at most: a program that prints it is not a panic.
    let panics = |line: &&String| {
        let text = line.trim_start();
        let text = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(_, text)| text);
        text.trim_start().starts_with(PANIC)
    };
    let line = serial.iter().find(panics)?;
    Some(End::alive(format!("the guest's kernel panicked: {}", line.trim())))
}

/// Says of what the machine died, with its last console lines and a picture of its screen.
async fn obituary(shared: &Shared, why: &str, qmp: Option<&Qmp>, cx: &BuildCx) -> String {
    let mut text = why.to_owned();
    let lines = shared.console_lines(8);
    if !lines.is_empty() {
        text.push_str("\nthe last console lines:");
        for line in lines {
            text.push_str("\n    ");
            text.push_str(&line);
        }
    }
    if let Some(qmp) = qmp {
        let picture = picture::path(cx);
        let drawn = tokio::time::timeout(PICTURE_LIMIT, console::screenshot(qmp, &shared.dir, &picture)).await;
        match drawn {
            Ok(Ok(())) => text.push_str(&format!("\nthe screen: {}", picture.display())),
            Ok(Err(error)) => tracing::debug!(%error, "no picture of a dead machine's screen"),
            Err(_) => tracing::debug!("no picture of a dead machine's screen in time"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_firmwares_own_words_say_that_it_found_nothing() {
        let lines = |text: &str| vec![text.to_owned()];
        assert!(found_nothing(&lines("No bootable device."), &[]));
        assert!(found_nothing(&[], &lines("BdsDxe: No bootable option or device was found.")));
        assert!(!found_nothing(&[], &lines("installer: No bootable device, making one")));
    }

    #[test]
    fn only_the_accelerators_own_words_blame_it() {
        assert!(blames_accelerator("qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69"));
        assert!(blames_accelerator("Could not access KVM kernel module: Permission denied"));
        assert!(!blames_accelerator("-device nonsense: 'nonsense' is not a valid device model name"));
    }
}
