//! The main job, whole: a real guest in QEMU, from a disk image to a finished, tested and packed one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::image::guest;
use crate::support::library::{expect_png, has, tool};
use crate::support::rimg::Sandbox;

/// The script of the main job; `IMAGE` is the guest's.
const MAIN_JOB: &str = r#"local rimg = require "rimg"
rimg.build("web", function()
  local placeholder
  local vm = rimg.qemu {
    source_image = "IMAGE", memory = "512M", cpus = 2, serial_log = "serial.log",
    ssh_username = "vagrant", ssh_password = "vagrant", shutdown_command = "sudo systemctl poweroff",
    boot_wait = "-1s", boot_command = { function(values) placeholder = values.HTTPIP end },
  }
  assert(placeholder == "10.0.2.2", placeholder)
  local facts
  rimg.step("operations", function()
    facts = vm:facts()
    assert(facts.os_family == "debian" and facts.version == "12" and facts.hostname == "guest" and facts.init == "systemd")
    assert(facts.user == "vagrant" and not facts.is_root and facts.has_sudo and facts.cpus == 2)
    assert(vm:run("id -un").stdout == "vagrant\n" and vm:run("id -un", { sudo = true }).stdout == "root\n")
    vm:write("/etc/built", "by rimg\n", { sudo = true, owner = "root:root", mode = "0600" })
    assert(vm:read("/etc/built", { sudo = true }) == "by rimg\n")
    assert(not pcall(vm.read, vm, "/etc/built"))
    vm:shell { script = "provision.sh", sudo = true, env = { ANSWER = "42" } }
    assert(vm:run("cat /etc/answer").stdout == "42\n")
    vm:upload("tree/", "/opt/tree", { sudo = true })
    vm:download("/opt/tree/", "tree-back")
    assert(rimg.fs.read("tree-back/deep/leaf") == "leaf")
    vm:screenshot "screen.png"
    -- What reads the keys must be there before they are: a terminal without a reader has none.
    vm:run("systemctl stop getty@tty1", { sudo = true })
    vm:write("/tmp/reads", "exec </dev/tty1\ntouch /run/reads\nexec head -n 2 >/run/typed")
    vm:run("systemd-run --quiet sh /tmp/reads; until test -e /run/reads; do sleep 0.1; done", { sudo = true })
    vm:type("~ One <Line>, {'quoted'} & \"shifted\"<enter>l<leftShiftOn>ine<leftShiftOff> 2|\n", { timeout = "1m" })
    vm:run("until test $(wc -l </run/typed) = 2; do sleep 0.1; done", { timeout = "20s" })
    assert(vm:read("/run/typed") == "~ One <Line>, {'quoted'} & \"shifted\"\nlINE 2|\n", vm:read("/run/typed"))
    local ok, err = pcall(vm.type, vm, "<entr>")
    assert(not ok and err.kind == "option" and err.message:find "column 1" and err.hint:find "<enter>", tostring(err))
    ok, err = pcall(vm.type, vm, "\u{416}", { keyboard_layout = "uk" })
    assert(not ok and err.message:find "no key for", tostring(err))
  end)
  rimg.step("reboot", function()
    local function boot_id() return vm:run("cat /proc/sys/kernel/random/boot_id").stdout end
    local before = boot_id()
    vm:reboot()
    assert(boot_id() ~= before, "still the same boot")
    assert(vm:run("cat /etc/answer").stdout == "42\n")
  end)
  local image = vm:finish { output_directory = "out", name = "web" }
  local ok, err = pcall(vm.run, vm, "true")
  assert(not ok and err.kind == "machine", tostring(err))
  image:checksum { "sha256", "md5" }
  image:convert { format = "vmdk" }
  image:convert { format = "raw", output = "out/raw/web.img" }
  image:compress { output = "out/web.tar.zst" }
  image:vagrant { output = "out/web.box" }:checksum { "sha512" }:manifest { output = "out/manifest.json", custom_data = { by = "test" } }
  image:boot({ memory = "384M" }, function(test)
    assert(test:run("cat /etc/answer").stdout == "42\n")
    test:run("touch /etc/throwaway", { sudo = true })
  end)
  image:boot(function(test)
    test:run "test ! -e /etc/throwaway"
    test:run "echo not fit >&2; exit 3"
  end)
end)
"#;

