-- A machine of a cloud that rimg does not know, by a builder of 80 lines beside this script (cloud.lua).
--
--     rimg run examples/lua_builder/build.lua -v api=https://cloud.example.org/v1 -v token=… -v key=~/.ssh/id_ed25519
--
-- It takes such a cloud. The project's tests have a small one, whose machines are an SSH server on this host.

local rimg  = require "rimg"
local cloud = require "cloud"
local files = require "std.files"

local id = cloud.build({
  api = rimg.var("api", { help = "address of the cloud's API" }), token = rimg.secret("token"),
  image = "debian-12", name = "rimg-web", ssh_username = rimg.var("user", { default = "root", help = "who logs in to new machines" }),
  ssh_private_key_file = rimg.var("key", { help = "that user's private key" }),
  poll = rimg.var("poll", { default = 2, help = "seconds between two looks" }),
}, function(vm)
  vm:apply(files.write { path = rimg.var("page", { default = "/var/www/index.html" }), content = "Made by a builder in Lua\n", sudo = false })
end)
rimg.log.info("image " .. id)
rimg.fs.write("out/image-id", id)
