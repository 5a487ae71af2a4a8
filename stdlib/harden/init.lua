--- Hardening: controls, profiles of them, and an audit that changes nothing.
---
---     local harden = require "std.harden"
---     vm:apply(harden.profile("strict", { firewall = { tcp = { 443 } }, usb_storage = false }))
---     local report = harden.audit(vm, "strict", { html = "audit.html" })

local rimg     = require "rimg"
local guest    = require "std.guest"
local options  = require "std.options"
local control  = require "std.harden.control"
local profiles = require "std.harden.profiles"
local report   = require "std.harden.report"

local access, accounts, filesystem = require "std.harden.access", require "std.harden.accounts", require "std.harden.filesystem"
local boot, firewall, ssh = require "std.harden.boot", require "std.harden.firewall", require "std.harden.ssh"
local kernel, logging, software = require "std.harden.kernel", require "std.harden.logging", require "std.harden.software"

local M = {}

--- Packages that are not to be there, and such that are.
function M.packages(given) return software.packages(given) end

--- Security updates that are installed by themselves.
function M.updates(given) return software.updates(given) end

--- The time, from the network.
function M.time_sync(given) return logging.time_sync(given) end

--- The kernel's parameters.
function M.sysctl(given) return kernel.sysctl(given) end

--- Kernel modules that cannot be loaded.
function M.modules(given) return kernel.modules(given) end

--- No USB storage.
function M.usb_storage(given) return kernel.usb_storage(given) end

--- No core dumps.
function M.core_dumps(given) return kernel.core_dumps(given) end

--- Options of mount points.
function M.mounts(given) return filesystem.mounts(given) end

--- Banners before and after a login.
function M.banners(given) return access.banners(given) end

--- Who may use cron and at.
function M.cron(given) return access.cron(given) end

--- The umask of users.
function M.umask(given) return accounts.umask(given) end

--- Logins: ageing of passwords, attempts, idle shells, su.
function M.login(given) return accounts.login(given) end

--- The journal.
function M.journald(given) return logging.journald(given) end

--- auditd and its rules.
function M.audit_rules(given) return logging.audit_rules(given) end

--- File integrity, with AIDE.
function M.aide(given) return software.aide(given) end

--- The boot loader.
function M.boot_loader(given) return boot(given) end

--- Permissions of files.
function M.permissions(given) return filesystem.permissions(given) end

--- What PAM asks of passwords.
function M.passwords(given) return accounts.passwords(given) end

--- sudo.
function M.sudo(given) return accounts.sudo(given) end

--- The firewall.
function M.firewall(given) return firewall(given) end

--- The SSH server.
function M.ssh(given) return ssh(given) end

-- In the order they are applied in: what can lock somebody out comes last.
local NAMES = {
  "packages", "updates", "time_sync", "sysctl", "modules", "usb_storage", "core_dumps", "mounts", "banners", "cron",
  "umask", "login", "journald", "audit_rules", "aide", "boot_loader", "permissions", "passwords", "sudo", "firewall",
  "ssh",
}
local KNOWN = {}
for _, name in ipairs(NAMES) do KNOWN[name] = true end
local PROFILE_NAMES = { "baseline", "cis_level1", "strict" }

local function wrong_control(what, name)
  local near = type(name) == "string" and options.nearest(name, NAMES)
  local hints = { "there are: " .. table.concat(NAMES, ", ") }
  if near then table.insert(hints, 1, ("did you mean `%s`?"):format(near)) end
  rimg.fail(("%s: there is no control `%s`"):format(what, tostring(name)), { hint = hints })
end

--- Returns a provisioner of a profile's controls, together; or of a table of controls of your own.
function M.profile(which, changes)
  local chosen, label = {}, nil
  if type(which) == "table" and changes == nil then
    label, changes = "harden.profile", which
  else
    if type(which) ~= "string" then
      rimg.fail(("harden.profile: expected the name of a profile, or a table of controls, got a %s"):format(type(which)))
    end
    options.one_of("harden.profile", which, PROFILE_NAMES)
    label = "harden.profile " .. which
    for name, o in pairs(profiles[which]) do chosen[name] = o end
  end
  if changes ~= nil and type(changes) ~= "table" then
    rimg.fail(("%s: expected a table of controls, got a %s"):format(label, type(changes)))
  end
  for name, change in pairs(changes or {}) do
    if not KNOWN[name] then wrong_control(label, name) end
    if change == false then
      chosen[name] = nil
    elseif change == true then
      chosen[name] = chosen[name] or {}
    elseif type(change) == "table" then
      -- What is not said stays as the profile has it.
      local merged = {}
      for option, value in pairs(chosen[name] or {}) do merged[option] = value end
      for option, value in pairs(change) do merged[option] = value end
      chosen[name] = merged
    else
      rimg.fail(("%s: %s: expected a table of options, true or false, got a %s"):format(label, name, type(change)))
    end
  end
  local instances = {}
  for _, name in ipairs(NAMES) do
    if chosen[name] then instances[#instances + 1] = M[name](chosen[name]).instances[1] end
  end
  if #instances == 0 then rimg.fail(label .. ": has no control left") end
  local provisioner = guest.provisioner(label, function(vm) return control.apply(vm, label, instances) end)
  provisioner.instances = instances
  return provisioner
end

--- Looks at what holds on a machine, and changes nothing.
function M.audit(vm, which, given)
  local o = options.check("harden.audit", given, {
    json = { "string" }, html = { "string" }, check = { "boolean", default = false }, name = { "string" },
  })
  if type(which) == "string" or (type(which) == "table" and not which.instances) then which = M.profile(which) end
  if type(which) ~= "table" or type(which.instances) ~= "table" then
    rimg.fail(("harden.audit: expected a profile or a control, got a %s"):format(type(which)), {
      hint = 'such as harden.audit(vm, "strict") or harden.audit(vm, harden.ssh {})',
    })
  end
  local label = "harden.audit " .. which.name:gsub("^harden%.", ""):gsub("^profile ", "")
  local results, facts = control.audit(vm, label, which.instances)
  local found = {
    name = o.name or label, system = facts.pretty_name, ok = true, held = 0, failed = 0, skipped = 0, results = results,
  }
  for _, result in ipairs(results) do
    if result.state == "holds" then found.held = found.held + 1
    elseif result.state == "skipped" then found.skipped = found.skipped + 1
    else found.failed, found.ok = found.failed + 1, false end
  end
  report.write(found, o)
  rimg.log.info(("%s: %d of %d rules hold, %d do not apply."):format(label, found.held, found.held + found.failed, found.skipped))
  if o.check and not found.ok then
    rimg.fail(("%s: %d of %d rules do not hold"):format(label, found.failed, found.held + found.failed), { hint = report.text(found) })
  end
  return found
end

return M
