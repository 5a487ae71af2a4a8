--- What is asked of a machine for each kind of expectation: a shell function of that name, which gives values back as
--- `N.attribute`.

return [==[
say() { value "$n.$1" "$2"; }
yes_no() { if "$@" >/dev/null 2>&1; then echo true; else echo false; fi; }
# Whether a text has a line like a pattern: ATTRIBUTE NUMBER FLAGS PATTERN.
pattern() {
  # shellcheck disable=SC2086
  if grep -q $3 -e "$4" "$scratch/$1" 2>/dev/null; then say "$1.$2" true; else say "$1.$2" false; fi
}
excerpt() { say "$1" "$(head -c 300 "$scratch/$1" | tr '\n\r' '| ' | sed 's/|$//')"; }
package() {
  if have dpkg-query; then
    versions=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$1" 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')
  elif have rpm; then
    versions=$(rpm -q --qf '%{VERSION} %{VERSION}-%{RELEASE} ' -- "$1" 2>/dev/null) || versions=
  elif have apk; then
    versions=$(apk list -I -- "$1" 2>/dev/null | sed -n "s/^$1-\([^ ]*\) .*/\1/p" | tr '\n' ' ')
  else
    versions=
  fi
  say installed "$(yes_no test -n "$versions")"
  say versions "$versions"
}
service() {
  if [ -d /run/systemd/system ]; then
    say running "$(yes_no systemctl is-active --quiet -- "$1")"
    say enabled "$(yes_no systemctl is-enabled --quiet -- "$1")"
  elif have rc-service; then
    say running "$(yes_no rc-service --quiet -- "$1" status)"
    say enabled "$(rc-update show 2>/dev/null | { grep -q "^ *$1 |" && echo true || echo false; })"
  else
    say running "$(yes_no service "$1" status)"
    say enabled false
  fi
}
# PROTOCOL PORT-IN-HEXADECIMAL: the kernel's own lists need no program.
port() {
  ips=
  case $1 in tcp*) listening=0A;; *) listening=07;; esac
  for list in "/proc/net/$1" "/proc/net/${1%6}6"; do
    [ -r "$list" ] || continue
    while read -r _ own _ state _; do
      case "$own $state" in *":$2 $listening") ips="$ips ${own%:*}";; esac
    done <"$list"
  done
  say listening "$(yes_no test -n "$ips")"
  say ip "$ips"
}
file() {
  if [ -e "$1" ] || [ -L "$1" ]; then say exists true; else say exists false; : >"$scratch/contents"; return; fi
  say mode "$(stat -c %a -- "$1")"
  say owner "$(stat -c %U -- "$1")"
  say group "$(stat -c %G -- "$1")"
  say size "$(stat -c %s -- "$1")"
  if [ -L "$1" ]; then say filetype symlink; say linked-to "$(readlink -- "$1")"
  elif [ -d "$1" ]; then say filetype directory
  elif [ -S "$1" ]; then say filetype socket
  elif [ -p "$1" ]; then say filetype fifo
  elif [ -f "$1" ]; then say filetype file
  else say filetype device; fi
  : >"$scratch/contents"
  if [ -f "$1" ]; then
    [ -z "$2" ] || cat "$1" >"$scratch/contents"
    for algorithm in $3; do
      if have "${algorithm}sum"; then sum=$("${algorithm}sum" <"$1"); say "$algorithm" "${sum%% *}"; fi
    done
  fi
}
entry() { if have getent; then getent "$1" "$2"; else grep "^$2:" "/etc/$1"; fi 2>/dev/null | head -n 1; }
user() {
  line=$(entry passwd "$1")
  say exists "$(yes_no test -n "$line")"
  [ -n "$line" ] || return 0
  say uid "$(printf %s "$line" | cut -d: -f3)"
  say gid "$(printf %s "$line" | cut -d: -f4)"
  say home "$(printf %s "$line" | cut -d: -f6)"
  say shell "$(printf %s "$line" | cut -d: -f7)"
  say groups "$(id -Gn -- "$1" 2>/dev/null)"
}
group() {
  line=$(entry group "$1")
  say exists "$(yes_no test -n "$line")"
  [ -z "$line" ] || say gid "$(printf %s "$line" | cut -d: -f3)"
}
# COMMAND SECONDS
command_() {
  status=0
  timeout "$2" sh -c "$1" >"$scratch/stdout" 2>"$scratch/stderr" || status=$?
  say exit-status "$status"
}
kernel_param() {
  path=/proc/sys/$(printf %s "$1" | tr . /)
  [ ! -r "$path" ] || say value "$(tr '\t\n' '  ' <"$path" | sed 's/ *$//')"
}
mount_() {
  found=
  while read -r source at kind opts _; do
    [ "$at" != "$1" ] || found="$source $kind $opts"
  done </proc/self/mounts
  say exists "$(yes_no test -n "$found")"
  [ -n "$found" ] || return 0
  source=${found%% *} found=${found#* }
  say source "$source"
  say filesystem "${found%% *}"
  say opts "$(printf %s "${found#* }" | tr , ' ')"
  say usage "$(df -P -- "$1" 2>/dev/null | tail -n 1 | sed 's/.* \([0-9]*\)% .*/\1/')"
}
# URL SECONDS INSECURE NO-REDIRECTS METHOD USER:PASSWORD HEADERS…
http() {
  url=$1 seconds=$2 insecure=$3 stay=$4 method=$5 login=$6
  shift 6
  : >"$scratch/body"; : >"$scratch/headers"
  if have curl; then
    for header; do set -- "$@" -H "$header"; shift; done
    # By a file of settings: a process list shows arguments.
    [ -z "$login" ] || { (umask 077; printf 'user = "%s"\n' "$(printf %s "$login" | sed 's/[\\"]/\\&/g')" >"$scratch/login") && set -- "$@" -K "$scratch/login"; }
    say status "$(curl -s ${insecure:+-k} $([ -n "$stay" ] || echo -L) ${method:+-X "$method"} --max-time "$seconds" \
      "$@" -D "$scratch/headers" -o "$scratch/body" -w '%{http_code}' -- "$url")"
  elif have wget; then
    [ -z "$stay$method$login$*" ] || { say trouble "the machine has no curl"; return; }
    wget -q -S -T "$seconds" ${insecure:+--no-check-certificate} -O "$scratch/body" -- "$url" 2>"$scratch/headers" || :
    say status "$(sed -n 's/^ *HTTP\/[0-9.]* \([0-9]*\).*/\1/p' "$scratch/headers" | tail -n 1)"
  else
    say trouble "the machine has neither curl nor wget"
  fi
}
process() { say running "$(yes_no grep -qxF -e "$(printf %.15s "$1")" /proc/[0-9]*/comm)"; }
]==]
