-- std.installer: what it writes for each format, judged by the format's own validator, and what it refuses.
local rimg      = require "rimg"
local crypt     = require "std.installer.crypt"
local installer = require "std.installer"
local support   = require "support"

-- Passwords are what openssl makes of them.
for _, password in ipairs { "x", "vagrant", "it's $ecret", ("long é "):rep(20) } do
  local theirs = rimg.exec({ "openssl", "passwd", "-6", "-salt", "0123456789abcdef", "-stdin" }, { input = password .. "\n", quiet = true })
  assert(crypt.sha512(password, "0123456789abcdef") .. "\n" == theirs.stdout, password)
end

local KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx8Hq4fHqW8o2xY0c1wqk5mYJY1Sg0m3n4pZQ0n9c4d a'b\"c"
local PASSPHRASE = [[it's $ecret "\ <&> 100% #x]]
-- The least there can be, and everything there is.
local function least(release, more)
  local given = { release = release, users = { { name = "vagrant", password = "vagrant", sudo = true } } }
  for name, value in pairs(more or {}) do given[name] = value end
  return given
end
local function most(release, more)
  local given = {
    release = release, firmware = "efi", locale = "de_CH.UTF-8", keyboard = "ch-fr", timezone = "Europe/Zurich",
    hostname = "web.example.org", packages = { "curl", "vim" }, kernel_parameters = "console=ttyS0",
    late_commands = { "echo \"it's $HOME\" >/etc/late", "printf '%s\\n' one \\\n  two" },
    root = { password = "r00t", ssh_authorized_keys = { KEY } },
    users = {
      { name = "vagrant", password = "vagrant", sudo = true, groups = { "adm" }, ssh_authorized_keys = { "{{ .SSHPublicKey }}" } },
      { name = "ops", ssh_authorized_keys = { KEY, KEY .. "2" }, shell = "/bin/sh", comment = "who's <there> & \"why\"" },
    },
    network = { interface = "ens3", address = "10.0.2.15/22", gateway = "10.0.2.2", dns = { "10.0.2.3", "9.9.9.9" } },
    disk = {
      device = "/dev/sda", size = "40G", encryption = { passphrase = PASSPHRASE },
      partitions = { { mount = "/boot", size = "2G", filesystem = "ext4" } },
      lvm = { group = "system", volumes = { { mount = "/", size = "10G" }, { mount = "swap", size = 512 },
        { name = "logs", mount = "/var/log", filesystem = "xfs" } } },
    },
  }
  for name, value in pairs(more or {}) do given[name] = value end
  return given
end
local function plain(release)
  return least(release, { disk = { partitions = { { mount = "swap", size = "1G" }, { mount = "/", size = "8G", filesystem = "ext4" },
    { mount = "/srv", filesystem = "xfs" } } } })
end

local function has(text, ...)
  for _, wanted in ipairs { ... } do assert(text:find(wanted, 1, true), wanted .. " is not in:\n" .. text) end
end
-- What a format's files must have in them and in no other way, whatever the format.
local function write(folder, answers)
  for name, content in pairs(answers.files) do
    assert(not content:find("r00t", 1, true), "a password stands in " .. name)
    rimg.fs.write(folder .. "/" .. name, content)
  end
  local typed = rimg.json.encode(answers.options.boot_command)
  assert(not typed:find("ecret", 1, true) and not answers.kernel_parameters:find("ecret", 1, true), "a secret is typed")
end
local function judge(folder, given, validate)
  local answers = installer.answers(given)
  write(folder, answers)
  validate(folder, answers)
  return answers
end

-- Debian: a preseed file and the script at its end.
local function debian(folder)
  rimg.exec({ "debconf-set-selections", "-c", folder .. "/preseed.cfg" }, { quiet = true })
  rimg.exec({ "sh", "-n", folder .. "/late.sh" }, { quiet = true })
end
for _, release in ipairs { "debian-11", "debian-12", "debian-13" } do
  judge(release .. "-least", least(release), debian)
  judge(release .. "-plain", plain(release), debian)
  local answers = judge(release .. "-most", most(release), debian)
  has(answers.files["preseed.cfg"], "partman-auto/method string crypto", "mountpoint{ /var/log } $lvmok{ } lv_name{ logs } .",
    "537 537 537 free", "passphrase password " .. PASSPHRASE .. "\n", "xkb-keymap select ch(fr)", "hostname", "/dev/sda")
  has(answers.files["late.sh"], "keys ops", "{{ .SSHPublicKey }}", "sudo_for vagrant", "address 10.0.2.15/22")
  assert(not answers.files["late.sh"]:find("sudo_for ops", 1, true))
end

-- The RHEL family: a kickstart file. The validator is started once for each version: it takes a second.
local by_version = {}
for release, version in pairs {
  ["rhel-8"] = "RHEL8", ["rhel-9"] = "RHEL9", ["rhel-10"] = "RHEL10", ["rocky-9"] = "RHEL9", ["almalinux-10"] = "RHEL10",
  ["centos-stream-9"] = "RHEL9", ["oracle-8"] = "RHEL8", ["fedora-41"] = "F41", ["fedora-42"] = "F42",
} do
  local function kickstart(folder)
    local post = rimg.fs.read(folder .. "/ks.cfg"):match("\n%%post %-%-interpreter=/bin/sh %-%-erroronfail\n(.-)\n%%end\n")
    rimg.exec({ "sh", "-n" }, { input = post, quiet = true })
    by_version[version] = by_version[version] or { rimg.fs.read "ksvalidator", "-e", "-v", version }
    table.insert(by_version[version], folder .. "/ks.cfg")
  end
  judge(release .. "-least", least(release), kickstart)
  judge(release .. "-plain", plain(release), kickstart)
  local answers = judge(release .. "-most", most(release, { via = "cd" }), kickstart)
  assert(answers.options.cd_label == "OEMDRV" and answers.options.cd_content["ks.cfg"] and not answers.options.http_content)
  has(answers.files["ks.cfg"], "--netmask=255.255.252.0", "keyboard --xlayouts='ch (fr)'", "--name=logs", "ondisk=sda")
end
for version, command in pairs(by_version) do
  -- It leaves a copy of each file behind.
  local said = rimg.exec(command, { check = false, quiet = true, env = { TMPDIR = rimg.fs.tempdir "ksvalidator" } })
  assert(said.ok, version .. ": " .. said.stdout .. said.stderr)
end

-- Ubuntu: cloud-init's schema is asked in the guest that has it (cloud_init.rs).
for _, release in ipairs { "ubuntu-22.04", "ubuntu-24.04" } do
  local function autoinstall(folder)
    local text = rimg.fs.read(folder .. "/user-data")
    assert(text:match("^#cloud%-config\n"))
    local given = rimg.yaml.decode(text).autoinstall
    local ids, mounts = {}, {}
    for _, action in ipairs(given.storage.config) do
      -- Each stands on one that came before it.
      for _, on in ipairs { action.device or action.volume or action.volgroup or false } do
        assert(not on or ids[on], action.id .. " is on " .. tostring(on))
      end
      assert(not ids[action.id], "twice: " .. action.id)
      ids[action.id] = true
      if action.type == "mount" then mounts[action.path] = true end
    end
    assert(mounts["/"] and given.version == 1)
    rimg.exec({ "sh", "-n" }, { input = given["late-commands"][1][6], quiet = true })
  end
  judge(release .. "-least", least(release, { via = "http" }), autoinstall)
  judge(release .. "-plain", plain(release), autoinstall)
  local answers = judge(release .. "-most", most(release), autoinstall)
  local given = rimg.yaml.decode(answers.files["user-data"]).autoinstall
  assert(given["user-data"].users[1].ssh_authorized_keys[1] == "{{ .SSHPublicKey }}" and given["user-data"].fqdn == "web.example.org")
  assert(answers.options.user_data == answers.files["user-data"] and not answers.options.http_content)
  local crypted
  for _, action in ipairs(given.storage.config) do crypted = crypted or action.type == "dm_crypt" and action.key end
  assert(crypted == PASSPHRASE)
  has(given["late-commands"][1][6], "to: default", "10.0.2.15/22", "keys root")
end

-- Alpine: the answers are shell assignments, and so is how they are read.
local function alpine(folder)
  for _, name in ipairs { "answers", "install.sh", "late.sh" } do rimg.exec({ "sh", "-n", folder .. "/" .. name }, { quiet = true }) end
  local read = rimg.exec({ "sh", "-euc", '. "$1"; echo "$DISKOPTS|$KEYMAPOPTS|$HOSTNAMEOPTS|$SSHDOPTS|$APKREPOSOPTS"', "sh", "./" .. folder .. "/answers" }, { quiet = true })
  return read.stdout
end
local function only(disk) return { disk = disk, kernel_parameters = "" } end
assert(alpine(judge("alpine-least", least "alpine-3.20", alpine) and "alpine-least") == "-m sys -s 0 /dev/vda|us us|-n alpine|openssh|-1 -c\n")
judge("alpine-most", most("alpine-3.20", only { lvm = { volumes = { { mount = "/", filesystem = "xfs" }, { mount = "swap", size = "1G" } } } }), alpine)
assert(alpine "alpine-most" == "-m sys -s 1024 -L /dev/vda|ch ch-fr|-n web.example.org|openssh|-1 -c\n")
has(rimg.fs.read "alpine-most/install.sh", "ROOTFS=xfs", "BOOT_SIZE=512", "USE_EFI=1", "apk add --no-progress 'sudo' 'curl' 'vim'")
local function refused(disk, text) support.fails(function() installer.answers(least("alpine-3.20", { disk = disk })) end, text, "Alpine's installer makes") end
refused({ lvm = true, encryption = { passphrase = "x" } }, "asks for the passphrase")
refused({ partitions = { { mount = "/", size = "1G" } } }, "no size of its own")
refused({ partitions = { { mount = "/" }, { mount = "/home", size = "1G" } } }, "makes nothing at /home")
refused({ lvm = { group = "system" } }, "is called vg0")

-- SUSE: a profile in XML. Its schema comes with YaST alone.
for _, release in ipairs { "opensuse-leap-15.6", "sles-15.6" } do
  local function autoyast(folder) rimg.exec({ "xmllint", "--noout", "--nonet", folder .. "/autoinst.xml" }) end
  local function at(folder, path)
    return rimg.exec({ "xmllint", "--nonet", "--xpath", ("string(%s)"):format(path:gsub("/(%a[%a_-]*)", "/*[local-name()='%1']")), folder .. "/autoinst.xml" },
      { quiet = true }).stdout:gsub("\n$", "")
  end
  judge(release .. "-least", least(release), autoyast)
  judge(release .. "-plain", plain(release), autoyast)
  judge(release .. "-most", most(release, { via = "cd", late_commands = { "echo ']]>' '<&'" } }), autoyast)
  local most_of = release .. "-most"
  assert(at(most_of, "//crypt_key") == PASSPHRASE, at(most_of, "//crypt_key"))
  assert(at(most_of, "//fullname") == "vagrant" and at(most_of, "//drive[2]/device") == "/dev/system" and at(most_of, "//keymap") == "french-ch")
  local script = at(most_of, "//chroot-scripts/script/source")
  has(script, "echo ']]>' '<&'\n", "into_group vagrant adm")
  rimg.exec({ "sh", "-n" }, { input = script, quiet = true })
end
support.fails(function() installer.answers(least("sles-15.6", { keyboard = "ie" })) end, "YaST has no layout for \"ie\"")

-- The options of a machine: what is given comes first, and contents come together.
local answers = installer.answers(least "debian-12")
local machine = answers:machine { memory = "2G", http_content = { ["/more"] = "x" }, disk_size = "20G" }
assert(machine.memory == "2G" and machine.http_content["/more"] == "x" and machine.http_content["/preseed.cfg"])
assert(answers:machine { boot_command = { "mine" } }.boot_command[1] == "mine" and not answers.options.http_content["/more"])
assert(installer.answers(least("debian-12", { firmware = "efi" })).options.efi_boot)
assert(rimg.json.encode(installer.answers(most "debian-12").files) == rimg.json.encode(installer.answers(most "debian-12").files))

-- What cannot be is said at once, with what to do.
local function bad(more, ...)
  local given = least("debian-12", more)
  support.fails(function() installer.answers(given) end, ...)
end
bad({ release = "debian-14" }, "there are no answers for debian-14", "debian-11, debian-12, debian-13")
bad({ release = "debain-12" }, "did you mean \"debian-12\"")
bad({ release = 12 }, "expected a string")
bad({ pakages = {} }, "did you mean `packages`")
bad({ packages = { "a b" } }, "packages[1]", "no package's name")
bad({ locale = "en_UK.UTF-8" }, "there is no locale", "did you mean \"en_")
bad({ locale = "de_DE.ISO-8859-1" }, "is not in UTF-8", "de_DE.UTF-8")
bad({ locale = "german" }, "there is no locale")
bad({ keyboard = "gb" }, "there is no layout \"gb\"", "there are: be, br")
bad({ timezone = "Europe/Berln" }, "there is no time zone", "Europe/Berlin")
bad({ hostname = "a b" }, "is no host name")
bad({ via = "cd" }, "expected one of http")
bad({ firmware = "uefi" }, "expected one of bios, efi")
bad({ mirror = "ftp://x/debian" }, "is no address")
bad({ mirror = "http://deb.debian.org" }, "is no mirror of Debian")
bad({ late_commands = { "  " } }, "late_commands[1]")
bad({ users = {} }, "nobody could log in")
bad({ users = { { name = "x" } } }, "neither a password nor a key")
bad({ users = { { name = "root", password = "x" } } }, "an option of its own")
bad({ users = { { name = "X y", password = "x" } } }, "is no user name")
bad({ users = { { name = "a", password = "x" }, { name = "a", password = "x" } } }, "a is there twice")
bad({ users = { { name = "a", password = "x", password_hash = "$6$a$b" } } }, "only one of")
bad({ users = { { name = "a", password_hash = "secret" } } }, "is not what /etc/shadow holds")
bad({ users = { { name = "a", ssh_authorized_keys = { "key" } } } }, "is no public key", "{{ .SSHPublicKey }}")
bad({ users = { { name = "a", pasword = "x" } } }, "users[1]", "did you mean `password`")
bad({ network = { interface = "ens3", address = "10.0.2.15" } }, "length of its network", "192.0.2.10/24")
bad({ network = { interface = "ens3", address = "10.0.2.300/24" } }, "is no address")
bad({ network = { address = "10.0.2.15/24" } }, "option `interface`: is required")

local function layout(disk, ...) bad({ disk = disk }, ...) end
layout({ encryption = {}, lvm = true }, "there is no passphrase", "rimg.secret")
layout({ encryption = { passphrase = "x" } }, "there is none", "lvm = true")
layout({ encryption = { passphrase = " x" }, lvm = true }, "a space or backslash at an end")
layout({ partitions = { { mount = "/home", size = "1G" } } }, "there is no root")
layout({ lvm = { volumes = { { mount = "/home" } } } }, "there is no root")
layout({ size = "10G", lvm = { volumes = { { mount = "/", size = "8G" }, { mount = "/home", size = "4G" } } } },
  "13312 MiB together, and the disk has 10240 MiB")
layout({ partitions = { { mount = "/" }, { mount = "/home" } } }, "both / and /home", "give one of them a size")
layout({ partitions = { { mount = "/" } }, lvm = true }, "/ has no size")
layout({ partitions = { { mount = "/" }, { mount = "/", size = "1G" } } }, "/ is there twice")
layout({ partitions = { { mount = "home", size = "1G" } } }, "is no place to mount at")
layout({ partitions = { { mount = "/", filesystem = "ext5" } } }, "did you mean \"ext", "disk.partitions[1]")
layout({ partitions = { { mount = "/", filesystem = "swap" } } }, "swap is mounted at")
layout({ partitions = { { mont = "/" } } }, "did you mean `mount`")
layout({ lvm = { volumes = { { mount = "/" }, { mount = "/boot", size = "1G" } } } }, "a partition of its own")
layout({ lvm = { volumes = { { mount = "/a-b", size = "1G" }, { mount = "/a/b", size = "1G" }, { mount = "/" } } } }, "two volumes are called a_b")
layout({ device = "sda" }, "is no disk")
support.fails(function() answers:machine { disk_size = "1M" } end, "0 MiB together", "the disk has 1 MiB")
support.fails(function() answers:machine { disk_size = "big" } end, 'a size such as "4G"')
support.fails(function() answers:machine() end, "expected a table")
support.fails(function() installer.answers(least("rocky-9", { late_commands = { "cat <<x\n%end\nx" } })) end, "a line begins with %")
support.fails(function()
  installer.answers(least("rocky-9", { disk = { filesystem = "btrfs" } }))
end, "rocky-9 has no btrfs", "xfs or ext4")
