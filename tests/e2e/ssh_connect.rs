//! The way to a machine over SSH: bastions, proxies, tunnels, `~/.ssh/config`, terminals, and servers that stall or die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rimg::communicator::ssh::{self, Bastion, ProxyType, SshOptions, Target, UseConfig};
use rimg::engine::{BuildCx, Command, Communicator, Seconds};
use rimg::error::{Error, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::communicator::{Captured, exec, failure, options, run};
use crate::support::library::Library;
use crate::support::rimg::Sandbox;
use crate::support::ssh_proxy::{self, Proxy};
use crate::support::ssh_stub::{Asks, Stub};
use crate::support::sshd::{Sshd, free_port};

const LIMIT: Duration = Duration::from_secs(20);

fn with_key(sshd: &Sshd) -> SshOptions {
    SshOptions { ssh_private_key_file: Some(sshd.user_key()), ..options() }
}

async fn to(port: u16, options: &SshOptions, cx: &BuildCx) -> Target {
    Target::new(options, "127.0.0.1", port, cx).await.unwrap()
}

async fn connect(port: u16, options: &SshOptions, cx: &BuildCx) -> Arc<dyn Communicator> {
    ssh::wait(&to(port, options, cx).await, LIMIT, cx).await.unwrap()
}

async fn fails(port: u16, options: &SshOptions, cx: &BuildCx) -> Error {
    failure(ssh::wait(&to(port, options, cx).await, Duration::from_secs(3), cx).await)
}

fn hop(sshd: &Sshd) -> Bastion {
    Bastion {
        host: "127.0.0.1".into(),
        port: Some(sshd.port),
        username: Some("root".into()),
        private_key_file: Some(sshd.user_key()),
        ..Bastion::default()
    }
}

/// Three servers, each with another key for its user: two to go through, and the machine.
fn servers() -> Option<[Sshd; 3]> {
    let log = "LogLevel VERBOSE";
    Some([Sshd::start(log)?, Sshd::start(log)?, Sshd::start(log)?])
}

fn logins(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_several_bastions_each_with_its_own_credentials() {
    let lib = Library::new();
    let Some([first, second, mut machine]) = servers() else { return };
    let mut options = with_key(&machine);
    options.bastions.ssh_bastions = Some(vec![hop(&first), hop(&second)]);
    // While the machine boots, the bastions are logged in to once.
    machine.stop();
    let target = to(machine.port, &options, &lib.cx).await;
    let booting = target.clone().booting();
    let (ssh, ()) = tokio::join!(ssh::wait(&booting, LIMIT, &lib.cx), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        machine.boot();
    });
    let ssh = ssh.unwrap();
    assert_eq!(run(&*ssh, "echo $SSH_CONNECTION | cut -d' ' -f4").await.1, format!("{}\n", machine.port));
    assert_eq!((logins(&first), logins(&second), logins(&machine)), (1, 1, 1));
    let bytes = vec![7u8; 5 << 20];
    let (status, counted, _) = exec(&*ssh, &Command { stdin: Some(bytes), ..Command::shell("wc -c") }).await;
    assert_eq!((status.code(), counted.as_str()), (0, "5242880\n"));
    // The connection is as good as the way.
    first.hang_up();
    tokio::time::timeout(LIMIT, ssh.closed()).await.unwrap();
    let again = ssh::wait(&booting, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(run(&*again, "echo back").await.1, "back\n");
    again.close().await;
    drop((ssh, again));

    // A hop's host key is pinned like the machine's.
    drop(second);
    let error = failure(ssh::wait(&target, Duration::from_secs(2), &lib.cx).await);
    assert!(error.message().contains("cannot log in to the bastion 127.0.0.1:"), "{error}");
    assert!(error.message().contains("it cannot connect to 127.0.0.1:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_the_way_names_the_hop() {
    let lib = Library::new();
    let Some([first, mut second, machine]) = servers() else { return };
    let mut options = with_key(&machine);
    options.bastions.ssh_bastions = Some(vec![hop(&first), hop(&second)]);
    let target = to(machine.port, &options, &lib.cx).await;
    ssh::wait(&target, LIMIT, &lib.cx).await.unwrap().close().await;
    second.stop();
    second.change_host_key();
    second.boot();
    let bastion = format!("cannot log in to the bastion 127.0.0.1:{} over SSH", second.port);
    let error = failure(ssh::wait(&target, LIMIT, &lib.cx).await);
    assert!(error.message().contains(&bastion) && error.message().contains("the host key has changed"), "{error}");

    let mut wrong = options.clone();
    let strange = Bastion { private_key_file: Some(first.user_key()), ..hop(&second) };
    wrong.bastions.ssh_bastions = Some(vec![hop(&first), strange]);
    let error = fails(machine.port, &wrong, &lib.cx).await;
    assert_eq!(error.kind(), Kind::Auth);
    assert!(error.message().contains(&bastion) && error.message().contains("authentication failed"), "{error}");

    let known = Bastion { host_key: Some(first.host_key()), ..hop(&second) };
    wrong.bastions.ssh_bastions = Some(vec![hop(&first), known]);
    let error = fails(machine.port, &wrong, &lib.cx).await;
    assert!(error.message().contains(&bastion) && error.message().contains("expected ssh-ed25519"), "{error}");

    let Some(strict) = Sshd::start("AllowTcpForwarding no") else { return };
    wrong.bastions.ssh_bastions = Some(vec![hop(&strict)]);
    let error = fails(machine.port, &wrong, &lib.cx).await;
    assert!(error.message().contains("the bastion does not lead there: it does not allow connections"), "{error}");
    assert!(error.hints().iter().any(|h| h.contains("AllowTcpForwarding")), "{:?}", error.hints());
}

#[tokio::test(flavor = "multi_thread")]
async fn packers_bastion_options_and_a_password() {
    let lib = Library::new();
    let Some([bastion, machine, _]) = servers() else { return };
    let mut options = with_key(&machine);
    options.bastions.ssh_bastion_host = Some("127.0.0.1".into());
    options.bastions.ssh_bastion_port = Some(bastion.port);
    options.bastions.ssh_bastion_private_key_file = Some(bastion.user_key());
    connect(machine.port, &options, &lib.cx).await.close().await;
    // Without a key of its own, the bastion is shown the machine's.
    options.bastions.ssh_bastion_private_key_file = None;
    let error = fails(machine.port, &options, &lib.cx).await;
    assert!(error.message().contains("the bastion") && error.kind() == Kind::Auth, "{error}");
    bastion.authorize(&std::fs::read_to_string(machine.user_key().with_extension("pub")).unwrap());
    connect(machine.port, &options, &lib.cx).await.close().await;

    let check = |change: fn(&mut SshOptions)| {
        let mut options = options.clone();
        change(&mut options);
        options.validate(&lib.cx).unwrap_err()
    };
    let error = check(|o| o.bastions.ssh_bastions = Some(Vec::new()));
    assert!(error.message().contains("given together with ssh_bastion_host"), "{error}");
    let error = check(|o| o.bastions.ssh_bastion_host = None);
    assert!(error.message().contains("`ssh_bastion_port`: is given without ssh_bastion_host"), "{error}");
    let error = check(|o| o.bastions.ssh_bastion_interactive = Some(true));
    assert!(error.message().contains("there is none"), "{error}");
    let error = check(|o| o.bastions.ssh_bastion_private_key_file = Some("no/key".into()));
    assert!(error.message().contains("option `ssh_bastion_private_key_file`: cannot read"), "{error}");
    let error = check(|o| o.bastions.ssh_bastion_host_key = Some("x".into()));
    assert!(error.message().contains("option `ssh_bastion_host_key`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_proxies_with_and_without_a_login() {
    let lib = Library::new();
    let Some([machine, inner, _]) = servers() else { return };
    for (kind, named) in [(ssh_proxy::Kind::Socks5, ProxyType::Socks5), (ssh_proxy::Kind::Http, ProxyType::Http)] {
        for login in [None, Some(("user", "proxy-secret"))] {
            let proxy = Proxy::start(kind, login).await;
            let mut options = with_key(&machine);
            options.proxy.ssh_proxy_host = Some("127.0.0.1".into());
            options.proxy.ssh_proxy_port = Some(proxy.port);
            options.proxy.ssh_proxy_type = named;
            if let Some((user, password)) = login {
                let error = fails(machine.port, &options, &lib.cx).await;
                assert!(error.message().contains("it wants a user and a password"), "{error}");
                options.proxy.ssh_proxy_username = Some(user.into());
                options.proxy.ssh_proxy_password = Some("wrong-secret".into());
                let started = Instant::now();
                let target = to(machine.port, &options, &lib.cx).await;
                let error = failure(ssh::wait(&target, Duration::from_secs(120), &lib.cx).await);
                assert!(error.message().contains("it refuses the login"), "{error}");
                assert!(started.elapsed() < Duration::from_secs(30), "a refused login is final");
                options.proxy.ssh_proxy_password = Some(password.into());
            }
            let ssh = connect(machine.port, &options, &lib.cx).await;
            assert_eq!(run(&*ssh, "echo through").await.1, "through\n");
            ssh.close().await;
            assert_eq!(proxy.asked(), [format!("127.0.0.1:{}", machine.port)]);
            let error = fails(free_port(), &options, &lib.cx).await;
            assert!(
                error.message().contains("proxy 127.0.0.1:") && error.message().contains("does not lead there"),
                "{error}"
            );
            // Names are the proxy's to resolve; a bastion comes after it.
            options.bastions.ssh_bastions = Some(vec![Bastion { host: "localhost".into(), ..hop(&machine) }]);
            options.ssh_private_key_file = Some(inner.user_key());
            connect(inner.port, &options, &lib.cx).await.close().await;
            assert_eq!(proxy.asked().last().unwrap(), &format!("localhost:{}", machine.port));
        }
    }
    let mut options = with_key(&machine);
    options.proxy.ssh_proxy_host = Some("127.0.0.1".into());
    options.proxy.ssh_proxy_port = Some(machine.port);
    let error = fails(machine.port, &options, &lib.cx).await;
    assert!(error.message().contains("it does not speak SOCKS5"), "{error}");
}

/// A server that answers each connection with its port, and what it received.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut received = Vec::new();
                let _ = stream.read_to_end(&mut received).await;
                let _ = stream.write_all(format!("{port} ").as_bytes()).await;
                let _ = stream.write_all(&received).await;
            });
        }
    });
    port
}

