//! Whole scripts against existing machines: an sshd on loopback, and this host itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::rimg::{Run, Sandbox};
use crate::support::sshd::{Sshd, free_port};

/// A sandbox beside a running sshd; none when there is no sshd.
fn bench() -> Option<(Sandbox, Sshd)> {
    let sshd = Sshd::start("LogLevel VERBOSE")?;
    Some((Sandbox::new(), sshd))
}

/// The beginning of a script: `vm` is this host, over SSH.
fn head(sshd: &Sshd) -> String {
    format!(
        "local rimg = require 'rimg'\nlocal vm = rimg.host {{ name = 'web', ssh_host = '127.0.0.1', ssh_port = {}, \
         ssh_username = 'root', ssh_private_key_file = '{}', ssh_timeout = '20s' }}\n",
        sshd.port,
        sshd.user_key().display()
    )
}

/// Everything a machine of somebody else's is asked to do; `vm` and `remote`, a folder on it, are given.
const OPERATIONS: &str = r#"
-- Commands.
local r = vm:run "echo out; echo err >&2"
assert(r.stdout == "out\n" and r.stderr == "err\n" and r.status == 0 and r.ok and not r.cached)
assert(vm:run({ "printf", "%s|", "a b", "$HOME", "it's" }).stdout == "a b|$HOME|it's|")
assert(vm:run("exit 7", { check = false }).status == 7)
assert(vm:run("exit 7", { valid_exit_codes = { 0, 7 } }).ok)
assert(vm:run("cat", { input = "in\n" }).stdout == "in\n")
assert(vm:run("echo $A", { env = { A = "x y" } }).stdout == "x y\n")
assert(vm:run("pwd", { cwd = "/" }).stdout == "/\n")
local ok, err = pcall(vm.run, vm, "echo out; echo why >&2; exit 9")
assert(not ok and err.kind == "command" and err.status == 9 and err.stderr == "why\n" and err.machine == vm.name, tostring(err))
ok, err = pcall(vm.run, vm, "sleep 60", { timeout = "200ms" })
assert(err.kind == "timeout", tostring(err))

-- Scripts.
assert(vm:shell("echo $0 >/dev/null; printf hello").stdout == "hello")
r = vm:shell { inline = { "x=1", "echo $x $GREETING", "echo $PACKER_BUILD_NAME" }, env = { GREETING = "hi" } }
assert(r.stdout == "1 hi\nbuild\n", r.stdout)
vm:shell { scripts = { "one.sh", "two.sh" }, environment_vars = { "DIR=" .. remote } }
assert(vm:read(remote .. "/both") == "one\ntwo\n")
assert(vm:shell({ inline = "id -u", sudo = true }).stdout == "0\n")
assert(vm:shell({ inline = "exit 3", valid_exit_codes = { 3 } }).status == 3)
vm:shell { inline = { "test -e " .. remote .. "/tried && exit 0", "touch " .. remote .. "/tried", "exit 1" }, max_retries = 1 }
ok, err = pcall(vm.shell, vm, { inline = { "false", "echo not reached" } })
assert(err.kind == "command" and err.status == 1 and err.stdout == "", tostring(err))
assert(vm:shell({ inline = "echo $V", env = { V = "v" }, execute_command = "{{ .Vars }} sh {{ .Path }}" }).stdout == "v\n")

