-- A matrix of variants from one machine: what they share is done once, then `vm:fork` goes on from there as several machines.
--
--     rimg run examples/variants/build.lua

local rimg   = require "rimg"
local debian = require "std.debian"
local files  = require "std.files"

local image = rimg.var("image", { default = "", help = "a Debian image to start from, login vagrant; made from packages by default" })

local vm = rimg.qemu {
  source_image = image ~= "" and image or debian.bootstrap { users = { { name = "vagrant", password = "vagrant", sudo = true } } },
  memory = "512M", cpus = 2, ssh_username = "vagrant", ssh_password = "vagrant",
}
vm:apply(files.write { path = "/etc/motd", content = "Made by acme\n" })

local variants = {}
for _, edition in ipairs { "community", "enterprise" } do
  for _, zone in ipairs { "eu", "us" } do
    variants[edition .. "-" .. zone] = function(copy)
      copy:apply(files.write { path = "/etc/acme.conf", content = ("edition=%s\nzone=%s\n"):format(edition, zone) })
      if edition == "enterprise" then
        copy:apply(files.line { path = "/etc/motd", line = "Support: support@example.org" })
      end
      return copy:finish { output_directory = ("out/%s-%s"):format(edition, zone), name = "acme" }
    end
  end
end

for name, made in pairs(vm:fork(variants)) do rimg.log.info(name, made.path) end
