-- What every module refuses, and how it says so: machines that it cannot work on, before any program runs there, and options
-- that are wrong, at once.
local rimg    = require "rimg"
local support = require "support"
local std = setmetatable({}, { __index = function(_, name) return require("std." .. name) end })

-- A machine that is what these facts say, and runs nothing.
local function machine(facts)
  local vm = {}
  function vm.facts() return facts end
  function vm.run() error("a program was run", 0) end
  return vm
end
local PROVISIONERS = {
  std.packages.install { "x" }, std.packages.remove { "x" }, std.packages.upgrade(), std.packages.repository { name = "x", url = "http://x/", trusted = true, suites = "./" },
  std.services.service { "x", enabled = true }, std.services.unit { name = "x.service", content = "[Service]" },
  std.users.user { name = "x" }, std.users.group { name = "x" }, std.files.line { path = "/x", line = "x" }, std.cleanup.all(),
  std.cloudinit.wait(), std.vagrant.user(), std.vagrant.guest_tools { provider = "libvirt" }, std.test.expect { package = { "x" } },
  std.harden.profile "baseline", std.harden.ssh {},
}
local without_sudo = machine { user = "joe", is_root = false, has_sudo = false, os_family = "debian", package_manager = "apt", init = "systemd", pretty_name = "Debian" }
for _, provisioner in ipairs(PROVISIONERS) do
  support.fails(function() provisioner.apply(without_sudo) end, "needs root, and the user joe has no sudo", "log in as root")
end
-- What differs between distributions says where it works; a user or a line in a file is the same everywhere.
local unknown = machine { user = "root", is_root = true, os_family = "arch", package_manager = "pacman", init = "runit", pretty_name = "Odd Linux" }
for _, provisioner in ipairs(PROVISIONERS) do
  local wanted = provisioner.name:match "^packages" and "apt, dnf" or provisioner.name:match "^vagrant.guest_tools" and "apt, dnf"
    or provisioner.name:match "^services" and "systemd" or provisioner.name:match "^harden" and "alpine, debian, redhat, suse"
  if wanted then
    support.fails(function() provisioner.apply(unknown) end, "Odd Linux is not supported", "it works where", wanted)
  end
end

-- Functions, options, and what is said of them; `false` stands for none.
local WRONG = {
  { "packages.install", {}, "names no package" }, { "packages.install", { 1 }, "package 1: expected a string, got a number" },
  { "packages.install", { "a b" }, "is no package's name" }, { "packages.install", { "x", retrys = 1 }, "did you mean `retries`" },
  { "packages.install", { "x", lock_timeout = "soon" }, "expected a time" }, { "packages.upgrade", "x", "takes no names" },
  { "packages.repository", { name = "x", url = "nope" }, "is no address" }, { "packages.repository", false, "`name`: is required" },
  { "services.service", { "x" }, "says nothing about the service" }, { "services.service", { "a b", enabled = true }, "is no service's name" },
  { "services.service", { "x", enabled = "yes" }, "expected true or false" }, { "services.unit", { name = "x" }, "has no type" },
  { "users.user", { name = "A B" }, "is no name" }, { "users.user", { name = "x", gruops = {} }, "did you mean `groups`" },
  { "users.user", { name = "x", uid = -1 }, "is not between 0 and" }, { "users.group", { name = "x", gid = 2 ^ 32 }, "is not between 0 and" },
  { "users.user", { name = "x", ssh_authorized_keys = { "x" } }, "is no public key" },
  { "files.line", { path = "x", line = "x" }, "expected an absolute path" }, { "files.line", { path = "/x" }, "`line`: is required" },
  { "files.write", { path = "/x", content = "x", mode = "9" }, "permission bits" }, { "files.remove", { path = "/", recursive = true }, "is not removed" },
  { "files.download", { path = "/x", url = "http://x/" }, "`checksum`: is required" }, { "files.permissions", { path = "/x" }, "nothing to set" },
  { "files.block", { path = "/x" }, "`block`: is required" },
  { "cleanup.all", { package = true }, "did you mean `packages`" }, { "cleanup.all", { logs = "no" }, "expected true or false" },
  { "cloudinit.wait", { timeout = "soon" }, "expected a time" }, { "cloudinit.seed", { packages = "x" }, "expected a list of strings" },
  { "vagrant.user", { nam = "x" }, "did you mean `name`" }, { "vagrant.guest_tools", { provider = "kvm" }, "expected one of hyperv" },
  { "test.expect", { pakage = {} }, "did you mean `package`" }, { "test.expect", { port = { "x" } }, "is not such as" },
  { "test.expect", { service = { ssh = { runing = true } } }, "did you mean `running`" },
  { "naming.name", { application = "a b" }, "it has the character" }, { "regions.each", {}, "expected a list of names" },
  { "layers.build", { layers = {} }, "is an empty list" }, { "layers.build", { layers = { { "a", from = "b" } } }, "expected one of a" },
  { "layers.build", { layers = { { "a", apply = 5 } } }, "expected a table or a function" },
  { "installer.answers", { release = "debian-99" }, "there are no answers for debian-99" },
  { "installer.answers", { release = "debian-12", user = {} }, "did you mean `users`" },
}
for _, case in ipairs(WRONG) do
  local module, name = case[1]:match "^(%w+)%.([%w_]+)$"
  support.fails(function() std[module][name](case[2] or nil) end, case[1] == "naming.name" and "naming: " or case[1], case[3])
end
support.fails(function() std.test.expect { http = { "127.0.0.1" } }.apply(machine { is_root = true }) end, "is no address such as")
