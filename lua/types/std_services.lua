---@meta std.services

--- Services of a machine: systemd and OpenRC. Each function returns a provisioner; applied again, it changes nothing.
---@class std.services
local services = {}

---@class std.services.ServiceOptions
---@field [integer] string The name.
---@field name string? The same. Required.
---@field enabled boolean? Whether it starts at boot. Default: as it is.
---@field running boolean? Whether it runs now; one that ends again within a second is an error. Default: as it is.
---@field masked boolean? Whether it cannot be started at all (systemd). Default: as it is.
---@field restart boolean? Whether it is restarted where it runs already; each time. Default: false.
---@field reload boolean? Whether it reads its configuration again; each time. Default: false.

--- A service as it should be.
---
--- ```lua
--- vm:apply(services.service { "nginx", enabled = true, running = true })
--- ```
---@param options std.services.ServiceOptions
---@return std.Provisioner
function services.service(options) end

---@class std.services.UnitOptions
---@field name string With its type: `web.service`. Required.
---@field content string? The unit; `systemd-analyze verify` must find it valid. Required where it is to be there.
---@field state ("present"|"absent")? Default: `"present"`.

--- A unit of systemd, in `/etc/systemd/system`.
---@param options std.services.UnitOptions
---@return std.Provisioner
function services.unit(options) end

return services
