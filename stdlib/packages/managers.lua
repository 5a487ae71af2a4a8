--- How each package manager is asked: shell functions of the same names. `has NAME VERSION` tells whether a package is
--- installed, `known SPEC…` fails with the names that no repository has, `work ARGUMENT…` runs the manager.

local M = { known = {} }

--- Waits for locks, and repeats what the network has broken; `$lock_timeout` seconds and `$retries` times.
M.patience = [==[
would_change() { :; }
# Runs a command until it succeeds: its words tell whether that is a matter of waiting.
patiently() {
  need_scratch
  waited=0 tries=0
  while :; do
    status=0
    { "$@" 2>&1; echo $? >"$scratch/status"; } | tee "$scratch/said"
    status=$(cat "$scratch/status")
    [ "$status" != 0 ] || return 0
    if grep -qiE "$locked" "$scratch/said"; then
      [ "$waited" -lt "$lock_timeout" ] ||
        fail "another program has locked the package manager for $lock_timeout seconds" "give it longer: lock_timeout = \"20m\""
      [ "$waited" != 0 ] || echo "waiting for another program to release the package manager..."
      sleep 2
      waited=$((waited + 2))
    elif grep -qiE "$unreachable" "$scratch/said"; then
      tries=$((tries + 1))
      [ "$tries" -le "$retries" ] ||
        fail "the package repositories cannot be reached: $(grep -iE "$unreachable" "$scratch/said" | tail -n 1)" \
          "the machine may be offline, or its clock wrong" "a repository's address may be wrong"
      sleep "$((tries * 2))"
    else
      return "$status"
    fi
  done
}
]==]

