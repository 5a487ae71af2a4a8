--- What does not belong into an image, taken away as the last step: caches, logs, identities, history; then the unused blocks
--- are given back, so that the image is small.
---
---     local cleanup = require "std.cleanup"
---     vm:apply(cleanup.all())

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"

local M = {}

local BEGIN = [==[
need_scratch
[ -w /var ] || fail "/var cannot be written to" "the machine's root may be mounted read-only"
# Kibibytes on the file systems that are looked at, each counted once.
used() { df -Pk / /var /var/log /home 2>/dev/null | sed 1d | sort -u | { all=0; while read -r _ _ kib _; do all=$((all + kib)); done; echo "$all"; }; }
# Removes what is there of some paths: WHAT PATH…
wipe() {
  what=$1 some=
  shift
  for path; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    rm -rf -- "$path" && some=yes
  done
  [ -z "$some" ] || changed "removed $what"
}
# Removes all files in some folders: WHAT FOLDER…
sweep() {
  what=$1
  shift
  for folder; do
    [ ! -d "$folder" ] || find "$folder" -xdev -type f ! -name lock -print -exec rm -f {} +
  done >"$scratch/swept"
  [ ! -s "$scratch/swept" ] || changed "removed $what ($(wc -l <"$scratch/swept") files)"
}
sync
before=$(used)
]==]

