//! What is done when something fails: error functions, `--fail-fast`, limits, and what is kept or left.

use std::time::{Duration, Instant};

use crate::support::library::has;
use crate::support::rimg::Sandbox;
use crate::support::terminal::Terminal;

/// Generous: other tests load the machine.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn an_error_function_sees_the_machine_and_the_error_and_hides_nothing() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
rimg.build("web", { on_error = function(vm, err, machines)
  vm:run("echo " .. err.kind .. " " .. err.status .. " " .. vm.name .. " " .. #machines .. " " .. machines[2].name .. " >seen")
  error "a second one"
end }, function()
  rimg.localhost { name = "first" }
  local vm = rimg.localhost { name = "second" }
  vm:run "exit 7"
end)
rimg.build("none", { on_error = function(vm, err)
  rimg.fs.write("none", tostring(vm) .. " " .. err.message)
end }, function() rimg.fail "no machine yet" end)
rimg.build("good", { on_error = function() rimg.fs.write("good", "called") end }, function() end)
rimg.build("caught", { on_error = function() rimg.fs.write("caught", "called") end }, function()
  pcall(function() rimg.localhost():run "false" end)
end)
"#;
    let run = sandbox.run(source, &[]).expect_code(1);
    assert_eq!(sandbox.read("seen"), "command 7 second 2 first\n");
    assert_eq!(sandbox.read("none"), "nil no machine yet");
    assert!(!sandbox.join("good").exists() && !sandbox.join("caught").exists());
    assert!(run.stdout.contains("on_error function failed (build.lua:4): a second one"), "{}", run.stdout);
    let run = run.expect_errors(&["exited with status 7", "--> build.lua:8", "no machine yet"]);
    assert!(!run.stderr.contains("a second one"), "{}", run.stderr);
    let run = sandbox.run("require('rimg').build('x', { on_error = 3 }, function() end)\n", &[]).expect_code(2);
    run.expect_errors(&["option `on_error`: expected a function, found"]);
}

#[test]
fn a_failure_lets_the_others_finish_unless_it_is_to_be_fast() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
rimg.build("slow", function()
  rimg.localhost():run "touch begun; while [ ! -e failed ]; do sleep 0.05; done; sleep ${LINGER:-1}; touch done"
end)
rimg.build("bad", { on_error = function() rimg.fs.write("failed", "") end }, function()
  rimg.localhost():run "while [ ! -e begun ]; do sleep 0.05; done; exit 3"
end)
"#;
    let run = sandbox.run(source, &["--no-cache"]).expect_code(1);
    assert!(sandbox.join("done").exists() && run.stdout.contains("1 of 2 builds failed"), "{}", run.stdout);
    for file in ["begun", "failed", "done"] {
        std::fs::remove_file(sandbox.join(file)).unwrap();
    }
    let mut command = sandbox.command(["run", "build.lua", "--no-cache"]);
    command.env("RIMG_FAIL_FAST", "1").env("LINGER", "600");
    let run = crate::support::rimg::Run::of(&mut command).expect_code(1);
    sandbox.assert_clean();
    assert!(!sandbox.join("done").exists());
    assert!(sandbox.join("failed").exists(), "what was stopped is not the failed build's own end");
    assert!(run.stdout.contains("since the build bad failed (--fail-fast)"), "{}", run.stdout);
    assert!(run.stdout.contains("cancelled"), "{}", run.stdout);
    run.expect_errors(&["exited with status 3"]);
}

#[test]
fn every_limit_cancels_and_says_which_it_was() {
    let sandbox = Sandbox::new();
    let operation = "rimg.localhost():run('sleep 321', { timeout = '1s' })";
    let limits = [
        (operation, "", "took longer than its timeout of 1s", &[][..]),
        (
            "rimg.timeout('1s', function() rimg.localhost():run 'sleep 321' end)",
            "",
            "rimg.timeout: not done within 1s",
            &[],
        ),
        ("rimg.localhost():run 'sleep 321'", "timeout = '1s', ", "the build took longer than its timeout of 1s", &[]),
        (
            "rimg.localhost():run 'sleep 321'",
            "",
            "the run took longer than its timeout of 2s (--timeout)",
            &["--timeout", "2s"],
        ),
    ];
    for (work, options, expected, args) in limits {
        let source = format!(
            "local rimg = require 'rimg'\nrimg.build('web', {{ {options}on_error = function() rimg.fs.write('called', '') end }}, \
             function() {work} end)\n"
        );
        // A limit of the whole run is a cancellation: nothing is asked of a build after it.
        let cancels = !args.is_empty();
        sandbox.run(&source, args).expect_code(1).expect_errors(&[expected]);
        assert_eq!(std::fs::remove_file(sandbox.join("called")).is_err(), cancels, "{expected}");
    }
}

