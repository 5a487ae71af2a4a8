-- A hardened Debian golden image with its audit report; and, if you like, what Lynis says of it before and after.
--
--     rimg run examples/harden/build.lua                       the image, before.html and after.html, in out/
--     rimg run examples/harden/build.lua -v lynis=yes          with Lynis before and after: ten minutes each without KVM
--     rimg run examples/harden/build.lua -v lynis=after        after it alone; behind the first command, that is all it does anew
--     rimg run examples/harden/build.lua -v profile=cis_level1
--
-- The packages come from the mirror that this host's apt uses, and without KVM it takes some ten minutes: the project's tests
-- check it, and harden a guest that has its packages already (tests/e2e/std/hardened.lua).

local rimg     = require "rimg"
local debian   = require "std.debian"
local harden   = require "std.harden"
local packages = require "std.packages"

local profile = rimg.var("profile", { default = "strict", help = "baseline, cis_level1 or strict" })
local lynis   = rimg.var("lynis", { default = "no", help = "measure with Lynis: yes, before and after, or after" })

-- The key that alone opens the image; yours, or one that is made here.
local key = rimg.var("key", { default = "", help = "your private key; its public half is beside it, as KEY.pub" })
if key == "" then
  key = rimg.fs.join(rimg.script_dir, "key")
  if not rimg.fs.exists(key) then
    rimg.exec { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "golden image", "-f", key }
  end
end
-- `rimg check` runs no program, and so makes no key.
local has_key = rimg.fs.exists(key .. ".pub")
local keys = has_key and { rimg.fs.read(key .. ".pub") } or {}

-- Lynis's index, and what it still would have.
local function measure(vm, name)
  vm:apply(packages.install { "lynis" })
  local report = vm:run("lynis audit system --quick --no-colors >/dev/null 2>&1; cat /var/log/lynis-report.dat", {
    sudo = true, quiet = true, timeout = "1h",
  }).stdout
  local findings = {}
  for kind, test, text in report:gmatch("(%l+)%[%]=(%u+%-%d+)|([^|\n]*)") do
    if kind == "suggestion" or kind == "warning" then findings[#findings + 1] = ("%s %s: %s"):format(kind, test, text) end
  end
  local found = {
    index = tonumber(report:match("hardening_index=(%d+)")), tests = tonumber(report:match("lynis_tests_done=(%d+)")), findings = findings,
  }
  rimg.log.info(("Lynis %s: index %s, %d findings."):format(name, tostring(found.index), #findings))
  rimg.fs.write(("out/lynis-%s.json"):format(name), rimg.json.encode(found, { pretty = true }) .. "\n")
end

rimg.build("hardened", function()
  local vm = rimg.qemu {
    source_image = debian.bootstrap {
      hostname = "golden",
      users = { { name = "admin", ssh_authorized_keys = keys, sudo = true } },
    },
    memory = "1G", cpus = 2, ssh_username = "admin", ssh_private_key_file = has_key and key or nil,
    shutdown_command = "sudo systemctl poweroff",
  }
  if lynis == "yes" then measure(vm, "before") end
  harden.audit(vm, profile, { html = "out/before.html", name = "Before hardening" })
  vm:apply(harden.profile(profile))
  vm:reboot()
  harden.audit(vm, profile, { html = "out/after.html", json = "out/after.json", name = "After hardening", check = true })
  if lynis ~= "no" then measure(vm, "after") end
  -- The next machine that boots the image makes a host key and an id of its own.
  vm:shell { inline = { "rm -f /etc/ssh/ssh_host_*", "truncate --size 0 /etc/machine-id" }, sudo = true }
  vm:finish { output_directory = "out/image", name = "golden" }:checksum { "sha256" }
end)
