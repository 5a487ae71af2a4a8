--- The shell functions that rules are made of. Each looks first: what is as it should be `holds`; what is not is only told
--- in an audit (`$audit`), and put right otherwise. They fork as little as they can: on an emulated processor that is what
--- takes the time.

local M = {}

M.rules = [==[
rule='' seq=0
note() { seq=$((seq + 1)); value "$seq" "$rule $1 $2"; }
holds() { [ -z "$audit" ] || note holds "$1"; }
# What does not apply to this machine.
skip() { [ -z "$audit" ] || note skip "$1"; }
# Succeeds where it is to be changed.
differs() { [ -n "$audit" ] || return 0; note differs "$1"; return 1; }
done_() { changed "$rule: $1"; }
newline='
'
# Tells whether a text is in one with spaces around.
among() { case " $2 " in *" $1 "*) ;; *) return 1;; esac; }
# Puts a text in the place of a file, whole: PATH MODE TEXT. A file that is there keeps its owner.
put_text() {
  [ -d "${1%/*}" ] || mkdir -p -- "${1%/*}" || fail "the folder ${1%/*} cannot be made" "its file system may be mounted read-only"
  half=${1%/*}/.${1##*/}.half
  { if [ -e "$1" ]; then cp -p -- "$1" "$half"; else (umask 077; : >"$half"); fi && printf '%s\n' "$3" >"$half" &&
    chmod "$2" "$half" && mv -f -- "$half" "$1"; } || { rm -f -- "$half"; fail "$1 cannot be written" "the disk may be full or mounted read-only"; }
  ! have restorecon || restorecon -F "$1" 2>/dev/null || :
}
# A file that holds this text and nothing else: PATH MODE TEXT. Sets $fresh where it was written.
content() {
  fresh=
  if [ -f "$1" ] && [ "$(cat -- "$1")" = "$3" ]; then holds "$1"; return 0; fi
  if [ -f "$1" ]; then differs "$1 is another one" || return 0; else differs "$1 is not there" || return 0; fi
  put_text "$1" "$2" "$3"
  fresh=yes
  done_ "$1"
}
# Settings in a file that has others, too: PATH SEPARATOR, then names and values in $pairs, a line each.
settings() {
  fresh=
  [ -f "$1" ] || { skip "there is no $1"; return 0; }
  need_scratch
  pairs=$pairs sep=$2 awk -v told="$scratch/told" '
    BEGIN { n = split(ENVIRON["pairs"], a, "\n"); sep = ENVIRON["sep"]
      for (i = 1; i < n; i += 2) { want[a[i]] = a[i + 1]; order[++m] = a[i] }
      printf "" >told }
    { text = $0; sub(/^[ \t]+/, "", text); name = text; sub(/[ \t=].*$/, "", name)
      if (!(name in want)) { print; next }
      if (seen[name]++) next
      value = substr(text, length(name) + 1); sub(/^[ \t]*=?[ \t]*/, "", value); sub(/[ \t]+$/, "", value)
      if (value == want[name]) { print; next }
      print name " is " value ", not " want[name] >told
      print name sep want[name] }
    END { for (i = 1; i <= m; i++) if (!(order[i] in seen)) {
      print order[i] " is not set, not " want[order[i]] >told
      print order[i] sep want[order[i]] } }' "$1" >"$scratch/settings" || fail "$1 cannot be read"
  if [ ! -s "$scratch/told" ]; then holds "$1"; return 0; fi
  while IFS= read -r line; do differs "$1: $line" || :; done <"$scratch/told"
  [ -z "$audit" ] || return 0
  put_text "$1" "$(stat -c %a -- "$1")" "$(cat "$scratch/settings")"
  fresh=yes
  done_ "$1"
}
# A kernel parameter as it is now: NAME VALUE.
sysctl_now() {
  path=$1 node=
  while :; do
    case $path in *.*) node=$node/${path%%.*} path=${path#*.};; *) node=$node/$path; break;; esac
  done
  node=/proc/sys$node
  [ -e "$node" ] || { skip "this kernel has no $1"; return 0; }
  now=; { read -r now <"$node"; } 2>/dev/null || :
  [ "$now" = "$2" ] && { holds "$1 = $2"; return 0; }
  differs "$1 is ${now:-unknown}, not $2" || return 0
  # What a container may not set it may well have in its files.
  { printf '%s\n' "$2" >"$node"; } 2>/dev/null && done_ "$1 = $2" || echo "$1 cannot be set on this machine now"
}
# Permissions no wider than these: a line in $files each, MODE OWNER GROUPS PATH; groups may be several, with commas between.
permissions() {
  set --
  while read -r max owner groups path; do
    [ ! -e "$path" ] || set -- "$@" "$path"
  done <<END
$files
END
  [ $# -gt 0 ] || { skip "none of the files is there"; return 0; }
  need_scratch
  stat -L -c '%a %U %G %n' -- "$@" >"$scratch/stat"
  while read -r max owner groups path; do
    while read -r mode user group name; do
      [ "$name" = "$path" ] || continue
      narrow=$(((0$mode) & (0$max)))
      if [ "$narrow" != "$((0$mode))" ]; then
        mode=$(printf %o "$narrow")
        if differs "the mode of $path is wider than $max"; then
          chmod "$mode" -- "$path" || fail "the mode of $path cannot be changed"
          done_ "mode of $path: $mode"
        fi
      elif [ "$user" = "$owner" ] || [ "$owner" = - ]; then holds "$path"; fi
      if [ "$owner" != - ] && [ "$user" != "$owner" ]; then
        if differs "the owner of $path is $user, not $owner"; then
          chown "$owner" -- "$path" || fail "the owner of $path cannot be changed"
          done_ "owner of $path: $owner"
        fi
      fi
      if [ "$groups" != - ] && case ",$groups," in *",$group,"*) false;; esac; then
        if differs "the group of $path is $group, not ${groups%%,*}"; then
          chgrp "${groups%%,*}" -- "$path" || fail "the group of $path cannot be changed"
          done_ "group of $path: ${groups%%,*}"
        fi
      fi
      break
    done <"$scratch/stat"
  done <<END
$files
END
}
# Modules of the kernel that cannot be loaded: FILE NAME…. What is mounted now is in use, and stays.
no_modules() {
  file=$1 text='# What is not needed cannot be loaded.' used=
  shift
  while read -r _ _ kind _; do used="$used $kind"; done </proc/mounts
  for module; do
    if among "$module" "$used"; then skip "$module is in use"; continue; fi
    text=$text$newline"install $module /bin/true"$newline"blacklist $module"
  done
  content "$file" 644 "$text"
}
# Packages that are there, or are not; installed and removed beforehand, all at once.
query() {
  if have dpkg-query; then
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p'
  elif have rpm; then rpm -q --qf '%{NAME}\n' "$@" 2>/dev/null | grep -v ' is not installed$'
  else for one; do apk info -e "$one" 2>/dev/null; done; fi
}
installed() {
  there=" $(query "$@" | tr '\n' ' ')"
  for one; do if among "$one" "$there"; then holds "$one is installed"; else differs "$one is not installed" || :; fi; done
}
not_installed() {
  there=" $(query "$@" | tr '\n' ' ')"
  for one; do if among "$one" "$there"; then differs "$one is installed" || :; else holds "$one is not installed"; fi; done
}
]==]

