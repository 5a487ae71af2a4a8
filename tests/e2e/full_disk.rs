//! A full disk in each phase of a build: named, with what is free of it, and nothing half-written stays.

use std::process::{Command, Stdio};

use crate::interrupt::noise;
use crate::kill;
use crate::qemu::off_in_a_while;
use crate::support::library::{has, skip};
use crate::support::rimg::{Run, Sandbox};

/// A boot sector that writes 32 MiB to its disk, over and over, by the BIOS (int 13h, function 43h).
const WRITER: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, // ds = 0
    0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // a stack; interrupts on
    0xb8, 0x00, 0x43, 0xb2, 0x80, 0xbe, 0x20, 0x7c, 0xcd, 0x13, // write what the packet says
    0x81, 0x06, 0x28, 0x7c, 0x40, 0x00, // next 64 sectors
    0xeb, 0xee, 0, 0, 0, 0, // again
    0x10, 0, 0x40, 0, 0x00, 0x00, 0x00, 0xf0, 0x40, 0, 0, 0, 0, 0, 0,
    0, // the packet: 64 sectors of the BIOS's own code
];

/// A folder `small` that is a disk of its own, in a mount namespace of its own, whoever runs the tests.
struct Small {
    sandbox: Sandbox,
    unshare: &'static [&'static str],
}

impl Small {
    fn new() -> Option<Small> {
        let root = rustix::process::getuid().is_root();
        let unshare: &[&str] = if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.join("small")).unwrap();
        let mut tried = Command::new("unshare");
        tried.args(unshare).args(["sh", "-c", "mount -t tmpfs -o size=4m tmpfs small"]).current_dir(sandbox.path());
        if !tried.output().is_ok_and(|output| output.status.success()) {
            skip("this host allows no mounts");
            return None;
        }
        Some(Small { sandbox, unshare })
    }

    /// Runs a script with `small` of that size and, if it is to be full, nothing free of it. Standard output ends with the
    /// names of all that is there afterwards.
    fn run(&self, size: &str, full: bool, source: &str, args: &[&str], env: &[(&str, &str)]) -> Run {
        self.sandbox.write("build.lua", format!("local rimg = require 'rimg'\n{source}\n"));
        let mut rimg = self.sandbox.command([""; 0]);
        rimg.envs(env.iter().map(|(name, path)| (name, self.sandbox.join(path))));
        let fill = if full { "cat /dev/zero >small/fill 2>/dev/null; " } else { "" };
        let line = format!(
            "mount -t tmpfs -o size={size} tmpfs small && {{ {fill}'{}' run build.lua \"$@\"; code=$?; rm -f small/fill; \
             echo \"left: [$(cd small && find . -mindepth 1 | sort | tr '\\n' ' ')]\"; exit $code; }}",
            rimg.get_program().to_string_lossy()
        );
        let mut command = Command::new("unshare");
        command.args(self.unshare).args(["sh", "-c", &line, "sh"]).args(args);
        command.current_dir(self.sandbox.path()).stdin(Stdio::null());
        for (name, value) in rimg.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let run = Run::of(&mut command);
        assert!(!left(&run).contains(".rimg-"), "half-written: {run:?}");
        self.sandbox.assert_clean();
        run
    }

    /// Writes an image with this boot sector, of 64 MiB, the first of which are noise.
    fn disk(&self, boot_sector: &[u8], noise_bytes: u64) {
        let mut disk = noise(noise_bytes.max(512));
        disk[..boot_sector.len()].copy_from_slice(boot_sector);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let path = self.sandbox.write("disk.img", disk);
        std::fs::File::options().write(true).open(path).unwrap().set_len(64 << 20).unwrap();
    }
}

fn left(run: &Run) -> String {
    run.stdout.lines().filter_map(|line| line.strip_prefix("left: ")).collect()
}

/// Fails unless the run says that the disk is full, which one, and what is free of it.
#[track_caller]
fn expect_full(run: &Run, place: &str) {
    let said = run.stderr.to_lowercase();
    assert!(
        said.contains("no space left") || said.contains("no storage space") || said.contains("disk is full"),
        "{run:?}"
    );
    assert!(said.contains("bytes are free at ") && said.contains(place), "{place}: {}", run.stderr);
}

