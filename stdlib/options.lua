--- Checks a module's option table the way rimg checks its own: unknown names, wrong types, missing values.
--
--     local options = require "std.options"
--     local o = options.check("debian.bootstrap", given, {
--       suite    = { "string", default = "bookworm" },
--       packages = { "list", default = {} },
--       size     = { "size", "number" },                -- any of several types
--       state    = { "string", one_of = { "present", "absent" }, default = "present" },
--     })

local rimg = require "rimg"

local M = {}

local function edit_distance(a, b)
  local previous = {}
  for j = 0, #b do previous[j] = j end
  for i = 1, #a do
    local current = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      current[j] = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost)
    end
    previous = current
  end
  return previous[#b]
end

--- Returns the name that is most like `name`, if one is near enough to be what was meant.
function M.nearest(name, names)
  local best, distance = nil, math.max(2, #name // 3) + 1
  for _, candidate in ipairs(names) do
    local d = edit_distance(name, candidate)
    if d < distance then best, distance = candidate, d end
  end
  return best
end

local function is_list(value)
  if type(value) ~= "table" then return false end
  local n = 0
  for _ in pairs(value) do n = n + 1 end
  return n == #value
end

local matches = {
  string  = function(v) return type(v) == "string" end,
  boolean = function(v) return type(v) == "boolean" end,
  number  = function(v) return type(v) == "number" end,
  table   = function(v) return type(v) == "table" end,
  -- A machine, an artifact, a client.
  object  = function(v) return type(v) == "userdata" end,
  list    = is_list,
  ["function"] = function(v) return type(v) == "function" end,
  strings = function(v)
    if not is_list(v) then return false end
    for _, item in ipairs(v) do if type(item) ~= "string" then return false end end
    return true
  end,
  integer = function(v) return type(v) == "number" and v == math.floor(v) end,
  -- Of the machine, where a relative path would depend on who runs what.
  path    = function(v) return type(v) == "string" and v:match("^/") ~= nil and not v:find("%c") end,
  mode    = function(v) return type(v) == "string" and v:match("^[0-7][0-7][0-7][0-7]?$") ~= nil end,
  -- "4G", "512M", or mebibytes, as everywhere in rimg.
  size    = function(v)
    if type(v) == "number" then return v > 0 and v == math.floor(v) end
    return type(v) == "string" and v:match("^%d+%s*[KkMmGgTt]?[Ii]?[Bb]?$") ~= nil
  end,
  -- "90s", "20m", "1h30m", "30d", or seconds, as everywhere in rimg.
  duration = function(v) return M.seconds(v) ~= nil end,
}

local described = {
  string = "a string", boolean = "true or false", number = "a number", table = "a table", list = "a list", object = "an object of rimg's",
  ["function"] = "a function",
  strings = "a list of strings", duration = 'a duration such as "20m" or "30d"', size = 'a size such as "4G"', integer = "a whole number",
  path = "an absolute path", mode = 'permission bits as an octal string such as "0644"',
}

local function shown(value)
  if type(value) == "string" then return ("the string %q"):format(value) end
  if type(value) == "table" then return is_list(value) and "a list" or "a table" end
  return ("the %s %s"):format(type(value), tostring(value))
end

--- Raises an error unless the value is one of a list; without a list any is.
function M.one_of(what, value, list)
  if not list then return end
  for _, known in ipairs(list) do
    if known == value then return end
  end
  local near = type(value) == "string" and M.nearest(value, list)
  rimg.fail(("%s: expected one of %s, got %s"):format(what, table.concat(list, ", "), shown(value)), {
    hint = near and { ("did you mean %q?"):format(near) } or {},
  })
end

--- Returns the options with defaults filled in, or raises an error that names the option.
function M.check(what, given, specification)
  if given == nil then given = {} end
  if type(given) ~= "table" then
    rimg.fail(("%s: expected a table of options, got %s"):format(what, shown(given)))
  end
  local names = {}
  for name in pairs(specification) do names[#names + 1] = name end
  table.sort(names)
  for name in pairs(given) do
    if specification[name] == nil then
      local hints = {}
      local near = type(name) == "string" and M.nearest(name, names)
      if near then hints[1] = ("did you mean `%s`?"):format(near) end
      hints[#hints + 1] = "its options are: " .. table.concat(names, ", ")
      rimg.fail(("%s: unknown option `%s`"):format(what, tostring(name)), { hint = hints })
    end
  end
  local result = {}
  for _, name in ipairs(names) do
    local spec, value = specification[name], given[name]
    if value == nil then
      if spec.required then rimg.fail(("%s: option `%s`: is required"):format(what, name)) end
      value = spec.default
    else
      local accepted, expected = false, {}
      for _, kind in ipairs(spec) do
        accepted = accepted or matches[kind](value)
        expected[#expected + 1] = described[kind]
      end
      if not accepted then
        rimg.fail(("%s: option `%s`: expected %s, got %s"):format(what, name, table.concat(expected, " or "), shown(value)))
      end
      M.one_of(("%s: option `%s`"):format(what, name), value, spec.one_of)
    end
    result[name] = value
  end
  return result
end

--- Returns a size option in bytes: "4G" is 4 GiB, a bare number is mebibytes.
function M.bytes(size)
  local number, unit = tostring(size):match("^(%d+)%s*(%a?)")
  local power = ({ [""] = 2, K = 1, M = 2, G = 3, T = 4, B = 0 })[unit:upper()]
  return math.tointeger(tonumber(number)) * 1024 ^ power // 1 | 0
end

local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }

--- Returns a duration option in seconds: "1h30m" is 5400, a bare number is seconds. Nil for what is no duration.
function M.seconds(duration)
  if type(duration) == "number" then return duration >= 0 and duration or nil end
  if type(duration) ~= "string" or duration == "" then return nil end
  if duration:match "^%d+%.?%d*$" then return tonumber(duration) end
  local total = 0
  local rest = duration:gsub("(%d+%.?%d*)(%a+)", function(number, unit)
    if not UNITS[unit] then return nil end
    total = total + tonumber(number) * UNITS[unit]
    return ""
  end)
  return rest == "" and total or nil
end

return M
