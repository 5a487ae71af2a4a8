//! The command line without any machine: what it answers, and with which exit code.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::rimg::{Run, Sandbox};

#[test]
fn says_its_version_and_its_subcommands() {
    let sandbox = Sandbox::new();
    let run = sandbox.rimg(["--version"]).expect_code(0);
    assert_eq!(run.stdout, format!("rimg {}\n", env!("CARGO_PKG_VERSION")));
    let help = sandbox.rimg(["--help"]).expect_code(0).stdout;
    for command in ["run", "check", "inspect", "init", "doctor", "types", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help:\n{help}");
    }
}

#[test]
fn usage_errors_end_with_2_and_name_what_is_near() {
    let sandbox = Sandbox::new();
    let run = sandbox.rimg(["rum", "build.lua"]).expect_code(2);
    assert!(run.stderr.contains("'rum'") && run.stderr.contains("'run'"), "{}", run.stderr);
    sandbox.rimg(["run"]).expect_code(2);
    let nothing: [&str; 0] = [];
    sandbox.rimg(nothing).expect_code(2);
}

#[test]
fn a_missing_script_is_named_with_its_full_path() {
    let sandbox = Sandbox::new();
    for command in ["run", "check", "inspect"] {
        let run = sandbox.rimg([command, "sub/../nowhere.lua"]).expect_code(2);
        let folder = sandbox.path().canonicalize().expect("the folder of the test");
        assert!(run.stderr.contains(&folder.join("sub/../nowhere.lua").display().to_string()), "{}", run.stderr);
        assert!(run.stderr.starts_with("error: cannot read the script"), "{}", run.stderr);
    }
}

#[test]
fn init_writes_a_script_that_an_editor_understands() {
    let sandbox = Sandbox::new();
    let run = sandbox.rimg(["init", "project"]).expect_code(0);
    assert!(run.stdout.contains(&sandbox.join("project").display().to_string()), "{}", run.stdout);
    assert!(sandbox.read("project/build.lua").contains("rimg.build("));
    let luarc: serde_json::Value = serde_json::from_str(&sandbox.read("project/.luarc.json")).expect("JSON");
    let library = luarc["workspace.library"][0].as_str().expect("a folder");
    assert!(sandbox.join("project").join(library).join("units.lua").is_file());

    // The user's script is not replaced, nor are the editor's settings when the script is gone.
    sandbox.write("project/build.lua", "-- mine");
    let again = sandbox.rimg(["init", "project"]).expect_code(1);
    assert!(again.stderr.contains("exists already") && again.stderr.contains("--force"), "{}", again.stderr);
    assert_eq!(sandbox.read("project/build.lua"), "-- mine");
    sandbox.write("project/.luarc.json", "{}");
    std::fs::remove_file(sandbox.join("project/build.lua")).expect("the script goes");
    let kept = sandbox.rimg(["init", "project"]).expect_code(0);
    assert!(kept.stdout.contains("kept as it was"), "{}", kept.stdout);
    assert_eq!(sandbox.read("project/.luarc.json"), "{}");
    sandbox.rimg(["init", "project", "--force"]).expect_code(0);
    assert_ne!(sandbox.read("project/.luarc.json"), "{}");
}

#[test]
fn types_go_where_they_are_asked_to() {
    let sandbox = Sandbox::new();
    sandbox.rimg(["types"]).expect_code(0);
    sandbox.rimg(["types", "elsewhere"]).expect_code(0);
    for folder in [".rimg/types", "elsewhere"] {
        assert!(sandbox.read(format!("{folder}/units.lua")).starts_with("---@meta"));
    }
    sandbox.write("file", "");
    let run = sandbox.rimg(["types", "file/below"]).expect_code(1);
    assert!(run.stderr.contains(&sandbox.join("file/below").display().to_string()), "{}", run.stderr);
}

#[test]
fn shells_get_completions() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = sandbox.rimg(["completions", shell]).expect_code(0);
        assert!(run.stdout.contains("var-file"), "{shell}: {}", run.stdout);
    }
    sandbox.rimg(["completions", "tcsh"]).expect_code(2);
}

