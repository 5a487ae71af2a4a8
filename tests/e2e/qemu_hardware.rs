//! What QEMU machines are made of, with boot sectors and firmware in place of guest systems.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::engine::options::Value;
use rimg::engine::{Builder, CaptureSpec, Health, Machine};
use rimg::error::Error;

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
        builder.launch(&self.build.cx).await
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

const LIMIT: Duration = Duration::from_secs(40);

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
            let machine = builder.launch(&build.cx).await.expect("a machine");
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
