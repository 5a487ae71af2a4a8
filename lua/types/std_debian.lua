---@meta std.debian

--- Debian disk images from nothing but packages.
---@class std.debian
local debian = {}

---@class std.debian.User
---@field name string The login name. Required. `root` is there already and may be given a password or keys.
---@field password string? Its password. Default: none, and no login by one.
---@field ssh_authorized_keys string[]? Public keys that may log in. Default: none.
---@field sudo boolean? Whether it may do everything by sudo without a password. Default: false.
---@field groups string[]? Further groups, which must exist. Default: none.
---@field shell string? Its login shell. Default: `/bin/bash`.

---@class std.debian.BootstrapOptions
---@field suite string? The release: `bookworm`, `trixie`, `sid`, … Default: `bookworm`.
---@field variant ("minbase"|"apt"|"important"|"standard")? mmdebstrap's variant: what is there before `packages`. Default: `minbase`.
---@field packages string[]? Packages to install. Default: none but what booting, network, SSH and sudo take.
---@field components string[]? Parts of the archive. Default: `main`.
---@field mirror (string|string[])? The archive's address, or whole `deb` lines. Default: what this host's own apt uses, with its updates and security archives where it has them.
---@field kernel string? The kernel's package. Default: `linux-image-cloud-amd64`, which is for virtual machines.
---@field kernel_parameters string? More of the kernel's command line. Default: `quiet`.
---@field hostname string? Default: `debian`.
---@field users std.debian.User[]? Users to add. Default: none, and nobody can log in.
---@field commands string[]? Shell lines to run as root in the finished tree, before its disk is made. Default: none.
---@field disk_size rimg.Size? The disk's size; root fills it, and grows with it when it is booted on a larger one. Default: `4G`.
---@field compress boolean? Whether the image's clusters are compressed. Default: false.
---@field output string? Where to put a copy of the image. Default: none; the artifact is the cached image, to be used as `source_image`.
---@field max_age integer? Seconds for which an image that was made before is taken without asking the mirror. Default: 0.

--- Makes a bootable Debian disk image (qcow2; amd64, BIOS, GPT, ext4, serial console, DHCP on any network device, OpenSSH), or finds it in
--- the cache. What went in decides: the options, the recipe, and the package lists of the mirror at the time. It takes
--- mmdebstrap, mke2fs and qemu-img, about a minute, and no root where the host allows user namespaces.
---
--- ```lua
--- local image = debian.bootstrap { packages = { "nginx" }, users = { { name = "admin", password = "secret", sudo = true } } }
--- local vm = rimg.qemu { source_image = image, ssh_username = "admin", ssh_password = "secret" }
--- ```
---@param options std.debian.BootstrapOptions?
---@return rimg.Artifact
function debian.bootstrap(options) end

return debian
