//! What the native provisioners do to a real machine: this one, over a real sshd.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::builder::REGISTRY;
use rimg::engine::options::{Env, FileMode};
use rimg::engine::{Line, OperationOptions, Seconds, Session, Value};
use rimg::error::{Error, Kind, Result};
use rimg::provisioner::download::{DownloadOptions, download};
use rimg::provisioner::facts::facts;
use rimg::provisioner::power::{RebootOptions, reboot};
use rimg::provisioner::run::{RunOptions, run};
use rimg::provisioner::shell::{ShellOptions, shell};
use rimg::provisioner::template::template;
use rimg::provisioner::upload::{UploadOptions, upload};
use rimg::provisioner::write::{ReadOptions, WriteOptions, read, write};

use crate::support::library::Library;
use crate::support::sshd::Sshd;

/// Something of everything a shell could take for its own.
const CANARY: &str = "it's \"quoted\" $HOME `id` $(id) \\n \\ * ~ #x ; & | <\n two\t!\n end\n";

struct Bench {
    library: Library,
    session: Arc<Session>,
    sshd: Sshd,
}

async fn session(name: &str, options: serde_json::Value, library: &Library) -> Result<Arc<Session>> {
    let entry = REGISTRY.iter().find(|entry| entry.name == name).expect("a builder of that name");
    let builder = (entry.decode)(Value::from(options))?;
    Session::launch(builder, library.cx.clone(), false).await
}

/// Starts an sshd and logs in to it with `rimg.host`; none when there is no sshd.
async fn bench(extra: &str) -> Option<Bench> {
    let sshd = Sshd::start(extra)?;
    let library = Library::new();
    let options = serde_json::json!({
        "name": "vm",
        "ssh_host": "127.0.0.1",
        "ssh_port": sshd.port,
        "ssh_username": "root",
        "ssh_private_key_file": sshd.user_key(),
        "ssh_timeout": "20s",
    });
    let session = session("host", options, &library).await.expect("rimg.host reaches the sshd");
    Some(Bench { library, session, sshd })
}

impl Bench {
    async fn run(&self, line: &str) -> String {
        run(&self.session, Line::Shell(line.into()), RunOptions::default()).await.expect("the command works").stdout
    }

    fn path(&self, name: &str) -> String {
        self.library.join(name).display().to_string()
    }

    async fn left_over(&self) -> String {
        self.run("ls /tmp | grep -E '^rimg-[0-9a-f]{32}$' || true").await
    }
}

fn inline(text: &str) -> ShellOptions {
    ShellOptions::text(text)
}