-- Files.
vm:write(remote .. "/text", "a\0b\r\n", { mode = "0640" })
assert(vm:read(remote .. "/text") == "a\0b\r\n")
assert(vm:run("stat -c %a " .. remote .. "/text").stdout == "640\n")
assert(vm:upload("big.bin", remote .. "/big.bin") == 3000000)
vm:download(remote .. "/big.bin", "back.bin")
assert(rimg.hash.file("back.bin") == rimg.hash.file("big.bin"))
vm:upload("tree", remote .. "/copy/")
vm:download(remote .. "/copy/tree/", "tree-back")
assert(vm:upload({ "one.sh", "tree" }, remote .. "/several/", { sudo = true }) > 0)
assert(vm:run("cd " .. remote .. "/several && cat tree/top && ls").stdout == "topone.sh\ntree\n")
ok, err = pcall(vm.upload, vm, { "one.sh" }, remote .. "/several")
assert(not ok and tostring(err):find("several sources"), tostring(err))
assert(rimg.fs.read("tree-back/deep/leaf") == "leaf" and rimg.fs.read("tree-back/top") == "top")
vm:template("motd.j2", remote .. "/motd", { name = "web", items = { "a", "b" } })
assert(vm:read(remote .. "/motd") == "web: a b ")
ok, err = pcall(vm.template, vm, "motd.j2", remote .. "/motd", {})
assert(not ok and tostring(err):find("name"), tostring(err))