M.known.apt = [==[
export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=a \
  NEEDRESTART_SUSPEND=1 UCF_FORCE_CONFFOLD=1
locked='could not get lock|unable to acquire the dpkg|unable to lock|dpkg frontend lock was locked'
unreachable='temporary failure resolving|could not resolve|could not connect|unable to connect|connection (failed|timed out)|network is unreachable|hash sum mismatch|failed to fetch|unexpected size|no route to host'
work() {
  # What a machine that lost power left half configured.
  [ -z "$(ls /var/lib/dpkg/updates 2>/dev/null)" ] || patiently dpkg --force-confdef --force-confold --configure -a || :
  patiently apt-get -qq -y -o "DPkg::Lock::Timeout=$lock_timeout" -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o "APT::Install-Recommends=${recommends:-no}" \
    -o APT::Get::Fix-Missing=no "$@"
}
spec() { if [ -n "$2" ]; then printf '%s=%s\n' "$1" "$2"; else printf '%s\n' "$1"; fi; }
# All that is installed, asked for once: on an emulated processor it is the programs that take the time.
listed=
has() {
  if [ "${1#*:}" = "$1" ] && [ -z "$2" ]; then
    [ -n "$listed" ] || listed=$(dpkg-query -W -f '${db:Status-Status} ${Package}|' 2>/dev/null)
    case "|$listed" in *"|installed $1|"*) return 0;; *) return 1;; esac
  fi
  there=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$1" 2>/dev/null | grep '^installed ' | head -n 1) || return 1
  [ -n "$there" ] || return 1
  # A pattern is to match as one.
  # shellcheck disable=SC2254
  case "${there#installed }" in ${2:-*}) ;; *) return 1;; esac
}
fresh() {
  ls /var/lib/apt/lists/*_Packages* /var/lib/apt/lists/*_InRelease >/dev/null 2>&1 || ls /var/lib/apt/lists/*Release >/dev/null 2>&1 || return 1
  [ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin "-$list_age")" ]
}
refresh() { work update -o APT::Update::Error-Mode=any || fail "the package lists cannot be updated"; }
# Something else may provide what is asked for.
would_change() { grep -qE '^(Inst|Remv) ' "$scratch/said"; }
unknown() {
  apt-get -s -qq -o APT::Install-Recommends=no --allow-downgrades install "$@" >"$scratch/said" 2>&1 && return 1
  sed -n "s/^E: //p" "$scratch/said" | sed '/broken packages/d' | head -n 5
}
install() { listed=; work --allow-downgrades --allow-change-held-packages install "$@"; }
hold() { apt-mark -qq hold "$@" >/dev/null; }
is_held() { apt-mark showhold -- "$1" | grep -qxF "$1"; }
remove() { listed=; work --allow-change-held-packages ${purge:+--purge} remove "$@"; }
tidy() { work ${purge:+--purge} autoremove; }
upgrade() { if [ -n "$full" ]; then work dist-upgrade; else work --with-new-pkgs upgrade; fi; }
]==]

-- What dnf, yum and zypper share: the RPM database.
local RPM = [==[
has() { rpm -q --quiet -- "$1${2:+-$2}" 2>/dev/null || [ -n "$(rpm -qa "$1${2:+-$2}" 2>/dev/null)" ]; }
]==]

local DNF = [==[
locked='another app is currently holding|waiting for process with pid|failed to obtain the transaction lock|rpmdb.*lock'
unreachable='could not resolve host|cannot download|curl error|timeout was reached|failed to download metadata|no more mirrors|connection refused|network is unreachable'
work() { patiently "$dnf" -y -q --setopt=retries=3 --setopt=install_weak_deps="${recommends:-False}" "$@"; }
spec() { printf '%s\n' "$1${2:+-$2}"; }
fresh() { [ -n "$(find /var/cache/dnf /var/cache/yum /var/cache/libdnf5 -name repomd.xml -mmin "-$list_age" 2>/dev/null | head -n 1)" ]; }
refresh() { work makecache || fail "the package lists cannot be updated"; }
unknown() {
  for wanted; do
    [ -n "$("$dnf" -q -C repoquery "$wanted" 2>/dev/null)$("$dnf" -q repoquery --whatprovides "$wanted" 2>/dev/null)" ] || echo "no repository has $wanted"
  done >"$scratch/unknown"
  [ -s "$scratch/unknown" ] && cat "$scratch/unknown"
}
install() { work install "$@"; }
remove() { work remove "$@"; }
tidy() { work autoremove; }
upgrade() { work upgrade; }
hold() { fail "hold is not there for dnf: name the version instead"; }
is_held() { return 1; }
]==]

M.known.dnf = RPM .. "dnf=dnf\n" .. DNF
M.known.yum = RPM .. "dnf=yum\n" .. DNF

M.known.zypper = RPM .. [==[
export ZYPP_LOCK_TIMEOUT="$lock_timeout"
locked='system management is locked|zypp is currently in use'
unreachable='could not resolve host|connection failed|timeout exceeded|download \(curl\) error|network is unreachable|valid metadata not found'
work() { patiently zypper --non-interactive --quiet "$@"; }
spec() { printf '%s\n' "$1${2:+=$2}"; }
fresh() { [ -n "$(find /var/cache/zypp/raw -name repomd.xml -mmin "-$list_age" 2>/dev/null | head -n 1)" ]; }
refresh() { work --gpg-auto-import-keys refresh || fail "the package lists cannot be updated"; }
unknown() {
  zypper --non-interactive --quiet install --dry-run --no-recommends --auto-agree-with-licenses -- "$@" >"$scratch/said" 2>&1 && return 1
  grep -iE 'not found|no provider|nothing provides' "$scratch/said" | head -n 5
}
install() { work install --auto-agree-with-licenses --oldpackage $([ -n "$recommends" ] || echo --no-recommends) -- "$@"; }
remove() { work remove -- "$@"; }
tidy() { :; }
upgrade() { if [ -n "$full" ]; then work dist-upgrade --auto-agree-with-licenses; else work update --auto-agree-with-licenses; fi; }
hold() { work addlock "$@" >/dev/null; }
is_held() { zypper --quiet locks 2>/dev/null | grep -q "| $1 "; }
]==]

M.known.apk = [==[
locked='unable to lock database|database file exists|temporarily unavailable'
unreachable='network error|temporary error|dns lookup error|could not connect|connection (refused|timed out)|bad archive'
work() { patiently apk --no-interactive --wait "$lock_timeout" --no-progress "$@"; }
spec() { printf '%s\n' "$1${2:+=$2}"; }
has() {
  apk info -e -- "$1" >/dev/null 2>&1 || return 1
  # shellcheck disable=SC2254
  [ -z "$2" ] || case "$(apk list -I -- "$1" 2>/dev/null | head -n 1)" in "$1"-$2\ *) ;; *) return 1;; esac
}
fresh() { [ -n "$(find /var/cache/apk /etc/apk/cache -name 'APKINDEX*' -mmin "-$list_age" 2>/dev/null | head -n 1)" ]; }
refresh() { work update || fail "the package lists cannot be updated"; }
unknown() {
  apk add --simulate --no-interactive --wait "$lock_timeout" -- "$@" >"$scratch/said" 2>&1 && return 1
  grep -A 9 -iE 'unable to select|no such package|breaks' "$scratch/said" | head -n 5
}
install() { work add -- "$@"; }
remove() { work del ${purge:+--purge} -- "$@"; }
tidy() { :; }
upgrade() { if [ -n "$full" ]; then work upgrade --available; else work upgrade; fi; }
hold() { fail "hold is not there for apk: name the version instead"; }
is_held() { return 1; }
]==]

return M
