---@meta std.cloudinit

--- cloud-init: seeds for a machine's first boot, and waiting until it is done with them.
---@class std.cloudinit
local cloudinit = {}

---@class std.cloudinit.WaitOptions
---@field timeout (string|integer)? How long it may take: `"90s"`, `"20m"`, or seconds. Default: `"20m"`.
---@field check boolean? Whether errors of cloud-init's are an error here. Default: true.
---@field strict boolean? Whether errors that it calls recoverable (since 23.4) are one as well. Default: false.

---@class std.cloudinit.Result : std.Result
---@field status "done"|"degraded"|"error"|"disabled" How it ended; `degraded` where there are only recoverable errors.
---@field datasource string Where its seed came from: `DataSourceNoCloud [seed=/dev/sr0]`; empty where it is disabled.
---@field errors string[] Its errors, as it says them.
---@field recoverable string[] Those that it calls recoverable.
---@field warnings string[] The last warnings and errors of `/var/log/cloud-init.log`: the modules' own words.
---@field output string The last 25 lines that commands and modules wrote.

--- Waits until cloud-init is done with the boot. Its errors are an error, with what the modules that failed say and
--- the last lines of their output. Applying it returns a `std.cloudinit.Result`.
---@param options std.cloudinit.WaitOptions?
---@return std.Provisioner
function cloudinit.wait(options) end

---@class std.cloudinit.SeedOptions
---@field hostname string? With or without a domain. Default: as it is.
---@field instance_id string? Default: a new one for each machine.
---@field users std.installer.User[]? Default: none besides the image's.
---@field default_user boolean? Whether the image's own user (`debian`, `ubuntu`) is made beside `users`. Default: true.
---@field root std.installer.Login? Default: as it is.
---@field locale string? `"en_US.UTF-8"`. Default: as it is.
---@field timezone string? `"Europe/Berlin"`. Default: as it is.
---@field packages string[]? Packages to install. Default: none.
---@field upgrade boolean? Whether all packages are upgraded. Default: false.
---@field files std.cloudinit.File[]? Files to write. Default: none.
---@field commands (string|string[])[]? Commands to run at the first boot: lines for a shell, or a program and its arguments. Default: none.
---@field network std.installer.Network? Default: DHCP.
---@field cloud_config table? Anything else of cloud-init's, by its own names. Default: nothing.

---@class std.cloudinit.File
---@field path string Absolute. Required.
---@field content string Any bytes. Required.
---@field owner string? `user` or `user:group`; also one of `users`. Default: root.
---@field mode string? Permission bits as an octal string. Default: `"0644"`.

---@class std.cloudinit.Seed
---@field user_data table? For `rimg.qemu`'s option of that name, as the others.
---@field meta_data table?
---@field network_config table?

--- Returns user data, metadata and network configuration for `rimg.qemu`; nil where there is nothing to say.
---@param options std.cloudinit.SeedOptions
---@return std.cloudinit.Seed
function cloudinit.seed(options) end

return cloudinit
