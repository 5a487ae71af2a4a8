--- What differs between the families of distributions: names of packages and services, and where things are. Debian's were
--- tried in a guest; the others are from their documentation and packages.

local guest = require "std.guest"

local M = {}

M.families = {
  debian = {
    ssh = { service = "ssh" },
    packages = {
      audit = { "auditd" }, aide = { "aide", "aide-common" }, firewall = { "nftables" }, time = { "systemd-timesyncd" },
      password = { "libpam-pwquality" }, updates = { "unattended-upgrades" }, sudo = { "sudo" },
    },
    pam = "pam-auth-update",
    time = { kind = "timesyncd", service = "systemd-timesyncd" },
    firewall = { file = "/etc/nftables.conf", service = "nftables" },
    updates = "apt",
    aide = { program = "aide", config = "/etc/aide/aide.conf", database = "/var/lib/aide/aide.db", disable = "dailyaidecheck.timer" },
    cron = "/etc/cron.d",
    grub = { config = "/boot/grub/grub.cfg", make = "update-grub" },
  },
  redhat = {
    ssh = { service = "sshd" },
    packages = {
      audit = { "audit" }, aide = { "aide" }, firewall = { "nftables" }, time = { "chrony" }, password = { "libpwquality" },
      updates = { "dnf-automatic" }, sudo = { "sudo" },
    },
    pam = "authselect",
    time = { kind = "chrony", service = "chronyd", file = "/etc/chrony.conf" },
    firewall = { file = "/etc/sysconfig/nftables.conf", service = "nftables", instead_of = "firewalld" },
    updates = "dnf",
    aide = { program = "aide", config = "/etc/aide.conf", database = "/var/lib/aide/aide.db.gz" },
    grub = { config = "/boot/grub2/grub.cfg", make = "grub2-mkconfig -o /boot/grub2/grub.cfg" },
  },
  suse = {
    ssh = { service = "sshd" },
    packages = {
      audit = { "audit" }, aide = { "aide" }, time = { "chrony" }, password = { "libpwquality1" }, sudo = { "sudo" },
    },
    time = { kind = "chrony", service = "chronyd", file = "/etc/chrony.conf" },
    aide = { program = "aide", config = "/etc/aide.conf", database = "/var/lib/aide/aide.db" },
    grub = { config = "/boot/grub2/grub.cfg", make = "grub2-mkconfig -o /boot/grub2/grub.cfg" },
  },
  alpine = {
    ssh = { service = "sshd" },
    packages = { audit = { "audit" }, firewall = { "nftables", "nftables-openrc" }, time = { "chrony", "chrony-openrc" }, sudo = { "sudo" } },
    time = { kind = "chrony", service = "chronyd", file = "/etc/chrony/chrony.conf" },
    firewall = { file = "/etc/nftables.nft", service = "nftables" },
    grub = { config = "/boot/grub/grub.cfg", make = "grub-mkconfig -o /boot/grub/grub.cfg" },
  },
}

--- Returns the machine's family, and its facts; another one is an error that says which there are.
function M.of(vm, label)
  local family, facts = guest.choose(vm, label, "os_family", M.families)
  return family, facts
end

return M
