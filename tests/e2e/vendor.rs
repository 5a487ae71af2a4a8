//! `rimg vendor` and where `require` looks, with a local repository and a server of archives.

use std::process::Command;

use super::support::http::{Answer, Server};
use super::support::library::has;
use super::support::rimg::{Run, Sandbox};

/// Runs a shell script in the sandbox, with a git that knows no user.
fn sh(sandbox: &Sandbox, script: &str) -> String {
    let done = Command::new("sh")
        .args(["-ec", script])
        .current_dir(sandbox.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "t"), ("GIT_COMMITTER_NAME", "t")])
        .envs([("GIT_AUTHOR_EMAIL", "t@example.org"), ("GIT_COMMITTER_EMAIL", "t@example.org")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

fn vendor(sandbox: &Sandbox, args: &[&str]) -> Run {
    let mut command = sandbox.command([&["vendor"], args].concat());
    command.env("no_proxy", "127.0.0.1").env_remove("http_proxy");
    let run = Run::of(&mut command);
    sandbox.assert_clean();
    run
}

/// A repository with a module in `lua/`, in two versions, the first of them tagged.
fn repository(sandbox: &Sandbox) -> [String; 2] {
    let one = sh(
        sandbox,
        "git init -q -b main repo; cd repo; mkdir -p lua/part; echo 'return { version = 1, part = require \"roles.part\" }' >lua/init.lua
         echo 'return \"part\"' >lua/part/init.lua; echo text >README; git add .; git commit -qm one; git tag v1; git rev-parse HEAD",
    );
    let two = sh(sandbox, "cd repo; sed -i s/1/2/ lua/init.lua; git commit -qam two; git rev-parse HEAD");
    [one, two]
}

const SCRIPT: &str = "local roles = require 'roles'\nprint('version ' .. roles.version .. ' ' .. roles.part)\n";

#[test]
fn a_repository_is_vendored_at_a_commit_and_what_is_changed_in_it_is_warned_of() {
    if !has("git") {
        return;
    }
    let sandbox = Sandbox::new();
    let [one, two] = repository(&sandbox);
    vendor(&sandbox, &["add", "roles", "repo", "--rev", "v1", "--path", "lua"]).expect_code(0);
    let first = sandbox.run(SCRIPT, &[]).expect_code(0);
    assert!(first.stdout.contains("version 1 part"), "{}", first.stdout);
    assert!(!(first.stdout + &first.stderr).contains("vendored"));
    let lock: serde_json::Value = serde_json::from_str(&sandbox.read("lua_modules/lock.json")).unwrap();
    let entry = &lock["modules"]["roles"];
    assert_eq!(entry["commit"], one);
    assert_eq!((entry["rev"].as_str(), entry["url"].as_str()), (Some("v1"), Some("repo")));
    assert_eq!(entry["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["init.lua", "part/init.lua"]);
    assert!(!sandbox.join("lua_modules/roles/.git").exists());
    let listed = vendor(&sandbox, &["ls"]).expect_code(0);
    assert!(listed.stdout.contains(&format!("roles  repo lua/  {} (v1)", one.get(..12).unwrap())), "{}", listed.stdout);

    // The same again is refused, another version is taken by force; the same lock comes of the same thing.
    let text = sandbox.read("lua_modules/lock.json");
    vendor(&sandbox, &["add", "roles", "repo"]).expect_code(1).expect_errors(&["already, from repo", "--force"]);
    vendor(&sandbox, &["add", "roles", "repo", "--path", "lua", "--force"]).expect_code(0);
    assert!(sandbox.run(SCRIPT, &[]).stdout.contains("version 2 part"));
    assert!(sandbox.read("lua_modules/lock.json").contains(&two));
    vendor(&sandbox, &["add", "roles", "repo", "--rev", "v1", "--path", "lua", "--force"]).expect_code(0);
    assert_eq!(sandbox.read("lua_modules/lock.json"), text);

    // A commit, whole or its beginning; a wrong one.
    for rev in [one.as_str(), one.get(..9).unwrap()] {
        vendor(&sandbox, &["add", "roles", "repo", "--rev", rev, "--path", "lua", "--force"]).expect_code(0);
        assert!(sandbox.read("lua_modules/lock.json").contains(&one));
    }
    vendor(&sandbox, &["add", "roles", "repo", "--rev", "main", "--checksum", &one, "--path", "lua", "--force"])
        .expect_code(1)
        .expect_errors(&["main of repo is the commit", &two, &one]);
    vendor(&sandbox, &["add", "new", "repo", "--rev", "nonesuch"]).expect_code(1).expect_errors(&["nonesuch"]);
    vendor(&sandbox, &["add", "new", "repo", "--path", "none"])
        .expect_code(2)
        .expect_errors(&["there is no folder none"]);
    vendor(&sandbox, &["add", "../x", "repo"]).expect_code(2).expect_errors(&["cannot be a module's name"]);
    vendor(&sandbox, &["verify"]).expect_code(0);

    // Changed, new and missing files: warned of by run and check, once, and the script goes on.
    sandbox.write("lua_modules/roles/init.lua", "return { version = 9, part = 'none' }");
    sandbox.write("lua_modules/roles/extra.lua", "");
    sandbox.write("build.lua", format!("{SCRIPT}require 'roles.extra'\n"));
    for mode in ["run", "check"] {
        let run = sandbox.rimg([mode, "build.lua"]).expect_code(0);
        let said = run.stdout + &run.stderr;
        assert!(said.contains("version 9"), "{mode}: {said}");
        assert_eq!(
            said.matches("is not what was vendored: init.lua has changed, extra.lua is new").count(),
            1,
            "{mode}: {said}"
        );
    }
    let verified = vendor(&sandbox, &["verify"]).expect_code(1);
    assert_eq!(verified.stdout, "roles: init.lua has changed\nroles: extra.lua is new\n");
    vendor(&sandbox, &["rm", "role"]).expect_code(2).expect_errors(&["there is no module role", "roles"]);
    vendor(&sandbox, &["rm", "roles"]).expect_code(0);
    assert!(!sandbox.join("lua_modules/roles").exists());
    assert_eq!(vendor(&sandbox, &["ls"]).stdout, "There are no modules in lua_modules.\n");
}

#[test]
fn a_link_that_leads_out_of_a_repository_is_refused() {
    if !has("git") {
        return;
    }
    let sandbox = Sandbox::new();
    sh(
        &sandbox,
        "git init -q -b main repo; cd repo; echo 'return 1' >init.lua; ln -s /etc/passwd data; git add .; git commit -qm one",
    );
    vendor(&sandbox, &["add", "evil", "repo"]).expect_code(1).expect_errors(&["leads out of the module: /etc/passwd"]);
    assert!(!sandbox.join("lua_modules").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_vendored_by_its_checksum() {
    let sandbox = Sandbox::new();
    sh(
        &sandbox,
        "mkdir -p greet-1.0/sub; echo 'return { hello = require \"greet.sub.words\" }' >greet-1.0/greet.lua
         echo 'return \"hello\"' >greet-1.0/sub/words.lua; tar -czf greet.tar.gz greet-1.0; mkdir evil; echo x >evil/a.lua
         tar --transform 's,a.lua,../../../evil.lua,' -P -cf evil.tar evil/a.lua; rm -r greet-1.0 evil",
    );
    let digest = sh(&sandbox, "sha256sum <greet.tar.gz | cut -d' ' -f1");
    let (good, evil) =
        (std::fs::read(sandbox.join("greet.tar.gz")).unwrap(), std::fs::read(sandbox.join("evil.tar")).unwrap());
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/greet.tar.gz" => Answer::ok(good.clone()),
        "/evil.tar" => Answer::ok(evil.clone()),
        "/page.tgz" => Answer::ok("<html>"),
        _ => Answer::status(404),
    })
    .await;
    let url = server.url("/greet.tar.gz");
    vendor(&sandbox, &["add", "greet", &url]).expect_code(2).expect_errors(&["--checksum: is required"]);
    let wrong = format!("sha256:{}", "0".repeat(64));
    vendor(&sandbox, &["add", "greet", &url, "--checksum", &wrong]).expect_code(1).expect_errors(&["wrong sha256"]);
    for (url, text) in [("/evil.tar", "leads outside"), ("/page.tgz", "neither a tar archive"), ("/none.tar", "404")] {
        vendor(&sandbox, &["add", "greet", &server.url(url), "--checksum", "none"])
            .expect_code(1)
            .expect_errors(&[text]);
    }
    assert!(!sandbox.join("lua_modules").exists() && !sandbox.join("evil.lua").exists());

    vendor(&sandbox, &["add", "greet", &url, "--checksum", &format!("sha256:{digest}")]).expect_code(0);
    let requests = server.requests().len();
    let run = sandbox.run("print(require('greet').hello .. ' there')", &[]).expect_code(0);
    assert!(run.stdout.contains("hello there"), "{}", run.stdout);
    assert_eq!(server.requests().len(), requests, "a run fetches nothing");
    let lock: serde_json::Value = serde_json::from_str(&sandbox.read("lua_modules/lock.json")).unwrap();
    assert_eq!(lock["modules"]["greet"]["checksum"], format!("sha256:{digest}"));
    // A token is nobody's business.
    let secret = url.replace("http://", "http://me:s3cret-token@");
    let run = vendor(&sandbox, &["add", "greet", &secret, "--checksum", "none", "--force"]).expect_code(0);
    assert!(
        !sandbox.read("lua_modules/lock.json").contains("s3cret") && !(run.stdout + &run.stderr).contains("s3cret")
    );
}

#[test]
fn further_folders_are_looked_in_after_the_scripts_own() {
    let sandbox = Sandbox::new();
    sandbox.write("shared/roles.lua", "return 'shared ' .. require 'own'");
    sandbox.write("shared/own.lua", "return 'not this'");
    sandbox.write("project/own.lua", "return 'own'");
    sandbox.write("project/lua_modules/roles/init.lua", "return 'vendored'");
    sandbox.write(
        "project/build.lua",
        "local rimg = require 'rimg'\nrimg.module_path '../shared'\nprint(require 'roles')\n",
    );
    let run = sandbox.rimg(["run", "project/build.lua"]).expect_code(0);
    assert!(run.stdout.contains("shared own"), "{}", run.stdout);
    let wrong = "local rimg = require 'rimg'\nrimg.module_path 'none'\n";
    sandbox.run(wrong, &[]).expect_code(2).expect_errors(&["rimg.module_path: there is no folder", "build.lua:2"]);
}
