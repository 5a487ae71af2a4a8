//! Replay on real guests: the second run does nothing, a change costs itself, a failed run goes on, a retry returns to where
//! the machine was.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::image::guest;
use crate::support::library::tool;
use crate::support::rimg::{Run, Sandbox};

const SCRIPT: &str = r#"local rimg = require "rimg"
local vm = rimg.qemu {
  source_image = "IMAGE", memory = "512M", cpus = 2,
  ssh_username = "vagrant", ssh_password = "vagrant", shutdown_command = "sudo systemctl poweroff",
}
local results = {}
results.kernel = vm:run("uname -r; cat /proc/sys/kernel/random/uuid").stdout
for _, name in ipairs { "one", "two" } do vm:run("echo " .. name .. " >> lines") end
local ok, err = pcall(vm.run, vm, "echo seen >> lines; exit 7")
results.failure = { ok, err.status }
if vm:run("wc -l < lines").stdout == "3\n" then
  vm:write("answer", "three\n")
end
vm:upload("conf", "conf")
LAST
rimg.fs.write("results.json", rimg.json.encode(results))
local image = vm:finish { output_directory = "out", name = "web" }
image:checksum { "sha256" }
image:boot(function(test) rimg.fs.write("seen.txt", test:run("cat lines answer conf").stdout) end)
"#;

/// What happened in a run, by its events.
struct Seen {
    /// Kinds and titles of operations that were replayed, and of those that were done.
    cached: Vec<String>,
    done: Vec<String>,
    performed: u64,
}

fn seen(run: &Run) -> Seen {
    let events = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut seen = Seen { cached: Vec::new(), done: Vec::new(), performed: 0 };
    for event in events {
        match event["event"].as_str() {
            Some("operation_finished") => {
                let what = format!("{} {}", event["kind"].as_str().unwrap(), event["title"].as_str().unwrap());
                if event["cached"] == true { seen.cached.push(what) } else { seen.done.push(what) }
            }
            Some("run_finished") => seen.performed = event["performed"].as_u64().unwrap(),
            _ => {}
        }
    }
    seen
}

fn script(image: &std::path::Path, last: &str) -> String {
    SCRIPT.replace("IMAGE", &image.display().to_string()).replace("LAST", last)
}

#[test]
fn only_what_changed_is_done() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("conf", "first\n");

    // A failed build.
    let failed = sandbox.run(&script(&image, "vm:run 'echo broken >&2; exit 3'"), &["--json"]).expect_code(1);
    assert!(seen(&failed).cached.is_empty());

    // Mended: it goes on just before the failure.
    let mended = sandbox.run(&script(&image, "vm:run 'echo mended'"), &["--json"]).expect_code(0);
    let what = seen(&mended);
    assert!(what.cached.iter().any(|one| one.starts_with("upload conf")), "{:?}", what.cached);
    let live: Vec<&str> = what.done.iter().map(|one| one.split(' ').next().unwrap()).collect();
    assert!(live.contains(&"resume") && live.iter().filter(|kind| **kind == "run").count() == 2, "{:?}", what.done);
    assert_eq!(live.iter().filter(|kind| **kind == "boot").count(), 1, "only the smoke test boots: {:?}", what.done);
    assert_eq!(sandbox.read("seen.txt"), "one\ntwo\nseen\nthree\nfirst\n");
    let (results, sum) = (sandbox.read("results.json"), sandbox.read("out/web.qcow2.sha256"));
    assert!(results.contains("\"failure\":[false,7]"), "{results}");

    // Nothing changed: nothing is done, and what was removed is there again.
    std::fs::remove_dir_all(sandbox.join("out")).unwrap();
    std::fs::remove_file(sandbox.join("seen.txt")).unwrap();
    let again = sandbox.run(&script(&image, "vm:run 'echo mended'"), &["--json"]).expect_code(0);
    let what = seen(&again);
    assert!(what.performed == 0 && what.done.is_empty(), "{:?}", what.done);
    assert_eq!((sandbox.read("results.json"), sandbox.read("out/web.qcow2.sha256")), (results.clone(), sum.clone()));
    assert_eq!(sandbox.read("seen.txt"), "one\ntwo\nseen\nthree\nfirst\n");
    tool(&sandbox.join("out"), "sha256sum", &["-c", "web.qcow2.sha256"]);

    // A file that is uploaded changed: that and what comes after it.
    sandbox.write("conf", "second\n");
    let refused = sandbox.run(&script(&image, "vm:run 'echo mended'"), &["--json", "--explain"]).expect_code(1);
    assert!(refused.stdout.contains("out exists already"), "{}", refused.stdout);
    let changed =
        sandbox.run(&script(&image, "vm:run 'echo mended'"), &["--json", "--explain", "--force"]).expect_code(0);
    let what = seen(&changed);
    assert!(what.done.iter().any(|one| one.starts_with("finish")), "{:?}", what.done);
    assert_eq!(sandbox.read("seen.txt"), "one\ntwo\nseen\nthree\nsecond\n");
    assert_eq!(sandbox.read("results.json"), results);
    assert_ne!(sandbox.read("out/web.qcow2.sha256"), sum);

    // Another script on the same base: the machine is booted already.
    let other = format!(
        "local rimg = require 'rimg'\n\
         local vm = rimg.qemu {{ source_image = '{}', memory = '512M', cpus = 2, ssh_username = 'vagrant', ssh_password = 'vagrant' }}\n\
         assert(not vm:run('test ! -e lines').cached)\n",
        image.display()
    );
    let other = sandbox.run(&other, &["--json"]).expect_code(0);
    let what = seen(&other);
    assert_eq!((what.cached.len(), what.done.len()), (1, 2), "{:?} {:?}", what.cached, what.done);
}

/// Fails until a moment has come, and leaves a trace of each attempt on the machine.
const ASKING: &str = r#"local rimg = require "rimg"
local vm = rimg.qemu {
  source_image = "IMAGE", memory = "512M", cpus = 2, ssh_username = "vagrant", ssh_password = "vagrant",
}
vm:run "echo before >> trace"
local until_then = tonumber(rimg.exec("date +%s").stdout) + 25
vm:run("echo attempt >> trace; test $(date +%s) -ge " .. until_then)
rimg.fs.write("trace", vm:read "trace")
"#;

#[test]
fn a_retry_begins_where_the_machine_was_before() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("build.lua", ASKING.replace("IMAGE", &image.display().to_string()));
    let refused = sandbox.rimg(["run", "build.lua", "--on-error", "ask"]).expect_code(2);
    assert!(refused.stderr.contains("there is no terminal to ask on"), "{}", refused.stderr);

    // util-linux's `script` is a terminal.
    let rimg = sandbox.command(["run", "build.lua", "--on-error=ask"]);
    let line = format!("{} run build.lua --on-error=ask", env!("CARGO_BIN_EXE_rimg"));
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).current_dir(sandbox.path());
    for (name, value) in rimg.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script");
    let mut answers = child.stdin.take().unwrap();
    let answering = std::thread::spawn(move || {
        while answers.write_all(b"r\n").is_ok() {
            std::thread::park_timeout(std::time::Duration::from_secs(2));
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(answering);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("try this operation again"), "{shown}");
    assert_eq!(sandbox.read("trace"), "before\nattempt\n", "{shown}");
    sandbox.assert_clean();
}
