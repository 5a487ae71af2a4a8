//! A host key that is planted is verified from the first connection on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::library::has;
use crate::support::rimg::Sandbox;
use crate::support::sshd::Sshd;

/// Starts the emulator without a way into its guest, and writes down the port that would have led there.
const ANOTHER_WAY: &str = r#"#!/bin/sh
for a in "$@"; do
  shift
  case $a in *hostfwd=tcp:127.0.0.1:*)
    p=${a##*hostfwd=tcp:127.0.0.1:}
    echo "${p%%-*}" >PORT.new && mv PORT.new PORT
    a=${a%%,hostfwd*};;
  esac
  set -- "$@" "$a"
done
exec QEMU "$@"
"#;

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Leads from the port that is named in a file to another server, until told to stop.
fn impostor(file: &Path, server: u16, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    let (file, stop) = (file.to_owned(), stop.clone());
    std::thread::spawn(move || {
        let mut connections = 0;
        let mut listener: Option<TcpListener> = None;
        while !stop.load(Ordering::Relaxed) {
            if listener.is_none() {
                let port = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u16>().ok());
                listener = port.and_then(|port| TcpListener::bind(("127.0.0.1", port)).ok());
                if let Some(listener) = &listener {
                    listener.set_nonblocking(true).unwrap();
                }
            }
            if let Some(Ok((client, _))) = listener.as_ref().map(TcpListener::accept) {
                connections += 1;
                client.set_nonblocking(false).unwrap();
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || copy(back.0, back.1));
                std::thread::spawn(move || copy(client, server));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        connections
    })
}

#[test]
fn an_impostor_is_refused_at_the_first_connection_to_a_seeded_machine() {
    if !["qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    let Some(strange) = Sshd::start("LogLevel VERBOSE") else { return };
    let sandbox = Sandbox::new();
    let port = sandbox.join("port");
    let qemu = rimg::host::process::which("qemu-system-x86_64").unwrap();
    let script = ANOTHER_WAY.replace("QEMU", &qemu.display().to_string()).replace("PORT", &port.display().to_string());
    let wrapper = sandbox.write("qemu-system-x86_64", script);
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    // A boot sector that jumps to itself: who answers is not the guest.
    let mut disk = vec![0; 1 << 20];
    disk[..2].copy_from_slice(&[0xeb, 0xfe]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    sandbox.write("disk.img", disk);
    let stop = Arc::new(AtomicBool::new(false));
    for login in
        ["", "ssh_username = 'root', ssh_password = 'never-to-be-sent', user_data = { package_update = false },"]
    {
        let _ = std::fs::remove_file(&port);
        stop.store(false, Ordering::Relaxed);
        let listening = impostor(&port, strange.port, &stop);
        let started = Instant::now();
        let run = sandbox.run(
            &format!(
                "local rimg = require 'rimg'\nlocal vm = rimg.qemu {{ source_image = 'disk.img', accelerator = 'tcg', {login} \
                 qemu_binary = '{}', memory = '64M', cpus = 1, ssh_timeout = '4m' }}\nvm:run 'true'\n",
                wrapper.display()
            ),
            &["--fresh"],
        );
        stop.store(true, Ordering::Relaxed);
        assert!(listening.join().unwrap() >= 1, "nobody came: {}", run.stderr);
        assert!(started.elapsed() < Duration::from_secs(120), "waited for another host key");
        let shown = Command::new("ssh-keygen").arg("-lf").arg(strange.file("host_key.pub")).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let found = format!("ssh-ed25519 {}", shown.split(' ').nth(1).unwrap());
        // Both keys are named: the planted one, which this run alone has, and the impostor's.
        let run = run.expect_code(1).expect_errors(&["the host key has changed: expected ssh-ed25519 SHA256:", &found]);
        assert_eq!(run.stderr.matches(&found).count(), 1, "{}", run.stderr);
    }
    let log = strange.log();
    assert!(!log.contains("Accepted") && !log.contains("Failed"), "credentials were sent: {log}");
}
