//! The QEMU builder against the real QEMU, below the command line and without a guest system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::engine::options::Value;
use rimg::engine::{Builder, CaptureSpec, Health, Machine};
use rimg::error::{Error, Kind};

use crate::support::build::TestBuild;
use crate::support::library::has;

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| text(item)).collect())
}

/// An image of 8 MiB with a boot sector; of zeroes when there is none.
fn image(dir: &Path, boot_sector: &[u8]) -> PathBuf {
    let path = dir.join("disk.raw");
    let mut bytes = vec![0u8; 8 << 20];
    bytes[..boot_sector.len()].copy_from_slice(boot_sector);
    if !boot_sector.is_empty() {
        bytes[510] = 0x55;
        bytes[511] = 0xaa;
    }
    std::fs::write(&path, bytes).expect("an image");
    path
}

/// `hlt; jmp -3`, interrupts on: a system that is there and does nothing.
const IDLE: &[u8] = &[0xfb, 0xf4, 0xeb, 0xfd];

/// A folder with an image in it, and a build there.
struct Bench {
    dir: tempfile::TempDir,
    build: TestBuild,
    image: String,
}

impl Bench {
    /// Makes one; none where QEMU is missing.
    fn new(boot_sector: &[u8]) -> Option<Bench> {
        if !has("qemu-system-x86_64") || !has("qemu-img") {
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let build = TestBuild::new(dir.path());
        let image = image(dir.path(), boot_sector).display().to_string();
        Some(Bench { dir, build, image })
    }

    /// Launches a machine from the image, with further options.
    async fn launch(&self, entries: &[(&str, Value)]) -> Result<Arc<dyn Machine>, Error> {
        let mut all = vec![("source_image", text(&self.image))];
        all.extend(entries.iter().cloned());
        launch(&self.build, &all).await
    }

    /// Removes everything the build still has; nothing may be left in its work folder.
    async fn clean(&self) {
        self.build.clean().await;
        let left = std::fs::read_dir(self.dir.path().join("work")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the work folder is empty");
    }
}

fn builder(entries: &[(&str, Value)]) -> Result<Arc<dyn Builder>, Error> {
    let mut all = vec![("accelerator", text("tcg")), ("memory", Value::Int(64)), ("cpus", Value::Int(1))];
    all.retain(|(name, _)| !entries.iter().any(|(given, _)| given == name));
    all.extend(entries.iter().cloned());
    rimg::builder::qemu::decode(map(&all))
}

async fn launch(build: &TestBuild, entries: &[(&str, Value)]) -> Result<Arc<dyn Machine>, Error> {
    let builder = builder(entries)?;
    builder.validate(&build.cx)?;
    builder.launch(&build.cx, None).await
}

async fn death(machine: &dyn Machine, limit: Duration) -> String {
    let mut health = machine.health();
    let dead = async {
        loop {
            if let Health::Dead(why) = &*health.borrow_and_update() {
                return why.clone();
            }
            health.changed().await.expect("a watched machine");
        }
    };
    tokio::time::timeout(limit, dead).await.expect("the machine's death is noticed")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_boot_is_reported_at_once_with_a_picture() {
    let Some(bench) = Bench::new(&[]) else { return };
    let machine = bench.launch(&[]).await.expect("a machine");
    let why = death(machine.as_ref(), Duration::from_secs(20)).await;
    assert!(why.contains("nothing to boot") && why.contains("No bootable device"), "{why}");
    let picture = why.lines().find_map(|line| line.strip_prefix("the screen: ")).expect("a picture is named");
    let png = std::fs::File::open(picture).expect("the picture is there");
    let mut reader = png::Decoder::new(std::io::BufReader::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a whole picture");
    assert!(info.width >= 640 && pixels.iter().any(|&value| value > 100), "the firmware's text is on it");
    // The same screen can be asked for while the dead machine is still there.
    let asked = bench.dir.path().join("shots/now.png");
    machine.console().expect("a console").screenshot(&asked).await.expect("a picture");
    assert!(asked.exists());
    machine.destroy().await.expect("removed");
    machine.destroy().await.expect("removed again");
    assert!(machine.console().expect("a console").screenshot(&asked).await.is_err());
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_emulator_is_a_dead_machine() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let machine = bench.launch(&[]).await.expect("a machine");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*machine.health().borrow(), Health::Running);
    let id: i32 = machine.id().parse().expect("a process id");
    let started = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_raw(id).expect("an id"), rustix::process::Signal::KILL)
        .expect("it was alive");
    let why = death(machine.as_ref(), Duration::from_secs(30)).await;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(why.contains("killed by signal 9"), "{why}");
    let error = machine.connect(&bench.build.cx).await.err().expect("nobody answers");
    assert!(error.message().contains("killed by signal 9"), "{error}");
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_argument_shows_what_qemu_said() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let entries = [("qemuargs", Value::List(vec![list(&["-device", "flux-capacitor"])]))];
    let error = bench.launch(&entries).await.err().expect("no such device");
    assert!(error.message().contains("flux-capacitor"), "{error}");
    assert_eq!(error.kind(), Kind::Machine);
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_the_power_button_is_a_timeout_and_not_captured() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let machine = bench.launch(&[]).await.expect("a machine");
    let request = rimg::engine::machine::Shutdown {
        command: None,
        communicator: None,
        timeout: Some(Duration::from_millis(700)),
    };
    let error = machine.shutdown(request, &bench.build.cx).await.expect_err("it does not listen");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.hints().iter().any(|hint| hint.contains("shutdown_command")), "{:?}", error.hints());
    assert!(machine.capture(&CaptureSpec::default(), &bench.build.cx).await.is_err());
    bench.clean().await;
}

/// Switches the machine off through ACPI, as a guest does: `mov dx, 0x604; mov ax, 0x2000; out dx, ax` (q35).
const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 0xeb, 0xfd];

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_goes_off_by_itself_is_dead_and_says_so() {
    let Some(bench) = Bench::new(POWER_OFF) else { return };
    let entries = [("machine_type", text("q35"))];
    let machine = bench.launch(&entries).await.expect("a machine");
    let why = death(machine.as_ref(), Duration::from_secs(20)).await;
    assert!(why.contains("powered itself off"), "{why}");
    bench.clean().await;
}

