//! Text read from real screens: firmware, boot loaders, Linux and Debian's installer, in text modes and on framebuffers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::console::boot_command::{Pace, Typist};
use rimg::console::expect::{ExpectOptions, Expectation, Expected, Place, expect};
use rimg::engine::options::Value;
use rimg::engine::{Console, Machine, Seconds};
use rimg::error::Error;

use crate::support::build::TestBuild;
use crate::support::library::{expect_png, has, skip, tool};
use crate::support::place;

const INSTALLER: &str = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";
const SYSLINUX: &str = "/usr/lib/syslinux/modules/bios";
const ISOLINUX: &str = "/usr/lib/ISOLINUX/isolinux.bin";
const UNIFONT: &str = "/usr/share/grub/unicode.pf2";

/// Tells whether all files are there.
fn have(paths: &[&str]) -> bool {
    paths.iter().all(|path| {
        let found = Path::new(path).exists();
        if !found {
            skip(&format!("{path} is not there"));
        }
        found
    })
}

/// A machine whose screen is looked at.
struct Guest {
    build: TestBuild,
    machine: Arc<dyn Machine>,
    folder: tempfile::TempDir,
}

impl Guest {
    /// Starts a machine with an empty disk and what `arguments` make of it.
    async fn start(memory: i64, arguments: impl FnOnce(&Path) -> Vec<[String; 2]>) -> Guest {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("disk.raw"), vec![0; 1 << 20]).expect("a disk");
        let words = |pair: [String; 2]| Value::List(pair.map(Value::Str).to_vec());
        let options = [
            ("source_image", Value::Str(folder.path().join("disk.raw").display().to_string())),
            ("accelerator", Value::Str("tcg".into())),
            ("memory", Value::Int(memory)),
            ("cpus", Value::Int(1)),
            ("qemuargs", Value::List(arguments(folder.path()).into_iter().map(words).collect())),
        ];
        let build = TestBuild::new(folder.path());
        let options = Value::Map(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let builder = rimg::builder::qemu::decode(options).expect("options");
        builder.validate(&build.cx).expect("valid options");
        let machine = builder.launch(&build.cx, None).await.expect("a machine");
        Guest { build, machine, folder }
    }

    fn console(&self) -> &dyn Console {
        self.machine.console().expect("a console")
    }

    async fn expect(&self, pattern: &str, source: Place, timeout: &str) -> Result<Expected, Error> {
        let options = ExpectOptions { source, timeout: Seconds::parse(timeout), ..ExpectOptions::default() };
        let expectation = Expectation::new(&[pattern.to_owned()], &options).expect("a pattern");
        expect(self.console(), &expectation, &self.build.cx).await
    }

    /// Waits for text on the screen and returns all that is on it.
    async fn sees(&self, pattern: &str) -> String {
        // Emulated installers take their time where the host has other work to do.
        match self.expect(pattern, Place::Screen, "10m").await {
            Ok(expected) => expected.text,
            Err(error) => panic!("{error}"),
        }
    }

    async fn types(&self, text: &str) {
        Typist::new(self.console(), Pace::default()).type_text(text, "us").await.expect("typed");
    }

    /// Says how long it takes to read the screen, a first time and when nothing has changed.
    #[expect(clippy::print_stderr, reason = "the test runner captures it")]
    async fn measure(&self, what: &str) {
        for look in 1..=3 {
            let started = Instant::now();
            let text = self.console().screen_text().await.expect("text");
            eprintln!("{what}: look {look}: {} rows in {:?}", text.rows.len(), started.elapsed());
        }
    }

    async fn end(self) {
        self.machine.destroy().await.expect("removed");
        self.build.clean().await;
        let left = std::fs::read_dir(self.folder.path().join("work")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "pictures are left in the work folder");
    }
}

