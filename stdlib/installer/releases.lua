--- The releases that there are answers for, and which format they read.

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

-- The name before the number, its format, and the numbers.
local KNOWN = {
  debian            = { "debian", "11", "12", "13" },
  ubuntu            = { "ubuntu", "22.04", "24.04", "26.04" },
  rhel              = { "kickstart", "8", "9", "10" },
  ["centos-stream"] = { "kickstart", "9", "10" },
  rocky             = { "kickstart", "8", "9", "10" },
  almalinux         = { "kickstart", "8", "9", "10" },
  oracle            = { "kickstart", "8", "9", "10" },
  fedora            = { "kickstart", "41", "42", "43", "44" },
  alpine            = { "alpine", "3.19", "3.20", "3.21", "3.22", "3.23" },
  ["opensuse-leap"] = { "autoyast", "15.5", "15.6" },
  sles              = { "autoyast", "15.5", "15.6", "15.7" },
}
local CODENAMES = { ["debian-11"] = "bullseye", ["debian-12"] = "bookworm", ["debian-13"] = "trixie" }

--- Returns the format of a release, its distribution, number and code name, or raises an error that says which there are.
function M.find(what, name)
  local distribution, version = name:match("^([a-z-]+)%-([%d.]+)$")
  local known = KNOWN[distribution]
  if known then
    for n = 2, #known do
      if known[n] == version then
        return { name = name, format = known[1], distribution = distribution, version = version, codename = CODENAMES[name] }
      end
    end
    local names = {}
    for n = 2, #known do names[#names + 1] = distribution .. "-" .. known[n] end
    rimg.fail(("%s: option `release`: there are no answers for %s"):format(what, name), {
      hint = "of this distribution there are: " .. table.concat(names, ", "),
    })
  end
  local all, newest = {}, {}
  for one, list in pairs(KNOWN) do
    newest[#newest + 1] = one .. "-" .. list[#list]
    for n = 2, #list do all[#all + 1] = one .. "-" .. list[n] end
  end
  table.sort(newest)
  local near = options.nearest(name, all)
  rimg.fail(("%s: option `release`: no release is called %q"):format(what, name), {
    hint = { near and ("did you mean %q?"):format(near) or "a distribution and its number",
      "such as: " .. table.concat(newest, ", ") },
  })
end

return M
