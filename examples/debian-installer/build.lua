-- Debian installed by its own installer: answers from a table, served over HTTP, and an eye on the screen.
--
--     rimg run examples/debian-installer/build.lua
--
-- The medium is made of the package debian-installer-12-netboot-amd64 (needs xorriso and isolinux as well), or is one that
-- you name: -v iso=URL -v iso_checksum=sha256:… The packages come from the mirror that this host's apt uses, or from
-- -v mirror=http://HOST/debian. It takes some ten minutes with KVM, and an hour or more without.

local rimg      = require "rimg"
local installer = require "std.installer"

local iso      = rimg.var("iso", { default = "", help = "an installation medium of Debian that boots with isolinux or GRUB" })
local checksum = rimg.var("iso_checksum", { default = "none", help = "its checksum" })
local mirror   = rimg.var("mirror", { default = "", help = "where packages come from: http://HOST/debian" })

-- The first of this host's apt sources that has all of Debian.
local function apt_mirror()
  for _, entry in ipairs(require("std.debian.sources").host()) do
    for _, uri in ipairs(entry.uris) do
      if uri:match("^https?://.*/debian/?$") then return uri end
    end
  end
  rimg.fail("no Debian mirror is known here", { hint = { "name one: -v mirror=http://HOST/debian" } })
end

-- A bootable CD with the installer's kernel and initrd, and a prompt that waits for what is typed.
local function medium()
  local package = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/"
  if not rimg.fs.exists(package .. "linux") then
    rimg.fail("the installer is not on this host", {
      hint = { "apt-get install debian-installer-12-netboot-amd64 isolinux xorriso", "or name a medium: -v iso=…" },
    })
  end
  local dir = rimg.fs.tempdir("medium")
  local tree = rimg.fs.join(dir, "tree")
  rimg.fs.mkdir(rimg.fs.join(tree, "isolinux"))
  for from, to in pairs {
    [package .. "linux"] = "linux",
    [package .. "initrd.gz"] = "initrd.gz",
    ["/usr/lib/ISOLINUX/isolinux.bin"] = "isolinux/isolinux.bin",
    ["/usr/lib/syslinux/modules/bios/ldlinux.c32"] = "isolinux/ldlinux.c32",
  } do
    rimg.fs.copy(from, rimg.fs.join(tree, to))
  end
  rimg.fs.write(rimg.fs.join(tree, "isolinux/isolinux.cfg"), [[
prompt 1
timeout 0
label install
  kernel /linux
  append initrd=/initrd.gz vga=788 --- quiet
]])
  local image = rimg.fs.join(dir, "installer.iso")
  rimg.exec({
    "xorriso", "-as", "mkisofs", "-quiet", "-o", image, "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
    "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree,
  }, { quiet = true })
  return image
end

-- One partition, a user who may use sudo, an SSH server, nothing else.
local answers = installer.answers {
  release = "debian-12", hostname = "debian", mirror = mirror ~= "" and mirror or apt_mirror(),
  users = { { name = "vagrant", password = "vagrant", sudo = true } },
  -- The installer waits for an IPv6 router that QEMU's network does not have.
  kernel_parameters = "ipv6.disable=1",
}

rimg.build("debian", function()
  local vm = rimg.qemu(answers:machine {
    iso_url = iso ~= "" and iso or medium(), iso_checksum = checksum,
    disk_size = "10G", memory = "1G", cpus = 2,
    boot_command = {
      { expect = "boot:", timeout = "2m" },
      "install " .. answers.kernel_parameters .. "<enter>",
      -- Whatever the installer cannot do by itself it shows, and waits for somebody who is not there.
      {
        expect = "debian login:", timeout = "2h",
        fail = { "failed to download a file", "Installation step failed", "Bad archive mirror", "[Nn]etwork autoconfiguration failed" },
      },
    },
    ssh_username = "vagrant", ssh_password = "vagrant",
    shutdown_command = "sudo systemctl poweroff",
  })
  vm:run "cat /etc/debian_version"
  vm:finish { output_directory = "out" }:checksum { "sha256" }
end)
