--- File systems: how they are mounted, and who may read and write what is in them.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule = control.rule

local M = {}

local MOUNT_IDS = {
  ["/tmp"] = "CIS 1.1.2.1, dev-sec os-14", ["/dev/shm"] = "CIS 1.1.2.2, dev-sec os-14", ["/home"] = "CIS 1.1.2.3, dev-sec os-15",
  ["/var"] = "CIS 1.1.2.4", ["/var/tmp"] = "CIS 1.1.2.5, dev-sec os-14", ["/var/log"] = "CIS 1.1.2.6", ["/var/log/audit"] = "CIS 1.1.2.7",
  ["/proc"] = "Lynis FILE-6344",
}

-- Options that a mount point lacks are added: in fstab, which is at hand at the next boot, and now.
local MOUNT = [==[
mounted=
while read -r source at kind now _; do [ "$at" != "$point" ] || mounted="$source $kind $now"; done </proc/mounts
if [ -z "$mounted" ]; then skip "$point is not a mount of its own"; return 0; fi
source=${mounted%% *} rest=${mounted#* } now=${mounted##* }
kind=${rest%% *} lacking=
for option in $wanted; do case ",$now," in *",$option,"*) ;; *) lacking=$lacking${lacking:+,}$option;; esac; done
# What is not in fstab is an entry there; the kernel's own file systems need no more than that.
in_fstab=$(awk -v point="$point" '$1 !~ /^#/ && $2 == point { print $4; exit }' /etc/fstab 2>/dev/null)
missing=
for option in $wanted; do case ",$in_fstab," in *",$option,"*) ;; *) missing=yes;; esac; done
if [ -z "$missing" ] && [ -z "$lacking" ]; then holds "$point: $(echo $wanted)"; return 0; fi
if [ -n "$missing" ]; then
  case $in_fstab:$kind in
    :tmpfs|:proc) line="$kind $point $kind rw$(printf ',%s' $wanted) 0 0"; new="$(cat /etc/fstab)$newline$line";;
    :*) missing=; new=;;
    *) new=$(wanted=$wanted awk -v point="$point" '
        $1 !~ /^#/ && $2 == point { n = split(ENVIRON["wanted"], w, " "); o = "," $4 ","
          for (i = 1; i <= n; i++) if (!index(o, "," w[i] ",")) { $4 = $4 "," w[i] }
          sub(/^defaults,/, "", $4) } { print }' /etc/fstab);;
  esac
  if [ -n "$new" ] && differs "/etc/fstab lacks options of $point: $(echo $wanted)"; then
    put_text /etc/fstab "$(stat -c %a /etc/fstab)" "$new"
    done_ "/etc/fstab: $point"
  fi
fi
if [ -n "$lacking" ] && differs "$point is mounted without $lacking"; then
  mount -o "remount,$lacking" "$point" || fail "$point cannot be mounted anew with $lacking"
  done_ "$point: $lacking"
fi]==]

M.mounts = control.control {
  name = "mounts", title = "Mount options",
  options = { points = { "table", default = { ["/dev/shm"] = { "nodev", "nosuid", "noexec" } } } },
  check = function(o, what)
    for point, list in pairs(o.points) do
      if type(point) ~= "string" or not point:match("^/[%w._/-]*$") then
        rimg.fail(("%s: option `points`: %q is no mount point"):format(what, tostring(point)), {
          hint = 'such as ["/home"] = { "nodev", "nosuid" }',
        })
      end
      if type(list) ~= "table" or #list == 0 then
        rimg.fail(("%s: option `points`: %s: expected a list of mount options"):format(what, point))
      end
      for _, option in ipairs(list) do
        if type(option) ~= "string" or not option:match("^[%w_=.:-]+$") then
          rimg.fail(("%s: option `points`: %s: %q is no mount option"):format(what, point, tostring(option)))
        end
      end
    end
  end,
  rules = function(o)
    local points, rules = {}, {}
    for point in pairs(o.points) do points[#points + 1] = point end
    table.sort(points)
    for _, point in ipairs(points) do
      rules[#rules + 1] = rule(point, point .. " has only what it needs", MOUNT_IDS[point] or "dev-sec os-16", table.concat({
        control.variable("point", point), control.variable("wanted", table.concat(o.points[point], " ")), MOUNT,
      }, "\n"))
    end
    return rules
  end,
}