async fn ask(port: u16, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_both_ways_and_again_after_a_reconnect() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let (echo, local, remote) = (echo().await, free_port(), free_port());
    let mut options = with_key(&sshd);
    options.tunnels.ssh_local_tunnels = vec![format!("{local}:127.0.0.1:{echo}")];
    options.tunnels.ssh_remote_tunnels = vec![format!("{remote}:localhost:{echo}")];
    let target = to(sshd.port, &options, &lib.cx).await;
    let words = vec![b'w'; 1 << 20];
    let expected = [format!("{echo} ").as_bytes(), &words].concat();
    for _ in 0..2 {
        let ssh = ssh::wait(&target, LIMIT, &lib.cx).await.unwrap();
        for port in [local, remote] {
            let many = futures_util::future::join_all((0..5).map(|_| ask(port, &words))).await;
            assert!(many.iter().all(|answer| *answer == expected), "port {port}");
        }
        sshd.hang_up();
        tokio::time::timeout(LIMIT, ssh.closed()).await.unwrap();
    }
    let ssh = ssh::wait(&target, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(ask(local, b"x").await, format!("{echo} x").as_bytes());
    ssh.close().await;
    // The machine's port is given back with the connection, ours with the machine.
    drop((ssh, target));
    for port in [remote, local] {
        let deadline = Instant::now() + LIMIT;
        while TcpListener::bind(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "the port is still taken");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_port_is_taken_says_which() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut options = with_key(&sshd);
    options.tunnels.ssh_local_tunnels = vec![format!("{port}:localhost:1")];
    let error = fails(sshd.port, &options, &lib.cx).await;
    assert!(error.message().contains(&format!("option `ssh_local_tunnels`: port {port} is taken")), "{error}");
    options.tunnels.ssh_local_tunnels = Vec::new();
    options.tunnels.ssh_remote_tunnels = vec![format!("127.0.0.1:{port}:localhost:1")];
    let error = failure(ssh::connect(&to(sshd.port, &options, &lib.cx).await, &lib.cx).await);
    assert!(error.message().contains(&format!("the remote tunnel from its port {port} could not be made")), "{error}");
    // A tunnel that leads nowhere closes what comes, and the connection lives.
    let (local, nowhere) = (free_port(), free_port());
    options.tunnels.ssh_remote_tunnels = Vec::new();
    options.tunnels.ssh_local_tunnels = vec![format!("{local}:127.0.0.1:{nowhere}")];
    let ssh = connect(sshd.port, &options, &lib.cx).await;
    assert_eq!(ask(local, b"x").await, b"");
    assert_eq!(run(&*ssh, "echo lives").await.1, "lives\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_an_ssh_configuration() {
    let lib = Library::new();
    let Some([first, second, machine]) = servers() else { return };
    let port = |sshd: &Sshd| sshd.port;
    lib.write(
        "ssh/config",
        format!(
            "Include hosts.d/*.conf\nHost web\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n  \
             IdentitiesOnly yes\n  ProxyJump jump2\n  Ciphers aes256-ctr,unheard-of\n  ServerAliveInterval 3\nHost *\n  User nobody\n",
            port(&machine),
            machine.user_key().display()
        ),
    );
    lib.write(
        "ssh/hosts.d/jumps.conf",
        format!(
            "Host jump*\n  HostName 127.0.0.1\n  User root\n  IdentitiesOnly yes\nHost jump1\n  Port {}\n  IdentityFile {}\n\
             Host jump2\n  Port {}\n  IdentityFile {}\n  ProxyJump jump1\n",
            port(&first),
            first.user_key().display(),
            port(&second),
            second.user_key().display()
        ),
    );
    let options = SshOptions { ssh_use_config: UseConfig::File("ssh/config".into()), ..SshOptions::default() };
    let target = Target::new(&options, "web", 22, &lib.cx).await.unwrap();
    assert_eq!(target.address(), format!("127.0.0.1:{}", machine.port));
    let ssh = ssh::wait(&target, LIMIT, &lib.cx).await.unwrap();
    assert_eq!(run(&*ssh, "id -un").await.1, "root\n");
    assert_eq!((logins(&first), logins(&second), logins(&machine)), (1, 1, 1));
    ssh.close().await;
    // What the script says goes before the configuration.
    let port = Some(second.port);
    let options = SshOptions { ssh_port: port, ssh_private_key_file: Some(second.user_key()), ..options };
    let target = Target::new(&options, "web", 22, &lib.cx).await.unwrap();
    assert_eq!(target.address(), format!("127.0.0.1:{}", second.port));
    ssh::wait(&target, LIMIT, &lib.cx).await.unwrap().close().await;

    lib.write("ssh/config", "Host web\n  ProxyJump web\n");
    let circle = SshOptions { ssh_username: Some("root".into()), ..options };
    let Err(error) = Target::new(&circle, "web", 22, &lib.cx).await else { panic!("a circle") };
    assert!(error.message().contains("in a circle"), "{error}");
    let missing = SshOptions { ssh_use_config: UseConfig::File("ssh/none".into()), ..circle };
    let Err(error) = Target::new(&missing, "web", 22, &lib.cx).await else { panic!("no file") };
    assert!(error.message().contains("option `ssh_use_config`: cannot read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_with_a_terminal() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let plain = connect(sshd.port, &with_key(&sshd), &lib.cx).await;
    assert_eq!(run(&*plain, "tty").await.1, "not a tty\n");
    let ssh = connect(sshd.port, &SshOptions { ssh_pty: true, ..with_key(&sshd) }, &lib.cx).await;
    let (status, out, _) = run(&*ssh, "tty && test -t 0 -a -t 1 -a -t 2 && : </dev/tty && exit 3").await;
    assert!(out.starts_with("/dev/pts/"), "{out}");
    assert_eq!(status.code(), 3);
    // One stream, line ends as they are, nothing echoed, and an end of input for what reads.
    let (_, out, errors) = run(&*ssh, "echo out; echo err >&2; cat; printf 'a\\tb'").await;
    assert_eq!((out.as_str(), errors.as_str()), ("out\nerr\na\tb", ""));
    for input in ["line\n", "no end", "\u{3}\u{1a}\u{11}\r\n", "\u{4}end of text\n", ""] {
        let command = Command { stdin: Some(input.into()), ..Command::shell("cat; echo \"[$(tty)]\" >/dev/null") };
        assert_eq!(exec(&*ssh, &command).await.1, input, "{input:?}");
    }
    // More than a terminal holds, in lines that it takes and in one that it does not.
    for long in [
        "x".repeat(70).split_inclusive('x').map(|_| "0123456789abcdef\n").collect::<String>().repeat(200),
        "y".repeat(100_000),
    ] {
        let command = Command { stdin: Some(long.clone().into()), ..Command::shell("cat") };
        assert!(exec(&*ssh, &command).await.1 == long, "{} bytes", long.len());
    }
    let Some(strict) = Sshd::start("PermitTTY no") else { return };
    let ssh = connect(strict.port, &SshOptions { ssh_pty: true, ..with_key(&strict) }, &lib.cx).await;
    let error = ssh.exec(&Command::shell("true"), &mut Captured::default()).await.unwrap_err();
    assert!(error.message().contains("refuses a terminal"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hangs_is_noticed() {
    let lib = Library::new();
    let seconds = |s: f64| Some(Seconds(Duration::from_secs_f64(s)));
    // By unanswered keep-alives, or by silence alone.
    for (keep_alive, silence) in [(seconds(0.2), None), (seconds(0.0), seconds(2.0))] {
        let Some(sshd) = Sshd::start("") else { return };
        let options =
            SshOptions { ssh_keep_alive_interval: keep_alive, ssh_read_write_timeout: silence, ..with_key(&sshd) };
        let ssh = connect(sshd.port, &options, &lib.cx).await;
        assert_eq!(run(&*ssh, "sleep 0.5; echo alive").await.1, "alive\n");
        let started = Instant::now();
        let mut out = Captured::default();
        let command = Command::shell("sleep 60");
        let (ended, ()) = tokio::join!(tokio::time::timeout(LIMIT, ssh.exec(&command, &mut out)), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sshd.freeze();
        });
        let error = ended.expect("the dead machine is noticed").unwrap_err();
        assert_eq!(error.kind(), Kind::Connect, "{error}");
        assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

/// A server that says `first` and then nothing more; counts its connections.
async fn stalls(first: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(first).await;
            held.push(stream);
        }
    });
    (port, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_is_left_at_every_stage() {
    let lib = Library::new();
    let quick = SshOptions {
        ssh_password: Some("some-password".into()),
        ssh_handshake_timeout: Some(Seconds(Duration::from_millis(700))),
        ..options()
    };
    let (banner, tries) = stalls(b"").await;
    let error = fails(banner, &quick, &lib.cx).await;
    assert!(error.message().contains("no banner came"), "{error}");
    assert!(tries.load(Ordering::SeqCst) >= 2, "it is tried again");
    let (keys, tries) = stalls(b"SSH-2.0-stall\r\n").await;
    let error = fails(keys, &quick, &lib.cx).await;
    assert!(error.message().contains("the SSH handshake failed: no answer in time"), "{error}");
    assert!(tries.load(Ordering::SeqCst) >= 2, "it is tried again");

    let silent = Stub::start(Asks::Nothing).await;
    let error = failure(ssh::connect(&to(silent.port, &quick, &lib.cx).await, &lib.cx).await);
    assert_eq!(error.kind(), Kind::Auth);
    assert!(error.message().contains("it did not answer in time"), "{error}");

    let closed = Stub::start(Asks::PasswordAndNoChannel).await;
    let password = crate::support::ssh_stub::PASSWORD.to_owned();
    let options = SshOptions { ssh_password: Some(password), ..quick };
    let ssh = connect(closed.port, &options, &lib.cx).await;
    let started = Instant::now();
    let error = ssh.exec(&Command::shell("true"), &mut Captured::default()).await.unwrap_err();
    assert!(error.message().contains("did not open a channel within 700ms"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_script_says_how_to_get_there() {
    let Some([first, second, machine]) = servers() else { return };
    let sandbox = Sandbox::new();
    let key = |sshd: &Sshd| sshd.user_key().display().to_string();
    let script = format!(
        "local rimg = require 'rimg'\nlocal vm = rimg.host {{\n  name = 'web', ssh_host = '127.0.0.1', ssh_port = {}, \
         ssh_username = 'root', ssh_private_key_file = '{}', ssh_pty = true, ssh_ciphers = {{ 'aes256-ctr' }},\n  \
         ssh_bastions = {{\n    {{ host = '127.0.0.1', port = {}, private_key_file = '{}' }},\n    \
         {{ host = '127.0.0.1', port = {}, private_key_file = '{}', password = 'bastion-secret' }},\n  }},\n}}\n\
         assert(vm:run('tty').stdout:match '^/dev/pts/')\nvm:shell {{ inline = {{ 'echo $SECRET >/dev/null', 'tty' }}, env = {{ SECRET = 'x' }} }}\n\
         vm:run 'echo bastion-secret'\n",
        machine.port,
        key(&machine),
        first.port,
        key(&first),
        second.port,
        key(&second)
    );
    let run = sandbox.run(&script, &[]);
    let run = run.expect_code(0);
    assert_eq!((logins(&first), logins(&second), logins(&machine)), (1, 1, 1));
    assert!(!run.stdout.contains("bastion-secret") && !run.stderr.contains("bastion-secret"), "{run:?}");
    let wrong = script.replace("password = 'bastion-secret'", "pasword = 'x'");
    sandbox.write("wrong.lua", wrong);
    let check = sandbox.rimg(["check", "wrong.lua"]);
    assert!(
        check.stderr.contains("ssh_bastions[2].pasword") && check.stderr.contains("did you mean `password`?"),
        "{check:?}"
    );
}
