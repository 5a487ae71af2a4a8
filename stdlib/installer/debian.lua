--- Debian's installer: a preseed file, and a script that it runs at its end.
--- https://www.debian.org/releases/stable/amd64/apb.en.html

local rimg   = require "rimg"
local target = require "std.installer.target"

local M = { ways = { "http" }, filesystem = "ext4" }

-- partman counts in 1000 * 1000 bytes.
local function mb(mib) return (mib * 1048576 + 999999) // 1000000 end

-- A partition of a recipe: its least, wish and most, then what it is.
local function part(one, volume)
  local words = {}
  if one.size then
    local size = mb(one.size)
    words[1] = ("%d %d %d"):format(size, size, size)
  else
    words[1] = "500 10000 -1"
  end
  if one.mount == "swap" then
    words[2] = "linux-swap method{ swap } format{ }"
  elseif one.mount == "/boot/efi" then
    words[2] = "free $iflabel{ gpt } $reusemethod{ } method{ efi } format{ }"
  else
    local kind = one.filesystem == "vfat" and "fat32" or one.filesystem
    words[2] = kind .. (one.mount == "/boot" and " $primary{ } $bootable{ }" or "")
    words[3] = ("method{ format } format{ } use_filesystem{ } filesystem{ %s } mountpoint{ %s }"):format(kind, one.mount)
  end
  if volume then words[#words + 1] = ("$lvmok{ } lv_name{ %s }"):format(one.name) end
  return table.concat(words, " ") .. " ."
end

local function recipe(disk)
  local parts = {}
  for _, one in ipairs(disk.partitions) do parts[#parts + 1] = part(one, false) end
  for _, one in ipairs(disk.lvm and disk.lvm.volumes or {}) do parts[#parts + 1] = part(one, true) end
  return "rimg :: " .. table.concat(parts, " ")
end

-- An address of its own: ifupdown's file, which the installer has written for DHCP.
local function interfaces(network)
  if not network then return {} end
  local lines = {
    "cat >/etc/network/interfaces <<'INTERFACES'", "auto lo", "iface lo inet loopback", "",
    "allow-hotplug " .. network.interface, ("iface %s inet static"):format(network.interface), "  address " .. network.address,
  }
  if network.gateway then lines[#lines + 1] = "  gateway " .. network.gateway end
  lines[#lines + 1] = "INTERFACES"
  if #network.dns > 0 then
    lines[#lines + 1] = "rm -f /etc/resolv.conf"
    lines[#lines + 1] = ("printf 'nameserver %%s\\n' %s >/etc/resolv.conf"):format(table.concat(network.dns, " "))
  end
  return { table.concat(lines, "\n") }
end

--- Returns the preseed file.
function M.preseed(what, o)
  local lines = { "# Answers for Debian's installer. {{ .… }} is filled in when the file is asked for." }
  local function d_i(question, kind, value)
    lines[#lines + 1] = ("d-i %s %s%s"):format(question, kind, value == "" and "" or " " .. tostring(value))
  end
  local protocol, host, directory = (o.mirror or "http://deb.debian.org/debian"):match("^(https?)://([^/]+)(/.-)/?$")
  if not host then
    rimg.fail(("%s: option `mirror`: %q is no mirror of Debian"):format(what, o.mirror), {
      hint = 'with its folder: "http://deb.debian.org/debian"',
    })
  end
  d_i("debian-installer/locale", "string", o.locale == "C" and "C.UTF-8" or o.locale .. ".UTF-8")
  d_i("keyboard-configuration/xkb-keymap", "select", o.keyboard.debian)
  d_i("netcfg/choose_interface", "select", "auto")
  d_i("netcfg/get_hostname", "string", o.host)
  d_i("netcfg/get_domain", "string", o.domain)
  d_i("hw-detect/load_firmware", "boolean", "true")
  d_i("mirror/country", "string", "manual")
  d_i("mirror/protocol", "string", protocol)
  d_i(("mirror/%s/hostname"):format(protocol), "string", host)
  d_i(("mirror/%s/directory"):format(protocol), "string", directory)
  d_i(("mirror/%s/proxy"):format(protocol), "string", "")
  d_i("apt-setup/cdrom/set-first", "boolean", "false")
  d_i("clock-setup/utc", "boolean", "true")
  d_i("clock-setup/ntp", "boolean", "false")
  d_i("time/zone", "string", o.timezone)

  local disk = o.disk
  d_i("partman-auto/disk", "string", disk.device)
  d_i("partman-auto/method", "string", disk.passphrase and "crypto" or disk.lvm and "lvm" or "regular")
  d_i("partman-auto/expert_recipe", "string", recipe(disk))
  d_i("partman-auto/choose_recipe", "select", "rimg")
  d_i("partman-basicfilesystems/no_swap", "boolean", "false")
  if disk.firmware == "efi" then
    d_i("partman-efi/non_efi_system", "boolean", "true")
    d_i("partman-partitioning/choose_label", "select", "gpt")
    d_i("partman-partitioning/default_label", "string", "gpt")
  end
  if disk.lvm then
    d_i("partman-auto-lvm/new_vg_name", "string", disk.lvm.group)
    d_i("partman-auto-lvm/guided_size", "string", "max")
    d_i("partman-lvm/device_remove_lvm", "boolean", "true")
    d_i("partman-lvm/confirm", "boolean", "true")
    d_i("partman-lvm/confirm_nooverwrite", "boolean", "true")
  end
  if disk.passphrase then
    d_i("partman-auto-crypto/erase_disks", "boolean", "false")
    d_i("partman-crypto/passphrase", "password", disk.passphrase)
    d_i("partman-crypto/passphrase-again", "password", disk.passphrase)
    d_i("partman-crypto/weak_passphrase", "boolean", "true")
    d_i("partman-crypto/confirm", "boolean", "true")
  end
  d_i("partman-md/device_remove_md", "boolean", "true")
  d_i("partman-partitioning/confirm_write_new_label", "boolean", "true")
  d_i("partman/choose_partition", "select", "finish")
  d_i("partman/confirm", "boolean", "true")
  d_i("partman/confirm_nooverwrite", "boolean", "true")

  d_i("passwd/root-login", "boolean", o.root.hash and "true" or "false")
  if o.root.hash then d_i("passwd/root-password-crypted", "password", o.root.hash) end
  local first = o.users[1]
  d_i("passwd/make-user", "boolean", first and "true" or "false")
  if first then
    d_i("passwd/user-fullname", "string", first.comment or first.name)
    d_i("passwd/username", "string", first.name)
    d_i("passwd/user-password-crypted", "password", first.hash or "!")
  elseif not o.root.hash then
    -- Without a user the installer wants root's password; "!" is an account that no password opens.
    d_i("passwd/root-login", "boolean", "true")
    d_i("passwd/root-password-crypted", "password", "!")
  end

  lines[#lines + 1] = "tasksel tasksel/first multiselect"
  d_i("pkgsel/include", "string", table.concat(target.packages(o, "openssh-server"), " "))
  d_i("pkgsel/upgrade", "select", "none")
  d_i("pkgsel/update-policy", "select", "none")
  lines[#lines + 1] = "popularity-contest popularity-contest/participate boolean false"
  d_i("grub-installer/only_debian", "boolean", "true")
  d_i("grub-installer/bootdev", "string", disk.device)
  d_i("grub-installer/force-efi-extra-removable", "boolean", disk.firmware == "efi" and "true" or "false")
  d_i("preseed/late_command", "string", "wget -q -O /target/root/late.sh http://{{ .HTTPIP }}:{{ .HTTPPort }}/late.sh"
    .. " && in-target sh /root/late.sh; status=$?; rm -f /target/root/late.sh; exit $status")
  d_i("finish-install/reboot_in_progress", "note", "")
  return table.concat(lines, "\n") .. "\n"
end

--- Returns the files, the kernel's parameters and what is typed.
function M.answers(what, o)
  -- What is asked before the network is there cannot come over it: `auto` puts it off, and the name stands here.
  local parameters = ("auto=true priority=critical hostname=%s domain=%s url=http://{{ .HTTPIP }}:{{ .HTTPPort }}/preseed.cfg"):format(
    o.host, o.domain)
  if o.kernel_parameters ~= "" then parameters = parameters .. " " .. o.kernel_parameters end
  local command
  if o.firmware == "efi" then
    command = {
      "c<wait2>linux /install.amd/vmlinuz " .. parameters .. " --- quiet<enter><wait5>",
      "initrd /install.amd/initrd.gz<enter><wait5>boot<enter>",
    }
  else
    command = { "<esc><wait2>", "install " .. parameters .. "<enter>" }
  end
  return {
    files = {
      ["preseed.cfg"] = M.preseed(what, o),
      ["late.sh"] = target.script(o, { made = 1, root = true, more = interfaces(o.network) }),
    },
    kernel_parameters = parameters, boot_command = command,
  }
end

return M
