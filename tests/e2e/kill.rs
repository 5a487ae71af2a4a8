//! The kill test: a build with a real QEMU is killed all over its life, and nothing may be left after `rimg gc`; it is asked
//! to end all over its life, and nothing may be left at all.
//!
//! `KILL_POINTS` says how many points are tried (default 20 and 8), `KILL_SEED` repeats a run of this test, `KILL_PHASE`
//! names the phases to try: those with that text in their names.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::library::{has, skip, tool};
use crate::support::rimg::{Live, Sandbox};
use crate::support::sshd::Sshd;

/// No phase takes that long, however busy the host is.
const LIMIT: Duration = Duration::from_secs(180);
/// What the build leaves in `out`.
const OUTPUTS: [&str; 6] = ["image", "image.box", "image.qcow2.gz", "SHA256SUMS", "manifest.json", "screen.png"];

const SCRIPT: &str = r#"local rimg = require "rimg"
rimg.build("killed", function()
  local image = rimg.download { url = "disk.raw", checksum = "none" }
  rimg.fs.write(rimg.fs.tempdir() .. "/note", "x")
  rimg.exec("sleep 0.2; echo made", { title = "a program" })
  local vm = rimg.qemu {
    source_image = image, communicator = "none", accelerator = "tcg", memory = "64M", cpus = 1,
    http_content = { ["/answers"] = "yes" }, boot_command = { { expect = ">", timeout = "2m" }, "hello" },
    vtpm = true, disable_shutdown = true,
  }
  vm:type "words for the machine to hear"
  vm:checkpoint "typed"
  local host = rimg.host {
    ssh_host = "127.0.0.1", ssh_port = PORT, ssh_username = "USER", ssh_private_key_file = "KEY",
  }
  host:upload("tree", "REMOTE/tree")
  host:run("sleep 0.1; ls REMOTE/tree")
  host:download("REMOTE/tree", "out/.back")
  vm:screenshot "out/screen.png"
  vm:type "!"
  local made = vm:finish { output_directory = "out/image", name = "image" }
  local packed = made:compress { output = "out/image.qcow2.gz" }
  packed:checksum { "sha256", output = "out/SHA256SUMS" }
  made:vagrant { output = "out/image.box" }
  made:manifest { output = "out/manifest.json" }
end)
"#;

/// Returns the boot sector `tests/kill/guest.S`.
pub fn guest() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kill/guest.S").display().to_string();
    tool(folder.path(), "as", &["--32", "-o", "guest.o", &source]);
    let link = ["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", "guest", "guest.o"];
    tool(folder.path(), "ld", &link);
    std::fs::read(folder.path().join("guest")).unwrap()
}

/// What all points share.
struct World {
    image: Vec<u8>,
    sshd: Sshd,
    script: String,
}

impl World {
    fn new() -> Option<World> {
        if !["qemu-system-x86_64", "qemu-img", "swtpm", "as", "ld"].into_iter().all(has) {
            return None;
        }
        let Some(sshd) = Sshd::start("") else {
            skip("sshd is not installed");
            return None;
        };
        let mut image = guest();
        let mut random = Random(1);
        image.extend(std::iter::repeat_with(|| random.next().to_le_bytes()).take(400_000).flatten());
        image.resize(8 << 20, 0);
        let user = String::from_utf8(tool(Path::new("/"), "id", &["-un"])).unwrap();
        let remote = sshd.file("remote");
        std::fs::create_dir(&remote).unwrap();
        let script = SCRIPT
            .replace("PORT", &sshd.port.to_string())
            .replace("USER", user.trim())
            .replace("KEY", &sshd.user_key().display().to_string())
            .replace("REMOTE", &remote.display().to_string());
        Some(World { image, sshd, script })
    }

