---@meta std.naming

--- Names and tags of images by one convention, and by the rules of the platform that they are for.
---@class std.naming
local naming = {}

---@alias std.naming.Platform "amazon"|"azure"|"docker"|"file"|"google"|"openstack"|"vagrant"

---@class std.naming.Parts
---@field application string Required.
---@field layer string? `base`, `web`, … Default: none.
---@field version string? Default: none.
---@field date (string|boolean)? Default: the day the run began, as `20240501`; false for none.
---@field revision (string|boolean)? Default: the commit of the script's folder, with `.dirty` where tracked files have changes; false for none.
---@field platform std.naming.Platform? Whose rules hold. Default: `"file"`.
---@field separator string? Default: `"-"`.

--- Returns `application-layer-version-date-revision`, as far as they are known; an error where the platform does not take it.
--- For Google, capitals become small letters, and what it does not take becomes `-`.
---@async
---@param parts std.naming.Parts
---@return string
function naming.name(parts) end

--- Returns the same as a table of tags (labels), with `builder = "rimg"`, and for Amazon `Name`.
---@async
---@param parts std.naming.Parts
---@return table<string, string>
function naming.tags(parts) end

--- Returns the name, or raises an error that says what the platform takes.
---@param platform std.naming.Platform
---@param name string
---@return string
function naming.check(platform, name) end

return naming
