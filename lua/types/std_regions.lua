---@meta std.regions

--- The same work in several regions or accounts.
---@class std.regions
local regions = {}

---@class std.regions.Options
---@field limit integer? How many at once. Default: all.
---@field attempts integer? How often each is tried. Default: 1.
---@field backoff rimg.Duration? The wait before the second attempt, doubled for each further one. Default: 1 s.
---@field max_backoff rimg.Duration? Default: 1 min.
---@field on string[]? The kinds of error that are worth another attempt. Default: all.
---@field check boolean? Whether a failure is an error at the end, with all of them. Default: true.

---@class std.regions.Result
---@field ok boolean
---@field results table<string, any> What the function returned, by region.
---@field errors table<string, any> Its error, by region.
---@field failed string[] The regions that failed, in the order of the list.

--- Calls `fn(region)` for each, side by side, each as a step of its own. One that fails stops no other.
---
--- ```lua
--- local done = regions.each({ "eu-central-1", "us-east-1" }, { attempts = 3, check = false }, function(region)
---   return rimg.http.get("https://images." .. region .. ".example.org/latest").status
--- end)
--- ```
---@async
---@generic T
---@param list string[]
---@param options std.regions.Options
---@param fn fun(region: string): T
---@return std.regions.Result
---@overload fun(list: string[], fn: fun(region: string): any): std.regions.Result
function regions.each(list, options, fn) end

return regions
