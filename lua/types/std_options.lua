---@meta std.options

--- Option tables of modules, checked as rimg checks its own.
---@class std.options
local options = {}

--- What an option may be: the kinds it accepts, then `default` or `required`.
---@class std.options.Option
---@field [integer] "string"|"boolean"|"number"|"table"|"object"|"function"|"list"|"strings"|"size"|"duration"|"integer"|"path"|"mode"
---@field default any The value where none is given.
---@field required boolean? Whether one must be given.
---@field one_of string[]? The only values it may have.

--- Returns the options with defaults filled in. An unknown name (with the nearest known one), a wrong type or a missing
--- value is an error that begins with `what`.
---@param what string What the options are of: `debian.bootstrap`.
---@param given table?
---@param specification table<string, std.options.Option>
---@return table<string, any>
function options.check(what, given, specification) end

--- Raises an error, which begins with `what`, unless the value is one of the list; without a list any is.
---@param what string
---@param value any
---@param list string[]?
function options.one_of(what, value, list) end

--- Returns a size in bytes: `"4G"` is 4 GiB, a bare number is mebibytes.
---@param size rimg.Size
---@return integer
function options.bytes(size) end

--- Returns a duration in seconds: `"1h30m"` is 5400, a bare number is seconds; nil for what is none.
---@param duration rimg.Duration
---@return number?
function options.seconds(duration) end

--- Returns the name that is most like `name`, if one is near enough to be what was meant.
---@param name string
---@param names string[]
---@return string?
function options.nearest(name, names) end

return options