fn env(name: &str, value: &str) -> Env {
    Env(vec![(name.to_owned(), Some(value.to_owned()))])
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_their_environment_literally_and_leave_nothing() {
    let Some(bench) = bench("").await else { return };
    for execute_command in [None, Some("{{ .Vars }} sh '{{ .Path }}'".to_owned())] {
        let options = ShellOptions {
            env: env("CANARY", CANARY),
            sudo: execute_command.is_none(),
            execute_command,
            remote_folder: Some(bench.path("")),
            ..inline("printf %s \"$CANARY\"; cat; tr '\\0' ' ' </proc/$PPID/cmdline >&2")
        };
        let result = shell(&bench.session, options).await.unwrap();
        assert_eq!(result.stdout, CANARY);
        assert!(!result.stderr.contains("quoted"), "the environment is in a process list: {}", result.stderr);
    }
    assert!(bench.library.names("").is_empty(), "{:?}", bench.library.names(""));
    let options = RunOptions { env: env("CANARY", CANARY), cwd: Some("/usr".into()), ..RunOptions::default() };
    let argv = ["sh", "-c", "printf %s \"$CANARY$1|$PWD\"", "x", CANARY].map(str::to_owned);
    let result = run(&bench.session, Line::Argv(argv.to_vec()), options).await.unwrap();
    assert_eq!(result.stdout, format!("{CANARY}{CANARY}|/usr"));
}

#[tokio::test(flavor = "multi_thread")]
async fn script_files_with_windows_line_ends_run_in_order() {
    let Some(bench) = bench("").await else { return };
    let log = bench.path("log");
    bench.library.write("a.sh", format!("#!/bin/bash\r\n[[ a == a ]] && echo a >> {log}\r\n"));
    bench.library.write("b.sh", format!("echo b >> {log}\nexit 9\n"));
    bench.library.write("c.sh", format!("echo c >> {log}\n"));
    let scripts = ["a.sh", "b.sh", "c.sh"].map(str::to_owned).to_vec();
    let remote_folder = Some(bench.path("remote"));
    std::fs::create_dir(bench.path("remote")).unwrap();
    let options = ShellOptions { scripts, remote_folder, ..ShellOptions::default() };
    let error = shell(&bench.session, options.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.get("status")), (Kind::Command, Some(&9.into())));
    assert!(error.message().starts_with("vm: shell `b.sh`: exited with status 9"), "{error}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\nb\n");
    let options = ShellOptions { valid_exit_codes: Some(vec![0, 9]), ..options };
    assert!(shell(&bench.session, options).await.unwrap().ok);
    assert!(bench.library.names("remote").is_empty(), "{:?}", bench.library.names("remote"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_script_is_tried_again() {
    let Some(bench) = bench("").await else { return };
    let file = bench.path("tries");
    let script = format!("echo x >> {file}; [ $(wc -l < {file}) = 3 ]");
    let twice = OperationOptions { max_retries: 2, ..OperationOptions::default() };
    assert!(twice.enter(shell(&bench.session, inline(&script))).await.unwrap().ok);
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_is_an_error_unless_expected_and_the_next_operation_connects_anew() {
    let Some(bench) = bench("").await else { return };
    let hang_up = async |bench: &Bench| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bench.sshd.hang_up();
        Ok::<(), Error>(())
    };
    let (error, _) = tokio::join!(shell(&bench.session, inline("sleep 20")), hang_up(&bench));
    // The command may be seen to be killed before the connection is.
    let error = error.unwrap_err();
    assert!(error.kind() == Kind::Connect || error.get("status") == Some(&137.into()), "{error}");
    let options = ShellOptions { expect_disconnect: true, ..inline("sleep 20") };
    assert_eq!(bench.run("echo back").await, "back\n");
    let (result, _) = tokio::join!(shell(&bench.session, options), hang_up(&bench));
    let result = result.unwrap();
    assert!(result.ok && result.disconnected);
    assert_eq!(bench.run("echo back").await, "back\n");
    // Between two operations, too.
    hang_up(&bench).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.run("echo back").await, "back\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_and_a_cancellation_end_the_command_at_once() {
    let Some(bench) = bench("").await else { return };
    let started = Instant::now();
    std::fs::create_dir(bench.path("remote")).unwrap();
    let options = ShellOptions {
        remote_folder: Some(bench.path("remote")),
        ..inline(&format!("echo $$ > {}; sleep 60", bench.path("pid")))
    };
    let limited = OperationOptions { timeout: Seconds::parse("2s"), ..OperationOptions::default() };
    assert_eq!(limited.enter(shell(&bench.session, options)).await.unwrap_err().kind(), Kind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // The script is told to end, and what it left is removed.
    let pid = std::fs::read_to_string(bench.path("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    let gone = || !std::path::Path::new(&process).exists() && bench.library.names("remote").is_empty();
    for _ in 0..100 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(gone(), "{process} {:?}", bench.library.names("remote"));
    assert_eq!(bench.run("echo still here").await, "still here\n");
    let scope = bench.library.cx.scope.clone();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        scope.cancel(Error::new(Kind::Cancelled, "stop"));
    };
    let started = Instant::now();
    let (result, ()) = tokio::join!(run(&bench.session, Line::Shell("sleep 60".into()), RunOptions::default()), cancel);
    assert_eq!(result.unwrap_err().kind(), Kind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn big_output_is_bounded_and_its_end_is_in_the_error() {
    let Some(bench) = bench("").await else { return };
    let options = RunOptions { quiet: true, check: Some(false), ..RunOptions::default() };
    let line = Line::Shell("head -c 40000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1".into());
    let result = run(&bench.session, line.clone(), options.clone()).await.unwrap();
    assert_eq!((result.status, result.stdout.len(), result.truncated), (1, 16 << 20, true));
    let error = run(&bench.session, line, RunOptions { check: None, ..options }).await.unwrap_err();
    assert!(error.message().ends_with("the end"), "{}", error.message().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_trees_go_where_the_slashes_say_and_come_back() {
    let Some(bench) = bench("").await else { return };
    bench.library.write("site/conf/a.txt", "a");
    bench.library.write("site/b", vec![7; 100_000]);
    let there = bench.path("there");
    for (src, dst) in [("site", "/x"), ("site/", "/y"), ("site/b", "/z/"), ("site/b", "/renamed")] {
        let dst = format!("{there}{dst}");
        std::fs::create_dir_all(bench.library.join("there/z")).unwrap();
        let sent = upload(&bench.session, src, &dst, &UploadOptions::default()).await.unwrap();
        assert!(sent >= 100_000, "{sent}");
    }
    for path in ["x/site/conf/a.txt", "y/conf/a.txt", "y/b", "z/b", "renamed"] {
        assert!(bench.library.join("there").join(path).is_file(), "{path}");
    }
    let options = DownloadOptions::default();
    download(&bench.session, &format!("{there}/y"), "got", &options).await.unwrap();
    download(&bench.session, &format!("{there}/y/"), "flat", &options).await.unwrap();
    download(&bench.session, &format!("{there}/y/b"), "one", &options).await.unwrap();
    for path in ["got/y/b", "flat/b", "one"] {
        assert_eq!(std::fs::read(bench.library.join(path)).unwrap(), vec![7; 100_000], "{path}");
    }
    let error = download(&bench.session, "/no/such", "x", &options).await.unwrap_err();
    assert!(error.message().contains("/no/such"), "{error}");
    assert!(!bench.library.join("x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn root_puts_files_where_the_user_could_not() {
    let Some(bench) = bench("").await else { return };
    bench.library.write("secret", "s3cret");
    let target = bench.path("etc/app/secret");
    let options = UploadOptions {
        sudo: true,
        mode: Some(FileMode(0o640)),
        owner: Some("1:2".into()),
        ..UploadOptions::default()
    };
    upload(&bench.session, "secret", &target, &options).await.unwrap();
    let meta = std::fs::metadata(&target).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid(), meta.gid()), (0o640, 1, 2));
    write(&bench.session, &target, b"new", &WriteOptions { sudo: true, ..WriteOptions::default() }).await.unwrap();
    let meta = std::fs::metadata(&target).unwrap();
    assert_eq!((meta.permissions().mode() & 0o777, meta.uid(), meta.len()), (0o640, 1, 3));
    let bytes: Vec<u8> = (0..=255).collect();
    write(&bench.session, &bench.path("plain"), &bytes, &WriteOptions::default()).await.unwrap();
    assert_eq!(read(&bench.session, &bench.path("plain"), &ReadOptions::default()).await.unwrap(), bytes);
    assert_eq!(read(&bench.session, &bench.path("plain"), &ReadOptions { sudo: true }).await.unwrap(), bytes);
    bench.library.write("t.conf", "name={{ name }}\n");
    let vars = serde_json::json!({ "name": CANARY });
    template(&bench.session, "t.conf", &bench.path("out.conf"), &vars, &WriteOptions::default()).await.unwrap();
    assert_eq!(std::fs::read_to_string(bench.path("out.conf")).unwrap(), format!("name={CANARY}\n"));
    assert_eq!(bench.left_over().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_those_of_this_machine() {
    let Some(bench) = bench("").await else { return };
    let facts = facts(&bench.session).await.unwrap();
    assert_eq!((facts.user.as_str(), facts.is_root, facts.system.as_str()), ("root", true, "linux"));
    assert!(facts.cpus > 0 && facts.memory > 0 && !facts.kernel.is_empty(), "{facts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_that_does_not_happen_is_noticed() {
    let Some(bench) = bench("").await else { return };
    let options = RebootOptions { command: Some("true".into()), ..RebootOptions::default() };
    let limited = OperationOptions { timeout: Seconds::parse("1500ms"), ..OperationOptions::default() };
    let error = limited.enter(reboot(&bench.session, options)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.message().contains("did not go down"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_trivial_steps_share_one_connection() {
    let Some(bench) = bench("").await else { return };
    let started = Instant::now();
    for n in 0..20 {
        shell(&bench.session, inline(&format!("echo {n}"))).await.unwrap();
    }
    let elapsed = started.elapsed();
    assert_eq!(bench.sshd.connections(), 1);
    // The benchmark measures; this only notices a second round trip or a needless wait.
    assert!(elapsed < Duration::from_secs(15), "20 shell steps took {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_and_this_host_are_left_as_they_are() {
    let library = Library::new();
    let here = session("localhost", serde_json::json!({}), &library).await.unwrap();
    let result = run(&here, Line::Shell("pwd".into()), RunOptions::default()).await.unwrap();
    let folder = std::fs::canonicalize(library.join("")).unwrap();
    assert_eq!(std::fs::canonicalize(result.stdout.trim()).unwrap(), folder);
    library.write("one", "1");
    upload(&here, "one", "sub/", &UploadOptions::default()).await.unwrap();
    assert_eq!(std::fs::read_to_string(library.join("sub/one")).unwrap(), "1");
    assert_eq!(reboot(&here, RebootOptions::default()).await.unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(here.shutdown(None, None).await.unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(here.shutdown(Some("echo > off"), None).await.unwrap_err().kind(), Kind::Unsupported);
    assert!(!library.join("off").exists());

    let error = session("host", serde_json::json!({ "ssh_username": "x" }), &library).await.err().unwrap();
    assert!(error.message().contains("`ssh_host` is required"), "{error}");
    let Some(bench) = bench("").await else { return };
    let error = bench.session.shutdown(None, None).await.unwrap_err();
    assert!(error.message().contains("no power button") && !error.hints().is_empty(), "{error}");
    assert_eq!(bench.run("echo up").await, "up\n");
}
