---@meta

---@class rimg
local rimg = {}

--- Options of `rimg.host`; `ssh_host` and `ssh_username` are required.
---@class rimg.HostOptions: rimg.SshOptions
---@field name string? The machine's name in output. Default: `ssh_host`.

--- Takes an existing machine into use, over SSH. It is left as it is: nothing is started, and at the end nothing is
--- removed. `vm:shutdown` needs a `command`; there is no `vm:finish`.
---
--- ```lua
--- local vm = rimg.host { ssh_host = "192.0.2.7", ssh_username = "root", ssh_private_key_file = "~/.ssh/id_ed25519" }
--- ```
---@async
---@param opts rimg.HostOptions
---@return rimg.Machine
function rimg.host(opts) end

---@class rimg.LocalhostOptions
---@field name string? The machine's name in output. Default: `localhost`.

--- Takes this very machine into use. Commands run in the Lua script's folder; it cannot be rebooted or shut down.
---@async
---@param opts rimg.LocalhostOptions?
---@return rimg.Machine
function rimg.localhost(opts) end
