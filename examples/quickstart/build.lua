-- A web server's image from nothing but Debian packages: bootstrap, boot, provision, test, package.
--
--     rimg run examples/quickstart/build.lua            (or: examples/quickstart/run, which installs what it takes)
--     rimg run examples/quickstart/build.lua -v greeting="Hello there"

local rimg   = require "rimg"
local debian = require "std.debian"

local greeting = rimg.var("greeting", { default = "Built by rimg", help = "what the web page says" })
local suite    = rimg.var("suite", { default = "bookworm", help = "the Debian release" })

-- Vagrant's well-known key pair: boxes carry it, and `vagrant up` replaces it with a key of its own.
local vagrant_key = "ssh-rsa "
  .. "AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9H"
  .. "ZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivA"
  .. "IhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE"
  .. "98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"

-- What to start from. std.debian makes an image out of the packages of this host's own mirror; a host without mmdebstrap
-- takes one that Debian publishes.
local function base_image()
  if rimg.which("mmdebstrap") then
    return {
      source_image = debian.bootstrap {
        suite = suite, hostname = "quickstart", packages = { "busybox", "curl" },
        users = { { name = "vagrant", password = "vagrant", ssh_authorized_keys = { vagrant_key }, sudo = true } },
      },
    }
  end
  rimg.log.info "mmdebstrap is not here: starting from Debian's cloud image."
  local folder = ("https://cloud.debian.org/images/cloud/%s/latest/"):format(suite)
  return {
    source_image = folder .. "debian-12-generic-amd64.qcow2",
    source_checksum = "file:" .. folder .. "SHA512SUMS",
    user_data = {
      users = { {
        name = "vagrant", lock_passwd = false, plain_text_passwd = "vagrant", shell = "/bin/bash",
        sudo = "ALL=(ALL) NOPASSWD:ALL", ssh_authorized_keys = { vagrant_key },
      } },
      ssh_pwauth = true,
      packages = { "busybox", "curl" },
    },
  }
end

-- A provisioner is a function of a machine; here with a name for the output.
local web_server = { name = "web server" }

function web_server.apply(vm)
  -- A loop: one page a language.
  for _, page in ipairs { { "en", greeting }, { "de", "Gebaut von rimg" }, { "eo", "Konstruita de rimg" } } do
    local language, text = table.unpack(page)
    vm:write(("/srv/www/%s.html"):format(language), ("<p lang=%s>%s</p>\n"):format(language, text), { sudo = true })
  end
  vm:upload("web.service", "/etc/systemd/system/web.service", { sudo = true })
  vm:run("systemctl enable --now web.service", { sudo = true })
  -- A retry: the server may need a moment.
  rimg.retry({ attempts = 10, backoff = "500ms" }, function()
    vm:run "curl --fail --silent --show-error http://127.0.0.1/en.html"
  end)
end

rimg.build("quickstart", function()
  local options = base_image()
  options.memory, options.cpus = "1G", 2
  options.ssh_username, options.ssh_password = "vagrant", "vagrant"
  options.shutdown_command = "sudo systemctl poweroff"
  local vm = rimg.qemu(options)

  -- A conditional, on what the machine says of itself.
  local facts = vm:facts()
  if facts.os_family == "debian" then
    vm:apply(web_server)
  else
    rimg.fail("this script provisions Debian, not " .. tostring(facts.os_family))
  end
  -- The next machine that boots the image makes a host key and an id of its own.
  vm:shell { inline = { "rm -f /etc/ssh/ssh_host_*", "truncate --size 0 /etc/machine-id" }, sudo = true }

  local image = vm:finish { output_directory = "out", name = "quickstart" }

  -- A smoke test on a throwaway copy: the image itself stays as it is.
  image:boot(function(test)
    rimg.retry({ attempts = 10, backoff = "500ms" }, function()
      test:run([[curl --fail --silent http://127.0.0.1/en.html | grep --fixed-strings "$GREETING"]], {
        env = { GREETING = greeting },
      })
    end)
  end)

  local box = image:vagrant { output = "out/quickstart.box" }
  image:checksum { "sha256" }
  box:checksum { "sha256" }
  box:manifest { output = "out/manifest.json" }
end)
