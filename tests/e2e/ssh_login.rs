//! Logging in over SSH: keys of every kind, certificates, agents, host keys, algorithms; against OpenSSH's sshd.

use std::path::Path;
use std::time::{Duration, Instant};

use rimg::communicator::ssh::keys::{KeyKind, clear_authorized_keys};
use rimg::communicator::ssh::{self, SshOptions, Target, TemporaryKey};
use rimg::engine::Seconds;
use rimg::error::{Error, Kind};

use crate::communicator::{failure, options, run};
use crate::support::library::{Library, tool};
use crate::support::ssh_stub::{Asks, Stub};
use crate::support::sshd::{Sshd, keygen, program};

const LIMIT: Duration = Duration::from_secs(20);

async fn target(sshd: &Sshd, options: &SshOptions, lib: &Library) -> Target {
    Target::new(options, "127.0.0.1", sshd.port, &lib.cx).await.unwrap()
}

/// The error of a target that cannot be made.
async fn refused(sshd: &Sshd, options: &SshOptions, lib: &Library) -> Error {
    match Target::new(options, "127.0.0.1", sshd.port, &lib.cx).await {
        Ok(_) => panic!("the options are taken"),
        Err(error) => error,
    }
}

async fn logs_in(sshd: &Sshd, options: &SshOptions, lib: &Library) {
    let ssh = ssh::wait(&target(sshd, options, lib).await, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(run(&*ssh, "echo in").await.1, "in\n");
    ssh.close().await;
}

async fn is_refused(sshd: &Sshd, options: &SshOptions, lib: &Library) -> Error {
    failure(ssh::wait(&target(sshd, options, lib).await, LIMIT, &lib.cx).await)
}

fn with_key(path: &Path) -> SshOptions {
    SshOptions { ssh_private_key_file: Some(path.to_owned()), ..options() }
}

fn public(path: &Path) -> String {
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_and_format() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("MaxStartups 100") else { return };
    let kinds = [["ed25519", "256"], ["ecdsa", "256"], ["ecdsa", "521"], ["rsa", "2048"]];
    for [kind, bits] in kinds {
        for (format, passphrase) in [("RFC4716", ""), ("RFC4716", "sesame"), ("PEM", "sesame"), ("PKCS8", "sesame")] {
            if kind == "ed25519" && format != "RFC4716" {
                continue;
            }
            let path = lib.join(format!("{kind}{bits}{format}{passphrase}"));
            keygen(&path, &["-t", kind, "-b", bits, "-m", format, "-N", passphrase]);
            sshd.authorize(&public(&path));
            let passphrase = Some(passphrase.to_owned()).filter(|p| !p.is_empty());
            logs_in(&sshd, &SshOptions { ssh_private_key_passphrase: passphrase, ..with_key(&path) }, &lib).await;
        }
    }
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa("nistp384".parse().unwrap()), KeyKind::Rsa(2048)] {
        let key = TemporaryKey::generate_kind(kind, "rimg-e2e").await.unwrap();
        sshd.authorize(&key.authorized_key);
        let target = target(&sshd, &SshOptions { ssh_password: Some("unused-secret".into()), ..options() }, &lib).await;
        ssh::wait(&target.with_key(&key), LIMIT, &lib.cx).await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_certificate_authority() {
    let lib = Library::new();
    if program("ssh-keygen").is_none() {
        return;
    }
    let ca = lib.join("ca");
    keygen(&ca, &["-t", "ed25519", "-N", ""]);
    let Some(sshd) = Sshd::start(&format!("TrustedUserCAKeys {}.pub\nLogLevel VERBOSE", ca.display())) else { return };
    let sign = |key: &Path, who: &str| {
        let key = format!("{}.pub", key.display());
        tool(lib.dir.path(), "ssh-keygen", &["-q", "-s", "ca", "-I", "e2e", "-n", who, &key]);
    };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = lib.join(kind);
        keygen(&key, &["-t", kind, "-N", ""]);
        sign(&key, "root");
        let certificate = Some(lib.join(format!("{kind}-cert.pub")));
        // The key alone is not let in.
        let error = is_refused(&sshd, &with_key(&key), &lib).await;
        assert_eq!(error.kind(), Kind::Auth);
        logs_in(&sshd, &SshOptions { ssh_certificate_file: certificate, ..with_key(&key) }, &lib).await;
    }
    assert!(sshd.log().contains("Accepted certificate ID \"e2e\""), "{}", sshd.log());
    let key = lib.join("ed25519");
    sign(&key, "somebody");
    let options = SshOptions { ssh_certificate_file: Some(lib.join("ed25519-cert.pub")), ..with_key(&key) };
    let error = is_refused(&sshd, &options, &lib).await;
    assert!(error.message().contains("with its certificate"), "{error}");
    assert!(error.message().contains("the certificate is for somebody"), "{error}");
}

/// A running ssh-agent with one key, ended when dropped.
struct Agent {
    child: std::process::Child,
    socket: std::path::PathBuf,
}

impl Agent {
    async fn start(lib: &Library, key: &Path) -> Option<Agent> {
        let program = program("ssh-agent")?;
        let socket = lib.join("agent.sock");
        let child = std::process::Command::new(program)
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + LIMIT;
        while !socket.exists() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let added =
            std::process::Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
        assert!(added.success());
        Some(Agent { child, socket })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_forwarded_only_when_asked() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let key = lib.join("agents-key");
    keygen(&key, &["-t", "ed25519", "-N", "", "-C", "only-in-the-agent"]);
    let Some(agent) = Agent::start(&lib, &key).await else { return };
    let plain = target(&sshd, &with_key(&sshd.user_key()), &lib).await;

    let ssh = ssh::wait(&plain, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(run(&*ssh, "echo \"[$SSH_AUTH_SOCK]\"").await.1, "[]\n");
    ssh.close().await;

    let ssh = ssh::wait(&plain.clone().forwarding_agent(&agent.socket), LIMIT, &lib.cx).await.unwrap();
    // Several commands at once, each with its own way to the agent.
    let lists = (0..4).map(|_| run(&*ssh, "ssh-add -l"));
    for (status, listed, errors) in futures_util::future::join_all(lists).await {
        assert!(listed.contains("only-in-the-agent"), "{status:?} {listed} {errors}");
    }
    ssh.close().await;

    // One that is gone is said to be, and does no other harm.
    let ssh = ssh::wait(&plain.forwarding_agent(lib.join("no-socket")), LIMIT, &lib.cx).await.unwrap();
    assert_ne!(run(&*ssh, "ssh-add -l").await.0.code(), 0);
    assert_eq!(run(&*ssh, "echo fine").await.1, "fine\n");

    let Some(strict) = Sshd::start("AllowAgentForwarding no") else { return };
    let target = target(&strict, &with_key(&strict.user_key()), &lib).await.forwarding_agent(&agent.socket);
    let ssh = ssh::wait(&target, LIMIT, &lib.cx).await.unwrap();
    let mut nowhere = crate::communicator::Captured::default();
    let error = ssh.exec(&rimg::engine::Command::shell("true"), &mut nowhere).await.unwrap_err();
    assert!(error.message().contains("refuses agent forwarding"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_is_verified_from_the_first_connection_where_it_is_known() {
    let lib = Library::new();
    let Some(second) = Sshd::start_with(&["-t", "rsa", "-b", "2048"], "") else { return };
    // A server with two keys, of which rimg asks for ed25519 first.
    let Some(sshd) = Sshd::start(&format!("HostKey {}", second.file("host_key").display())) else { return };
    let fingerprint = |file: &Path| {
        let shown = tool(lib.dir.path(), "ssh-keygen", &["-l", "-f", file.to_str().unwrap()]);
        String::from_utf8(shown).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let expecting = |text: &str| {
        let mut options = with_key(&sshd.user_key());
        options.host_key.ssh_host_key = Some(text.to_owned());
        options
    };
    for right in
        [fingerprint(&sshd.file("host_key")), fingerprint(&second.file("host_key")), sshd.host_key(), second.host_key()]
    {
        logs_in(&sshd, &expecting(&right), &lib).await;
    }
    keygen(&lib.join("strange"), &["-t", "ed25519", "-N", ""]);
    for wrong in [fingerprint(&lib.join("strange")), public(&lib.join("strange"))] {
        let started = Instant::now();
        let error = is_refused(&sshd, &expecting(&wrong), &lib).await;
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.message().contains("the host key has changed: expected"), "{error}");
        assert!(error.message().contains(&fingerprint(&lib.join("strange"))), "{error}");
        assert!(error.message().contains(&fingerprint(&sshd.file("host_key"))), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    let known = lib.write("known_hosts", format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key()));
    tool(lib.dir.path(), "ssh-keygen", &["-q", "-H", "-f", "known_hosts"]);
    assert!(std::fs::read_to_string(&known).unwrap().starts_with("|1|"));
    let mut options = with_key(&sshd.user_key());
    options.host_key.ssh_known_hosts_file = Some("known_hosts".into());
    logs_in(&sshd, &options, &lib).await;
    let error = refused(&second, &options, &lib).await;
    assert!(error.message().contains(&format!("has no host key of [127.0.0.1]:{}", second.port)), "{error}");
    lib.write("known_hosts", format!("[127.0.0.1]:{} {}\n", sshd.port, public(&lib.join("strange"))));
    let error = is_refused(&sshd, &options, &lib).await;
    assert!(error.message().contains("the host key has changed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_are_for_those_who_ask() {
    let lib = Library::new();
    let list = |name: &str| Some(vec![name.to_owned()]);
    type Named = fn(&mut SshOptions, Option<Vec<String>>);
    let cases: [(&str, &str, &str, Named); 4] = [
        ("KexAlgorithms diffie-hellman-group14-sha1", "diffie-hellman-group14-sha1", "key exchange", |o, l| {
            o.algorithms.ssh_key_exchange_algorithms = l;
        }),
        ("HostKeyAlgorithms ssh-rsa", "ssh-rsa", "kind of host key", |o, l| o.algorithms.ssh_host_key_algorithms = l),
        ("Ciphers aes128-cbc", "aes128-cbc", "cipher", |o, l| o.algorithms.ssh_ciphers = l),
        ("Ciphers aes128-ctr\nMACs hmac-sha1", "hmac-sha1", "MAC", |o, l| o.algorithms.ssh_macs = l),
    ];
    for (config, name, what, set) in cases {
        let Some(sshd) = Sshd::start_with(&["-t", "rsa", "-b", "2048"], config) else { return };
        let plain = with_key(&sshd.user_key());
        let started = Instant::now();
        let error = is_refused(&sshd, &plain, &lib).await;
        assert!(started.elapsed() < Duration::from_secs(30), "a failed negotiation is final");
        let expected = format!("no {what} in common: the server offers {name}; rimg offers ");
        assert!(error.message().contains(&expected), "{error}");
        assert!(error.hints()[0].contains(&format!("{{ \"{name}\" }}")), "{:?}", error.hints());
        assert!(error.hints()[1].contains("ssh_legacy = true"), "{:?}", error.hints());
        let mut named = plain.clone();
        set(&mut named, list(name));
        logs_in(&sshd, &named, &lib).await;
        let mut legacy = plain;
        legacy.algorithms.ssh_legacy = true;
        logs_in(&sshd, &legacy, &lib).await;
    }
    for config in [
        "Ciphers 3des-cbc\nKexAlgorithms diffie-hellman-group-exchange-sha1",
        "KexAlgorithms diffie-hellman-group1-sha1",
    ] {
        let Some(sshd) = Sshd::start_with(&["-t", "rsa", "-b", "2048"], config) else { return };
        let mut legacy = with_key(&sshd.user_key());
        legacy.algorithms.ssh_legacy = true;
        logs_in(&sshd, &legacy, &lib).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sha1_signatures_of_our_own_rsa_keys_are_for_those_who_ask() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("PubkeyAcceptedAlgorithms ssh-rsa") else { return };
    let key = lib.join("rsa");
    keygen(&key, &["-t", "rsa", "-b", "2048", "-N", ""]);
    sshd.authorize(&public(&key));
    let plain = with_key(&key);
    assert_eq!(is_refused(&sshd, &plain, &lib).await.kind(), Kind::Auth);
    let mut legacy = plain.clone();
    legacy.algorithms.ssh_legacy = true;
    logs_in(&sshd, &legacy, &lib).await;
    // A server that says that it knows nothing else is not shown the key.
    let stub = Stub::start(Asks::Sha1).await;
    let target = Target::new(&plain, "127.0.0.1", stub.port, &lib.cx).await.unwrap();
    let error = failure(ssh::connect(&target, &lib.cx).await);
    assert!(error.message().contains("SHA-1 only"), "{error}");
    assert!(error.hints().iter().any(|h| h.contains("ssh_legacy = true")), "{:?}", error.hints());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_algorithms_that_are_named_are_the_ones_used() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("LogLevel DEBUG1") else { return };
    let mut options = with_key(&sshd.user_key());
    options.algorithms.ssh_ciphers = Some(vec!["aes192-ctr".into()]);
    options.algorithms.ssh_macs = Some(vec!["hmac-sha2-512".into()]);
    options.algorithms.ssh_key_exchange_algorithms = Some(vec!["ecdh-sha2-nistp384".into()]);
    logs_in(&sshd, &options, &lib).await;
    let log = sshd.log();
    assert!(log.contains("kex: algorithm: ecdh-sha2-nistp384"), "{log}");
    assert!(log.contains("cipher: aes192-ctr MAC: hmac-sha2-512"), "{log}");
    options.algorithms.ssh_ciphers = Some(vec!["aes192-crt".into()]);
    let error = refused(&sshd, &options, &lib).await;
    assert!(error.message().contains("there is no cipher \"aes192-crt\""), "{error}");
    assert_eq!(error.hints()[0], "did you mean `aes192-ctr`?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_key_is_taken_out_of_authorized_keys() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start(&format!("SetEnv HOME={}", lib.dir.path().display())) else { return };
    let keys = lib.write(".ssh/authorized_keys", "ssh-ed25519 AAAA mine\nssh-rsa BBBB rimg-temporary-77\n");
    let ssh = ssh::wait(&target(&sshd, &with_key(&sshd.user_key()), &lib).await, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(run(&*ssh, "echo $HOME").await.1, format!("{}\n", lib.dir.path().display()));
    clear_authorized_keys(&*ssh, "rimg-temporary-77").await;
    assert_eq!(std::fs::read_to_string(keys).unwrap(), "ssh-ed25519 AAAA mine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_before_connecting_is_made_once() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("LogLevel VERBOSE") else { return };
    let pause = Some(Seconds(Duration::from_millis(700)));
    let target =
        target(&sshd, &SshOptions { pause_before_connecting: pause, ..with_key(&sshd.user_key()) }, &lib).await;
    let started = Instant::now();
    ssh::wait(&target, LIMIT, &lib.cx).await.unwrap().close().await;
    assert!(started.elapsed() >= Duration::from_millis(700));
    ssh::wait(&target, LIMIT, &lib.cx).await.unwrap().close().await;
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 3, "{}", sshd.log());
}
