-- `strict` in a Debian guest that has its packages: what would lock out, an audit, applied twice, rebooted, logged in to with
-- a key, what Lynis says of it, and apt.
local rimg    = require "rimg"
local harden  = require "std.harden"
local users   = require "std.users"
local support = require "support"

local vm = rimg.qemu {
  source_image = rimg.fs.read "image", memory = "512M", cpus = 2, ssh_username = "vagrant", ssh_password = "vagrant",
  ssh_private_key_file = "key",
}
local function sh(line) return vm:run(line, { sudo = true }).stdout end
local function is(line, wanted)
  local got = sh(line)
  assert(got == wanted, ("%s: expected %q, got %q"):format(line, wanted, got))
end
-- All rules that apply hold; a virtual machine has nearly all that they are about.
local function holds(report)
  local wrong = {}
  for _, result in ipairs(report.results) do
    if result.state == "differs" then wrong[#wrong + 1] = result.rule .. ": " .. result.found end
  end
  assert(report.ok, table.concat(wrong, "\n"))
  assert(report.held > 110 and report.skipped < 15, ("%d hold, %d do not apply"):format(report.held, report.skipped))
end

-- The one who is logged in is not locked out, and nothing is half done.
support.fails(function() vm:apply(harden.profile "strict") end, "vagrant, who is logged in, has no key", "ssh_authorized_keys")
support.fails(function() vm:apply(harden.ssh { passwords = true, allow_users = { "deploy" } }) end, "is not among allow_users")
is("ls /etc/ssh/sshd_config.d /etc/sysctl.d | grep -c harden || true", "0\n")
vm:apply(users.user { name = "vagrant", ssh_authorized_keys = { rimg.fs.read "key.pub" } })

-- An audit changes nothing; this one leaves out what takes long and is looked at below.
local state = "find /etc -type f -newer /etc/hostname -print0 | sort -z | xargs -0 sha256sum | sha256sum"
local unaudited = sh(state)
local before = harden.audit(vm, { sysctl = { strict = true }, modules = {}, login = {}, umask = {}, passwords = {}, ssh = {}, firewall = {} })
is(state, unaudited)
assert(not before.ok and before.failed > 40, before.failed)

local first = support.twice(vm, function() return harden.profile "strict" end)
assert(#first.changes > 60, #first.changes)
holds(harden.audit(vm, "strict", { html = "after.html" }))

-- What sshd and nft do not take never reaches its place.
local files = "cat /etc/ssh/sshd_config.d/00-hardening.conf /etc/nftables.conf | sha256sum"
local good = sh(files)
support.fails(function() vm:apply(harden.ssh { ciphers = { "rot13" } }) end, "knows none of: rot13")
support.fails(function() vm:apply(harden.firewall { rules = { "tcp dport nonsense" } }) end, "nft does not take these rules", "nothing was changed")
is(files, good)

-- From the next boot on, too; logged in to with the key, since a password does not let in any more.
vm:reboot()
holds(harden.audit(vm, "strict"))
is("sshd -T | grep -x 'passwordauthentication no'; auditctl -l | grep -c identity; nft list table inet hardening | grep -c 'policy drop'",
  "passwordauthentication no\n6\n2\n")
is("su -s /bin/bash -l vagrant -c 'umask; ulimit -c; echo $TMOUT'", "0027\n0\n900\n")
is("for m in cramfs usb-storage; do modprobe -n -v $m | grep -c 'install /bin/true'; done", "1\n1\n")
support.fails(function()
  rimg.host { ssh_host = vm.host, ssh_port = vm.port, ssh_username = "vagrant", ssh_password = "vagrant", ssh_timeout = "30s" }:run "true"
end, "vagrant")

-- What others say of it: some groups of Lynis's tests. Each finding is one that the documentation explains, which has all of
-- Lynis. It begins with a look at each program that it finds, as its plugin does: it is shown only those that it works with.
sh [[
set -e
mkdir /root/few
for program in $(dpkg -L coreutils findutils grep hostname mawk procps sed | grep -E '^/(usr/)?s?bin/') /usr/sbin/auditctl /usr/bin/awk \
  /usr/bin/dpkg /usr/bin/dpkg-query /usr/sbin/ip /usr/sbin/nft /bin/sh /usr/bin/ssh /usr/sbin/sshd /usr/sbin/sysctl /usr/bin/systemctl
do ln -sf "$program" /root/few/; done
PATH=/root/few /usr/sbin/lynis audit system --quick --no-colors --no-plugins --tests-from-group 'accounting banners firewalls ssh' \
  >/root/lynis.log 2>&1 || { tail -n 20 /root/lynis.log; exit 1; }
]]
local explained, found = {}, {}
for test in rimg.fs.read("harden.md"):match("What remains after.*"):gmatch "%u+%-%d+" do explained[test] = true end
local report = sh "cat /var/log/lynis-report.dat"
for kind, test, text in report:gmatch "(%l+)%[%]=(%u+%-%d+)|([^\n]*)" do
  if (kind == "suggestion" or kind == "warning") and not explained[test] then found[#found + 1] = ("%s: %s"):format(test, text) end
end
assert(#found == 0, "Lynis has found what is not explained: " .. table.concat(found, "\n"))
for _, test in ipairs { "ACCT-9628", "BANN-7126", "FIRE-4540", "SSH-7408" } do
  assert(report:match("\ntests_executed=[^\n]*" .. test:gsub("%-", "%%-")), test .. " was not done")
end

-- apt works: with a package of the machine's own, so that it takes no network.
sh [[
set -e
mkdir -p /root/p/DEBIAN && cd /root
printf 'Package: rimg-hello\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' >p/DEBIAN/control
dpkg-deb -Znone --root-owner-group -b p rimg-hello.deb >/dev/null
NEEDRESTART_SUSPEND=1 DEBIAN_FRONTEND=noninteractive apt-get -qq -y install ./rimg-hello.deb
apt-get -qq check
]]
is("dpkg-query -W -f '${Version}' rimg-hello", "1")
vm:destroy()
