--- Debian disk images from nothing but packages: mmdebstrap, mke2fs and qemu-img, no root where the host allows user
--- namespaces, no loop devices.
---
---     local image = require("std.debian").bootstrap { suite = "bookworm", packages = { "curl" } }
---     local vm = rimg.qemu { source_image = image, ssh_username = "vagrant", ssh_password = "vagrant" }

local rimg    = require "rimg"
local options = require "std.options"
local recipe  = require "std.debian.recipe"
local sources = require "std.debian.sources"

local M = {}

-- What the recipe itself needs in the image.
local BASE = {
  "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo", "iproute2", "ca-certificates",
  "e2fsprogs", "fdisk", "grub-pc-bin", "zstd",
}
-- Parts of systemd that have been split off since a release.
local SPLIT = {
  bullseye = {},
  bookworm = { "systemd-resolved" },
  default  = { "systemd-resolved", "systemd-repart" },
}

local OPTIONS = {
  suite             = { "string", default = "bookworm" },
  variant           = { "string", default = "minbase" },
  packages          = { "strings", default = {} },
  components        = { "strings", default = { "main" } },
  mirror            = { "string", "strings" },
  kernel            = { "string", default = "linux-image-cloud-amd64" },
  kernel_parameters = { "string", default = "quiet" },
  hostname          = { "string", default = "debian" },
  users             = { "list", default = {} },
  commands          = { "strings", default = {} },
  disk_size         = { "size", default = "4G" },
  compress          = { "boolean", default = false },
  output            = { "string" },
  max_age           = { "number" },
}

local USER = {
  name                = { "string", required = true },
  password            = { "string" },
  ssh_authorized_keys = { "strings", default = {} },
  sudo                = { "boolean", default = false },
  groups              = { "strings", default = {} },
  shell               = { "string", default = "/bin/bash" },
}

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function need(program, package, why)
  -- Users that are not root often lack the sbin folders in PATH.
  if rimg.which(program) or rimg.fs.exists("/usr/sbin/" .. program) then return end
  rimg.fail(("debian.bootstrap: the program %s is not installed"):format(program), {
    hint = { ("install it, on Debian and Ubuntu with: apt-get install %s"):format(package), why },
  })
end

