--- What is written down, and when: audit rules, the journal, and the time itself.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule, call = control.rule, control.call

local M = {}

-- Groups of rules by what they are of. `SYS` is for both kinds of system calls.
local WATCHES = {
  scope = { "-w /etc/sudoers -p wa", "-w /etc/sudoers.d -p wa" },
  actions = { "SYS -C euid!=uid -F auid!=unset -S execve" },
  sudo_log = { "-w /var/log/sudo.log -p wa" },
  time = { "SYS -S adjtimex,settimeofday,clock_settime", "-w /etc/localtime -p wa" },
  network = { "SYS -S sethostname,setdomainname", "-w /etc/hosts -p wa", "-w /etc/hostname -p wa", "-w /etc/issue -p wa", "-w /etc/issue.net -p wa" },
  access = {
    "SYS -S creat,open,openat,truncate,ftruncate -F exit=-EACCES -F auid>=1000 -F auid!=unset",
    "SYS -S creat,open,openat,truncate,ftruncate -F exit=-EPERM -F auid>=1000 -F auid!=unset",
  },
  identity = { "-w /etc/group -p wa", "-w /etc/passwd -p wa", "-w /etc/gshadow -p wa", "-w /etc/shadow -p wa",
    "-w /etc/security/opasswd -p wa", "-w /etc/pam.d -p wa" },
  permissions = {
    "SYS -S chmod,fchmod,fchmodat -F auid>=1000 -F auid!=unset", "SYS -S chown,fchown,lchown,fchownat -F auid>=1000 -F auid!=unset",
    "SYS -S setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr -F auid>=1000 -F auid!=unset",
  },
  mounts = { "SYS -S mount -F auid>=1000 -F auid!=unset" },
  sessions = { "-w /var/run/utmp -p wa", "-w /var/log/wtmp -p wa", "-w /var/log/btmp -p wa" },
  logins = { "-w /var/log/lastlog -p wa", "-w /var/run/faillock -p wa" },
  deletions = { "SYS -S unlink,unlinkat,rename,renameat -F auid>=1000 -F auid!=unset" },
  mac = { "-w /etc/apparmor -p wa", "-w /etc/apparmor.d -p wa", "-w /etc/selinux -p wa" },
  modules = { "SYS -S init_module,finit_module,delete_module -F auid>=1000 -F auid!=unset" },
}
local WATCH_IDS = {
  { "scope", "6.2.3.1" }, { "actions", "6.2.3.2" }, { "sudo_log", "6.2.3.3" }, { "time", "6.2.3.4" }, { "network", "6.2.3.5" },
  { "access", "6.2.3.7" }, { "identity", "6.2.3.8" }, { "permissions", "6.2.3.9" }, { "mounts", "6.2.3.10" }, { "sessions", "6.2.3.11" },
  { "logins", "6.2.3.12" }, { "deletions", "6.2.3.13" }, { "mac", "6.2.3.14" }, { "modules", "6.2.3.19" },
}
local GROUPS = {}
for n, one in ipairs(WATCH_IDS) do GROUPS[n] = one[1] end

-- The rules as text.
local AUDIT = [==[
case $(uname -m) in x86_64|aarch64|ppc64*|s390x) both='b64 b32';; *) both=b32;; esac
[ "$(uname -m)" != aarch64 ] || both=b64
text='## Written by std.harden.'
watch() { # GROUP LINE…
  key=$1
  shift
  for line; do
    case $line in
      SYS\ *)
        for arch in $both; do
          calls=${line#SYS}
          # Arm has only the newer ones of these calls.
          [ "$(uname -m)" != aarch64 ] || calls=$(printf %s "$calls" | sed 's/creat,open,openat/openat/
            s/chmod,fchmod,/fchmod,/; s/chown,fchown,lchown,/fchown,/; s/unlink,unlinkat,rename,/unlinkat,/')
          text=$text$newline"-a always,exit -F arch=$arch$calls -k $key"
        done;;
      # Whether the file is there yet or not; its folder must be.
      -w*) path=${line#-w } path=${path%% *}; [ ! -d "${path%/*}" ] || text=$text$newline"$line -k $key";;
    esac
  done
}
]==]

local LOAD = [==[
text=$text$end
file=/etc/audit/rules.d/50-hardening.rules
content "$file" 640 "$text"
# What an earlier attempt has written and the kernel has not taken is tried again.
if [ -z "$fresh" ]; then
  [ "$(auditctl -l 2>/dev/null)" = "No rules" ] && differs "the rules are not in use" || return 0
fi
have augenrules || { skip "there is no augenrules"; return 0; }
if [ "$(auditctl -s 2>/dev/null | sed -n 's/^enabled //p')" = 2 ]; then echo "the audit rules cannot be changed before the next boot"; return 0; fi
augenrules --load >"$scratch/said" 2>&1 || { cat "$scratch/said"; fail "the kernel does not take the audit rules" "what auditctl said is above; a container cannot have any"; }]==]

