//! Ctrl-C in each phase of a run: what is said, and that nothing is left.

use std::time::{Duration, Instant};

use crate::support::http::{Answer, Server};
use crate::support::image::guest;
use crate::support::library::has;
use crate::support::rimg::{Live, Run, Sandbox};
use crate::support::sshd::Sshd;

const START: Duration = Duration::from_secs(60);

/// Interrupts a run: it must end with 130 within seconds, say so, and leave nothing.
#[track_caller]
fn interrupted(sandbox: &Sandbox, live: Live) -> Run {
    let started = Instant::now();
    live.interrupt();
    let run = live.end(Duration::from_secs(30)).expect_code(130);
    assert!(run.stdout.contains("SIGINT: cancelling"), "{}", run.stdout);
    assert!(run.stdout.contains("Cancelled after"), "{}", run.stdout);
    assert!(started.elapsed() < Duration::from_secs(30), "it took {:?}", started.elapsed());
    sandbox.assert_clean();
    run
}

/// Returns the names in a folder of the sandbox, hidden ones too; none when there is no such folder.
fn names(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.join(folder)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Bytes that no compression makes smaller.
pub fn noise(count: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count / 8).flat_map(next).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn during_a_download() {
    let server = Server::start(|_, _| Answer { stall_after: Some(500_000), ..Answer::ok(vec![5; 1_000_000]) }).await;
    let sandbox = Sandbox::new();
    let source = format!(
        "local rimg = require 'rimg'\nrimg.log.info 'going'\n\
         rimg.download {{ url = '{}', checksum = 'none', to = 'out/image' }}\n",
        server.url("/image")
    );
    let mut live = sandbox.start(&source, &[]);
    live.wait_until("to ask the server", START, |_| !server.requests().is_empty());
    std::thread::park_timeout(Duration::from_millis(300));
    interrupted(&sandbox, live);
    assert!(!sandbox.join("out").exists());
}

#[test]
fn during_commands_here_and_over_ssh() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    // All work in the sandbox, where what is left over is found. OpenSSH does not signal root's commands, and one that
    // writes nothing would never notice that nobody listens.
    let source = format!(
        "local rimg = require 'rimg'\n\
         rimg.build('exec', function() rimg.exec 'echo one; sleep 301; echo never' end)\n\
         rimg.build('here', function() rimg.localhost():run 'echo two; sleep 302; echo never' end)\n\
         rimg.build('ssh', function()\n  local vm = rimg.host {{ ssh_host = '127.0.0.1', ssh_port = {}, ssh_username = 'root', \
         ssh_private_key_file = '{}' }}\n  rimg.parallel({{ function() vm:run('echo three; sleep 303; echo never', {{ cwd = '{2}' }}) end, \
         function() vm:run('cd {2} && echo four; sleep 304; echo never') end }})\nend)\n",
        sshd.port,
        sshd.user_key().display(),
        sandbox.path().display()
    );
    let mut live = sandbox.start(&source, &[]);
    live.wait_until("to run all three", START, |said| {
        // What it has said last is said a moment before it sleeps.
        let sleepers = || sandbox.processes().iter().filter(|(_, line)| line.starts_with("sleep 30")).count();
        ["  one", " two", " three", " four"].iter().all(|word| said.contains(word)) && sleepers() == 4
    });
    let run = interrupted(&sandbox, live);
    assert!(!run.stdout.contains("    never"), "{}", run.stdout);
    assert!(run.stdout.contains("cancelled"), "{}", run.stdout);
}

#[test]
fn during_compression() {
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", noise(300_000_000));
    for (output, level) in [("out/a.tar.zst", 19), ("out/a.zip", 9)] {
        let source = format!(
            "local rimg = require 'rimg'\n\
             rimg.artifact('disk.img'):compress {{ output = '{output}', compression_level = {level} }}\n"
        );
        let mut live = sandbox.start(&source, &[]);
        live.wait_until("to write", START, |_| names(&sandbox, "out").iter().any(|name| name.contains(".rimg-")));
        interrupted(&sandbox, live);
        assert_eq!(names(&sandbox, "out"), [""; 0], "{output}");
    }
}

#[test]
fn while_a_guest_does_not_answer() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    let sandbox = Sandbox::new();
    // A boot sector that jumps to itself.
    let mut disk = vec![0; 1 << 20];
    disk[..2].copy_from_slice(&[0xeb, 0xfe]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    sandbox.write("disk.img", disk);
    let source = "local rimg = require 'rimg'\nrimg.qemu { source_image = 'disk.img', accelerator = 'tcg', ssh_username = 'u', \
                  ssh_password = 'p', memory = '64M', cpus = 1 }\n";
    let mut live = sandbox.start(source, &[]);
    let emulators =
        || sandbox.processes().into_iter().filter(|(_, line)| line.starts_with("/usr/bin/qemu-system")).count();
    live.wait_until("to start QEMU", START, |_| emulators() == 1);
    std::thread::park_timeout(Duration::from_secs(1));
    interrupted(&sandbox, live);
}

#[test]
fn during_finish() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        "local rimg = require 'rimg'\nlocal vm = rimg.qemu {{ source_image = '{}', ssh_username = 'vagrant', \
         ssh_password = 'vagrant', memory = '512M', shutdown_command = 'sudo systemctl poweroff' }}\n\
         vm:finish {{ output_directory = 'out', compress = true }}\n",
        image.display()
    );
    let mut live = sandbox.start(&source, &[]);
    let half = || names(&sandbox, "").iter().any(|name| name.starts_with(".out.rimg-"));
    live.wait_until("to write the image", Duration::from_secs(180), |_| half());
    interrupted(&sandbox, live);
    assert!(!sandbox.join("out").exists());
}
