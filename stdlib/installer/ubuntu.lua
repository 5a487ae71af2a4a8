--- Ubuntu's server installer, Subiquity: autoinstall in cloud-init's user data.
--- https://canonical-subiquity.readthedocs-hosted.com/en/latest/reference/autoinstall-reference.html

local rimg   = require "rimg"
local people = require "std.installer.people"
local target = require "std.installer.target"

local M = { ways = { "cd", "http" }, filesystem = "ext4" }

local MIB = 1024 * 1024

-- curtin's actions: each names what it is made on by its id.
local function storage(disk)
  local actions = { {
    id = "disk", type = "disk", path = disk.device, ptable = "gpt", wipe = "superblock-recursive", preserve = false,
    grub_device = disk.firmware == "bios",
  } }
  local number = 0
  local function add(action) actions[#actions + 1] = action end
  local function partition(size, flag, wipe)
    number = number + 1
    local id = "partition-" .. number
    add { id = id, type = "partition", device = "disk", number = number, size = size or -1, flag = flag, wipe = wipe, preserve = false,
      grub_device = flag == "boot" or nil }
    return id
  end
  local function formatted(volume, on)
    add { id = on .. "-format", type = "format", volume = on, fstype = volume.filesystem == "vfat" and "fat32" or volume.filesystem,
      preserve = false }
    add { id = on .. "-mount", type = "mount", device = on .. "-format", path = volume.mount == "swap" and "" or volume.mount }
  end
  if disk.firmware == "bios" then partition(MIB, "bios_grub") end
  -- The one with the rest comes last, whatever its place in the table: curtin goes by the numbers.
  local rest
  local flags = { ["/boot/efi"] = "boot", swap = "swap" }
  local function mounted(part) formatted(part, partition(part.size and part.size * MIB, flags[part.mount], "superblock")) end
  for _, part in ipairs(disk.partitions) do
    if part.size then mounted(part) else rest = part end
  end
  if rest then mounted(rest) end
  if not disk.lvm then return actions end

  local pv = partition(nil, nil, "superblock")
  if disk.passphrase then
    add { id = "crypt", type = "dm_crypt", volume = pv, dm_name = "crypt", key = disk.passphrase, preserve = false }
    pv = "crypt"
  end
  add { id = "group", type = "lvm_volgroup", name = disk.lvm.group, devices = { pv }, preserve = false }
  local last
  local function volume(one)
    local id = "volume-" .. one.name
    add { id = id, type = "lvm_partition", name = one.name, volgroup = "group", size = one.size and one.size * MIB or -1,
      wipe = "superblock", preserve = false }
    formatted(one, id)
  end
  for _, one in ipairs(disk.lvm.volumes) do
    if one.size then volume(one) else last = one end
  end
  if last then volume(last) end
  return actions
end

-- An address of its own: netplan's file in place of the one for DHCP.
local function netplan(network)
  if not network then return {} end
  local config = { network = { version = 2, ethernets = { [network.interface] = {
    addresses = { network.address },
    routes = network.gateway and { { to = "default", via = network.gateway } } or nil,
    nameservers = #network.dns > 0 and { addresses = network.dns } or nil,
  } } } }
  return {
    "rm -f /etc/netplan/*.yaml",
    "cat >/etc/netplan/50-rimg.yaml <<'NETPLAN'\n" .. rimg.yaml.encode(config):gsub("\n$", "") .. "\nNETPLAN",
    "chmod 600 /etc/netplan/50-rimg.yaml",
    -- Else cloud-init writes one for DHCP again.
    "mkdir -p /etc/cloud/cloud.cfg.d",
    "echo 'network: {config: disabled}' >/etc/cloud/cloud.cfg.d/99-network.cfg",
  }
end

-- The users: cloud-init makes them when the installed system boots for the first time, so that nothing before can.
local function first_boot(o)
  local users, password_login = people.cloud(o.users), o.root.hash ~= nil
  for _, user in ipairs(o.users) do password_login = password_login or user.hash ~= nil end
  -- A list of nobody would be its default user.
  if #users == 0 then users[1] = { name = "root", lock_passwd = not o.root.hash } end
  return {
    hostname = o.host, fqdn = o.domain ~= "" and o.hostname or nil, users = users, ssh_pwauth = password_login,
    disable_root = #o.root.ssh_authorized_keys == 0,
  }, password_login
end

--- Returns the user data as a table.
function M.autoinstall(o)
  local user_data, password_login = first_boot(o)
  local packages = target.packages(o)
  return { autoinstall = {
    version = 1,
    locale = o.locale == "C" and "C.UTF-8" or o.locale .. ".UTF-8",
    keyboard = { layout = o.keyboard.layout, variant = o.keyboard.variant or "" },
    timezone = o.timezone,
    ssh = { ["install-server"] = o.ssh_server, ["allow-pw"] = password_login },
    apt = o.mirror and { primary = { { uri = o.mirror, arches = { "amd64", "i386" } } }, geoip = false } or nil,
    storage = { config = storage(o.disk), swap = { size = 0 } },
    packages = #packages > 0 and packages or nil,
    updates = "security",
    ["user-data"] = user_data,
    ["late-commands"] = { { "curtin", "in-target", "--", "sh", "-c", target.script(o, { users = true, more = netplan(o.network) }) } },
    shutdown = "reboot",
  } }
end

--- Returns the files, the kernel's parameters and what is typed.
function M.answers(_, o)
  local table_of = M.autoinstall(o)
  local files = {
    ["user-data"] = "#cloud-config\n" .. rimg.yaml.encode(table_of),
    ["meta-data"] = rimg.yaml.encode { ["instance-id"] = "rimg-" .. o.hostname },
  }
  local parameters = "autoinstall"
  local options
  if o.via == "http" then
    -- A semicolon ends a command of GRUB's.
    parameters = parameters .. " ds=nocloud-net\\;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"
  else
    options = { user_data = files["user-data"], meta_data = files["meta-data"] }
  end
  if o.kernel_parameters ~= "" then parameters = parameters .. " " .. o.kernel_parameters end
  return {
    files = files, kernel_parameters = parameters, options = options,
    boot_command = {
      "c<wait2>linux /casper/vmlinuz " .. parameters .. " ---<enter><wait5>",
      "initrd /casper/initrd<enter><wait5>boot<enter>",
    },
  }
end

return M