#[test]
fn a_guest_becomes_an_image_that_is_tested_and_packed() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("provision.sh", "#!/bin/bash\nset -e\necho \"$ANSWER\" >/etc/answer\n: >/etc/machine-id\n");
    sandbox.write("tree/top", "top");
    sandbox.write("tree/deep/leaf", "leaf");
    let run = sandbox.run(&MAIN_JOB.replace("IMAGE", &image.display().to_string()), &[]);
    let (out, names) = (sandbox.join("out"), |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    });

    // The second smoke test fails the run; what is finished stays, and the throwaway copies do not.
    let run =
        run.expect_code(1).expect_errors(&["qemu: run `echo not fit >&2; exit 3`", "not fit", "--> build.lua:58"]);
    let made = "manifest.json raw web.box web.box.sha512 web.qcow2 web.qcow2.md5 web.qcow2.sha256 web.tar.zst web.vmdk";
    assert_eq!(names(&out), made);
    assert_eq!(run.stdout.matches("KVM does not work").count() + run.stdout.matches("/dev/kvm").count(), {
        usize::from(!sandbox.read_if(".state/accelerators.json").contains("\"problem\": null"))
    });
    for text in ["operations", "reboot", "smoke test", "web.qcow2", "web.box", "sha256", "sha512"] {
        assert!(run.stdout.contains(text), "{text:?} is not in the summary:\n{}", run.stdout);
    }

    // The image is whole, is its own, and is what its checksums say, also after two smoke tests.
    tool(&out, "qemu-img", &["check", "-q", "web.qcow2"]);
    let info: Value = serde_json::from_slice(&tool(&out, "qemu-img", &["info", "--output=json", "web.qcow2"])).unwrap();
    assert_eq!(info["format"], "qcow2");
    assert!(info.get("backing-filename").is_none(), "{info}");
    tool(&out, "sha256sum", &["-c", "web.qcow2.sha256"]);
    tool(&out, "md5sum", &["-c", "web.qcow2.md5"]);
    tool(&out, "sha512sum", &["-c", "web.box.sha512"]);

    // The other formats have the same content.
    for (other, format) in [("web.vmdk", "vmdk"), ("raw/web.img", "raw")] {
        tool(&out, "qemu-img", &["compare", "-q", "-f", "qcow2", "-F", format, "web.qcow2", other]);
    }
    let listed = tool(&out, "tar", &["--zstd", "-tf", "web.tar.zst"]);
    assert!(String::from_utf8_lossy(&listed).contains("web.qcow2"));

    // The manifest is Packer's, field for field.
    let manifest: Value = serde_json::from_str(&sandbox.read("out/manifest.json")).unwrap();
    let build = &manifest["builds"][0];
    let mut fields: Vec<&str> = build.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields.join(" "), "artifact_id build_time builder_type custom_data files name packer_run_uuid");
    assert_eq!((&build["name"], &build["custom_data"]["by"]), (&"web".into(), &"test".into()));
    assert_eq!(manifest["last_run_uuid"], build["packer_run_uuid"]);

    // The screen and the serial console.
    expect_png(&sandbox.join("screen.png"));
    assert!(sandbox.read("serial.log").contains("guest login:"), "{}", sandbox.read("serial.log"));

    // A real Vagrant takes the box.
    if has("vagrant") {
        let mut command = Command::new("vagrant");
        command.args(["box", "add", "--name", "web", "web.box"]).current_dir(&out);
        let added = command.env("VAGRANT_HOME", sandbox.join("vagrant")).output().unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        assert!(String::from_utf8_lossy(&added.stdout).contains("libvirt"));
    }
}