fn pair(flag: &str, value: impl AsRef<Path>) -> [String; 2] {
    [flag.to_owned(), value.as_ref().display().to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_loader_that_speaks_grub_is_read_in_both_its_terminals() {
    let tools = ["qemu-system-x86_64", "qemu-img", "grub-mkrescue", "xorriso", "mformat"];
    if !tools.into_iter().all(has) || !have(&[UNIFONT, "/usr/lib/grub/i386-pc/moddep.lst"]) {
        return;
    }
    let guest = Guest::start(128, |folder| {
        let fonts = folder.join("iso/boot/grub/fonts");
        std::fs::create_dir_all(&fonts).expect("a folder");
        std::fs::copy(UNIFONT, fonts.join("unicode.pf2")).expect("a font");
        let script = "terminal_output console\necho 'This is a text mode.'\nread answer\ninsmod all_video\ninsmod gfxterm\n\
                      loadfont unicode\nset gfxmode=800x600\nterminal_output gfxterm\nset timeout=-1\n\
                      menuentry 'First system' { true }\nmenuentry 'Advanced options (2.0)' { true }\n";
        std::fs::write(folder.join("iso/boot/grub/grub.cfg"), script).expect("a script");
        let modules =
            "--install-modules=normal echo read all_video vbe vga gfxterm font biosdisk iso9660 part_msdos test";
        tool(folder, "grub-mkrescue", &["-d", "/usr/lib/grub/i386-pc", modules, "-o", "grub.iso", "iso"]);
        vec![pair("-cdrom", folder.join("grub.iso"))]
    })
    .await;
    let text = guest.sees("^This is a text mode\\.$").await;
    // The firmware's own words are still above it.
    assert!(text.contains("SeaBIOS (version") && text.contains("Booting from DVD/CD..."), "{text}");
    guest.measure("a text mode").await;
    guest.types("go on\n").await;
    let text = guest.sees("^ +│ Advanced options \\(2\\.0\\) +│$").await;
    assert!(
        text.contains("┌─") && text.contains("│*First system  ") && text.contains("Use the ↑ and ↓ keys"),
        "{text}"
    );
    assert!(text.trim_start().starts_with("GNU GRUB  version"), "{text}");
    guest.measure("a framebuffer of 800 by 600").await;
    guest.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_prompt_and_a_menu_over_a_picture_are_driven_by_what_they_show() {
    let modules = ["ldlinux", "vesamenu", "libcom32", "libutil"].map(|name| format!("{SYSLINUX}/{name}.c32"));
    if !["qemu-system-x86_64", "qemu-img", "xorriso"].into_iter().all(has)
        || !have(&[ISOLINUX, &modules[0], &modules[1]])
    {
        return;
    }
    let guest = Guest::start(128, |folder| {
        let to = folder.join("iso/isolinux");
        std::fs::create_dir_all(&to).expect("a folder");
        for file in modules.iter().map(String::as_str).chain([ISOLINUX]) {
            let name = Path::new(file).file_name().expect("a name");
            std::fs::copy(file, to.join(name)).expect("a copy");
        }
        let labels = "LABEL a\nMENU LABEL Install\nKERNEL a\nLABEL b\nMENU LABEL Rescue mode\nKERNEL b\n";
        std::fs::write(to.join("isolinux.cfg"), "PROMPT 1\nTIMEOUT 0\nSAY Welcome to the installer.\n").expect("a file");
        std::fs::write(to.join("menu.cfg"), format!("MENU TITLE Installer\n{labels}")).expect("a file");
        let boot = "-quiet -o isolinux.iso -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
                    -boot-info-table iso";
        let words: Vec<&str> = ["-as", "mkisofs"].into_iter().chain(boot.split_whitespace()).collect();
        tool(folder, "xorriso", &words);
        vec![pair("-cdrom", folder.join("isolinux.iso"))]
    })
    .await;
    let text = guest.sees("^boot:").await;
    assert!(text.contains("\nWelcome to the installer.\nboot:"), "{text}");

    let error = guest.expect("Install", Place::Any, "1s").await.expect_err("it is not there yet");
    let message = error.message();
    assert!(message.contains("/Install/ did not appear on the screen or the serial console within 1 s"), "{message}");
    assert!(
        message.contains("\nthe screen shows:\n") && message.contains("\n    Welcome to the installer.\n"),
        "{message}"
    );
    let picture = message.lines().find_map(|line| line.strip_prefix("the screen: ")).expect("a picture is named");
    expect_png(Path::new(picture));

    guest.types("vesamenu.c32 menu.cfg\n").await;
    let text = guest.sees("^ +Rescue mode$").await;
    assert!(text.contains("  Install\n"), "{text}");
    guest.measure("a picture of 640 by 480").await;
    guest.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn linux_and_debians_installer_are_read_in_a_text_mode_and_on_framebuffers() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) || !have(&[&format!("{INSTALLER}/linux")]) {
        return;
    }
    let _place = place::take();
    // The kernel starts on a framebuffer of the firmware's and goes on with a driver's, or stays in the text mode. With little
    // memory the installer asks in the kernel's font, otherwise in its own.
    for (parameters, memory, is_text) in [("vga=788", 1024, false), ("vga=normal nomodeset", 448, true)] {
        let guest = Guest::start(memory, |_| {
            let file = |name: &str| format!("{INSTALLER}/{name}");
            vec![pair("-kernel", file("linux")), pair("-initrd", file("initrd.gz")), pair("-append", parameters)]
        })
        .await;
        let text = guest.sees("^\\[ +\\d+\\.\\d+\\] .*[a-z]{4}").await;
        let known = text.chars().filter(|c| *c != char::REPLACEMENT_CHARACTER).count();
        assert_eq!(known, text.chars().count(), "{text}");
        guest.sees("Entering low memory mode|Select a language").await;
        // Painted last, on a busy host a while later.
        let text = guest.sees(if is_text { "<Continue>" } else { "<Tab> moves" }).await;
        if is_text {
            assert!(text.contains("[!!] Low memory") && text.contains("<Continue>") && text.contains('│'), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        } else {
            assert!(text.contains("[!!] Select a language ├─") && text.contains("  English  "), "{text}");
            assert!(text.contains("Français") && text.contains("Čeština"), "{text}");
            assert!(text.contains("<Tab> moves; <Space> selects; <Enter> activates buttons"), "{text}");
        }
        guest.measure(if is_text { "the installer's text mode" } else { "a framebuffer of 1280 by 800" }).await;
        guest.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_is_read_and_a_machine_without_a_screen_says_so() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    // Waits for a key that nobody presses, in place of a system.
    let guest = Guest::start(64, |_| vec![pair("-boot", "menu=on,splash-time=60000")]).await;
    let text = guest.sees("^Press ESC for boot menu\\.$").await;
    assert!(text.starts_with("SeaBIOS (version"), "{text}");
    guest.end().await;

    let guest = Guest::start(64, |_| vec![pair("-boot", "menu=on,splash-time=60000"), pair("-vga", "none")]).await;
    let error = guest.expect("x", Place::Screen, "60s").await.expect_err("there is no screen");
    assert!(error.message().contains("no screen"), "{error}");
    let started = Instant::now();
    assert!(guest.expect("x", Place::Any, "1s").await.is_err());
    assert!(started.elapsed() < Duration::from_secs(30));
    guest.end().await;
}
