-- Writes docs/reference/ from lua/types/ and from what rimg says of its own commands, and lists its pages and those of the
-- standard library in SUMMARY.md:
--
--     rimg run docs/reference.lua

local rimg        = require "rimg"
local annotations = require "annotations"

local types = rimg.var("types", { default = "../lua/types", help = "the folder of the annotations" })
local out   = rimg.var("out", { default = ".", help = "the folder of SUMMARY.md; the pages go to reference/ in it" })

-- The pages of rimg itself in their order, with their titles; modules of the standard library follow.
local PAGES = {
  { "rimg", "Builds, variables, control flow" }, { "machine", "Machines" }, { "qemu", "rimg.qemu" }, { "amazon", "rimg.amazon" },
  { "ssh_host", "rimg.host, rimg.localhost" }, { "ssh", "SSH options" }, { "media", "Installation media" },
  { "console", "Boot commands" }, { "artifact", "Artifacts" }, { "host", "This host: programs, downloads, text" },
  { "fs", "rimg.fs" }, { "http", "rimg.http" }, { "data", "rimg.json, rimg.yaml, rimg.toml" }, { "units", "Durations and sizes" },
}

local pages, titled = {}, {}
for _, page in ipairs(PAGES) do
  table.insert(pages, { file = page[1], title = page[2] })
  titled[page[1]] = true
end
for _, path in ipairs(rimg.fs.glob(rimg.fs.join(types, "*.lua"))) do
  local file = rimg.fs.basename(path):match "^(.*)%.lua$"
  if not titled[file] then table.insert(pages, { file = file, title = file:gsub("^std_", "std."), std = file:match "^std_" }) end
end

-- Where each class and alias is described, and which classes are tables that a script writes.
local described, classes, written = {}, {}, {}
for _, page in ipairs(pages) do
  page.items = annotations.parse(rimg.fs.read(rimg.fs.join(types, page.file .. ".lua")))
  for _, item in ipairs(page.items) do
    if item.kind == "class" or item.kind == "alias" then
      local anchor = (item.kind .. "-" .. item.name:lower():gsub("%.", ""))
      if item.kind == "alias" or #item.fields > 0 or #item.parents > 0 or item.object then
        described[item.name] = described[item.name] or { page = page, anchor = anchor }
      end
      classes[item.name] = item
    end
  end
end

local function mark(type)
  for name in type:gsub("fun%b()", ""):gmatch "[%a_][%w_%.]*" do
    local class = classes[name]
    if class and class.kind == "class" and not class.object and not written[name] then
      written[name] = true
      for _, parent in ipairs(class.parents) do mark(parent) end
      for _, field in ipairs(class.fields) do mark(field.type) end
    end
  end
end
for _, page in ipairs(pages) do
  for _, item in ipairs(page.items) do
    for _, param in ipairs(item.params or {}) do mark(param.type) end
  end
end

local function link(name, from)
  local to = described[name]
  return ("[%s](%s#%s)"):format(name, to.page == from and "" or to.page.file .. ".md", to.anchor)
end

local function alternatives(type)
  local list, depth, start = {}, 0, 1
  for at = 1, #type + 1 do
    local c = type:sub(at, at)
    if c:match "[%(%[{<]" then depth = depth + 1 elseif c:match "[%)%]}>]" then depth = depth - 1 end
    if depth == 0 and (c == "|" or c == "") then
      table.insert(list, type:sub(start, at - 1))
      start = at + 1
    end
  end
  return list
end

