//! What QEMU machines are made of, with boot sectors and firmware in place of guest systems.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::engine::options::Value;
use rimg::engine::{Builder, CaptureSpec, Health, Machine, Session};
use rimg::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::build::TestBuild;
use crate::support::library::{has, tool};

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

fn builder(entries: &[(&str, Value)]) -> Result<Arc<dyn Builder>, Error> {
    let defaults = [
        ("accelerator", text("tcg")),
        ("memory", Value::Int(64)),
        ("cpus", Value::Int(1)),
        ("ssh_username", text("u")),
        ("ssh_password", text("p")),
    ];
    let defaults = defaults.into_iter().filter(|(name, _)| !entries.iter().any(|(given, _)| given == name));
    let all = defaults.chain(entries.iter().cloned()).map(|(name, value)| (name.to_owned(), value));
    rimg::builder::qemu::decode(Value::Map(all.collect()))
}

/// A folder, and a build there.
struct Bench {
    dir: tempfile::TempDir,
    build: TestBuild,
}

impl Bench {
    /// Makes one; none where a program is missing.
    fn new(programs: &[&str]) -> Option<Bench> {
        if !["qemu-system-x86_64", "qemu-img"].iter().chain(programs).all(|program| has(program)) {
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let build = TestBuild::new(dir.path());
        Some(Bench { dir, build })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn launch(&self, entries: &[(&str, Value)]) -> Result<Arc<dyn Machine>, Error> {
        let builder = builder(entries)?;
        builder.validate(&self.build.cx)?;
        builder.launch(&self.build.cx, None).await
    }

    async fn clean(&self) {
        self.build.clean().await;
        let left = std::fs::read_dir(self.path("work")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the work folder is empty");
    }
}

/// Waits until the serial console shows a text.
async fn says(machine: &dyn Machine, wanted: &str, limit: Duration) {
    let started = Instant::now();
    loop {
        let said = machine.console().expect("a console").serial_tail(200).join("\n");
        if said.contains(wanted) {
            return;
        }
        let health = machine.health().borrow().clone();
        assert_eq!(health, Health::Running, "waiting for {wanted:?} in {said:?}");
        assert!(started.elapsed() < limit, "no {wanted:?} in {said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An installer and the system it installs; see `bios.S`.
const SYSTEM: &[u8; 512] = include_bytes!("support/guests/bios.bin");

/// A CD that boots a sector in a PC's BIOS.
fn bios_cd(dir: &Path) -> PathBuf {
    let tree = dir.join("cd-tree");
    std::fs::create_dir_all(&tree).expect("a folder");
    let mut image = SYSTEM.to_vec();
    image.resize(2048, 0);
    std::fs::write(tree.join("boot.img"), image).expect("a boot image");
    let options = ["-as", "mkisofs", "-quiet", "-o", "boot.iso", "-b", "boot.img", "-no-emul-boot"];
    tool(dir, "xorriso", &[options.as_slice(), &["-boot-load-size", "4", "cd-tree"]].concat());
    dir.join("boot.iso")
}

fn medium(path: &Path) -> [(&'static str, Value); 2] {
    [("iso_url", text(&path.display().to_string())), ("iso_checksum", text("none"))]
}

/// An upper bound, also on a host that does a lot else: firmware alone takes seconds of an emulated processor.
const LIMIT: Duration = Duration::from_secs(180);

async fn switched_off(machine: &dyn Machine, build: &TestBuild) {
    let request = rimg::engine::machine::Shutdown { command: None, communicator: None, timeout: Some(LIMIT) };
    machine.shutdown(request, &build.cx).await.expect("it listens to the button");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installer_on_a_cd_installs_and_the_disk_is_booted_then() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let cases =
        [("pc", "virtio", "ide"), ("q35", "ide", "ide"), ("pc", "virtio-scsi", "virtio-scsi"), ("q35", "sata", "sata")];
    let runs = cases.map(|(board, disk, cdrom)| {
        let (bench, cd) = (&bench, &cd);
        async move {
            let build = TestBuild::new(bench.dir.path());
            let entries = [
                ("machine_type", text(board)),
                ("disk_interface", text(disk)),
                ("cdrom_interface", text(cdrom)),
                ("disk_size", text("64M")),
            ];
            let builder = builder(&[&entries[..], &medium(cd)].concat()).expect("options");
            builder.validate(&build.cx).expect("valid");
            let machine = builder.launch(&build.cx, None).await.expect("a machine");
            says(machine.as_ref(), "from-disk", LIMIT).await;
            let said = machine.console().expect("a console").serial_tail(9);
            assert_eq!(said, ["from-cd", "from-disk"], "{board} {disk}");
            switched_off(machine.as_ref(), &build).await;
            let spec = CaptureSpec {
                output_directory: Some(format!("out/{board}-{disk}").into()),
                format: Some("raw".into()),
                ..CaptureSpec::default()
            };
            let image = machine.capture(&spec, &build.cx).await.expect("an image");
            machine.destroy().await.expect("removed");
            build.clean().await;
            let bytes = std::fs::read(image.image_path().expect("an image")).expect("the disk");
            assert_eq!((&bytes[..512], bytes.len()), (&SYSTEM[..], 64 << 20));
            image
        }
    });
    let images = futures_util::future::join_all(runs).await;
    bench.clean().await;

    // The image is booted again with the options of its installation, without the medium.
    let options: Vec<(String, Value)> =
        medium(Path::new("gone.iso")).map(|(name, value)| (name.to_owned(), value)).to_vec();
    let again = rimg::builder::qemu::boot_options(Value::Map(options), &images[0]).expect("options");
    let Value::Map(again) = again else { panic!("{again:?}") };
    let again: Vec<(&str, Value)> = again.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let machine = bench.launch(&again).await.expect("a machine");
    says(machine.as_ref(), "from-disk", LIMIT).await;
    bench.clean().await;
}

/// Says that it was started, and goes off when it is told to; see `efi.S`.
const EFI_APPLICATION: &[u8] = include_bytes!("support/guests/efi.bin");

/// A CD that starts an application in EFI.
pub fn efi_cd(dir: &Path) -> PathBuf {
    let tree = dir.join("efi-tree");
    std::fs::create_dir_all(&tree).expect("a folder");
    std::fs::write(dir.join("BOOTX64.EFI"), EFI_APPLICATION).expect("an application");
    std::fs::write(tree.join("esp.img"), vec![0; 1440 << 10]).expect("a file system's place");
    let on_esp = |program: &str, arguments: &[&str]| {
        tool(dir, program, &[&["-i", "efi-tree/esp.img"], arguments].concat());
    };
    on_esp("mformat", &["-f", "1440", "::"]);
    on_esp("mmd", &["::/EFI", "::/EFI/BOOT"]);
    on_esp("mcopy", &["BOOTX64.EFI", "::/EFI/BOOT/BOOTX64.EFI"]);
    let options = ["-as", "mkisofs", "-quiet", "-o", "efi.iso", "-e", "esp.img", "-no-emul-boot", "efi-tree"];
    tool(dir, "xorriso", &options);
    dir.join("efi.iso")
}

fn found_firmware(path: &str) -> bool {
    let found = Path::new(path).exists();
    if !found {
        crate::support::library::skip(&format!("{path} is not installed"));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn efi_boots_a_cd_and_leaves_its_variables_with_the_image() {
    let Some(bench) = Bench::new(&["xorriso", "mformat", "mcopy"]) else { return };
    if !found_firmware("/usr/share/OVMF/OVMF_CODE_4M.fd") {
        return;
    }
    let cd = efi_cd(bench.dir.path());
    let hardware = [
        ("machine_type", text("q35")),
        ("efi_boot", Value::Bool(true)),
        ("memory", Value::Int(128)),
        ("disk_size", text("32M")),
        ("disk_additional_size", Value::List(vec![text("8M"), text("9M")])),
        ("vm_name", text("box.qcow2")),
        ("communicator", text("none")),
    ];
    let entries = [&hardware[..], &medium(&cd)].concat();

    // A machine with an older board, and one that boots only what is signed.
    let older = [&entries[..], &[("machine_type", text("pc"))]].concat();
    let secure = [&entries[..], &[("efi_secure_boot", Value::Bool(true))]].concat();
    let (older, secure) = (last_wins(&older), last_wins(&secure));
    let (first, older, secure) = tokio::join!(bench.launch(&entries), bench.launch(&older), bench.launch(&secure));
    let (first, older, secure) = (first.expect("a machine"), older.expect("a machine"), secure.expect("a machine"));
    tokio::join!(
        says(first.as_ref(), "efi-started", LIMIT),
        says(older.as_ref(), "efi-started", LIMIT),
        says(secure.as_ref(), "Access Denied", LIMIT),
    );
    let said = secure.console().expect("a console").serial_tail(200).join("\n");
    assert!(!said.contains("efi-started"), "{said}");

    switched_off(first.as_ref(), &bench.build).await;
    let spec = CaptureSpec { output_directory: Some("out".into()), ..CaptureSpec::default() };
    let image = first.capture(&spec, &bench.build.cx).await.expect("an image");
    let names: Vec<_> = image.files.iter().filter_map(|file| file.path.file_name()?.to_str()).collect();
    assert_eq!(names, ["box.qcow2", "box-1.qcow2", "box-2.qcow2", "efivars.fd"]);
    assert_eq!((&image.metadata["firmware"], &image.metadata["virtual_size"]), (&"efi".into(), &(32 << 20).into()));
    for (name, size) in [("box-1.qcow2", 8 << 20), ("box-2.qcow2", 9 << 20)] {
        let info = rimg::host::qemu_img::info(&bench.path("out").join(name), None).await.expect("an image");
        assert_eq!((info.virtual_size, info.backing_file), (size, None));
    }
    let vars = std::fs::read(bench.path("out/efivars.fd")).expect("variables");
    assert_ne!(vars, std::fs::read("/usr/share/OVMF/OVMF_VARS_4M.fd").expect("the template"), "they were used");
    bench.clean().await;

    // A machine that starts from the image goes on with its variables.
    let artifact = Value::from(serde_json::to_value(&image).expect("an artifact"));
    let mut again: Vec<_> = hardware.into_iter().filter(|(name, _)| !name.starts_with("disk")).collect();
    again.push(("source_image", artifact));
    again.push(("efi_drop_efivars", Value::Bool(true)));
    again.extend(medium(&cd));
    let machine = bench.launch(&again).await.expect("a machine");
    let copy = std::fs::read_dir(bench.path("work"))
        .expect("the work folder")
        .find_map(|entry| std::fs::read(entry.expect("an entry").path().join("efivars.fd")).ok());
    assert!(copy.is_some_and(|copy| copy == vars), "the image's own variables are the machine's first ones");
    says(machine.as_ref(), "efi-started", LIMIT).await;
    switched_off(machine.as_ref(), &bench.build).await;
    let spec = CaptureSpec { output_directory: Some("again".into()), ..CaptureSpec::default() };
    let image = machine.capture(&spec, &bench.build.cx).await.expect("an image");
    assert_eq!(image.files.len(), 1, "the variables were to be dropped");
    bench.clean().await;
}

/// Returns the entries with the last of each name.
fn last_wins(entries: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let mut last: Vec<(&'static str, Value)> = Vec::new();
    for (name, value) in entries {
        last.retain(|(other, _)| other != name);
        last.push((name, value.clone()));
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn efi_that_finds_nothing_is_not_waited_for() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    if !found_firmware("/usr/share/OVMF/OVMF_CODE_4M.fd") {
        return;
    }
    let cd = bios_cd(bench.dir.path());
    let entries = [&[("efi_boot", Value::Bool(true)), ("memory", Value::Int(128))][..], &medium(&cd)].concat();
    let machine = bench.launch(&entries).await.expect("a machine");
    let mut health = machine.health();
    let dead = tokio::time::timeout(LIMIT, health.wait_for(|health| *health != Health::Running)).await;
    let Health::Dead(why) = dead.expect("in time").expect("a watched machine").clone() else { panic!("it went off") };
    assert!(why.contains("found nothing to boot on") && why.contains("boot.iso"), "{why}");
    bench.clean().await;

    let missing = [&entries[..], &[("efi_firmware_code", text("/nowhere/OVMF_CODE.fd"))]].concat();
    let error = bench.launch(&missing).await.err().expect("refused");
    assert!(error.message().contains("/nowhere/OVMF_CODE.fd"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("this host has /usr/share")), "{:?}", error.hints());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_communicator_is_driven_and_finished_all_the_same() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let entries = [&[("communicator", text("none")), ("disk_size", text("8M"))][..], &medium(&cd)].concat();
    let session =
        Session::launch(builder(&entries).expect("options"), bench.build.cx.clone(), false).await.expect("a machine");
    let error = session.communicator().await.err().expect("no communicator");
    assert!(error.message().contains("has no communicator"), "{error}");
    says(session.live().expect("a machine").as_ref(), "from-disk", LIMIT).await;
    let spec = CaptureSpec { output_directory: Some("out".into()), ..CaptureSpec::default() };
    let image = session.finish(&spec).await.expect("an image");
    assert_eq!(image.metadata["firmware"], "bios");
    bench.clean().await;
    let wrong = [&entries[..], &[("shutdown_command", text("poweroff"))]].concat();
    let error = bench.launch(&wrong).await.err().expect("refused");
    assert!(error.message().contains("no communicator to run it over"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_runs_beside_the_machine_and_goes_with_it() {
    let Some(bench) = Bench::new(&["xorriso", "swtpm"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let entries = [&[("vtpm", Value::Bool(true)), ("communicator", text("none"))][..], &medium(&cd)].concat();
    let machine = bench.launch(&entries).await.expect("a machine");
    says(machine.as_ref(), "from-disk", LIMIT).await;
    says(machine.as_ref(), "has-tpm", Duration::ZERO).await;
    assert_eq!(programs_with(bench.dir.path(), "swtpm"), 1);
    bench.clean().await;
    assert_eq!(programs_with(bench.dir.path(), "swtpm"), 0);

    // Killed together with its machine, too.
    let machine = bench.launch(&entries).await.expect("a machine");
    let id: i32 = machine.id().parse().expect("a process id");
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it was alive");
    let mut health = machine.health();
    let dead = health.wait_for(|health| matches!(health, Health::Dead(_)));
    tokio::time::timeout(Duration::from_secs(30), dead).await.expect("in time").expect("a watched machine");
    bench.clean().await;
    assert_eq!(programs_with(bench.dir.path(), "swtpm"), 0);
}

/// Counts the processes of a program whose arguments name a folder.
fn programs_with(dir: &Path, program: &str) -> usize {
    let lines = std::fs::read_dir("/proc").expect("processes").flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    let dir = dir.display().to_string();
    lines
        .filter(|line| line.split(' ').next().is_some_and(|name| name.ends_with(program)) && line.contains(&dir))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_come_from_their_ranges_and_full_ranges_are_named() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let range = |from: u16, to: u16| {
        let port = |port: u16| Value::Int(port.into());
        [&[("host_port_min", port(from)), ("host_port_max", port(to))][..], &medium(&cd)].concat()
    };
    let error = bench.launch(&range(port, port)).await.err().expect("no port");
    assert!(error.message().contains(&format!("every port from {port} to {port} on 127.0.0.1 is taken")), "{error}");
    assert!(error.hints()[0].contains("host_port_min"), "{:?}", error.hints());
    drop(taken);
    let machine = bench.launch(&range(port, port)).await.expect("a machine");
    assert_eq!(machine.address(), Some(("127.0.0.1".into(), port)));
    // The machine has it now.
    let error = bench.launch(&range(port, port)).await.err().expect("no port");
    assert!(error.message().contains("is taken"), "{error}");

    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = Value::Int(taken.local_addr().expect("an address").port().into());
    let vnc = [&[("vnc_port_min", port.clone()), ("vnc_port_max", port)][..], &medium(&cd)].concat();
    let error = bench.launch(&vnc).await.err().expect("no port");
    assert!(error.message().contains("there is none for VNC"), "{error}");
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_media_do_not_get_in_the_way_of_the_one_to_boot() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let file = |name: &str, content: &str| Value::Map(vec![(name.to_owned(), text(content))]);
    let entries = [
        &[
            ("floppy_content", file("answers.txt", "name={{ .Name }}")),
            ("cd_content", file("answers.txt", "http://{{ .HTTPIP }}:{{ .HTTPPort }}/")),
            ("http_content", file("/x", "y")),
            ("user_data", text("#cloud-config\nusers: []\n# {{ .SSHPublicKey }}\n")),
            ("communicator", text("none")),
        ][..],
        &medium(&cd),
    ]
    .concat();
    let boards = ["pc", "q35"].map(|board| [&entries[..], &[("machine_type", text(board))]].concat());
    let (first, second) = tokio::join!(bench.launch(&boards[0]), bench.launch(&boards[1]));
    for machine in [first.expect("a machine"), second.expect("a machine")] {
        says(machine.as_ref(), "from-disk", LIMIT).await;
        assert_eq!(machine.console().expect("a console").serial_tail(9), ["from-cd", "has-floppy", "from-disk"]);
        machine.destroy().await.expect("removed");
    }
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_goes_off_by_itself_is_waited_for_where_that_is_said() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let options = [("communicator", text("none")), ("disable_shutdown", Value::Bool(true))];
    let machine = bench.launch(&[&options[..], &medium(&cd)].concat()).await.expect("a machine");
    says(machine.as_ref(), "from-disk", LIMIT).await;
    let request =
        |timeout| rimg::engine::machine::Shutdown { command: None, communicator: None, timeout: Some(timeout) };
    let waited = machine.shutdown(request(Duration::from_millis(300)), &bench.build.cx).await;
    assert!(waited.is_err(), "nobody presses the button");
    bench.clean().await;
}

/// Does the first steps of RFC 6143 and returns the security types that the server offers.
async fn vnc_security_types(address: &str) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a VNC server");
    let mut version = [0; 12];
    stream.read_exact(&mut version).await.expect("a version");
    assert!(version.starts_with(b"RFB 003."), "{version:?}");
    stream.write_all(b"RFB 003.008\n").await.expect("our version");
    let count = stream.read_u8().await.expect("a number of types");
    let mut types = vec![0; count.into()];
    stream.read_exact(&mut types).await.expect("types");
    types
}

#[tokio::test(flavor = "multi_thread")]
async fn vnc_asks_for_the_password_that_was_said() {
    let Some(bench) = Bench::new(&["xorriso"]) else { return };
    let cd = bios_cd(bench.dir.path());
    let shown = async |options: &[(&'static str, Value)]| {
        let before = bench.build.messages().len();
        bench.launch(&[options, &medium(&cd)].concat()).await.expect("a machine");
        let messages = bench.build.messages().split_off(before);
        messages.into_iter().find(|text| text.contains("by VNC at")).expect("where it is")
    };
    let address = |message: &str| {
        let (_, rest) = message.split_once(" at ").expect("an address");
        rest.split(',').next().unwrap_or_default().to_owned()
    };
    // Without a password: type 1 is "none"; with one: type 2 is "VNC authentication".
    let open = shown(&[("vnc_port_min", Value::Int(5950))]).await;
    assert_eq!(vnc_security_types(&address(&open)).await, [1]);
    let random = shown(&[("vnc_use_password", Value::Bool(true))]).await;
    let (_, password) = random.split_once("password ").expect("a password");
    assert_eq!(password.len(), 8);
    assert_eq!(vnc_security_types(&address(&random)).await, [2]);
    let own = shown(&[("vnc_password", text("letmein"))]).await;
    assert!(!own.contains("letmein"), "{own}");
    assert_eq!(vnc_security_types(&address(&own)).await, [2]);
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_machine_gets_to_its_firmware() {
    let Some(bench) = Bench::new(&["qemu-system-aarch64", "xorriso"]) else { return };
    if !found_firmware("/usr/share/AAVMF/AAVMF_CODE.fd") {
        return;
    }
    let cd = bios_cd(bench.dir.path());
    let machine = bench
        .launch(
            &[
                &[
                    ("qemu_binary", text("qemu-system-aarch64")),
                    ("cpu_model", text("cortex-a72")),
                    ("memory", Value::Int(256)),
                    ("communicator", text("none")),
                    ("boot_command", Value::List(vec![])),
                ][..],
                &medium(&cd),
            ]
            .concat(),
        )
        .await
        .expect("a machine");
    says(machine.as_ref(), "UEFI firmware", LIMIT).await;
    let picture = bench.path("screen.png");
    machine.console().expect("a console").screenshot(&picture).await.expect("a picture");
    crate::support::library::expect_png(&picture);
    bench.clean().await;
}
