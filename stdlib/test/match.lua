--- Whether what was found is what was expected, by goss's rules.

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local MATCHERS = {
  "equal", "not", "and", "or", "lt", "le", "gt", "ge", "have-prefix", "have-suffix", "contain-substring", "have-len",
  "contain-element", "contain-elements", "consist-of",
}

local function is_list(value) return type(value) == "table" and (#value > 0 or next(value) == nil) end

--- Shows a value in a message.
function M.shown(value)
  if type(value) ~= "table" then return tostring(value) end
  return rimg.json.encode(value)
end

--- Raises an error unless a value can be expected of that kind of attribute.
function M.check(what, kind, value)
  if kind == "boolean" and type(value) ~= "boolean" then
    rimg.fail(("%s: expected true or false, got %s"):format(what, M.shown(value)))
  end
  if kind == "text" then
    for _, one in ipairs(is_list(value) and value or { value }) do
      if type(one) ~= "string" then
        rimg.fail(("%s: expected text, /expressions/, or a list of them, got %s"):format(what, M.shown(one)))
      end
      M.patterns({ one })
    end
  elseif type(value) == "table" and not is_list(value) then
    for name, inner in pairs(value) do
      options.one_of(what .. ": the matcher", (tostring(name):gsub("_", "-")), MATCHERS)
      local inside = (name == "and" or name == "or") and inner or { inner }
      for _, one in ipairs(inside) do
        if type(one) == "table" and not is_list(one) then M.check(what, kind, one) end
      end
    end
  end
end

-- An expression of Go's for `grep -E`: the classes have other names there, also inside of brackets.
local CLASSES = { d = "[:digit:]", s = "[:space:]", w = "[:alnum:]_" }
local function extended(text)
  if text:find("%(%?") then
    rimg.fail(("the expression /%s/ has a group that begins with (?"):format(text), {
      hint = "expressions are the machine's grep -E: of these only (?i) at the beginning is known",
    })
  end
  local out, inside, n = {}, false, 1
  while n <= #text do
    local c = text:sub(n, n)
    if c == "\\" then
      local escaped = text:sub(n + 1, n + 1)
      local class = CLASSES[escaped:lower()]
      n = n + 1
      if class and escaped:match("%l") then
        out[#out + 1] = inside and class or "[" .. class .. "]"
      elseif class and not inside then
        out[#out + 1] = "[^" .. class .. "]"
      elseif inside then
        out[#out + 1] = escaped
      elseif escaped == "t" then
        out[#out + 1] = "\t"
      elseif escaped:match("[%w]") and escaped ~= "b" and escaped ~= "B" then
        rimg.fail(("the expression /%s/ has \\%s, which grep -E does not know"):format(text, escaped))
      else
        out[#out + 1] = "\\" .. escaped
      end
    else
      if inside then
        if c == "[" and text:sub(n + 1, n + 1) == ":" then
          local _, stop = text:find(":]", n + 2, true)
          if stop then
            c, n = text:sub(n, stop), stop
          end
        elseif c == "]" then
          inside = false
        end
      elseif c == "[" then
        inside = true
        local next_two = text:match("^%^?%]", n + 1)
        if next_two then
          c = c .. next_two
          n = n + #next_two
        end
      end
      out[#out + 1] = c
    end
    n = n + 1
  end
  return table.concat(out)
end

--- Returns what to look for in each line of a text: `foo`, `!foo`, `/expression/`, `!/expression/`.
function M.patterns(wanted)
  local list = {}
  for n, text in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    local negated = text:sub(1, 1) == "!"
    if negated then text = text:sub(2) elseif text:sub(1, 2) == "\\!" then text = text:sub(2) end
    local expression = text:match("^/(.*)/$")
    local flags = "-F"
    if expression then
      flags = "-E"
      if expression:sub(1, 4) == "(?i)" then
        expression, flags = expression:sub(5), "-iE"
      end
      text = extended(expression)
    end
    list[n] = { text = text, flags = flags, negated = negated }
  end
  return list
end

local function words(value)
  local list = {}
  for word in (value or ""):gmatch("%S+") do list[#list + 1] = word end
  return list
end

local function same(wanted, found)
  if type(wanted) == "number" then return tonumber(found) == wanted end
  return tostring(wanted) == found
end

local function holds(wanted, found)
  if type(wanted) ~= "table" then
    if type(found) == "table" then
      for _, one in ipairs(found) do
        if same(wanted, one) then return true end
      end
      return false
    end
    return found ~= nil and same(wanted, found)
  end
  if is_list(wanted) then
    for _, one in ipairs(wanted) do
      if not holds(one, found) then return false end
    end
    return true
  end
  local number = tonumber(found)
  local text = type(found) == "string" and found or ""
  for name, inner in pairs(wanted) do
    name = name:gsub("_", "-")
    local ok
    if name == "not" then ok = not holds(inner, found)
    elseif name == "equal" then ok = type(found) == "string" and same(inner, found)
    elseif name == "and" then ok = holds(inner, found)
    elseif name == "or" then
      ok = false
      for _, one in ipairs(inner) do ok = ok or holds(one, found) end
    elseif name == "lt" then ok = number and number < inner
    elseif name == "le" then ok = number and number <= inner
    elseif name == "gt" then ok = number and number > inner
    elseif name == "ge" then ok = number and number >= inner
    elseif name == "have-prefix" then ok = text:sub(1, #inner) == inner
    elseif name == "have-suffix" then ok = inner == "" or text:sub(-#inner) == inner
    elseif name == "contain-substring" then ok = text:find(inner, 1, true)
    elseif name == "have-len" then ok = type(found) == "table" and #found == inner
    elseif name == "contain-element" then ok = holds(inner, found)
    elseif name == "contain-elements" then ok = holds(inner, found)
    elseif name == "consist-of" then ok = type(found) == "table" and #found == #inner and holds(inner, found)
    end
    if not ok then return false end
  end
  return true
end

--- Tells whether an expectation holds, and what to say of it; `matched(k)` is whether a text has a line like pattern k.
function M.holds(kind, wanted, found, matched)
  if kind == "text" then
    local missing = {}
    for k, pattern in ipairs(M.patterns(wanted)) do
      if matched(k) == pattern.negated then missing[#missing + 1] = (type(wanted) == "table" and wanted or { wanted })[k] end
    end
    return #missing == 0, M.shown(#missing == 1 and missing[1] or missing), M.shown(found or "nothing")
  end
  if kind == "mode" and type(wanted) == "string" then wanted = wanted:gsub("^0+(.)", "%1") end
  if kind == "list" then found = words(found) end
  local shown = found
  if shown == nil then shown = "nothing" end
  return holds(wanted, found), M.shown(wanted), M.shown(shown)
end

return M
