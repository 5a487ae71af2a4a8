--- What makes an image one for Vagrant: the user that it logs in as, and the tools of the provider that it will run on.
---
---     local vagrant = require "std.vagrant"
---     vm:apply(vagrant.user())
---     vm:apply(vagrant.guest_tools { provider = "virtualbox" })

local rimg     = require "rimg"
local guest    = require "std.guest"
local options  = require "std.options"
local packages = require "std.packages"
local services = require "std.services"
local users    = require "std.users"

local M = {}

--- The public halves of Vagrant's well-known key pairs. Everybody has the private ones: `vagrant up` puts a key of its own in
--- their place.
M.public_keys = {
  "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9H"
    .. "ZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivA"
    .. "IhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE"
    .. "98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y vagrant insecure public key",
}

-- One result of several provisioners.
local function all(vm, provisioners)
  local result = { changed = false, changes = {}, values = {} }
  for _, provisioner in ipairs(provisioners) do
    local one = provisioner.apply(vm)
    result.changed = result.changed or one.changed
    table.move(one.changes, 1, #one.changes, #result.changes + 1, result.changes)
  end
  return result
end

--- The user that Vagrant logs in as: its keys, its password, and sudo without one.
function M.user(given)
  local o = options.check("vagrant.user", given, {
    name = { "string", default = "vagrant" }, password = { "string", "boolean", default = "vagrant" },
    keys = { "strings", default = M.public_keys }, sudo = { "boolean", "string", default = true },
  })
  if o.password == true then o.password = "vagrant" end
  local user = users.user {
    name = o.name, password = o.password or nil, sudo = o.sudo, ssh_authorized_keys = { table.unpack(o.keys) },
  }
  return guest.provisioner("vagrant.user " .. o.name, user.apply)
end

-- Packages by provider and package manager.
local TOOLS = {
  hyperv = {
    apt = { "hyperv-daemons" }, dnf = { "hyperv-daemons" }, yum = { "hyperv-daemons" }, zypper = { "hyper-v" }, apk = { "hvtools" },
  },
  libvirt = {
    apt = { "qemu-guest-agent" }, dnf = { "qemu-guest-agent" }, yum = { "qemu-guest-agent" }, zypper = { "qemu-guest-agent" },
    apk = { "qemu-guest-agent" },
  },
  virtualbox = {
    apt = { "virtualbox-guest-utils" }, dnf = { "virtualbox-guest-additions" }, yum = { "virtualbox-guest-additions" },
    zypper = { "virtualbox-guest-tools" }, apk = { "virtualbox-guest-additions" },
  },
  vmware = {
    apt = { "open-vm-tools" }, dnf = { "open-vm-tools" }, yum = { "open-vm-tools" }, zypper = { "open-vm-tools" },
    apk = { "open-vm-tools" },
  },
}

-- Services that OpenRC does not start by itself.
local OPENRC = {
  hyperv = { "hv_fcopy_daemon", "hv_kvp_daemon", "hv_vss_daemon" }, libvirt = { "qemu-guest-agent" },
  virtualbox = { "virtualbox-guest-additions" }, vmware = { "open-vm-tools" },
}

local PROVIDERS = { "hyperv", "libvirt", "virtualbox", "vmware" }

-- What the machine says it runs on, in systemd-detect-virt's words.
local RUNS_ON = { kvm = "libvirt", qemu = "libvirt", oracle = "virtualbox", vmware = "vmware", microsoft = "hyperv" }

--- The tools that a provider wants in its guests, from the distribution's packages.
function M.guest_tools(given)
  local o = options.check("vagrant.guest_tools", given, { provider = { "string", one_of = PROVIDERS } })
  local label = "vagrant.guest_tools" .. (o.provider and " " .. o.provider or "")
  return guest.provisioner(label, function(vm)
    local facts = vm:facts()
    local provider = o.provider or RUNS_ON[facts.virtualization]
    if not provider then
      rimg.fail(("%s: it cannot be told for which provider: the machine runs on %q"):format(label, facts.virtualization), {
        hint = "say so: provider = one of " .. table.concat(PROVIDERS, ", "),
      })
    end
    local steps = { packages.install(guest.choose(vm, label, "package_manager", TOOLS[provider])) }
    -- Elsewhere the packages or udev start them.
    if facts.init == "openrc" then
      for _, name in ipairs(OPENRC[provider]) do steps[#steps + 1] = services.service { name, enabled = true } end
    end
    return all(vm, steps)
  end)
end

return M
