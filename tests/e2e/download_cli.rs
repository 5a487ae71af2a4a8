//! `rimg download` and `rimg cache`; runs that meet; proxies; S3.

use std::time::Duration;

use rimg::host::digest::{Algorithm, of_bytes};
use serde_json::Value;

use crate::support::http::{Answer, Server};
use crate::support::rimg::{Run, Sandbox};
use crate::support::s3::S3;

fn body() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256() -> String {
    format!("sha256:{}", of_bytes(Algorithm::Sha256, &body()))
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

#[tokio::test(flavor = "multi_thread")]
async fn download_prints_the_path_and_the_cache_shows_and_forgets_it() {
    let sandbox = Sandbox::new();
    let server = Server::start(|request, _| match request.path.as_str() {
        "/x.iso" => Answer::ok(body()),
        "/y.iso" => Answer { headers: vec![("etag", "\"1\"".into())], ..Answer::ok("small") },
        _ => Answer::status(404),
    })
    .await;
    let (x, y) = (server.url("/x.iso"), server.url("/y.iso"));
    let run = sandbox.rimg(["download", &server.url("/no"), &x, "--checksum", &sha256()]).expect_code(0);
    let path = run.stdout.trim_end().to_owned();
    assert!(std::fs::read(&path).unwrap() == body());
    assert!(run.stderr.contains("/no answers 404"), "{}", run.stderr);
    let run = sandbox.rimg(["download", &y]).expect_code(0);
    let digest = format!("sha256:{}", of_bytes(Algorithm::Sha256, b"small"));
    assert!(run.stderr.contains(&digest), "{}", run.stderr);
    let answer = json(&sandbox.rimg(["download", &y, "--json"]).expect_code(0));
    assert_eq!((&answer["digest"], &answer["size"]), (&Value::from(digest), &Value::from(5)));
    sandbox.rimg(["download", &x, "--to", "here.iso", "--checksum", &sha256()]).expect_code(0);
    assert!(std::fs::read(sandbox.join("here.iso")).unwrap() == body());
    assert_eq!(server.requests().iter().filter(|request| request.path == "/x.iso").count(), 1);

    let text = sandbox.rimg(["cache", "ls"]).expect_code(0).stdout;
    for expected in ["2.86 MiB", &x, &path, "5 B", &y, "2.86 MiB in all."] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    let listed = json(&sandbox.rimg(["cache", "ls", "--json"]).expect_code(0));
    assert_eq!((&listed["total"], &listed["downloads"][0]["origin"]), (&Value::from(3_000_005), &Value::from(x)));
    // Nothing is that old.
    let pruned = json(&sandbox.rimg(["cache", "prune", "--json"]).expect_code(0));
    assert_eq!((&pruned["freed"], &pruned["removed"]["downloads"]), (&Value::from(0), &Value::Array(vec![])));
    let would = sandbox.rimg(["cache", "prune", "--max-size", "1M", "--dry-run"]).expect_code(0).stdout;
    assert!(would.contains("Would remove 2.86 MiB in all."), "{would}");
    let pruned = sandbox.rimg(["cache", "prune", "--max-size", "1M"]).expect_code(0).stdout;
    assert!(pruned.contains("Removed 2.86 MiB in all.") && !std::fs::exists(&path).unwrap(), "{pruned}");
    let pruned = sandbox.rimg(["cache", "prune", "--unused-for", "0"]).expect_code(0).stdout;
    assert!(pruned.contains(&y), "{pruned}");
    assert_eq!(sandbox.rimg(["cache", "ls"]).expect_code(0).stdout, "The cache is empty.\n");
    sandbox.rimg(["cache", "clear"]).expect_code(0);
    let left: Vec<_> = std::fs::read_dir(sandbox.join(".cache/downloads")).unwrap().flatten().collect();
    assert!(left.iter().all(|file| file.file_name().to_string_lossy().ends_with(".lock")), "{left:?}");
    assert!(sandbox.join("here.iso").exists());
    sandbox.rimg(["download", "--checksum", "md5:1", "x"]).expect_code(2).expect_errors(&["--checksum"]);
    sandbox.rimg(["download", "ftp://x/y"]).expect_code(2).expect_errors(&["cannot download over ftp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_download_is_taken_up_and_two_runs_share_one() {
    let sandbox = Sandbox::new();
    let server = Server::start(|request, before| match before {
        0 => Answer { stall_after: Some(1_500_000), ..Answer::ok(body()) },
        _ => Answer::ranged(request, &body()),
    })
    .await;
    let args = ["download", &server.url("/x.iso"), "--checksum", &sha256()];
    let mut first = sandbox.command(args).stderr(std::process::Stdio::null()).spawn().unwrap();
    let part = sandbox.join(format!(".cache/downloads/sha256-{}.part", of_bytes(Algorithm::Sha256, &body())));
    for _ in 0..500 {
        if std::fs::metadata(&part).is_ok_and(|meta| meta.len() == 1_500_000) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listed = json(&sandbox.rimg(["cache", "ls", "--json"]));
    let entry = &listed["downloads"][0];
    assert_eq!((&entry["partial"], &entry["in_use"]), (&Value::Bool(true), &Value::Bool(true)), "{listed}");
    sandbox.rimg(["cache", "clear"]).expect_code(0);
    assert!(part.exists(), "it is being written");
    // Another run waits, and says for what; then it goes on where the first was killed.
    let said = sandbox.join("said");
    let mut second = sandbox.command(args);
    second.stdout(std::process::Stdio::piped()).stderr(std::fs::File::create(&said).unwrap());
    let second = second.spawn().unwrap();
    for _ in 0..500 {
        if sandbox.read(&said).contains("Another run is downloading") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.requests().len(), 1);
    first.kill().unwrap();
    first.wait().unwrap();
    let run = Run::from(second.wait_with_output().unwrap()).expect_code(0);
    let said = sandbox.read(&said);
    assert!(said.contains("Another run is downloading") && said.contains("Going on"), "{said}");
    assert!(std::fs::read(run.stdout.trim_end()).unwrap() == body());
    assert_eq!(server.header("range"), [None, Some("bytes=1500000-".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_works_with_is_left_by_prune() {
    let sandbox = Sandbox::new();
    let server = Server::start(|_, _| Answer::ok(body())).await;
    let source = format!(
        "local rimg = require 'rimg'\nrimg.download {{ url = '{}', checksum = 'none' }}\nprint 'READY'\nrimg.sleep '20s'",
        server.url("/x.iso")
    );
    let mut run = sandbox.start(&source, &[]);
    run.wait_for("READY", Duration::from_secs(20));
    let text = sandbox.rimg(["cache", "prune", "--unused-for", "0"]).expect_code(0).stdout;
    assert!(text.contains("In use, left") && text.contains("Removed 0 B"), "{text}");
    run.interrupt();
    run.end(Duration::from_secs(10)).expect_code(130);
    let text = sandbox.rimg(["cache", "clear"]).expect_code(0).stdout;
    assert!(text.contains("Removed 2.86 MiB"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environments_proxies_are_used() {
    let sandbox = Sandbox::new();
    // A proxy is asked with the whole URL; for https it is asked for a tunnel.
    let proxy = Server::start(|request, _| match request.method.as_str() {
        "CONNECT" => Answer::status(403),
        _ => Answer::ok("by proxy"),
    })
    .await;
    let direct = Server::start(|_, _| Answer::ok("direct")).await;
    let run = |url: &str, vars: &[(&str, &str)]| {
        let mut command = sandbox.command(["download", url]);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        Run::of(command.envs(vars.iter().copied()))
    };
    let text = |run: Run| std::fs::read_to_string(run.expect_code(0).stdout.trim_end()).unwrap();
    let with_password = proxy.url("").replace("http://", "http://me:secret@");
    assert_eq!(text(run("http://files.test/a", &[("HTTP_PROXY", &with_password)])), "by proxy");
    let first = proxy.requests().remove(0);
    assert_eq!(first.path, "http://files.test/a");
    assert_eq!(first.headers["proxy-authorization"], "Basic bWU6c2VjcmV0");
    assert_eq!(text(run("http://files.test/b", &[("ALL_PROXY", &proxy.url(""))])), "by proxy");
    let url = direct.url("/c");
    assert_eq!(text(run(&url, &[("HTTP_PROXY", &proxy.url("")), ("NO_PROXY", "127.0.0.1,example.org")])), "direct");
    run("https://files.test/d", &[("HTTPS_PROXY", &proxy.url(""))]).expect_code(1).expect_errors(&["files.test/d"]);
    let last = proxy.requests().pop().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("CONNECT", "files.test:443"));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_s3_are_downloads_too() {
    let Some(s3) = S3::start().await else { return };
    let hex = of_bytes(Algorithm::Sha256, &body());
    s3.put("images", "a b/x y.qcow2", body()).await;
    s3.put("images", "a b/SHA256SUMS", format!("{hex}  x y.qcow2\n")).await;
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| Run::of(sandbox.command(args).env_remove("AWS_PROFILE").envs(s3.environment()));
    let url = "s3://images/a b/x y.qcow2";
    let done = run(&["download", url, "--checksum", "file:SHA256SUMS"]).expect_code(0);
    assert!(std::fs::read(done.stdout.trim_end()).unwrap() == body());
    // From the middle.
    sandbox.rimg(["cache", "clear"]).expect_code(0);
    sandbox.write(format!(".cache/downloads/sha256-{hex}.part"), &body()[..2_000_000]);
    let done = run(&["download", url, "--checksum", &hex]).expect_code(0);
    assert!(done.stderr.contains("Going on") && std::fs::read(done.stdout.trim_end()).unwrap() == body());
    run(&["download", "s3://images/no"]).expect_code(1).expect_errors(&["s3://images/no", "NoSuchKey"]);
    let source = format!("print(require('rimg').download {{ url = '{url}', checksum = '{hex}' }})");
    sandbox.write("build.lua", source);
    run(&["run", "build.lua"]).expect_code(0);
    // By a profile.
    let config = sandbox.write("aws", format!("[profile ci]\nendpoint_url = {}\n", s3.endpoint()));
    let keys = sandbox.write("keys", "[ci]\naws_access_key_id = test\naws_secret_access_key = test\n");
    let mut command = sandbox.command(["download", url]);
    for (name, _) in s3.environment() {
        command.env_remove(name);
    }
    command.env("AWS_PROFILE", "ci").env("AWS_CONFIG_FILE", config).env("AWS_SHARED_CREDENTIALS_FILE", keys);
    Run::of(&mut command).expect_code(0);
}
