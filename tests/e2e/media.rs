//! What is made for a guest and served to it, as a Linux in it sees it.

use std::collections::BTreeMap;

use rimg::engine::options::{Value, decode};
use rimg::engine::placeholders::Placeholders;
use rimg::media::FloppyOptions;

use crate::support::build::TestBuild;
use crate::support::image::guest;
use crate::support::rimg::Sandbox;

/// Lines of `sha256sum` for what is in `dir`, by paths below it.
const DIGESTS: &str = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";

const SCRIPT: &str = r#"local rimg = require "rimg"
local asked = {}
local vm = rimg.qemu {
  source_image = "@IMAGE@", memory = "384M", cpus = 1, vm_name = "reader",
  ssh_username = "vagrant", ssh_password = "vagrant",
  http_directory = "http",
  http_content = {
    ["/answers"] = "{{ .Name }} {{ .HTTPIP }}:{{ .HTTPPort }}\n",
    ["/who"] = function(request)
      asked[#asked + 1] = request.method .. " " .. request.path .. " from " .. request.address
      return { status = 201, headers = { ["X-Thing"] = "1" }, body = "you are " .. request.query.mac .. "\n" }
    end,
    ["/broken"] = function(request) error("no answers today") end,
  },
  cd_files = { "cd/", "note*.txt" },
  cd_content = {
    port = "{{ .HTTPPort }}",
    ["answers/user-data"] = function(values) return "for {{ " .. values.Name end,
  },
  cd_label = "PROVISION",
  floppy_files = { "note*.txt" },
}
local function digests(options)
  vm:run { "sudo", "mount", "-o", "ro," .. options[2], options[1], "/mnt" }
  local found = vm:run("cd /mnt && @DIGESTS@").stdout
  local ports = vm:run("cat /mnt/port 2>/dev/null || true").stdout
  local modes = vm:run("find /mnt -type f -perm -u+x").stdout
  vm:run "sudo umount /mnt"
  return found, ports, modes
end
local cd = "/dev/disk/by-label/PROVISION"
local rock_ridge, port, modes = digests { cd, "nojoliet" }
rimg.fs.write("rock_ridge", rock_ridge)
assert(modes == "/mnt/setup.sh\n", modes)
rimg.fs.write("joliet", (digests { cd, "norock,utf8" }))
vm:upload("floppy.img", "/tmp/floppy.img")
rimg.fs.write("vfat", (digests { "/tmp/floppy.img", "loop,utf8" }))

local function get(path)
  local request = ("exec 3<>/dev/tcp/10.0.2.2/%s; printf 'GET %s HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"):format(port, path)
  return vm:run { "bash", "-c", request }.stdout
end
local answers = get "/answers"
assert(answers:find("reader 10.0.2.2:" .. port, 1, true), answers)
local who = get "/who?mac=52:54"
assert(who:find("201 Created", 1, true) and who:lower():find("x-thing: 1", 1, true) and who:find("you are 52:54", 1, true), who)
assert(table.concat(asked, ",") == "GET /who from 127.0.0.1", asked[1])
assert(get("/broken"):find("500 Internal", 1, true))
local sum = vm:run { "bash", "-c", ("exec 3<>/dev/tcp/10.0.2.2/%s; printf 'GET /big.bin HTTP/1.0\\r\\n\\r\\n' >&3; sed '1,/^\\r$/d' <&3 | sha256sum"):format(port) }.stdout
assert(sum:sub(1, 64) == rimg.hash.file("http/big.bin", "sha256"), sum)
"#;

/// Digests of files as `sha256sum` prints them.
fn lines(files: &BTreeMap<String, Vec<u8>>) -> String {
    use sha2::Digest;
    files.iter().map(|(path, bytes)| format!("{}  ./{path}\n", hex::encode(sha2::Sha256::digest(bytes)))).collect()
}

#[test]
fn a_guest_reads_what_is_made_for_it() {
    use std::os::unix::fs::PermissionsExt;
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    let pattern = |count: usize| (0..count).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
    sandbox.write("http/big.bin", pattern(5_000_000));
    let mut files = BTreeMap::new();
    for (path, bytes) in [
        ("setup.sh", b"#!/bin/sh\n".to_vec()),
        ("Autounattend.xml", b"<unattend/>".to_vec()),
        (".hidden", b"h".to_vec()),
        ("empty", Vec::new()),
        ("drivers/a rather long name, with spaces and a comma, of a driver.inf", pattern(70_000)),
        ("drivers/amd64/vio/stor/Gr\u{f6}\u{df}e.sys", pattern(2_000_000)),
    ] {
        sandbox.write(format!("cd/{path}"), &bytes);
        files.insert(path.to_owned(), bytes);
    }
    std::fs::set_permissions(sandbox.join("cd/setup.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write("notes.txt", "n");
    files.insert("notes.txt".into(), b"n".to_vec());

    // Kernels for clouds have no driver for floppy drives: this one is mounted from a file.
    let build = TestBuild::new(sandbox.path());
    let mut on_floppy = files.clone();
    on_floppy.retain(|path, bytes| !path.contains("vio") || bytes.len() < 100_000);
    let contents = on_floppy.iter().map(|(path, bytes)| (path.clone(), Value::Bytes(bytes.clone()))).collect();
    let options = decode("x", Value::Map(vec![("floppy_content".into(), Value::Map(contents))]));
    let options: FloppyOptions = options.unwrap();
    options.validate(&build.cx).unwrap();
    let values = Placeholders::default();
    let floppy = sandbox.join("floppy.img");
    tokio::runtime::Runtime::new().unwrap().block_on(options.write(&floppy, &values, &build.cx)).unwrap();

    let source = SCRIPT.replace("@IMAGE@", &image.display().to_string()).replace("@DIGESTS@", DIGESTS);
    let run = sandbox.run(&source, &[]).expect_code(0);
    for line in [
        "http: GET /answers 200",
        "http: GET /who?mac=52:54 201 (14 B)",
        "http: GET /broken 500",
        "http_content[\"/broken\"]: build.lua:13: no answers today",
    ] {
        assert!(run.stdout.contains(line), "no {line:?} in {}", run.stdout);
    }
    assert_eq!(sandbox.read("vfat"), lines(&on_floppy));
    let read = sandbox.read("rock_ridge");
    assert_eq!(sandbox.read("joliet"), read);
    files.insert("answers/user-data".into(), b"for {{ reader".to_vec());
    let without_port: String =
        read.lines().filter(|line| !line.ends_with("  ./port")).map(|line| format!("{line}\n")).collect();
    assert_eq!(without_port, lines(&files));
}

#[test]
fn mistakes_in_media_are_found_by_check() {
    let sandbox = Sandbox::new();
    sandbox.write("disk.img", "");
    sandbox.write("http/a", "");
    sandbox.write("big/f", vec![0; 1_500_000]);
    sandbox.write(
        "build.lua",
        r#"local rimg = require "rimg"
local function says(options)
  options.source_image, options.ssh_username, options.ssh_password = "disk.img", "u", "p"
  local ok, err = pcall(rimg.qemu, options)
  rimg.log.info(ok and "fine" or err.message:gsub("/.*/", "/…/"))
end
says { boot_command = { "<enter>{{ .HTTPIP }}:{{ .HTTPPort }}" }, http_directory = "http" }
says { boot_command = { "{{ .HTTPPort }}" } }
says { http_content = { ["/a"] = "{{ .HTTPIPP }}" } }
says { cd_content = { ["a"] = "{{ .nam }}" } }
says { cd_files = { "nowhere/user-data" } }
says { cd_files = { "http/*.cfg" } }
says { floppy_dirs = { "big" } }
says { http_directory = "disk.img" }
"#,
    );
    let run = sandbox.rimg(["check", "build.lua"]).expect_code(0);
    let said: Vec<&str> = run.stdout.lines().filter_map(|line| line.strip_prefix("build | ")).collect();
    for expected in [
        "fine",
        "rimg.qemu: option `boot_command[1]`: there is no placeholder `{{ .HTTPPort }}` here",
        "rimg.qemu: option `http_content[\"/a\"]`: there is no placeholder `{{ .HTTPIPP }}` here",
        "rimg.qemu: option `cd_content[\"a\"]`: there is no placeholder `{{ .nam }}` here",
        "rimg.qemu: option `cd_files`: cannot read /…/user-data: No such file or directory (os error 2)",
        "rimg.qemu: option `cd_files`: nothing matches /…/*.cfg",
        "rimg.qemu: floppy_files, floppy_dirs, floppy_content, floppy_label: the floppy has room for 1457664 bytes, and would need 1500672: 43008 too many",
        "rimg.qemu: option `http_directory`: /…/disk.img is not a folder",
    ] {
        assert!(said.contains(&expected), "no {expected:?} in {said:#?}");
    }
}