-- Returns a type for people, and its values where it is nothing but a list of texts.
local function shown(type, page)
  local parts, literals = {}, {}
  for _, one in ipairs(alternatives(type)) do
    if one:match "^%b()$" then one = one:sub(2, -2) end
    local element = one:match "^([%w_%.]+)%[%]$"
    if one:match '^".*"$' then
      table.insert(literals, "`" .. one .. "`")
    elseif described[one] then
      table.insert(parts, link(one, page))
    elseif element then
      table.insert(parts, "list of " .. (described[element] and link(element, page) or "`" .. element .. "`"))
    else
      table.insert(parts, "`" .. one .. "`")
    end
  end
  -- Where a type has other alternatives as well, its literals stand among them.
  if #literals > 0 and #parts > 0 then
    table.move(literals, 1, #literals, #parts + 1, parts)
    literals = {}
  elseif #literals > 0 then
    parts = { "`string`" }
  end
  return table.concat(parts, " or "), literals
end

-- Takes "Default: VALUE." out of a description; the value ends at a full stop that is in no quotes or brackets.
local function default(text)
  local from, start = text:find "Default:? "
  if not from then return text, nil end
  local closing, depth = nil, 0
  for at = start + 1, #text do
    local c = text:sub(at, at)
    if closing then
      if c == closing then closing = nil end
    elseif c:match '[`"]' then closing = c
    elseif c == "(" then depth = depth + 1
    elseif c == ")" then depth = depth - 1
    elseif c == "." and depth == 0 and (at == #text or text:sub(at + 1, at + 1) == " ") then
      return (text:sub(1, from - 1) .. text:sub(at + 2)):gsub("%s+$", ""), text:sub(start + 1, at - 1)
    end
  end
  return text, nil
end

local function cell(text) return (text:gsub("|", "\\|")) end

local function fields(class, page, add)
  local options = written[class.name]
  if #class.fields > 0 then
    add(options and "| option | default | |\n|---|---|---|" or "| field | |\n|---|---|")
    for _, field in ipairs(class.fields) do
      local type, literals = shown(field.type, page)
      local text, value = field.text, nil
      if options then
        text, value = default(text)
        value = value or (field.name:match "^%[" and "" or field.optional and "none" or "required")
        text = text:gsub("%s*Required%.$", ""):gsub("^Required%.%s*", "")
      elseif field.optional then
        type = type .. " or `nil`"
      end
      if #literals > 0 then text = ("One of %s. %s"):format(table.concat(literals, ", "), text) end
      text = text:gsub("%s+$", "")
      local name = field.name:match "^%[" and "`[1]`, `[2]`, …" or "`" .. field.name .. "`"
      local first = name .. "<br>" .. type
      add(("| %s | %s%s |"):format(cell(first), options and cell(value) .. " | " or "", cell(text)))
    end
    add ""
  end
  if #class.parents > 0 then
    local list = {}
    for _, parent in ipairs(class.parents) do table.insert(list, link(parent, page)) end
    add(("%s those of %s.\n"):format(#class.fields > 0 and "And" or "Its options are", table.concat(list, ", ")))
  end
end

local render = {}

function render.class(item, page, add)
  local is_module = item.name == "rimg" or item.name:match "^std%.%l[%w_]*$"
  if not is_module and described[item.name] then add("## class " .. item.name .. "\n") end
  if item.doc ~= "" then add(item.doc .. "\n") end
  fields(item, page, add)
end

render["function"] = function(item, page, add)
  add(("## %s\n\n`%s(%s)`\n"):format(item.name, item.name, item.arguments))
  if item.doc ~= "" then add(item.doc .. "\n") end
  for _, param in ipairs(item.params) do
    local type, literals = shown(param.type, page)
    if #literals > 0 then type = type .. ", one of " .. table.concat(literals, ", ") end
    add(("- `%s`: %s%s%s"):format(param.name, type, param.optional and ", optional" or "", param.text ~= "" and ". " .. param.text or ""))
  end
  for _, result in ipairs(item.returns) do
    add(("- returns %s%s"):format(shown(result.type, page), result.text ~= "" and ". " .. result.text or ""))
  end
  if #item.params + #item.returns > 0 then add "" end
end

function render.alias(item, page, add)
  add("## alias " .. item.name .. "\n")
  if item.doc ~= "" then add(item.doc .. "\n") end
  if #item.values > 0 then
    add "| value | |\n|---|---|"
    for _, value in ipairs(item.values) do add(("| `%s` | %s |"):format(value.name, cell(value.text))) end
    add ""
  else
    local type, literals = shown(item.type, page)
    add((#literals > 0 and "One of " .. table.concat(literals, ", ") or "A " .. type) .. ".\n")
  end
end

function render.group(item, _, add)
  add("## " .. item.name .. "\n")
  if item.doc ~= "" then add(item.doc .. "\n") end
end

render.value = render.group

local function write(name, lines)
  rimg.fs.write(rimg.fs.join(out, "reference", name), (table.concat(lines, "\n"):gsub("\n+$", "") .. "\n"))
end

for _, page in ipairs(pages) do
  local lines = {}
  local function add(line) table.insert(lines, line) end
  add("# " .. page.title .. "\n")
  add("<!-- Made of lua/types/" .. page.file .. ".lua by docs/reference.lua. -->\n")
  for _, item in ipairs(page.items) do render[item.kind](item, page, add) end
  write(page.file .. ".md", lines)
end

-- The command line, as each command tells it. What starts this script is the program itself.
local program = rimg.exec('readlink "/proc/$PPID/exe"', { quiet = true }).stdout:gsub("%s+$", "")
local function help(...)
  local arguments = { program, ... }
  table.insert(arguments, "--help")
  -- Without this user's settings and the name of the program's file, which it would show.
  local env = { NO_COLOR = "1", COLUMNS = "100" }
  return (rimg.exec(arguments, { quiet = true, env = env }).stdout:gsub(" +\n", "\n"):gsub("%s+$", "")
    :gsub("%[env: ([%u_]+)=[^%]]*%]", "[env: %1]"):gsub("Usage: %S+", "Usage: rimg"))
end

local commands = { "# Commands\n", "<!-- Made of the commands' own help by docs/reference.lua. -->\n", "```text\n" .. help() .. "\n```\n" }
local function command(...)
  local text = help(...)
  table.insert(commands, ("## rimg %s\n\n```text\n%s\n```\n"):format(table.concat({ ... }, " "), text))
  for line in (text:match "\nCommands:\n(.-)\n\n" or ""):gmatch "[^\n]+" do
    local name = line:match "^  (%l+)"
    if name then command(..., name) end
  end
end
for line in help():match("\nCommands:\n(.-)\n\n"):gmatch "[^\n]+" do
  local name = line:match "^  (%l+)"
  if name then command(name) end
end
write("commands.md", commands)

-- The index, and the chapters in SUMMARY.md.
local index = {
  "# Reference\n",
  "Every function, option and error of the Lua API, made of the annotations that `rimg types` writes for editors, and",
  "[the commands](commands.md). [How it fits together](../README.md) is elsewhere.\n",
}
local chapters = { "  - [Commands](reference/commands.md)" }
for _, page in ipairs(pages) do
  local functions = {}
  for _, item in ipairs(page.items) do
    if item.kind == "function" then
      table.insert(functions, ("[`%s`](%s.md#%s)"):format(item.name, page.file, item.name:lower():gsub("[%.:]", "")))
    end
  end
  local line = ("- [%s](%s.md)"):format(page.title, page.file)
  table.insert(index, #functions > 0 and line .. ": " .. table.concat(functions, ", ") or line)
  table.insert(chapters, ("  - [%s](reference/%s.md)"):format(page.title, page.file))
end
write("README.md", index)

local modules = {}
for _, page in ipairs(rimg.fs.glob "std/*.md") do
  local name = rimg.fs.basename(page):match "^(%l[%w_]*)%.md$"
  if name then table.insert(modules, ("  - [std.%s](std/%s.md)"):format(name, name)) end
end

local summary = {}
for line in rimg.fs.read(rimg.fs.join(out, "SUMMARY.md")):gmatch "[^\n]*\n" do
  if not line:match "^%s+%- %[.-%]%(reference/" and not line:match "^%s+%- %[.-%]%(std/" then table.insert(summary, line) end
  local below = line:match "^%- %[.-%]%(reference/README" and chapters or line:match "^%- %[.-%]%(std/README" and modules
  if below then table.insert(summary, table.concat(below, "\n") .. "\n") end
end
rimg.fs.write(rimg.fs.join(out, "SUMMARY.md"), table.concat(summary))
