-- An image hierarchy: base -> infrastructure -> application, each tested before another stands on it.
--
--     rimg run examples/layers/build.lua
--     rimg run examples/layers/build.lua --force -v greeting="Hello"      (the last layer is made anew, the others are taken as they are)

local rimg     = require "rimg"
local debian   = require "std.debian"
local files    = require "std.files"
local layers   = require "std.layers"
local packages = require "std.packages"
local services = require "std.services"
local test     = require "std.test"

local greeting = rimg.var("greeting", { default = "Welcome", help = "what the shop's page says" })
local image    = rimg.var("image", { default = "", help = "a Debian image to start from, login vagrant; made from packages by default" })

local function start()
  return { source_image = image ~= "" and image or debian.bootstrap { users = { { name = "vagrant", password = "vagrant", sudo = true } } } }
end

layers.build {
  machine = { memory = "512M", cpus = 2, ssh_username = "vagrant", ssh_password = "vagrant" },
  layers = {
    { "base", machine = start,
      apply = files.line { path = "/etc/ssh/sshd_config", match = "^#?PermitRootLogin", line = "PermitRootLogin no", validate = "sshd -t -f %s" },
      test  = test.expect { service = { "ssh" }, command = { ["sshd -T"] = { stdout = { "permitrootlogin no" } } } } },

    { "infrastructure", from = "base",
      apply = { packages.install { "nginx-light", "curl" }, services.service { "nginx", enabled = true } },
      test  = test.expect { attempts = 30, package = { "nginx-light" }, service = { nginx = { running = true, enabled = true } }, port = { "tcp:80" } } },

    { "shop", from = "infrastructure",
      apply = files.write { path = "/var/www/html/index.html", content = greeting .. "\n" },
      test  = test.expect {
        attempts = 30, file = { ["/var/www/html/index.html"] = { contents = { greeting } } },
        http = { ["http://127.0.0.1/"] = { status = 200, body = { greeting } } }, junit = "out/shop.xml",
      },
      publish = function(shop) shop:checksum { "sha256" } end },
  },
}