-- The shell lines that add the users.
local function user_script(users)
  local lines = {}
  local function add(line, ...) lines[#lines + 1] = line:format(...) end
  for n, given in ipairs(users) do
    local user = options.check(("debian.bootstrap: option `users[%d]`"):format(n), given, USER)
    if not user.name:match("^[a-z_][a-z0-9_-]*$") then
      rimg.fail(("debian.bootstrap: option `users[%d].name`: %q is no user name"):format(n, user.name), {
        hint = { "lower-case letters, digits, - and _, beginning with a letter" },
      })
    end
    local name = user.name
    add("in_root id -u %s >/dev/null 2>&1 || in_root useradd -m -s %s %s", name, quote(user.shell), name)
    for _, group in ipairs(user.groups) do add("in_root usermod -aG %s %s", quote(group), name) end
    if user.password then
      add("printf '%%s\\n' %s | in_root chpasswd", quote(name .. ":" .. user.password))
    end
    if #user.ssh_authorized_keys > 0 then
      add("home=$(in_root getent passwd %s | cut -d: -f6)", name)
      add('mkdir -p -m 700 "$root$home/.ssh"')
      add([[printf '%%s\n' %s >"$root$home/.ssh/authorized_keys"]], quote(table.concat(user.ssh_authorized_keys, "\n")))
      add('chmod 600 "$root$home/.ssh/authorized_keys"')
      add('in_root chown -R %s: "$home/.ssh"', name)
    end
    if user.sudo then
      add([[printf '%s ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/90-%s"]], name, name)
      add('chmod 440 "$root/etc/sudoers.d/90-%s"', name)
    end
  end
  return table.concat(lines, "\n")
end

-- What the archive holds now: the checksums of the package lists of each apt line. Nil when it cannot be reached.
-- Only those lines of a Release file count: it is signed anew several times a day.
local function archive_state(lines)
  local helper = "/usr/lib/apt/apt-helper"
  if not lines or not rimg.fs.exists(helper) then return nil end
  local dir, states = rimg.fs.tempdir("release"), {}
  for n, line in ipairs(lines) do
    local uri, suite, components = sources.split(line)
    if not uri or suite:sub(-1) == "/" then return nil end
    local file = rimg.fs.join(dir, tostring(n))
    local address = ("%s/dists/%s/InRelease"):format(uri:gsub("/$", ""), suite)
    local got = rimg.exec({ helper, "download-file", address, file }, { check = false, quiet = true })
    if not got.ok or not rimg.fs.exists(file) then return nil end
    for digest, path in rimg.fs.read(file):gmatch("\n (%x+) +%d+ (%S+)") do
      local component, rest = path:match("^([^/]+)/(.+)$")
      if #digest == 64 and rest == "binary-amd64/Packages.xz" then
        for _, wanted in ipairs(components) do
          if wanted == component then states[#states + 1] = digest end
        end
      end
    end
  end
  return #states > 0 and rimg.hash.sha256(table.concat(states, "\n")) or nil
end

-- The settings of this host's apt that a mirror may need: mmdebstrap reads none of its configuration.
local function apt_options()
  local wanted, list = {
    "^Acquire::https?::Proxy ", "^Acquire::https?::Proxy%-Auto%-Detect ", "^Acquire::https::CaInfo ",
    "^Acquire::Check%-Valid%-Until ", "^Acquire::Check%-Date ", "^Acquire::Retries ",
  }, { 'Acquire::Retries "3"' }
  local dump = rimg.exec({ "apt-config", "dump" }, { check = false, quiet = true })
  for line in dump.stdout:gmatch("[^\n]+") do
    for _, pattern in ipairs(wanted) do
      if line:match(pattern) and not line:match('""') then list[#list + 1] = (line:gsub(";%s*$", "")) end
    end
  end
  return list
end

-- mmdebstrap's words, and what to do about them.
local CAUSES = {
  { "does not have a Release file", "the mirror has no such suite: check `suite` and `mirror`" },
  { "Unable to locate package",     "check the names in `packages`; some need `components`, such as \"non-free-firmware\"" },
  { "has no installation candidate", "check the names in `packages`; some need `components`, such as \"non-free-firmware\"" },
  { "NO_PUBKEY",                    "the mirror's signing key is not on this host: apt-get install debian-archive-keyring" },
  { "Temporary failure resolving",  "the mirror cannot be reached: check the network, or name another `mirror`" },
  { "Could not connect",            "the mirror cannot be reached: check the network, or name another `mirror`" },
  { "Unable to connect",            "the mirror cannot be reached: check the network, or name another `mirror`" },
  { "No space left on device",      "the disk is full: point TMPDIR at a folder with some gigabytes of space" },
  { "new[ug]idmap",                 "apt-get install uidmap, or run as root" },
  { "sub[ug]id",                    "give this user subordinate ids in /etc/subuid and /etc/subgid (usermod --add-subuids), or run as root" },
  { "unshare",                      "this host does not let users make user namespaces: run as root" },
  { "chroot mode automatically",    "this host does not let users make user namespaces: run as root" },
}

local function explain(suite, result)
  local said, hints = {}, {}
  for line in result.stderr:gmatch("[^\n]+") do
    if line:match("^E: ") or line:match("^W: Failed") then said[#said + 1] = line end
  end
  for _, cause in ipairs(CAUSES) do
    if result.stderr:find(cause[1]) and hints[#hints] ~= cause[2] then hints[#hints + 1] = cause[2] end
  end
  hints[#hints + 1] = "all that mmdebstrap said is above"
  rimg.fail(("debian.bootstrap: mmdebstrap could not make %s (status %d): %s"):format(
    suite, result.status, said[1] or "no reason given"), { hint = hints })
end

-- Runs mmdebstrap; the image is at `to` afterwards.
local function make(o, lines, uuids, to)
  local packages = { o.kernel, table.unpack(BASE) }
  for _, package in ipairs(SPLIT[o.suite] or SPLIT.default) do packages[#packages + 1] = package end
  for _, package in ipairs(o.packages) do packages[#packages + 1] = package end
  local command = {
    "mmdebstrap", "--mode=auto", "--variant=" .. o.variant, "--architectures=amd64", "--format=null",
    "--components=" .. table.concat(o.components, ","), "--include=" .. table.concat(packages, ","),
    "--dpkgopt=force-unsafe-io",
  }
  for _, option in ipairs(apt_options()) do command[#command + 1] = "--aptopt=" .. option end
  -- By way of the environment: mmdebstrap shows its hooks.
  command[#command + 1] = '--essential-hook=eval "$RIMG_ESSENTIAL"'
  command[#command + 1] = '--customize-hook=eval "$RIMG_CUSTOMIZE"'
  command[#command + 1] = "--customize-hook=download /image.qcow2 " .. quote(to)
  command[#command + 1] = o.suite
  command[#command + 1] = "/dev/null"
  for _, line in ipairs(lines or {}) do command[#command + 1] = line end
  local result = rimg.exec(command, {
    check = false, title = "mmdebstrap " .. o.suite,
    env = {
      PATH = (rimg.env("PATH") or "/usr/bin:/bin") .. ":/usr/sbin:/sbin",
      RIMG_ESSENTIAL = recipe.essential, RIMG_CUSTOMIZE = recipe.customize,
      RIMG_HOSTNAME = o.hostname,
      RIMG_CMDLINE = o.kernel_parameters,
      RIMG_COMMANDS = table.concat(o.commands, "\n"),
      RIMG_USERS = user_script(o.users),
      RIMG_DISK_BYTES = tostring(options.bytes(o.disk_size)),
      RIMG_DISK_UUID = uuids.disk, RIMG_PART_UUID = uuids.part, RIMG_ROOT_UUID = uuids.root,
      RIMG_CONVERT = o.compress and "-c" or "",
    },
  })
  if not result.ok then explain(o.suite, result) end
end

local function uuid_of(text)
  local hex = rimg.hash.sha256(text)
  return ("%s-%s-4%s-8%s-%s"):format(hex:sub(1, 8), hex:sub(9, 12), hex:sub(14, 16), hex:sub(18, 20), hex:sub(21, 32))
end

-- Everything that decides what the image is, as one text.
local function describe(o, lines)
  local parts = { "recipe " .. recipe.version, recipe.essential, recipe.customize }
  local function add(name, value) parts[#parts + 1] = ("%s=%s"):format(name, value) end
  for _, name in ipairs { "suite", "variant", "kernel", "kernel_parameters", "hostname", "compress" } do
    add(name, tostring(o[name]))
  end
  add("size", options.bytes(o.disk_size))
  for _, list in ipairs { "packages", "components", "commands" } do add(list, table.concat(o[list], "\0")) end
  add("users", user_script(o.users))
  add("mirror", table.concat(lines or {}, "\0"))
  return table.concat(parts, "\n")
end

local function artifact(path, o)
  return rimg.artifact {
    files = { path }, kind = "image", builder = "std.debian",
    metadata = { format = "qcow2", architecture = "amd64", suite = o.suite },
  }
end

-- The image that was made last for a key: when, from which state of the archive, and where it is.
local function newest(folder)
  local best
  for _, note in ipairs(rimg.fs.glob(rimg.fs.join(folder, "*.json"))) do
    local ok, made = pcall(function() return rimg.json.decode(rimg.fs.read(note)) end)
    if ok and rimg.fs.exists(made.image) and (not best or made.at > best.at) then
      made.note, best = note, made
    end
  end
  return best
end

-- Images being made in this run, by key: a second build that wants the same one waits for the first. Weak, so that a
-- build that was cancelled does not hold its key for ever.
local making = setmetatable({}, { __mode = "v" })

local function locked(key, fn)
  while making[key] do
    rimg.sleep(0.2)
    collectgarbage()
  end
  local token = {}
  making[key] = token
  local results = table.pack(pcall(fn))
  making[key], token = nil, nil
  if results[1] then return table.unpack(results, 2, results.n) end
  local err = results[2]
  -- Raised again from here, so that its traceback leads to the script.
  if type(err) ~= "string" and err.kind == "script" then rimg.fail(err.message, { hint = err.hints }) end
  error(err, 0)
end

--- Makes a bootable Debian disk image (amd64, BIOS, GPT, ext4, serial console, DHCP, OpenSSH), or finds it in the cache.
--- What went in decides: the options, this recipe, and what the archive's package lists hold at the time.
function M.bootstrap(given)
  local o = options.check("debian.bootstrap", given, OPTIONS)
  if not o.suite:match("^[a-z][a-z0-9.-]*$") then
    rimg.fail(("debian.bootstrap: option `suite`: %q is no name of a release"):format(o.suite), {
      hint = { "such as bookworm, trixie or sid" },
    })
  end
  if not o.hostname:match("^[%w][%w.-]*$") then
    rimg.fail(("debian.bootstrap: option `hostname`: %q is no host name"):format(o.hostname))
  end
  if options.bytes(o.disk_size) < options.bytes("1G") then
    rimg.fail(("debian.bootstrap: option `disk_size`: %s is too small"):format(o.disk_size), {
      hint = { "a Debian with a kernel takes about 600 MB; give it 1G at least" },
    })
  end
  need("mmdebstrap", "mmdebstrap", "on other systems start from a cloud image: rimg.qemu{ source_image = …, source_checksum = … }")
  need("mke2fs", "e2fsprogs")
  need("qemu-img", "qemu-utils")
  local lines = sources.lines(o.suite, o.components, o.mirror)
  local key = rimg.hash.sha256(describe(o, lines))
  local folder = rimg.fs.join(rimg.cache_dir, "debian", key:sub(1, 24))

  local image = locked(key, function()
    local made = newest(folder)
    local age = made and os.time() - made.at
    if made and o.max_age and age <= o.max_age then
      rimg.log.info(("Debian %s: taken from the cache, made %d minutes ago."):format(o.suite, age // 60))
      return made.image
    end
    local state = archive_state(lines)
    if made and state == made.archive then
      rimg.log.info(("Debian %s: taken from the cache; the archive is as it was."):format(o.suite))
      return made.image
    end
    if made and not state then
      rimg.log.warn(("Debian %s: taken from the cache; the archive cannot be asked for news."):format(o.suite))
      return made.image
    end
    return rimg.step(("bootstrap Debian %s"):format(o.suite), function()
      rimg.log.info(made and "The archive has changed: making the image anew, which takes about a minute."
        or "Making the image from packages, which takes about a minute.")
      local pending = rimg.fs.join(rimg.fs.tempdir("debian"), "image.qcow2")
      make(o, lines, { disk = uuid_of(key .. "disk"), part = uuid_of(key .. "part"), root = uuid_of(key .. "root") }, pending)
      -- A name of its own: machines of other runs may stand on the one made before.
      local name = rimg.fs.join(folder, ("%d-%s"):format(os.time(), (state or "unknown"):sub(1, 12)))
      rimg.fs.move(pending, name .. ".qcow2")
      rimg.fs.write(name .. ".json", rimg.json.encode { at = os.time(), archive = state, image = name .. ".qcow2" })
      if made and os.time() - made.at > 7 * 24 * 3600 then
        rimg.fs.remove(made.note)
        rimg.fs.remove(made.image)
      end
      return name .. ".qcow2"
    end)
  end)
  local found = artifact(image, o)
  return o.output and found:convert { format = "qcow2", output = o.output } or found
end

return M
