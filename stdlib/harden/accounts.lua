--- Who may do what: umask, logins, passwords and what PAM asks of them, sudo.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule, call = control.rule, control.call

local M = {}

M.umask = control.control {
  name = "umask", title = "umask",
  options = { umask = { "mode", default = "027" } },
  rules = function(o)
    return {
      rule("login_defs", "New homes and PAM's sessions", "CIS 5.4.3.3, STIG UBTU-22-412035, dev-sec os-05, Lynis AUTH-9328",
        control.settings("/etc/login.defs", "\t", { { "UMASK", o.umask } })),
      rule("profile", "Login shells", "CIS 5.4.3.3, Lynis AUTH-9328",
        call("content", "/etc/profile.d/hardening-umask.sh", "644", "umask " .. o.umask)),
    }
  end,
}

-- su for members of a group alone, which may well have none.
local SU = [==[
[ -f /etc/pam.d/su ] || { skip "there is no /etc/pam.d/su"; return 0; }
if ! grep -q "^$group:" /etc/group && differs "there is no group $group"; then
  groupadd -r "$group" 2>/dev/null || addgroup -S "$group" || fail "the group $group cannot be made"
  done_ "group $group"
fi
line="auth required pam_wheel.so use_uid group=$group"
if grep -qxF "$line" /etc/pam.d/su; then holds "su is for the group $group"; return 0; fi
differs "su is for everybody" || return 0
# Behind the line that lets root through.
new=$(line=$line awk '/^[ \t]*auth[ \t].*pam_wheel\.so/ { next } { print }
  /^[ \t]*auth[ \t].*pam_rootok\.so/ && !done { print ENVIRON["line"]; done = 1 }' /etc/pam.d/su)
case $new in *"$line"*) ;; *) fail "/etc/pam.d/su is none that is known: root is not let through in it";; esac
put_text /etc/pam.d/su 644 "$new"
done_ "su is for the group $group"]==]

