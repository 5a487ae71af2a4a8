--- The layout of the disk: partitions, and volumes of LVM in the rest of it, which may be encrypted. Sizes in MiB.

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local DISK = {
  device = { "string", default = "/dev/vda" }, size = { "size" }, partitions = { "list", default = {} },
  lvm = { "boolean", "table", default = false }, encryption = { "table" }, filesystem = { "string" },
}
local VOLUME = { mount = { "string", required = true }, size = { "size" }, filesystem = { "string" } }
local LVM = { group = { "string", default = "vg0" }, volumes = { "list", default = {} } }
local FILESYSTEMS = { "ext4", "ext3", "ext2", "xfs", "btrfs", "vfat", "swap" }
local MIB = 1024 * 1024

local function mib(size) return (options.bytes(size) + MIB - 1) // MIB end

local function fail(message, hint) rimg.fail(message, { hint = hint }) end

-- Checks the partitions or volumes of a list, and returns them with sizes in MiB; without one it takes the rest.
local function volumes(what, list, specification, default, seen)
  local found, rest = {}, nil
  for n, given in ipairs(list) do
    local own = ("%s[%d]`"):format(what, n)
    local o = options.check(own, given, specification)
    if o.mount ~= "swap" and not o.mount:match("^/[%w._/-]*$") then
      fail(("%s: option `mount`: %q is no place to mount at"):format(own, o.mount), 'a path such as "/home", or "swap"')
    elseif o.mount ~= "swap" and seen[o.mount] then
      fail(("%s: option `mount`: %s is there twice"):format(own, o.mount))
    end
    seen[o.mount] = true
    local kind = o.mount == "swap" and "swap" or o.filesystem or (o.mount == "/boot/efi" and "vfat") or default
    options.one_of(own .. ": option `filesystem`", kind, FILESYSTEMS)
    if (kind == "swap") ~= (o.mount == "swap") then fail(own .. ": swap is mounted at \"swap\", and nothing else is") end
    if not o.size then
      if rest then fail(("%s: both %s and %s are to have the rest: give one of them a size"):format(own, rest, o.mount)) end
      rest = o.mount
    end
    found[n] = { mount = o.mount, size = o.size and mib(o.size), filesystem = kind, name = o.name }
  end
  return found, rest
end

local function sum(list)
  local total = 0
  for _, one in ipairs(list) do total = total + (one.size or 0) end
  return total
end

--- Fails where the layout does not fit on a disk of `bytes`.
function M.check_size(what, disk, bytes)
  local needed = sum(disk.partitions) + (disk.lvm and sum(disk.lvm.volumes) or 0)
  -- What the partition table and LVM take, and something for the rest.
  local least, has = needed + 4, bytes // MIB
  if least > has then
    fail(("%s: the partitions and volumes are %d MiB together, and the disk has %d MiB"):format(what, needed, has),
      "make the disk larger, or leave out the size of the one that is to have the rest")
  end
end

--- Returns the whole layout: what was asked for, and what booting from it needs.
function M.layout(what, given, firmware, default)
  what = what .. ": option `disk"
  local o = options.check(what .. "`", given, DISK)
  if not o.device:match("^/dev/[%w/_-]+$") then fail(("%s.device`: %q is no disk"):format(what, o.device), 'such as "/dev/vda"') end
  default = o.filesystem or default
  local seen = {}
  local partitions, rest = volumes(what .. ".partitions", o.partitions, VOLUME, default, seen)
  local disk = { device = o.device, partitions = partitions, firmware = firmware }

  if o.lvm then
    local own = what .. ".lvm`"
    local lvm = options.check(own, o.lvm == true and {} or o.lvm, LVM)
    if not lvm.group:match("^[%a_][%w_]*$") then
      fail(("%s: option `group`: %q is no name of a group"):format(own, lvm.group), "letters, digits and _")
    end
    if rest then fail(("%s: %s has no size, and the rest of the disk is LVM's"):format(own, rest)) end
    local specification = { name = { "string" } }
    for name, kind in pairs(VOLUME) do specification[name] = kind end
    local list = lvm.volumes
    if #list == 0 then list = { { mount = "/" } } end
    disk.lvm = { group = lvm.group, volumes = volumes(what .. ".lvm.volumes", list, specification, default, seen) }
    local names = {}
    for n, volume in ipairs(disk.lvm.volumes) do
      if volume.mount == "/boot" or volume.mount == "/boot/efi" then
        fail(("%s.lvm.volumes[%d]`: %s must be a partition of its own: the boot loader reads it"):format(what, n, volume.mount))
      end
      volume.name = volume.name or (volume.mount == "/" and "root") or volume.mount:gsub("^/", ""):gsub("[/.-]", "_")
      if not volume.name:match("^[%a_][%w_]*$") then
        fail(("%s.lvm.volumes[%d]`: option `name`: %q is no name of a volume"):format(what, n, volume.name), "letters, digits and _")
      elseif names[volume.name] then
        fail(("%s.lvm.volumes[%d]`: two volumes are called %s"):format(what, n, volume.name), "give one of them another `name`")
      end
      names[volume.name] = true
    end
  elseif #partitions == 0 then
    seen["/"] = true
    partitions[1] = { mount = "/", filesystem = default }
  end
  if o.encryption then
    local own = what .. ".encryption`"
    local encryption = options.check(own, o.encryption, { passphrase = { "string" } })
    if not encryption.passphrase or encryption.passphrase == "" then
      fail(own .. ": there is no passphrase", 'passphrase = rimg.secret "disk": whoever starts the machine types it')
    elseif encryption.passphrase:find("%c") or encryption.passphrase:match("^%s") or encryption.passphrase:match("[%s\\]$") then
      fail(own .. ": option `passphrase`: has a control character in it, or a space or backslash at an end",
        "the installers would read another one")
    elseif not disk.lvm then
      fail(own .. ": what is encrypted is LVM's part of the disk, and there is none", "lvm = true, or lvm = { volumes = { … } }")
    end
    disk.passphrase = encryption.passphrase
  end
  if not seen["/"] then fail(what .. "`: there is no root: nothing is mounted at /") end
  -- What the boot loader needs comes first.
  if (disk.lvm or disk.passphrase) and not seen["/boot"] then
    table.insert(partitions, 1, { mount = "/boot", size = 1024, filesystem = default == "btrfs" and "ext4" or default, added = true })
  end
  if firmware == "efi" and not seen["/boot/efi"] then
    table.insert(partitions, 1, { mount = "/boot/efi", size = 512, filesystem = "vfat", added = true })
  end
  if o.size then M.check_size(what .. "`", disk, options.bytes(o.size)) end
  return disk
end

return M
