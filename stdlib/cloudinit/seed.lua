--- cloud-init seeds from a table: user data, metadata and network configuration, as `rimg.qemu` takes them.

local rimg    = require "rimg"
local network = require "std.installer.network"
local options = require "std.options"
local people  = require "std.installer.people"
local places  = require "std.installer.places"

local M = {}

local WHAT = "cloudinit.seed"
local OPTIONS = {
  hostname = { "string" }, instance_id = { "string" }, users = { "list", default = {} }, default_user = { "boolean", default = true },
  root = { "table", default = {} }, locale = { "string" }, timezone = { "string" }, packages = { "strings", default = {} },
  upgrade = { "boolean", default = false }, files = { "list", default = {} }, commands = { "list", default = {} },
  network = { "table" }, cloud_config = { "table", default = {} },
}
local FILE = {
  path = { "path", required = true }, content = { "string", required = true }, owner = { "string" }, mode = { "mode", default = "0644" },
}

local function fail(option, message, hint) rimg.fail(("%s: option `%s`: %s"):format(WHAT, option, message), { hint = hint }) end

local function files(list)
  local found = {}
  for n, given in ipairs(list) do
    local o = options.check(("%s: option `files[%d]`"):format(WHAT, n), given, FILE)
    -- YAML is text; what is not goes as base64.
    local text = utf8.len(o.content) and not o.content:find("[%z\1-\8\11-\31\127]")
    found[n] = {
      path = o.path, content = text and o.content or rimg.base64.encode(o.content), encoding = not text and "b64" or nil,
      -- An owner may be one of `users`, who are made after the first files.
      owner = o.owner, defer = o.owner and true or nil, permissions = #o.mode == 3 and "0" .. o.mode or o.mode,
    }
  end
  return found
end

local function commands(list)
  for n, command in ipairs(list) do
    local words = type(command) == "table" and command or { command }
    local right = #words > 0
    for _, word in ipairs(words) do right = right and type(word) == "string" and word ~= "" end
    if not right then fail(("commands[%d]"):format(n), "expected a line for a shell, or a list of a program and its arguments") end
  end
  return list
end

local function network_config(given)
  local own = network.check(WHAT, given)
  if not own then return nil end
  return { version = 2, ethernets = { [own.interface] = {
    addresses = { own.address },
    -- What every renderer of cloud-init's takes for the default route.
    routes = own.gateway and { { to = "0.0.0.0/0", via = own.gateway } } or nil,
    nameservers = #own.dns > 0 and { addresses = own.dns } or nil,
  } } }
end

--- Returns `user_data`, `meta_data` and `network_config`; nil where there is nothing to say.
function M.seed(given)
  local o = options.check(WHAT, given, OPTIONS)
  local config = {}
  if o.hostname then
    if not o.hostname:match("^%w[%w.-]*$") then fail("hostname", ("%q is no host name"):format(o.hostname)) end
    config.hostname = o.hostname:match("^[^.]+")
    if config.hostname ~= o.hostname then config.fqdn = o.hostname end
  end
  for n, name in ipairs(o.packages) do
    if not name:match("^%w[%w+._:/=~-]*$") then fail(("packages[%d]"):format(n), ("%q is no package's name"):format(name)) end
  end
  local place = "cloud-init " .. (o.hostname or "")
  local users, root = people.users(WHAT, o.users, place), people.root(WHAT, o.root, place)
  config.users = people.cloud(users, root)
  if #config.users == 0 then
    config.users = nil
  elseif o.default_user then
    table.insert(config.users, 1, "default")
  end
  for _, user in ipairs(users) do config.ssh_pwauth = config.ssh_pwauth or user.hash ~= nil or nil end
  if #root.ssh_authorized_keys > 0 then config.disable_root = false end
  if o.locale then config.locale = places.locale(WHAT, o.locale) .. ".UTF-8" end
  config.timezone = o.timezone and places.timezone(WHAT, o.timezone)
  if #o.packages > 0 then config.packages = o.packages end
  if #o.packages > 0 or o.upgrade then config.package_update = true end
  if o.upgrade then config.package_upgrade = true end
  if #o.files > 0 then config.write_files = files(o.files) end
  if #o.commands > 0 then config.runcmd = commands(o.commands) end
  for name, value in pairs(o.cloud_config) do
    if config[name] ~= nil then
      fail("cloud_config", ("`%s` is already there, by another option"):format(name), "say it in one of the two places")
    end
    config[name] = value
  end
  local meta
  if o.hostname or o.instance_id then meta = { ["instance-id"] = o.instance_id, ["local-hostname"] = o.hostname } end
  return { user_data = next(config) and config or nil, meta_data = meta, network_config = network_config(o.network) }
end

return M
