//! A real server, asked by reqwest and by bare sockets that do not play along.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::engine::options::{Callback, decode};
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Value};
use crate::media::testing::{Recorder, cx};
use crate::ui::{Event, Level};

fn options(entries: Vec<(&str, Value)>) -> HttpServerOptions {
    decode("rimg.qemu", Value::Map(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())).unwrap()
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn s(text: &str) -> Value {
    Value::Str(text.into())
}

fn function<F: Future<Output = crate::error::Result<Value>> + Send + 'static>(
    f: impl Fn(Value) -> F + Send + Sync + 'static,
) -> Value {
    Value::Function(Callback::new(move |value| Box::pin(f(value))))
}

async fn start(options: &HttpServerOptions, cx: &BuildCx) -> HttpServer {
    options.validate(cx).unwrap();
    let values = Placeholders::default().with("HTTPIP", "10.0.2.2").with("Name", "web");
    HttpServer::start(options, &values, cx).await.unwrap().unwrap()
}

/// A folder with the files that the tests ask for.
fn folder(cx: &BuildCx) -> std::path::PathBuf {
    let dir = cx.settings.script_dir.join("http");
    for (path, bytes) in [
        ("preseed.cfg", b"d-i hello".to_vec()),
        ("a b/\u{e9}<x>.txt", b"x".to_vec()),
        ("site/index.html", b"<p>index".to_vec()),
        ("empty", Vec::new()),
        ("big.bin", (0..3_000_000u32).map(|n| (n % 251) as u8).collect()),
    ] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(cx.settings.script_dir.join("secret"), "outside").unwrap();
    std::os::unix::fs::symlink("../secret", dir.join("link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    dir
}

struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn new(server: &HttpServer) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Client { http, base: format!("http://127.0.0.1:{}", server.port) }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let answer = self.get(path, &[]).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Sends bytes as they are, and reads until the server closes.
async fn raw(server: &HttpServer, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the server did not answer").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_folder_is_served_whole_in_parts_and_as_a_list() {
    let (_dir, cx) = cx();
    folder(&cx);
    let server = start(&options(vec![("http_directory", s("http"))]), &cx).await;
    let client = Client::new(&server);

    let answer = client.get("/preseed.cfg?x=1", &[]).await;
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["content-length"], "9");
    let modified = answer.headers()["last-modified"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "d-i hello");
    assert_eq!(client.get("/preseed.cfg", &[("if-modified-since", &modified)]).await.status(), 304);

    let part = client.get("/big.bin", &[("range", "bytes=1000000-2499999"), ("if-range", &modified)]).await;
    // Another file's date, unless they were written in the same second.
    let part =
        if part.status() == 206 { part } else { client.get("/big.bin", &[("range", "bytes=1000000-2499999")]).await };
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()),
        (206, "bytes 1000000-2499999/3000000")
    );
    let expected: Vec<u8> = (1_000_000..2_500_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(part.bytes().await.unwrap(), expected);
    let old = client.get("/big.bin", &[("range", "bytes=1-2"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")]).await;
    assert_eq!((old.status().as_u16(), old.bytes().await.unwrap().len()), (200, 3_000_000));
    let beyond = client.get("/big.bin", &[("range", "bytes=3000000-")]).await;
    assert_eq!(
        (beyond.status().as_u16(), beyond.headers()["content-range"].to_str().unwrap()),
        (416, "bytes */3000000")
    );
    assert_eq!(client.get("/big.bin", &[("range", "bytes=0-1,5-6")]).await.bytes().await.unwrap().len(), 3_000_000);
    assert_eq!(client.get("/empty", &[("range", "bytes=0-")]).await.status(), 416);

    let head = client.http.head(format!("{}/big.bin", client.base)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "3000000");
    assert_eq!(head.bytes().await.unwrap().len(), 0);

    assert_eq!(client.text("/site/").await, (200, "<p>index".into()));
    let moved = client.get("/site?q=1", &[]).await;
    assert_eq!((moved.status().as_u16(), moved.headers()["location"].to_str().unwrap()), (301, "/site/?q=1"));
    let (status, root) = client.text("/").await;
    assert_eq!(status, 200);
    assert!(root.contains("<a href=\"./a%20b/\">a b/</a>") && !root.contains("../"), "{root}");
    let (_, list) = client.text("/a%20b/").await;
    assert!(list.contains("<a href=\"./%C3%A9%3Cx%3E.txt\">é&lt;x&gt;.txt</a>") && list.contains("\"../\""), "{list}");
    assert_eq!(client.text("/a%20b/%C3%A9%3Cx%3E.txt").await, (200, "x".into()));
    assert_eq!(client.text("/link").await, (200, "outside".into()));
    assert_eq!(client.text("/empty").await, (200, String::new()));
    for missing in ["/pipe", "/preseed.cfg/", "/preseed.cfg/x", "/no", &format!("/{}", "x".repeat(3000))] {
        assert_eq!(client.get(missing, &[]).await.status(), 404, "{missing}");
    }
    let post = client.http.post(format!("{}/preseed.cfg", client.base)).send().await.unwrap();
    assert_eq!((post.status().as_u16(), post.headers()["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    for outside in ["/../secret", "/%2e%2e/secret", "/a%20b/..%2f..%2fsecret", "/%00"] {
        let answer = raw(&server, &format!("GET {outside} HTTP/1.0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.0 400 ") && !answer.contains("outside"), "{outside}: {answer}");
    }
    server.stop().await.unwrap();
    assert!(cx.resources.list().is_empty());
}

#[tokio::test]
async fn contents_are_filled_and_functions_answer_requests() {
    let (_dir, cx, thread, recorder) = Recorder::cx();
    folder(&cx);
    let echo = function(|request| async move {
        let Value::Map(entries) = request else { panic!() };
        let get = |name: &str| entries.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let Value::Map(headers) = get("headers") else { panic!() };
        let mac = headers.iter().find(|(name, _)| name == "x-mac").unwrap().1.clone();
        let Value::Map(values) = get("values") else { panic!() };
        assert!(
            values.contains(&("HTTPIP".into(), s("10.0.2.2"))) && values.iter().any(|(name, _)| name == "HTTPPort")
        );
        Ok(s(&format!("{:?}", (get("method"), get("path"), get("query"), get("body"), get("address"), mac))))
    });
    let table = function(|_| async {
        let headers = map(vec![("X-Thing", s("1")), ("Content-Length", s("999")), ("Content-Type", s("x/y"))]);
        Ok(map(vec![("status", Value::Int(201)), ("headers", headers), ("body", Value::Bytes(vec![0xff]))]))
    });
    let contents = map(vec![
        ("/preseed.cfg", s("url={{ .HTTPIP }}:{{ .HTTPPort }}/{{ .Name }}")),
        ("deep/er.json", s("0123456789")),
        ("/echo", echo),
        ("/table", table),
        ("/nothing", function(|_| async { Ok(Value::Nil) })),
        (
            "/fails",
            function(|_| async {
                Err(crate::error::Error::new(crate::error::Kind::Script, "build.lua:7: oh").hint("do"))
            }),
        ),
        ("/wrong", function(|_| async { Ok(map(vec![("stats", Value::Int(1))])) })),
        ("/odd", function(|_| async { Ok(map(vec![("status", Value::Int(100))])) })),
    ]);
    let server = start(&options(vec![("http_directory", s("http")), ("http_content", contents)]), &cx).await;
    let client = Client::new(&server);
    let port = server.port;
    assert!((8000..=9000).contains(&port));
    assert_eq!(server.placeholders().fill("{{ .HTTPPort }}").unwrap(), port.to_string());

    assert_eq!(client.text("/preseed.cfg").await, (200, format!("url=10.0.2.2:{port}/web")));
    let part = client.get("/deep/er.json", &[("range", "bytes=-3")]).await;
    assert_eq!((part.status().as_u16(), part.headers()["content-type"].to_str().unwrap()), (206, "application/json"));
    assert_eq!(part.text().await.unwrap(), "789");
    assert_eq!(client.text("/big.bin").await.0, 200);
    assert_eq!(client.text("/deep/").await.0, 404);

    let url = format!("{}/echo?name=a%20b&x", client.base);
    let echoed = client.http.put(url).header("X-MAC", "52:54").body("hi").send().await.unwrap().text().await.unwrap();
    let expected = r#"(Str("PUT"), Str("/echo"), Map([("name", Str("a b")), ("x", Str(""))]), Str("hi"), Str("127.0.0.1"), Str("52:54"))"#;
    assert_eq!(echoed, expected);
    let answer = client.get("/table", &[]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-thing"], &answer.headers()["content-type"]),
        (201, &"1".parse().unwrap(), &"x/y".parse().unwrap())
    );
    assert_eq!(answer.bytes().await.unwrap(), [0xff][..]);
    let head = client.http.head(format!("{}/table", client.base)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "1");
    assert_eq!(client.text("/nothing").await.0, 404);
    assert_eq!(client.text("/fails").await.0, 500);
    assert_eq!(client.text("/wrong").await.0, 500);
    assert_eq!(client.text("/odd").await.0, 500);
    let too_much = client.http.post(format!("{}/table", client.base)).body(vec![0; 2 << 20]).send().await;
    assert!(too_much.is_err() || too_much.unwrap().status() == 413);

    server.stop().await.unwrap();
    let events = recorder.events(&thread);
    let errors: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message { level: Level::Error, text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(errors[0], "http_content[\"/fails\"]: build.lua:7: oh\n    do");
    assert!(
        errors[1].contains("there is no such option") && errors[1].contains("did you mean `status`?"),
        "{errors:?}"
    );
    assert!(errors[2].contains("100 is not the status of an answer"), "{errors:?}");
    let first = events.iter().find(|event| matches!(event, Event::HttpRequest { .. })).unwrap();
    let Event::HttpRequest { build, method, path, status, bytes, .. } = first else { panic!() };
    assert_eq!((build.as_str(), method.as_str(), path.as_str(), *status), ("test", "GET", "/preseed.cfg", 200));
    assert_eq!(*bytes, format!("url=10.0.2.2:{port}/web").len() as u64);
    thread.join();
}

#[tokio::test]
async fn a_placeholder_that_is_not_known_is_an_error_before_anything_starts() {
    let (_dir, cx) = cx();
    let options = options(vec![("http_content", map(vec![("/a", s("{{ .HTTPIp }}"))]))]);
    let error = HttpServer::start(&options, &Placeholders::default().with("HTTPIP", "x"), &cx).await.err().unwrap();
    assert!(error.message().starts_with("option `http_content[\"/a\"]`: there is no placeholder"), "{error}");
    assert!(cx.resources.list().is_empty());
}

#[tokio::test]
async fn ports_are_taken_from_the_range_until_there_is_none() {
    let (_dir, cx) = cx();
    // Two neighbours that nobody holds.
    let (low, held) = (20000..30000u16)
        .step_by(2)
        .find_map(|low| {
            let first = std::net::TcpListener::bind(("127.0.0.1", low)).ok()?;
            std::net::TcpListener::bind(("127.0.0.1", low + 1)).ok()?;
            Some((low, first))
        })
        .unwrap();
    let entries = |max: u16| {
        options(vec![
            ("http_content", map(vec![("/a", s("a"))])),
            ("http_port_min", Value::Int(low.into())),
            ("http_port_max", Value::Int(max.into())),
        ])
    };
    let server = start(&entries(low + 1), &cx).await;
    assert_eq!(server.port, low + 1);
    let error = HttpServer::start(&entries(low + 1), &Placeholders::default(), &cx).await.err().unwrap();
    let expected = format!("no port from {low} to {} is free (http_port_min, http_port_max)", low + 1);
    assert!(error.message().contains(&expected), "{error}");
    let error = HttpServer::start(&entries(low), &Placeholders::default(), &cx).await.err().unwrap();
    assert!(error.message().contains(&format!("port {low} (http_port_min = http_port_max)")), "{error}");
    drop(held);
    server.stop().await.unwrap();
    // Both are free again, at once.
    assert!(std::net::TcpListener::bind(("127.0.0.1", low + 1)).is_ok());

    let elsewhere = options(vec![("http_content", map(vec![("/a", s(""))])), ("http_bind_address", s("192.0.2.1"))]);
    let error = HttpServer::start(&elsewhere, &Placeholders::default(), &cx).await.err().unwrap();
    assert!(error.message().contains("option `http_bind_address`: this host is not 192.0.2.1"), "{error}");
    assert!(HttpServer::start(&HttpServerOptions::default(), &Placeholders::default(), &cx).await.unwrap().is_none());
    assert!(cx.resources.list().is_empty());
}

/// Memory of this process that is in use now, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_are_refused_and_never_in_the_way() {
    let (_dir, cx, thread, recorder) = Recorder::cx();
    let dir = folder(&cx);
    let sparse = std::fs::File::create(dir.join("huge.iso")).unwrap();
    sparse.set_len(8 << 30).unwrap();
    let hangs = function(|_| std::future::pending());
    let contents = map(vec![("/hangs", hangs)]);
    let server = start(&options(vec![("http_directory", s("http")), ("http_content", contents)]), &cx).await;
    let client = Client::new(&server);
    let address: SocketAddr = ([127, 0, 0, 1], server.port).into();

    assert!(raw(&server, "\x00\x01garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(huge.as_bytes()).await;
    let mut answer = String::new();
    // It may be broken off before all is sent, but it never is an answer of the site.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert!(raw(&server, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431 "));
    assert!(
        raw(&server, "GET /preseed.cfg HTTP/1.0\r\nRange: bytes=99999999999999999999-\r\n\r\n").await.contains(" 416 ")
    );
    assert!(raw(&server, "GET /preseed.cfg HTTP/1.0\r\n\r\n").await.ends_with("d-i hello"));

    // Many that read nothing, or say nothing, or never end what they say.
    let before = memory();
    let mut stuck = Vec::new();
    for n in 0..180 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request: &[u8] = match n % 3 {
            0 => b"GET /huge.iso HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => b"GET /preseed.cfg HTTP/1.1\r\nHo",
            _ => b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        stream.write_all(request).await.unwrap();
        stuck.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.text("/preseed.cfg").await, (200, "d-i hello".into()));
    let grown = memory().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB for 180 connections", grown >> 20);

    // A client that sends its request a byte at a time is given up.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let refused = loop {
        if slow.write_all(b"G").await.is_err() || begun.elapsed() > Duration::from_secs(15) {
            break begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(refused < Duration::from_secs(14), "{refused:?}");

    // What it sends of a file is what was asked for, even when the file shrinks meanwhile.
    let mut torn = client.get("/huge.iso", &[]).await;
    torn.chunk().await.unwrap();
    sparse.set_len(1000).unwrap();
    let torn = async {
        while torn.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), torn).await.unwrap().is_err());

    let started = Instant::now();
    server.stop().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert!(TcpStream::connect(address).await.is_err());
    let mut rest = Vec::new();
    for stream in &mut stuck {
        let ended = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection was left open");
        rest.clear();
    }
    let aborted = recorder
        .events(&thread)
        .into_iter()
        .any(|event| matches!(event, Event::HttpRequest { path, status: 499, bytes: 0, .. } if path == "/hangs"));
    assert!(aborted);
    thread.join();
}

#[tokio::test]
async fn dropping_the_server_ends_it() {
    let (_dir, cx) = cx();
    let server = start(&options(vec![("http_content", map(vec![("/a", s("a"))]))]), &cx).await;
    let port = server.port;
    drop(server);
    assert!(cx.resources.release_all().await.is_empty());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
