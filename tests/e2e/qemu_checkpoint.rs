//! Checkpoints of QEMU machines, below the engine: taken, gone on from, refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rimg::engine::machine::Shutdown;
use rimg::engine::options::Value;
use rimg::engine::{
    Builder, CaptureSpec, Checkpoint, Command, Communicator, Health, Machine, OutputSink, Saved, Saving,
};
use rimg::error::{Error, Kind};

use crate::support::build::TestBuild;
use crate::support::image::guest;
use crate::support::library::{has, skip, tool};

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| text(item)).collect())
}

#[derive(Default)]
struct Said(Vec<u8>);

impl OutputSink for Said {
    fn stdout(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn stderr(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// A Debian with a connection.
struct Guest {
    machine: Arc<dyn Machine>,
    ssh: Arc<dyn Communicator>,
}

impl Guest {
    async fn of(machine: Arc<dyn Machine>, build: &TestBuild) -> Guest {
        let ssh = machine.connect(&build.cx).await.expect("a connection");
        Guest { machine, ssh }
    }

    async fn run(&self, line: &str) -> String {
        let mut said = Said::default();
        let status = self.ssh.exec(&Command::shell(line), &mut said).await.expect("a command");
        let said = String::from_utf8_lossy(&said.0).trim_end().to_owned();
        assert_eq!(status.code(), 0, "{line}: {said}");
        said
    }

    /// Returns by how many seconds the guest's clock is wrong.
    async fn clock_error(&self) -> f64 {
        let began = now();
        let guest: f64 = self.run("date +%s.%N").await.parse().expect("a time");
        (began - guest).max(guest - now()).max(0.0)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64()
}

/// A folder, and a build there that makes machines of some options.
struct Bench {
    dir: tempfile::TempDir,
    build: TestBuild,
    entries: Vec<(&'static str, Value)>,
}

impl Bench {
    fn new(source: &Path, more: &[(&'static str, Value)]) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let build = TestBuild::new(dir.path());
        let mut entries = vec![
            ("source_image", text(&source.display().to_string())),
            ("accelerator", text("tcg")),
            ("ssh_username", text("vagrant")),
            ("ssh_password", text("vagrant")),
        ];
        entries.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
        entries.extend(more.iter().cloned());
        Bench { dir, build, entries }
    }

    fn builder(&self) -> Arc<dyn Builder> {
        self.builder_with(&[])
    }

    fn builder_with(&self, more: &[(&'static str, Value)]) -> Arc<dyn Builder> {
        let kept = self.entries.iter().filter(|(name, _)| !more.iter().any(|(given, _)| given == name));
        let entries = kept.chain(more).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let builder = rimg::builder::qemu::decode(Value::Map(entries)).expect("options");
        builder.validate(&self.build.cx).expect("valid");
        builder
    }

    async fn launch(&self, from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>, Error> {
        self.builder().launch(&self.build.cx, from).await
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join("checkpoints").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    async fn begin(&self, machine: &dyn Machine, name: &str) -> Saving {
        let folder = self.folder(name);
        machine.checkpoints().expect("checkpoints").save(&folder, &self.build.cx).await.expect("an instant")
    }

    async fn save(&self, machine: &dyn Machine, name: &str) -> Checkpoint {
        let began = Instant::now();
        let saving = self.begin(machine, name).await;
        let paused = saving.paused;
        let Saved { state, delayed } = saving.rest.await.expect("a checkpoint");
        let (size, raw, all) = (&state["memory"]["size"], &state["memory"]["raw"], began.elapsed());
        measured(&format!("{name}: paused {paused:?}, delayed {delayed:?}, done after {all:?}, {size} of {raw} bytes"));
        assert!(paused <= delayed, "{delayed:?}");
        Checkpoint { folder: self.folder(name), state }
    }

    async fn resume(&self, checkpoint: &Checkpoint) -> Guest {
        let began = Instant::now();
        let machine = self.launch(Some(checkpoint)).await.expect("a machine");
        let launched = began.elapsed();
        let guest = Guest::of(machine, &self.build).await;
        measured(&format!("launched after {launched:?}, connected after {:?}", began.elapsed()));
        guest
    }

    async fn refused(&self, checkpoint: &Checkpoint) -> Error {
        self.launch(Some(checkpoint)).await.err().expect("a refusal")
    }

    /// Removes everything the build still has; nothing may be left in its work folder.
    async fn clean(&self) {
        self.build.clean().await;
        let left = std::fs::read_dir(self.dir.path().join("work")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the work folder is empty");
    }
}

#[expect(clippy::print_stderr, reason = "figures are for people")]
fn measured(what: &str) {
    eprintln!("measured: {what}");
}

/// TPM2_PCR_Extend of PCR 16 with a digest of 32 times `A`, as the shell's printf takes it.
const EXTEND: &str = r"\200\002\000\000\000\101\000\000\001\202\000\000\000\020\000\000\000\011\100\000\000\011\000\000\000\000\000\000\000\000\001\000\013AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const PCR: &str = "cat /sys/class/tpm/tpm0/pcr-sha256/16";

#[tokio::test(flavor = "multi_thread")]
async fn a_system_goes_on_from_its_checkpoints() {
    let Some(image) = guest() else { return };
    let tpm = has("swtpm");
    let more = [
        // Large enough to run on while its memory goes out.
        ("memory", text("1100M")),
        ("disk_additional_size", list(&["64M"])),
        ("vtpm", Value::Bool(tpm)),
        ("cd_content", Value::Map(vec![("note".into(), text("on the CD"))])),
    ];
    let bench = Bench::new(&image, &more);
    let first = bench.launch(None).await.expect("a machine");
    let first = Guest::of(first, &bench.build).await;
    first.run("sudo mkfs.ext4 -q /dev/vdb && sudo mkdir /mnt/more && sudo mount /dev/vdb /mnt/more").await;
    first.run("sudo chmod 777 /mnt/more; head -c 3M /dev/urandom >synced; sha256sum synced >sums; sync").await;
    let pcr = if tpm {
        first
            .run(
                "sudo modprobe tpm_tis; i=0; while [ ! -e /dev/tpm0 ] && [ $i -lt 50 ]; do sleep 0.2; i=$((i+1)); done",
            )
            .await;
        first.run(&format!("printf '{EXTEND}' | sudo tee /dev/tpm0 >/dev/null")).await;
        let pcr = first.run(PCR).await;
        assert_ne!(pcr.trim_matches('0'), "", "it was extended");
        pcr
    } else {
        String::new()
    };
    first
        .run("nohup sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/counted; mv /tmp/counted /tmp/count; sleep 0.1; done' >/dev/null 2>&1 & sleep 0.5")
        .await;
    first
        .run(
            "nohup dd if=/dev/zero of=load bs=64k count=4000 oflag=dsync >/dev/null 2>&1 & echo $! >/tmp/dd; sleep 0.2",
        )
        .await;
    first.run("echo dirty >dirty; echo dirty >/mnt/more/dirty").await;
    let counted: u64 = first.run("cat /tmp/count").await.parse().expect("a number");
    let serial_seen = first.machine.console().expect("a console").serial_seen();
    let seen_then = serial_seen.load(Ordering::Acquire);

    let saving = bench.begin(first.machine.as_ref(), "one").await;
    measured(&format!("under load: paused {:?}", saving.paused));
    assert!(saving.paused < Duration::from_secs(5), "{:?}", saving.paused);
    // It runs on while the memory is being written, and nothing of that is in the checkpoint.
    first.run("echo after >after; echo after >/mnt/more/after; rm dirty").await;
    serial_seen.store(seen_then + 1, Ordering::Release);
    let state = saving.rest.await.expect("a checkpoint").state;
    assert_eq!(state["serial_seen"], seen_then, "what was said since is not in it");
    let one = Checkpoint { folder: bench.folder("one"), state };
    first.run("test ! -e dirty && test -e after && { kill $(cat /tmp/dd) || echo it is through; }").await;
    // Whoever asks for a checkpoint and does not wait for it leaves the machine as it was.
    drop(bench.begin(first.machine.as_ref(), "dropped").await);
    first.run("echo 1 >/tmp/still-there; sudo hostname still-there").await;
    assert!(bench.clock_is_right(&first).await);
    first.machine.destroy().await.expect("removed");
    tokio::time::sleep(Duration::from_secs(3)).await;

    let (a, b) = tokio::join!(bench.resume(&one), bench.resume(&one));
    for guest in [&a, &b] {
        assert!(bench.clock_is_right(guest).await);
        assert_eq!(
            guest.run("cat dirty /mnt/more/dirty; ls -d after /mnt/more/after 2>&1 | wc -l").await,
            "dirty\ndirty\n2"
        );
        guest.run("test ! -e after && test ! -e /mnt/more/after").await;
        let count: u64 = guest.run("sleep 0.3; cat /tmp/count").await.parse().expect("a number");
        assert!(count > counted, "{count} after {counted}");
        if tpm {
            assert_eq!(guest.run(PCR).await, pcr);
        }
        guest.run("sudo mount /dev/sr0 /media 2>/dev/null; grep -r 'on the CD' /media").await;
    }
    let random = "head -c 16 /dev/urandom | od -An -tx1; sudo dmesg | grep -i 'virtual machine fork' || true";
    let (random_a, random_b) = (a.run(random).await, b.run(random).await);
    assert_ne!(random_a.lines().next(), random_b.lines().next());
    assert_eq!(a.run("ls /sys/bus/acpi/devices | grep -c QEMUVGID").await, "1");
    measured(&format!("a kernel that watches its generation says so: {:?}", random_a.lines().nth(1)));

    // A checkpoint of what goes on from a checkpoint, and two at once on the layers of both.
    a.run("echo a >mine; kill $(cat /tmp/dd); true").await;
    b.run("echo b >mine").await;
    let two = bench.save(a.machine.as_ref(), "two").await;
    a.machine.destroy().await.expect("removed");
    let (c, d) = tokio::join!(bench.resume(&two), bench.resume(&one));
    assert_eq!(c.run("cat mine dirty; sha256sum -c --quiet sums && echo whole").await, "a\ndirty\nwhole");
    d.run("test ! -e mine").await;
    for guest in [&b, &d] {
        guest.machine.destroy().await.expect("removed");
    }
    // The machine goes away in the middle of it.
    c.run("sudo umount /mnt/more; sudo e2fsck -fn /dev/vdb").await;
    c.run("sync; mkdir final; cp sums final").await;
    let saving = bench.begin(c.machine.as_ref(), "three").await;
    let request =
        Shutdown { command: Some("sudo systemctl poweroff"), communicator: Some(c.ssh.clone()), timeout: None };
    c.machine.shutdown(request, &bench.build.cx).await.expect("off");
    let ended = tokio::time::timeout(Duration::from_secs(20), saving.rest).await.expect("an end");
    measured(&format!("saved while it went off: {:?}", ended.map(|_| ())));
    let spec = CaptureSpec { output_directory: Some("out".into()), name: Some("box".into()), ..CaptureSpec::default() };
    c.machine.capture(&spec, &bench.build.cx).await.expect("an image");
    let info = rimg::host::qemu_img::info(&bench.dir.path().join("out/box.qcow2"), None).await.expect("an image");
    assert!(info.backing_file.is_none() && info.actual_size > 100 << 20, "{info:?}");
    bench.clean().await;
}

impl Bench {
    async fn clock_is_right(&self, guest: &Guest) -> bool {
        let error = guest.clock_error().await;
        measured(&format!("the clock is wrong by {error:.3} s"));
        // A guest that boots reads it from one of whole seconds.
        error < 2.0
    }
}

/// Says where it was booted from, and waits for the button; see `bios.S`.
const SYSTEM: &[u8; 512] = include_bytes!("support/guests/bios.bin");

/// A small machine without a system, on an image of its own.
fn small(more: &[(&'static str, Value)]) -> Option<Bench> {
    if !has("qemu-system-x86_64") || !has("qemu-img") {
        return None;
    }
    let mut all = vec![("memory", text("64M")), ("cpus", Value::Int(1)), ("communicator", text("none"))];
    all.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
    all.extend(more.iter().cloned());
    let bench = Bench::new(Path::new("base.raw"), &all);
    let mut bytes = SYSTEM.to_vec();
    bytes.resize(8 << 20, 0);
    std::fs::write(bench.dir.path().join("base.raw"), bytes).expect("an image");
    Some(bench)
}

/// Waits until the serial console shows a text.
async fn says(machine: &dyn Machine, wanted: &str) {
    let began = Instant::now();
    while !machine.console().expect("a console").serial_tail(200).join("\n").contains(wanted) {
        assert_eq!(*machine.health().borrow(), Health::Running);
        assert!(began.elapsed() < Duration::from_secs(180), "no {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_checkpoint_any_more_is_refused() {
    let Some(bench) = small(&[]) else { return };
    let machine = bench.launch(None).await.expect("a machine");
    says(machine.as_ref(), "from-").await;
    let console = machine.console().expect("a console");
    let (said, seen) = console.serial_since(0).expect("the serial console");
    console.serial_seen().store(seen, std::sync::atomic::Ordering::Release);
    let one = bench.save(machine.as_ref(), "one").await;
    machine.destroy().await.expect("removed");

    // Its serial console goes on where it was.
    let machine = bench.launch(Some(&one)).await.expect("a machine");
    let console = machine.console().expect("a console");
    assert_eq!(console.serial_since(0).expect("the serial console").0, said);
    assert_eq!(console.serial_seen().load(std::sync::atomic::Ordering::Acquire), seen);
    assert_eq!(*machine.health().borrow(), Health::Running);
    machine.destroy().await.expect("removed");

    let memory = one.folder.join("memory.zst");
    let whole = std::fs::read(&memory).expect("the memory");
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 0x40;
    for damaged in [&flipped[..], &whole[..middle], &[&whole[..], b"more"].concat()] {
        std::fs::write(&memory, damaged).expect("damage");
        let error = bench.refused(&one).await;
        assert_eq!(error.kind(), Kind::Checksum, "{error}");
        assert!(error.message().contains("memory.zst is not what was written"), "{error}");
    }
    std::fs::remove_file(&memory).expect("removed");
    assert_eq!(bench.refused(&one).await.kind(), Kind::Io);
    std::fs::write(&memory, &whole).expect("the memory again");

    let base = bench.dir.path().join("base.raw");
    let builder = bench.builder();
    let image = std::fs::read(&base).expect("the image");
    std::fs::write(&base, [&image[..image.len() - 1], b"x"].concat()).expect("another image");
    let error = bench.refused(&one).await;
    assert!(error.kind() == Kind::Checksum && error.message().contains("base.raw is not what it was"), "{error}");
    std::fs::remove_file(&base).expect("removed");
    let error = builder.launch(&bench.build.cx, Some(&one)).await.err().expect("a refusal");
    assert!(error.kind() == Kind::Io && error.to_string().contains("base.raw"), "{error}");
    std::fs::write(&base, image).expect("the image again");

    let layer = one.folder.join("disk0.qcow2");
    std::fs::rename(&layer, one.folder.join("gone")).expect("moved");
    assert_eq!(bench.refused(&one).await.kind(), Kind::Io);
    std::fs::rename(one.folder.join("gone"), &layer).expect("moved back");
    let other = Checkpoint { state: serde_json::json!({ "version": 0 }), ..one.clone() };
    assert!(bench.refused(&other).await.message().contains("written by another rimg"));
    bench.launch(Some(&one)).await.expect("a machine after all");
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_run_on_stands_still_while_it_is_saved() {
    // With this capability QEMU refuses background snapshots.
    let arguments = Value::List(vec![list(&["-global", "migration.x-xbzrle=on"])]);
    let Some(bench) = small(&[("qemuargs", arguments), ("memory", text("1100M"))]) else { return };
    let machine = bench.launch(None).await.expect("a machine");
    says(machine.as_ref(), "from-").await;
    let one = bench.save(machine.as_ref(), "one").await;
    let two = bench.save(machine.as_ref(), "two").await;
    assert_eq!(*machine.health().borrow(), Health::Running);
    machine.destroy().await.expect("removed");
    for checkpoint in [&one, &two] {
        let machine = bench.launch(Some(checkpoint)).await.expect("a machine");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(*machine.health().borrow(), Health::Running);
    }
    bench.clean().await;
    assert!(bench.build.messages().iter().any(|message| message.contains("stands still")), "it is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_go_away_while_they_are_saved_leave_nothing() {
    let Some(bench) = small(&[]) else { return };
    let machine = bench.launch(None).await.expect("a machine");
    says(machine.as_ref(), "from-").await;
    // One after the other, whatever is asked for at once.
    let (one, two) = tokio::join!(bench.save(machine.as_ref(), "one"), bench.save(machine.as_ref(), "two"));
    let saving = bench.begin(machine.as_ref(), "three").await;
    machine.destroy().await.expect("removed");
    let _ = tokio::time::timeout(Duration::from_secs(10), saving.rest).await.expect("an end");
    let folder = bench.folder("four");
    assert!(machine.checkpoints().expect("checkpoints").save(&folder, &bench.build.cx).await.is_err());
    for checkpoint in [&one, &two] {
        bench.launch(Some(checkpoint)).await.expect("a machine");
    }
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn efi_goes_on_with_its_variables() {
    if !["qemu-system-x86_64", "xorriso", "mformat", "mcopy"].into_iter().all(has) {
        return;
    }
    if !Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd").exists() {
        return skip("OVMF is not installed");
    }
    let more = [("efi_boot", Value::Bool(true)), ("memory", text("128M")), ("machine_type", text("q35"))];
    let Some(mut bench) = small(&more) else { return };
    let cd = crate::qemu_hardware::efi_cd(bench.dir.path());
    bench.entries.retain(|(name, _)| *name != "source_image");
    bench.entries.extend([("iso_url", text(&cd.display().to_string())), ("iso_checksum", text("none"))]);
    bench.entries.push(("disk_size", text("32M")));
    let machine = bench.launch(None).await.expect("a machine");
    says(machine.as_ref(), "efi-started").await;
    let one = bench.save(machine.as_ref(), "one").await;
    let vars = std::fs::read(one.folder.join("efivars.fd")).expect("variables");
    assert_ne!(vars, std::fs::read("/usr/share/OVMF/OVMF_VARS_4M.fd").expect("the template"));
    machine.destroy().await.expect("removed");
    let machine = bench.launch(Some(&one)).await.expect("a machine");
    // It is in the middle of its program: it hears the button.
    let request = Shutdown { command: None, communicator: None, timeout: Some(Duration::from_secs(60)) };
    machine.shutdown(request, &bench.build.cx).await.expect("off");
    let spec = CaptureSpec { output_directory: Some("out".into()), ..CaptureSpec::default() };
    machine.capture(&spec, &bench.build.cx).await.expect("an image");
    assert_eq!(std::fs::read(bench.dir.path().join("out/efivars.fd")).expect("variables"), vars);
    // The medium is not in the checkpoint, and has to be the same.
    tool(bench.dir.path(), "truncate", &["-s", "+2048", "efi.iso"]);
    assert_eq!(bench.refused(&one).await.kind(), Kind::Checksum);
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_are_the_same_when_their_guests_can_tell_no_difference() {
    let Some(bench) = small(&[("user_data", text("#cloud-config\n")), ("communicator", text("ssh"))]) else { return };
    let of = async |more: &[(&'static str, Value)]| {
        bench.builder_with(more).identity(&bench.build.cx).await.expect("an identity")
    };
    let plain = of(&[]).await.expect("known");
    let began = Instant::now();
    assert_eq!(of(&[]).await.as_ref(), Some(&plain));
    measured(&format!("an identity takes {:?}", began.elapsed()));
    for same in [
        ("ssh_timeout", text("9m")),
        ("vm_name", text("other")),
        ("headless", Value::Bool(true)),
        ("vnc_port_min", Value::Int(5931)),
        ("shutdown_command", text("poweroff")),
        ("serial_log", text("serial.log")),
        ("host_port_min", Value::Int(2000)),
    ] {
        let name = same.0;
        assert_eq!(of(&[same]).await.as_ref(), Some(&plain), "{name}");
    }
    let dir = bench.dir.path();
    std::fs::write(dir.join("answers"), "one").expect("a file");
    for other in [
        ("memory", text("65M")),
        ("cpus", Value::Int(2)),
        ("disk_size", text("9M")),
        ("disk_interface", text("ide")),
        ("machine_type", text("q35")),
        ("cpu_model", text("qemu64")),
        ("net_device", text("e1000")),
        ("user_data", text("#cloud-config\n{}\n")),
        ("boot_command", list(&["<enter>"])),
        ("cd_files", list(&["answers"])),
        ("floppy_files", list(&["answers"])),
        ("http_directory", text(".")),
        ("http_content", Value::Map(vec![("/x".into(), text("y"))])),
        ("ssh_username", text("root")),
        ("ssh_password", text("ox")),
        ("qemuargs", Value::List(vec![list(&["-fw_cfg", "name=opt/x,file=/etc/hostname"])])),
    ] {
        let name = other.0;
        assert_ne!(of(&[other]).await.as_ref(), Some(&plain), "{name}");
    }
    // Not even one that is too short to be masked stands in it.
    let short = of(&[("ssh_password", text("ox"))]).await.expect("known");
    assert!(!short.to_string().contains("ox\""), "{short}");
    let cd = [("cd_files", list(&["answers"]))];
    let before = of(&cd).await;
    std::fs::write(dir.join("answers"), "two").expect("a file");
    assert_ne!(of(&cd).await, before);
    // The name counts where the guest gets to know it.
    let named = |name| [("vm_name", text(name)), ("boot_command", list(&["{{ .Name }}<enter>"]))];
    assert_ne!(of(&named("a")).await, of(&named("b")).await);
    let function = rimg::engine::options::Callback::new(|_| Box::pin(async { Ok(Value::Nil) }));
    let content = Value::Map(vec![("/x".into(), Value::Function(function))]);
    assert_eq!(of(&[("http_content", content)]).await, None);
    std::fs::write(dir.join("base.raw"), vec![0; 8 << 20]).expect("another image");
    assert_ne!(of(&[]).await, Some(plain));
    let disk = Value::List(vec![list(&["-drive", "file=x.img,if=virtio"])]);
    let builder = bench.builder_with(&[("qemuargs", disk)]);
    assert!(builder.identity(&bench.build.cx).await.expect("an identity").is_some());
}
