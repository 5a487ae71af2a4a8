-- Reads type annotations as the Lua language server understands them: classes with fields, aliases, functions.

local M = {}

-- Splits "TYPE DESCRIPTION": a type goes on inside brackets and quotes, and behind `:`, `,` and `|`.
local function split_type(text)
  local depth, quote, at = 0, nil, 1
  while at <= #text do
    local c = text:sub(at, at)
    if quote then
      if c == quote then quote = nil end
    elseif c == '"' or c == "`" then quote = c
    elseif c:match "[%(%[{<]" then depth = depth + 1
    elseif c:match "[%)%]}>]" then depth = depth - 1
    elseif c:match "%s" and depth == 0 then
      local before, after = text:sub(at - 1, at - 1), text:match("^%s*(.?)", at)
      if not before:match "[:,|]" and after ~= "|" then break end
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at):gsub("^%s+#?%s*", ""))
end

local function named(rest)
  local name, tail = rest:match "^(%[.-%]%??)%s+(.*)$"
  if not name then name, tail = rest:match "^(%S+)%s+(.*)$" end
  local type, text = split_type(tail or "")
  local optional = name:sub(-1) == "?" or type:sub(-1) == "?"
  type = type:gsub("%?$", "")
  if type:match "^%b()$" then type = type:sub(2, -2) end
  return { name = (name:gsub("%?$", "")), type = type, text = text, optional = optional }
end

--- Returns the items of a file in their order: `{ kind = "class"|"alias"|"function"|"value", name, doc, … }`.
function M.parse(text)
  local items, owners = {}, {}
  local doc, params, returns, class, alias = {}, {}, {}, nil, nil
  local function add(item)
    item.doc = table.concat(doc, "\n")
    table.insert(items, item)
    doc, params, returns = {}, {}, {}
    return item
  end
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
    if tag == "class" then
      local name, parents = rest:gsub("^%(exact%)%s*", ""):match "^([%w%._]+)%s*:?%s*(.*)$"
      class = add { kind = "class", name = name, fields = {}, parents = {} }
      for parent in parents:gmatch "[%w%._]+" do table.insert(class.parents, parent) end
    elseif tag == "field" then
      table.insert(class.fields, named(rest))
    elseif tag == "alias" then
      local name, type = rest:match "^(%S+)%s*(.*)$"
      alias = add { kind = "alias", name = name, type = type, values = {} }
    elseif tag == "param" then
      table.insert(params, named(rest))
    elseif tag == "return" then
      local type, what = split_type(rest)
      -- The name of a result; what it is stands behind a `#`.
      what = rest:find("#", 1, true) and what or ""
      table.insert(returns, { type = type, text = what })
    elseif line:match "^%-%-%-|" then
      local value, what = line:match '^%-%-%-|%s*(%S+)%s*#?%s*(.*)$'
      table.insert(alias.values, { name = value, text = what })
    elseif line:match "^%-%-%-" and not tag then
      table.insert(doc, (line:gsub("^%-%-%- ?", "")))
    elseif line:match "^local " then
      if class then owners[line:match "^local%s+([%w_]+)"] = class end
    elseif line:match "^function " then
      local owner, mark, name, arguments = line:match "^function ([%w_%.]-)([:%.])([%w_]+)%((.-)%)"
      local of = owners[owner]
      local whole = (of and mark == "." and of.name or owner) .. mark .. name
      if mark == ":" and of then of.object, whole = true, owner:lower() .. mark .. name end
      add { kind = "function", name = whole, arguments = arguments, params = params, returns = returns }
    elseif line:match "^[%a][%w_%.]*%s*=" then
      add { kind = line:match "=%s*{}" and "group" or "value", name = line:match "^([%w_%.]+)" }
    elseif line == "" then
      doc, params, returns = {}, {}, {}
    end
  end
  return items
end

return M