M.audit_rules = control.control {
  name = "audit_rules", title = "Audit rules",
  options = {
    groups = { "strings", default = GROUPS }, rules = { "strings", default = {} }, immutable = { "boolean", default = false },
    max_log_file = { "integer", default = 32 }, keep_logs = { "boolean", default = false },
  },
  packages = function(_, system) return system.packages.audit or {} end,
  references = "CIS 6.2.1.1, dev-sec package-08",
  check = function(o, what)
    local options = require "std.options"
    for n, group in ipairs(o.groups) do options.one_of(("%s: option `groups[%d]`"):format(what, n), group, GROUPS) end
    for n, line in ipairs(o.rules) do
      if not line:match("^%-[%a]") or line:find("[\n\r]") then
        rimg.fail(("%s: option `rules[%d]`: %q is no audit rule"):format(what, n, line), { hint = 'such as "-w /etc/app -p wa -k app"' })
      end
    end
    if o.max_log_file < 1 then rimg.fail(("%s: option `max_log_file`: is less than 1 (megabytes)"):format(what)) end
  end,
  rules = function(o)
    local wanted, ids, code = {}, {}, { AUDIT }
    for _, group in ipairs(o.groups) do wanted[group] = true end
    for _, one in ipairs(WATCH_IDS) do
      if wanted[one[1]] then
        ids[#ids + 1] = "CIS " .. one[2]
        code[#code + 1] = call("watch", one[1], table.unpack(WATCHES[one[1]]))
      end
    end
    for _, line in ipairs(o.rules) do code[#code + 1] = "text=$text$newline" .. require("std.guest").quote(line) end
    code[#code + 1] = o.immutable and 'end=$newline"-e 2"' or "end="
    code[#code + 1] = LOAD
    return {
      rule("service", "auditd runs", "CIS 6.2.1.2, STIG UBTU-22-653015, Lynis ACCT-9628", "service_on auditd"),
      rule("rules", "What matters is written down", table.concat(ids, ", ") .. (o.immutable and ", CIS 6.2.3.20" or ""), table.concat(code, "\n")),
      rule("log", "The log has room", "CIS 6.2.2.1" .. (o.keep_logs and ", CIS 6.2.2.2" or ""), control.settings("/etc/audit/auditd.conf", " = ", {
        { "max_log_file", o.max_log_file }, { "max_log_file_action", o.keep_logs and "keep_logs" or "ROTATE" },
      }) .. '\n[ -z "$fresh" ] || kill -HUP "$(cat /run/auditd.pid 2>/dev/null)" 2>/dev/null || :'),
      rule("permissions", "The log is root's", "CIS 6.2.4.4, CIS 6.2.4.5", control.permissions {
        { "750", "root", "root,adm", "/var/log/audit" }, { "640", "root", "root", "/etc/audit/auditd.conf" },
      }),
    }
  end,
}

M.journald = control.control {
  name = "journald", title = "The journal",
  options = {
    storage = { "string", one_of = { "persistent", "volatile", "auto" }, default = "persistent" }, max_use = { "size", default = "1G" },
    forward_to_syslog = { "boolean", default = false },
  },
  rules = function(o)
    local size = tostring(o.max_use):match("^%d+$") and o.max_use .. "M" or tostring(o.max_use):gsub("%s", ""):gsub("[iI]?[bB]$", ""):upper()
    return { rule("settings", "The journal is kept, compressed, and bounded", "CIS 6.1.1.3, CIS 6.1.2.2, CIS 6.1.2.3, CIS 6.1.2.4",
      'if [ ! -d /run/systemd/system ]; then skip "there is no systemd"; return 0; fi\n'
        .. call("content", "/etc/systemd/journald.conf.d/50-hardening.conf", "644", table.concat({
          "[Journal]", "Storage=" .. o.storage, "Compress=yes", "ForwardToSyslog=" .. (o.forward_to_syslog and "yes" or "no"), "SystemMaxUse=" .. size,
        }, "\n")) .. '\n[ -z "$fresh" ] || service_restart systemd-journald') }
  end,
}

M.time_sync = control.control {
  name = "time_sync", title = "Time synchronization",
  options = { servers = { "strings", default = {} } },
  packages = function(_, system) return system.packages.time end,
  references = "CIS 2.3.1.1",
  check = function(o, what)
    for n, server in ipairs(o.servers) do
      if not server:match("^[%w.:-]+$") then rimg.fail(("%s: option `servers[%d]`: %q is no server's name"):format(what, n, server)) end
    end
  end,
  rules = function(o, system)
    local time, rules = system.time, {}
    if #o.servers > 0 and time.kind == "timesyncd" then
      rules[1] = rule("servers", "The time comes from these servers", "CIS 2.3.2.1",
        call("content", "/etc/systemd/timesyncd.conf.d/50-hardening.conf", "644", "[Time]\nNTP=" .. table.concat(o.servers, " "))
          .. '\n[ -z "$fresh" ] || service_restart ' .. time.service)
    elseif #o.servers > 0 then
      local lines = {}
      for n, server in ipairs(o.servers) do lines[n] = "server " .. server .. " iburst" end
      rules[1] = rule("servers", "The time comes from these servers", "CIS 2.3.3.1, STIG UBTU-22-252010", table.concat({
        control.variable("file", time.file), control.variable("text", table.concat(lines, "\n")),
        '[ -f "$file" ] || { skip "there is no $file"; return 0; }',
        'others=$(grep -vE "^[[:space:]]*(pool|server)[[:space:]]" "$file")',
        call("content", time.file, "644", "") :gsub("''$", '"$text$newline$others"'),
        '[ -z "$fresh" ] || service_restart ' .. time.service,
      }, "\n"))
    end
    rules[#rules + 1] = rule("service", "A time service runs", "CIS 2.3.2.2, CIS 2.3.3.3, Lynis TIME-3104", "service_on " .. time.service)
    return rules
  end,
}

return M