#[test]
fn outputs_are_named_and_nothing_half_written_stays() {
    let Some(small) = Small::new() else { return };
    small.sandbox.write("disk.img", noise(20_000_000));
    for call in [
        "rimg.artifact('disk.img'):compress 'small/disk.tar.gz'",
        "rimg.artifact('disk.img'):compress 'small/disk.img.zst'",
        "rimg.artifact('disk.img'):compress 'small/disk.zip'",
        "rimg.artifact('disk.img'):convert { format = 'qcow2', output = 'small/disk.qcow2' }",
        "rimg.artifact('disk.img'):vagrant { output = 'small/disk.box' }",
        "rimg.download { url = 'disk.img', checksum = 'none', to = 'small/disk.img' }",
        "rimg.localhost():download('disk.img', 'small/disk.img')",
        "rimg.fs.write('small/disk.img', rimg.fs.read('disk.img'))",
    ] {
        if (call.contains("convert") || call.contains("vagrant")) && !has("qemu-img") {
            continue;
        }
        let run = small.run("4m", false, call, &[], &[]);
        assert!(matches!(run.code, Some(1 | 2)), "{call}: {run:?}");
        assert_eq!(left(&run), "[]", "{call}");
        expect_full(&run, "small");
        let goes_on = call.starts_with("rimg.artifact").then_some("disk.img is as it was: run the script again");
        run.expect_errors(&["--> build.lua:2", "small", goes_on.unwrap_or_default()]);
    }
    for call in [
        "rimg.artifact('disk.img'):checksum { 'sha256', output = 'small/sums' }",
        "rimg.artifact('disk.img'):manifest { output = 'small/manifest.json' }",
    ] {
        let run = small.run("4m", true, call, &[], &[]);
        assert!(matches!(run.code, Some(1 | 2)), "{call}: {run:?}");
        assert_eq!(left(&run), "[]", "{call}");
        expect_full(&run, "small");
    }
}

#[test]
fn of_the_log_the_cache_and_the_state_folder() {
    let Some(small) = Small::new() else { return };
    small.sandbox.write("disk.img", noise(300_000));
    // A log is no reason to lose a build, but it is said that it is not whole.
    let run = small.run("4m", true, "rimg.log.info 'hello'", &["--log-file", "small/run.log"], &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    expect_full(&run, "small/run.log");
    // Nor is it that nothing can be written down for the next run.
    let call = "rimg.artifact('disk.img'):compress 'disk.img.gz'";
    let run = small.run("4m", true, call, &[], &[("RIMG_CACHE_DIR", "small/cache")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        small.sandbox.join("disk.img.gz").exists()
            && run.stdout.contains("warning: ")
            && run.stdout.contains("small/cache"),
        "{run:?}"
    );
    std::fs::remove_file(small.sandbox.join("disk.img.gz")).unwrap();
    // Without a state folder nothing could be found again after a crash.
    let run = small.run("4m", true, call, &[], &[("RIMG_STATE_DIR", "small/state")]);
    assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
    expect_full(&run, "small/state");
}

#[test]
fn of_a_machine_that_is_made_runs_and_is_captured() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    let Some(small) = Small::new() else { return };
    let machine = |more: &str| {
        format!(
            "local vm = rimg.qemu {{ source_image = 'disk.img', accelerator = 'tcg', memory = '64M', cpus = 1, \
             ssh_username = 'u', ssh_password = 'p', ssh_timeout = '8m', {more} }}\n"
        )
    };
    let cache = [("RIMG_CACHE_DIR", "small/cache")];
    // The medium it boots from.
    small.disk(WRITER, 512);
    small.sandbox.write("big.bin", noise(20_000_000));
    let run = small.run("4m", false, &machine("cd_files = { 'big.bin' }"), &[], &cache);
    assert_eq!(run.code, Some(1), "{run:?}");
    expect_full(&run, "small/cache");
    // Its disk, while it runs: an error at once, and not when nobody has answered for eight minutes.
    let started = std::time::Instant::now();
    let run = small.run("8m", false, &machine(""), &[], &cache);
    assert_eq!(run.code, Some(1), "{run:?}");
    expect_full(&run, "small/cache");
    assert!(run.stderr.contains("no room for what the guest writes"), "{run:?}");
    assert!(started.elapsed().as_secs() < 240, "the guest was waited for");
    // Its image.
    small.disk(&off_in_a_while(), 20_000_000);
    let finish = "vm:finish { output_directory = 'small/out' }";
    let run = small.run("4m", false, &(machine("communicator = 'none'") + finish), &[], &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(left(&run), "[]");
    expect_full(&run, "small");
}

#[test]
fn a_checkpoint_that_finds_no_room_is_given_up_and_the_build_goes_on() {
    if !["qemu-system-x86_64", "qemu-img", "as", "ld"].into_iter().all(has) {
        return;
    }
    let Some(small) = Small::new() else { return };
    small.disk(&kill::guest(), 512);
    let source = "local vm = rimg.qemu { source_image = 'disk.img', accelerator = 'tcg', memory = '64M', cpus = 1, \
                  communicator = 'none', disable_shutdown = true, boot_command = { { expect = '>' } } }\n\
                  vm:checkpoint 'here'\nvm:type '!'\nvm:finish { output_directory = 'out' }\n\
                  rimg.log.info('unfinished: ' .. #rimg.fs.glob 'small/cache/replay/checkpoints/*/memory*')";
    let run = small.run("48m", false, source, &[], &[("RIMG_CACHE_DIR", "small/cache")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("no checkpoints of this machine any more: cannot write "), "{run:?}");
    assert!(run.stdout.contains("the guest may need them"), "{run:?}");
    assert!(small.sandbox.join("out").is_dir());
    assert!(!left(&run).contains("checkpoints/"), "a checkpoint that is none: {run:?}");
}
