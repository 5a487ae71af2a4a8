//! Canaries in every place where a secret can enter, and a search through all that a run leaves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::support::http::{Answer, Server};
use crate::support::rimg::{Run, Sandbox};
use crate::support::sshd::{Sshd, keygen};

/// What a script is given, and how it is spelt: characters that URLs, JSON and shells write in other ways are in it.
struct Canary {
    name: &'static str,
    text: String,
}

fn canary(name: &'static str) -> Canary {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    Canary { name, text: format!("{name}-{}/+&=q\"$'x", unique.split_at(12).0) }
}

impl Canary {
    /// Returns in what form it is in `content`: as it is, or as something may have written it.
    fn found_in(&self, content: &[u8]) -> Option<String> {
        // What is unique of it has no character that is escaped anywhere: the longest such piece, of a key's line, too.
        let pieces = self.text.split(|c: char| !c.is_ascii_alphanumeric());
        let unique = pieces.max_by_key(|piece| piece.len()).unwrap();
        let mut forms = vec![unique.to_owned(), hex::encode(unique), hex::encode_upper(unique)];
        for before in 0..3 {
            let text = STANDARD_NO_PAD.encode([&vec![0; before][..], unique.as_bytes()].concat());
            let (first, end) = ((before * 8).div_ceil(6), (before + unique.len()) * 8 / 6);
            forms.push(text.split_at(end).0.split_at(first).1.to_owned());
        }
        forms.into_iter().find(|form| memchr::memmem::find(content, form.as_bytes()).is_some())
    }
}

/// Returns all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Looks at the arguments of all processes until it is told to stop; returns what it saw of the canaries, by the process.
fn watch(canaries: Vec<Canary>, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<BTreeSet<String>> {
    let stop = stop.clone();
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
                for canary in canaries.iter().filter(|canary| canary.found_in(&line).is_some()) {
                    seen.insert(format!("{}: {}", canary.name, String::from_utf8_lossy(&line).replace('\0', " ")));
                }
            }
            std::thread::park_timeout(Duration::from_millis(3));
        }
        seen
    })
}

