--- The RHEL family's installer, Anaconda: a kickstart file. https://pykickstart.readthedocs.io

local rimg   = require "rimg"
local target = require "std.installer.target"

local M = { ways = { "http", "cd" }, filesystem = "xfs" }

-- A word of a kickstart file, as Python's shlex reads them.
local function word(text)
  if text:match("^[%w@%%+=:,./-]+$") then return text end
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

local function storage(what, o, add)
  local disk, name = o.disk, o.disk.device:gsub("^/dev/", "")
  local btrfs = o.release.distribution == "fedora"
  local function known(volume)
    if volume.filesystem == "btrfs" and not btrfs then
      rimg.fail(("%s: option `disk`: %s has no btrfs, for %s"):format(what, o.release.name, volume.mount), { hint = "xfs or ext4" })
    end
  end
  local function size(volume) return volume.size and "--size=" .. volume.size or "--size=1024 --grow" end
  add("zerombr")
  add("clearpart", "--all", "--initlabel", "--drives=" .. name)
  add("ignoredisk", "--only-use=" .. name)
  add("bootloader", "--boot-drive=" .. name, disk.firmware == "bios" and "--location=mbr" or nil)
  -- A partition for the boot loader, where this release's table is a GPT.
  if disk.firmware == "bios" then add("reqpart") end
  for _, part in ipairs(disk.partitions) do
    known(part)
    if part.mount == "/boot/efi" then
      add("part", "/boot/efi", "--fstype=efi", size(part), "--ondisk=" .. name)
    else
      add("part", part.mount, "--fstype=" .. part.filesystem, size(part), "--ondisk=" .. name)
    end
  end
  if disk.lvm then
    local crypt = disk.passphrase and { "--encrypted", "--luks-version=luks2", "--passphrase=" .. word(disk.passphrase) } or {}
    add("part", "pv.01", "--size=1024", "--grow", "--ondisk=" .. name, table.unpack(crypt))
    add("volgroup", disk.lvm.group, "pv.01")
    for _, volume in ipairs(disk.lvm.volumes) do
      known(volume)
      add("logvol", volume.mount, "--vgname=" .. disk.lvm.group, "--name=" .. volume.name, "--fstype=" .. volume.filesystem, size(volume))
    end
  end
end

local function network(o, add)
  local own = o.network
  local words = { "network", "--hostname=" .. o.hostname }
  if own then
    -- The installation itself stays on the network that it was started over.
    for _, one in ipairs { "--bootproto=static", "--no-activate", "--device=" .. own.interface, "--ip=" .. own.ip } do
      words[#words + 1] = one
    end
    words[#words + 1] = "--netmask=" .. own.netmask
    if own.gateway then words[#words + 1] = "--gateway=" .. own.gateway end
    if #own.dns > 0 then words[#words + 1] = "--nameserver=" .. table.concat(own.dns, ",") end
    words[#words + 1] = "--onboot=yes"
  else
    words[#words + 1] = "--bootproto=dhcp"
  end
  add(table.unpack(words))
end

--- Returns the kickstart file.
function M.kickstart(what, o)
  local lines = { "# Answers for Anaconda. {{ .… }} is filled in when the file is asked for." }
  -- Words that are nil are left out.
  local function add(...)
    local words = {}
    for n = 1, select("#", ...) do words[#words + 1] = (select(n, ...)) end
    lines[#lines + 1] = table.concat(words, " ")
  end
  add("text")
  if o.mirror then add("url", "--url=" .. o.mirror) else add("cdrom") end
  add("lang", o.locale == "C" and "C.UTF-8" or o.locale .. ".UTF-8")
  add("keyboard", ("--xlayouts='%s%s'"):format(o.keyboard.layout, o.keyboard.variant and " (" .. o.keyboard.variant .. ")" or ""))
  add("timezone", o.timezone, "--utc")
  network(o, add)
  storage(what, o, add)
  if o.root.hash then add("rootpw", "--iscrypted", o.root.hash) else add("rootpw", "--lock") end
  for _, user in ipairs(o.users) do
    local groups = #user.groups > 0 and "--groups=" .. table.concat(user.groups, ",") or nil
    add("user", "--name=" .. user.name, user.hash and "--iscrypted --password=" .. user.hash or "--lock", groups,
      "--shell=" .. (user.shell or "/bin/bash"), user.comment and "--gecos=" .. word(user.comment) or nil)
  end
  add("firstboot", "--disabled")
  add("skipx")
  if o.ssh_server then
    add("firewall", "--enabled", "--service=ssh")
    add("services", "--enabled=sshd")
  end
  add("reboot", "--eject")
  add("")
  add("%packages")
  add("@^" .. (o.release.distribution == "fedora" and "server-product-environment" or "minimal-environment"))
  for _, name in ipairs(target.packages(o, "openssh-server")) do add(name) end
  add("%end")
  add("")
  add("%post --interpreter=/bin/sh --erroronfail")
  lines[#lines + 1] = target.script(o, { made = #o.users, root = true, groups = true })
  lines[#lines] = lines[#lines]:gsub("\n$", "")
  add("%end")
  add("")
  -- What the installer leaves of its answers has the hashes and the passphrase in it.
  add("%post --nochroot --interpreter=/bin/sh")
  add("rm -f /mnt/sysroot/root/anaconda-ks.cfg /mnt/sysroot/root/original-ks.cfg")
  add("%end")
  return table.concat(lines, "\n") .. "\n"
end

-- A line of a script that would end its section.
local function check_commands(what, o)
  for n, command in ipairs(o.late_commands) do
    if ("\n" .. command):find("\n%s*%%%a") then
      rimg.fail(("%s: option `late_commands[%d]`: a line begins with %%, which kickstart files keep for their sections"):format(what, n), {
        hint = "printf '%s\\n' '%end' writes such a line",
      })
    end
  end
end

--- Returns the file, the kernel's parameters and what is typed.
function M.answers(what, o)
  check_commands(what, o)
  local text = M.kickstart(what, o)
  local parameters = o.via == "cd" and "inst.ks=hd:LABEL=OEMDRV:/ks.cfg" or "inst.ks=http://{{ .HTTPIP }}:{{ .HTTPPort }}/ks.cfg"
  parameters = "inst.text " .. parameters
  if o.kernel_parameters ~= "" then parameters = parameters .. " " .. o.kernel_parameters end
  -- The menu's first entry, which installs without looking over the medium first. isolinux (BIOS, before 10) edits its
  -- line with Tab; GRUB has the kernel's in its third line.
  local command
  if o.firmware == "bios" and tonumber(o.release.version) < 10 then
    command = { "<up><wait><tab><end> " .. parameters .. "<enter>" }
  else
    command = { "<up><wait>e<wait><down><down><end> " .. parameters .. "<leftCtrlOn>x<leftCtrlOff>" }
  end
  local cd = o.via == "cd" and { cd_label = "OEMDRV", cd_content = { ["ks.cfg"] = text } } or nil
  return { files = { ["ks.cfg"] = text }, kernel_parameters = parameters, boot_command = command, options = cd }
end

return M