    /// Makes a folder to build in; with `old`, outputs of an earlier build are there.
    fn sandbox(&self, old: bool) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.write("disk.raw", &self.image);
        for number in 0..40 {
            sandbox.write(format!("tree/{number}"), vec![number; 20_000]);
        }
        if old {
            for name in OUTPUTS {
                sandbox.write(if name == "image" { "out/image/old".into() } else { format!("out/{name}") }, "old");
            }
        }
        sandbox
    }

    fn start(&self, sandbox: &Sandbox) -> Live {
        // What a killed run has uploaded is another machine's, and not looked at.
        let _ = std::fs::remove_dir_all(self.sshd.file("remote/tree"));
        sandbox.start(&self.script, &["--json", "--force"])
    }

    /// Returns what a whole build says, each event with how long it is until the next.
    fn phases(&self) -> Vec<(String, Duration)> {
        let sandbox = self.sandbox(true);
        let mut live = self.start(&sandbox);
        let begun = Instant::now();
        let mut seen: Vec<(String, Duration)> = vec![("start".into(), Duration::ZERO)];
        live.reaches(LIMIT, |said| {
            let names = events(said);
            seen.extend(names.iter().skip(seen.len() - 1).map(|name| (name.clone(), begun.elapsed())));
            names.last().is_some_and(|name| name.starts_with("run_finished"))
        });
        live.end(LIMIT).expect_code(0);
        let ends: Vec<Duration> = seen.iter().skip(1).map(|(_, at)| *at).chain([begun.elapsed()]).collect();
        seen.into_iter().zip(ends).map(|((name, at), end)| (name, end - at)).collect()
    }
}

/// Returns what a run has said so far: the events that every run of the script has, in their order.
fn events(said: &str) -> Vec<String> {
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match text("event").as_str() {
            name @ ("run_started" | "build_started" | "build_finished" | "run_finished") => Some(name.to_owned()),
            name @ ("operation_started" | "operation_finished" | "step_started" | "step_finished") => {
                Some(format!("{name} {} {}", text("kind"), text("machine")))
            }
            name @ "artifact" => Some(format!("{name} {}", text("kind"))),
            name @ "output" => Some(format!("{name} of {}", text("machine"))),
            _ => None,
        }
    };
    said.lines().filter_map(of).collect()
}

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Kills builds with `signal`, `count` times: as many in each phase, anywhere in it, so that short ones have their share.
/// `check` returns what is wrong after one.
fn points(
    world: &World,
    count: u64,
    signal: impl Fn(u64) -> Signal,
    check: impl Fn(&World, &Sandbox, bool, Live) -> Vec<String>,
) {
    let seed = setting("KILL_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
    });
    let count = setting("KILL_POINTS").unwrap_or(count);
    let phases = world.phases();
    say(&format!("KILL_SEED={seed}, {count} points in {} phases", phases.len()));
    let mut random = Random(seed);
    // Where a sample begins differs from seed to seed.
    let first = random.next();
    let wanted = std::env::var("KILL_PHASE").unwrap_or_default();
    let numbers: Vec<usize> = (0..phases.len()).filter(|number| phases[*number].0.contains(&wanted)).collect();
    assert!(!numbers.is_empty(), "no phase is called {wanted}");
    let stride = (numbers.len() as u64 / count.max(1)).max(1);
    let (mut tried, mut wrong): (BTreeMap<usize, u64>, Vec<String>) = Default::default();
    for point in 0..count {
        let number = numbers[((first + point * stride) % numbers.len() as u64) as usize];
        let (name, length) = &phases[number];
        let delay = length.mul_f64(random.fraction() * 1.2);
        let old = random.next().is_multiple_of(2);
        let sandbox = world.sandbox(old);
        let mut live = world.start(&sandbox);
        live.reaches(LIMIT, |said| events(said).len() >= number);
        let until = Instant::now() + delay;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        live.signal(signal(point));
        *tried.entry(number).or_default() += 1;
        let found = check(world, &sandbox, old, live);
        let at = format!("point {point}, {:.3} s after `{name}`", delay.as_secs_f64());
        say(&format!("{at}: {}", if found.is_empty() { "nothing is left" } else { "LEFT" }));
        wrong.extend(found.into_iter().map(|what| format!("{at}: {what}")));
    }
    for (number, (name, length)) in phases.iter().enumerate() {
        let times = tried.get(&number).copied().unwrap_or_default();
        say(&format!("{times:4} x {:6.3} s  {name}", length.as_secs_f64()));
    }
    say(&format!("{count} points tried, {} leaks", wrong.len()));
    assert!(wrong.is_empty(), "KILL_SEED={seed}\n{}", wrong.join("\n"));
}

