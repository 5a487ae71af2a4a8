--- Unattended installations: one table becomes the answers of a release's installer, and what is typed to have them read.
---
---     local installer = require "std.installer"
---     local answers = installer.answers { release = "debian-12", users = { { name = "vagrant", password = "vagrant", sudo = true } } }
---     local vm = rimg.qemu(answers:machine { iso_url = …, iso_checksum = …, ssh_username = "vagrant", ssh_password = "vagrant" })

local rimg     = require "rimg"
local disk     = require "std.installer.disk"
local network  = require "std.installer.network"
local options  = require "std.options"
local people   = require "std.installer.people"
local places   = require "std.installer.places"
local releases = require "std.installer.releases"

local M = {}

local WHAT = "installer.answers"

local FORMATS = {
  debian = require "std.installer.debian", kickstart = require "std.installer.kickstart",
  ubuntu = require "std.installer.ubuntu", alpine = require "std.installer.alpine",
  autoyast = require "std.installer.autoyast",
}

local OPTIONS = {
  release = { "string", required = true }, via = { "string", one_of = { "http", "cd" } },
  firmware = { "string", one_of = { "bios", "efi" }, default = "bios" },
  locale = { "string", default = "en_US.UTF-8" }, keyboard = { "string", default = "us" },
  timezone = { "string", default = "Etc/UTC" }, hostname = { "string" }, mirror = { "string" },
  disk = { "table", default = {} }, users = { "list", default = {} }, root = { "table", default = {} },
  packages = { "strings", default = {} }, ssh_server = { "boolean", default = true }, network = { "table" },
  late_commands = { "strings", default = {} }, kernel_parameters = { "string", default = "" },
}

local function fail(option, message, hint)
  rimg.fail(("%s: option `%s`: %s"):format(WHAT, option, message), { hint = hint })
end

-- Everything about it that no format changes.
local function check(given)
  local o = options.check(WHAT, given, OPTIONS)
  local release = releases.find(WHAT, o.release)
  o.hostname = o.hostname or release.distribution
  if not o.hostname:match("^%w[%w.-]*$") or #o.hostname > 253 then
    fail("hostname", ("%q is no host name"):format(o.hostname), "letters, digits, - and .")
  end
  o.host, o.domain = o.hostname:match("^[^.]+"), o.hostname:match("^[^.]+%.(.+)$") or ""
  for n, name in ipairs(o.packages) do
    if not name:match("^[%w@^][%w@^+._:/=~-]*$") then fail(("packages[%d]"):format(n), ("%q is no package's name"):format(name)) end
  end
  for n, command in ipairs(o.late_commands) do
    if command:find("[%z\r]") or not command:find("%S") then
      fail(("late_commands[%d]"):format(n), "is empty, or has a control character in it")
    end
  end
  if o.kernel_parameters:find("%c") then fail("kernel_parameters", "has a control character in it") end
  if o.mirror and (not o.mirror:match("^https?://[%w.-]") or o.mirror:find("[%s'\"\\]")) then
    fail("mirror", ("%q is no address"):format(o.mirror), 'such as "http://deb.debian.org/debian"')
  end
  local place = o.release .. " " .. o.hostname
  o.users, o.root = people.users(WHAT, o.users, place), people.root(WHAT, o.root, place)
  if #o.users == 0 and not o.root.hash and #o.root.ssh_authorized_keys == 0 then
    rimg.fail(WHAT .. ": nobody could log in to what is installed", {
      hint = 'users = { { name = "vagrant", password = "vagrant", sudo = true } }, or root = { … }',
    })
  end
  o.locale, o.keyboard = places.locale(WHAT, o.locale), places.keyboard(WHAT, o.keyboard)
  o.timezone = places.timezone(WHAT, o.timezone)
  o.network = network.check(WHAT, o.network)
  o.release = release
  return o
end

local Answers = {}
Answers.__index = Answers

--- Returns the options of a machine with the answers in them: those that are given come first.
function Answers:machine(given)
  if type(given) ~= "table" then rimg.fail("answers:machine: expected a table of rimg.qemu's options, got a " .. type(given)) end
  local merged = {}
  for _, from in ipairs { self.options, given } do
    for name, value in pairs(from) do
      if (name == "http_content" or name == "cd_content") and merged[name] then
        local both = {}
        for _, contents in ipairs { merged[name], value } do
          for path, content in pairs(contents) do both[path] = content end
        end
        value = both
      end
      merged[name] = value
    end
  end
  if merged.disk_size then
    local size = options.check("answers:machine", { disk_size = merged.disk_size }, { disk_size = { "size" } }).disk_size
    disk.check_size("answers:machine: option `disk_size`", self.layout, options.bytes(size))
  end
  return merged
end

--- Returns the answers for a release: `files`, `options` of a machine that is installed with them, `kernel_parameters`, and
--- `:machine(options)`.
function M.answers(given)
  local o = check(given)
  local format = FORMATS[o.release.format]
  o.via = o.via or format.ways[1]
  options.one_of(("%s: option `via`, for %s"):format(WHAT, o.release.name), o.via, format.ways)
  o.disk = disk.layout(WHAT, o.disk, o.firmware, format.filesystem)
  local made = format.answers(WHAT, o)
  local result = { files = made.files, kernel_parameters = made.kernel_parameters, layout = o.disk, options = made.options or {} }
  result.options.boot_command = made.boot_command
  if o.firmware == "efi" then result.options.efi_boot = true end
  if o.via == "http" then
    result.options.http_content = {}
    for name, content in pairs(made.files) do result.options.http_content["/" .. name] = content end
  end
  return setmetatable(result, Answers)
end

return M
