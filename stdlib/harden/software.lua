--- Software: what is not to be there, what is, updates by themselves, and whether files are still what they were (AIDE).

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule, call = control.rule, control.call

local M = {}

-- Old and insecure clients and servers, by the names that each family has for them.
local UNWANTED = {
  debian = {
    "telnet", "inetutils-telnet", "telnetd", "inetutils-telnetd", "rsh-client", "rsh-redone-client", "rsh-server", "talk", "inetutils-talk", "talkd",
    "nis", "ypbind-mt", "xinetd", "openbsd-inetd", "inetutils-inetd", "tftp", "tftpd-hpa", "ftp", "tnftp", "inetutils-ftp", "prelink",
  },
  redhat = { "telnet", "telnet-server", "rsh", "rsh-server", "talk", "talk-server", "ypbind", "ypserv", "xinetd", "tftp", "tftp-server", "ftp", "prelink" },
  suse = { "telnet", "telnet-server", "rsh", "rsh-server", "talk", "talk-server", "ypbind", "ypserv", "xinetd", "tftp", "prelink" },
  alpine = { "inetutils-telnet", "tftp-hpa", "lftp" },
}

-- Small programs that watch over a machine: checksums of packages' files, services that run on old libraries, a temporary
-- folder for each user, AppArmor, and accounting.
local TOOLS = {
  debian = { "debsums", "needrestart", "libpam-tmpdir", "apparmor", "apparmor-utils", "acct", "sysstat", "apt-listchanges" },
  redhat = { "psacct", "sysstat" }, suse = { "acct", "sysstat", "apparmor-utils" }, alpine = { "acct", "sysstat" },
}

local DEBSUMS = [==[
[ -f /etc/default/debsums ] || { skip "debsums is not installed"; return 0; }
pairs="CRON_CHECK
daily"
settings /etc/default/debsums =]==]
local SYSSTAT = [==[
[ -f /etc/default/sysstat ] || { skip "this distribution has no /etc/default/sysstat"; return 0; }
pairs='ENABLED
"true"'
settings /etc/default/sysstat =
service_on sysstat]==]
local ACCOUNTING = [==[
# Debian's service wants the file to be there, which a cleaned image may lack.
log=/var/log/account/pacct
if [ -d "${log%/*}" ] && [ ! -e "$log" ] && differs "there is no $log"; then
  (umask 027; : >"$log") || fail "$log cannot be made"
  done_ "$log"
fi
for service in acct psacct; do ! service_there "$service" || { service_on "$service"; return 0; }; done
skip "there is no service for process accounting"]==]

local function check_names(o, what)
  for _, option in ipairs { "install", "remove", "keep" } do
    for n, name in ipairs(o[option] or {}) do
      if not name:match("^%w[%w+._-]*$") then rimg.fail(("%s: option `%s[%d]`: %q is no package's name"):format(what, option, n, name)) end
    end
  end
end