#[test]
fn doctor_says_the_same_to_people_and_to_programs() {
    let sandbox = Sandbox::new();
    let json = sandbox.rimg(["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("one JSON object");
    let text = sandbox.rimg(["doctor"]);
    assert_eq!(json.code, text.code);
    let mut names = Vec::new();
    for group in ["programs", "host"] {
        for check in report[group].as_array().expect("checks") {
            names.push(check["name"].as_str().expect("a name").to_owned());
            assert!(text.stdout.contains(names.last().expect("a name")), "{}", text.stdout);
        }
    }
    assert!(names.iter().any(|name| name == "qemu-img"));
    assert!(text.stdout.contains(&sandbox.join(".cache").display().to_string()), "{}", text.stdout);
}

#[test]
fn doctor_misses_qemu_where_there_is_none() {
    let sandbox = Sandbox::new();
    let run = Run::of(sandbox.command(["doctor"]).env("PATH", sandbox.path())).expect_code(1);
    assert!(run.stdout.contains("missing  qemu-img"), "{}", run.stdout);
    assert!(run.stdout.contains("apt-get install qemu-utils"), "{}", run.stdout);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_crash() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("build.lua", "for n = 1, 20000 do require('rimg').log.info('line ' .. n) end");
    for args in [vec!["completions", "bash"], vec!["run", script.to_str().expect("a path")]] {
        let mut child =
            sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rimg starts");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
        assert_eq!(child.wait().expect("an end").code(), Some(0), "{stderr}");
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_bad_log_filter_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("build.lua", "");
    let run = Run::of(sandbox.command(["run"]).arg(script).env("RIMG_LOG", "rimg=loud")).expect_code(2);
    assert!(run.stderr.contains("RIMG_LOG"), "{}", run.stderr);
}

#[test]
fn options_come_from_the_environment() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("build.lua", "require('rimg').log.info('hello')");
    let run = Run::of(sandbox.command(["run"]).arg(&script).env("RIMG_JSON", "1")).expect_code(0);
    for line in run.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event a line");
        assert!(event["event"].is_string());
    }
    assert!(run.stdout.contains("\"text\":\"hello\""), "{}", run.stdout);
    let log = sandbox.join("log");
    Run::of(sandbox.command(["run"]).arg(&script).env("RIMG_LOG_FILE", &log).env("RIMG_TIMESTAMPS", "yes"))
        .expect_code(0);
    assert!(sandbox.read("log").contains("hello"));
}

#[test]
fn the_first_signal_cancels_and_the_exit_code_says_so() {
    let sandbox = Sandbox::new();
    let script = sandbox.write("build.lua", "local r = require 'rimg'; r.log.info('asleep'); r.sleep('60s')");
    for signal in ["INT", "TERM", "HUP"] {
        let mut child =
            sandbox.command(["run"]).arg(&script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rimg");
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut seen = String::new();
        while !seen.contains("asleep") {
            assert_ne!(reader.read_line(&mut seen).expect("text"), 0, "ended too early: {seen}");
        }
        let sent = std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        let started = Instant::now();
        reader.read_to_string(&mut seen).expect("text");
        assert_eq!(child.wait().expect("an end").code(), Some(130), "{signal}: {seen}");
        assert!(started.elapsed() < Duration::from_secs(30), "{signal}: took {:?}", started.elapsed());
        assert!(seen.contains(&format!("SIG{signal}: cancelling, cleaning up")), "{seen}");
        assert!(seen.contains("Cancelled after"), "{seen}");
    }
}

/// Returns the actions that a script's policy allows.
#[cfg(feature = "amazon")]
fn allowed(sandbox: &Sandbox, script: &str) -> Vec<String> {
    sandbox.write("build.lua", script);
    let printed = sandbox.rimg(["amazon", "policy", "build.lua"]).expect_code(0).stdout;
    let policy: serde_json::Value = serde_json::from_str(&printed).expect("JSON alone");
    assert_eq!((&policy["Version"], &policy["Statement"][0]["Effect"]), (&"2012-10-17".into(), &"Allow".into()));
    serde_json::from_value(policy["Statement"][0]["Action"].clone()).expect("a list")
}

#[cfg(feature = "amazon")]
#[test]
fn a_policy_has_what_a_script_does_and_no_more() {
    let sandbox = Sandbox::new();
    let calls = r#"local rimg = require "rimg"
for _, region in ipairs { "eu-west-1", "us-east-1" } do
  local aws = rimg.amazon.client { region = region }
  for _, image in ipairs(aws:images { owners = "self" }) do aws:deregister_image(image.id, { delete_snapshots = false }) end
end"#;
    assert_eq!(allowed(&sandbox, calls), ["ec2:DeregisterImage", "ec2:DescribeImages"]);

    let build = |options: &str| {
        format!(
            r#"local rimg = require "rimg"
rimg.build("web", function()
  local vm = rimg.amazon.ebs {{ source_ami = "ami-0123456789abcdef0", instance_type = "t3.micro", ami_name = "web-1",
    ssh_username = "admin", {options} }}
  vm:run "true"
  vm:finish()
end)"#
        )
    };
    let one = allowed(&sandbox, &build(""));
    for action in ["ec2:RunInstances", "ec2:CreateImage", "ec2:ImportKeyPair", "ec2:TerminateInstances"] {
        assert!(one.iter().any(|allowed| allowed == action), "{action}: {one:?}");
    }
    assert!(!one.iter().any(|allowed| allowed == "ec2:CopyImage" || allowed.starts_with("iam:")), "{one:?}");
    let copied = allowed(&sandbox, &build(r#"ami_regions = { "eu-west-1" }, iam_instance_profile = "p""#));
    for action in ["ec2:CopyImage", "iam:PassRole"] {
        assert!(copied.iter().any(|allowed| allowed == action), "{action}: {copied:?}");
    }

    sandbox.write("build.lua", "local rimg = require 'rimg'");
    let none = sandbox.rimg(["amazon", "policy", "build.lua"]).expect_code(1);
    assert!(none.stderr.contains("does nothing on Amazon"), "{none:?}");
    sandbox.write("build.lua", "require 'rimg'.amazon.client { regoin = 'x' }");
    let wrong = sandbox.rimg(["amazon", "policy", "build.lua"]).expect_code(2);
    assert!(wrong.stderr.contains("did you mean `region`?") && wrong.stdout.is_empty(), "{wrong:?}");
}
