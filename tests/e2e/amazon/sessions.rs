//! Session Manager's way to an instance, with a stand-in for AWS's plugin (`support/aws/plugin.py`).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LONG, World};
use crate::support::aws::Aws;
use crate::support::rimg::Run;

const THROUGH: &str = r#"ssh_interface = "session_manager""#;

/// Puts the plugin where `PATH` leads, and the script of a build that needs it in the folder.
fn prepare(world: &World, options: &str, body: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plugin = format!(
        "#!/bin/sh\nexec '{}' '{}' '{}' \"$@\"\n",
        Aws::python().unwrap().display(),
        root.join("tests/e2e/support/aws/plugin.py").display(),
        world.sandbox.path().display()
    );
    let path = world.sandbox.write("bin/session-manager-plugin", plugin);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = world.script(&format!("{THROUGH}, {options}"), body).replace("ssh_host = \"127.0.0.1\",", "");
    world.sandbox.write("build.lua", script);
    let mut command = world.command(&["run", "build.lua"]);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", world.sandbox.join("bin").display()));
    command
}

/// Returns what the plugin was given each time.
fn started(world: &World) -> Vec<Vec<String>> {
    world.sandbox.read_if("arguments").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_build_goes_through_a_session_and_ends_it() {
    let Some(world) = World::start() else { return };
    // The agent takes its time.
    world.aws.rules(json!([{ "action": "StartSession", "do": "error", "times": 2, "code": "TargetNotConnected",
        "message": "i-1 is not connected." }]));
    let seen = world.sandbox.join("seen");
    let body = format!("vm:run \"echo through it >{}\"\n  vm:finish()", seen.display());
    let run = Run::of(&mut prepare(&world, "", &body)).expect_code(0);
    world.sandbox.assert_clean_after(&run);
    assert_eq!(world.sandbox.read("seen"), "through it\n");
    world.expect_images(&["us-east-1 web-1"], &run);
    let (asked, port) = (world.aws.calls("StartSession"), world.aws.sshd().port.to_string());
    assert_eq!(asked.len(), 3, "{asked:?}");
    let params = &asked[2]["params"];
    assert_eq!(params["DocumentName"], "AWS-StartPortForwardingSession");
    assert_eq!(params["Parameters"]["portNumber"], json!([port]));
    // No door is opened for it.
    assert!(world.aws.calls("AuthorizeSecurityGroupIngress").is_empty());

    let [arguments] = &*started(&world) else { panic!("{:?}", started(&world)) };
    let answer: Value = serde_json::from_str(&arguments[0]).unwrap();
    let request: Value = serde_json::from_str(&arguments[4]).unwrap();
    let id = answer["SessionId"].as_str().unwrap();
    assert_eq!(answer["TokenValue"], format!("token-of-{id}"));
    assert_eq!(&arguments[1..4], ["us-east-1", "StartSession", ""]);
    assert_eq!((&request["Target"], &request["Parameters"]), (&params["Target"], &params["Parameters"]));
    assert_eq!(arguments[5], world.aws.url());
    let ended = world.aws.calls("TerminateSession");
    assert_eq!(ended.iter().map(|call| &call["params"]["SessionId"]).collect::<Vec<_>>(), [id]);
    assert!(!format!("{run:?}").contains("token-of-"), "{run:?}");
}

#[test]
fn a_build_that_fails_ends_its_session() {
    let Some(world) = World::start() else { return };
    let run = Run::of(&mut prepare(&world, "", "vm:run 'exit 7'\n  vm:finish()")).expect_code(1);
    world.sandbox.assert_clean_after(&run);
    assert_eq!(world.aws.calls("TerminateSession").len(), 1);
    world.expect_nothing(&run.expect_errors(&["status 7"]));
}

#[test]
fn without_the_plugin_nothing_is_made() {
    let Some(world) = World::start() else { return };
    let mut command = prepare(&world, "", "vm:finish()");
    std::fs::remove_file(world.sandbox.join("bin/session-manager-plugin")).unwrap();
    let run = Run::of(command.env("PATH", world.sandbox.join("bin"))).expect_code(1);
    run.expect_errors(&["session-manager-plugin, which is not on this host", "Install the Session Manager plugin"]);
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}

#[test]
fn a_plugin_that_dies_is_named_with_what_it_said() {
    let Some(world) = World::start() else { return };
    let command = &mut prepare(&world, "", "vm:run 'true'\n  vm:finish()");
    world.sandbox.write("dies", "the data channel is closed");
    let run = Run::of(command).expect_code(1);
    world.sandbox.assert_clean_after(&run);
    world.expect_nothing(&run.expect_errors(&["session-manager-plugin has ended", "the data channel is closed"]));
    assert_eq!(world.aws.calls("TerminateSession").len(), 1);

    // While a command runs, too.
    world.aws.reset();
    std::fs::remove_file(world.sandbox.join("dies")).unwrap();
    let (begun, body) = (world.sandbox.join("begun"), "vm:run [[touch begun; exec sleep 60]]\n  vm:finish()");
    let body = body.replace("begun", &begun.display().to_string());
    let mut live = world.sandbox.watch(prepare(&world, "", &body));
    live.wait_until("to run its command", LONG, |_| begun.exists());
    world.sandbox.write("dies", "the agent is gone");
    let run =
        live.end(LONG / 2).expect_code(1).expect_errors(&["session-manager-plugin has ended", "the agent is gone"]);
    world.expect_nothing(&run);
}

#[test]
fn a_session_that_ends_later_is_followed_by_another() {
    let Some(world) = World::start() else { return };
    let seen = world.sandbox.join("seen");
    let body = r#"vm:run "true"
  rimg.fs.write("ready", "")
  while not rimg.fs.exists("go") do rimg.sleep(0.1) end
  vm:run "echo again >SEEN"
  vm:finish()"#;
    let body = body.replace("SEEN", &seen.display().to_string());
    let mut live = world.sandbox.watch(prepare(&world, "", &body));
    live.wait_until("to be ready", LONG, |_| world.sandbox.join("ready").exists());
    // One that ends at once would do so again.
    std::thread::park_timeout(Duration::from_secs(21));
    world.sandbox.write("dies", "once: the instance reboots");
    live.wait_until("to begin anew", LONG, |_| started(&world).len() == 2);
    world.sandbox.write("go", "");
    let run = live.end(LONG).expect_code(0);
    assert_eq!(world.sandbox.read("seen"), "again\n");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("once: the instance reboots; another session is begun"), "{said}");
    assert_eq!(world.aws.calls("TerminateSession").len(), 2);
    world.expect_images(&["us-east-1 web-1"], &run);
    world.sandbox.assert_clean_after(&run);
}

#[test]
fn gc_ends_the_session_of_a_killed_build() {
    for lost in [false, true] {
        let Some(world) = World::start() else { return };
        let (begun, over) = (world.sandbox.join("begun"), world.sandbox.join("over"));
        let wait = "touch BEGUN; n=0; while [ ! -e OVER ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done";
        let wait = wait.replace("BEGUN", &begun.display().to_string()).replace("OVER", &over.display().to_string());
        let command = prepare(&world, "", &format!("vm:run [[{wait}]]"));
        if lost {
            world.aws.rules(json!([{ "action": "StartSession", "do": "delay", "seconds": 60, "after": true }]));
        }
        let mut live = world.sandbox.watch(command);
        match lost {
            true => world.aws.wait_for("StartSession", true),
            false => live.wait_until("to run its command", LONG, |_| begun.exists()),
        }
        live.signal(rustix::process::Signal::KILL);
        live.end(LONG);
        std::fs::write(over, "").unwrap();
        assert!(world.aws.left().iter().any(|line| line.contains(" session ")), "{:?}", world.aws.left());
        let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
        world.expect_nothing(&gc);
        world.sandbox.assert_clean_after(&gc);
    }
}
