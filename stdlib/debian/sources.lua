--- Where packages come from: the host's own apt sources, read and turned to another suite.

local rimg = require "rimg"

local M = {}

local function words(text)
  local list = {}
  for word in (text or ""):gmatch("%S+") do list[#list + 1] = word end
  return list
end

--- Reads one-line entries: `deb [signed-by=…] URI SUITE COMPONENT…`.
function M.parse_list(text)
  local entries = {}
  for line in text:gmatch("[^\r\n]+") do
    local rest = line:gsub("#.*", ""):match("^%s*deb%s+(.+)$")
    if rest then
      local options
      if rest:sub(1, 1) == "[" then
        options, rest = rest:match("^%[(.-)%]%s*(.*)$")
      end
      local fields = words(rest)
      if #fields >= 2 then
        entries[#entries + 1] = {
          uris = { fields[1] },
          suites = { fields[2] },
          components = { table.unpack(fields, 3) },
          signed_by = options and options:match("signed%-by=(%S+)") or nil,
        }
      end
    end
  end
  return entries
end

--- Reads deb822 stanzas: `Types: deb`, `URIs: …`, `Suites: …`.
function M.parse_sources(text)
  local entries, fields, last = {}, {}, nil
  local function flush()
    local enabled = (fields.enabled or "yes"):lower()
    local is_deb = false
    for _, kind in ipairs(words(fields.types)) do is_deb = is_deb or kind == "deb" end
    if is_deb and enabled ~= "no" and enabled ~= "false" then
      local signed_by = fields["signed-by"] and fields["signed-by"]:match("^%s*(/%S+)%s*$")
      entries[#entries + 1] = {
        uris = words(fields.uris), suites = words(fields.suites), components = words(fields.components),
        signed_by = signed_by,
      }
    end
    fields, last = {}, nil
  end
  for line in (text .. "\n\n"):gmatch("(.-)\r?\n") do
    if line:match("^%s*$") then
      if next(fields) then flush() end
    elseif not line:match("^#") then
      local name, value = line:match("^([%w-]+):%s*(.*)$")
      if name then
        last = name:lower()
        fields[last] = value
      elseif last then
        fields[last] = fields[last] .. " " .. line
      end
    end
  end
  return entries
end

--- Returns the entries of every apt source file of this host.
function M.host()
  local entries = {}
  local function add(path, parse)
    local ok, text = pcall(rimg.fs.read, path)
    if not ok then return end
    for _, entry in ipairs(parse(text)) do entries[#entries + 1] = entry end
  end
  if rimg.fs.exists("/etc/apt/sources.list") then add("/etc/apt/sources.list", M.parse_list) end
  for _, path in ipairs(rimg.fs.glob("/etc/apt/sources.list.d/*.list")) do add(path, M.parse_list) end
  for _, path in ipairs(rimg.fs.glob("/etc/apt/sources.list.d/*.sources")) do add(path, M.parse_sources) end
  return entries
end

local RELEASES = {
  bullseye = true, bookworm = true, trixie = true, forky = true, duke = true, sid = true,
  oldoldstable = true, oldstable = true, stable = true, testing = true, unstable = true,
}

-- How much an entry looks like Debian's archive: others, too, have a suite `stable` with a component `main`.
local function likeness(uri, base, signed_by)
  local score = 0
  if signed_by and signed_by:match("debian%-archive") then score = score + 4 end
  if uri:match("/debian/?$") or uri:match("/debian%-security/?$") then score = score + 2 end
  if score > 0 and not base:match("stable$") then score = score + 1 end
  return score
end

--- Finds Debian's own mirrors among entries: { main = {uri, signed_by}, updates = …, security = … }.
function M.mirrors(entries)
  local found, best = {}, {}
  for _, entry in ipairs(entries) do
    for _, suite in ipairs(entry.suites) do
      local base, role = suite:match("^(%a+)(.*)$")
      role = ({ [""] = "main", ["-updates"] = "updates", ["-security"] = "security", ["/updates"] = "security" })[role]
      local uri = entry.uris[1]
      local is_main = false
      for _, component in ipairs(entry.components) do is_main = is_main or component == "main" end
      -- apt's own mirror lists (mirror+file:) are of no use outside of apt.
      if role and RELEASES[base] and is_main and uri and uri:match("^%a[%w.-]*:") then
        local score = likeness(uri, base, entry.signed_by)
        if score > (best[role] or 0) then
          best[role], found[role] = score, { uri = uri, signed_by = entry.signed_by }
        end
      end
    end
  end
  return found.main and found or nil
end

--- Returns the apt lines for `suite`. `mirror` is the user's: an address, a list of whole `deb` lines, or nil for the
--- host's own; nil is returned where neither says anything, and mmdebstrap then has its own default.
function M.lines(suite, components, mirror)
  components = table.concat(components, " ")
  local function line(from, of_suite)
    local options = from.signed_by and ("[signed-by=%s] "):format(from.signed_by) or ""
    return ("deb %s%s %s %s"):format(options, from.uri, of_suite, components)
  end
  if type(mirror) == "table" then return mirror end
  if mirror then return { line({ uri = mirror }, suite) } end
  local mirrors = M.mirrors(M.host())
  if not mirrors then return nil end
  local lines = { line(mirrors.main, suite) }
  if suite ~= "sid" and suite ~= "unstable" then
    if mirrors.updates then lines[#lines + 1] = line(mirrors.updates, suite .. "-updates") end
    if mirrors.security then lines[#lines + 1] = line(mirrors.security, suite .. "-security") end
  end
  return lines
end

--- Splits an apt line into address, suite and components.
function M.split(line)
  local entry = M.parse_list(line)[1]
  if not entry then return nil end
  return entry.uris[1], entry.suites[1], entry.components
end

return M
