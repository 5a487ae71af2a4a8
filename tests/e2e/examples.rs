//! The examples, as they stand: those of clouds and of retries run against small servers, `fix-file`, `variants` and `layers` in a
//! guest, all of them pass `rimg check`. `quickstart` has a file of its own, and so has `debian-installer`; what `harden` does is in
//! `std/hardened.lua`, with its packages at hand.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::support::aws::{Aws, DEBIAN};
use super::support::cloud::{Cloud, TOKEN};
use super::support::http::{Answer, Server};
use super::support::image::guest;
use super::support::library::tool;
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
    for name in
        ["fix-file", "harden", "layers", "lua_builder", "multi_region", "quickstart", "regions", "retries", "variants"]
    {
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

#[test]
fn an_image_is_in_many_regions_of_amazon_and_what_is_there_is_not_made_again() {
    let Some(aws) = Aws::start_with_sshd() else { return };
    let sandbox = examples();
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    let run = |regions: &str| {
        let mut command = sandbox.command(["run", "--force", "multi_region/build.lua"]);
        aws.env(&mut command);
        let marker = sandbox.join("marker").display().to_string();
        for (name, value) in [
            ("owner", DEBIAN),
            ("source", "debian-12-amd64-*"),
            ("ssh_host", "127.0.0.1"),
            ("ssh_port", &aws.sshd().port.to_string()),
            ("user", &user),
            ("marker", &marker),
            ("regions", regions),
        ] {
            command.env(format!("RIMG_VAR_{name}"), value);
        }
        Run::of(&mut command)
    };
    let written = |name: &str| -> serde_json::Value {
        serde_json::from_str(&sandbox.read(format!("multi_region/out/{name}"))).unwrap()
    };

    // One region takes no copy at first, another never: what is done is written down.
    aws.rules(json!([
        { "action": "CopyImage", "region": "eu-west-1", "do": "error", "code": "ResourceLimitExceeded" },
        { "action": "CopyImage", "region": "ap-south-1", "do": "deny" },
    ]));
    let regions = "us-east-1,eu-west-1,ap-south-1,us-west-2";
    run(regions).expect_code(1).expect_errors(&["1 of 4 regions have no image", "ap-south-1: ", "ec2:CopyImage"]);
    assert_eq!(sandbox.read("marker"), "shop 0.1.0\n");
    let images = written("images.auto.tfvars.json")["images"].clone();
    assert_eq!(images.as_object().unwrap().len(), 3, "{images}");

    // The next run makes what is missing, and nothing else.
    let launched = aws.calls("RunInstances").len();
    let copied = aws.calls("CopyImage").len();
    run(regions).expect_code(0);
    assert_eq!(aws.calls("RunInstances").len(), launched);
    assert_eq!(aws.calls("CopyImage").len(), copied + 1);
    let all = written("images.auto.tfvars.json")["images"].clone();
    assert_eq!(all["eu-west-1"], images["eu-west-1"]);
    let manifest = written("packer-manifest.json");
    let ids: Vec<String> =
        regions.split(',').map(|region| format!("{region}:{}", all[region].as_str().unwrap())).collect();
    assert_eq!(manifest["builds"][0]["artifact_id"], json!(ids.join(",")));
    assert_eq!(manifest["builds"][0]["builder_type"], "amazon-ebs");
    assert_eq!(aws.left_but_images(), [""; 0]);
    sandbox.assert_clean();
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

/// Returns a file of an image, from the file system of its one partition.
fn inside(sandbox: &Sandbox, image: &str, path: &str) -> String {
    tool(sandbox.path(), "qemu-img", &["convert", "-O", "raw", image, "look.raw"]);
    let text = tool(sandbox.path(), "/usr/sbin/debugfs", &["-R", &format!("cat {path}"), "look.raw?offset=2097152"]);
    std::fs::remove_file(sandbox.join("look.raw")).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn an_image_is_mended_and_made_in_variants() {
    let Some(image) = guest() else { return };
    let image = image.display().to_string();
    let sandbox = examples();
    let variables = [("image", &*image), ("password", "vagrant")];
    let run = |name: &str, args: &[&str], more: &[(&str, &str)]| {
        example(&sandbox, "run", name, args, &[&variables[..], more].concat()).expect_code(0)
    };

    run("fix-file", &[], &[]);
    let sshd = |image: &str| inside(&sandbox, image, "/etc/ssh/sshd_config");
    assert!(sshd("fix-file/out/fixed.qcow2").contains("\nClientAliveInterval 60\n"));
    assert!(!sshd(&image).contains("\nClientAliveInterval"));
    // The second time nothing is booted.
    let again = run("fix-file", &["--force"], &[("seconds", "30")]);
    assert!(again.stdout.contains("boot (cached)"), "{}", again.stdout);
    assert!(sshd("fix-file/out/fixed.qcow2").contains("\nClientAliveInterval 30\n"));

    run("variants", &[], &[]);
    for name in ["community-eu", "community-us", "enterprise-eu", "enterprise-us"] {
        assert!(sandbox.join(format!("variants/out/{name}/acme.qcow2")).exists(), "{name}");
    }
}

#[test]
fn images_stand_on_one_another_and_what_is_below_a_change_is_taken_as_it_is() {
    let Some(image) = guest() else { return };
    let image = image.display().to_string();
    let sandbox = examples();
    let run = |args: &[&str]| example(&sandbox, "run", "layers", args, &[("image", &*image)]).expect_code(0);
    let page = || inside(&sandbox, "layers/out/shop/shop.qcow2", "/var/www/html/index.html");
    let digest = |name: &str| {
        let file = sandbox.join(format!("layers/out/{name}/{name}.qcow2"));
        tool(sandbox.path(), "sha256sum", &[file.to_str().unwrap()])
    };

    run(&[]);
    assert_eq!(page(), "Welcome\n");
    let report = sandbox.read("layers/out/shop.xml");
    assert!(report.contains("classname=\"http\"") && report.contains("failures=\"0\""), "{report}");
    let below = (digest("base"), digest("infrastructure"));

    // Of the three machines the last alone is started, from where it had booted.
    let again = run(&["--force", "-v", "greeting=Hello"]);
    for build in ["base", "infrastructure", "shop"] {
        assert!(again.stdout.contains(&format!("{build} | boot (cached)")), "{build}: {}", again.stdout);
    }
    assert_eq!((digest("base"), digest("infrastructure")), below);
    assert_eq!(page(), "Hello\n");
}
