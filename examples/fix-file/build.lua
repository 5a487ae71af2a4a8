-- An ad-hoc one-off: one file of an existing image is mended, and the image written to another folder.
--
--     rimg run examples/fix-file/build.lua -v image=web.qcow2 -v user=admin -v password=secret
--
-- It takes a boot of the image, the first time; then a few seconds, whatever is changed here: rimg keeps the booted machine.

local rimg  = require "rimg"
local files = require "std.files"

local vm = rimg.qemu {
  source_image = rimg.var("image", { help = "the image" }),
  memory = "512M", cpus = 2,
  ssh_username = rimg.var("user", { default = "vagrant" }), ssh_password = rimg.secret("password"),
}
vm:apply(files.line {
  path = "/etc/ssh/sshd_config", match = "^#?ClientAliveInterval", line = "ClientAliveInterval " .. rimg.var("seconds", { default = 60 }),
  validate = "sshd -t -f %s",
})
vm:finish { output_directory = "out", name = "fixed" }
