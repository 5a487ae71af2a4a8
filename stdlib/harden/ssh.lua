--- The SSH server: what it accepts, and from whom. The settings are one file that sshd reads first; it is tried with
--- `sshd -t` before it is put in place.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule = control.rule

local CIPHERS = {
  "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr",
}
local MACS = {
  "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-256",
}
local KEX = {
  "mlkem768x25519-sha256", "sntrup761x25519-sha512@openssh.com", "curve25519-sha256", "curve25519-sha256@libssh.org",
  "diffie-hellman-group18-sha512", "diffie-hellman-group16-sha512", "diffie-hellman-group-exchange-sha256",
}

local function yes_no(value) return value and "yes" or "no" end

-- Each setting: its keyword, its value, what for, and its ids.
local function settings(o)
  local list = {}
  local function set(keyword, value, title, references)
    if value ~= nil then list[#list + 1] = { keyword = keyword, value = tostring(value), title = title, references = references } end
  end
  set("PermitRootLogin", o.permit_root_login, "Root does not log in", "CIS 5.1.20, dev-sec sshd-06")
  set("PasswordAuthentication", yes_no(o.passwords), "Users log in with keys", "dev-sec sshd-27")
  set("KbdInteractiveAuthentication", yes_no(o.passwords), "No passwords by another name", "dev-sec sshd-29")
  set("PermitEmptyPasswords", "no", "No empty passwords", "CIS 5.1.19, STIG UBTU-22-255025, dev-sec sshd-28")
  set("PubkeyAuthentication", "yes", "Keys are accepted", "dev-sec sshd-22")
  set("HostbasedAuthentication", "no", "Hosts are not trusted", "CIS 5.1.10, dev-sec sshd-25")
  set("IgnoreRhosts", "yes", "Files of users trust no hosts", "CIS 5.1.11, dev-sec sshd-23")
  set("GSSAPIAuthentication", yes_no(o.gssapi), "No logins by GSSAPI", "CIS 5.1.9, dev-sec sshd-33")
  set("PermitUserEnvironment", "no", "Users set no environment for sshd", "CIS 5.1.21, STIG UBTU-22-255025, dev-sec sshd-17")
  set("UsePAM", "yes", "PAM has its say", "CIS 5.1.22, STIG UBTU-22-255065")
  set("StrictModes", "yes", "Loose permissions of a home are not trusted", "dev-sec sshd-11")
  set("X11Forwarding", "no", "No X11 through SSH", "STIG UBTU-22-255040, dev-sec sshd-42")
  set("AllowTcpForwarding", yes_no(o.tcp_forwarding), "No TCP through SSH", "CIS 5.1.8, dev-sec sshd-39")
  set("AllowAgentForwarding", yes_no(o.agent_forwarding), "No agents through SSH", "CIS 5.1.8, dev-sec sshd-40")
  set("PermitTunnel", "no", "No tunnels through SSH", "CIS 5.1.8, dev-sec sshd-38")
  set("GatewayPorts", "no", "What is forwarded is for the machine alone", "dev-sec sshd-41")
  set("Compression", "no", "No compression", "Lynis SSH-7408")
  set("TCPKeepAlive", "no", "No keep-alives that anybody can forge", "dev-sec sshd-35")
  set("UseDNS", "no", "A login does not depend on DNS", "Lynis SSH-7408")
  set("PrintLastLog", "yes", "The last login is shown", "STIG UBTU-22-412020, dev-sec sshd-45")
  set("LogLevel", o.log_level, "Logins are logged, with the key", "CIS 5.1.14, dev-sec sshd-13")
  set("LoginGraceTime", o.login_grace_time, "A login is done or dropped", "CIS 5.1.13, dev-sec sshd-18")
  set("MaxAuthTries", o.max_auth_tries, "Few attempts to log in", "CIS 5.1.16, dev-sec sshd-19")
  set("MaxSessions", o.max_sessions, "Few sessions in a connection", "CIS 5.1.17, dev-sec sshd-20")
  set("MaxStartups", o.max_startups, "Few logins at a time", "CIS 5.1.18, dev-sec sshd-21")
  set("ClientAliveInterval", o.client_alive_interval, "Dead clients are noticed", "CIS 5.1.7, STIG UBTU-22-255035, dev-sec sshd-36")
  set("ClientAliveCountMax", o.client_alive_count_max, "Dead clients are dropped", "CIS 5.1.7, STIG UBTU-22-255030, dev-sec sshd-37")
  set("Banner", o.banner ~= "" and o.banner or nil, "A banner before the login", "CIS 5.1.5, STIG UBTU-22-255020, dev-sec sshd-46")
  set("AllowUsers", o.allow_users and table.concat(o.allow_users, " "), "These users alone", "CIS 5.1.4")
  set("AllowGroups", o.allow_groups and table.concat(o.allow_groups, " "), "These groups alone", "CIS 5.1.4")
  return list
end

local ALGORITHMS = {
  { "Ciphers", "cipher", "ciphers", "Strong ciphers", "CIS 5.1.6, STIG UBTU-22-255050, dev-sec sshd-01" },
  { "MACs", "mac", "macs", "Strong message authentication", "CIS 5.1.15, STIG UBTU-22-255055, dev-sec sshd-03" },
  { "KexAlgorithms", "kex", "kex", "Strong key exchange", "CIS 5.1.12, STIG UBTU-22-255060, dev-sec sshd-02" },
}

-- What both halves begin with: the main file, and the algorithms that this machine's OpenSSH knows.
local COMMON = [==[
have sshd || { skip "there is no SSH server"; return 0; }
mkdir -p /run/sshd 2>/dev/null || :
file=/etc/ssh/sshd_config.d/00-hardening.conf main=/etc/ssh/sshd_config
[ -e "$main" ] || main=/usr/etc/ssh/sshd_config
# KIND NAME…: those that are known here, with commas between.
pick() {
  known=" $(ssh -Q "$1" 2>/dev/null | tr '\n' ' ')" picked=
  shift
  for one; do { [ "$known" = " " ] || among "$one" "$known"; } && picked=$picked${picked:+,}$one; done
  [ -n "$picked" ] || fail "this machine's OpenSSH knows none of: $*"
}
]==]

local APPLY = [==[
content_differs=
[ -f "$file" ] && [ "$(cat "$file")" = "$text" ] || content_differs=yes
if ! grep -qiE '^[[:space:]]*Include[[:space:]]+("?/etc/ssh/)?sshd_config\.d/' "$main"; then
  need_scratch
  { printf 'Include /etc/ssh/sshd_config.d/*.conf\n'; cat "$main"; } >"$scratch/main"
  sshd -t -f "$scratch/main" 2>/dev/null || fail "this machine's OpenSSH is too old to read /etc/ssh/sshd_config.d" "it takes OpenSSH 8.2"
  put_text /etc/ssh/sshd_config 600 "$(cat "$scratch/main")"
  done_ "$main reads /etc/ssh/sshd_config.d"
  content_differs=yes
fi
[ -n "$content_differs" ] || return 0
# The whole of it, as sshd would read it: our settings first.
{ printf '%s\n' "$text"; cat "$main"; } >"$scratch/sshd"
said=$(sshd -t -f "$scratch/sshd" 2>&1) || fail "sshd does not take these settings: $said" "nothing was changed"
put_text "$file" 600 "$text"
done_ "$file"
]==]

local LOOK = [==[
if [ "$lockout" = no ] && [ "$login" != root ] && [ "$passwords" = no ]; then
  home=$( (getent passwd "$login" 2>/dev/null || grep "^$login:" /etc/passwd) | cut -d: -f6)
  grep -qE '^[^#].* ?AAAA' "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2" 2>/dev/null ||
    fail "logins with passwords cannot be turned off: $login, who is logged in, has no key in ~/.ssh/authorized_keys" \
      "give a key first: users.user { name = \"$login\", ssh_authorized_keys = { … } }" \
      "or leave them on: ssh = { passwords = true }" "or say that you mean it: ssh = { lockout = true }"
fi
if [ "$lockout" = no ] && [ -n "$allow_users" ] && case " $allow_users " in *" $login "*) false;; esac; then
  fail "$login, who is logged in, is not among allow_users" "add it, or say that you mean it: ssh = { lockout = true }"
fi
if [ "$lockout" = no ] && [ -n "$allow_groups" ]; then
  member=
  for group in $(id -Gn "$login"); do case " $allow_groups " in *" $group "*) member=yes;; esac; done
  [ -n "$member" ] || fail "$login, who is logged in, is in none of allow_groups" "make it a member, or say that you mean it: ssh = { lockout = true }"
fi
if [ "$lockout" = no ] && [ "$login" = root ] && [ "$root" != yes ]; then
  [ "$root" != no ] || fail "logins of root cannot be turned off: the build logs in as root" \
    "with ssh = { permit_root_login = \"prohibit-password\" } root logs in with a key" "or say that you mean it: ssh = { lockout = true }"
  grep -qE '^[^#].* ?AAAA' /root/.ssh/authorized_keys 2>/dev/null ||
    fail "logins of root with a password cannot be turned off: the build logs in as root, which has no key" \
      "give it a key first, or say that you mean it: ssh = { lockout = true }"
fi]==]