-- What it is, and groups of work.
local facts = vm:facts()
assert(facts.system == "linux" and facts.cpus >= 1 and facts.memory > 2^20 and facts.is_root and #facts.kernel > 0)
local function role(machine, text) machine:write(remote .. "/role", text) return "done" end
assert(vm:apply(role, "applied") == "done" and vm:read(remote .. "/role") == "applied")
rimg.step("many at once", function()
  local results = rimg.parallel({ 1, 2, 3, 4, 5, 6 }, function(n) return vm:run("sleep 0.2; echo " .. n).stdout end)
  assert(table.concat(results) == "1\n2\n3\n4\n5\n6\n")
end)
"#;

fn files_of_the_script(sandbox: &Sandbox) {
    sandbox.write("one.sh", "#!/bin/sh\r\necho one >>$DIR/both\r\n");
    sandbox.write("two.sh", "#!/bin/bash\n[[ -n $DIR ]] && echo two >>\"$DIR/both\"\n");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    sandbox.write("big.bin", bytes);
    sandbox.write("tree/top", "top");
    sandbox.write("tree/deep/leaf", "leaf");
    sandbox.write("motd.j2", "{{ name }}: {% for item in items %}{{ item }} {% endfor %}");
    std::fs::create_dir(sandbox.join("remote")).unwrap();
}

fn expect_all_operations(sandbox: &Sandbox, head: &str) {
    files_of_the_script(sandbox);
    let remote = format!("local remote = '{}'\n", sandbox.join("remote").display());
    let run = sandbox.run(&format!("{head}{remote}{OPERATIONS}"), &[]).expect_code(0);
    for said in ["shell one.sh", "upload big.bin", "many at once", "role", "1 build done in"] {
        assert!(run.stdout.contains(said), "{said:?} is not in\n{}", run.stdout);
    }
    assert_eq!(run.stderr, "");
}

#[test]
fn every_operation_works_over_ssh() {
    let Some((sandbox, sshd)) = bench() else { return };
    expect_all_operations(&sandbox, &head(&sshd));
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[test]
fn every_operation_works_on_this_host() {
    let sandbox = Sandbox::new();
    // `is_root` is asserted, as a container's user is.
    if !rustix::process::getuid().is_root() {
        return crate::support::library::skip("the operations on this host are tried as root");
    }
    expect_all_operations(&sandbox, "local rimg = require 'rimg'\nlocal vm = rimg.localhost { name = 'here' }\n");
}

#[test]
fn twenty_steps_take_one_connection() {
    let Some((sandbox, sshd)) = bench() else { return };
    let source = format!("{}for n = 1, 20 do vm:shell('echo step ' .. n) end\n", head(&sshd));
    let run = sandbox.run(&source, &[]).expect_code(0);
    assert!(run.stdout.contains("step 20"), "{}", run.stdout);
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[test]
fn a_failing_operation_is_shown_with_its_line_its_command_and_its_words() {
    let Some((sandbox, sshd)) = bench() else { return };
    let source = format!(
        "{}rimg.step('packages', function()\n  vm:run 'for n in $(seq 30); do echo line $n >&2; done; exit 42'\nend)\n\
         vm:run 'echo never'\n",
        head(&sshd)
    );
    let run = sandbox.run(&source, &[]).expect_code(1);
    assert!(!run.stdout.contains("never"), "{}", run.stdout);
    assert!(run.stdout.contains("packages  failed") || run.stdout.contains("packages (failed"), "{}", run.stdout);
    let run = run.expect_errors(&[
        "error in build build: web: run `for n in $(seq 30)",
        "42",
        "--> build.lua:4",
        "> 4 |   vm:run",
        "line 30",
    ]);
    assert!(!run.stderr.contains("line 20\n"), "only the last lines are repeated: {}", run.stderr);
}

#[test]
fn a_server_that_cannot_be_used_is_told_apart() {
    let Some((sandbox, sshd)) = bench() else { return };
    let nobody = free_port();
    let other_key = sandbox.join("other_key");
    crate::support::sshd::keygen(&other_key, &["-t", "ed25519", "-N", ""]);
    let key = sshd.user_key().display().to_string();
    let other = other_key.display().to_string();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (port, credentials, messages) in [
        (sshd.port, "ssh_password = 'wrong-password'".to_owned(), ["authentication failed", "password"]),
        (sshd.port, format!("ssh_private_key_file = '{other}'"), ["authentication failed", "other_key"]),
        (nobody, format!("ssh_private_key_file = '{key}'"), ["refused", "127.0.0.1"]),
        (silent_port, format!("ssh_private_key_file = '{key}'"), ["SSH", "127.0.0.1"]),
    ] {
        let source = format!(
            "local rimg = require 'rimg'\nlocal vm = rimg.host {{ ssh_host = '127.0.0.1', ssh_port = {port}, \
             ssh_username = 'root', {credentials}, ssh_timeout = '3s' }}\nvm:run 'true'\n"
        );
        let started = Instant::now();
        let run = sandbox.run(&source, &[]).expect_code(1);
        assert!(started.elapsed() < Duration::from_secs(30), "{credentials}: {:?}", started.elapsed());
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("wrong-password"), "{}", run.stderr);
        let lower = run.stderr.to_lowercase();
        for message in messages {
            assert!(lower.contains(&message.to_lowercase()), "{message:?} is not in\n{}", run.stderr);
        }
        run.expect_errors(&["--> build.lua:2", &port.to_string()]);
    }
}

#[test]
fn secrets_are_masked_wherever_they_could_show() {
    let Some((sandbox, sshd)) = bench() else { return };
    let secret = "s3cr3t-t0ken-x9";
    let source = format!(
        "{}local token = rimg.secret('token')\n\
         vm:run('echo token is ' .. token .. '; echo error ' .. token .. ' >&2')\n\
         vm:run({{ 'echo', 'argument', token }})\n\
         vm:shell {{ inline = 'echo env $T', env = {{ T = token }} }}\n\
         rimg.log.info('said ' .. token)\n\
         rimg.step('step ' .. token, function() end)\n\
         vm:run('echo last ' .. token .. ' >&2; exit 1')\n",
        head(&sshd)
    );
    for args in [&["--timestamps"][..], &["--json"], &["--debug"]] {
        sandbox.write("build.lua", &source);
        let mut command = sandbox.command(["run", "build.lua", "--log-file", "run.log"].iter().chain(args));
        let run = Run::of(command.env("RIMG_VAR_token", secret)).expect_code(1);
        sandbox.assert_clean();
        let log = sandbox.read("run.log");
        for (name, text) in [("stdout", &run.stdout), ("stderr", &run.stderr), ("log", &log)] {
            assert!(!text.contains(secret), "{name} of {args:?} shows it:\n{text}");
            assert!(text.contains("********"), "{name} of {args:?} has nothing masked:\n{text}");
        }
    }
}

/// Returns the events that docs/events.md describes, each with its fields and whether they are optional.
fn documented() -> std::collections::HashMap<String, Vec<(String, bool)>> {
    let text = include_str!("../../docs/events.md");
    let mut events = std::collections::HashMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')) {
            events.insert(name.to_owned(), Vec::new());
            current = Some(name.to_owned());
        } else if line.starts_with("## ") {
            current = None;
        } else if let (Some(event), Some(rest)) = (&current, line.strip_prefix("| `"))
            && let Some((field, rest)) = rest.split_once("` |")
        {
            let optional = rest.split('|').next().is_some_and(|kind| kind.contains("optional"));
            events.entry(event.clone()).or_insert_with(Vec::new).push((field.to_owned(), optional));
        }
    }
    events
}