/// Waits about two seconds by the BIOS clock, then switches off: time for a shutdown to be asked for.
pub fn off_in_a_while() -> Vec<u8> {
    let mut code = vec![
        0xfb, // sti
        0x31, 0xc0, 0x8e, 0xd8, // ds = 0
        0x8b, 0x1e, 0x6c, 0x04, // bx = ticks at 0040:006c
        0x83, 0xc3, 40,   // bx += 40 ticks
        0xf4, // hlt
        0x3b, 0x1e, 0x6c, 0x04, // cmp bx, ticks
        0x77, 0xf9, // ja: hlt again
    ];
    code.extend_from_slice(POWER_OFF);
    code
}

async fn captured(
    build: &TestBuild,
    entries: &[(&str, Value)],
    spec: &CaptureSpec,
) -> Result<rimg::engine::Artifact, Error> {
    let machine = launch(build, entries).await?;
    builder(entries)?.check_capture(spec, &build.cx)?;
    let request = rimg::engine::machine::Shutdown { command: None, communicator: None, timeout: None };
    machine.shutdown(request, &build.cx).await?;
    let artifact = machine.capture(spec, &build.cx).await;
    machine.destroy().await?;
    artifact
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_went_off_becomes_an_image_of_any_format() {
    if !has("qemu-system-x86_64") || !has("qemu-img") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let path = image(dir.path(), &off_in_a_while());
    let entries = |copy: bool| {
        vec![
            ("source_image", text(&path.display().to_string())),
            ("machine_type", text("q35")),
            ("disk_size", text("12M")),
            ("use_backing_file", Value::Bool(!copy)),
        ]
    };
    let formats = [("qcow2", true), ("vmdk", false), ("raw", false), ("vdi", true), ("vhdx", false)];
    let jobs = formats.map(|(format, copy)| {
        let (dir, entries) = (dir.path().to_owned(), entries(copy));
        async move {
            let build = TestBuild::new(&dir);
            let spec = CaptureSpec {
                output_directory: Some(format!("out/{format}").into()),
                name: Some("box".into()),
                format: Some(format.into()),
                ..CaptureSpec::default()
            };
            let artifact = captured(&build, &entries, &spec).await.expect("an image");
            build.clean().await;
            let file = dir.join(format!("out/{format}/box.{format}"));
            assert_eq!(artifact.image_path(), Some(file.as_path()));
            assert_eq!(artifact.metadata["virtual_size"], 12 << 20);
            assert_eq!(artifact.metadata["format"], format);
            let info = rimg::host::qemu_img::info(&file, None).await.expect("an image");
            assert_eq!(info.virtual_size, 12 << 20);
            assert!(info.backing_file.is_none());
            artifact
        }
    });
    let artifacts = futures_util::future::join_all(jobs).await;

    // What exists is refused before the machine is touched, and replaced when forced.
    let spec = CaptureSpec {
        output_directory: Some("out/raw".into()),
        name: Some("again".into()),
        format: Some("raw".into()),
        ..CaptureSpec::default()
    };
    let build = TestBuild::new(dir.path());
    let error = captured(&build, &entries(false), &spec).await.expect_err("it exists");
    assert_eq!(error.kind(), Kind::Exists);
    build.clean().await;
    let forced = TestBuild::with(dir.path(), true);
    let source = Value::from(serde_json::to_value(&artifacts[0]).expect("an artifact"));
    let again = [("source_image", source), ("machine_type", text("q35"))];
    captured(&forced, &again, &spec).await.expect("an image from an artifact");
    forced.clean().await;
    let names: Vec<_> = std::fs::read_dir(dir.path().join("out/raw"))
        .expect("the output")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["again.raw"]);
    let hidden = std::fs::read_dir(dir.path().join("out")).expect("outputs").count();
    assert_eq!(hidden, 5, "nothing half-written or put aside is left");
}

