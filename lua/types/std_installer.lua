---@meta std.installer

--- Unattended installations: one table becomes the answers that a release's installer reads, and what is typed to have them
--- read.
---@class std.installer
local installer = {}

---@class std.installer.Options
---@field release string What is installed: `debian-12`, `ubuntu-24.04`, `rocky-9`, `alpine-3.20`, `opensuse-leap-15.6`, … An error lists what there is. Required.
---@field via ("http"|"cd")? How the answers reach the installer. Default: the first that docs/std/installer.md lists for the format.
---@field firmware ("bios"|"efi")? The machine's firmware: the disk's layout and what is typed depend on it. Default: `"bios"`.
---@field locale string? Language and country. Default: `"en_US.UTF-8"`.
---@field keyboard string? The layout, by the names that rimg.qemu's `keyboard_layout` has, and `nl`. Default: `"us"`.
---@field timezone string? Default: `"Etc/UTC"`.
---@field hostname string? With or without a domain. Default: the distribution's name.
---@field mirror string? Where packages come from, a URL. Default: the distribution's own, or the medium.
---@field disk std.installer.Disk? Default: one partition for all.
---@field users std.installer.User[]? Default: none, and then `root` must be able to log in.
---@field root std.installer.Login? Default: no password opens root.
---@field packages string[]? What is installed besides the least. Default: none.
---@field ssh_server boolean? Default: true.
---@field network std.installer.Network? What the installed system has; the installation itself uses DHCP. Default: DHCP.
---@field late_commands string[]? Shell commands, run as root in the installed system before it boots; the first that fails ends the installation. Default: none.
---@field kernel_parameters string? More of them for the installer's kernel. Default: none.

---@class std.installer.Login
---@field password string? It is hashed (SHA-512 crypt); the salt depends on release, host name and user, so that the answers are the same in each run.
---@field password_hash string? As `/etc/shadow` holds it, in its place: `openssl passwd -6`.
---@field ssh_authorized_keys string[]? Public keys; `"{{ .SSHPublicKey }}"` stands for rimg's temporary one. Default: none.

---@class std.installer.User : std.installer.Login
---@field name string Required.
---@field sudo boolean? Whether it may do everything by sudo without a password. Default: false.
---@field groups string[]? Further groups; those that are not there are made. Default: none.
---@field comment string? The full name.
---@field shell string? Default: `/bin/bash`; Alpine's `/bin/ash`.

--- A disk of which everything is overwritten. What the boot loader needs (`/boot/efi`; `/boot` with LVM) is added.
---@class std.installer.Disk
---@field device string? Default: `"/dev/vda"`, QEMU's first.
---@field size rimg.Size? How large it is, where that is known: what does not fit is an error at once. Also `disk_size` of `answers:machine` is looked at.
---@field filesystem ("ext4"|"ext3"|"ext2"|"xfs"|"btrfs")? Of what names none. Default: xfs for the RHEL family, else ext4.
---@field partitions std.installer.Volume[]? Default: one for `/`, or none with LVM.
---@field lvm (boolean|std.installer.Lvm)? Whether the rest of the disk belongs to LVM, and its volumes. Default: false.
---@field encryption { passphrase: string }? Encrypts LVM's part with LUKS. Default: none.

---@class std.installer.Volume
---@field mount string A path, or `"swap"`. Required.
---@field size rimg.Size? Default: the rest, for one of them.
---@field filesystem string? Default: the disk's.

---@class std.installer.Lvm
---@field group string? The volume group. Default: `"vg0"`.
---@field volumes std.installer.LogicalVolume[]? Default: one for `/`.

---@class std.installer.LogicalVolume : std.installer.Volume
---@field name string? Default: `root`, `swap`, or the path with `_` for `/`.

---@class std.installer.Network
---@field interface string `"ens3"`. Required.
---@field address string IPv4 with the length of the network: `"192.0.2.10/24"`. Required.
---@field gateway string? Default: none.
---@field dns string[]? Name servers. Default: none.

---@class std.installer.Answers
---@field files table<string, string> The answers by their file names, with placeholders.
---@field kernel_parameters string What the installer's kernel must be told, for a boot command of one's own.
---@field options table The options of `rimg.qemu` with which the installer finds them: `boot_command`, `http_content` or `cd_content`, `efi_boot`.
---@field layout table The disk's layout with all that was added to it, sizes in MiB.
local Answers = {}

--- Returns options of `rimg.qemu` with the answers in them; what is given comes first.
---@param options rimg.QemuOptions
---@return rimg.QemuOptions
function Answers:machine(options) end

--- Returns the answers for a release's installer.
---@param options std.installer.Options
---@return std.installer.Answers
function installer.answers(options) end

return installer
