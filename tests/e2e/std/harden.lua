-- std.harden without a guest: options, what other distributions would be told (recorded facts; the programs are looked at
-- and parsed, not run), and reports.
local rimg    = require "rimg"
local harden  = require "std.harden"
local support = require "support"

-- A machine that writes down what it is told, and answers what it is given.
local function recorder(facts, answer)
  local vm = { programs = {} }
  function vm.facts() return facts end
  function vm:run(_, options)
    self.programs[#self.programs + 1] = options.input
    return { stdout = answer or "", stderr = "", status = 0, ok = true }
  end
  return vm
end

local FAMILIES = {
  debian = {
    facts = { package_manager = "apt", init = "systemd", pretty_name = "Ubuntu 24.04 LTS", distribution = "ubuntu" },
    packages = { "'auditd'", "'aide-common'", "'libpam-pwquality'", "'unattended-upgrades'", "'systemd-timesyncd'", "'debsums'", "'nftables'" },
    code = { "service_reload ssh\n", "file='/etc/nftables.conf'", "pam-auth-update", "20auto-upgrades", "/etc/aide/aide.conf", "make='update-grub'" },
  },
  redhat = {
    facts = { package_manager = "dnf", init = "systemd", pretty_name = "Rocky Linux 9.3 (Blue Onyx)", distribution = "rocky" },
    packages = { "'audit'", "'aide'", "'libpwquality'", "'dnf-automatic'", "'chrony'", "'psacct'" },
    code = { "service_reload sshd", "/etc/sysconfig/nftables.conf", "instead='firewalld'", "authselect", "dnf-automatic.timer", "grub2-mkconfig" },
  },
  suse = {
    facts = { package_manager = "zypper", init = "systemd", pretty_name = "openSUSE Leap 15.6", distribution = "opensuse-leap" },
    packages = { "'audit'", "'aide'", "'chrony'" },
    code = { "service_reload sshd", "service_on chronyd", "the PAM stacks of this distribution are left as they are" },
  },
  alpine = {
    facts = { package_manager = "apk", init = "openrc", pretty_name = "Alpine Linux v3.20", distribution = "alpine" },
    packages = { "'audit'", "'nftables-openrc'", "'chrony-openrc'" },
    code = { "rc-update", "/etc/nftables.nft", "service_on chronyd", "this distribution has no AIDE" },
  },
}
for family, wanted in pairs(FAMILIES) do
  wanted.facts.os_family, wanted.facts.user, wanted.facts.is_root = family, "root", true
  for _, profile in ipairs { "baseline", "cis_level1", "strict" } do
    local vm = recorder(wanted.facts)
    harden.profile(profile).apply(vm)
    -- What could lock out, removal and installation of packages, and one program for all else.
    assert(#vm.programs == 4, ("%s on %s: %d programs"):format(profile, family, #vm.programs))
    harden.audit(vm, profile)
    for _, program in ipairs(vm.programs) do rimg.exec({ "sh", "-n" }, { input = program }) end
    if profile == "strict" then
      for _, text in ipairs(wanted.packages) do assert(vm.programs[3]:find(text, 1, true), family .. " does not install " .. text) end
      for _, text in ipairs(wanted.code) do assert(vm.programs[4]:find(text, 1, true), family .. ": the program has no " .. text) end
    end
  end
end
local arch = recorder { os_family = "arch", pretty_name = "Arch Linux", init = "systemd", user = "root", is_root = true }
support.fails(function() harden.profile("strict").apply(arch) end, "Arch Linux is not supported", "alpine, debian, redhat, suse")
assert(#arch.programs == 0)

-- A profile of one's own, and one with changes.
local vm = recorder(FAMILIES.debian.facts)
harden.profile { umask = true, sysctl = { values = { ["vm.swappiness"] = 10, ["kernel.sysrq"] = false } } }.apply(vm)
assert(#vm.programs == 1 and vm.programs[1]:find("vm.swappiness = 10", 1, true) and not vm.programs[1]:find("kernel.sysrq", 1, true))
vm = recorder(FAMILIES.debian.facts)
harden.profile("strict", { ssh = false, firewall = { tcp = { 443, "8000-8010" } } }).apply(vm)
local code = vm.programs[#vm.programs]
assert(code:find("tcp='443 8000-8010'", 1, true) and not code:find("PermitRootLogin", 1, true))
-- The profile's other options stay.
vm = recorder(FAMILIES.debian.facts)
harden.profile("strict", { ssh = { passwords = true } }).apply(vm)
assert(vm.programs[#vm.programs]:find("MaxAuthTries 3\n", 1, true) and vm.programs[#vm.programs]:find("PasswordAuthentication yes", 1, true))

-- Reports, of what a machine has said.
vm = recorder(FAMILIES.debian.facts, "value: 1 umask.login_defs differs UMASK is 022, not 027 <&>\nvalue: 2 umask.profile holds it\n")
local report = harden.audit(vm, harden.umask {}, { json = "audit.json", html = "audit.html", name = "of <this>" })
assert(not report.ok and report.failed == 1 and report.held == 1 and report.skipped == 0)
assert(report.results[1].state == "differs" and report.results[1].references:find "CIS 5.4.3.3")
assert(rimg.json.decode(rimg.fs.read "audit.json").results[1].found == "UMASK is 022, not 027 <&>")
local html = rimg.fs.read "audit.html"
assert(html:find("of &lt;this&gt;", 1, true) and html:find("not 027 &lt;&amp;&gt;", 1, true) and not html:find("of <this>", 1, true))
support.fails(function() harden.audit(vm, harden.umask {}, { check = true }) end, "1 of 2 rules do not hold", "UMASK is 022")

-- Wrong options are errors at once, and name what there is.
local function wrong(text, name, options) support.fails(function() harden[name](options) end, text) end
wrong("expected one of no, prohibit-password", "ssh", { permit_root_login = "never" })
wrong("did you mean `passwords`", "ssh", { password = false })
wrong("is not between 1 and 100", "ssh", { max_auth_tries = 0 })
wrong("is an empty list", "ssh", { allow_users = {} })
wrong("is no name", "ssh", { allow_groups = { "a b" } })
wrong("is not such as", "ssh", { max_startups = "10" })
wrong("is no kernel parameter", "sysctl", { values = { ["a b"] = 1 } })
wrong("expected a number", "sysctl", { values = { ["a.b"] = true } })
wrong("is no module's name", "modules", { modules = { "a b" } })
wrong("is no module's name", "usb_storage", { modules = { "$(x)" } })
wrong("unknown option `x`", "core_dumps", { x = true })
wrong("is no mount point", "mounts", { points = { tmp = { "nodev" } } })
wrong("expected a list of mount options", "mounts", { points = { ["/tmp"] = "nodev" } })
wrong("has a backslash", "banners", { text = "\\n" })
wrong("is no user's name", "cron", { users = { "a b" } })
wrong("permission bits", "umask", { umask = "9" })
wrong("is not less than password_max_days", "login", { password_max_days = 1 })
wrong("are too few", "login", { shell_timeout = 5 })
wrong("is no group's name", "login", { su_group = "a b" })
wrong("expected one of persistent", "journald", { storage = "disk" })
wrong("expected one of scope", "audit_rules", { groups = { "files" } })
wrong("is no audit rule", "audit_rules", { rules = { "rm -r /" } })
wrong("is no time that systemd knows", "aide", { schedule = "'" })
wrong("is no hash of GRUB's", "boot_loader", { password_hash = "secret" })
wrong("is no kernel parameter", "boot_loader", { kernel_parameters = { "a b" } })
wrong("is no path", "permissions", { files = { x = "0644" } })
wrong("permission bits", "permissions", { files = { ["/x"] = "rw" } })
wrong("is less than 6", "passwords", { min_length = 1 })
wrong("only 4 classes", "passwords", { min_classes = 5 })
wrong("is less than 1", "sudo", { tries = 0 })
wrong("do not take", "sudo", { log_file = '/x"' })
wrong("is no port", "firewall", { tcp = { 70000 } })
wrong("is no port", "firewall", { udp = { "https" } })
wrong("has a line break", "firewall", { rules = { "a\nb" } })
wrong("is no server's name", "time_sync", { servers = { "a b" } })
wrong("is no time such as", "updates", { reboot_time = "noon" })
wrong("is no package's name", "packages", { install = { "-o=x" } })
support.fails(function() harden.profile "tight" end, "expected one of baseline, cis_level1, strict")
support.fails(function() harden.profile("strict", { shh = false }) end, "did you mean `ssh`")
support.fails(function() harden.profile("strict", { ssh = "no" }) end, "expected a table of options, true or false")
support.fails(function() harden.profile {} end, "has no control left")
support.fails(function() harden.audit(vm, 1) end, "expected a profile or a control")
