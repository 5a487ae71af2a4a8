//! Guests that die, never boot, or let nobody in: what is said, and how soon.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::image::guest;
use crate::support::library::{expect_png, has, tool};
use crate::support::rimg::Sandbox;

#[test]
fn guests_that_die_or_refuse_say_why_at_once() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        r#"local rimg = require "rimg"
local function guest(password, memory)
  return rimg.qemu {{
    source_image = "{}", memory = memory or "384M", cpus = 1, ssh_username = "vagrant", ssh_password = password,
    ssh_handshake_attempts = 2,
  }}
end
rimg.build("killed", function()
  local vm = guest "vagrant"
  rimg.log.info("pid " .. vm.id .. ".")
  vm:run "echo ready; sleep 300"
end)
rimg.build("panicked", function()
  local vm = guest "vagrant"
  vm:run "echo going; sleep 1; echo c | sudo tee /proc/sysrq-trigger; sleep 300"
end)
-- Another machine: one that has booted before is logged in to when something is to be done.
rimg.build("refused", function() guest("wrong-one", "385M") end)
"#,
        image.display()
    );
    let mut live = sandbox.start(&source, &[]);
    let boot = Duration::from_secs(180);
    let wait = |live: &mut crate::support::rimg::Live, text: &str, limit| live.wait_for(text, limit);
    let mut process = None;
    live.wait_until("to boot the guest to kill", boot, |said| {
        let id = said.split_once("pid ").and_then(|(_, rest)| rest.split_once('.')).map(|(id, _)| id.to_owned());
        process = id.and_then(|id| id.parse::<i32>().ok());
        process.is_some() && said.contains("ready\n")
    });
    let process = process.expect("a process id");
    let ours = sandbox.processes().into_iter().any(|(id, line)| id == process && line.contains("qemu-system"));
    assert!(ours, "{process} is no QEMU of this test");
    rustix::process::kill_process(rustix::process::Pid::from_raw(process).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    // Both commands would go on for minutes.
    let soon = Duration::from_secs(60);
    wait(&mut live, "killed | build failed", soon);
    wait(&mut live, "going\n", boot);
    wait(&mut live, "panicked | build failed", soon);
    let run = live.end(boot).expect_code(1);
    sandbox.assert_clean();
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("wrong-one"), "the password shows: {}", run.stderr);
    let run = run.expect_errors(&[
        "error in build killed",
        "QEMU was killed by signal 9",
        "--> build.lua:11",
        "error in build panicked",
        "kernel panicked",
        "--> build.lua:15",
        "error in build refused",
        "authentication failed",
        "password",
    ]);
    expect_png(&picture(&run.stderr));
}

/// Returns the path of the picture that an error names.
#[track_caller]
fn picture(stderr: &str) -> PathBuf {
    let line = stderr.lines().find_map(|line| line.trim().strip_prefix("the screen: "));
    PathBuf::from(line.unwrap_or_else(|| panic!("no picture is named in\n{stderr}")))
}

#[test]
fn a_guest_that_never_boots_is_not_waited_for() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    let sandbox = Sandbox::new();
    tool(sandbox.path(), "qemu-img", &["create", "-q", "-f", "qcow2", "empty.qcow2", "1G"]);
    let source = "local rimg = require 'rimg'\n\
                  rimg.build('a', function() rimg.qemu { source_image = 'empty.qcow2', ssh_username = 'u', ssh_password = 'p' } end)\n\
                  rimg.build('b', function() rimg.qemu { source_image = 'empty.qcow2', ssh_username = 'u', ssh_password = 'p' } end)\n";
    for first in [true, false] {
        let started = Instant::now();
        let run = sandbox.run(source, &[]).expect_code(1);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        let run = run.expect_errors(&[
            "found nothing to boot",
            "empty.qcow2",
            "the last console lines:",
            "No bootable device",
            "--> build.lua:2",
            "--> build.lua:3",
        ]);
        expect_png(&picture(&run.stderr));
        // Why there is no KVM is said once, by whichever machine found out; then it is known.
        let works = sandbox.read_if(".state/accelerators.json").contains("\"problem\": null");
        let warned = run.stdout.matches("KVM does not work on this host").count();
        let known = run.stdout.matches("was found not to work").count() + run.stdout.matches("/dev/kvm").count();
        match (works, first) {
            (true, _) => assert_eq!(warned + known, 0, "{}", run.stdout),
            (false, true) => assert_eq!(warned + known, 1, "{}", run.stdout),
            (false, false) => assert_eq!((warned, known), (0, 1), "{}", run.stdout),
        }
    }
}
