//! The standard library: on trees of this host, with the facts and package managers of other distributions, and all of it
//! twice in one real guest.

mod installer;

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::docs::pages_below;
use super::support::aws::Aws;
use super::support::http::{Answer, Server};
use super::support::image::{guest, hardening_guest};
use super::support::rimg::{Run, Sandbox};
use super::support::sshd::keygen;

/// Returns the command that runs a script of `tests/e2e/std/` in a sandbox.
fn script(sandbox: &Sandbox, name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/std");
    sandbox.write("support.lua", std::fs::read(folder.join("support.lua")).unwrap());
    let mut command = sandbox.command(["run", "build.lua"]);
    command.env("no_proxy", "127.0.0.1").env_remove("http_proxy");
    sandbox.write("build.lua", std::fs::read(folder.join(name)).unwrap());
    command
}

/// Runs a script of `tests/e2e/std/` in a sandbox of its own.
#[track_caller]
fn run(sandbox: &Sandbox, name: &str) {
    Run::of(&mut script(sandbox, name)).expect_code(0);
    sandbox.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn files() {
    let server = Server::start(|_, _| Answer::ok("payload")).await;
    let sandbox = Sandbox::new();
    sandbox.write("url", server.url(""));
    run(&sandbox, "files.lua");
}

/// What the blocks in the documentation take for granted, but for those that require rimg themselves.
const BEFORE: &str = r#"local rimg = require "rimg"
local vm = rimg.qemu { source_image = "image.qcow2", ssh_username = "admin", ssh_password = "secret" }
local image = rimg.qemu({ source_image = "image.qcow2", ssh_username = "admin" }):finish { output_directory = "before" }
local box = image:vagrant()
"#;

/// The files that they name.
const NAMED: &[&str] = &[
    "image.qcow2",
    "debian-12-genericcloud-amd64.qcow2",
    "debian-12-netinst.iso",
    "SHA512SUMS",
    "preseed.cfg",
    "site/index",
    "scripts/base.sh",
    "scripts/web.sh",
    "playbook/site.yml",
    "app.conf",
    "app.j2",
    "certs/ca",
    "site.tar.gz",
    "goss.yaml",
    "vendor.asc",
];

#[test]
fn lua_in_the_documentation_passes_rimg_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sandbox = Sandbox::new();
    let mut pages = vec![root.join("README.md")];
    pages.extend(pages_below(&root.join("docs")));
    for file in NAMED {
        sandbox.write(file, "");
    }
    for key in ["keys/ops", ".ssh/id_ed25519"] {
        std::fs::create_dir_all(sandbox.join(key).parent().unwrap()).unwrap();
        keygen(&sandbox.join(key), &["-t", "ed25519", "-N", ""]);
    }
    let mut blocks = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for (number, block) in text.split("```lua\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            let before = if block.contains("require \"rimg\"") { "" } else { BEFORE };
            // The reference's page of a module takes the module for granted.
            let module = page.file_stem().unwrap().to_string_lossy();
            let required = module.strip_prefix("std_").map(|name| format!("local {name} = require \"std.{name}\"\n"));
            sandbox.write("build.lua", format!("{before}{}{block}", required.unwrap_or_default()));
            let mut command = sandbox.command(["check", "build.lua"]);
            let run = Run::of(command.env("SSH_AUTH_SOCK", sandbox.join("agent")).env("HOME", sandbox.path()));
            let place = format!("block {} of {}", number + 1, page.display());
            assert_eq!(run.code, Some(0), "{place}\n{block}\n{}{}", run.stdout, run.stderr);
            blocks += 1;
        }
    }
    assert!(blocks >= 5, "{blocks} blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn expectations() {
    let server = Server::start(|_, _| Answer::ok("payload")).await;
    let sandbox = Sandbox::new();
    sandbox.write("url", server.url(""));
    run(&sandbox, "test.lua");
}

#[test]
fn names_and_regions() {
    run(&Sandbox::new(), "names.lua");
}

#[test]
fn images_of_amazon() {
    run(&Sandbox::new(), "aws.lua");
}

#[test]
fn images_in_several_regions_of_amazon() {
    let Some(aws) = Aws::start() else { return };
    // One region fails twice, of another the answer is lost when the copy is there.
    aws.rules(json!([
        { "action": "CopyImage", "region": "eu-west-1", "do": "error", "code": "ResourceLimitExceeded", "times": 2 },
        { "action": "CopyImage", "region": "us-west-2", "do": "lose" },
    ]));
    let sandbox = Sandbox::new();
    let mut command = script(&sandbox, "aws_cloud.lua");
    aws.env(&mut command);
    Run::of(&mut command).expect_code(0);
    assert_eq!(aws.left_but_images(), [""; 0]);
}

#[test]
fn package_managers_of_other_distributions() {
    run(&Sandbox::new(), "managers.lua");
}

#[test]
fn machines_and_options_that_are_refused() {
    run(&Sandbox::new(), "refusals.lua");
}

#[test]
fn every_module_twice_in_one_guest() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("image", image.display().to_string());
    run(&sandbox, "guest.lua");
}

#[test]
fn a_guest_is_hardened() {
    let Some(image) = hardening_guest() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("image", image.display().to_string());
    keygen(&sandbox.join("key"), &["-t", "ed25519", "-N", ""]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/std/harden.md");
    sandbox.write("harden.md", std::fs::read(page).unwrap());
    run(&sandbox, "hardened.lua");
}

#[test]
fn hardening_of_other_distributions() {
    run(&Sandbox::new(), "harden.lua");
}
