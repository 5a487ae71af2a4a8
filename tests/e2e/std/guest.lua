-- Every module in one Debian guest, each application done twice, and what came of it looked at.
local rimg     = require "rimg"
local cleanup  = require "std.cleanup"
local files    = require "std.files"
local harden   = require "std.harden"
local packages = require "std.packages"
local services = require "std.services"
local test     = require "std.test"
local users    = require "std.users"
local vagrant  = require "std.vagrant"
local support  = require "support"

local vm = rimg.qemu {
  source_image = rimg.fs.read "image", memory = "512M", cpus = 2, ssh_username = "vagrant", ssh_password = "vagrant",
}
local function twice(make) return support.twice(vm, make) end
local function sh(line) return vm:run(line, { sudo = true }).stdout end
local function is(line, wanted)
  local got = sh(line)
  assert(got == wanted, ("%s: expected %q, got %q"):format(line, wanted, got))
end

-- A repository of the guest's own, signed, with a package in two versions: nothing here needs a network.
sh [[
set -e
export SOURCE_DATE_EPOCH=1640995200
mkdir -p /srv/repo && cd /srv/repo
for v in 1.0 2.0; do
  mkdir -p p/DEBIAN p/usr/share/rimg-hello && echo "$v" >p/usr/share/rimg-hello/version
  printf 'Package: rimg-hello\nVersion: %s\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' "$v" >p/DEBIAN/control
  dpkg-deb -Znone --root-owner-group -b p "rimg-hello_$v.deb" >/dev/null
  { cat p/DEBIAN/control; echo "Filename: ./rimg-hello_$v.deb"; echo "Size: $(stat -c %s rimg-hello_$v.deb)"
    echo "SHA256: $(sha256sum <rimg-hello_$v.deb | cut -d' ' -f1)"; echo; } >>Packages
done
# An agent that does nothing.
mkdir -p a/DEBIAN
printf 'Package: qemu-guest-agent\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' >a/DEBIAN/control
dpkg-deb -Znone --root-owner-group -b a agent.deb >/dev/null
{ cat a/DEBIAN/control; echo "Filename: ./agent.deb"; echo "Size: $(stat -c %s agent.deb)"
  echo "SHA256: $(sha256sum <agent.deb | cut -d' ' -f1)"; echo; } >>Packages
# A service that is started as packages start theirs.
mkdir -p s/DEBIAN s/lib/systemd/system
printf 'Package: rimg-served\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' >s/DEBIAN/control
printf '[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n' >s/lib/systemd/system/rimg-served.service
printf '#!/bin/sh\nsystemctl --quiet enable rimg-served.service\ndeb-systemd-invoke start rimg-served.service\n' >s/DEBIAN/postinst
chmod 755 s/DEBIAN/postinst
dpkg-deb -Znone --root-owner-group -b s served.deb >/dev/null
{ cat s/DEBIAN/control; echo "Filename: ./served.deb"; echo "Size: $(stat -c %s served.deb)"
  echo "SHA256: $(sha256sum <served.deb | cut -d' ' -f1)"; echo; } >>Packages
printf 'Suite: ./\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n %s %s Packages\n' \
  "$(sha256sum <Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" >Release
chmod 644 Release
mv /etc/apt/sources.list /root/ 2>/dev/null || true
mv /etc/apt/sources.list.d /root/ 2>/dev/null || true
mkdir -p /etc/apt/sources.list.d
]]
vm:download("/srv/repo/Release", "Release")
local gpg = { "gpg", "--homedir", "gpg", "--batch", "--quiet", "--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", "" }
local function sign(arguments)
  local command = { table.unpack(gpg) }
  for _, argument in ipairs(arguments) do command[#command + 1] = argument end
  return rimg.exec(command, { quiet = true }).stdout
end
rimg.fs.mkdir "gpg"
rimg.fs.chmod("gpg", "0700")
sign { "--quick-generate-key", "t <t@example.org>", "ed25519", "sign", "never" }
sign { "--clearsign", "-o", "InRelease", "Release" }
rimg.fs.write("key.asc", sign { "--armor", "--export" })
sign { "--quick-generate-key", "other <o@example.org>", "ed25519", "sign", "never" }
rimg.fs.write("other.asc", sign { "--armor", "--export", "o@example.org" })
rimg.exec({ "gpgconf", "--homedir", "gpg", "--kill", "all" }, { check = false })
vm:upload("InRelease", "/srv/repo/InRelease", { sudo = true, mode = "0644" })

-- Packages.
local function repository(key)
  return packages.repository { name = "own", url = "file:/srv/repo", suites = "./", key_file = key }
end
support.fails(function() vm:apply(repository "other.asc") end, "cannot be used; it was not added")
is("ls /etc/apt/sources.list.d /etc/apt/keyrings 2>/dev/null | grep -c own || true", "0\n")
support.fails(function()
  vm:apply(packages.repository { name = "own", url = "http://127.0.0.1:9/", suites = "./", trusted = true, retries = 0 })
end, "the package repositories cannot be reached", "the machine may be offline", "it was not added")
is("ls /etc/apt/sources.list.d | wc -l", "0\n")
twice(function() return repository "key.asc" end)
twice(function() return packages.install { "rimg-hello=1.*" } end)
is("cat /usr/share/rimg-hello/version", "1.0\n")
support.fails(function() vm:apply(packages.install { "rimg-hello", "no-such-package" }) end, "no-such-package", "check the names")
assert(not vm:apply(packages.install "rimg-hello").changed)
twice(function() return packages.upgrade { refresh = false } end)
is("cat /usr/share/rimg-hello/version", "2.0\n")
twice(function() return packages.install { "rimg-hello=1.0", hold = true } end)
is("apt-mark showhold", "rimg-hello\n")
twice(function() return packages.remove { "rimg-hello", purge = true } end)
is("ls -d /usr/share/rimg-hello 2>/dev/null | wc -l", "0\n")
-- An image lets the services of packages start, whatever kept them from it while it was made.
twice(function() return packages.install { "rimg-served" } end)
is("systemctl is-active rimg-served; /sbin/start-stop-daemon --version | grep -c Debian", "active\n1\n")
-- Another program holds the lock for a while: it is waited for.
vm:run("nohup flock /var/lib/dpkg/lock-frontend sleep 4 >/dev/null 2>&1 & sleep 0.5", { sudo = true })
twice(function() return packages.install { "rimg-hello" } end)

-- Services.
local unit = "[Unit]\nDescription=A test\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
twice(function() return services.unit { name = "rimg-one.service", content = unit } end)
support.fails(function()
  vm:apply(services.unit { name = "rimg-two.service", content = unit:gsub("ExecStart.-\n", "") })
end, "is not valid")
is("ls /etc/systemd/system/rimg-two.service 2>/dev/null | wc -l", "0\n")
twice(function() return services.service { "rimg-one", enabled = true, running = true } end)
is("systemctl is-active rimg-one; systemctl is-enabled rimg-one", "active\nenabled\n")
assert(vm:apply(services.service { "rimg-one", restart = true }).changed)
twice(function() return services.service { "rimg-one", enabled = false, running = false } end)
support.fails(function() vm:apply(services.service { "nonesuch", enabled = true }) end, "there is no service nonesuch")
vm:apply(services.unit { name = "rimg-bad.service", content = unit:gsub("/bin/sleep 1000", "/bin/false") })
support.fails(function() vm:apply(services.service { "rimg-bad", running = true }) end, "the service rimg-bad does not run")
twice(function() return services.unit { name = "rimg-bad.service", state = "absent" } end)
twice(function() return services.service { "fstrim.timer", masked = true } end)
twice(function() return services.service { "fstrim.timer", masked = false, enabled = true } end)

-- Users.
local key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx8Hq4fHqW8o2xY0c1wqk5mYJY1Sg0m3n4pZQ0n9c4d a'b\"c"
twice(function() return users.group { name = "app", gid = 4242 } end)
twice(function()
  return users.user {
    name = "deploy", uid = 4243, groups = { "app" }, sudo = true, ssh_authorized_keys = { key }, password = "it's $ecret",
    comment = "who deploys", shell = "/bin/sh",
  }
end)
is("id deploy", "uid=4243(deploy) gid=4243(deploy) groups=4243(deploy),4242(app)\n")
is("su - deploy -c 'sudo -n id -u; cat ~/.ssh/authorized_keys; stat -c %a ~/.ssh ~/.ssh/authorized_keys'", "0\n" .. key .. "\n700\n600\n")
twice(function() return users.user { name = "deploy", sudo = false, shell = "/bin/bash", password = "other", locked = true } end)
is("getent passwd deploy | cut -d: -f5,7; ls /etc/sudoers.d | grep -c deploy || true", "who deploys:/bin/bash\n0\n")
is("cat ~deploy/.ssh/authorized_keys", key .. "\n")
support.fails(function() vm:apply(users.user { name = "x", groups = { "nogroup-at-all" } }) end, "there is no group nogroup-at-all")
is("getent passwd x | wc -l", "0\n")
support.fails(function() vm:apply(users.user { name = "x", sudo = "no rule" }) end, "is not valid")
twice(function() return users.user { name = "deploy", state = "absent", remove_home = true } end)
is("ls -d /home/deploy 2>/dev/null | wc -l", "0\n")
twice(function() return users.group { name = "app", state = "absent" } end)

-- A box's user and tools.
twice(function() return vagrant.user { name = "boxer" } end)
is("su - boxer -c 'sudo -n id -u; cat ~/.ssh/authorized_keys'", "0\n" .. table.concat(vagrant.public_keys, "\n") .. "\n")
is([[perl -e 'print((getpwnam "boxer")[1] eq crypt("vagrant", (getpwnam "boxer")[1]) ? "same" : "other")']], "same")
twice(function() return vagrant.guest_tools() end)
is("dpkg-query -W -f '${Status}' qemu-guest-agent", "install ok installed")
support.fails(function() vagrant.guest_tools { provider = "virtualbx" } end, "virtualbox")

-- Files, as root: what is checked before it is used, owners, and a file system that cannot be written to.
twice(function()
  return files.line { path = "/etc/ssh/sshd_config", match = "^#?PermitRootLogin", line = "PermitRootLogin no", validate = "sshd -t -f %s" }
end)
is("sshd -T | grep permitrootlogin", "permitrootlogin no\n")
support.fails(function()
  vm:apply(files.line { path = "/etc/ssh/sshd_config", line = "NoSuchWord yes", validate = "sshd -t -f %s" })
end, "its check has failed")
twice(function() return files.write { path = "/srv/app/conf", content = "x\n", owner = "vagrant:users", mode = "0640" } end)
is("stat -c '%U %G %a' /srv/app/conf", "vagrant users 640\n")
twice(function() return files.permissions { path = "/srv/app", owner = "daemon", recursive = true, file_mode = "0600" } end)
is("stat -c '%U %a' /srv/app /srv/app/conf", "daemon 755\ndaemon 600\n")
sh "mkdir -p /mnt/ro && mount -t tmpfs -o ro none /mnt/ro"
support.fails(function() vm:apply(files.write { path = "/mnt/ro/x", content = "x" }) end, "/mnt/ro/x", "read-only")
sh "umount /mnt/ro"

-- Expectations, as an image's smoke test has them.
local report = vm:apply(test.expect {
  package = { "openssh-server", ["no-such-package"] = false },
  service = { ssh = { running = true, enabled = true }, ["fstrim.timer"] = { enabled = true } },
  port = { ["tcp:22"] = { listening = true, ip = { "0.0.0.0" } }, ["tcp:81"] = false },
  user = { vagrant = { home = "/home/vagrant" }, deploy = false },
  file = { ["/srv/app/conf"] = { mode = "0600", owner = "daemon", contents = { "x" } } },
  mount = { ["/"] = { filesystem = "ext4", usage = { lt = 100 } } },
  kernel_param = { ["kernel.ostype"] = "Linux" }, process = { "sshd" },
})
assert(report.ok and report.count == 17, report.count)

-- The script that ends an installation, in a system as one leaves it.
local late = require("std.installer").answers {
  release = "debian-12",
  users = { { name = "vagrant", password = "vagrant", sudo = true, groups = { "builders" } },
    { name = "late", password = "it's l8", shell = "/bin/sh", comment = "who's \"late\"", ssh_authorized_keys = { key } } },
  root = { ssh_authorized_keys = { key } }, late_commands = { "printf '%s\\n' \"it's $((1 + 1))\" >/run/late" },
}.files["late.sh"]
vm:run({ "sh", "-s" }, { input = late, sudo = true })
is("id -nG vagrant | grep -o builders; getent passwd late | cut -d: -f5-7; cat /run/late /root/.ssh/authorized_keys",
  "builders\nwho's \"late\":/home/late:/bin/sh\nit's 2\n" .. key .. "\n")
is("su - late -c 'cat .ssh/authorized_keys; stat -c \"%U %a\" .ssh'; visudo -c >/dev/null && cat /etc/sudoers.d/90-vagrant",
  key .. "\nlate 700\nvagrant ALL=(ALL:ALL) NOPASSWD: ALL\n")
is([[perl -e '@e = getpwnam("late"); print crypt("it" . chr(39) . "s l8", $e[1]) eq $e[1] ? "same" : "other"']], "same")

-- A root that is mounted read-only, as the kernel does it to a disk that fails: each module says that this is why, and
-- nothing is half done.
local etc = "find /etc /var/lib/dpkg/status /usr/local -xdev -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum; ls -A /etc /home | cksum"
local before = sh(etc)
sh "sync; echo u >/proc/sysrq-trigger; until grep -q ' / ext4 ro' /proc/mounts; do sleep 0.1; done"
for _, provisioner in ipairs {
  files.write { path = "/etc/hostname", content = "x\n" }, files.line { path = "/etc/fstab", line = "# x" },
  files.block { path = "/etc/fstab", block = "# x" }, files.directory { path = "/etc/x" }, files.remove { path = "/etc/hostname" },
  files.permissions { path = "/etc/hostname", mode = "0600" }, packages.install { "rimg-hello=2.0" }, packages.remove { "rimg-hello" },
  packages.repository { name = "x", url = "file:/srv/repo", suites = "./", trusted = true },
  services.service { "rimg-one", enabled = true }, services.unit { name = "rimg-two.service", content = unit },
  users.user { name = "readonly" }, users.group { name = "readonly" }, users.user { name = "vagrant", sudo = false },
  vagrant.user { name = "readonly" }, cleanup.all(), harden.umask {}, harden.profile "baseline",
} do
  support.fails(function() vm:apply(provisioner) end, "the machine's root is mounted read-only")
end
support.fails(function() vm:write("/etc/hostname", "x\n", { sudo = true }) end, "/etc/hostname", "ead-only")
is("mount -o remount,rw / && { " .. etc .. "; }", before)

-- Last, as in a build: what does not belong into an image.
sh "echo x >/var/log/some.log; echo y >/tmp/left; echo z >/root/.bash_history; head -c 20000000 /dev/urandom >/var/cache/apt/big.bin"
local cleaned = twice(function() return cleanup.all() end)
assert(cleaned.freed > 15e6, cleaned.freed)
assert(cleaned.trimmed > 100e6 and cleaned.zeroed == 0, cleaned.trimmed)
is("cat /etc/machine-id /var/log/some.log; ls /tmp/left /root/.bash_history /etc/ssh/ssh_host* /var/cache/apt/big.bin 2>/dev/null | wc -l", "0\n")
is("stat -c '%U %s' /etc/machine-id; ls /.rimg-zero 2>/dev/null | wc -l", "root 0\n0\n")
vm:destroy()