#[expect(clippy::print_stderr, reason = "the test runner shows it when asked to")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Returns what is there of a run that is over, and should not be.
fn left(sandbox: &Sandbox) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut left = sandbox.leftovers();
        // Every process that rimg starts has the sandbox in its environment, wherever it works.
        let inside = sandbox.path().display().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if memchr(&environment, inside.as_bytes()) {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                left.push(format!("process {}", String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        let journals = std::fs::read_dir(sandbox.join(".state/runs")).into_iter().flatten().flatten();
        left.extend(journals.map(|run| format!("journal {}", run.path().display())));
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        // What was killed a moment ago may still be on the kernel's list.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn memchr(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Returns what is wrong with the outputs: half ones, and old ones that are gone without a new one in their place.
fn outputs(sandbox: &Sandbox, had_old: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let names = std::fs::read_dir(sandbox.join("out")).into_iter().flatten().flatten();
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let is_known = |name: &String| OUTPUTS.contains(&name.as_str()) || name == ".back";
    wrong.extend(names.iter().filter(|name| !is_known(name)).map(|name| format!("half an output: {name}")));
    if had_old {
        let gone = OUTPUTS.iter().filter(|name| !names.iter().any(|there| there == **name));
        wrong.extend(gone.map(|name| format!("an output that was there is gone: {name}")));
    }
    let image = sandbox.join("out/image/image.qcow2");
    if image.exists() {
        let checked = std::process::Command::new("qemu-img").arg("check").arg(&image).output().unwrap();
        if !checked.status.success() {
            wrong.push(format!("half an image: {}", String::from_utf8_lossy(&checked.stdout)));
        }
    }
    wrong
}

/// Returns what is wrong with the cache, and with the next run.
fn goes_on(world: &World, sandbox: &Sandbox) -> Vec<String> {
    let mut wrong = Vec::new();
    let listed = sandbox.rimg(["cache", "ls", "--json"]);
    let cache: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let unusable = |checkpoint: &&Value| checkpoint["usable"] == false;
    let checkpoints = cache["checkpoints"].as_array().cloned().unwrap_or_default();
    if listed.code != Some(0) || cache["leftovers"]["count"] != 0 || checkpoints.iter().any(|c| unusable(&c)) {
        wrong.push(format!("the cache: {}{}", listed.stdout, listed.stderr));
    }
    let run = world.start(sandbox).end(LIMIT);
    if run.code != Some(0) {
        wrong.push(format!("the next run: {:?}\n{}\n{}", run.code, run.stderr, run.stdout));
    }
    wrong.extend(left(sandbox).into_iter().map(|what| format!("after the next run: {what}")));
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_leaves_nothing_after_gc() {
    let Some(world) = World::new() else { return };
    points(
        &world,
        20,
        |_| Signal::KILL,
        |world, sandbox, old, live| {
            live.end(LIMIT);
            let mut wrong = Vec::new();
            let collected = sandbox.rimg(["gc"]);
            if collected.code != Some(0) {
                wrong.push(format!("gc: {:?} {}{}", collected.code, collected.stdout, collected.stderr));
            }
            wrong.extend(left(sandbox).into_iter().map(|what| format!("{what}\n  gc said {}", collected.stdout)));
            wrong.extend(outputs(sandbox, old));
            let again = sandbox.rimg(["gc"]);
            if !again.stdout.starts_with("Nothing is left") {
                wrong.push(format!("the second gc: {}{}", again.stdout, again.stderr));
            }
            let up = sandbox.rimg(["ps"]);
            if up.stdout != "Nothing is up.\n" {
                wrong.push(format!("ps: {}{}", up.stdout, up.stderr));
            }
            wrong.extend(goes_on(world, sandbox));
            wrong
        },
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_asked_to_end_leaves_nothing() {
    let Some(world) = World::new() else { return };
    points(
        &world,
        8,
        |point| if point.is_multiple_of(2) { Signal::TERM } else { Signal::INT },
        |world, sandbox, old, live| {
            let run = live.end(LIMIT);
            let mut wrong = Vec::new();
            // Before it listens for signals, the signal ends it; after everything is done, it ends as it would have.
            if !matches!(run.code, None | Some(130 | 0)) {
                wrong.push(format!("it ended with {:?}: {}", run.code, run.stderr));
            }
            wrong.extend(left(sandbox));
            wrong.extend(outputs(sandbox, old));
            wrong.extend(goes_on(world, sandbox));
            wrong
        },
    );
}
