//! The SSH communicator against OpenSSH's sshd, and against servers that misbehave.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::communicator::ssh::{self, SshOptions, Target, TemporaryKey};
use rimg::engine::{BuildCx, Command, Communicator, ExitStatus, FileMeta, OutputSink, Seconds, Sink, Source};
use rimg::error::{Error, Kind};
use rimg::ui::event::Counter;

use crate::support::library::Library;
use crate::support::ssh_stub::{Asks, PASSWORD, Stub};
use crate::support::sshd::{Sshd, free_port, keygen, program};

#[derive(Default)]
pub struct Captured {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl OutputSink for Captured {
    fn stdout(&mut self, bytes: &[u8]) {
        self.stdout.extend_from_slice(bytes);
    }
    fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
    }
}

/// Tells of the first output.
struct Telling<'n> {
    out: Captured,
    heard: &'n tokio::sync::Notify,
}

impl OutputSink for Telling<'_> {
    fn stdout(&mut self, bytes: &[u8]) {
        self.out.stdout(bytes);
        self.heard.notify_one();
    }
    fn stderr(&mut self, bytes: &[u8]) {
        self.out.stderr(bytes);
    }
}

pub fn options() -> SshOptions {
    SshOptions { ssh_username: Some("root".into()), ..SshOptions::default() }
}

pub async fn target(sshd: &Sshd, cx: &BuildCx) -> Target {
    let options = SshOptions { ssh_private_key_file: Some(sshd.user_key()), ..options() };
    Target::new(&options, "127.0.0.1", sshd.port, cx).await.unwrap()
}

pub async fn connect(sshd: &Sshd, cx: &BuildCx) -> Arc<dyn Communicator> {
    ssh::wait(&target(sshd, cx).await, Duration::from_secs(20), cx).await.unwrap()
}

pub async fn run(ssh: &dyn Communicator, line: &str) -> (ExitStatus, String, String) {
    exec(ssh, &Command::shell(line)).await
}