#[test]
fn every_json_line_is_a_documented_event() {
    let Some((sandbox, sshd)) = bench() else { return };
    sandbox.write("disk.img", vec![1; 5000]);
    let source = format!(
        "{}rimg.step('outer', function() rimg.step('inner', function() vm:run 'echo hello; echo bad >&2' end) end)\n\
         vm:upload('disk.img', '{}')\n\
         rimg.log.warn 'careful'\n\
         rimg.artifact('disk.img'):checksum {{ 'sha256' }}\n\
         rimg.build('fails', function() vm:run 'exit 3' end)\n\
         rimg.build('left-out', function() end)\n",
        head(&sshd),
        sandbox.join("uploaded").display()
    );
    let run = sandbox.run(&source, &["--json", "--except", "left-*"]).expect_code(1);
    let events = run.events();
    let documented = documented();
    let mut seen = std::collections::BTreeSet::new();
    for event in &events {
        let name = event["event"].as_str().expect("a name");
        let fields = documented.get(name).unwrap_or_else(|| panic!("`{name}` is not in docs/events.md: {event}"));
        seen.insert(name);
        let time = event["time"].as_str().expect("a time");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        for (field, value) in event.as_object().expect("an object") {
            let known = ["time", "event"].contains(&field.as_str()) || fields.iter().any(|(name, _)| name == field);
            assert!(known, "`{field}` of `{name}` is not in docs/events.md: {value}");
        }
        for (field, optional) in fields {
            assert!(*optional || event.get(field).is_some(), "`{field}` is not in {event}");
        }
    }
    for name in [
        "run_started",
        "build_started",
        "step_started",
        "step_finished",
        "operation_started",
        "operation_finished",
        "output",
        "message",
        "artifact",
        "build_finished",
        "build_skipped",
        "run_finished",
    ] {
        assert!(seen.contains(name), "no `{name}` among {seen:?}");
    }
    let find = |name: &str, field: &str, value: &str| {
        let found = events.iter().find(|event| event["event"] == name && event[field] == value);
        found.unwrap_or_else(|| panic!("no {name} with {field} = {value} in\n{}", run.stdout)).clone()
    };
    assert_eq!(events.first().unwrap()["event"], "run_started");
    assert_eq!(events.last().unwrap()["event"], "run_finished");
    assert_eq!(events.last().unwrap()["ok"], Value::Bool(false));
    let (outer, inner) = (find("step_started", "name", "outer"), find("step_started", "name", "inner"));
    assert_eq!(inner["parent"], outer["id"]);
    let operation = find("operation_started", "title", "echo hello; echo bad >&2");
    assert_eq!(
        (&operation["step"], &operation["kind"], &operation["machine"]),
        (&inner["id"], &"run".into(), &"web".into())
    );
    assert_eq!(find("output", "line", "hello")["stream"], "stdout");
    assert_eq!(find("output", "line", "bad")["stream"], "stderr");
    let error = &find("build_finished", "build", "fails")["error"];
    assert_eq!((&error["kind"], &error["fields"]["status"]), (&"command".into(), &3.into()));
    assert_eq!(error["location"], "build.lua:7");
    let last = events.iter().rfind(|event| event["event"] == "artifact").expect("an artifact");
    assert_eq!(last["files"][0]["digests"][0][0], "sha256");
}

