---@meta std.users

--- Users and groups of a machine. Each function returns a provisioner; applied again, it changes nothing.
---@class std.users
local users = {}

---@class std.users.GroupOptions
---@field name string Required.
---@field gid integer? Default: the next free one.
---@field system boolean? Whether its number is a system group's. Default: false.
---@field state ("present"|"absent")? Default: `"present"`.

--- A group.
---@param options std.users.GroupOptions
---@return std.Provisioner
function users.group(options) end

---@class std.users.UserOptions
---@field name string Required.
---@field uid integer? Default: the next free one.
---@field group string? The main group, which must be there. Default: the distribution's way.
---@field groups string[]? Further groups, which must be there; others that the user is in stay. Default: none.
---@field home string? Default: the distribution's way.
---@field create_home boolean? Default: true.
---@field shell string? Default: `/bin/bash` where it is there, for a new user.
---@field comment string? The full name. Default: as it is.
---@field system boolean? Whether the number of a new user is a system user's. Default: false.
---@field password string? The password. Without perl on the machine it cannot be compared, and is only set for a new user.
---@field password_hash string? As `/etc/shadow` holds it: `openssl passwd -6`.
---@field locked boolean? Whether no password lets in; keys do. Default: false, as it is.
---@field ssh_authorized_keys string[]? Public keys that may log in; others that are there stay. Default: none.
---@field exclusive_keys boolean? Whether other keys go. Default: false.
---@field sudo (boolean|string)? True for everything without a password, a rule such as `"ALL=(root) /usr/bin/systemctl"`, false for none of ours. Default: as it is.
---@field state ("present"|"absent")? Default: `"present"`.
---@field remove_home boolean? Whether the home folder goes with a user that is removed. Default: false.

--- A user.
---@param options std.users.UserOptions
---@return std.Provisioner
function users.user(options) end

return users