--- Services, for each init system.
M.services = {
  systemd = [==[
# One question for all there is to know of a service: $load, $enabled, $active, $condition, and when it $was_looked_at.
service_state() {
  load='' enabled='' active='' condition='' was_looked_at=''
  while IFS== read -r property answer; do
    case $property in
      LoadState) load=$answer;;
      UnitFileState) enabled=$answer;;
      ActiveState) active=$answer;;
      ConditionResult) condition=$answer;;
      ConditionTimestampMonotonic) was_looked_at=$answer;;
    esac
  done <<END
$(systemctl show -p LoadState,UnitFileState,ActiveState,ConditionResult,ConditionTimestampMonotonic -- "$1" 2>/dev/null)
END
  # A script in /etc/init.d, of which systemctl itself knows more.
  [ "$enabled" != generated ] || enabled=$(systemctl is-enabled -- "$1" 2>/dev/null)
}
service_there() { service_state "$1"; [ "${load:-not-found}" != not-found ]; }
service_on() {
  service_there "$1" || { differs "there is no service $1" && fail "there is no service $1 on the machine" || return 0; }
  case $enabled:$active in enabled:active|static:active|alias:active|indirect:active) holds "$1 runs and is enabled"; return 0;; esac
  # A time service in a container, for one: its unit says itself that it does not run there.
  if [ "$enabled:$active:$condition" = enabled:inactive:no ] && [ "$was_looked_at" != 0 ]; then
    skip "$1 does not run on such a machine, by its unit's own condition"
    return 0
  fi
  differs "$1 is ${enabled:-unknown} and ${active:-unknown}" || return 0
  [ "$enabled" != masked ] || systemctl --quiet unmask -- "$1"
  case $enabled in
    enabled|static|alias|indirect) ;;
    *) systemctl --quiet --no-reload enable -- "$1" || fail "the service $1 cannot be enabled"; reload=yes;;
  esac
  to_start="$to_start $rule,$1"
}
service_off() {
  service_there "$1" || { holds "there is no $1"; return 0; }
  case $enabled:$active in masked:inactive|masked:failed) holds "$1 is masked"; return 0;; esac
  differs "$1 is not masked" || return 0
  { systemctl --quiet --no-reload mask -- "$1" && systemctl --quiet stop -- "$1"; } || fail "the service $1 cannot be masked"
  reload=yes
  done_ "masked $1"
}
# Reads all units anew, which takes seconds on an emulated processor: once, for all rules; then starts what is to run.
reload='' to_start=''
services_settle() {
  [ -z "$reload" ] || systemctl daemon-reload || fail "systemd cannot read its units anew"
  for one in $to_start; do
    rule=${one%%,*} one=${one#*,}
    systemctl --quiet start -- "$one" || { journalctl --no-pager -n 15 -u "$one"; fail "the service $one cannot be started"; }
    done_ "$one runs and is enabled"
  done
}
service_reload() { systemctl --quiet try-reload-or-restart -- "$@" || fail "$* cannot be reloaded"; }
service_restart() { systemctl --quiet try-restart -- "$@" || fail "$* cannot be restarted"; }
]==],
  openrc = [==[
service_there() { [ -x "/etc/init.d/$1" ]; }
service_on() {
  service_there "$1" || { differs "there is no service $1" && fail "there is no service $1 on the machine" || return 0; }
  if rc-update show 2>/dev/null | grep -q "^ *$1 |" && rc-service --quiet "$1" status >/dev/null 2>&1; then
    holds "$1 runs and is enabled"
    return 0
  fi
  differs "$1 does not run, or is not enabled" || return 0
  { rc-update --quiet add "$1" default && rc-service --quiet --ifstopped "$1" start; } || fail "the service $1 cannot be enabled and started"
  done_ "$1 runs and is enabled"
}
service_off() {
  service_there "$1" && rc-update show 2>/dev/null | grep -q "^ *$1 |" || { holds "$1 is not enabled"; return 0; }
  differs "$1 is enabled" || return 0
  rc-service --quiet --ifstarted "$1" stop
  rc-update --quiet --all delete "$1" || fail "the service $1 cannot be disabled"
  done_ "disabled $1"
}
service_reload() { for one; do rc-service --quiet --ifstarted "$one" reload || rc-service --quiet --ifstarted "$one" restart; done; }
service_restart() { for one; do rc-service --quiet --ifstarted "$one" restart; done; }
services_settle() { :; }
]==],
}

return M
