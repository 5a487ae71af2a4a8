--- The shell program that ends an installation, inside of what was installed: everything that a format has no word for, and
--- the late commands.

local guest = require "std.guest"

local M = {}

local BEGIN = [==[
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
umask 022
have() { command -v "$1" >/dev/null 2>&1; }
field() { grep "^$1:" /etc/passwd | cut -d: -f"$2"; }
# NAME COMMENT SHELL
user() {
  ! grep -q "^$1:" /etc/passwd || return 0
  if have useradd; then useradd -m -c "$2" -s "$3" "$1"; else adduser -D -g "$2" -s "$3" "$1"; fi
}
# NAME GROUP
into_group() {
  grep -q "^$2:" /etc/group || if have groupadd; then groupadd "$2"; else addgroup "$2"; fi
  if have usermod; then usermod -aG "$2" "$1"; else addgroup "$1" "$2"; fi
}
# NAME KEYS
keys() {
  home=$(field "$1" 6)
  mkdir -p "$home/.ssh"
  printf '%s\n' "$2" >"$home/.ssh/authorized_keys"
  chmod 700 "$home/.ssh"
  chmod 600 "$home/.ssh/authorized_keys"
  chown -R "$1:$(field "$1" 4)" "$home/.ssh"
  ! have restorecon || restorecon -RF "$home/.ssh" || :
}
# NAME
sudo_for() {
  printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$1" >"/etc/sudoers.d/90-$1"
  chmod 440 "/etc/sudoers.d/90-$1"
}
]==]

--- Returns the program. `parts` is what the format does itself: `made` users (the first so many), their `groups`, all of the
--- `users`, `root`'s password. `more` are lines of its own, `shell` is what users have.
function M.script(o, parts)
  local lines = { (BEGIN:gsub("\n$", "")) }
  local function add(...) lines[#lines + 1] = table.concat({ ... }, " ") end
  local function authorize(name, list)
    if #list > 0 then add("keys", name, guest.quote(table.concat(list, "\n"))) end
  end
  local function password(name, hash)
    if hash then add("printf '%s\\n'", guest.quote(name .. ":" .. hash), "| chpasswd -e") end
  end
  for n, user in ipairs(parts.users and {} or o.users) do
    local made = n <= (parts.made or 0)
    if not made then
      add("user", user.name, guest.quote(user.comment or ""), user.shell or parts.shell or "/bin/bash")
      password(user.name, user.hash or "*")
    elseif user.shell and not parts.groups then
      add("usermod -s", user.shell, user.name)
    end
    for _, group in ipairs(made and parts.groups and {} or user.groups) do add("into_group", user.name, group) end
    authorize(user.name, user.ssh_authorized_keys)
    if user.sudo then add("sudo_for", user.name) end
  end
  if not parts.root then password("root", o.root.hash) end
  authorize("root", o.root.ssh_authorized_keys)
  for _, line in ipairs(parts.more or {}) do add(line) end
  if #o.late_commands > 0 then add("set +u") end
  for _, command in ipairs(o.late_commands) do add(command) end
  return table.concat(lines, "\n") .. "\n"
end

--- Tells whether any user may use sudo.
function M.wants_sudo(o)
  for _, user in ipairs(o.users) do
    if user.sudo then return true end
  end
  return false
end

--- Returns the packages that are wanted: the script's, and what the table asks for by other options.
function M.packages(o, ssh, sudo)
  local list, seen = {}, {}
  local function add(name)
    if name and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  add(o.ssh_server and ssh)
  add(M.wants_sudo(o) and (sudo or "sudo"))
  for _, name in ipairs(o.packages) do add(name) end
  return list
end

return M