M.login = control.control {
  name = "login", title = "Logins",
  options = {
    password_max_days = { "integer", default = 365 }, password_min_days = { "integer", default = 1 },
    password_warn_days = { "integer", default = 7 }, inactive_days = { "integer", default = 45 },
    retries = { "integer", default = 5 }, timeout = { "integer", default = 60 }, hash_rounds = { "integer", default = 65536 },
    shell_timeout = { "integer", default = 900 }, su_group = { "string" },
  },
  check = function(o, what)
    if o.password_min_days >= o.password_max_days then
      rimg.fail(("%s: option `password_min_days`: %d is not less than password_max_days, %d"):format(what, o.password_min_days, o.password_max_days), {
        hint = "a password could never be changed in time",
      })
    elseif o.shell_timeout ~= 0 and o.shell_timeout < 30 then
      rimg.fail(("%s: option `shell_timeout`: %d seconds are too few"):format(what, o.shell_timeout), { hint = "0 sets none" })
    elseif o.hash_rounds < 1000 or o.hash_rounds > 999999999 then
      rimg.fail(("%s: option `hash_rounds`: %d is not between 1000 and 999999999"):format(what, o.hash_rounds))
    elseif o.su_group and not o.su_group:match("^[%a_][%w_-]*$") then
      rimg.fail(("%s: option `su_group`: %q is no group's name"):format(what, o.su_group))
    end
  end,
  rules = function(o)
    local rules = {
      rule("login_defs", "Passwords of new users expire; few attempts; slow hashes",
        "CIS 5.4.1.1, CIS 5.4.1.2, CIS 5.4.1.3, STIG UBTU-22-411025, STIG UBTU-22-411030, dev-sec os-05, Lynis AUTH-9286",
        control.settings("/etc/login.defs", "\t", {
          { "PASS_MAX_DAYS", o.password_max_days }, { "PASS_MIN_DAYS", o.password_min_days }, { "PASS_WARN_AGE", o.password_warn_days },
          { "LOGIN_RETRIES", o.retries }, { "LOGIN_TIMEOUT", o.timeout }, { "SHA_CRYPT_MIN_ROUNDS", o.hash_rounds },
          { "SHA_CRYPT_MAX_ROUNDS", o.hash_rounds },
        })),
      rule("inactive", "Accounts of new users whose password has expired are locked", "CIS 5.4.1.5, STIG UBTU-22-411035",
        'if have useradd && [ -f /etc/default/useradd ]; then ' .. control.settings("/etc/default/useradd", "=", { { "INACTIVE", o.inactive_days } })
          .. '\nelse skip "there is no /etc/default/useradd"; fi'),
    }
    if o.shell_timeout > 0 then
      rules[#rules + 1] = rule("shell_timeout", "Shells that nobody uses end", "CIS 5.4.3.2, STIG UBTU-22-412030, Lynis SHLL-6220",
        call("content", "/etc/profile.d/hardening-timeout.sh", "644",
          ("[ -n \"${TMOUT:-}\" ] || { TMOUT=%d; readonly TMOUT; export TMOUT; }"):format(o.shell_timeout)))
    end
    if o.su_group then
      rules[#rules + 1] = rule("su", "su is for a group", "CIS 5.2.7", control.variable("group", o.su_group) .. "\n" .. SU)
    end
    return rules
  end,
}

local FAILLOCK = {
  faillock = "Name: Lock accounts after failed logins\nDefault: yes\nPriority: 0\nAuth-Type: Primary\nAuth:\n"
    .. "\t[default=die]\t\t\tpam_faillock.so authfail",
  ["faillock-notify"] = "Name: Lock accounts after failed logins: before the password\nDefault: yes\nPriority: 1024\nAuth-Type: Primary\nAuth:\n"
    .. "\trequisite\t\t\tpam_faillock.so preauth\nAccount-Type: Primary\nAccount:\n\trequired\t\t\tpam_faillock.so",
}

-- Debian's way to change PAM: a file says what a module is for, and pam-auth-update writes the stacks.
local PAM_AUTH_UPDATE = [==[
have pam-auth-update || { skip "there is no pam-auth-update"; return 0; }
wrote=
profile() { content "/usr/share/pam-configs/hardening-$1" 644 "$2"; [ -z "$fresh" ] || wrote="$wrote hardening-$1"; }
PROFILES
if [ -n "$wrote" ]; then
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive pam-auth-update --package --enable $wrote || fail "pam-auth-update has failed"
fi
for module in $modules; do
  if grep -qs "^[^#].*$module" /etc/pam.d/common-auth /etc/pam.d/common-password; then holds "$module"; else differs "$module is not in use" || :; fi
done]==]

local AUTHSELECT = [==[
have authselect && [ -n "$(authselect current --raw 2>/dev/null)" ] || { skip "authselect has no profile here"; return 0; }
now=" $(authselect current --raw) "
for feature in $features; do
  if among "$feature" "$now"; then holds "$feature"; continue; fi
  authselect list-features "${now%% *}" 2>/dev/null | grep -qx "$feature" || { skip "authselect knows no $feature"; continue; }
  differs "authselect does not have $feature" || continue
  authselect enable-feature "$feature" >/dev/null || fail "authselect cannot enable $feature"
  done_ "$feature"
done]==]

M.passwords = control.control {
  name = "passwords", title = "Password policy",
  options = {
    min_length = { "integer", default = 14 }, min_classes = { "integer", default = 3 }, max_repeat = { "integer", default = 3 },
    max_sequence = { "integer", default = 3 }, different = { "integer", default = 2 }, remember = { "integer", default = 24 },
    lock_after = { "integer", default = 5 }, unlock_after = { "integer", default = 900 },
  },
  packages = function(_, system) return system.packages.password or {} end,
  check = function(o, what)
    for option, least in pairs {
      min_length = 6, min_classes = 0, max_repeat = 0, max_sequence = 0, different = 0, remember = 0, lock_after = 0, unlock_after = 0,
    } do
      if o[option] < least then rimg.fail(("%s: option `%s`: is less than %d"):format(what, option, least)) end
    end
    if o.min_classes > 4 then rimg.fail(("%s: option `min_classes`: there are only 4 classes of characters"):format(what)) end
  end,
  rules = function(o, system)
    local no_pam = 'if [ ! -d /etc/security ]; then skip "there is no PAM"; return 0; fi\n'
    local rules = {
      rule("quality", "Passwords are long and not simple", "CIS 5.3.3.2, STIG UBTU-22-611035, Lynis AUTH-9262",
        no_pam .. call("content", "/etc/security/pwquality.conf.d/50-hardening.conf", "644", table.concat({
          "minlen = " .. o.min_length, "minclass = " .. o.min_classes, "maxrepeat = " .. o.max_repeat,
          "maxsequence = " .. o.max_sequence, "difok = " .. o.different, "dictcheck = 1", "enforce_for_root",
        }, "\n"))),
    }
    if o.lock_after > 0 then
      rules[#rules + 1] = rule("faillock", "Accounts are locked for a while after failed logins", "CIS 5.3.3.1, STIG UBTU-22-411045",
        no_pam .. call("content", "/etc/security/faillock.conf", "644",
          ("deny = %d\nunlock_time = %d\nsilent\naudit"):format(o.lock_after, o.unlock_after)))
    end
    local stack
    if system.pam == "pam-auth-update" then
      local profiles, modules = {}, { "pam_pwquality" }
      if o.lock_after > 0 then
        for _, name in ipairs { "faillock", "faillock-notify" } do profiles[#profiles + 1] = call("profile", name, FAILLOCK[name]) end
        modules[#modules + 1] = "pam_faillock"
      end
      if o.remember > 0 then
        profiles[#profiles + 1] = call("profile", "pwhistory", "Name: Passwords are not used again\nDefault: yes\nPriority: 1022\n"
          .. "Password-Type: Primary\nPassword:\n\trequisite\t\t\tpam_pwhistory.so remember=" .. o.remember
          .. " enforce_for_root try_first_pass use_authtok")
        modules[#modules + 1] = "pam_pwhistory"
      end
      stack = control.variable("modules", table.concat(modules, " ")) .. "\n"
        .. PAM_AUTH_UPDATE:gsub("PROFILES", function() return table.concat(profiles, "\n") end)
    elseif system.pam == "authselect" then
      stack = control.variable("features", "with-faillock with-pwhistory") .. "\n" .. AUTHSELECT
    else
      stack = 'skip "the PAM stacks of this distribution are left as they are"'
    end
    rules[#rules + 1] = rule("stack", "PAM uses all of it", "CIS 5.3.2.2, CIS 5.3.2.3, CIS 5.3.2.4, CIS 5.3.3.3", stack)
    return rules
  end,
}

local SUDO = [==[
have visudo || { skip "there is no sudo"; return 0; }
file=/etc/sudoers.d/00-hardening
if [ -f "$file" ] && [ "$(cat "$file")" = "$text" ]; then holds "$file"; return 0; fi
differs "$file is not there, or another one" || return 0
need_scratch
printf '%s\n' "$text" >"$scratch/sudoers"
visudo -cqf "$scratch/sudoers" || fail "sudo does not take these settings" "nothing was changed"
put_text "$file" 440 "$text"
# With all the others, too: a broken sudo would lock everybody out.
visudo -cq || { rm -f "$file"; fail "sudo's files are not valid together" "what was added was taken away again: see visudo -c on the machine"; }
done_ "$file"]==]

M.sudo = control.control {
  name = "sudo", title = "sudo",
  options = {
    use_pty = { "boolean", default = true }, log_file = { "path", default = "/var/log/sudo.log" },
    timeout = { "number", default = 15 }, tries = { "integer", default = 3 },
  },
  check = function(o, what)
    if not o.log_file:match("^/[%w._/-]+$") then
      rimg.fail(("%s: option `log_file`: %q has characters that sudo's settings do not take"):format(what, o.log_file))
    elseif o.tries < 1 then
      rimg.fail(("%s: option `tries`: is less than 1"):format(what))
    end
  end,
  rules = function(o)
    local text = {}
    if o.use_pty then text[#text + 1] = "Defaults use_pty" end
    text[#text + 1] = ('Defaults logfile="%s"'):format(o.log_file)
    text[#text + 1] = ("Defaults timestamp_timeout=%s"):format(o.timeout == math.floor(o.timeout) and math.tointeger(o.timeout) or o.timeout)
    text[#text + 1] = ("Defaults passwd_tries=%d"):format(o.tries)
    return { rule("settings", "sudo has a terminal of its own, a log, and asks again", "CIS 5.2.2, CIS 5.2.3, CIS 5.2.6",
      control.variable("text", table.concat(text, "\n")) .. "\n" .. SUDO) }
  end,
}

return M
