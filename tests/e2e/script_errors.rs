//! Bad scripts and bad surroundings through the real binary: what it says, its exit code, and that nothing is left.

use std::fs;

use crate::support::http::{Answer, Server};
use crate::support::library::has;
use crate::support::rimg::{Run, Sandbox};

/// Runs a script whose line 2 is wrong: the error must show that line, and nothing may have run.
#[track_caller]
fn wrong_second_line(line: &str, messages: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("image.qcow2", "");
    let run = sandbox.run(&format!("local rimg = require \"rimg\"\n{line}\n"), &[]).expect_code(2);
    let run = run.expect_errors(messages).expect_errors(&["--> build.lua:2", &format!("> 2 | {line}")]);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    assert!(!run.stderr.contains("__mlua") && !run.stderr.contains("rimg/prelude"), "{}", run.stderr);
    assert!(!run.stdout.contains("boot"), "{}", run.stdout);
}

#[test]
fn an_unknown_option_is_named_with_the_nearest() {
    for (line, option, nearest) in [
        (r#"rimg.qemu { source_imag = "image.qcow2" }"#, "rimg.qemu: option `source_imag`", "`source_image`"),
        (r#"rimg.qemu { source_image = "image.qcow2", cpuss = 2 }"#, "option `cpuss`", "`cpus`"),
        (
            r#"rimg.qemu { source_image = "image.qcow2", shutdown_comand = "x" }"#,
            "`shutdown_comand`",
            "`shutdown_command`",
        ),
        (r#"rimg.exec("true", { chek = false })"#, "rimg.exec: option `chek`", "`check`"),
        (r#"rimg.var("a", { defualt = 1 })"#, "rimg.var: option `defualt`", "`default`"),
        (r#"rimg.secret("a", { optinal = true })"#, "option `optinal`", "`optional`"),
        (r#"rimg.retry({ atempts = 1 }, function() end)"#, "option `atempts`", "`attempts`"),
        (r#"rimg.download { urll = "x" }"#, "option `urll`", "`url`"),
        (r#"rimg.artifact { file = "image.qcow2" }"#, "option `file`", "`files`"),
    ] {
        wrong_second_line(line, &[option, "there is no such option", &format!("hint: did you mean {nearest}?")]);
    }
}

#[test]
fn an_unknown_function_is_named_with_the_nearest() {
    wrong_second_line("rimg.qemoo {}", &["rimg has no `qemoo`", "hint: did you mean `qemu`?"]);
    wrong_second_line("rimg.fs.raed('x')", &["`raed`", "hint: did you mean `read`?"]);
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", "");
    let run = sandbox.run("require('rimg').artifact('disk.img'):cheksum()\n", &[]).expect_code(1);
    run.expect_errors(&["an artifact has no `cheksum`", "--> build.lua:1", "hint: did you mean `checksum`?"]);
}

#[test]
fn a_wrong_type_says_what_was_found_and_what_was_expected() {
    for (line, message) in [
        (
            r#"rimg.qemu { source_image = "image.qcow2", cpus = "two" }"#,
            r#"`cpus`: expected a whole number, found the string "two""#,
        ),
        (r#"rimg.qemu { source_image = "image.qcow2", memory = "much" }"#, "option `memory`"),
        (r#"rimg.qemu { source_image = "image.qcow2", shutdown_timeout = "soon" }"#, "option `shutdown_timeout`"),
        (r#"rimg.qemu { source_image = "image.qcow2", headless = "yes" }"#, "option `headless`"),
        (r#"rimg.qemu { source_image = "image.qcow2", disk_interface = "virtoi" }"#, "did you mean `virtio`?"),
        (r#"rimg.qemu { source_image = "image.qcow2", qemuargs = { "device x" } }"#, "option `qemuargs[1]`"),
        ("rimg.sleep('a while')", "rimg.sleep"),
        ("rimg.exec(nil)", "rimg.exec"),
        ("rimg.build('x')", "rimg.build"),
    ] {
        wrong_second_line(line, &[message]);
    }
}

#[test]
fn a_missing_file_is_named_with_its_full_path() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().canonicalize().unwrap();
    for (call, file) in [
        (r#"rimg.qemu { source_image = "no/such.qcow2", ssh_username = "u" }"#, "no/such.qcow2"),
        (r#"rimg.artifact { files = "no/such.qcow2" }"#, "no/such.qcow2"),
        (r#"rimg.fs.read("no/such.txt")"#, "no/such.txt"),
        (r#"require "roles.web""#, "roles/web.lua"),
        (r#"rimg.secret("token", { file = "no/token" })"#, "no/token"),
    ] {
        let run = sandbox.run(&format!("local rimg = require \"rimg\"\n{call}\n"), &[]).expect_code(2);
        run.expect_errors(&[&folder.join(file).display().to_string(), "--> build.lua:2"]);
    }
}

#[test]
fn a_syntax_error_is_shown_where_it_is() {
    let sandbox = Sandbox::new();
    let run = sandbox.run("local a = 1\nif a the\n  a = 2\nend\n", &[]).expect_code(2);
    run.expect_errors(&["error: 'then' expected near 'the'", "--> build.lua:2", "> 2 | if a the"]);
    // In a module it is the module's line that is shown.
    sandbox.write("roles/web.lua", "local role = {}\nrole.x = = 1\nreturn role\n");
    let run = sandbox.run("local web = require 'roles.web'\n", &[]).expect_code(2);
    run.expect_errors(&["unexpected symbol near '='", "--> roles/web.lua:2", "> 2 | role.x = = 1"]);
    let run = sandbox.run("return 1,\n", &[]).expect_code(2);
    run.expect_errors(&["<eof>"]);
    // Not text at all.
    sandbox.write("build.lua", [0x1b, b'L', b'u', b'a', 0xff, 0xfe]);
    let run = sandbox.rimg(["run", "build.lua"]).expect_code(2);
    run.expect_errors(&["error: ", "build.lua"]);
}

#[test]
fn a_runtime_error_shows_the_line_and_the_way_there() {
    let sandbox = Sandbox::new();
    sandbox.write("roles.lua", "return { install = function(role)\n  return role.packages.count\nend }\n");
    let source = r#"local rimg = require "rimg"
local roles = require "roles"
local function outer()
  local count = roles.install({})
  return count
end
rimg.build("web", function() outer() end)
"#;
    let run = sandbox.run(source, &[]).expect_code(1);
    assert!(run.stdout.contains("web  failed"), "{}", run.stdout);
    let run = run.expect_errors(&[
        "error in build web: attempt to index a nil value (field 'packages')",
        "--> roles.lua:2",
        "> 2 |   return role.packages.count",
        "roles.lua:2: in ",
        "build.lua:4: in ",
        "build.lua:7: in function",
        "hint: the name is not set here",
    ]);
    assert!(!run.stderr.contains("[C]") && !run.stderr.contains("mlua"), "{}", run.stderr);
}

#[test]
fn an_error_survives_awaits_coroutines_and_parallel() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
rimg.build("a", function()
  rimg.parallel({ 1, 2, 3 }, function(n)
    rimg.sleep(0.01 * n)
    if n == 2 then error("two is bad") end
    rimg.sleep("30s")
  end)
end)
rimg.build("b", function()
  local walk = coroutine.wrap(function() rimg.sleep(0.01) coroutine.yield(1) error({ message = "as a table", hint = "do it so" }) end)
  walk() walk()
end)
rimg.build("c", function() rimg.retry({ attempts = 2, backoff = 0 }, function() rimg.fail("as said", { hint = "like this" }) end) end)
"#;
    let run = sandbox.run(source, &[]).expect_code(1);
    assert!(run.stdout.contains("3 of 3 builds failed"), "{}", run.stdout);
    run.expect_errors(&[
        "error in build a: two is bad",
        "--> build.lua:5",
        "error in build b: as a table",
        "hint: do it so",
        "error in build c: as said",
        "hint: like this",
        "--> build.lua:13",
    ]);
}

#[test]
fn a_variable_without_a_value_says_how_to_give_one() {
    wrong_second_line(
        r#"local v = rimg.var("version")"#,
        &["`version`", "no value", "-v version=VALUE", "--var-file", "RIMG_VAR_version"],
    );
    wrong_second_line(
        r#"local v = rimg.secret("token", { env = "NO_SUCH_TOKEN" })"#,
        &["`token`", "no value", "NO_SUCH_TOKEN"],
    );
    let sandbox = Sandbox::new();
    let source = "local v = require('rimg').var('size', { default = 3 })\n";
    let run = sandbox.run(source, &["-v", "size=many"]).expect_code(2);
    run.expect_errors(&["`size`", "expected a number, found \"many\"", "--> build.lua:1"]);
    let run = sandbox.run(source, &["--var-file", "no.json"]).expect_code(2);
    run.expect_errors(&["no.json"]);
    sandbox.write("bad.toml", "size = = 3");
    let run = sandbox.run(source, &["--var-file", "bad.toml"]).expect_code(2);
    run.expect_errors(&["bad.toml"]);
    let run = sandbox.run(source, &["-v", "sise=4"]).expect_code(0);
    assert!(format!("{}{}", run.stdout, run.stderr).contains("sise"), "{}{}", run.stdout, run.stderr);
}

const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Returns every file below a folder.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_checksum_names_both_digests_and_leaves_no_file() {
    let server = Server::start(|_, _| Answer::ok("not the image")).await;
    let actual = rimg::host::digest::of_bytes(rimg::host::digest::Algorithm::Sha256, b"not the image");
    for call in [
        format!(
            "rimg.download {{ url = '{}', checksum = 'sha256:{DIGEST}', to = 'copy.img' }}",
            server.url("/image.qcow2")
        ),
        format!(
            "rimg.qemu {{ source_image = '{}', source_checksum = 'sha256:{DIGEST}', ssh_username = 'u' }}",
            server.url("/image.qcow2")
        ),
    ] {
        if call.contains("qemu {") && !has("qemu-system-x86_64") {
            continue;
        }
        let sandbox = Sandbox::new();
        let run = sandbox.run(&format!("local rimg = require \"rimg\"\n{call}\n"), &[]).expect_code(1);
        run.expect_errors(&[DIGEST, &actual, "/image.qcow2", "--> build.lua:2"]);
        let kept: Vec<String> = files(&sandbox.join(".cache")).into_iter().filter(|f| !f.ends_with(".lock")).collect();
        assert!(kept.is_empty(), "{kept:?}");
        assert!(!sandbox.join("copy.img").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_cannot_be_had_is_named_with_the_reason() {
    let server = Server::start(|_, _| Answer::status(404)).await;
    let nobody = crate::support::sshd::free_port();
    for (url, reason) in [
        (server.url("/image.qcow2"), "404"),
        (format!("http://127.0.0.1:{nobody}/image.qcow2"), "refused"),
        ("http://no-such-host.invalid/image.qcow2".to_owned(), "no-such-host.invalid"),
        ("ftp://127.0.0.1/image.qcow2".to_owned(), "ftp"),
    ] {
        let sandbox = Sandbox::new();
        let source = format!("local rimg = require 'rimg'\nrimg.download {{ url = '{url}', checksum = 'none' }}\n");
        let started = std::time::Instant::now();
        let run = sandbox.run(&source, &[]);
        assert!(matches!(run.code, Some(1 | 2)), "{run:?}");
        run.expect_errors(&[&url, reason, "--> build.lua:2"]);
        assert!(started.elapsed().as_secs() < 60, "{url} took {:?}", started.elapsed());
    }
}

#[test]
fn a_missing_qemu_is_named_with_its_package() {
    let sandbox = Sandbox::new();
    sandbox.write("image.qcow2", "");
    sandbox.write(
        "build.lua",
        "local rimg = require 'rimg'\nrimg.qemu { source_image = 'image.qcow2', ssh_username = 'u' }\n",
    );
    let empty = sandbox.join("bin");
    fs::create_dir(&empty).unwrap();
    for command in ["run", "check"] {
        let run = Run::of(sandbox.command([command, "build.lua"]).env("PATH", &empty)).expect_code(2);
        run.expect_errors(&["qemu-img", "qemu-utils", "--> build.lua:2"]);
        sandbox.assert_clean();
    }
    let run = sandbox.run(
        "local rimg = require 'rimg'\nrimg.qemu { source_image = 'image.qcow2', ssh_username = 'u', qemu_binary = 'qemu-system-vax' }\n",
        &[],
    );
    run.expect_code(2).expect_errors(&["qemu-system-vax", "--> build.lua:2"]);
}

#[test]
fn an_output_that_exists_is_replaced_with_force_only() {
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", vec![7; 100_000]);
    sandbox.write("out/disk.tar.gz", "somebody's");
    let source = "local rimg = require 'rimg'\nrimg.artifact('disk.img'):compress 'out/disk.tar.gz'\n";
    let run = sandbox.run(source, &[]).expect_code(1);
    let path = sandbox.join("out/disk.tar.gz");
    run.expect_errors(&[&path.display().to_string(), "exists already", "--force", "--> build.lua:2"]);
    assert_eq!(sandbox.read("out/disk.tar.gz"), "somebody's");
    let run = sandbox.run(source, &["--force"]).expect_code(0);
    assert!(run.stdout.contains("disk.tar.gz"), "{}", run.stdout);
    let made = fs::read(&path).unwrap();
    assert_eq!(made.get(..2), Some(&[0x1f, 0x8b][..]));
    // What is already what this run would write is left alone, and counts as done.
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    sandbox.run(source, &[]).expect_code(0);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    // A program on the host that fails half-way leaves its output to nobody.
    let source = "local rimg = require 'rimg'\nrimg.artifact('disk.img'):convert { format = 'raw', output = 'out/disk.tar.gz' }\n";
    if has("qemu-img") {
        sandbox.run(source, &[]).expect_code(1).expect_errors(&["exists already", "--> build.lua:2"]);
        assert_eq!(fs::read(&path).unwrap(), made);
    }
}

#[test]
fn errors_are_values_with_fields() {
    let sandbox = Sandbox::new();
    let source = r#"local rimg = require "rimg"
local ok, err = pcall(rimg.exec, "echo out; echo err >&2; exit 3")
assert(not ok and err.kind == "command" and err.status == 3, tostring(err))
assert(err.stdout == "out\n" and err.stderr == "err\n", err.stdout .. err.stderr)
assert(tostring(err):find("exit 3", 1, true), tostring(err))
ok, err = pcall(rimg.qemu, { source_imag = "x" })
assert(err.kind == "option" and err.option == "source_imag", tostring(err.option))
assert(err.hint == "did you mean `source_image`?" and #err.hints >= 1, err.hint)
assert(err.message:find("there is no such option"), err.message)
ok, err = pcall(rimg.timeout, "50ms", function() rimg.sleep("10s") end)
assert(err.kind == "timeout", err.kind)
ok, err = pcall(rimg.fs.read, "no-such-file")
assert(err.kind == "io", err.kind)
ok, err = pcall(rimg.exec, { "no-such-program" })
assert(err.kind == "host", err.kind)
ok, err = pcall(error, { mine = 1 })
assert(err.mine == 1)
local calls = 0
ok, err = pcall(rimg.retry, { attempts = 5, backoff = 0, on = { "network" } }, function() calls = calls + 1 rimg.exec "exit 9" end)
assert(calls == 1 and err.status == 9, calls)
rimg.exec("exit 4", { check = false })
rimg.exec "echo broken >&2; exit 5"
"#;
    let run = sandbox.run(source, &[]).expect_code(1);
    run.expect_errors(&[
        "error: rimg.exec: `echo broken >&2; exit 5` ended with status 5",
        "--> build.lua:22",
        "> 22 |",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_option_errors_and_touches_nothing() {
    let server = Server::start(|_, _| Answer::ok("image")).await;
    let sandbox = Sandbox::new();
    sandbox.write("image.qcow2", "");
    sandbox.write("script.sh", "true");
    let before = files(sandbox.path()).len();
    let head = format!(
        r#"local rimg = require "rimg"
rimg.exec("touch touched")
rimg.fs.write("written", "x")
rimg.download {{ url = "{}", checksum = "none", to = "downloaded" }}
rimg.build("web", function()
  local vm = rimg.qemu {{ source_image = "image.qcow2", ssh_username = "u", ssh_password = "p" }}
"#,
        server.url("/image")
    );
    let tail = "\n  local image = vm:finish { output_directory = 'out' }\n  image:boot(function(test) test:run 'true' end)\n  \
                image:vagrant { output = 'out/web.box' }\n  image:checksum { 'sha256' }\nend)\n";
    let check = |line: &str, tail: &str| {
        sandbox.write("build.lua", format!("{head}  {line}{tail}"));
        let run = sandbox.rimg(["check", "build.lua"]);
        sandbox.assert_clean();
        run
    };
    let good = "vm:shell { script = 'script.sh', sudo = true }\n  vm:run({ 'true' }, { timeout = '5m' })\n  vm:upload('script.sh', '/tmp/x')";
    check(good, tail).expect_code(0);
    for (line, messages) in [
        ("vm:shell { inlin = 'true' }", ["option `inlin`", "`inline`"]),
        ("vm:shell { script = 'no/such.sh' }", ["no/such.sh", "cannot read"]),
        ("vm:shell { inline = 'true', script = 'script.sh' }", ["vm:shell", "inline"]),
        ("vm:run('true', { timeout = 'soon' })", ["option `timeout`", "soon"]),
        ("vm:upload('no/such', '/tmp/x')", ["no/such", "cannot"]),
        ("vm:write('/tmp/x', 'y', { mode = '0999' })", ["mode", "0999"]),
        ("vm:reboot { comand = 'x' }", ["option `comand`", "`command`"]),
        ("vm:uplaod()", ["a machine has no `uplaod`", "`upload`"]),
        ("vm:finish { formt = 'raw' }", ["option `formt`", "`format`"]),
    ] {
        let run = check(line, tail).expect_code(2).expect_errors(&messages);
        run.expect_errors(&["--> build.lua:7", &format!("> 7 |   {line}")]);
    }
    let run = check(good, "\n  vm:finish():checksum { types = { 'sha265' } }\nend)\n").expect_code(2);
    run.expect_errors(&["sha265", "`sha256`", "--> build.lua:10"]);
    assert!(server.requests().is_empty(), "a check must not download");
    let scripts = 1;
    assert_eq!(files(sandbox.path()).len(), before + scripts, "{:?}", files(sandbox.path()));
}

#[test]
fn a_check_finds_what_finish_cannot_make() {
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", "");
    let source = "local rimg = require \"rimg\"\nlocal vm = rimg.qemu { source_image = \"disk.img\" }\nvm:finish { format = \"qcow3\" }\n";
    sandbox.write("build.lua", source);
    let run = sandbox.rimg(["check", "build.lua"]).expect_code(2);
    run.expect_errors(&["option `format`", "qcow3", "--> build.lua:3"]);
}
