//! `std.debian`: its options, its mirrors and its cache, with a mmdebstrap that only says what it was asked; the image
//! itself is built and booted by `examples/quickstart`, which `quickstart.rs` runs.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::http::{Answer, Server};
use super::support::library::skip;
use super::support::rimg::{Run, Sandbox};

/// What apt asks a mirror for the news with, and the programs the module wants to see before it starts.
fn host_can() -> bool {
    let missing = ["/usr/lib/apt/apt-helper", "/usr/sbin/mke2fs", "/usr/bin/qemu-img"]
        .into_iter()
        .find(|program| !std::path::Path::new(program).exists());
    missing.inspect(|program| skip(&format!("{program} is not there"))).is_none()
}

/// Puts a `mmdebstrap` first in PATH that writes down how it was called and leaves an "image" where it is to go.
fn with_fake_mmdebstrap(sandbox: &Sandbox, script: &str) -> std::process::Command {
    let fake = sandbox.write(
        "bin/mmdebstrap",
        format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >>{log}\nprintf 'USERS: %s\\n' \"$RIMG_USERS\" >>{log}.env\n\
             echo run >>{log}.runs\n{script}\n\
             for arg; do case $arg in --customize-hook=download*) eval \"set -- ${{arg#*=}}\"; echo image >\"$3\";; esac; done\n",
            log = sandbox.join("log").display(),
        ),
    );
    std::fs::set_permissions(fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.command(["run", "build.lua"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", sandbox.join("bin").display()));
    command.env("no_proxy", "127.0.0.1").env_remove("http_proxy");
    command
}

fn runs(sandbox: &Sandbox) -> usize {
    std::fs::read_to_string(sandbox.join("log.runs")).unwrap_or_default().lines().count()
}

/// A Release file whose package lists have the given number in their digest; signed at another time each time.
fn release(lists: usize, signed: usize) -> String {
    format!(
        "Suite: stable\nDate: {signed}\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 10 main/binary-amd64/Packages.xz\n\
         SHA256:\n {lists:064x} 10 main/binary-amd64/Packages.xz\n {signed:064x} 10 contrib/binary-amd64/Packages.xz\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_anew_when_the_archive_or_the_options_change_and_only_then() {
    if !host_can() {
        return;
    }
    let lists = Arc::new(AtomicUsize::new(1));
    let seen = lists.clone();
    let server = Server::start(move |request, before| {
        assert_eq!(request.path, "/debian/dists/bookworm/InRelease");
        match seen.load(Ordering::Relaxed) {
            0 => Answer::status(500),
            lists => Answer::ok(release(lists, before)),
        }
    })
    .await;
    let sandbox = Sandbox::new();
    let script = |options: &str| {
        let mirror = server.url("/debian");
        sandbox.write(
            "build.lua",
            format!("print(require('std.debian').bootstrap({{ mirror = '{mirror}', {options} }}).path)"),
        );
        Run::of(&mut with_fake_mmdebstrap(&sandbox, "")).expect_code(0)
    };
    script("");
    assert_eq!(runs(&sandbox), 1);
    let again = script("");
    assert_eq!(runs(&sandbox), 1, "{}", again.stdout);
    assert!(again.stdout.contains("taken from the cache"), "{}", again.stdout);
    // Other options are another image, and the first one stays.
    script("hostname = 'other'");
    assert_eq!(runs(&sandbox), 2);
    script("");
    assert_eq!(runs(&sandbox), 2);
    // News in the archive.
    lists.store(2, Ordering::Relaxed);
    script("max_age = 3600");
    assert_eq!(runs(&sandbox), 2, "young enough");
    script("");
    assert_eq!(runs(&sandbox), 3);
    // No answer: what there is is better than nothing.
    lists.store(0, Ordering::Relaxed);
    let offline = script("");
    assert_eq!(runs(&sandbox), 3);
    assert!(offline.stdout.contains("cannot be asked"), "{}", offline.stdout);
}

#[test]
fn two_builds_that_want_the_same_image_make_it_once() {
    if !host_can() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(
        "build.lua",
        "local rimg, debian = require 'rimg', require 'std.debian'\n\
         for n = 1, 3 do rimg.build('b' .. n, function()\n\
           debian.bootstrap { mirror = 'http://127.0.0.1:1/debian', max_age = 60 }\n\
         end) end\n",
    );
    Run::of(&mut with_fake_mmdebstrap(&sandbox, "sleep 1")).expect_code(0);
    assert_eq!(runs(&sandbox), 1);
}

#[test]
fn a_password_reaches_no_command_line_and_quotes_reach_the_tree() {
    if !host_can() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(
        "build.lua",
        "require('std.debian').bootstrap { mirror = { 'deb [trusted=yes] http://127.0.0.1:1/x y main' },\n\
           packages = { 'curl' }, users = { { name = 'web', password = [[it's $HOME]], sudo = true } } }\n",
    );
    Run::of(&mut with_fake_mmdebstrap(&sandbox, "")).expect_code(0);
    let arguments = sandbox.read("log");
    assert!(!arguments.contains("$HOME"), "{arguments}");
    assert!(arguments.contains("deb [trusted=yes] http://127.0.0.1:1/x y main\n"), "{arguments}");
    assert!(arguments.lines().any(|line| line.starts_with("--include=") && line.ends_with(",curl")), "{arguments}");
    let environment = sandbox.read("log.env");
    assert!(environment.contains(r"'web:it'\''s $HOME' | in_root chpasswd"), "{environment}");
}

#[test]
fn a_failure_of_mmdebstrap_leaves_nothing_and_is_explained_at_the_scripts_line() {
    if !host_can() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(
        "build.lua",
        "local debian = require 'std.debian'\n\
         local image = debian.bootstrap { mirror = 'http://127.0.0.1:1/debian', packages = { 'nginxx' } }\n\
         print(image)\n",
    );
    let says = "echo 'E: Unable to locate package nginxx' >&2; exit 25";
    let run = Run::of(&mut with_fake_mmdebstrap(&sandbox, says));
    assert_ne!(run.code, Some(0));
    for expected in ["build.lua:2", "Unable to locate package nginxx", "check the names in `packages`"] {
        assert!(run.stderr.contains(expected), "no {expected:?} in {}", run.stderr);
    }
    let cached = sandbox.join(".cache/debian");
    let images = walk(&cached);
    assert!(images.is_empty(), "{images:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn wrong_options_are_named_before_anything_runs() {
    let cases = [
        ("siute = 'x'", "unknown option `siute`", "did you mean `suite`?"),
        ("packages = 'curl'", "option `packages`: expected a list of strings", "the string \"curl\""),
        ("disk_size = '10 potatoes'", "option `disk_size`: expected a size", "build.lua:1"),
        ("disk_size = '100M'", "is too small", "1G at least"),
        ("users = { { nam = 'x' } }", "option `users[1]`: unknown option `nam`", "did you mean `name`?"),
        ("users = { { name = 'x; reboot' } }", "is no user name", "lower-case"),
        ("hostname = 'a b'", "is no host name", "build.lua:1"),
        ("suite = '../x'", "is no name of a release", "bookworm"),
    ];
    if !host_can() {
        return;
    }
    for (options, expected, also) in cases {
        let sandbox = Sandbox::new();
        sandbox.write("build.lua", format!("local i = require('std.debian').bootstrap {{ {options} }}"));
        let run = Run::of(&mut with_fake_mmdebstrap(&sandbox, "")).expect_code(2);
        assert!(run.stderr.contains(expected) && run.stderr.contains(also), "{options}: {}", run.stderr);
        assert_eq!(runs(&sandbox), 0);
    }
}

#[test]
fn the_hosts_own_sources_are_read_in_both_formats() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "build.lua",
        r#"
local sources = require "std.debian.sources"
local entries = sources.parse_list("deb http://other.example/chat/deb stable main")
for _, entry in ipairs(sources.parse_sources([[
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm-security
Components: main
]])) do entries[#entries + 1] = entry end
for _, entry in ipairs(sources.parse_list([[
deb [arch=amd64 signed-by=/k.gpg] http://security.example/debian-security bookworm-security main # why
deb http://other.example/linux/browser/deb stable main
# deb http://gone.example/debian bookworm main
]])) do entries[#entries + 1] = entry end
local found = sources.mirrors(entries)
assert(found.main.uri == "http://mirror.example/debian" and found.main.signed_by == "/usr/share/keyrings/debian.gpg")
assert(found.updates.uri == "http://mirror.example/debian")
assert(found.security.uri == "http://security.example/debian-security" and found.security.signed_by == "/k.gpg")
assert(sources.mirrors(sources.parse_list("deb http://x.example/ubuntu noble main")) == nil)
local uri, suite, components = sources.split("deb [trusted=yes] http://x.example/debian sid main contrib")
assert(uri == "http://x.example/debian" and suite == "sid" and table.concat(components, "+") == "main+contrib")
"#,
    );
    sandbox.rimg(["run", "build.lua"]).expect_code(0);
}