/// A QEMU that writes down how it is called, refuses KVM the way a broken host does, and else is the real one.
fn fake_qemu(dir: &Path) -> PathBuf {
    let real = rimg::host::process::which("qemu-system-x86_64").expect("QEMU");
    let path = dir.join("qemu-system-x86_64");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\ncase \"$*\" in *kvm*) echo 'failed to set MSR 0x10a' >&2; exit 1;; esac\nexec '{}' \"$@\"\n",
        dir.join("calls").display(),
        real.display()
    );
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("runnable");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accelerator_that_does_not_work_is_found_out_once() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let has_kvm = std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    let binary = fake_qemu(bench.dir.path());
    let entries = [("qemu_binary", text(&binary.display().to_string())), ("accelerator", text("auto"))];
    let calls = || std::fs::read_to_string(bench.dir.path().join("calls")).expect("calls").lines().count();
    bench.launch(&entries).await.expect("a machine all the same");
    let messages = bench.build.messages();
    if !has_kvm {
        assert!(messages.iter().any(|m| m.contains("/dev/kvm") && m.contains("TCG")), "{messages:?}");
        assert_eq!(calls(), 1, "there is nothing to try");
        bench.clean().await;
        return;
    }
    assert!(messages.iter().any(|m| m.contains("KVM does not work on this host") && m.contains("MSR")), "{messages:?}");
    assert_eq!(calls(), 2, "the trial and the machine");
    bench.launch(&entries).await.expect("a machine");
    assert_eq!(calls(), 3, "no second trial");
    let explicit = [entries[0].clone(), ("accelerator", text("kvm"))];
    let error = bench.launch(&explicit).await.err().expect("KVM was asked for");
    assert!(error.message().contains("does not work on this host"), "{error}");
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_hosts_kvm_can_do_is_found_out_whatever_it_is() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let entries = [("accelerator", text("auto"))];
    let started = Instant::now();
    let machine = bench.launch(&entries).await.expect("a machine");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*machine.health().borrow(), Health::Running);
    bench.clean().await;
}

#[tokio::test]
async fn what_can_be_known_before_is_refused_before() {
    let Some(bench) = Bench::new(IDLE) else { return };
    let check = |entries: &[(&str, Value)]| -> String {
        let result = rimg::builder::qemu::decode(map(entries)).and_then(|builder| builder.validate(&bench.build.cx));
        result.expect_err("refused").to_string()
    };
    assert!(check(&[]).contains("`source_image`: is required"));
    let iso = [("iso_url", text(&bench.image)), ("iso_checksum", text("none")), ("ssh_username", text("u"))];
    assert!(check(&iso).contains("no way to log in to what is installed"));
    let missing = check(&[("source_image", text("none.qcow2"))]);
    assert!(missing.contains(&bench.dir.path().join("none.qcow2").display().to_string()), "{missing}");
    assert!(check(&[("source_image", text("https://x/y.qcow2"))]).contains("source_checksum"));
    let with = |name: &'static str, value: Value| check(&[("source_image", text(&bench.image)), (name, value)]);
    assert!(with("user_data", text("seed/user-data")).contains("seed/user-data"));
    assert!(with("disk_interface", text("virtoi")).contains("is not one of virtio"));
    assert!(with("cpus", Value::Int(0)).contains("at least 1"));
    assert!(with("memory", Value::Int(1)).contains("too little"));
    assert!(with("accelerator", text("kvn")).contains("is not one of"));
    assert!(with("qemuargs", Value::List(vec![list(&["m", "1G"])])).contains("qemuargs[1]"));
    assert!(with("vm_name", text("a/b")).contains("cannot be the name"));
    let binary = with("qemu_binary", text("qemu-system-vax"));
    assert!(binary.contains("qemu-system-vax is not installed"), "{binary}");
    let shrunk = bench.launch(&[("disk_size", text("1M"))]).await;
    assert!(shrunk.err().expect("too small").message().contains("disk_size"));
    bench.clean().await;
}
