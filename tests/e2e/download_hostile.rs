//! Downloads from servers that stall, lie and loop, onto hosts without room.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use rimg::error::Kind;
use rimg::host::digest::{Algorithm, of_bytes};
use rimg::media::checksum::Checksum;
use rimg::media::download::fetch;

use crate::support::http::{Answer, Request, Server};
use crate::support::library::{Library, skip};
use crate::support::rimg::{Run, Sandbox};

fn body() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn checksum() -> Checksum {
    Checksum::Digest(Algorithm::Sha256, of_bytes(Algorithm::Sha256, &body()))
}

/// The first answer breaks off after a million bytes; then `then` answers.
async fn breaks_then(then: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |request, before| match before {
        0 => Answer { claimed: Some(body().len()), ..Answer::ok(&body()[..1_000_000]) },
        _ => then(request),
    })
    .await
}

/// Answers every range with these bytes under that header, everything else with the whole.
fn wrong_range(header: &'static str, bytes: std::ops::Range<usize>) -> impl Fn(&Request) -> Answer {
    move |request| match request.headers.get("range") {
        Some(_) => Answer {
            status: 206,
            headers: vec![("content-range", header.to_owned())],
            ..Answer::ok(&body()[bytes.clone()])
        },
        None => Answer::ok(body()),
    }
}

#[tokio::test]
async fn ranges_that_are_answered_wrong_do_no_harm() {
    // Shifted, of another total, longer than it says, not to be understood, larger than any file, and none at all.
    let total = body().len();
    let wrong = [
        ("bytes 999999-2999999/3000000", 999_999..total),
        ("bytes 1000000-2999999/4000000", 1_000_000..total),
        ("bytes 1000000-1000009/3000000", 1_000_000..total),
        ("bytes 1000000-2999999/2000000", 1_000_000..total),
        ("pages 1-2/3", 1_000_000..total),
        ("bytes 0-18446744073709551615/*", 0..total),
        ("", 0..total),
    ];
    for (header, bytes) in wrong {
        let server = breaks_then(wrong_range(header, bytes)).await;
        let library = Library::new();
        let path = fetch(&server.url("/x.iso"), &checksum(), &library.cx).await.unwrap();
        assert!(std::fs::read(path).unwrap() == body(), "{header}");
        assert_eq!(server.requests().len(), 3, "{header}");
    }
    // A right answer in small pieces.
    let server = breaks_then(|request| {
        let from: usize = request.headers["range"].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        let to = (from + 700_000).min(body().len());
        let range = format!("bytes {from}-{}/3000000", to - 1);
        Answer { status: 206, headers: vec![("content-range", range)], ..Answer::ok(&body()[from..to]) }
    })
    .await;
    let path = fetch(&server.url("/x.iso"), &checksum(), &Library::new().cx).await.unwrap();
    assert!(path.to_string_lossy().contains("sha256-"));
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn lies_about_lengths_are_noticed() {
    let library = Library::new();
    // Longer than it says: only what was announced is taken, and that is not the file.
    let server = Server::start(|_, _| Answer { claimed: Some(1_000_000), ..Answer::ok(body()) }).await;
    let error = fetch(&server.url("/long"), &checksum(), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
    // Without a length, an early end looks like an end.
    let server = Server::start(|_, _| Answer { unmeasured: true, ..Answer::ok(&body()[..1_000_000]) }).await;
    let error = fetch(&server.url("/short"), &checksum(), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
    let left = library.names(".cache/downloads").into_iter().filter(|name| !name.ends_with(".lock"));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn more_than_the_disk_has_is_refused_at_once() {
    let server = Server::start(|_, _| Answer { claimed: Some(1 << 50), ..Answer::ok("x") }).await;
    let other = Server::start(|_, _| Answer::ok(body())).await;
    let urls = vec![server.url("/x.iso"), other.url("/x.iso")];
    let wanted = rimg::media::download::Wanted::new(urls, checksum());
    let error = wanted.fetch(&Library::new().cx).await.unwrap_err();
    assert!(error.message().contains("needs 1.00 PiB"), "{error}");
    assert_eq!(other.requests().len(), 0, "another mirror has no more room");
}

#[tokio::test]
async fn redirects_are_followed_but_not_without_end() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/a" => Answer { headers: vec![("location", "/b".into())], ..Answer::status(302) },
        "/b" => Answer { headers: vec![("location", "/c.iso".into())], ..Answer::status(307) },
        "/c.iso" => Answer::ok(body()),
        _ => Answer { headers: vec![("location", "/loop".into())], ..Answer::status(301) },
    })
    .await;
    let library = Library::new();
    let path = fetch(&server.url("/a"), &checksum(), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    let before = server.requests().len();
    let error = fetch(&server.url("/loop"), &Checksum::None, &library.cx).await.unwrap_err();
    assert!(error.message().contains("redirected without end from"), "{error}");
    assert!(server.requests().len() - before <= 11, "and only once");
}

#[tokio::test]
async fn a_file_that_the_server_compresses_is_not_taken_for_the_file() {
    let server = Server::start(|request, _| {
        assert_eq!(request.headers.get("accept-encoding").map(String::as_str), Some("identity"));
        Answer { headers: vec![("content-encoding", "gzip".into())], ..Answer::ok(body()) }
    })
    .await;
    let library = Library::new();
    let error = fetch(&server.url("/x.iso"), &Checksum::None, &library.cx).await.unwrap_err();
    assert!(error.message().contains("encoded as gzip"), "{error}");
    let wrong = Checksum::Digest(Algorithm::Sha256, "0".repeat(64));
    let error = fetch(&server.url("/x.iso"), &wrong, &library.cx).await.unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("encoded as gzip")), "{error}");
    // A file that is compressed itself, and one whose checksum says that all is well.
    fetch(&server.url("/x.tar.gz"), &Checksum::None, &library.cx).await.unwrap();
    fetch(&server.url("/x.iso"), &checksum(), &library.cx).await.unwrap();
}