local function check(o, what)
  local function wrong(option, message, hint) rimg.fail(("%s: option `%s`: %s"):format(what, option, message), { hint = hint }) end
  for _, option in ipairs { "allow_users", "allow_groups", "ciphers", "macs", "kex" } do
    for n, name in ipairs(o[option] or {}) do
      if not name:match("^[%w@._*?-]+$") then wrong(("%s[%d]"):format(option, n), ("%q is no name"):format(name)) end
    end
    if o[option] and #o[option] == 0 then wrong(option, "is an empty list", "leave it away for all that there are") end
  end
  for option, most in pairs { max_auth_tries = 100, max_sessions = 1000, login_grace_time = 3600, client_alive_interval = 86400 } do
    if o[option] < 1 or o[option] > most then wrong(option, ("%s is not between 1 and %d"):format(o[option], most)) end
  end
  if not o.max_startups:match("^%d+:%d+:%d+$") then wrong("max_startups", ("%q is not such as \"10:30:60\""):format(o.max_startups)) end
  if o.banner ~= "" and not o.banner:match("^/%S+$") then wrong("banner", ("%q is no path"):format(o.banner)) end
end

local function quoted(list) return table.concat(list, " ") end

return control.control {
  name = "ssh", title = "SSH server",
  options = {
    permit_root_login = { "string", one_of = { "no", "prohibit-password", "forced-commands-only", "yes" }, default = "no" },
    passwords = { "boolean", default = false }, gssapi = { "boolean", default = false },
    tcp_forwarding = { "boolean", default = false }, agent_forwarding = { "boolean", default = false },
    log_level = { "string", one_of = { "INFO", "VERBOSE" }, default = "VERBOSE" }, login_grace_time = { "integer", default = 60 },
    max_auth_tries = { "integer", default = 4 }, max_sessions = { "integer", default = 10 },
    max_startups = { "string", default = "10:30:60" }, client_alive_interval = { "integer", default = 300 },
    client_alive_count_max = { "integer", default = 2 }, banner = { "string", default = "/etc/issue.net" },
    allow_users = { "strings" }, allow_groups = { "strings" }, ciphers = { "strings", default = CIPHERS },
    macs = { "strings", default = MACS }, kex = { "strings", default = KEX }, lockout = { "boolean", default = false },
  },
  check = check,
  look = function(o)
    return table.concat({
      control.variable("lockout", yes_no(o.lockout)), control.variable("passwords", yes_no(o.passwords)),
      control.variable("allow_users", quoted(o.allow_users or {})), control.variable("allow_groups", quoted(o.allow_groups or {})),
      control.variable("root", o.permit_root_login), LOOK,
    }, "\n")
  end,
  rules = function(o, system)
    local list = settings(o)
    local text = { "# Read before anything else: the first value of a setting is the one that counts." }
    for _, one in ipairs(list) do text[#text + 1] = one.keyword .. " " .. one.value end
    local code = { COMMON, control.variable("text", table.concat(text, "\n")) }
    for _, a in ipairs(ALGORITHMS) do
      code[#code + 1] = control.call("pick", a[2], table.unpack(o[a[3]]))
      code[#code + 1] = ('text=$text$newline"%s $picked"'):format(a[1])
    end
    local apply = table.concat(code, "\n") .. "\n" .. APPLY .. ("service_reload %s"):format(system.ssh.service)
    -- In an audit what counts is what sshd makes of all its files.
    local rules = {
      rule("file", "sshd reads these settings first", "CIS 5.1.1, dev-sec sshd-05", {
        apply = apply,
        audit = COMMON .. 'effective=$newline$(sshd -T 2>/dev/null)$newline\n[ "$effective" != "$newline$newline" ] || differs "sshd -T fails" || :\n'
          .. 'if [ -f "$file" ]; then holds "$file"; else differs "$file is not there" || :; fi',
      }),
    }
    for _, one in ipairs(list) do
      local key, value = one.keyword:lower(), one.value:lower()
      if key == "banner" or key == "loglevel" or key:match("^allow") and key ~= "allowtcpforwarding" and key ~= "allowagentforwarding" then value = one.value end
      -- sshd has two words for it.
      local other = value == "prohibit-password" and "without-password" or value
      rules[#rules + 1] = rule(one.keyword, one.title, one.references, {
        apply = ":", audit = control.call("effectively", key, value, other),
      })
    end
    for _, a in ipairs(ALGORITHMS) do
      rules[#rules + 1] = rule(a[1], a[4], a[5], {
        apply = ":",
        audit = COMMON .. control.call("pick", a[2], table.unpack(o[a[3]])) .. ('\neffectively %s "$picked" "$picked"'):format(a[1]:lower()),
      })
    end
    rules[1].audit = [==[
effective=
# KEYWORD VALUE OTHER: what sshd makes of all its files; lists of users are a line each.
effectively() {
  [ -n "$effective" ] || { skip "there is no SSH server"; return 0; }
  case $effective in *"$newline$1 $2$newline"*|*"$newline$1 $3$newline"*) holds "$1 $2"; return 0;; esac
  case $1 in allowusers|allowgroups)
    for one in $2; do case $effective in *"$newline$1 $one$newline"*) ;; *) differs "$1 lacks $one" || :;; esac; done
    return 0;;
  esac
  rest=${effective#*"$newline$1 "}
  [ "$rest" != "$effective" ] || rest=none
  differs "$1 is ${rest%%"$newline"*}, not $2" || :
}
]==] .. rules[1].audit
    rules[#rules + 1] = rule("permissions", "The server's files are root's alone", "CIS 5.1.1, CIS 5.1.2, CIS 5.1.3, dev-sec sshd-05",
      control.permissions {
        { "600", "root", "root", "/etc/ssh/sshd_config" },
        { "600", "root", "root,ssh_keys", "/etc/ssh/ssh_host_rsa_key" }, { "600", "root", "root,ssh_keys", "/etc/ssh/ssh_host_ecdsa_key" },
        { "600", "root", "root,ssh_keys", "/etc/ssh/ssh_host_ed25519_key" },
        { "644", "root", "root,ssh_keys", "/etc/ssh/ssh_host_rsa_key.pub" }, { "644", "root", "root,ssh_keys", "/etc/ssh/ssh_host_ecdsa_key.pub" },
        { "644", "root", "root,ssh_keys", "/etc/ssh/ssh_host_ed25519_key.pub" },
      })
    return rules
  end,
}
