--- Users and groups of a machine: with shadow's programs, or BusyBox's (Alpine).
---
---     local users = require "std.users"
---     vm:apply(users.user { name = "deploy", groups = { "www-data" }, sudo = true, ssh_authorized_keys = { key } })

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"

local M = {}

local FUNCTIONS = [==[
entry() { if have getent; then getent "$1" "$2"; else grep "^$2:" "/etc/$1"; fi; }
there() { entry "$1" "$2" >/dev/null 2>&1; }
field() { entry passwd "$1" | cut -d: -f"$2"; }
writable() { [ -w /etc ] || fail "/etc cannot be written to" "the machine's root may be mounted read-only"; }
]==]

local GROUP = [==[
if [ "$state" = absent ]; then
  there group "$name" || return 0
  writable
  if have groupdel; then groupdel -- "$name"; else delgroup -- "$name"; fi ||
    fail "the group $name cannot be removed" "it may be some user's own group"
  changed "removed the group $name"
  return
fi
if there group "$name"; then
  [ -z "$gid" ] || [ "$(entry group "$name" | cut -d: -f3)" = "$gid" ] || {
    writable
    have groupmod || fail "the group $name has another number, and the machine has no groupmod to change it"
    groupmod -g "$gid" -- "$name" || fail "the group $name cannot be given the number $gid"
    changed "number of the group $name: $gid"
  }
else
  writable
  if have groupadd; then groupadd ${gid:+-g "$gid"} ${system:+-r} -- "$name"
  else addgroup ${gid:+-g "$gid"} ${system:+-S} "$name"; fi || fail "the group $name cannot be made"
  changed "group $name"
fi]==]

local USER = [==[
# All that could be wrong is looked at before the first change.
for one in $groups $group; do there group "$one" || fail "there is no group $one on the machine" "make it first: users.group { name = \"$one\" }"; done
if [ -n "$sudo_rule" ]; then
  have visudo || fail "sudo is not installed on the machine" "install it first, for instance with std.packages"
fi
if there passwd "$name"; then
  fresh=
  [ -z "$uid" ] || [ "$(id -u "$name")" = "$uid" ] || { have usermod || fail "$name has another number, and the machine has no usermod to change it"; }
else
  fresh=yes
  writable
  [ -z "$uid" ] || ! there passwd "$uid" || fail "the number $uid is another user's: $(entry passwd "$uid" | cut -d: -f1)"
  if [ -z "$shell" ] && [ -z "$system" ]; then
    shell=/bin/sh
    [ ! -x /bin/bash ] || shell=/bin/bash
  fi
  if have useradd; then
    useradd ${uid:+-u "$uid"} ${group:+-g "$group"} ${home:+-d "$home"} ${shell:+-s "$shell"} ${system:+-r} \
      $([ -n "$no_home" ] && echo -M || echo -m) -c "$comment" -- "$name"
  else
    adduser -D ${uid:+-u "$uid"} ${group:+-G "$group"} ${home:+-h "$home"} ${shell:+-s "$shell"} ${system:+-S} \
      ${no_home:+-H} -g "$comment" "$name" && { [ -n "$password$password_hash" ] || passwd -u "$name" >/dev/null 2>&1 || :; }
  fi || fail "the user $name cannot be made"
  changed "user $name"
fi
if [ -z "$fresh" ]; then
  modify() { # WHAT NOW WANTED OPTION
    [ -n "$3" ] && [ "$2" != "$3" ] || return 0
    writable
    have usermod || fail "the $1 of $name is $2, and the machine has no usermod to change it" "install shadow"
    usermod "$4" "$3" -- "$name" || fail "the $1 of $name cannot be changed"
    changed "$1 of $name: $3"
  }
  modify number "$(id -u "$name")" "$uid" -u
  modify group "$(id -gn "$name")" "$group" -g
  modify home "$(field "$name" 6)" "$home" -d
  modify shell "$(field "$name" 7)" "$shell" -s
  modify comment "$(field "$name" 5)" "$comment" -c
fi
for one in $groups; do
  case " $(id -Gn "$name") " in *" $one "*) continue;; esac
  writable
  if have usermod; then usermod -a -G "$one" -- "$name"; else addgroup "$name" "$one"; fi || fail "$name cannot be put into the group $one"
  changed "$name is in $one"
done
hash_of() { grep "^$name:" /etc/shadow 2>/dev/null | cut -d: -f2; }
# The same without the mark of one that is locked.
bare_hash() { now=$(hash_of) && printf '%s' "${now#!}"; }
# Tells whether the password is the one that is set; where nothing can compute that, a password is only set once.
same_password() {
  now=$(bare_hash)
  case $now in \$*) ;; *) return 1;; esac
  # By way of the environment: a process list shows arguments.
  if have perl; then
    [ "$(RIMG_P=$password RIMG_S=$now perl -e 'print crypt($ENV{RIMG_P}, $ENV{RIMG_S})')" = "$now" ]
  else
    [ -z "$fresh" ]
  fi
}
if [ -n "$password_hash" ]; then
  [ "$(hash_of)" = "$password_hash" ] || [ "$(bare_hash)" = "$password_hash" ] || {
    writable
    printf '%s:%s\n' "$name" "$password_hash" | chpasswd -e >/dev/null || fail "the password of $name cannot be set"
    changed "password of $name"
  }
