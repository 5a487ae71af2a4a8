--- The same work in several regions or accounts: side by side, repeated where it fails, and with what failed beside what did not.
---
---     local regions = require "std.regions"
---     local done = regions.each({ "eu-central-1", "us-east-1" }, { limit = 2, attempts = 3 }, function(region)
---       return copy_to(region)
---     end)

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local OPTIONS = {
  limit = { "integer" }, attempts = { "integer", default = 1 }, backoff = { "string", "number", default = "1s" },
  max_backoff = { "string", "number", default = "1m" }, on = { "strings" }, check = { "boolean", default = true },
}

--- Calls `fn(region)` for each; all are done, whatever becomes of the others.
function M.each(list, given, fn)
  if fn == nil then
    given, fn = {}, given
  end
  if type(list) ~= "table" or #list == 0 then
    rimg.fail("regions.each: expected a list of names, of one at least", { hint = 'regions.each({ "eu-central-1" }, function(region) … end)' })
  end
  if type(fn) ~= "function" then rimg.fail("regions.each: expected a function, got a " .. type(fn)) end
  local o = options.check("regions.each", given, OPTIONS)
  if o.attempts < 1 then rimg.fail("regions.each: option `attempts`: is less than 1") end
  local seen = {}
  for n, region in ipairs(list) do
    if type(region) ~= "string" then
      rimg.fail(("regions.each: name %d: expected a string, got a %s"):format(n, type(region)))
    elseif seen[region] then
      rimg.fail(("regions.each: %s is named twice"):format(region))
    end
    seen[region] = true
  end
  local found = { ok = true, results = {}, errors = {}, failed = {} }
  rimg.parallel(list, function(region)
    local ok, result = pcall(rimg.step, region, function()
      return rimg.retry({ attempts = o.attempts, backoff = o.backoff, max_backoff = o.max_backoff, on = o.on }, fn, region)
    end)
    if ok then found.results[region] = result else found.errors[region] = result end
  end, { limit = o.limit })
  -- In the order of the list, whichever was done first.
  local lines = {}
  for _, region in ipairs(list) do
    local err = found.errors[region]
    if err ~= nil then
      found.ok = false
      found.failed[#found.failed + 1] = region
      lines[#lines + 1] = ("  %s: %s"):format(region, type(err) == "userdata" and err.message or tostring(err))
    end
  end
  if not found.ok and o.check then
    rimg.fail(("%d of %d failed:\n%s"):format(#lines, #list, table.concat(lines, "\n")), {
      hint = "with check = false the results of the others are returned, and the errors beside them",
    })
  end
  return found
end

return M
