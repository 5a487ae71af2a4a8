//! Downloads from servers good and bad.

use std::time::Duration;

use rimg::error::Kind;
use rimg::host::digest::{Algorithm, of_bytes};
use rimg::media::checksum::Checksum;
use rimg::media::download::{Wanted, fetch};

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
async fn a_server_that_asks_for_a_pause_gets_it() {
    let library = Library::new();
    let server = Server::start(|_, before| match before {
        0 => Answer { headers: vec![("retry-after", "2".into())], ..Answer::status(503) },
        1 => Answer { headers: vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT".into())], ..Answer::status(429) },
        _ => Answer::ok(body()),
    })
    .await;
    let started = std::time::Instant::now();
    fetch(&server.url("/x.iso"), &sha256(&body()), &library.cx).await.unwrap();
    let took = started.elapsed();
    assert!(took >= std::time::Duration::from_secs(2), "{took:?}");
    assert_eq!(server.requests().len(), 3);
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

/// Cancels a download that has stalled, and returns what the cache then has.
async fn broken_off(library: &Library, url: &str, checksum: &Checksum) -> Vec<String> {
    let download = fetch(url, checksum, &library.cx);
    assert!(tokio::time::timeout(Duration::from_millis(700), download).await.is_err());
    // The writer notices a little later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(library.cx.resources.list(), []);
    cached(library)
}

#[tokio::test]
async fn a_cancelled_download_leaves_only_what_can_be_taken_up() {
    let library = Library::new();
    let stall = |answer: Answer| Answer { stall_after: Some(500_000), ..answer };
    let server = Server::start(move |request, before| match request.path.as_str() {
        "/etag" => Answer { headers: vec![("etag", "\"v1\"".into())], ..stall(Answer::ok(body())) },
        "/sum" if before > 0 => Answer::ranged(request, &body()),
        _ => stall(Answer::ok(body())),
    })
    .await;
    assert_eq!(broken_off(&library, &server.url("/plain"), &Checksum::None).await, [""; 0]);
    assert_eq!(broken_off(&library, &server.url("/etag"), &Checksum::None).await.len(), 1);
    // In two builds of one name: the second takes up what the first left.
    let library = Library::new();
    let server = Server::start(
        move |request, before| {
            if before == 0 { stall(Answer::ok(body())) } else { Answer::ranged(request, &body()) }
        },
    )
    .await;
    let url = server.url("/x.iso");
    assert_eq!(broken_off(&library, &url, &sha256(&body())).await.len(), 1);
    let path = fetch(&url, &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == body());
    assert_eq!(server.header("range"), [None, Some("bytes=500000-".into())]);
    assert_eq!(cached(&library), [path.file_name().unwrap().to_string_lossy()]);
}

/// Puts the beginning of the body where an earlier run would have left it.
fn left_by_an_earlier_run(library: &Library, bytes: &[u8]) {
    let name = format!(".cache/downloads/sha256-{}.part", of_bytes(Algorithm::Sha256, &body()));
    library.write(name, bytes);
}

#[tokio::test]
async fn a_part_of_an_earlier_run_is_taken_up_and_a_rotten_one_replaced() {
    let server = Server::start(|request, _| Answer::ranged(request, &body())).await;
    let library = Library::new();
    left_by_an_earlier_run(&library, &body()[..1_200_000]);
    let path = fetch(&server.url("/a.iso"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    // It begins like something else: only the digest of the whole tells.
    let library = Library::new();
    left_by_an_earlier_run(&library, &[7; 1_200_000]);
    let path = fetch(&server.url("/b.iso"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    let resumed = Some("bytes=1200000-".to_owned());
    assert_eq!(server.header("range"), [resumed.clone(), resumed, None]);
    // All of it was there, and the run was killed before it could say so.
    let server = Server::start(|_, _| Answer {
        headers: vec![("content-range", format!("bytes */{}", body().len()))],
        ..Answer::status(416)
    })
    .await;
    let library = Library::new();
    left_by_an_earlier_run(&library, &body());
    let path = fetch(&server.url("/c.iso"), &sha256(&body()), &library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_unchecked_part_is_taken_up_only_of_the_same_version() {
    for (version, resumed) in [("\"v1\"", true), ("\"v2\"", false)] {
        let library = Library::new();
        let server = Server::start(move |request, before| {
            let now = if before == 0 { "\"v1\"" } else { version };
            let ask = request.headers.get("if-range");
            let mut answer = match ask {
                Some(asked) if asked == now => Answer::ranged(request, &body()),
                _ => Answer::ok(body()),
            };
            answer.headers.push(("etag", now.to_owned()));
            if before == 0 { Answer { stall_after: Some(500_000), ..answer } } else { answer }
        })
        .await;
        let url = server.url("/x.iso");
        assert_eq!(broken_off(&library, &url, &Checksum::None).await.len(), 1);
        let path = fetch(&url, &Checksum::None, &library.cx).await.unwrap();
        assert!(std::fs::read(path).unwrap() == body());
        assert_eq!(server.header("if-range"), [None, Some("\"v1\"".to_owned())]);
        assert!(server.header("range")[1].is_some());
        assert_eq!(server.requests().len(), 2, "resumed: {resumed}");
    }
}

#[tokio::test]
async fn mirrors_are_tried_in_order_and_each_failure_is_told() {
    let library = Library::new();
    let server = Server::start(|request, _| match request.path.as_str() {
        "/gone" => Answer::status(404),
        "/wrong" => Answer::ok("something else"),
        _ => Answer::ok(body()),
    })
    .await;
    let urls = |paths: &[&str]| paths.iter().map(|path| server.url(path)).collect::<Vec<_>>();
    let mut places = vec!["no/such.iso".to_owned()];
    places.extend(urls(&["/gone", "/wrong", "/right", "/never"]));
    let path = Wanted::new(places, sha256(&body())).fetch(&library.cx).await.unwrap();
    assert!(std::fs::read(path).unwrap() == body());
    let asked: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/gone", "/wrong", "/right"]);

    let library = Library::new();
    let error = Wanted::new(urls(&["/gone", "/wrong"]), sha256(&body())).fetch(&library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Checksum);
    let found = of_bytes(Algorithm::Sha256, b"something else");
    for text in ["none of the 2 places", "/gone answers 404", "/wrong has the wrong sha256", &found] {
        assert!(error.message().contains(text), "{text:?} in {error}");
    }
    assert_eq!(cached(&library), [""; 0]);
}

#[tokio::test]
async fn content_is_known_however_it_is_named_and_spelled() {
    let library = Library::new();
    let hex = of_bytes(Algorithm::Sha256, &body());
    let listed = hex.clone();
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/SUMS" => Answer::ok(format!("SHA256 (x.iso) = {listed}\n")),
        _ => Answer::ok(body()),
    })
    .await;
    // Unchecked at first; its digest is noted all the same.
    fetch(&server.url("/x.iso"), &Checksum::None, &library.cx).await.unwrap();
    let downloads = || server.requests().iter().filter(|request| request.path != "/SUMS").count();
    for spelled in [hex.clone(), hex.to_uppercase(), format!("SHA256:{hex}"), format!("file:{}", server.url("/SUMS"))] {
        let checksum = Checksum::parse(&spelled).unwrap();
        let path = fetch(&server.url("/x.iso"), &checksum, &library.cx).await.unwrap();
        assert!(path.ends_with(format!("sha256-{hex}.iso")), "{path:?}");
    }
    let other = fetch(&server.url("/mirror/x.img"), &Checksum::parse(&hex).unwrap(), &library.cx).await.unwrap();
    assert!(other.ends_with(format!("sha256-{hex}.img")) && std::fs::read(other).unwrap() == body());
    // To a place of the user's, from the cache.
    let wanted = Wanted {
        target_path: Some("media/debian.iso".into()),
        ..Wanted::new(vec![server.url("/x.iso")], Checksum::parse(&hex).unwrap())
    };
    for _ in 0..2 {
        assert_eq!(wanted.fetch(&library.cx).await.unwrap(), library.join("media/debian.iso"));
    }
    assert!(std::fs::read(library.join("media/debian.iso")).unwrap() == body());
    assert_eq!(downloads(), 1);
    let downloads = rimg::host::downloads::all(&library.join(".cache")).unwrap();
    let entries: Vec<_> = downloads.iter().filter_map(rimg::media::cache::Entry::of).collect();
    assert_eq!(entries.iter().map(|entry| entry.size).collect::<Vec<_>>(), [3_000_000, 3_000_000]);
    assert!(entries.iter().all(|entry| entry.digests == [format!("sha256:{hex}")] && !entry.partial));
}

#[tokio::test]
async fn a_target_is_downloaded_to_and_what_is_there_is_not_lost() {
    let library = Library::new();
    let server = Server::start(|_, _| Answer::ok(body())).await;
    let target =
        |checksum| Wanted { target_path: Some("my.iso".into()), ..Wanted::new(vec![server.url("/x.iso")], checksum) };
    library.write("my.iso", "precious");
    for checksum in [sha256(&body()), Checksum::None] {
        let error = target(checksum).fetch(&library.cx).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Exists, "{error}");
    }
    assert_eq!(std::fs::read_to_string(library.join("my.iso")).unwrap(), "precious");
    std::fs::remove_file(library.join("my.iso")).unwrap();
    for _ in 0..2 {
        let path = target(sha256(&body())).fetch(&library.cx).await.unwrap();
        assert!(std::fs::read(path).unwrap() == body());
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(library.names(""), [".cache", "my.iso"]);
    // One that is ours is replaced when it is to be another.
    let next = Server::start(|_, _| Answer::ok("next")).await;
    let wanted = Wanted { urls: vec![next.url("/x.iso")], ..target(sha256(b"next")) };
    assert_eq!(std::fs::read_to_string(wanted.fetch(&library.cx).await.unwrap()).unwrap(), "next");
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
    // The image itself, named by mistake, is not read into memory.
    std::fs::File::create(library.join("image.iso")).unwrap().set_len(1 << 40).unwrap();
    let error = fetch("x.iso", &Checksum::parse("file:./image.iso").unwrap(), &library.cx).await.unwrap_err();
    assert!(error.message().contains("image.iso is too large for a checksum file"), "{error}");
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