local ACCOUNTS = {
  { "644", "root", "root", "/etc/passwd" }, { "644", "root", "root", "/etc/passwd-" },
  { "644", "root", "root", "/etc/group" }, { "644", "root", "root", "/etc/group-" },
  { "640", "root", "root,shadow", "/etc/shadow" }, { "640", "root", "root,shadow", "/etc/shadow-" },
  { "640", "root", "root,shadow", "/etc/gshadow" }, { "640", "root", "root,shadow", "/etc/gshadow-" },
  { "644", "root", "root", "/etc/shells" }, { "600", "root", "root", "/etc/security/opasswd" },
  { "600", "root", "root", "/etc/security/opasswd.old" },
}
local SYSTEM = {
  { "700", "root", "root", "/root" }, { "700", "root", "root", "/root/.ssh" }, { "440", "root", "root", "/etc/sudoers" },
  { "750", "root", "root", "/etc/sudoers.d" }, { "644", "root", "root", "/etc/fstab" }, { "644", "root", "root", "/etc/hosts" },
  { "644", "root", "root", "/etc/hosts.allow" }, { "644", "root", "root", "/etc/hosts.deny" },
  { "755", "root", "root,syslog", "/var/log" },
}

local COMPILERS = {}
for n, name in ipairs { "as", "cc", "gcc", "c++", "g++", "clang", "clang++" } do COMPILERS[n] = { "750", "root", "root", "/usr/bin/" .. name } end

-- Homes of people, by /etc/passwd.
local HOMES = [==[
set --
while IFS=: read -r user _ uid _ _ home shell; do
  [ "$uid" -ge 1000 ] && [ "$uid" -lt 65534 ] || continue
  case $shell in */nologin|*/false) continue;; esac
  [ ! -d "$home" ] || set -- "$@" "$most $user - $home"
done </etc/passwd
files=$(printf '%s\n' "$@")
permissions]==]

-- One look at all files of the root's file system. For -nouser find would read /etc/passwd once a file.
local SCAN = [==[
need_scratch
# OPTION LIST: find's words for what belongs to none of a list.
of_none() { { getent "$2" || cat "/etc/$2"; } 2>/dev/null | cut -d: -f3 | sort -un | while read -r id; do printf ' ! %s %s' "$1" "$id"; done; }
# shellcheck disable=SC2046
find / -xdev \( -type f -perm -0002 -o -type d -perm -0002 ! -perm -1000 -o $(of_none -user passwd) -o $(of_none -group group) \) -print \
  >"$scratch/found" 2>/dev/null
clean=yes
while IFS= read -r path; do
  set -- $(stat -c '%a %U %G' -- "$path" 2>/dev/null)
  [ $# = 3 ] || continue
  if [ "$2" != UNKNOWN ] && [ "$3" != UNKNOWN ] && [ $((0$1 & 2)) = 0 ]; then continue; fi
  clean=
  if [ "$2" = UNKNOWN ] || [ "$3" = UNKNOWN ]; then
    # Whose it should be is not for us to know.
    differs "$path is nobody's" && echo "$path has no owner or no group: give it one" || :
    continue
  fi
  differs "all may write to $path" || continue
  if [ -d "$path" ]; then chmod +t -- "$path"; else chmod o-w -- "$path"; fi || fail "the mode of $path cannot be changed"
  done_ "$path: not for all to write"
done <"$scratch/found"
[ -z "$clean" ] || holds "none"]==]

M.permissions = control.control {
  name = "permissions", title = "File permissions",
  options = {
    home_mode = { "mode", default = "0750" }, scan = { "boolean", default = false }, compilers = { "boolean", default = false },
    files = { "table", default = {} },
  },
  check = function(o, what)
    for path, mode in pairs(o.files) do
      if type(path) ~= "string" or not path:match("^/%S*$") then
        rimg.fail(("%s: option `files`: %q is no path"):format(what, tostring(path)), { hint = 'such as ["/etc/app.conf"] = "0640"' })
      elseif type(mode) ~= "string" or not mode:match("^[0-7][0-7][0-7][0-7]?$") then
        rimg.fail(("%s: option `files`: %s: expected permission bits as an octal string such as \"0640\""):format(what, path))
      end
    end
  end,
  rules = function(o)
    local rules = {
      rule("accounts", "The lists of users are for root to write, passwords for root to read",
        "CIS 7.1.1 to 7.1.10, dev-sec os-02, dev-sec os-03", control.permissions(ACCOUNTS)),
      rule("system", "The system's files are root's", "CIS 7.1, dev-sec os-11, Lynis FILE-7524", control.permissions(SYSTEM)),
      rule("homes", "Homes are their users' own", "CIS 7.2.9, Lynis HOME-9304",
        control.variable("most", o.home_mode) .. "\n" .. HOMES),
    }
    if o.compilers then rules[#rules + 1] = rule("compilers", "Compilers are root's", "Lynis HRDN-7222", control.permissions(COMPILERS)) end
    local own = {}
    for path, mode in pairs(o.files) do own[#own + 1] = { mode, "-", "-", path } end
    table.sort(own, function(a, b) return a[4] < b[4] end)
    if #own > 0 then rules[#rules + 1] = rule("own", "Files of your own", "", control.permissions(own)) end
    if o.scan then
      rules[#rules + 1] = rule("world_writable", "Nothing is for all to write, and all is somebody's",
        "CIS 7.1.11, CIS 7.1.12, STIG UBTU-22-232145", SCAN)
    end
    return rules
  end,
}

return M
