---@meta std.vagrant

--- What makes an image one for Vagrant.
---@class std.vagrant
---@field public_keys string[] The public halves of Vagrant's well-known key pairs (RSA, Ed25519), which `vagrant up` replaces.
local vagrant = {}

---@class std.vagrant.UserOptions
---@field name string? Default: `"vagrant"`.
---@field password (string|boolean)? The password; false: none. Default: `"vagrant"`.
---@field keys string[]? Public keys that may log in; others that are there stay. Default: `vagrant.public_keys`.
---@field sudo (boolean|string)? As for `users.user`. Default: true, everything without a password.

--- The user that Vagrant logs in as. Sudo must be installed.
---
--- ```lua
--- vm:apply(vagrant.user())
--- ```
---@param options std.vagrant.UserOptions?
---@return std.Provisioner
function vagrant.user(options) end

---@class std.vagrant.GuestToolsOptions
---@field provider ("hyperv"|"libvirt"|"virtualbox"|"vmware")? Default: what the machine runs on now.

--- The tools that a provider wants in its guests, from the distribution's packages.
---@param options std.vagrant.GuestToolsOptions?
---@return std.Provisioner
function vagrant.guest_tools(options) end

return vagrant
