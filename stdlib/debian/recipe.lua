--- The shell scripts that mmdebstrap runs over the tree it makes. They run as root of the tree: of the host, or of a
--- user namespace, where nothing outside the tree may be written. They are given their values as environment variables.

local M = {}

--- Part of what the cache's keys are made of: a new number wherever a change here changes the image.
M.version = 1

--- Before any package but the essential ones: what must be there when the kernel's package makes its initrd.
--- A list of disk drivers in place of all that the kernel has: smaller, and as much faster to boot. They are only put
--- there (a hook, not the list in `modules`, which loads all that it names).
M.essential = [==[
set -eu
root=$1
mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=3\n' >"$root/etc/initramfs-tools/conf.d/image"
cat >"$root/etc/initramfs-tools/hooks/disk-drivers" <<'HOOK'
#!/bin/sh
[ "${1:-}" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_scsi nvme ahci ata_piix sd_mod ext4 crc32c_generic \
  xen_blkfront hv_storvsc vmw_pvscsi mptspi mptsas megaraid_sas
HOOK
chmod 755 "$root/etc/initramfs-tools/hooks/disk-drivers"
]==]

--- After all packages: settings, users, boot loader, and the disk itself.
M.customize = [==[
set -eu
root=$1
stage() { echo "I: $*" >&2; }
in_root() {
  chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

stage "setting up host name, network and SSH..."
# What mmdebstrap was told for this host only.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
printf '%s\n' "$RIMG_HOSTNAME" >"$root/etc/hostname"
cat >"$root/etc/hosts" <<HOSTS
127.0.0.1	localhost
127.0.1.1	$RIMG_HOSTNAME
::1		localhost ip6-localhost ip6-loopback
ff02::1		ip6-allnodes
ff02::2		ip6-allrouters
HOSTS
printf 'UUID=%s / ext4 defaults,noatime,x-systemd.growfs 0 1\n' "$RIMG_ROOT_UUID" >"$root/etc/fstab"
# Empty, not "uninitialized": an id of its own at the first boot, without systemd's whole first-boot ceremony.
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"

# DHCP on whatever the network device is called.
mkdir -p "$root/etc/systemd/network" "$root/etc/repart.d"
cat >"$root/etc/systemd/network/80-dhcp.network" <<'NETWORK'
[Match]
Type=ether

[Network]
DHCP=yes
NETWORK
# The root partition and its file system (fstab: growfs) fill a disk that was made larger.
printf '[Partition]\nType=root\n' >"$root/etc/repart.d/50-root.conf"

# One host key, made at the first boot: an RSA key alone would take seconds on an emulated processor.
rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/systemd/system/ssh-hostkey.service" <<'UNIT'
[Unit]
Description=Host key of the SSH server
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -C "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
RequiredBy=ssh.service
UNIT
in_root systemctl --quiet enable ssh-hostkey.service ssh.service systemd-networkd.service
# Nothing here waits for the network, and nothing here is LVM.
in_root systemctl --quiet mask systemd-networkd-wait-online.service
in_root systemctl --quiet disable e2scrub_reap.service 2>/dev/null || true
if [ -e "$root/lib/systemd/systemd-resolved" ]; then
  in_root systemctl --quiet enable systemd-resolved.service
  ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
fi

if [ -n "$RIMG_USERS" ]; then
  stage "adding users..."
  eval "$RIMG_USERS"
fi
if [ -n "$RIMG_COMMANDS" ]; then
  stage "running commands..."
  in_root sh -eux -c "$RIMG_COMMANDS"
fi

stage "making the boot loader..."
# One fixed entry over the links that the kernel's packages keep: right after an upgrade too, with nothing to regenerate.
mkdir -p "$root/boot/grub" "$root/boot/.image"
cat >"$root/boot/grub/grub.cfg" <<CFG
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
menuentry "Debian" {
  linux /vmlinuz root=UUID=$RIMG_ROOT_UUID ro console=tty0 console=ttyS0,115200 $RIMG_CMDLINE
  initrd /initrd.img
}
CFG
cat >"$root/boot/.image/early.cfg" <<CFG
search.fs_uuid $RIMG_ROOT_UUID root
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
CFG
in_root grub-mkimage -O i386-pc -o /boot/.image/core.img -c /boot/.image/early.cfg -p /boot/grub \
  biosdisk part_gpt part_msdos ext2 search search_fs_uuid normal configfile linux serial terminal \
  test echo halt reboot ls cat minicmd

# The disk is an open file without a name in the tree: nothing to copy into itself, nothing to leave behind.
stage "partitioning the disk..."
: >"$root/boot/.image/disk"
truncate -s "$RIMG_DISK_BYTES" "$root/boot/.image/disk"
in_root sfdisk --quiet --no-reread /boot/.image/disk <<TABLE
label: gpt
label-id: $RIMG_DISK_UUID
first-lba: 34
14: start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=bios
1: start=4096, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$RIMG_PART_UUID, name=root
TABLE
sectors=$(in_root sfdisk --dump /boot/.image/disk | sed -n 's/.*start= *4096, size= *\([0-9]*\),.*/\1/p')
# boot.img, in the MBR, loads the first sector of core.img, which has the list of where the rest is. Both addresses are
# 64-bit little-endian sector numbers, below 65536 here.
le64() { printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $(($1 >> 8 & 255)))\\0\\0\\0\\0\\0\\0"; }
put() { dd of="$root/boot/.image/disk" conv=notrunc status=none "$@"; }
le64 2049 | dd of="$root/boot/.image/core.img" bs=1 seek=500 conv=notrunc status=none
put if="$root/usr/lib/grub/i386-pc/boot.img" bs=440 count=1
le64 2048 | put bs=1 seek=92
put if="$root/boot/.image/core.img" bs=512 seek=2048
exec 9<>"$root/boot/.image/disk"
rm -r "$root/boot/.image"

stage "making the file system..."
find "$root/var/lib/apt/lists" "$root/var/cache/apt" "$root/var/log" -type f -delete
# What keeps services from starting on this host would keep those that are installed later from starting in the machine.
rm -f "$root/usr/sbin/policy-rc.d"
[ ! -e "$root/sbin/start-stop-daemon.REAL" ] || mv -f "$root/sbin/start-stop-daemon.REAL" "$root/sbin/start-stop-daemon"
# /proc, /sys and /dev may be mounted in the tree: a mount namespace without them shows what is really there.
own=
if unshare --mount true 2>/dev/null; then own="unshare --mount"; fi
$own sh -eu -c '
  root=$1
  [ -z "$2" ] || awk -v root="$root/" "index(\$2, root) == 1 { print length(\$2), \$2 }" /proc/mounts | sort -rn |
    while read -r _ at; do umount -l "$at" 2>/dev/null || true; done
  shift 2
  exec "$@"
' sh "$root" "$own" \
  mke2fs -q -F -t ext4 -O ^metadata_csum_seed -m 1 -L root -U "$RIMG_ROOT_UUID" \
  -E offset=$((4096 * 512)),assume_storage_prezeroed=1 -d "$root" /proc/self/fd/9 $((sectors / 2))k

stage "converting to qcow2..."
# The tree is on the disk now; this copy of it only has to carry the image out.
qemu-img convert -f raw -O qcow2 $RIMG_CONVERT /proc/self/fd/9 "$root/image.qcow2"
]==]

return M