M.packages = control.control {
  name = "packages", title = "Packages",
  options = {
    remove = { "strings", default = {} }, install = { "strings", default = {} }, keep = { "strings", default = {} },
    tools = { "boolean", default = false },
  },
  references = "CIS 2.2, Lynis PKGS-7370",
  check = check_names,
  packages = function(o, _, facts)
    local list = table.move(o.install, 1, #o.install, 1, {})
    local tools = o.tools and TOOLS[facts.os_family] or {}
    return table.move(tools, 1, #tools, #list + 1, list)
  end,
  unwanted = function(o, _, facts)
    local keep, list = {}, {}
    for _, name in ipairs(o.keep) do keep[name] = true end
    for _, names in ipairs { UNWANTED[facts.os_family] or {}, o.remove } do
      for _, name in ipairs(names) do if not keep[name] then list[#list + 1] = name end end
    end
    return list
  end,
  rules = function(o, system, facts)
    local list = M.packages.unwanted(o, system, facts)
    local rules = {}
    if o.tools then
      rules[1] = rule("debsums", "Packages' files are compared with their checksums, daily", "Lynis PKGS-7370", DEBSUMS)
      rules[2] = rule("sysstat", "What the machine does is recorded", "Lynis ACCT-9626", SYSSTAT)
      rules[3] = rule("accounting", "What users run is recorded", "Lynis ACCT-9622", ACCOUNTING)
    end
    if #list == 0 then return rules end
    table.insert(rules, 1, rule("unwanted", "Insecure services and clients are not installed",
      "CIS 2.1, CIS 2.2, STIG UBTU-22-215030, STIG UBTU-22-215035, dev-sec package-01 to package-06", call("not_installed", table.unpack(list))))
    return rules
  end,
}

local APT = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\nAPT::Periodic::AutocleanInterval "7";'

M.updates = control.control {
  name = "updates", title = "Automatic updates",
  options = { reboot = { "boolean", default = false }, reboot_time = { "string", default = "04:00" } },
  packages = function(_, system) return system.packages.updates or {} end,
  references = "CIS 1.2.2.1, Lynis PKGS-7420",
  check = function(o, what)
    if not o.reboot_time:match("^[0-2]%d:[0-5]%d$") then
      rimg.fail(("%s: option `reboot_time`: %q is no time such as \"04:00\""):format(what, o.reboot_time))
    end
  end,
  rules = function(o, system)
    if system.updates == "apt" then
      return {
        rule("daily", "Security updates are installed by themselves", "CIS 1.2.2.1, Lynis PKGS-7420",
          call("content", "/etc/apt/apt.conf.d/20auto-upgrades", "644", APT)),
        rule("settings", "What nothing needs any more goes", "STIG UBTU-22-214015",
          call("content", "/etc/apt/apt.conf.d/52hardening", "644", table.concat({
            'Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";', 'Unattended-Upgrade::Remove-Unused-Dependencies "true";',
            ('Unattended-Upgrade::Automatic-Reboot "%s";'):format(tostring(o.reboot)),
            ('Unattended-Upgrade::Automatic-Reboot-Time "%s";'):format(o.reboot_time),
          }, "\n"))),
      }
    elseif system.updates == "dnf" then
      return {
        rule("settings", "Security updates are installed by themselves", "CIS 1.2.2.1",
          control.settings("/etc/dnf/automatic.conf", " = ", {
            { "upgrade_type", "security" }, { "download_updates", "yes" }, { "apply_updates", "yes" },
            { "reboot", o.reboot and "when-needed" or "never" },
          })),
        rule("daily", "Every day", "CIS 1.2.2.1", "service_on dnf-automatic.timer"),
      }
    end
    return { rule("daily", "Security updates are installed by themselves", "CIS 1.2.2.1",
      'skip "this distribution has no service for it that is known here"') }
  end,
}

-- The first look makes the database, where there is none; the others compare.
local AIDE = [==[
have "$aide" || { skip "there is no aide"; return 0; }
content /usr/local/sbin/hardening-aide 755 "#!/bin/sh
# Makes the database of all files where there is none, and compares with it otherwise.
if [ ! -s '$database' ]; then
  '$aide' --config '$config' --init && mv -f -- '$database.new' '$database' 2>/dev/null || mv -f -- '${database%.gz}.new.gz' '$database'
else
  exec '$aide' --config '$config' --check
fi"
if [ -d /run/systemd/system ]; then
  content /etc/systemd/system/hardening-aide.service 644 "[Unit]
Description=Check that files are what they were
ConditionACPower=true

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/hardening-aide
Nice=19
IOSchedulingClass=idle"
  wrote=$fresh
  content /etc/systemd/system/hardening-aide.timer 644 "[Unit]
Description=Check that files are what they were, daily

[Timer]
OnCalendar=$schedule
RandomizedDelaySec=30min
Persistent=true

[Install]
WantedBy=timers.target"
  [ -z "$wrote$fresh" ] || reload=yes
  service_on hardening-aide.timer
  # The package's own daily check would be a second one.
  [ -z "$disable" ] || service_off "$disable"
elif [ -d /etc/periodic/daily ]; then content /etc/periodic/daily/hardening-aide 755 "#!/bin/sh
exec /usr/local/sbin/hardening-aide"
fi]==]

M.aide = control.control {
  name = "aide", title = "File integrity (AIDE)",
  options = { schedule = { "string", default = "daily" }, initialize = { "boolean", default = false } },
  packages = function(_, system) return system.aide and system.packages.aide or {} end,
  references = "CIS 6.3.1, STIG UBTU-22-651010, Lynis FINT-4350",
  check = function(o, what)
    if not o.schedule:match("^[%w*:/.,~ -]+$") then
      rimg.fail(("%s: option `schedule`: %q is no time that systemd knows"):format(what, o.schedule), { hint = 'such as "daily" or "*-*-* 05:00"' })
    end
  end,
  rules = function(o, system)
    if not system.aide then return { rule("check", "Files are checked", "CIS 6.3.2", 'skip "this distribution has no AIDE"') } end
    local values = table.concat({
      control.variable("aide", system.aide.program), control.variable("config", system.aide.config), control.variable("database", system.aide.database),
      control.variable("disable", system.aide.disable or ""), control.variable("schedule", o.schedule),
    }, "\n")
    local rules = { rule("check", "Files are checked, every day", "CIS 6.3.2, STIG UBTU-22-651015", values .. "\n" .. AIDE) }
    if o.initialize then
      rules[#rules + 1] = rule("database", "AIDE knows how the files are", "CIS 6.3.1, Lynis FINT-4316", values .. [==[

if [ -s "$database" ]; then holds "$database"; return 0; fi
differs "there is no $database" || return 0
/usr/local/sbin/hardening-aide >"$scratch/said" 2>&1 && [ -s "$database" ] || { tail -n 5 "$scratch/said"; fail "AIDE could not make its database"; }
done_ "$database"]==])
    end
    return rules
  end,
}

return M