#[test]
fn the_summary_shows_steps_builds_and_artifacts() {
    let Some((sandbox, sshd)) = bench() else { return };
    sandbox.write("disk.img", vec![1; 5000]);
    let source = format!(
        "{}rimg.step('install packages', function() vm:run 'sleep 0.3' end)\n\
         local function harden(machine) machine:run 'true' end\nvm:apply(harden)\n\
         rimg.artifact('disk.img'):checksum {{ 'sha256', 'md5' }}\n\
         rimg.build('second', function() vm:run 'true' end)\n",
        head(&sshd)
    );
    let run = sandbox.run(&source, &[]).expect_code(0);
    let summary = run.stdout.rsplit_once("\nBuilds\n").expect("a summary").1;
    for text in ["second", "ok", "Artifacts", "disk.img", "sha256", "Steps", "install packages", "harden", " s  "] {
        assert!(summary.contains(text), "{text:?} is not in\n{summary}");
    }
    let digest = rimg::host::digest::of_bytes(rimg::host::digest::Algorithm::Sha256, &[1; 5000]);
    assert!(summary.contains(&digest), "{summary}");
    assert!(summary.contains("2 builds done in"), "{summary}");
}

#[test]
fn a_program_of_this_host_is_heard_while_it_runs() {
    let sandbox = Sandbox::new();
    let source = "local rimg = require 'rimg'\n\
         local r = rimg.exec([[read name; echo \"hello $name\"; echo pending >&2; printf half\n\
         while [ ! -e go ]; do sleep 0.05; done; echo ' done in' $(basename $PWD) $WHO ${HOME-nowhere}]],\n\
         { cwd = 'sub', input = 'reader\\n', env = { WHO = 'us', HOME = false } })\n\
         assert(r.stdout == 'hello reader\\nhalf done in sub us nowhere\\n', r.stdout)\n";
    sandbox.write("sub/there", "");
    let mut live = sandbox.start(source, &["--json"]);
    for line in ["hello reader", "pending"] {
        live.wait_for(&format!("\"line\":\"{line}\""), Duration::from_secs(20));
    }
    // It runs on only now, so both were events before its end.
    sandbox.write("sub/go", "");
    let run = live.end(Duration::from_secs(20)).expect_code(0);
    assert!(run.stdout.contains("\"line\":\"half done in sub us nowhere\""), "{}", run.stdout);
    sandbox.assert_clean();
}

#[test]
fn a_server_that_goes_away_ends_the_operation_with_its_name() {
    let Some((sandbox, sshd)) = bench() else { return };
    let source = format!("{}vm:run 'echo started; exec sleep 300'\n", head(&sshd));
    let mut live = sandbox.start(&source, &[]);
    live.wait_for("[web] started\n", Duration::from_secs(20));
    sshd.hang_up();
    let run = live.end(Duration::from_secs(30)).expect_code(1);
    run.expect_errors(&["web: run", "connection", "--> build.lua:3"]);
    sandbox.assert_clean();
}

#[test]
fn what_a_machine_is_known_by_is_there_wherever_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
local vm = rimg.localhost { name = "here" }
local id = vm.id
assert(vm.name == "here" and #id > 0 and vm["user"] == vm.user and vm.host == nil and vm.port == nil, id)
local ok, inside = pcall(function() return ("<%s>"):format(vm.id) end)
assert(ok and inside == "<" .. id .. ">", inside)
local each = coroutine.wrap(function()
  coroutine.yield(vm.id)
  return vm.user
end)
assert(each() == id and each() == vm.user)
local ok, err = pcall(function() return vm.prot end)
assert(not ok and tostring(err):find "prot" and err.hint:find "port", tostring(err))
for _, at in ipairs(rimg.parallel { function() return vm.id end, function() return vm.id end }) do
  assert(at == id)
end
"#;
    sandbox.run(source, &[]).expect_code(0);
}
