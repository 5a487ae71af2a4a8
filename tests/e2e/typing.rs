//! Keys typed on real keyboards: guests that say what arrived, in a PC's BIOS, in a boot loader and on Linux's console.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rimg::console::boot_command::{Pace, Typist};
use rimg::engine::Machine;
use rimg::engine::options::Value;

use crate::support::build::TestBuild;
use crate::support::library::{has, skip, tool};

/// Has i8042, atkbd and the console built in.
const KERNEL: &str = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux";
const EFI: &str = "/usr/share/ovmf/OVMF.fd";

/// Five hundred characters: all that ASCII can print, five times and a bit.
fn characters() -> String {
    (' '..='~').cycle().take(500).collect()
}

/// A machine that boots a disk image and writes what it has to say to its serial line.
struct Guest {
    build: TestBuild,
    machine: Arc<dyn Machine>,
    serial: PathBuf,
    _folder: tempfile::TempDir,
}

impl Guest {
    /// Starts a machine from the image that `make` makes in a folder; `qemuargs` come after it.
    async fn start(memory: i64, make: impl FnOnce(&Path) -> (PathBuf, Vec<Vec<String>>)) -> Guest {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, arguments) = make(folder.path());
        let build = TestBuild::new(folder.path());
        let serial = folder.path().join("serial");
        let text = |path: &Path| Value::Str(path.display().to_string());
        let list = |words: Vec<String>| Value::List(words.into_iter().map(Value::Str).collect());
        let options = [
            ("source_image", text(&image)),
            ("serial_log", text(&serial)),
            ("accelerator", Value::Str("tcg".into())),
            ("memory", Value::Int(memory)),
            ("cpus", Value::Int(1)),
            ("qemuargs", Value::List(arguments.into_iter().map(list).collect())),
        ];
        let options = Value::Map(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let builder = rimg::builder::qemu::decode(options).expect("options");
        builder.validate(&build.cx).expect("valid options");
        let machine = builder.launch(&build.cx, None).await.expect("a machine");
        Guest { build, machine, serial, _folder: folder }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.serial).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until the guest has said something that satisfies `condition`.
    async fn hear(&self, what: &str, limit: Duration, condition: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let said = self.said();
            if condition(&said) {
                return said;
            }
            assert!(Instant::now() < deadline, "the guest did not say {what}, but:\n{said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Types, and returns how long that took.
    async fn type_text(&self, text: &str) -> Duration {
        let started = Instant::now();
        let mut typist = Typist::new(self.machine.console().expect("a console"), Pace::default());
        typist.type_text(text, "us").await.expect("typed");
        started.elapsed()
    }

    async fn end(self) {
        assert_eq!(self.build.messages(), [""; 0], "no key was in doubt");
        self.machine.destroy().await.expect("removed");
        self.build.clean().await;
    }
}

/// Threads that keep every processor of the host busy.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) * 2 {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Load(stop)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says how long something took; the test runner shows it when asked to.
#[expect(clippy::print_stderr, reason = "the test runner captures it")]
fn note(what: &str, characters: usize, took: Duration, load: bool) {
    let load = if load { ", the host under load" } else { "" };
    eprintln!("{what}: {characters} characters in {took:?}{load}");
}

fn words(groups: &[&[&str]]) -> Vec<Vec<String>> {
    groups.iter().map(|group| group.iter().map(|&word| word.to_owned()).collect()).collect()
}

/// Assembles one of the guests and returns the linker's output.
fn assemble(folder: &Path, source: &str, bits: &[&str], link: &[&str]) -> PathBuf {
    let object = folder.join("guest.o");
    let program = folder.join("guest");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/typing").join(source);
    let path = |path: &Path| path.display().to_string();
    tool(folder, "as", &[bits, &["-o", &path(&object), &path(&source)]].concat());
    tool(folder, "ld", &[link, &["-o", &path(&program), &path(&object)]].concat());
    program
}

fn boot_sector(folder: &Path) -> PathBuf {
    let sector = assemble(
        folder,
        "bios.S",
        &["--32", "--defsym", "SLOW=1"],
        &["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"],
    );
    let mut image = std::fs::read(sector).unwrap();
    assert_eq!(image.len(), 512);
    image.resize(1 << 20, 0);
    let path = folder.join("disk.raw");
    std::fs::write(&path, image).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_program_in_real_mode_gets_every_key() {
    if !["qemu-system-x86_64", "qemu-img", "as", "ld"].into_iter().all(has) {
        return;
    }
    let usb = words(&[&["-device", "qemu-xhci"], &["-device", "usb-kbd"]]);
    // The firmware reads a USB keyboard itself, and puts its keys where it puts the others.
    for (keyboard, arguments, text) in
        [("PS/2", Vec::new(), characters()), ("USB", usb, "All <or> Nothing: {50} keys | ~10 `shifted` & 'so'".into())]
    {
        let guest = Guest::start(64, |folder| (boot_sector(folder), arguments)).await;
        guest.hear("that it is ready", Duration::from_secs(20), |said| said.contains('>')).await;
        for load in [false, true] {
            let _load = load.then(Load::start);
            let before = guest.said().len();
            let took = guest.type_text(&text).await;
            let said = guest.hear("all", Duration::from_secs(30), |said| said.len() >= before + text.len()).await;
            assert_eq!(said.get(before..), Some(text.as_str()), "{keyboard}");
            note(&format!("{keyboard}, a slow program in real mode"), text.len(), took, load);
        }
        guest.end().await;
    }
}

/// Returns an initial file system with the program as its first process, in the kernel's cpio format (newc).
fn initrd(program: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut entry = |name: &str, mode: u32, data: &[u8], device: (u32, u32)| {
        let fields = [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        archive.extend_from_slice(format!("070701{fields}{name}\0").as_bytes());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    entry("dev", 0o040_755, &[], (0, 0));
    entry("dev/console", 0o020_600, &[], (5, 1));
    entry("dev/tty1", 0o020_600, &[], (4, 1));
    entry("dev/ttyS0", 0o020_600, &[], (4, 64));
    entry("init", 0o100_755, program, (0, 0));
    entry("TRAILER!!!", 0, &[], (0, 0));
    archive
}

#[tokio::test(flavor = "multi_thread")]
async fn linux_gets_every_key_on_its_console() {
    if !["qemu-system-x86_64", "qemu-img", "as", "ld"].into_iter().all(has) {
        return;
    }
    if !Path::new(KERNEL).exists() {
        return skip("debian-installer-12-netboot-amd64 is not installed");
    }
    let guest = Guest::start(256, |folder| {
        let archive = folder.join("initrd");
        std::fs::write(&archive, initrd(&std::fs::read(assemble(folder, "init.S", &[], &[])).unwrap())).unwrap();
        let disk = folder.join("disk.raw");
        std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
        let archive = archive.display().to_string();
        let arguments = [
            ["-kernel", KERNEL].as_slice(),
            &["-initrd", &archive],
            &["-append", "console=ttyS0 quiet loglevel=0 vt.default_utf8=1"],
        ];
        (disk, words(&arguments))
    })
    .await;
    guest.hear("that it is ready", Duration::from_secs(60), |said| said.contains('>')).await;
    // The console passes on whole lines.
    let text = characters()
        .as_bytes()
        .chunks(100)
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect::<String>();
    for load in [false, true] {
        let _load = load.then(Load::start);
        let before = guest.said().len();
        let took = guest.type_text(&text).await;
        let said = guest.hear("all", Duration::from_secs(30), |said| said.len() >= before + text.len()).await;
        assert_eq!(said.get(before..), Some(text.as_str()));
        note("Linux", text.len(), took, load);
    }
    guest.end().await;
}

/// A medium with GRUB that boots in BIOS and EFI, takes keys from the keyboard and answers on the serial line.
fn grub(folder: &Path) -> PathBuf {
    let config = folder.join("medium/boot/grub/grub.cfg");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "serial --unit=0 --speed=115200\nterminal_input console\nterminal_output serial\n")
        .unwrap();
    let modules = "--install-modules=serial terminal echo normal configfile";
    tool(folder, "grub-mkrescue", &["-o", "grub.raw", "medium", modules, "--fonts=", "--locales=", "--themes="]);
    folder.join("grub.raw")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_loader_gets_every_key_in_bios_and_efi() {
    if !["qemu-system-x86_64", "qemu-img", "grub-mkrescue", "xorriso", "mformat"].into_iter().all(has) {
        return;
    }
    // Lines that it repeats when it has read them, short enough that it does not break them; all that it can quote.
    let all: Vec<char> = ('!'..='~').filter(|&c| c != '\'').collect();
    let lines = (0..5).flat_map(|n| all.chunks(47).map(move |part| format!("{n}:{}", String::from_iter(part))));
    let lines: Vec<String> = lines.collect();
    for firmware in ["BIOS", "EFI"] {
        let arguments = match firmware {
            "EFI" if !Path::new(EFI).exists() => return skip("ovmf is not installed"),
            "EFI" => words(&[&["-bios", EFI]]),
            _ => Vec::new(),
        };
        let guest = Guest::start(256, |folder| (grub(folder), arguments)).await;
        let mut before = guest.hear("its prompt", Duration::from_secs(60), |said| said.contains("grub>")).await.len();
        for load in [false, true] {
            let _load = load.then(Load::start);
            // Busy hosts are slow ones, too: some lines will do.
            let lines = lines.get(..if load { 4 } else { lines.len() }).unwrap_or_default();
            let (mut took, count) = (Duration::ZERO, lines.iter().map(|line| line.len() + 8).sum());
            for line in lines {
                took += guest.type_text(&format!("echo '{line}'<enter>")).await;
                // What is typed is shown by characters and cursor movements; the answer is a line.
                let answered = |said: &str| said.get(before..).is_some_and(|new| new.contains(&format!("\n{line}\n")));
                before = guest.hear(line, Duration::from_secs(30), answered).await.len();
            }
            note(&format!("GRUB in {firmware}"), count, took, load);
        }
        guest.end().await;
    }
}
