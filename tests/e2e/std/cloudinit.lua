-- std.cloudinit without a guest: what seeds hold, and what they refuse. The rest is in cloud_init.rs.
local rimg      = require "rimg"
local cloudinit = require "std.cloudinit"
local support   = require "support"

local KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx8Hq4fHqW8o2xY0c1wqk5mYJY1Sg0m3n4pZQ0n9c4d a"
local nothing = cloudinit.seed {}
assert(not nothing.user_data and not nothing.meta_data and not nothing.network_config)
local seed = cloudinit.seed {
  hostname = "web.example.org", users = { { name = "ops", password = "secret!", sudo = true } }, root = { ssh_authorized_keys = { KEY } },
  packages = { "nginx" }, files = { { path = "/etc/x", content = "x", owner = "ops" }, { path = "/etc/b", content = "\0", mode = "600" } },
  network = { interface = "eth0", address = "192.0.2.10/24", gateway = "192.0.2.1", dns = { "192.0.2.2" } },
  cloud_config = { manage_etc_hosts = true },
}
local user_data = seed.user_data
assert(user_data.hostname == "web" and user_data.fqdn == "web.example.org" and user_data.users[1] == "default")
assert(user_data.users[2].passwd:match("^%$6%$") and user_data.users[3].name == "root" and user_data.disable_root == false)
assert(user_data.ssh_pwauth and user_data.package_update and user_data.manage_etc_hosts)
assert(user_data.write_files[1].defer and user_data.write_files[2].content == "AA==" and user_data.write_files[2].permissions == "0600")
assert(seed.network_config.ethernets.eth0.routes[1].via == "192.0.2.1" and seed.meta_data["local-hostname"] == "web.example.org")
assert(not rimg.json.encode(seed):find("secret!", 1, true))

local function bad(given, ...) support.fails(function() cloudinit.seed(given) end, ...) end
bad({ comands = {} }, "did you mean `commands`")
bad({ hostname = "a b" }, "is no host name")
bad({ packages = { "a b" } }, "no package's name")
bad({ commands = { {} } }, "commands[1]")
bad({ commands = { { "echo", 1 } } }, "a list of a program and its arguments")
bad({ files = { { path = "x", content = "" } } }, "files[1]", "an absolute path")
bad({ users = { { name = "x" } } }, "neither a password nor a key")
bad({ timezone = "Europe/Berln" }, "Europe/Berlin")
bad({ locale = "xx_XX" }, "there is no locale")
bad({ network = { interface = "eth0", address = "x" } }, "192.0.2.10/24")
bad({ hostname = "a", cloud_config = { hostname = "b" } }, "`hostname` is already there")
support.fails(function() cloudinit.wait { timeout = "soon" } end, "a time such as \"10m\"")
support.fails(function() cloudinit.wait { timout = 1 } end, "did you mean `timeout`")

-- A machine without cloud-init says so, and one on which it is never done says where it stands.
local vm = support.machine()
if not rimg.which "cloud-init" then
  support.fails(function() vm:apply(cloudinit.wait {}) end, "cloud-init is not installed")
  local bin = rimg.fs.tempdir "bin"
  support.write_program(bin, "cloud-init", "exit 1\n")
  support.fails(function() support.machine({}, bin):apply(cloudinit.wait { timeout = 1 }) end, "is not done after 1 s", "cloud-init-output.log")
end