pub async fn exec(ssh: &dyn Communicator, command: &Command) -> (ExitStatus, String, String) {
    let mut out = Captured::default();
    let status = ssh.exec(command, &mut out).await.unwrap();
    (status, String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
}

/// What `connect` or `wait` failed with.
pub fn failure(result: rimg::error::Result<Arc<dyn Communicator>>) -> Error {
    match result {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    }
}

/// Bytes that neither compress nor repeat.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_keep_output_status_signal_and_environment() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let (status, stdout, stderr) = run(&*ssh, "echo out; echo err >&2; exit 7").await;
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (ExitStatus::Code(7), "out\n", "err\n"));
    let (status, ..) = run(&*ssh, "kill -TERM $$").await;
    assert_eq!(status, ExitStatus::Signal("TERM".into()));

    let mut command = Command::shell("printf '%s|' \"$A\" \"$B\" \"$C\"; cat");
    let odd = "it's \"a\" $HOME `id` \\ \n end";
    command.env = vec![("A".into(), odd.into()), ("B".into(), String::new()), ("C".into(), "x y".into())];
    command.stdin = Some(b"input".to_vec());
    let (status, stdout, _) = exec(&*ssh, &command).await;
    assert_eq!((status, stdout), (ExitStatus::Code(0), format!("{odd}||x y|input")));
    let mut command = Command::argv(["printenv", "ODD"]);
    command.env = vec![("ODD".into(), "* ? [".into())];
    assert_eq!(exec(&*ssh, &command).await.1, "* ? [\n");
    // Without input, a command that reads ends at once.
    assert_eq!(run(&*ssh, "cat").await.0, ExitStatus::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_everything_side_by_side() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    for n in 0..20 {
        assert_eq!(run(&*ssh, &format!("echo {n}")).await.1, format!("{n}\n"));
    }
    // More at once than sshd's MaxSessions of ten, with an upload between them.
    let counter = Counter::default();
    let commands = (0..24).map(|n| {
        let ssh = ssh.clone();
        async move { run(&*ssh, &format!("sleep 0.2; echo {n}")).await.1 }
    });
    let content = noise(3 << 20);
    let to = lib.join("beside").display().to_string();
    let (answers, sent) = tokio::join!(
        futures_util::future::join_all(commands),
        ssh.upload(Source::Bytes(&content), &to, FileMeta::default(), &counter)
    );
    assert_eq!(sent.unwrap(), content.len() as u64);
    assert_eq!(answers, (0..24).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    assert_eq!(sshd.connections(), 1);
    ssh.close().await;
    ssh.closed().await;
    let error = ssh.exec(&Command::shell("true"), &mut Captured::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn big_output_and_background_processes() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let (status, stdout, stderr) = run(&*ssh, "seq 1 2000000; seq 1 200000 >&2").await;
    assert_eq!(status, ExitStatus::Code(0));
    assert_eq!((stdout.lines().count(), stderr.lines().count()), (2_000_000, 200_000));
    assert!(stdout.ends_with("\n2000000\n"));
    let started = Instant::now();
    let (status, stdout, _) = run(&*ssh, "echo started; sleep 60 & exit 4").await;
    assert_eq!((status, stdout.as_str()), (ExitStatus::Code(4), "started\n"));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_command_ends_on_the_machine() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let pid_file = lib.join("pid");
    // sshd passes no signals on to root's commands, so this one only ends by its closed output.
    let command = Command::shell(format!("echo $$ > {}; while sleep 0.1; do echo tick; done", pid_file.display()));
    let mut out = Captured::default();
    assert!(tokio::time::timeout(Duration::from_secs(1), ssh.exec(&command, &mut out)).await.is_err());
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let gone = || !Path::new(&format!("/proc/{}", pid.trim())).exists();
    for _ in 0..50 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(gone(), "the cancelled command still runs");
    // The connection is still good.
    assert_eq!(run(&*ssh, "echo yes").await.1, "yes\n");
}

async fn files_round_trip(ssh: &dyn Communicator, lib: &Library) {
    let counter = Counter::default();
    for (name, length) in [("empty", 0), ("one", 1), ("odd name 'x' $y", 100_000), ("big", 50 << 20)] {
        let content = noise(length);
        let local = lib.write(format!("local/{name}"), &content);
        std::fs::set_permissions(&local, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::create_dir_all(lib.join("remote")).unwrap();
        let remote = lib.join(format!("remote/{name}"));
        counter.set(0);
        let sent = ssh.upload(Source::File(&local), remote.to_str().unwrap(), FileMeta::default(), &counter).await;
        assert_eq!((sent.unwrap(), counter.get()), (length as u64, length as u64), "{name}");
        assert!(std::fs::read(&remote).unwrap() == content, "{name}");
        assert_eq!(std::fs::metadata(&remote).unwrap().permissions().mode() & 0o7777, 0o640);
        let back = lib.join(format!("back/{name}"));
        counter.set(0);
        let got = ssh.download(remote.to_str().unwrap(), Sink::File(&back), &counter).await;
        assert_eq!((got.unwrap(), counter.get()), (length as u64, length as u64), "{name}");
        assert!(std::fs::read(&back).unwrap() == content, "{name}");
        let mut bytes = Vec::new();
        ssh.download(remote.to_str().unwrap(), Sink::Bytes(&mut bytes), &counter).await.unwrap();
        assert!(bytes == content, "{name}");
    }
    // A shorter file over a longer one, with a mode of its own.
    let remote = lib.join("remote/big").display().to_string();
    let meta = FileMeta { mode: Some(0o755), ..FileMeta::default() };
    ssh.upload(Source::Bytes(b"#!/bin/sh\necho ran\n"), &remote, meta, &counter).await.unwrap();
    assert_eq!(run(ssh, &remote).await.1, "ran\n");
    // Into a folder by its name; home-relative paths mean the login's home.
    let folder = format!("{}/", lib.join("remote").display());
    let renamed = lib.write("local/into", "x");
    ssh.upload(Source::File(&renamed), &folder, FileMeta::default(), &counter).await.unwrap();
    assert_eq!(std::fs::read(lib.join("remote/into")).unwrap(), b"x");
    // A file whose size is not known beforehand.
    let back = lib.join("back/version");
    ssh.download("/proc/version", Sink::File(&back), &counter).await.unwrap();
    assert_eq!(std::fs::read(back).unwrap(), std::fs::read("/proc/version").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_by_sftp_and_without_it() {
    for subsystem in ["", "Subsystem none /bin/false", "Subsystem sftp /no/such/program"] {
        let lib = Library::new();
        let Some(sshd) = Sshd::start(subsystem) else { return };
        let ssh = connect(&sshd, &lib.cx).await;
        files_round_trip(&*ssh, &lib).await;
        let counter = Counter::default();
        let error =
            ssh.upload(Source::Bytes(b"x"), "/no/such/folder/file", FileMeta::default(), &counter).await.unwrap_err();
        assert!(error.message().contains("cannot write /no/such/folder/file on the machine"), "{error}");
        let missing = lib.join("back/missing");
        let error = ssh.download("/no/such/file", Sink::File(&missing), &counter).await.unwrap_err();
        assert!(error.message().contains("cannot read /no/such/file on the machine"), "{error}");
        let error = ssh.upload(Source::File(Path::new("/no/here")), "/tmp/x", FileMeta::default(), &counter).await;
        assert!(error.unwrap_err().message().contains("cannot read /no/here"));
        assert!(!lib.names("back").iter().any(|n| n.contains("missing") || n.contains(".rimg-")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_keep_modes_times_links_and_odd_names() {
    use std::os::unix::ffi::OsStrExt;
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let long = "n".repeat(200);
    for name in ["plain", "sp ace/in ner", "-dash", "quo'te\"$x", &format!("{long}/{long}"), "new\nline", "exec"] {
        lib.write(format!("tree/{name}"), name);
    }
    let raw = lib.join("tree").join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff"));
    std::fs::write(raw, "raw").unwrap();
    std::fs::create_dir(lib.join("tree/empty")).unwrap();
    std::fs::create_dir(lib.join("tree/closed")).unwrap();
    std::fs::write(lib.join("tree/closed/inside"), "in").unwrap();
    let mode = |path: &str, mode| {
        std::fs::set_permissions(lib.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tree/exec", 0o751);
    mode("tree/closed", 0o555);
    std::os::unix::fs::symlink("plain", lib.join("tree/link")).unwrap();
    std::os::unix::fs::symlink("/no/where", lib.join("tree/dangling")).unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::open(lib.join("tree/plain")).unwrap().set_modified(old).unwrap();

    let counter = Counter::default();
    let remote = lib.join("remote copy");
    let tree = lib.join("tree");
    let sent = ssh.upload(Source::Tree(&tree), remote.to_str().unwrap(), FileMeta::default(), &counter);
    let sent = sent.await.unwrap();
    assert_eq!(sent, counter.get());
    let same = |other: &str| {
        let status = std::process::Command::new("diff")
            .args(["-r", "--no-dereference"])
            .args([lib.join("tree"), lib.join(other)])
            .status();
        assert!(status.unwrap().success());
        let meta = std::fs::metadata(lib.join(other).join("exec")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o751);
        assert_eq!(std::fs::metadata(lib.join(other).join("closed")).unwrap().permissions().mode() & 0o777, 0o555);
        assert_eq!(std::fs::metadata(lib.join(other).join("plain")).unwrap().modified().unwrap(), old);
        assert_eq!(std::fs::read_link(lib.join(other).join("dangling")).unwrap(), Path::new("/no/where"));
    };
    same("remote copy");
    let got = ssh.download(remote.to_str().unwrap(), Sink::Tree(&lib.join("back")), &counter).await.unwrap();
    assert_eq!(got, sent);
    same("back");
    // Again, into what is there now; what was there besides stays.
    lib.write("back/own", "mine");
    ssh.download(remote.to_str().unwrap(), Sink::Tree(&lib.join("back")), &counter).await.unwrap();
    assert_eq!(std::fs::read(lib.join("back/own")).unwrap(), b"mine");
    let error = ssh.download("/no/such/tree", Sink::Tree(&lib.join("none")), &counter).await.unwrap_err();
    assert!(error.message().contains("cannot pack the folder /no/such/tree on the machine"), "{error}");
    assert!(!lib.join("none").exists());
    assert!(!lib.names("").iter().any(|n| n.contains(".rimg-")), "{:?}", lib.names(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_kinds_and_the_agent() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let temporary = TemporaryKey::generate("made for this").unwrap();
    sshd.authorize(&temporary.authorized_key);
    let plain = Target::new(&options(), "127.0.0.1", sshd.port, &lib.cx).await.unwrap();
    ssh::connect(&plain.clone().with_key(&temporary), &lib.cx).await.unwrap();

    for (name, args) in [
        ("rsa", ["-t", "rsa", "-N", ""]),
        ("ecdsa", ["-t", "ecdsa", "-N", ""]),
        ("locked", ["-t", "ed25519", "-N", "sesame-open"]),
    ] {
        let path = lib.join(name);
        keygen(&path, &args);
        sshd.authorize(&std::fs::read_to_string(lib.join(format!("{name}.pub"))).unwrap());
        let passphrase = (name == "locked").then(|| "sesame-open".to_owned());
        let options =
            SshOptions { ssh_private_key_file: Some(name.into()), ssh_private_key_passphrase: passphrase, ..options() };
        let target = Target::new(&options, "127.0.0.1", sshd.port, &lib.cx).await.unwrap();
        ssh::connect(&target, &lib.cx).await.unwrap();
    }

    let Some(agent) = program("ssh-agent") else { return };
    let socket = lib.join("agent");
    let mut agent = std::process::Command::new(agent).arg("-D").arg("-a").arg(&socket).spawn().unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut add = std::process::Command::new("ssh-add");
    let added = add.arg("-q").arg(lib.join("rsa")).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    let connected = ssh::connect(&plain.with_agent(&socket), &lib.cx).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(added.success());
    connected.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_prompts() {
    let lib = Library::new();
    for asks in [Asks::Password, Asks::KeyboardInteractive, Asks::Both] {
        let stub = Stub::start(asks).await;
        let with = |password: &str| SshOptions { ssh_password: Some(password.into()), ..options() };
        let target = Target::new(&with(PASSWORD), "127.0.0.1", stub.port, &lib.cx).await.unwrap();
        let ssh = ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap();
        assert_eq!(run(&*ssh, "said").await.1, "said");
        let target = Target::new(&with("wrong one"), "127.0.0.1", stub.port, &lib.cx).await.unwrap();
        let error = failure(ssh::wait(&target, Duration::from_secs(20), &lib.cx).await);
        let (kind, text) = (error.kind(), error.to_string());
        let tried = if asks == Asks::KeyboardInteractive { "keyboard-interactive" } else { "password" };
        assert_eq!(kind, Kind::Auth, "{text}");
        assert!(text.contains(&format!("tried {tried}; the server offers {tried}")), "{text}");
        assert!(!text.contains("wrong one"));
    }
    // Told not to answer prompts, it does not.
    let stub = Stub::start(Asks::KeyboardInteractive).await;
    let options =
        SshOptions { ssh_password: Some(PASSWORD.into()), ssh_keyboard_interactive: Some(false), ..options() };
    let target = Target::new(&options, "127.0.0.1", stub.port, &lib.cx).await.unwrap();
    let error = failure(ssh::connect(&target, &lib.cx).await);
    assert!(error.to_string().contains("tried nothing; the server offers keyboard-interactive"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_say_what_was_tried() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let stranger = lib.join("stranger");
    keygen(&stranger, &["-t", "ed25519", "-N", ""]);
    let options = SshOptions {
        ssh_private_key_file: Some(stranger.clone()),
        ssh_password: Some("wrong-password".into()),
        ..options()
    };
    let target = Target::new(&options, "127.0.0.1", sshd.port, &lib.cx).await.unwrap();
    let started = Instant::now();
    let error = failure(ssh::wait(&target, Duration::from_secs(120), &lib.cx).await);
    assert!(started.elapsed() < Duration::from_secs(60), "gave up after {:?}", started.elapsed());
    assert_eq!(error.kind(), Kind::Auth);
    let text = error.to_string();
    assert!(text.contains("authentication failed for user root"), "{text}");
    assert!(text.contains(&format!("tried key {}, password", stranger.display())), "{text}");
    assert!(text.contains("the server offers publickey, password"), "{text}");
    assert!(!text.contains("wrong-password"));
    assert!(!format!("{options:?}").contains("wrong-password"));
    // A booting machine may take a key later.
    let late = TemporaryKey::generate("late").unwrap();
    let booting = target.with_key(&late).booting();
    let wait = ssh::wait(&booting, Duration::from_secs(60), &lib.cx);
    let plant = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        sshd.authorize(&late.authorized_key);
    };
    tokio::join!(wait, plant).0.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_closed_silent_and_foreign_ports_apart() {
    let lib = Library::new();
    let at = |port: u16| {
        let cx = lib.cx.clone();
        async move {
            let target = Target::new(&options(), "127.0.0.1", port, &cx).await.unwrap();
            let started = Instant::now();
            let error = failure(ssh::wait(&target, Duration::from_secs(3), &cx).await);
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
            assert_eq!(error.kind(), Kind::Connect, "{error}");
            error.to_string()
        }
    };
    let closed = at(free_port()).await;
    assert!(closed.contains("the port is closed (connection refused)"), "{closed}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = at(silent.local_addr().unwrap().port()).await;
    assert!(text.contains("accepts connections but does not speak SSH yet"), "{text}");

    let hanging_up = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = hanging_up.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = hanging_up.accept().await {
            drop(stream);
        }
    });
    let text = at(port).await;
    server.abort();
    assert!(text.contains("does not speak SSH yet: no banner came, and the connection was closed"), "{text}");

    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = http.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = http.accept() {
            let mut request = [0; 4];
            let _ = std::io::Read::read(&mut stream, &mut request);
            if &request == b"QUIT" {
                break;
            }
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let text = at(port).await;
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"QUIT").unwrap();
    server.join().unwrap();
    assert!(text.contains("does not speak SSH: it said \"HTTP/1.1 400 Bad Request\""), "{text}");

    let target = Target::new(&options(), "no-such-host.invalid", 22, &lib.cx).await.unwrap();
    let error = failure(ssh::wait(&target, Duration::from_secs(60), &lib.cx).await);
    assert!(error.to_string().contains("the name cannot be resolved"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_comes_up_late_is_met_quickly() {
    let lib = Library::new();
    let Some(mut sshd) = Sshd::start("") else { return };
    sshd.stop();
    let target = target(&sshd, &lib.cx).await;
    let boot = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| sshd.boot());
        Instant::now()
    };
    let wait = async {
        ssh::wait(&target, Duration::from_secs(60), &lib.cx).await.unwrap();
        Instant::now()
    };
    let (up, met) = tokio::join!(boot, wait);
    assert!(met.saturating_duration_since(up) < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_host_key_names_both() {
    let lib = Library::new();
    let Some(mut sshd) = Sshd::start("") else { return };
    let target = target(&sshd, &lib.cx).await;
    ssh::connect(&target, &lib.cx).await.unwrap().close().await;
    // A restart alone changes nothing.
    sshd.stop();
    sshd.boot();
    ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap().close().await;
    let print = |sshd: &Sshd| {
        let file = lib.write("key.pub", sshd.host_key());
        let out = std::process::Command::new("ssh-keygen").arg("-lf").arg(file).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let before = print(&sshd);
    sshd.stop();
    sshd.change_host_key();
    sshd.boot();
    let started = Instant::now();
    let error = failure(ssh::wait(&target, Duration::from_secs(60), &lib.cx).await);
    assert!(started.elapsed() < Duration::from_secs(30));
    let text = error.to_string();
    assert!(text.contains("the host key has changed"), "{text}");
    assert!(text.contains(&before) && text.contains(&print(&sshd)), "{text}");
    // The key a caller expects is checked from the first connection on.
    let expected = rimg::communicator::ssh::keys::HostKeyPair::generate("planted").unwrap();
    let fresh = self::target(&sshd, &lib.cx).await.expect_host_key(&expected.public);
    let error = failure(ssh::connect(&fresh, &lib.cx).await);
    assert!(error.to_string().contains("the host key has changed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_noticed_and_leaves_no_half_file() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let remote = lib.join("remote");
    // Real bytes: a hole would be across before anything can break.
    let mut file = std::fs::File::create(&remote).unwrap();
    for _ in 0..1024 {
        file.write_all(&[7; 1 << 20]).unwrap();
    }
    let target = target(&sshd, &lib.cx).await;
    let kill_during = async |counter: &Counter| {
        while counter.get() < 20 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sshd.hang_up();
        Instant::now()
    };
    // Download, upload and command, each on a connection of its own, since the machine "reboots" in between.
    let ssh = ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap();
    let counter = Counter::default();
    let local = lib.join("into/local");
    let (result, killed) =
        tokio::join!(ssh.download(remote.to_str().unwrap(), Sink::File(&local), &counter), kill_during(&counter));
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    assert!(lib.names("into").is_empty(), "{:?}", lib.names("into"));
    ssh.closed().await;

    let ssh = ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap();
    let counter = Counter::default();
    let to = lib.join("up").display().to_string();
    let upload = ssh.upload(Source::File(&remote), &to, FileMeta::default(), &counter);
    let (result, killed) = tokio::join!(upload, kill_during(&counter));
    assert_eq!(result.unwrap_err().kind(), Kind::Connect);
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());

    let ssh = ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap();
    let heard = tokio::sync::Notify::new();
    let cut = async {
        heard.notified().await;
        sshd.hang_up();
    };
    let mut out = Telling { out: Captured::default(), heard: &heard };
    let command = Command::shell("echo before; sleep 60");
    let (result, ()) = tokio::join!(ssh.exec(&command, &mut out), cut);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), out.out.stdout.as_slice()), (Kind::Connect, &b"before\n"[..]));
    assert!(error.to_string().contains("the command's end was not seen"), "{error}");
    assert_eq!(run(&*ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap(), "echo up").await.1, "up\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    // By SFTP and, above its limit, through the shell.
    for length in [1 << 20, 40 << 20] {
        let file = lib.write("file", vec![7; length]);
        let sent = ssh.upload(Source::File(&file), "/dev/full", FileMeta::default(), &Counter::default()).await;
        let error = sent.unwrap_err();
        assert!(error.message().contains("cannot write /dev/full on the machine"), "{error}");
        assert!(error.hints().iter().any(|h| h.contains("disk")), "{:?}", error.hints());
        assert_eq!(run(&*ssh, "echo on").await.1, "on\n");
    }
}

/// A transfer that outlives several key exchanges, which the server asks for as often as OpenSSH allows.
#[tokio::test(flavor = "multi_thread")]
async fn transfers_survive_new_keys() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("RekeyLimit 16M") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let content = noise(100 << 20);
    let local = lib.write("local", &content);
    let remote = lib.join("remote").display().to_string();
    let counter = Counter::default();
    ssh.upload(Source::File(&local), &remote, FileMeta::default(), &counter).await.unwrap();
    let back = lib.join("back");
    ssh.download(&remote, Sink::File(&back), &counter).await.unwrap();
    assert!(std::fs::read(back).unwrap() == content);
}

#[tokio::test]
async fn options_are_checked_before_anything_connects() {
    let lib = Library::new();
    let check = |options: SshOptions| options.validate(&lib.cx).unwrap_err();
    let error = check(SshOptions::default());
    assert!(error.message().contains("`ssh_username`: is required") && !error.hints().is_empty(), "{error}");
    let error = check(SshOptions { ssh_private_key_file: Some("keys/none".into()), ..options() });
    assert!(error.message().contains(&lib.join("keys/none").display().to_string()), "{error}");
    let error = check(SshOptions { ssh_port: Some(0), ..options() });
    assert!(error.message().contains("ssh_port"), "{error}");
    let good = SshOptions { ssh_timeout: Some(Seconds(Duration::from_secs(1))), ..options() };
    good.validate(&lib.cx).unwrap();
    let secret = SshOptions { ssh_password: Some("hunter2-long".into()), ..options() };
    secret.validate(&lib.cx).unwrap();
    assert!(!lib.cx.ui.secrets().mask("it is hunter2-long").contains("hunter2"));
}

/// Run by hand: `RIMG_MEASURE=1024 cargo test --release --test e2e measure_transfers -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn measure_transfers() {
    let lib = Library::new();
    // An interactive shell's start-up files are none of our business: bash skips them in an inner shell.
    let Some(sshd) = Sshd::start("SetEnv SHLVL=3") else { return };
    let mib: usize = std::env::var("RIMG_MEASURE").ok().and_then(|v| v.parse().ok()).unwrap_or(1024);
    let file = lib.write("file", noise(mib << 20));
    for n in 0..3000 {
        lib.write(format!("tree/{}/{n}", n / 100), noise(4096));
    }
    let ssh = connect(&sshd, &lib.cx).await;
    let counter = Counter::default();
    let to = lib.join("copy").display().to_string();
    let port = sshd.port;
    let key = sshd.user_key();
    let tool = |line: String| {
        let started = Instant::now();
        let status = std::process::Command::new("sh").arg("-c").arg(&line).status().unwrap();
        assert!(status.success(), "{line}");
        started.elapsed().as_secs_f64()
    };
    let options = format!("-i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -q", key.display());
    let mut rows = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        ssh.upload(Source::File(&file), &to, FileMeta::default(), &counter).await.unwrap();
        rows.push(("upload, ours", started.elapsed().as_secs_f64()));
        let source = file.display();
        rows.push(("upload, scp -O", tool(format!("scp -O -P {port} {options} {source} root@127.0.0.1:{to}"))));
        rows.push(("upload, scp", tool(format!("scp -P {port} {options} {source} root@127.0.0.1:{to}"))));
        let started = Instant::now();
        let back = lib.join("back");
        ssh.download(&to, Sink::File(&back), &counter).await.unwrap();
        rows.push(("download, ours", started.elapsed().as_secs_f64()));
        rows.push(("download, scp -O", tool(format!("scp -O -P {port} {options} root@127.0.0.1:{to} {to}-2"))));
        let tree = lib.join("tree");
        let started = Instant::now();
        ssh.upload(Source::Tree(&tree), &format!("{to}-tree"), FileMeta::default(), &counter).await.unwrap();
        rows.push(("3,000 files, ours", started.elapsed().as_secs_f64()));
        let line = format!(
            "mkdir {to}-t; tar -C {} -cf - . | ssh -p {port} {options} root@127.0.0.1 'tar -xf - -C {to}-t'",
            tree.display()
        );
        rows.push(("3,000 files, tar | ssh tar", tool(line)));
        let started = Instant::now();
        ssh.download(&format!("{to}-tree"), Sink::Tree(&lib.join("tree-back")), &counter).await.unwrap();
        rows.push(("3,000 files back, ours", started.elapsed().as_secs_f64()));
        let started = Instant::now();
        for _ in 0..20 {
            run(&*ssh, "true").await;
        }
        rows.push(("20 commands", started.elapsed().as_secs_f64()));
        tool(format!("rm -rf {to}-tree {to}-t {}", lib.join("tree-back").display()));
    }
    rows.sort_by(|a, b| a.0.cmp(b.0));
    #[expect(clippy::print_stderr, reason = "this is what it is for")]
    for (what, seconds) in rows {
        eprintln!("{what:28} {seconds:6.2} s");
    }
}
