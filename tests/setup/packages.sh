# Sourced by the set-up scripts: `need PROGRAM PACKAGE` and `need_file FILE PACKAGE` note what is missing,
# `install_needed` installs it by apt.

say() { printf '\n==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
needed=

on_debian() { command -v apt-get >/dev/null 2>&1; }

have() {
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]
}

need() {
  have "$1" || needed="$needed $2"
}

need_file() {
  [ -e "$1" ] || needed="$needed $2"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo --preserve-env=DEBIAN_FRONTEND "$@"
  else die "this needs root: run as root, or install sudo. Wanted: $*"
  fi
}

# Mirrors have bad moments: three attempts, a little later each.
patiently() {
  for pause in 5 20 0; do
    if "$@"; then return 0; fi
    [ "$pause" = 0 ] || { say "That failed; again in $pause seconds."; sleep "$pause"; }
  done
  return 1
}

apt_install() { as_root apt-get install --yes --no-install-recommends -o Acquire::Retries=3 "$@"; }

# A machine with parts of a package family from elsewhere (backports, another suite) cannot install the rest from its
# archive: then the whole family is taken in the archive's versions, downgrading what is there.
apt_install_downgrading() {
  wanted=
  for package in "$@"; do
    case $package in -*) wanted="$wanted $package"; continue ;; esac
    wanted="$wanted $package"
    source=$(apt-cache show "$package" 2>/dev/null | awk '/^Source:/ { print $2; exit }')
    for installed in $(dpkg-query --show --showformat '${source:Package}=${Package}\n' | sed -n "s/^${source:-$package}=//p"); do
      # The newest version that an archive has, not the one that is only installed here.
      version=$(apt-cache madison "$installed" | awk -F' *[|] *' 'NR == 1 { print $2 }')
      [ -z "$version" ] || wanted="$wanted $installed=$version"
    done
  done
  # Word splitting is meant: a list of packages.
  # shellcheck disable=SC2086
  apt_install --allow-downgrades $wanted
}

install_needed() {
  [ -n "$needed" ] || return 0
  if ! on_debian; then
    die "missing here, to be installed by hand (their Debian names):$needed"
  fi
  say "Installing:$needed"
  patiently as_root apt-get update -o Acquire::Retries=3
  # What is there may be needed, too: apt would rather remove a qemu-utils of backports than refuse an older QEMU beside it.
  # shellcheck disable=SC2086
  apt_install --no-remove $needed || {
    say "apt cannot do that with what is installed; trying again with the archive's own versions."
    # shellcheck disable=SC2086
    apt_install_downgrading --no-remove $needed || patiently apt_install $needed
  } || die "could not install$needed"
  needed=
}
