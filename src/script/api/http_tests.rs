//! Requests against a server of our own on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::super::testing::World;
use super::*;
use crate::engine::Mode;

/// Answers each connection with the next of the given bytes, and remembers what it was sent.
fn serve(world: &World, answers: Vec<&str>) -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    world.lua.globals().set("url", format!("http://127.0.0.1:{port}")).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (remember, answers) = (heard.clone(), answers.into_iter().map(str::to_owned).collect::<Vec<_>>());
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !is_whole(&request) {
                match stream.read(&mut chunk) {
                    Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
                    _ => break,
                }
            }
            remember.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    heard
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    rimg.set("http", module(lua)?)
}

#[test]
fn sends_and_receives() {
    let world = World::new(register);
    let one = answer("200 OK", "X-Thing: a\r\nX-Thing: b\r\n", r#"{"n": 1, "x": null}"#);
    let two = answer("201 Created", "", "");
    let heard = serve(&world, vec![&one, &two, &two]);
    world.ok(r#"
        local r = rimg.http.get(url .. "/a?b=c", { query = { q = "x y" }, headers = { ["X-One"] = 1 }, bearer = "t0ken" })
        assert(r.status == 200 and r.ok and r.headers["X-Thing"] == "a, b" and r.headers["x-thing"] == "a, b")
        assert(r.headers.nothing == nil and r:json().n == 1 and r:json({ drop_nulls = true }).x == nil)
        assert(rimg.http.post(url, { json = { a = { 1 } } }).status == 201)
        rimg.http.request("purge", url .. "/p", { form = { a = "b c", d = true } })
    "#);
    let heard = heard.lock().unwrap();
    let first = heard[0].to_lowercase();
    assert!(first.starts_with("get /a?b=c&q=x+y "), "{first}");
    assert!(first.contains("x-one: 1\r\n") && first.contains("authorization: bearer t0ken"), "{first}");
    assert!(heard[1].contains("application/json") && heard[1].ends_with(r#"{"a":[1]}"#), "{}", heard[1]);
    assert!(heard[2].starts_with("PURGE /p ") && heard[2].ends_with("a=b+c&d=true"), "{}", heard[2]);
    assert!(!world.cx.ui.secrets().mask("t0ken").contains("t0ken"));
}

#[test]
fn saves_to_a_file_whole_or_not_at_all() {
    let world = World::new(register);
    let whole = answer("200 OK", "", "content");
    let torn = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    serve(&world, vec![&whole, torn]);
    world.ok("local r = rimg.http.get(url, { to = 'd/f' }); assert(r.path == 'd/f' and r.body == '')");
    assert_eq!(std::fs::read_to_string(world.script_dir().join("d/f")).unwrap(), "content");
    let error = world.err("rimg.http.get(url, { to = 'd/f' })");
    assert_eq!(error.kind(), Kind::Network);
    assert_eq!(std::fs::read_to_string(world.script_dir().join("d/f")).unwrap(), "content");
    assert_eq!(std::fs::read_dir(world.script_dir().join("d")).unwrap().count(), 1);
    assert!(world.cx.resources.list().is_empty());
}

#[test]
fn a_server_that_redirects_for_ever_or_lies_about_its_length_is_an_error() {
    let world = World::new(register);
    let on = answer("302 Found", "Location: /again\r\n", "");
    let heard = serve(&world, vec![&on; 30]);
    assert!(world.err("rimg.http.get(url)").message().contains("redirected without end"));
    assert!(heard.lock().unwrap().len() <= 11);
    // Nothing is set aside for what a header promises.
    for length in ["100", "1152921504606846976", "99999999999999999999999999", "-1"] {
        let lie = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\nhalf");
        serve(&world, vec![&lie]);
        assert_eq!(world.err("rimg.http.get(url)").kind(), Kind::Network, "{length}");
    }
    // More than it says is not looked at.
    serve(&world, vec!["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nhalf and more"]);
    world.ok("assert(rimg.http.get(url).body == 'half')");
}

#[test]
fn a_status_is_an_error_unless_unchecked_and_passing_ones_are_tried_again() {
    let world = World::new(register);
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", "later");
    let (missing, fine) = (answer("404 Not Found", "", "no such box"), answer("200 OK", "", "x"));
    let heard = serve(&world, vec![&missing, &missing, &busy, &fine, &busy]);
    let error = world.err("rimg.http.get(url .. '/box', { retries = 3 })");
    assert_eq!((error.kind(), error.get("status")), (Kind::Network, Some(&404.into())));
    assert_eq!(error.get("body"), Some(&"no such box".into()));
    assert!(error.hints().iter().any(|hint| hint.contains("no such box")), "{:?}", error.hints());
    world.ok("local r = rimg.http.get(url, { check = false }); assert(not r.ok and r.status == 404)");
    world.ok("assert(rimg.http.get(url, { retries = 1 }).body == 'x')");
    assert_eq!(world.err("rimg.http.get(url)").get("status"), Some(&503.into()));
    assert_eq!(heard.lock().unwrap().len(), 5);
}

#[test]
fn wrong_input_is_named() {
    let world = World::new(register);
    assert!(world.err("rimg.http.get('example.org')").message().contains("is not a URL"));
    assert!(world.err("rimg.http.get('ftp://example.org')").message().contains("\"ftp\" is not a scheme"));
    assert_eq!(world.err("rimg.http.get('http://x', { header = {} })").hints(), ["did you mean `headers`?"]);
    assert!(world.err("rimg.http.post('http://x', { body = 'a', json = {} })").message().contains("only one of"));
    let error = world.err("rimg.http.post('http://x', { json = { f = print } })");
    assert_eq!(error.kind(), Kind::Option);
    assert!(world.err("rimg.http.get('http://x', { headers = { ['a b'] = 1 } })").message().contains("\"a b\""));
    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = world.err(&format!("rimg.http.get('http://u:secret@127.0.0.1:{port}/')"));
    assert!(error.message().contains("cannot reach http://127.0.0.1"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    serve(&world, vec![&answer("200 OK", "", "<html>")]);
    assert!(world.err("return rimg.http.get(url):json()").message().contains("the answer is not JSON"));
}

#[test]
fn check_asks_nobody() {
    let world = World::with_mode(Mode::Check, register);
    world.ok(
        "local r = rimg.http.get('http://192.0.2.1/x', { to = 'f' }); assert(r.status == 200 and r:json().x == nil)",
    );
    assert!(!world.script_dir().join("f").exists());
    assert!(world.err("rimg.http.get('nonsense')").message().contains("is not a URL"));
}
