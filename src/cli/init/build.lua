-- A machine image, built with:   rimg run build.lua
-- Tried without any machine:     rimg check build.lua
-- What can be set from outside:  rimg inspect build.lua

local rimg = require "rimg"

-- Variables come from -v name=value, --var-file or RIMG_VAR_<name>; a default makes them optional.
local source = rimg.var("source", {
  default = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2",
  help = "the disk image to start from: a path or a URL",
})
local checksum = rimg.var("checksum", {
  default = "file:https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS",
  help = "of a downloaded source: sha512:…, or file: and the place of a checksum file; none for a path of your own",
})
local packages = { "nginx", "curl" }

-- Builds start where they are written and run side by side; `local base = rimg.build(…)` and `base:await()` make one
-- wait for another.
rimg.build("web", function()
  local vm = rimg.qemu {
    source_image    = source,
    source_checksum = checksum,
    disk_size       = "10G",
    memory          = "1G",
    cpus            = 2,
    -- cloud-init makes the user; rimg plants a key of its own that is gone when the build is over.
    ssh_username    = "debian",
    ssh_timeout     = "5m",
  }

  -- Operations are methods of the machine. A command that fails raises an error, which rimg.retry can catch.
  rimg.retry({ attempts = 3, backoff = "5s" }, function()
    vm:run "sudo apt-get update"
  end)

  -- It is Lua: conditionals, loops and functions are the real ones.
  if vm:facts().os_family == "debian" then
    for _, package in ipairs(packages) do
      vm:run { "sudo", "apt-get", "install", "--yes", package }
    end
  end

  vm:write("/tmp/motd", "Built " .. rimg.isotime() .. "\n")
  vm:shell { inline = { "mv /tmp/motd /etc/motd", "cloud-init clean --logs" }, sudo = true }

  -- Shut down, compact, and leave the image whole or not at all.
  local image = vm:finish { output_directory = "out/web" }
  image:checksum { "sha256" }

  -- A smoke test on a throwaway copy: the image itself is not touched.
  image:boot(function(test)
    test:run "systemctl is-active nginx"
  end)
end)
