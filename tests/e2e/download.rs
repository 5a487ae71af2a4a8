//! Downloads from servers good and bad.

use std::time::Duration;

use rimg::error::Kind;
use rimg::host::digest::{Algorithm, of_bytes};
use rimg::media::checksum::Checksum;
use rimg::media::download::fetch;

use crate::support::http::{Answer, Server};
use crate::support::library::Library;

fn body() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum::Digest(Algorithm::Sha256, of_bytes(Algorithm::Sha256, bytes))
}

/// Claims the whole body, and hangs up after its first million bytes.
fn cut_short(mut answer: Answer) -> Answer {
    answer.claimed = Some(answer.body.len());
    answer.body.truncate(1_000_000);
    answer
}

/// What is in the cache besides locks and notes.
fn cached(library: &Library) -> Vec<String> {
    let ours = |name: &String| !name.ends_with(".lock") && !name.ends_with(".json");
    library.names(".cache/downloads").into_iter().filter(ours).collect()
}

#[tokio::test]
async fn a_download_is_made_once_and_known_by_content() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer::ok(body())).await;
    let path = fetch(&server.url("/image.qcow2"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == body());
    assert_eq!(path.extension().unwrap(), "qcow2");
    // Another mirror of the same content.
    let again = fetch(&server.url("/mirror/image.qcow2"), &sha256(&body()), &library.cx).await.unwrap();
    assert_eq!((again, server.requests().len()), (path.clone(), 1));
    // A file that somebody changed in the cache is noticed.
    std::fs::write(&path, "spoiled").unwrap();
    let again = fetch(&server.url("/image.qcow2"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(again).unwrap() == body());
    assert_eq!(server.requests().len(), 2);
    assert_eq!(library.cx.resources.list(), []);
}

#[tokio::test]
async fn two_at_once_share_one_download() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer::ok(body())).await;
    let (url, checksum) = (server.url("/x.iso"), sha256(&body()));
    let (a, b) = tokio::join!(fetch(&url, &checksum, &library.cx), fetch(&url, &checksum, &library.cx));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_wrong_checksum_names_both_and_leaves_nothing() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer::ok("not what you think")).await;
    let error = fetch(&server.url("/x.iso"), &sha256(&body()), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
    let digests = [of_bytes(Algorithm::Sha256, &body()), of_bytes(Algorithm::Sha256, b"not what you think")];
    assert!(digests.iter().all(|digest| error.message().contains(digest)), "{error}");
    assert_eq!(cached(&library), [""; 0]);
    // The same for a file of this host.
    library.write("local.iso", "abc");
    let error = fetch("local.iso", &sha256(&body()), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
}

#[tokio::test]
async fn a_dropped_connection_is_taken_up_where_it_broke() {
    let library = Library::new();
    let server = Server::start(|request, before| {
        let answer = Answer::ranged(request, &body());
        // Two hang up early, the third does not.
        if before < 2 { cut_short(answer) } else { answer }
    })
    .await;
    let path = fetch(&server.url("/x.iso"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    let ranges: Vec<_> = server.requests().iter().map(|r| r.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [None, Some("bytes=1000000-".into()), Some("bytes=2000000-".into())]);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_begins_again() {
    let library = Library::new();
    let server = Server::start(|_, before| {
        let answer = Answer::ok(body());
        if before == 0 { cut_short(answer) } else { answer }
    })
    .await;
    let path = fetch(&server.url("/x.iso"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
}

#[tokio::test]
async fn a_server_that_always_cuts_short_is_given_up() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer { claimed: Some(1_000_000), ..Answer::ok("short") }).await;
    let error = fetch(&server.url("/x.iso"), &Checksum::None, &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert_eq!(cached(&library), [""; 0]);
}

#[tokio::test]
async fn missing_forbidden_and_unreachable_are_told_apart() {
    let library = Library::new();
    let server = Server::start(|request, _| Answer::status(if request.path == "/404" { 404 } else { 503 })).await;
    let error = fetch(&server.url("/404"), &Checksum::None, &library.cx).await.unwrap_err();
    assert!(error.message().contains("404"), "{error}");
    assert_eq!(server.requests().len(), 1, "what is not there is not asked for again");
    let error = fetch(&server.url("/503"), &Checksum::None, &library.cx).await.unwrap_err();
    assert!(error.message().contains("503"), "{error}");
    assert_eq!(server.requests().len(), 4);
    let error = fetch("http://user:hunter2@127.0.0.1:9/x", &Checksum::None, &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.message().contains("cannot reach http://127.0.0.1:9/x"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = fetch("ftp://example.org/x", &Checksum::None, &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    let error = fetch("no/such.iso", &Checksum::None, &library.cx).await.unwrap_err();
    assert!(error.message().contains(&library.join("no/such.iso").display().to_string()), "{error}");
}

#[tokio::test]
async fn a_cancelled_download_leaves_nothing() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer { stall_after: Some(500_000), ..Answer::ok(body()) }).await;
    let (url, checksum) = (server.url("/x.iso"), sha256(&body()));
    let download = fetch(&url, &checksum, &library.cx);
    assert!(tokio::time::timeout(Duration::from_millis(700), download).await.is_err());
    for _ in 0..100 {
        if cached(&library).is_empty() && library.cx.resources.list().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("left: {:?} {:?}", cached(&library), library.cx.resources.list());
}

#[tokio::test]
async fn checksum_files_are_found_near_and_far() {
    let library = Library::new();
    let hex = of_bytes(Algorithm::Sha256, &body());
    let sums = format!("{}  other.iso\n{hex} *x.iso\n", "0".repeat(64));
    let listed = sums.clone();
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/d/x.iso" => Answer::ok(body()),
        "/d/SHA256SUMS" => Answer::ok(listed.clone()),
        _ => Answer::status(404),
    })
    .await;
    let url = server.url("/d/x.iso");
    let far = Checksum::parse(&format!("file:{}", server.url("/d/SHA256SUMS"))).unwrap();
    let path = fetch(&url, &far, &library.cx).await.unwrap();
    assert!(path.to_string_lossy().contains(&hex));
    // Beside the download, by its bare name.
    assert_eq!(fetch(&url, &Checksum::parse("file:SHA256SUMS").unwrap(), &library.cx).await.unwrap(), path);
    // On this host, for a file of this host, given as a URL.
    library.write("SUMS", sums);
    let local = library.write("x.iso", body());
    let (url, near) = (format!("file://{}", local.display()), Checksum::parse("file:./SUMS").unwrap());
    assert_eq!(fetch(&url, &near, &library.cx).await.unwrap(), local);
    library.write("EMPTY", "nothing");
    let error = fetch("x.iso", &Checksum::parse("file:./EMPTY").unwrap(), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
    assert!(error.message().contains("x.iso"), "{error}");
}

#[tokio::test]
async fn an_unchecked_download_is_asked_for_again_and_kept_if_the_same() {
    let library = Library::new();
    let server = Server::start(|request, _| match request.headers.get("if-none-match") {
        Some(etag) if etag == "\"v1\"" => Answer::status(304),
        _ => Answer { headers: vec![("etag", "\"v1\"".into())], ..Answer::ok("one") },
    })
    .await;
    let url = server.url("/x");
    let first = fetch(&url, &Checksum::None, &library.cx).await.unwrap();
    let second = fetch(&url, &Checksum::None, &library.cx).await.unwrap();
    assert_eq!((server.requests().len(), std::fs::read_to_string(&second).unwrap().as_str()), (2, "one"));
    assert_eq!(first, second);
}
