---@meta std.cleanup

--- What does not belong into an image, taken away as the last step.
---@class std.cleanup
local cleanup = {}

---@class std.cleanup.Options
---@field packages boolean? Package caches and lists. Default: true.
---@field cloud_init boolean? Cloud-init's state, so that it runs anew. Default: true.
---@field ssh_host_keys boolean? The SSH server's keys; where nothing makes new ones at the next boot, a unit of ours does. Default: true.
---@field machine_id boolean? The machine id, emptied, and the random seed. Default: true.
---@field network boolean? Names of network cards that udev keeps, and DHCP leases. Default: true.
---@field history boolean? What shells and editors remember in homes. Default: true.
---@field temporary boolean? What is in `/tmp` and `/var/tmp`. Default: true.
---@field logs boolean? Logs, emptied; old ones removed. Default: true.
---@field trim ("auto"|"discard"|"zero"|boolean)? How unused space is given back: `"auto"` discards it where the disk can, and fills it with zeroes where it cannot; false: not at all. Default: `"auto"`.

---@class std.cleanup.Result : std.Result
---@field freed integer Bytes of files that were removed.
---@field trimmed integer Bytes of unused space that were discarded.
---@field zeroed integer Bytes of unused space that were filled with zeroes.

--- All of it, but for what is switched off. New SSH connections may be refused afterwards, for want of host keys.
---
--- ```lua
--- vm:apply(cleanup.all())
--- local image = vm:finish { output_directory = "out/web" }
--- ```
---@param options std.cleanup.Options?
---@return std.Provisioner
function cleanup.all(options) end

return cleanup
