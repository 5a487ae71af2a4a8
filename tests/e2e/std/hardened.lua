-- `strict` in a Debian guest, which has the packages already: what would lock out, an audit before and after, applied
-- twice, rebooted, logged in to with a key, and apt.
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
local function failures(report)
  local list = {}
  for _, result in ipairs(report.results) do
    if result.state == "differs" then list[#list + 1] = result.rule .. ": " .. result.found end
  end
  return table.concat(list, "\n")
end

-- The one who is logged in is not locked out, and nothing is half done.
support.fails(function() vm:apply(harden.profile "strict") end, "vagrant, who is logged in, has no key", "ssh_authorized_keys")
support.fails(function() vm:apply(harden.ssh { passwords = true, allow_users = { "deploy" } }) end, "is not among allow_users")
support.fails(function() vm:apply(harden.ssh { passwords = true, allow_groups = { "wheel" } }) end, "is in none of allow_groups")
is("ls /etc/ssh/sshd_config.d /etc/sysctl.d | grep -c harden || true", "0\n")
vm:apply(users.user { name = "vagrant", ssh_authorized_keys = { rimg.fs.read "key.pub" } })

-- An audit changes nothing.
local state = "find /etc -type f -newer /etc/hostname -not -name '*.swp' -print0 | sort -z | xargs -0 sha256sum | sha256sum"
local unaudited = sh(state)
local before = harden.audit(vm, "strict", { json = "before.json", html = "before.html" })
is(state, unaudited)
assert(not before.ok and before.failed > 60, before.failed)
support.fails(function() harden.audit(vm, "strict", { check = true }) end, "rules do not hold", "ssh.PermitRootLogin: permitrootlogin is")

local first = support.twice(vm, function() return harden.profile("strict", { aide = { initialize = false } }) end)
assert(#first.changes > 60, #first.changes)
local after = harden.audit(vm, "strict", { html = "after.html" })
assert(after.ok, failures(after))

-- What sshd, nft and visudo do not take never reaches its place.
local file = "cat /etc/ssh/sshd_config.d/00-hardening.conf /etc/nftables.conf | sha256sum"
local good = sh(file)
support.fails(function() vm:apply(harden.ssh { ciphers = { "rot13" } }) end, "knows none of: rot13")
support.fails(function() vm:apply(harden.firewall { rules = { "tcp dport nonsense" } }) end, "nft does not take these rules", "nothing was changed")
is(file, good)

-- From the next boot on, too.
vm:reboot()
harden.audit(vm, "strict", { check = true })
assert(not vm:apply(harden.profile "strict").changed)
is("sysctl -n kernel.kptr_restrict net.ipv4.conf.all.rp_filter; auditctl -l | grep -c identity; nft list table inet hardening | grep -c 'policy drop'",
  "2\n1\n6\n2\n")
is("su -s /bin/bash -l vagrant -c 'umask; ulimit -c; echo $TMOUT'", "0027\n0\n900\n")
is("for m in cramfs usb-storage; do modprobe -n -v $m | grep -c 'install /bin/true'; done", "1\n1\n")
-- Another machine's password does not let in; ours is already by key.
local outside = pcall(function()
  rimg.host { ssh_host = vm.host, ssh_port = vm.port, ssh_username = "vagrant", ssh_password = "vagrant", ssh_timeout = "20s" }:run "true"
end)
assert(not outside, "a password lets in")

-- apt works: with a package of the machine's own, so that it takes no network.
sh [[
set -e
mkdir -p /root/p/DEBIAN && cd /root
printf 'Package: rimg-hello\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: t\n' >p/DEBIAN/control
dpkg-deb --root-owner-group -b p rimg-hello.deb >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get -qq -y install ./rimg-hello.deb
apt-get -qq check
]]
is("dpkg-query -W -f '${Version}' rimg-hello", "1")
vm:destroy()