/// Does with `vm` all that a secret can come into. `c` has the canaries by name.
const SCRIPT: &str = r#"
local by_env = rimg.secret("by_env", { env = "CANARY_BY_ENV" })
local by_var = rimg.secret("by_var")
local by_file = rimg.secret("by_file", { file = "secret.pem" })
assert(by_env == c.by_env and by_var == c.by_var and #by_file > 100)
rimg.build("web", function()
  local vm = rimg.host {
    ssh_host = "127.0.0.1", ssh_port = c.port, ssh_username = "root", ssh_private_key_file = "key",
    ssh_private_key_passphrase = c.passphrase, ssh_password = c.ssh_password, ssh_timeout = "30s",
  }
  -- Commands: environment, input, words; and what they say, in whatever spelling.
  vm:run("sleep 0.2; echo env $T; printf %s \"$T\" | base64; printf x%s \"$T\" | base64 -w0; printf %s \"$T\" | od -An -vtx1 | tr -d ' \\n'",
    { env = { T = by_env } })
  vm:run({ "echo", "argument", by_var })
  vm:run("sleep 0.2; cat >&2", { input = "in " .. by_env })
  vm:run("cat", { input = by_file })
  vm:shell { inline = { "echo inline $T", "set -x", ": $T" }, env = { T = by_env } }
  vm:shell { script = "script.sh", env = { T = by_env }, sudo = true }
  vm:shell { inline = "echo $T", env = { T = by_env }, execute_command = "sleep 0.2; {{ .Vars }} sh {{ .Path }}" }
  -- Files.
  vm:write(c.remote .. "/written", "content " .. by_env)
  print(vm:read(c.remote .. "/written"))
  vm:upload("upload.txt", c.remote .. "/uploaded")
  vm:upload("tree", c.remote .. "/tree")
  vm:template("file.tmpl", c.remote .. "/rendered", { x = by_env })
  vm:download(c.remote .. "/written", "out/downloaded")
  -- This host.
  rimg.exec({ "sh", "-c", "sleep 0.2; echo $T; cat" }, { env = { T = by_env }, input = by_env })
  rimg.exec({ "echo", by_var })
  print(rimg.template("{{ x }}", { x = by_env }), rimg.base64.encode(by_env), rimg.json.encode { a = by_env })
  rimg.log.info("said " .. by_env)
  rimg.log.debug(by_file)
  rimg.step("step " .. by_env, function() end)
  -- Servers.
  pcall(rimg.http.post, c.url .. "/post", { headers = { Authorization = "Bearer " .. c.bearer_header, ["X-Api-Key"] = c.api_key },
    body = by_env, query = { access_token = c.query_token } })
  print(rimg.http.get(c.url .. "/get", { username = "me", password = c.basic }).status)
  print(rimg.http.get(c.url .. "/get", { bearer = c.bearer }).status, c.bearer_header, c.api_key, c.query_token)
  rimg.download { url = (c.url:gsub("//", "//me:" .. c.url_password .. "@")) .. "/file", checksum = "none" }
  rimg.download { url = c.url .. "/file?X-Signature=" .. c.signature, checksum = "none" }
  for _, machine in ipairs {
    { ssh_bastion_host = "127.0.0.1", ssh_bastion_port = c.port, ssh_bastion_username = "nobody-here", ssh_bastion_password = c.bastion },
    { ssh_bastions = { { host = "127.0.0.1", port = 1, username = "x", password = c.bastions } } },
    { ssh_proxy_host = "127.0.0.1", ssh_proxy_port = c.port, ssh_proxy_username = "x", ssh_proxy_password = c.proxy },
    { ssh_password = c.wrong_password },
  } do
    machine.ssh_host, machine.ssh_port, machine.ssh_timeout = "127.0.0.1", c.port, "3s"
    machine.ssh_username = "root"
    if not machine.ssh_password then machine.ssh_private_key_file, machine.ssh_private_key_passphrase = "key", c.passphrase end
    local ok, e = pcall(rimg.host, machine)
    print(ok, ok and "" or e.message)
  end
  print(c.bastion, c.bastions, c.proxy, c.wrong_password, c.ssh_password, c.passphrase, c.basic, c.bearer, c.url_password, c.signature)
  -- What is made of it.
  local image = rimg.artifact { files = { "disk.img" } }
  local box = image:compress { output = "out/disk.img.gz" }
  box:checksum { "sha256" }
  box:manifest { output = "out/manifest.json", custom_data = { token = by_env } }
  pcall(vm.run, vm, "echo failing $T; exit 1", { env = { T = by_env } })
  vm:run("echo last " .. by_var .. " >&2; exit 1")
end)
"#;

/// Writes a table of Lua.
fn lua(entries: &[(&str, &str)]) -> String {
    let mut text = String::from("local rimg = require 'rimg'\nlocal c = {\n");
    for (name, value) in entries {
        let _ = writeln!(text, "  {name} = [==[{value}]==],");
    }
    text + "}\nc.port = tonumber(c.port)\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_is_found_in_anything_that_a_run_leaves() {
    let Some(sshd) = Sshd::start("LogLevel VERBOSE\nPasswordAuthentication yes") else { return };
    let server = Server::start(|_, _| Answer::ok("what is served")).await;
    let (sandbox, remote) = (Sandbox::new(), tempfile::tempdir().unwrap());
    let names = [
        "by_env",
        "by_var",
        "passphrase",
        "ssh_password",
        "bearer_header",
        "api_key",
        "query_token",
        "basic",
        "bearer",
        "url_password",
        "signature",
        "bastion",
        "bastions",
        "proxy",
        "wrong_password",
    ];
    let mut canaries: Vec<Canary> = names.into_iter().map(canary).collect();
    let by_name = |canaries: &[Canary], name: &str| canaries.iter().find(|c| c.name == name).unwrap().text.clone();
    // In a URL only what may stand there.
    for canary in canaries.iter_mut().filter(|canary| ["url_password", "signature"].contains(&canary.name)) {
        canary.text = canary.text.split('/').next().unwrap().to_owned();
    }
    let mut entries: Vec<(&str, String)> = names.iter().map(|name| (*name, by_name(&canaries, name))).collect();
    entries.extend([
        ("port", sshd.port.to_string()),
        ("url", server.url("").trim_end_matches('/').to_owned()),
        ("remote", remote.path().display().to_string()),
    ]);
    let borrowed: Vec<(&str, &str)> = entries.iter().map(|(name, value)| (*name, value.as_str())).collect();
    sandbox.write("build.lua", lua(&borrowed) + SCRIPT);
    keygen(&sandbox.join("key"), &["-t", "ed25519", "-N", &by_name(&canaries, "passphrase")]);
    sshd.authorize(&sandbox.read("key.pub"));
    // A key of several lines, each of which is a canary of its own.
    let pem: Vec<String> = (0..6).map(|_| uuid::Uuid::new_v4().simple().to_string().repeat(2)).collect();
    sandbox
        .write("secret.pem", format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", pem.join("\n")));
    for (line, name) in pem.iter().zip(["pem1", "pem2", "pem3", "pem4", "pem5", "pem6"]) {
        canaries.push(Canary { name, text: line.clone() });
    }
    for name in ["upload.txt", "tree/one", "tree/two"] {
        sandbox.write(name, format!("token {}\n", by_name(&canaries, "by_env")));
    }
    sandbox.write("script.sh", "#!/bin/sh\nsleep 0.2\necho script $T\n");
    sandbox.write("file.tmpl", "x = {{ x }}\n");
    sandbox.write("disk.img", vec![7; 100_000]);
    let key = sandbox.read("key");
    for (line, name) in key.lines().filter(|line| line.len() == 70).zip(["key1", "key2", "key3"]) {
        canaries.push(Canary { name, text: line.to_owned() });
    }
    let stop = Arc::new(AtomicBool::new(false));
    // `by_var` is a word of commands, which is for the script to answer for.
    let hidden = canaries.iter().filter(|canary| canary.name != "by_var");
    let hidden = hidden.map(|canary| Canary { name: canary.name, text: canary.text.clone() }).collect();
    let watching = watch(hidden, &stop);
    let began = SystemTime::now();

    let mut said: Vec<(String, Vec<u8>)> = Vec::new();
    let modes: [&[&str]; 4] = [&["--timestamps"], &["--json", "--explain"], &["--debug", "--fresh"], &["terminal"]];
    for mode in modes {
        let _ = std::fs::remove_dir_all(sandbox.join("out"));
        let terminal = mode == ["terminal"];
        let arguments = if terminal { &["--log-file", "run.log"] } else { mode };
        let mut command = sandbox.command(["run", "build.lua"].iter().chain(arguments));
        if terminal {
            let line = format!("'{}' run build.lua --log-file run.log", env!("CARGO_BIN_EXE_rimg"));
            let mut script = Command::new("script");
            script.args(["-qec", &line, "/dev/null"]).current_dir(sandbox.path()).stdin(std::process::Stdio::null());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => script.env(name, value),
                    None => script.env_remove(name),
                };
            }
            script.env("TERM", "xterm").env("COLUMNS", "40");
            command = script;
        }
        if mode != ["--timestamps"] {
            command.env("RIMG_LOG", "trace");
        }
        command.env("CANARY_BY_ENV", by_name(&canaries, "by_env"));
        command.env("RIMG_VAR_by_var", by_name(&canaries, "by_var"));
        let run = tokio::task::spawn_blocking(move || Run::of(&mut command)).await.unwrap();
        let all = format!("{}{}", run.stdout, run.stderr);
        assert!(run.code == Some(1) && all.contains("last ********"), "{mode:?}:\n{}\n{}", run.stdout, run.stderr);
        said.push((format!("stdout of {mode:?}"), run.stdout.into_bytes()));
        said.push((format!("stderr of {mode:?}"), run.stderr.into_bytes()));
    }
    stop.store(true, Ordering::Relaxed);
    let on_command_lines = watching.join().unwrap();
    assert!(on_command_lines.is_empty(), "{on_command_lines:#?}");
    sandbox.assert_clean();

    // What the script was given, and what it was asked to make, it may hold.
    let given = ["build.lua", "secret.pem", "upload.txt", "tree/one", "tree/two", "key", "out/downloaded"];
    let mut places: Vec<PathBuf> = files(sandbox.path());
    places.retain(|path| !given.iter().any(|name| *path == sandbox.join(name)));
    for (folder, begins) in [("/tmp", ""), ("/var/tmp", ""), ("/dev/shm", "")] {
        let new = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|meta| {
                meta.is_file() && meta.len() < 1 << 20 && meta.modified().is_ok_and(|time| time >= began)
            }) && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        places.extend(entries.filter(new));
    }
    assert!(places.iter().any(|path| path.starts_with(sandbox.join(".state"))), "{places:#?}");
    assert!(places.iter().any(|path| path.starts_with(sandbox.join(".cache/replay"))), "{places:#?}");
    for path in ["run.log", "out/manifest.json"] {
        assert!(places.contains(&sandbox.join(path)), "{path}");
    }
    let mut leaks = BTreeSet::new();
    for (place, content) in said
        .into_iter()
        .chain(places.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap_or_default())))
    {
        for canary in &canaries {
            if let Some(form) = canary.found_in(&content) {
                let at = memchr::memmem::find(&content, form.as_bytes()).unwrap();
                let around = &content[at.saturating_sub(60)..(at + 60).min(content.len())];
                leaks.insert(format!("{} as {form} in {place}: …{}…", canary.name, String::from_utf8_lossy(around)));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
