//! A shell in a machine: of a build that goes on, and of one that failed and was kept.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::image::guest;
use crate::support::library::has;
use crate::support::rimg::{Run, Sandbox};
use crate::support::terminal::Terminal;

const LONG: Duration = Duration::from_secs(300);
/// An emulated guest beside other work.
const BOOT: Duration = Duration::from_secs(900);

/// Runs a command with something on its standard input.
fn fed(command: &mut Command, input: &[u8]) -> Run {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    Run::from(output)
}

#[test]
fn in_a_machine_that_a_build_works_on_and_that_is_kept() {
    let Some(image) = guest().filter(|_| has("swtpm")) else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        "local rimg = require 'rimg'\nrimg.build('web', {{ on_error = function(vm) vm:run 'echo failed >>marker' end }}, function()\n\
         local vm = rimg.qemu {{ source_image = '{}', memory = '384M', cpus = 1, ssh_username = 'vagrant', ssh_password = \
         'vagrant', ssh_timeout = '15m', vtpm = true }}\n vm:run 'echo begun >marker; echo waits; while [ ! -e go ]; do sleep 0.2; done; exit 4'\nend)\n",
        image.display()
    );
    let mut live = sandbox.start(&source, &["--on-error=keep"]);
    live.wait_for("    waits", BOOT);
    let run = sandbox.rimg(["ssh", "web", "--", "cat marker; touch go"]).expect_code(0);
    assert_eq!(run.stdout, "begun\n");
    let run = live.end(LONG).expect_code(1);
    assert!(run.stdout.contains("a shell in it: rimg ssh web"), "{}", run.stdout);
    assert!(!run.stdout.contains("is not kept"), "{}", run.stdout);
    let kept = |name: &str| sandbox.processes().iter().any(|(_, line)| line.contains(name));
    assert!(kept("qemu-system") && kept("swtpm"), "{:?}", sandbox.processes());

    // What is written down is for this user alone, and not to be read as it is.
    let mut journals = Vec::new();
    for folder in std::fs::read_dir(sandbox.join(".state/runs")).unwrap().flatten() {
        journals.push(std::fs::read_to_string(folder.path().join("journal")).unwrap());
    }
    assert!(journals.iter().any(|text| text.contains("\"sealed\"")), "{journals:?}");
    assert!(!journals.iter().any(|text| text.contains("keyboard_interactive")), "{journals:?}");

    // A command: its status, its streams, its input.
    let run = sandbox.rimg(["ssh", "web", "--", "cat marker; echo to stderr >&2; exit 5"]).expect_code(5);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("begun\nfailed\n", "to stderr\n"));
    let run = sandbox.rimg(["ssh", "web", "--", "printf", "%s|", "two words", "$HOME"]).expect_code(0);
    assert_eq!(run.stdout, "two words|$HOME|");
    let text: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let run = fed(&mut sandbox.command(["ssh", "web", "--", "cat"]), text.as_bytes()).expect_code(0);
    assert!(run.stdout == text, "{} of {} bytes", run.stdout.len(), text.len());
    let run = fed(&mut sandbox.command(["ssh", "web"]), b"echo $((6 * 7)); exit 3\n").expect_code(3);
    assert!(run.stdout.ends_with("42\n"), "{}", run.stdout);

    // A person in a terminal.
    let mut terminal = Terminal::start(&sandbox.command(["ssh", "web"]));
    // A shell of its own, which is heard to be ready: between two commands, a shell may lose what interrupts them.
    terminal.enter("sh -c 'trap \"echo caught; exit\" INT; echo is:$(stty size); while :; do sleep 0.2; done'\n");
    terminal.wait_for("is:30 90", LONG);
    terminal.resize(100, 40);
    // Ctrl-C is the command's there, not rimg's here. It throws away what was typed and not read yet.
    terminal.enter("\x03");
    terminal.wait_for("caught\r", LONG);
    terminal.enter("echo is:$(stty size)\n");
    terminal.wait_for("is:40 100", LONG);
    terminal.enter("exit 6\n");
    let (code, said) = terminal.end(LONG);
    assert_eq!(code, 6, "{said}");

    sandbox.rimg(["ssh", "wep"]).expect_code(2).expect_errors(&["no machine of a build wep", "/web"]);
    sandbox.rimg(["gc", "web"]).expect_code(0);
    sandbox.assert_clean();
    sandbox.rimg(["ssh", "web"]).expect_code(2).expect_errors(&["none is up"]);
}