#[test]
fn what_is_not_rimgs_is_not_kept() {
    let sandbox = Sandbox::new();
    let source = "local rimg = require 'rimg'\nrimg.build('web', function() rimg.localhost():run 'false' end)\n";
    let run = sandbox.run(source, &["--on-error=keep"]).expect_code(1);
    assert!(run.stdout.contains("nothing of localhost to keep"), "{}", run.stdout);
    assert!(run.stdout.contains("no machine of this build is up that could be kept"), "{}", run.stdout);
    sandbox.run(source, &["--on-error=ask"]).expect_code(2).expect_errors(&["no terminal to ask on"]);
}

#[test]
fn builds_that_are_cancelled_unwind_from_the_last_to_the_first() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
for _, name in ipairs { "one", "two", "three" } do
  rimg.build(name, function()
    rimg.fs.tempdir()
    rimg.localhost { name = name }:run "echo up; sleep 333"
  end)
end
"#;
    let mut live = sandbox.start(source, &["--json"]);
    live.wait_until("to run all three", LONG, |said| said.matches("\"line\":\"up\"").count() == 3);
    live.interrupt();
    let run = live.end(LONG).expect_code(130);
    sandbox.assert_clean();
    let finished: Vec<String> = run
        .events()
        .iter()
        .filter(|event| event["event"] == "build_finished")
        .map(|event| event["build"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(finished, ["three", "two", "one"]);
    let removed: Vec<_> = run.events().into_iter().filter(|event| event["event"] == "resource_removed").collect();
    assert_eq!(removed.len(), 3, "{removed:?}");
    assert!(removed.iter().all(|event| event["ok"] == true && event["kind"] == "folder"), "{removed:?}");
}

#[test]
fn a_person_may_look_around_and_try_again() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
rimg.build("web", function()
  local vm = rimg.localhost()
  vm:run "echo one >>runs"
  vm:run "echo two >>runs; test -e ok"
  vm:run "echo three >>runs"
end)
"#;
    sandbox.write("build.lua", source);
    let command = || {
        let mut command = sandbox.command(["run", "build.lua", "--on-error=ask"]);
        command.env("PS1", "shell> ");
        command
    };
    let mut terminal = Terminal::start(&command());
    terminal.wait_for("localhost: run `echo two >>runs; test -e ok`: ", LONG);
    terminal.wait_for("[r] try this operation again", LONG);
    terminal.wait_for("[a] abort", LONG);
    terminal.enter("what\n");
    terminal.wait_for("\"what\" is none of these", LONG);
    terminal.enter("s\n");
    terminal.wait_for("shell> ", LONG);
    terminal.enter("touch ok; echo $((40 + 2)); exit\n");
    terminal.wait_for("42", LONG);
    terminal.wait_for("[r] try this operation again", LONG);
    terminal.enter("r\n");
    let (code, said) = terminal.end(LONG);
    assert_eq!(code, 0, "{said}");
    // The one operation, and nothing else.
    assert_eq!(sandbox.read("runs"), "one\ntwo\ntwo\nthree\n");
    sandbox.assert_clean();

    std::fs::remove_file(sandbox.join("ok")).unwrap();
    for (answer, expected) in
        [("\n", "1 of 1 build failed"), ("k\n", "nothing of localhost to keep"), ("a\n", "aborted: ")]
    {
        let mut terminal = Terminal::start(&command());
        terminal.wait_for("[a] abort", LONG);
        terminal.enter(answer);
        let (code, said) = terminal.end(LONG);
        assert!(code == 1 && said.contains(expected), "{answer:?}: {code:?} {said}");
    }
}

#[test]
fn a_terminal_that_is_closed_cancels_the_run() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
rimg.build("web", function()
  rimg.localhost():run "echo up; while [ ! -e go ]; do sleep 0.1; done; touch done"
end)
"#;
    sandbox.write("build.lua", source);
    let gone = |what: &str| {
        let deadline = Instant::now() + LONG;
        while !sandbox.processes().is_empty() {
            assert!(Instant::now() < deadline, "{what} does not end");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        sandbox.assert_clean();
    };
    let command = |log| sandbox.command(["run", "build.lua", "--no-cache", "--no-color", "--log-file", log]);
    let mut terminal = Terminal::start(&command("heard"));
    terminal.wait_for("    up", LONG);
    terminal.close();
    gone("a run that is hung up on");
    let log = sandbox.read("heard");
    assert!(log.contains("SIGHUP: cancelling") && log.contains("cancelled by SIGHUP"), "{log}");
    assert!(!sandbox.join("done").exists());

    // Under nohup a hangup means nothing.
    let mut terminal = Terminal::start_deaf(&command("unheard"));
    terminal.wait_for("    up", LONG);
    terminal.close();
    std::thread::park_timeout(Duration::from_millis(500));
    sandbox.write("go", "");
    gone("a run that is not");
    assert!(sandbox.join("done").exists() && sandbox.read("unheard").contains("run finished"));
}

