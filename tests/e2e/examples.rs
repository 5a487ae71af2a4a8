//! The examples, as they stand: those of clouds and of retries run against small servers, all of them pass `rimg check`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::support::cloud::{Cloud, TOKEN};
use super::support::http::{Answer, Server};
use super::support::rimg::{Run, Sandbox};
use super::support::sshd::{Sshd, keygen};

/// Returns a sandbox with all examples in it, in folders as they are in the repository.
fn examples() -> Sandbox {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            let name = Path::new(folder.file_name().unwrap()).join(file.file_name().unwrap());
            sandbox.write(name, std::fs::read(&file).unwrap());
        }
    }
    sandbox
}

fn example(sandbox: &Sandbox, mode: &str, name: &str, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = sandbox.command([mode, &format!("{name}/build.lua")]);
    command.args(args).env("no_proxy", "127.0.0.1").env_remove("http_proxy");
    for (name, value) in variables {
        command.env(format!("RIMG_VAR_{name}"), value);
    }
    let run = Run::of(&mut command);
    sandbox.assert_clean_after(&run);
    run
}

#[test]
fn every_example_passes_rimg_check() {
    let sandbox = examples();
    let image = sandbox.write("image.qcow2", "").display().to_string();
    keygen(&sandbox.join("key"), &["-t", "ed25519", "-N", ""]);
    let key = sandbox.join("key").display().to_string();
    let variables =
        [("api", "http://127.0.0.1:1"), ("token", TOKEN), ("key", &key), ("image", &image), ("password", "secret")];
    for name in ["fix-file", "layers", "lua_builder", "multi_region", "quickstart", "regions", "retries", "variants"] {
        let url = ("url", "http://127.0.0.1:1");
        example(&sandbox, "check", name, &[], &[&variables[..], &[url]].concat()).expect_code(0);
        assert!(!sandbox.join(name).join("out").exists(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_in_lua_makes_an_image_and_leaves_no_machine_and_its_images_go_to_regions() {
    let Some(sshd) = Sshd::start("") else { return };
    let cloud = Cloud::start(&sshd, &[("eu-2", 1), ("asia-1", 100)]).await;
    let sandbox = examples();
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    let (url, key) = (cloud.server.url(""), sshd.user_key().display().to_string());
    let page = sandbox.join("page").display().to_string();
    let variables =
        [("api", &*url), ("token", TOKEN), ("key", &key), ("user", &user), ("poll", "0.01"), ("page", &page)];

    // What an earlier run left goes, what is others' stays.
    cloud.plant("/instances/old", json!({"id": "old", "name": "rimg-web", "port": 1}));
    cloud.plant("/instances/other", json!({"id": "other", "name": "other", "port": 1}));
    let run = example(&sandbox, "run", "lua_builder", &[], &variables).expect_code(0);
    assert!(run.stdout.contains("removing old, which an earlier run left"), "{}", run.stdout);
    assert_eq!(sandbox.read("page"), "Made by a builder in Lua\n");
    let image = sandbox.read("lua_builder/out/image-id");
    assert_eq!(cloud.list("/instances/"), ["/instances/other"]);
    assert_eq!(cloud.list("/images/"), [format!("/images/{image}")]);

    // Nor is a machine left by what fails on it, or by a wrong token.
    let wrong = [&variables[..], &[("page", "/proc/none/page")]].concat();
    example(&sandbox, "run", "lua_builder", &[], &wrong).expect_code(1).expect_errors(&["/proc/none"]);
    assert_eq!(cloud.list("/instances/"), ["/instances/other"]);
    let wrong = [&variables[..], &[("token", "none-of-yours")]].concat();
    example(&sandbox, "run", "lua_builder", &[], &wrong).expect_code(1).expect_errors(&["401", "who are you?"]);

    let variables = [&variables[..], &[("image", &image)]].concat();
    example(&sandbox, "run", "regions", &[], &variables).expect_code(0);
    let found: serde_json::Value = serde_json::from_str(&sandbox.read("regions/out/images.json")).unwrap();
    let mut names: Vec<&str> = found["images"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort();
    assert_eq!(names, ["eu-1", "eu-2", "us-1"]);
    assert_eq!(found["failed"], json!(["asia-1"]));
    assert_eq!(cloud.list("/images/").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_fail_now_and_then_are_tried_again() {
    // The token and the page are refused twice each; there is never anything at /missing.
    let server = Server::start(|request, before| match request.path.as_str() {
        "/ready" if before > 1 => Answer::ok("ready"),
        "/token" if before > 4 => Answer::ok("sesame"),
        "/page" if before > 6 && request.headers.get("token").map(String::as_str) == Some("sesame") => {
            Answer::ok("open")
        }
        "/missing" => Answer::status(404),
        _ => Answer::status(503),
    })
    .await;
    let sandbox = examples();
    let run = example(&sandbox, "run", "retries", &[], &[("url", server.url("").trim_end_matches('/'))]).expect_code(0);
    let said = |text: &str| assert!(run.stdout.contains(text), "{text} is not in {}", run.stdout);
    said("attempt 4: open");
    said("nothing is missing");
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        ["/ready", "/ready", "/ready", "/token", "/token", "/token", "/page", "/token", "/page", "/missing"],
    );
}