-- In the order in which they are done.
local PARTS = {
  { "packages", [==[
sweep "package caches and lists" /var/lib/apt/lists /var/cache/apt /var/cache/dnf /var/cache/yum /var/cache/libdnf5 /var/cache/zypp \
  /var/cache/apk /var/cache/PackageKit
]==] },
  { "cloud_init", [==[
if have cloud-init && [ -d /var/lib/cloud/instances ]; then
  cloud-init clean --logs >/dev/null && rm -rf /var/lib/cloud/instances || fail "cloud-init clean has failed"
  changed "reset cloud-init"
fi
]==] },
  { "ssh_host_keys", [==[
set -- /etc/ssh/ssh_host_*key*
if [ -e "$1" ]; then
  # An image without keys needs something that makes them at its first boot; cloud-init does so only where it finds a seed.
  maker=
  for unit in ssh-hostkey.service sshd-keygen.target rimg-ssh-host-keys.service; do
    ! systemctl cat "$unit" >/dev/null 2>&1 || maker=$unit
  done
  if [ -d /run/systemd/system ] && [ -z "$maker" ]; then
    cat >/etc/systemd/system/rimg-ssh-host-keys.service <<'UNIT'
[Unit]
Description=Host keys of the SSH server
After=cloud-init.service
Before=ssh.service sshd.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
    systemctl --quiet enable rimg-ssh-host-keys.service || fail "the unit that makes host keys cannot be enabled"
  fi
  rm -f -- "$@"
  changed "removed SSH host keys"
fi
]==] },
  { "machine_id", [==[
if [ -s /etc/machine-id ]; then
  # Empty, not gone: systemd makes a new one at the next boot.
  : >/etc/machine-id || fail "/etc/machine-id cannot be emptied"
  changed "emptied the machine id"
fi
[ -L /var/lib/dbus/machine-id ] || wipe "D-Bus's machine id" /var/lib/dbus/machine-id
wipe "the random seed" /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
]==] },
  { "network", [==[
wipe "network leftovers" /etc/udev/rules.d/70-persistent-net.rules \
  /var/lib/dhcp/*.leases /var/lib/dhclient/*.lease* /var/lib/dhcpcd/*.lease /var/lib/NetworkManager/*.lease
]==] },
  { "history", [==[
for home in /root /home/*; do
  wipe "history in $home" "$home/.bash_history" "$home/.ash_history" "$home/.zsh_history" "$home/.python_history" "$home/.lesshst" \
    "$home/.viminfo" "$home/.wget-hsts" "$home/.sudo_as_admin_successful"
done
]==] },
  { "temporary", [==[
find /tmp /var/tmp -xdev -mindepth 1 -maxdepth 1 ! -path "$scratch" ! -name 'systemd-private-*' ! -name '.*-unix' \
  -print -exec rm -rf {} + >"$scratch/swept"
[ ! -s "$scratch/swept" ] || changed "removed temporary files"
]==] },
  -- What this very connection writes there is no change.
  { "logs", [==[
find /var/log -xdev -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' -o -name '*-20[0-9][0-9][0-9][0-9][0-9][0-9]' \) \
  -print -exec rm -f {} + >"$scratch/swept"
find /var/log -xdev -type f ! -path '/var/log/journal/*' -size +0c ! -name wtmp ! -name btmp ! -name lastlog -print >"$scratch/full"
while IFS= read -r log; do : >"$log"; echo "$log"; done <"$scratch/full" >>"$scratch/swept"
for log in wtmp btmp lastlog; do [ ! -s "/var/log/$log" ] || : >"/var/log/$log"; done
if have journalctl; then journalctl --quiet --rotate --vacuum-size=1K >/dev/null 2>&1 || :; fi
[ ! -s "$scratch/swept" ] || changed "emptied logs ($(wc -l <"$scratch/swept") files)"
]==] },
}

local END = [==[
sync
value freed "$(((before - $(used)) * 1024))"
trimmed=0 zeroed=0
# Zeroes are what qemu-img and compression make nothing of.
zero() {
  room=$(df -Pk "$1" | { read -r _; read -r _ _ _ free _; echo "$free"; })
  dd if=/dev/zero of="$1/.rimg-zero" bs=1M 2>/dev/null
  sync
  rm -f -- "$1/.rimg-zero"
  zeroed=$((zeroed + room * 1024))
}
if [ -n "$trim" ]; then
  seen=
  while read -r source at kind opts _; do
    case $source in /dev/*) ;; *) continue;; esac
    case $kind in ext[234]|xfs|btrfs|f2fs|vfat) ;; *) continue;; esac
    case ",$opts," in *,ro,*) continue;; esac
    # Each once, however often it is mounted.
    case " $seen " in *" $source "*) continue;; esac
    seen="$seen $source"
    if [ "$trim" != zero ] && have fstrim && said=$(fstrim -v "$at" 2>/dev/null); then
      bytes=$(printf '%s\n' "$said" | sed -n 's/.*[( ]\([0-9][0-9]*\) bytes.*/\1/p')
      trimmed=$((trimmed + ${bytes:-0}))
    elif [ "$trim" = discard ]; then
      fail "the disk below $at does not take discards" "with trim = \"auto\" its free space is filled with zeroes instead"
    else
      zero "$at"
    fi
  done </proc/self/mounts
  sync
fi
value trimmed "$trimmed"
value zeroed "$zeroed"]==]

local function megabytes(bytes) return ("%.1f MB"):format(bytes / 1e6) end

--- All of it, but for what is switched off.
function M.all(given)
  local specification = { trim = { "string", "boolean", default = "auto" } }
  for _, part in ipairs(PARTS) do specification[part[1]] = { "boolean", default = true } end
  local o = options.check("cleanup.all", given, specification)
  if o.trim == true then o.trim = "auto" end
  if o.trim then options.one_of("cleanup.all: option `trim`", o.trim, { "auto", "discard", "zero" }) end
  local pieces = { guest.assign({ "trim" }, o), BEGIN }
  for _, part in ipairs(PARTS) do
    if o[part[1]] then pieces[#pieces + 1] = part[2] end
  end
  pieces[#pieces + 1] = END
  return guest.provisioner("cleanup.all", function(vm)
    local result = guest.run(vm, "cleanup.all", pieces)
    for _, name in ipairs { "freed", "trimmed", "zeroed" } do
      -- What other programs wrote meanwhile is no loss.
      result[name] = math.max(0, math.tointeger(tonumber(result.values[name] or 0)))
    end
    if result.values.freed then
      rimg.log.info(("cleanup: %s removed, %s of unused space given back"):format(
        megabytes(result.freed), megabytes(result.trimmed + result.zeroed)))
    end
    return result
  end)
end

return M