/// Makes the disk of a machine that does nothing at all: a boot sector that jumps to itself.
fn idle_disk(sandbox: &Sandbox) -> bool {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return false;
    }
    let mut disk = vec![0; 1 << 20];
    disk[..2].copy_from_slice(&[0xeb, 0xfe]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    sandbox.write("disk.img", disk);
    true
}

fn emulators(sandbox: &Sandbox) -> usize {
    sandbox.processes().iter().filter(|(_, line)| line.contains("qemu-system")).count()
}

#[test]
fn machines_are_kept_or_left_until_they_are_collected() {
    let sandbox = Sandbox::new();
    if !idle_disk(&sandbox) {
        return;
    }
    let source = r#"local rimg = require "rimg"
rimg.build("web", function()
  rimg.fs.write(rimg.fs.tempdir() .. "/x", "x")
  rimg.qemu { source_image = "disk.img", accelerator = "tcg", memory = "64M", cpus = 1, communicator = "none" }
  rimg.fail "no"
end)
rimg.build("good", function()
  rimg.qemu { source_image = "disk.img", accelerator = "tcg", memory = "64M", cpus = 1, communicator = "none" }
end)
"#;
    sandbox.write("build.lua", source);
    let run = sandbox.rimg(["run", "build.lua", "--no-cache", "--on-error=keep", "--json"]).expect_code(1);
    let kept: Vec<_> = run.events().into_iter().filter(|event| event["event"] == "machine_kept").collect();
    assert_eq!((kept.len(), &kept[0]["build"], &kept[0]["machine"]), (1, &"web".into(), &"qemu".into()));
    assert_eq!(emulators(&sandbox), 1);
    // Of its build, only what the machine needs; of others, nothing.
    let folders: Vec<_> = std::fs::read_dir(sandbox.join(".cache/run")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 1);
    let inside: Vec<_> = std::fs::read_dir(folders[0].path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(inside.len() == 1 && inside[0].to_string_lossy().starts_with("qemu-"), "{inside:?}");

    let run = sandbox.rimg(["gc"]).expect_code(0);
    assert_eq!(emulators(&sandbox), 1, "{}", run.stdout);
    let run = sandbox.rimg(["ps"]).expect_code(0);
    assert!(run.stdout.contains("web"), "{}", run.stdout);
    sandbox.rimg(["gc", "web"]).expect_code(0);
    assert_eq!(emulators(&sandbox), 0);
    sandbox.assert_clean();

    let run = sandbox.rimg(["run", "build.lua", "--no-cache", "--on-error=abort"]).expect_code(1);
    assert!(run.stdout.contains("aborted: nothing is cleaned up"), "{}", run.stdout);
    assert!(emulators(&sandbox) >= 1, "{}", run.stdout);
    sandbox.rimg(["gc"]).expect_code(0);
    assert_eq!(emulators(&sandbox), 0);
    sandbox.assert_clean();
}

#[test]
fn a_second_signal_ends_at_once_and_leaves_it_all_to_be_collected() {
    let sandbox = Sandbox::new();
    if !idle_disk(&sandbox) {
        return;
    }
    let source = r#"local rimg = require "rimg"
rimg.build("web", function()
  rimg.qemu { source_image = "disk.img", accelerator = "tcg", memory = "64M", cpus = 1, communicator = "none" }
  rimg.log.info "up"
  rimg.sleep "10m"
end)
"#;
    let mut live = sandbox.start(source, &["--no-cache"]);
    live.wait_for("up", LONG);
    // A QEMU that is stopped does not hear that it is to end.
    let (id, _) = sandbox.processes().into_iter().find(|(_, line)| line.contains("qemu-system")).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    live.interrupt();
    live.wait_for("once more to stop at once", LONG);
    live.interrupt();
    let run = live.end(LONG).expect_code(130);
    // It has not come to its end, nor to its journal's. (The kernel wakes a stopped QEMU whose parent is gone, with SIGHUP.)
    assert!(!run.stdout.contains("Cancelled after"), "{}", run.stdout);
    let left = |folder| std::fs::read_dir(sandbox.join(folder)).unwrap().count();
    assert_eq!((left(".state/runs"), left(".cache/run")), (1, 1));
    sandbox.rimg(["gc"]).expect_code(0);
    assert_eq!(emulators(&sandbox), 0);
    sandbox.assert_clean();
}