elif [ -n "$password" ] && ! same_password; then
  writable
  printf '%s:%s\n' "$name" "$password" | chpasswd >/dev/null || fail "the password of $name cannot be set" "the machine may want better passwords"
  changed "password of $name"
fi
if [ "$locked" = yes ]; then
  case $(hash_of) in
    '!'*|'*'*) ;;
    *) if have usermod; then usermod -L -- "$name"; else passwd -l "$name" >/dev/null; fi || fail "$name cannot be locked"
      changed "locked $name";;
  esac
fi
if [ -n "$keys" ] || [ -n "$exclusive" ]; then
  need_scratch
  folder=$(field "$name" 6)/.ssh file=$(field "$name" 6)/.ssh/authorized_keys
  [ -d "$(field "$name" 6)" ] || fail "$name has no home folder to keep keys in"
  { [ -n "$exclusive" ] || [ ! -e "$file" ] || { cat "$file"; [ -z "$(tail -c 1 "$file")" ] || echo; }; } >"$scratch/keys"
  printf '%s\n' "$keys" | while IFS= read -r key; do
    [ -z "$key" ] || grep -qxF -e "$key" "$scratch/keys" || printf '%s\n' "$key" >>"$scratch/keys"
  done
  if [ ! -e "$file" ] || [ "$(cksum <"$scratch/keys")" != "$(cksum <"$file")" ]; then
    # As the user: what the folder is a link to is the user's own affair then.
    [ -d "$folder" ] || { mkdir -m 700 -- "$folder" && chown "$name:$(id -gn "$name")" "$folder"; } || fail "$folder cannot be made"
    (umask 077 && cat "$scratch/keys" >"$folder/.keys-new") && chown "$name:$(id -gn "$name")" "$folder/.keys-new" &&
      mv -f -- "$folder/.keys-new" "$file" || fail "$file cannot be written"
    ! have restorecon || restorecon -RF "$folder" 2>/dev/null || :
    changed "keys of $name"
  fi
fi
if [ -n "$sudo_rule" ] || [ "$sudo" = no ]; then
  file=/etc/sudoers.d/90-rimg-$name
  need_scratch
  printf '%s\n' "$sudo_rule" >"$scratch/sudo"
  if [ "$sudo" = no ]; then
    [ ! -e "$file" ] || { rm -f -- "$file" && changed "$name may not use sudo any more"; }
  elif [ ! -e "$file" ] || [ "$(cksum <"$scratch/sudo")" != "$(cksum <"$file")" ]; then
    visudo -cqf "$scratch/sudo" || fail "the rule for sudo is not valid: $sudo_rule"
    (umask 337 && rm -f -- "$file.half" && cat "$scratch/sudo" >"$file.half") && mv -f -- "$file.half" "$file" || fail "$file cannot be written"
    changed "sudo of $name"
  fi
fi]==]

local REMOVE = [==[
there passwd "$name" || { [ ! -e "/etc/sudoers.d/90-rimg-$name" ] || rm -f -- "/etc/sudoers.d/90-rimg-$name"; return 0; }
writable
[ "$(id -u "$name")" != 0 ] || fail "$name is root"
if have userdel; then userdel ${remove_home:+-r} -- "$name"; else deluser ${remove_home:+--remove-home} "$name"; fi >"/dev/null" ||
  fail "the user $name cannot be removed" "it may be logged in, or have processes"
rm -f -- "/etc/sudoers.d/90-rimg-$name"
changed "removed the user $name"]==]