/// Runs `rimg download` against a server that goes silent, and tells how long that took.
fn silent(url: &str) -> Run {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["download", url]);
    let started = Instant::now();
    let run = Run::of(command.env("RIMG_NETWORK_TIMEOUT", "300ms")).expect_code(1);
    let took = started.elapsed().as_secs_f64();
    // Three attempts, with pauses of 0.4 and 0.8 seconds.
    assert!((1.9..8.0).contains(&took), "{took} s");
    sandbox.assert_clean();
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_silent_is_given_up_at_each_stage() {
    // Nobody takes the connection: the queue of those that wait is full.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(listener.as_fd(), 0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..4)
        .map_while(|_| TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200)).ok())
        .collect();
    assert!(waiting.len() < 4, "the queue is never full");
    silent(&format!("http://{address}/x")).expect_errors(&["no answer in time from"]);
    let server = Server::start(|request, _| match request.path.as_str() {
        "/headers" => Answer { silent: true, ..Answer::ok("") },
        _ => Answer { stall_after: Some(0), ..Answer::ok(body()) },
    })
    .await;
    silent(&server.url("/headers")).expect_errors(&["no answer in time from", "/headers"]);
    silent(&server.url("/body")).expect_errors(&["no answer in time from", "/body"]);
    assert_eq!(server.requests().len(), 6);
    let (sandbox, url) = (Sandbox::new(), server.url("/x"));
    let run = Run::of(sandbox.command(["download", &url]).env("RIMG_NETWORK_TIMEOUT", "soon"));
    run.expect_code(2).expect_errors(&["RIMG_NETWORK_TIMEOUT", "soon"]);
    drop(waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_is_not_left_full() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.join("small")).unwrap();
    let mount = "mount -t tmpfs -o size=1m none small";
    let tried =
        std::process::Command::new("unshare").args(["-rm", "sh", "-c", mount]).current_dir(sandbox.path()).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skip("a small file system cannot be mounted in a namespace here");
    }
    let server = Server::start(|_, _| Answer { unmeasured: true, ..Answer::ok(body()) }).await;
    let script =
        format!("{mount} && $RIMG download {}; code=$?; find small -size +0 -type f; exit $code", server.url("/x.iso"));
    let mut command = std::process::Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).current_dir(sandbox.path());
    command.env("RIMG", env!("CARGO_BIN_EXE_rimg")).env("RIMG_CACHE_DIR", sandbox.join("small"));
    let run = Run::of(command.env("RIMG_STATE_DIR", sandbox.join(".state"))).expect_code(1);
    let run = run.expect_errors(&["cannot write", "the disk is full"]);
    assert_eq!(run.stdout, "", "left over");
    // A place where nothing can be made.
    let mut command = sandbox.command(["download", &server.url("/x.iso")]);
    Run::of(command.env("RIMG_CACHE_DIR", "/proc/1/none")).expect_code(1).expect_errors(&["/proc/1/none"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_no_download() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let _ = stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n\xff\xfe\0\0\r\n\r\n");
        }
    });
    let error = fetch(&format!("http://{address}/x"), &Checksum::None, &Library::new().cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    peer.join().unwrap();
}
