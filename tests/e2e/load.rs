//! Many builds at once: on one server, and among others that fail.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::support::rimg::Sandbox;
use crate::support::sshd::Sshd;

/// What issue and documentation promise for `BUILDS` builds at once.
const MEMORY: u64 = 100 << 10;
const BUILDS: usize = 200;

#[expect(clippy::print_stderr, reason = "figures and seeds are for people")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[test]
fn two_hundred_builds_on_one_server_stay_small() {
    // A shell that is not the first does not read its user's settings, which are no part of this.
    let Some(sshd) = Sshd::start("MaxSessions 100\nSetEnv SHLVL=1") else { return };
    let sandbox = Sandbox::new();
    sandbox.write("content", vec![7; 64_000]);
    let script = format!(
        r#"
        local rimg = require "rimg"
        local function open() return #rimg.fs.glob("/proc/self/fd/*") end
        local function peak() return tonumber(rimg.fs.read("/proc/self/status"):match "VmHWM:%s*(%d+)") end
        local function round(name, builds)
          local handles = {{}}
          for n = 1, builds do
            handles[n] = rimg.build(name .. n, function()
              local vm = rimg.host {{
                name = "h" .. n, ssh_host = "127.0.0.1", ssh_port = {port}, ssh_username = "root", ssh_private_key_file = "{key}",
              }}
              local dir = rimg.script_dir .. "/remote/" .. name .. n
              vm:write(dir .. "/note", "of " .. n)
              vm:upload("content", dir .. "/content")
              for k = 1, 50 do
                local said = vm:run({{ "echo", n, k }}).stdout
                assert(said == n .. " " .. k .. "\n", said)
              end
              assert(vm:read(dir .. "/note") == "of " .. n)
            end)
          end
          for _, handle in ipairs(handles) do handle:await() end
        end
        -- What is opened once is open after the first.
        round("warm", 5)
        local before = open()
        round("b", {BUILDS})
        print(("files %d %d peak %d KiB"):format(before, open(), peak()))"#,
        port = sshd.port,
        key = sshd.user_key().display(),
    );
    std::fs::create_dir(sandbox.join("remote")).unwrap();
    let folders = (1..=BUILDS).map(|n| format!("b{n}")).chain((1..=5).map(|n| format!("warm{n}")));
    folders.for_each(|name| std::fs::create_dir(sandbox.join("remote").join(name)).unwrap());
    let started = Instant::now();
    let run = sandbox.run(&script, &["--parallel", "250"]).expect_code(0);
    let line = run.stdout.lines().find(|line| line.contains("files ")).expect("the measurement");
    note(&format!(
        "{BUILDS} builds, 50 commands and two uploads each, in {:.1} s: {line}",
        started.elapsed().as_secs_f64()
    ));
    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [before, after, peak] = numbers[..] else { panic!("{line}") };
    assert!(after <= before, "files that stay open: {before} before, {after} after");
    assert!(peak <= MEMORY, "{line}");
    for n in 1..=BUILDS {
        let content = std::fs::read(sandbox.join(format!("remote/b{n}/content"))).unwrap();
        assert!(content == vec![7; 64_000], "b{n}");
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[test]
fn builds_that_fail_leave_the_others_artifacts_right() {
    const BUILDS: u64 = 16;
    let Some(sshd) = Sshd::start("MaxSessions 100\nSetEnv SHLVL=1") else { return };
    let given = std::env::var("RIMG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64);
    note(&format!("seed {seed}: RIMG_TEST_SEED={seed} repeats it"));
    let mut random = Random(seed);
    let mut failing = BTreeSet::new();
    while failing.len() < BUILDS as usize / 2 {
        failing.insert(1 + random.below(BUILDS));
    }
    // The step before which a build fails, and how; steps are below.
    let faults: Vec<String> =
        failing.iter().map(|n| format!("[{n}] = {{ {}, {} }}", random.below(12), random.below(5))).collect();
    let sandbox = Sandbox::new();
    let script = format!(
        r#"
        local rimg = require "rimg"
        local faults = {{ {faults} }}
        local ways = {{
          function(vm) vm:run "echo no >&2; exit 7" end,
          function() error "a mistake in the script" end,
          function(vm) vm:download("/no/such/file", "never") end,
          function(vm) vm:run("sleep 60", {{ timeout = "200ms" }}) end,
          -- The whole connection goes away, as with a machine that dies.
          function(vm) vm:run "kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 60" end,
        }}
        for n = 1, {BUILDS} do
          rimg.build("b" .. n, function()
            local vm = rimg.host {{
              name = "h" .. n, ssh_host = "127.0.0.1", ssh_port = {port}, ssh_username = "root", ssh_private_key_file = "{key}",
            }}
            local folder, step = rimg.script_dir .. "/work/" .. n, 0
            local function at(work)
              if faults[n] and faults[n][1] == step then ways[faults[n][2] + 1](vm) end
              step = step + 1
              return work()
            end
            at(function() vm:run {{ "mkdir", "-p", folder }} end)
            for k = 1, 6 do at(function() vm:run("echo " .. n .. "-" .. k .. " >> " .. folder .. "/data") end) end
            at(function() vm:write(folder .. "/more", ("x"):rep(200000) .. n) end)
            at(function() vm:download(folder .. "/", "out/" .. n .. "/") end)
            local artifact = at(function()
              return rimg.artifact {{ files = {{ "out/" .. n .. "/data", "out/" .. n .. "/more" }} }}
            end)
            at(function() artifact:checksum {{ "sha256" }} end)
            at(function() artifact:compress {{ output = "out/" .. n .. ".tar.gz" }} end)
          end)
        end"#,
        faults = faults.join(", "),
        port = sshd.port,
        key = sshd.user_key().display(),
    );
    let run = sandbox.run(&script, &["--parallel", "16", "--json"]).expect_code(1);
    let ended: Vec<(String, bool)> = run
        .events()
        .iter()
        .filter(|event| event["event"] == "build_finished")
        .map(|event| (event["build"].as_str().unwrap().to_owned(), event["ok"].as_bool().unwrap()))
        .collect();
    assert_eq!(ended.len(), BUILDS as usize);
    for n in 1..=BUILDS {
        let name = format!("b{n}");
        let ok = ended.iter().any(|(build, ok)| *build == name && *ok);
        assert_eq!(ok, !failing.contains(&n), "{name}: {faults:?}\n{}", run.stderr);
        let packed = sandbox.join(format!("out/{n}.tar.gz"));
        if !ok {
            assert!(run.stderr.contains(&format!("error in build {name}:")), "{}", run.stderr);
            assert!(!packed.exists(), "{name}");
            continue;
        }
        let data: String = (1..=6).map(|k| format!("{n}-{k}\n")).collect();
        assert_eq!(sandbox.read(format!("out/{n}/data")), data);
        assert_eq!(sandbox.read(format!("out/{n}/more")), "x".repeat(200_000) + &n.to_string());
        let mut names = Vec::new();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap()));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(text, sandbox.read(format!("out/{n}/{name}")));
            names.push(name);
        }
        names.sort();
        assert_eq!(names, ["data", "more"]);
    }
}