local STATE = { "string", one_of = { "present", "absent" }, default = "present" }

local function check_name(what, name)
  if not name:match("^[%a_][%w_.-]*%$?$") or #name > 32 then
    rimg.fail(("%s: option `name`: %q is no name for it"):format(what, name), {
      hint = "letters, digits, _ - and ., beginning with a letter; 32 characters at most",
    })
  end
end

local function check_id(what, option, id)
  if id and (id < 0 or id > 4294967294) then
    rimg.fail(("%s: option `%s`: %d is not between 0 and 4294967294"):format(what, option, id))
  end
end

--- A group.
function M.group(given)
  local o = options.check("users.group", given, {
    name = { "string", required = true }, gid = { "integer" }, system = { "boolean", default = false }, state = STATE,
  })
  check_name("users.group", o.name)
  check_id("users.group", "gid", o.gid)
  local label = "users.group " .. o.name
  return guest.provisioner(label, function(vm)
    return guest.run(vm, label, { guest.assign({ "name", "gid", "system", "state" }, o), FUNCTIONS, GROUP })
  end)
end

--- A user: with groups, keys, password and sudo.
function M.user(given)
  local o = options.check("users.user", given, {
    name = { "string", required = true }, uid = { "integer" }, group = { "string" }, groups = { "strings", default = {} },
    home = { "path" }, create_home = { "boolean", default = true }, shell = { "path" }, comment = { "string" },
    system = { "boolean", default = false }, password = { "string" }, password_hash = { "string" },
    locked = { "boolean", default = false }, ssh_authorized_keys = { "strings", default = {} },
    exclusive_keys = { "boolean", default = false }, sudo = { "boolean", "string" }, state = STATE,
    remove_home = { "boolean", default = false },
  })
  check_name("users.user", o.name)
  check_id("users.user", "uid", o.uid)
  local function wrong(option, message, hint)
    rimg.fail(("users.user: option `%s`: %s"):format(option, message), { hint = hint })
  end
  for n, group in ipairs(o.groups) do check_name(("users.user: option `groups[%d]`"):format(n), group) end
  if o.group then check_name("users.user: option `group`", o.group) end
  for n, key in ipairs(o.ssh_authorized_keys) do
    o.ssh_authorized_keys[n] = key:gsub("%s+$", "")
    if not key:match("[%w@.-]+ AAAA[%w+/=]+") or key:gsub("%s+$", ""):find("\n") then
      wrong(("ssh_authorized_keys[%d]"):format(n), "is no public key", "a line as in id_ed25519.pub: rimg.fs.read reads one")
    end
  end
  for _, option in ipairs { "comment", "password", "password_hash", "sudo" } do
    if type(o[option]) == "string" and o[option]:find("[\n\r]") then wrong(option, "has a line break in it") end
  end
  if o.comment and o.comment:find(":", 1, true) then wrong("comment", "has a colon in it") end
  if o.password_hash and not o.password_hash:match("^[$!*]") then
    wrong("password_hash", "is not what /etc/shadow holds", "make one with: openssl passwd -6; for a password as it is there is password")
  elseif o.password and o.password_hash then
    wrong("password", "only one of `password` and `password_hash` can be given")
  end
  local rule = o.sudo == true and "ALL=(ALL:ALL) NOPASSWD: ALL" or o.sudo
  local values = {
    name = o.name, uid = o.uid, group = o.group, groups = table.concat(o.groups, " "), home = o.home, shell = o.shell,
    no_home = not o.create_home, comment = o.comment, system = o.system, password = o.password, locked = o.locked,
    password_hash = o.password_hash, keys = table.concat(o.ssh_authorized_keys, "\n"), exclusive = o.exclusive_keys,
    sudo_rule = rule and (o.name .. " " .. rule), sudo = o.sudo == false and "no" or "", remove_home = o.remove_home,
  }
  local names = { "name", "uid", "group", "groups", "home", "shell", "no_home", "comment", "system", "password", "locked",
    "password_hash", "keys", "exclusive", "sudo_rule", "sudo", "remove_home" }
  local label = "users.user " .. o.name
  return guest.provisioner(label, function(vm)
    return guest.run(vm, label, {
      guest.assign(names, values), FUNCTIONS, o.state == "absent" and REMOVE or USER,
    })
  end)
end

return M
