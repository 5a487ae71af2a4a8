//! Installing from media: a boot loader that is typed into, answers over HTTP, a disk at the end.

use crate::support::installer;
use crate::support::library::has;
use crate::support::place;
use crate::support::rimg::Sandbox;

/// The tests' own installer, from its menu to a finished image, with each firmware. `MEDIUM` is its ISO.
const INSTALL: &str = r#"local rimg = require "rimg"

local function install(name, options)
  rimg.build(name, function()
    local asked = 0
    local vm = rimg.qemu {
      iso_url = "MEDIUM", iso_checksum = "none", accelerator = "tcg",
      disk_size = "6G", memory = "1G", cpus = 2, efi_boot = options.efi, serial_log = name .. ".serial",
      http_content = {
        ["/answers"] = function(request)
          asked = asked + 1
          assert(request.method == "GET" and request.path == "/answers")
          return "hostname=" .. name .. "\nauthorized_key='" .. request.values.SSHPublicKey .. "'\n"
        end,
      },
      boot_command = {
        { expect = "press c and say where", timeout = "2m" },
        "c",
        { expect = "grub>" },
        "linux /boot/vmlinuz console=tty0 answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>",
        -- While GRUB loads a file it does not look at the keyboard, and firmware keeps few keys for it.
        { expect = "^ *grub>$" },
        "initrd /boot/initrd.gz<enter>", { expect = "^ *grub>$" }, "boot<enter>",
        { expect = "installer: fetching http", timeout = "2m", fail = { "installer: FAILED.*" } },
        { expect = "going down for the reboot", timeout = "5m", fail = { "installer: FAILED.*" } },
      },
      ssh_username = "root", ssh_timeout = "5m", shutdown_command = "systemctl poweroff",
    }
    assert(asked == 1, asked)
    -- The console from the script: the serial line from its beginning and on from there, the screen as it is now.
    local seen = vm:expect("done, going (down) for", { source = "serial", from_start = true })
    assert(seen.source == "serial" and seen.captures[1] == "down")
    assert(vm:expect({ "no such text", name .. " login:" }, { source = "serial" }).index == 2)
    assert(vm:serial():find("installer: partitioning", 1, true))
    assert(vm:expect(name .. " login:", { source = "screen" }).source == "screen")
    assert(vm:screen_text():find(name .. " login:", 1, true))
    assert(vm:run("cat /etc/hostname").stdout == name .. "\n")
    assert(vm:run("cat /etc/installed").ok)
    local efi = vm:run("test -d /sys/firmware/efi", { check = false }).ok
    assert(efi == options.efi, "the wrong firmware")
    vm:shell { "echo provisioned >/etc/provisioned" }
    local image = vm:finish { output_directory = "out/" .. name, name = name }
    if not options.efi then
      -- Nothing of the installation is needed to boot what it made; the temporary key was taken back.
      local login = { ssh_username = "vagrant", ssh_password = "vagrant" }
      image:boot(login, function(test) test:run "grep provisioned /etc/provisioned" end)
    end
  end)
end

install("bios", { efi = false })
install("efi", { efi = true })
"#;

#[test]
fn a_system_is_installed_in_bios_and_in_efi() {
    let Some(medium) = installer::medium() else { return };
    let _place = place::take();
    let sandbox = Sandbox::new();
    let run = sandbox.run(&INSTALL.replace("MEDIUM", &medium.display().to_string()), &["--parallel", "1"]);
    let run = run.expect_code(0);
    for name in ["bios", "efi"] {
        assert!(sandbox.join(format!("out/{name}/{name}.qcow2")).exists());
    }
    assert!(sandbox.join("out/efi/efivars.fd").exists());
    assert!(run.stdout.contains("GET /answers"), "{}", run.stdout);
}

/// Debian's installer, out of its package and driven by the example, as far as the mirror lets it go.
#[test]
fn debians_installer_fetches_its_answers_and_what_stops_it_is_said() {
    if !["xorriso", "qemu-system-x86_64"].into_iter().all(has) {
        return;
    }
    let _place = place::take();
    let sandbox = Sandbox::new();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/debian-installer");
    std::fs::copy(example.join("build.lua"), sandbox.join("build.lua")).unwrap();
    let run = sandbox.rimg(["run", "build.lua"]);
    sandbox.assert_clean();
    assert!(run.stdout.contains("GET /preseed.cfg"), "{}", run.stdout);
    if run.code == Some(0) {
        assert!(sandbox.join("out/debian.qcow2").exists());
        return;
    }
    // A mirror without the installer's components: the dialog that says so, not a wait without end.
    let run = run.expect_code(1);
    run.expect_errors(&["failed to download a file", "Download installer components", "the screen: "]);
}
