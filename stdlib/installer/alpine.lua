--- Alpine's setup-alpine: its answers, and a script that runs it and finishes what it installed.
--- https://wiki.alpinelinux.org/wiki/Using_an_answerfile_with_setup-alpine

local rimg   = require "rimg"
local guest  = require "std.guest"
local target = require "std.installer.target"

local M = { ways = { "http" }, filesystem = "ext4" }

-- setup-disk makes one layout: /boot, swap and a root with the rest; with LVM swap and root are volumes.
local function storage(what, o)
  local disk, variables = o.disk, {}
  local function refuse(message)
    rimg.fail(("%s: option `disk`: %s"):format(what, message), {
      hint = "Alpine's installer makes /boot, swap and a root that has the rest, with LVM where it is wanted",
    })
  end
  local function set(name, value) variables[#variables + 1] = ("%s=%s"):format(name, value) end
  local swap = 0
  local function look(volume)
    if volume.mount == "/" then
      if volume.size then refuse "Alpine's root has no size of its own: it takes the rest" end
      if volume.filesystem == "swap" or volume.filesystem == "vfat" then refuse(volume.filesystem .. " is no file system for the root") end
      set("ROOTFS", volume.filesystem)
    elseif volume.mount == "swap" then
      if not volume.size then refuse "swap needs a size" end
      if swap > 0 then refuse "swap is there twice" end
      swap = volume.size
    elseif volume.mount == "/boot/efi" then
      set("BOOT_SIZE", volume.size)
    elseif volume.mount == "/boot" and disk.firmware == "efi" then
      if not volume.added then refuse "with EFI, Alpine's installer makes /boot/efi, and no /boot" end
    elseif volume.mount == "/boot" then
      if not volume.size then refuse "/boot needs a size" end
      set("BOOT_SIZE", volume.size)
      set("BOOTFS", volume.filesystem)
    else
      refuse(("Alpine's installer makes nothing at %s"):format(volume.mount))
    end
  end
  for _, part in ipairs(disk.partitions) do look(part) end
  for _, volume in ipairs(disk.lvm and disk.lvm.volumes or {}) do look(volume) end
  if disk.passphrase then refuse "Alpine's installer asks for the passphrase of an encrypted disk: it cannot be answered" end
  if disk.lvm and disk.lvm.group ~= "vg0" then refuse "Alpine's volume group is called vg0" end
  set("ERASE_DISKS", disk.device)
  if disk.firmware == "efi" then set("USE_EFI", 1) end
  local words = { "-m sys", "-s", tostring(swap) }
  if disk.lvm then words[#words + 1] = "-L" end
  words[#words + 1] = disk.device
  return variables, table.concat(words, " ")
end

local DHCP = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"

-- An address of its own, in place of the DHCP that the installation itself has.
local function interfaces(own)
  if not own then return {} end
  local lines = {
    "cat >/etc/network/interfaces <<'INTERFACES'", "auto lo", "iface lo inet loopback", "",
    "auto " .. own.interface, ("iface %s inet static"):format(own.interface), "\taddress " .. own.address,
  }
  if own.gateway then lines[#lines + 1] = "\tgateway " .. own.gateway end
  lines[#lines + 1] = "INTERFACES"
  if #own.dns > 0 then lines[#lines + 1] = ("printf 'nameserver %%s\\n' %s >/etc/resolv.conf"):format(table.concat(own.dns, " ")) end
  return { table.concat(lines, "\n") }
end

--- Returns the answers of setup-alpine; `disk` is what setup-disk is told.
function M.answer_file(o, disk)
  local lines = { "# Answers for setup-alpine. {{ .… }} is filled in when the file is asked for." }
  local function set(name, value) lines[#lines + 1] = ("%s=%s"):format(name, guest.quote(value)) end
  local layout, variant = o.keyboard.layout, o.keyboard.variant
  set("KEYMAPOPTS", ("%s %s"):format(layout, variant and layout .. "-" .. variant or layout))
  set("HOSTNAMEOPTS", "-n " .. o.hostname)
  set("DEVDOPTS", "mdev")
  set("INTERFACESOPTS", DHCP)
  set("TIMEZONEOPTS", "-z " .. o.timezone)
  set("PROXYOPTS", "none")
  local mirror = o.mirror and ("%s/v%s/"):format(o.mirror:match("^(.-)/?$"), o.release.version)
  set("APKREPOSOPTS", mirror and ("%smain %scommunity"):format(mirror, mirror) or "-1 -c")
  -- Users are made at the end, with their passwords.
  set("USEROPTS", "none")
  set("SSHDOPTS", o.ssh_server and "openssh" or "none")
  set("NTPOPTS", "none")
  set("DISKOPTS", disk)
  set("LBUOPTS", "none")
  set("APKCACHEOPTS", "none")
  return table.concat(lines, "\n") .. "\n"
end

-- Runs the installer, and finishes what it installed in a chroot. A machine that is off is noticed; one that waits is not.
local INSTALL = [==[
set -eu
trap 'status=$?; [ $status = 0 ] || { echo "The installation has failed with status $status."; sleep 10; poweroff; }' EXIT
for file in answers late.sh; do wget -q -O /tmp/$file "http://{{ .HTTPIP }}:{{ .HTTPPort }}/$file"; done
export @VARIABLES@
setup-alpine -e -f /tmp/answers
vgchange -ay 2>/dev/null || :
for root in /dev/vg0/lv_root @DEVICE@*; do
  [ -b "$root" ] && mount "$root" /mnt 2>/dev/null || continue
  [ ! -e /mnt/etc/alpine-release ] || break
  umount /mnt
done
[ -e /mnt/etc/alpine-release ]
for dir in dev proc sys; do mount --bind /$dir /mnt/$dir; done
cp /etc/resolv.conf /mnt/etc/resolv.conf
chroot /mnt mount -a || :
chroot /mnt apk add --no-progress @PACKAGES@
cp /tmp/late.sh /mnt/root/late.sh
chroot /mnt sh /root/late.sh
rm /mnt/root/late.sh
sync
reboot
]==]

--- Returns the files, the kernel's parameters and what is typed.
function M.answers(what, o)
  local variables, disk = storage(what, o)
  if o.kernel_parameters ~= "" then
    rimg.fail(what .. ": option `kernel_parameters`: the boot menu of Alpine's medium takes none", {
      hint = "leave it out, or type a boot_command of your own",
    })
  end
  local packages = target.packages(o)
  local install = INSTALL:gsub("@(%u+)@", {
    VARIABLES = table.concat(variables, " "), DEVICE = o.disk.device,
    PACKAGES = #packages > 0 and guest.words(packages) or "alpine-base",
  })
  -- The installer leaves root without a password, which is not what `root` says.
  local root = o.root.hash or "*"
  local more = interfaces(o.network)
  table.insert(more, 1, "printf '%s\\n' " .. guest.quote("root:" .. root) .. " | chpasswd -e")
  return {
    files = {
      ["answers"] = M.answer_file(o, disk), ["install.sh"] = install,
      ["late.sh"] = target.script(o, { root = true, shell = "/bin/ash", more = more }),
    },
    kernel_parameters = "",
    boot_command = {
      { expect = "localhost login:", timeout = "10m" },
      "root<enter><wait3>",
      "ifconfig eth0 up && udhcpc -q -i eth0 && cd /tmp && wget http://{{ .HTTPIP }}:{{ .HTTPPort }}/install.sh && sh install.sh<enter>",
    },
  }
end

return M
