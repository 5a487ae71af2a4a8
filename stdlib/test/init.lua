--- What a machine is expected to be: packages, services, ports, files, users, commands and more, in the words of goss. All
--- of it is looked at in one go, and all that does not hold is told.
---
---     local test = require "std.test"
---     image:boot(test.expect { service = { "nginx" }, port = { "tcp:80" }, goss = "goss.yaml" })

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"
local collect = require "std.test.collect"
local match   = require "std.test.match"
local report  = require "std.test.report"

local M = {}

-- Each kind: what its resources may say, the attribute that a bare value is for, and the name's own attribute. `text` is
-- looked at line by line on the machine, `list` is words, the rest is one value.
local KINDS = {
  package = { main = "installed", name = "name", installed = "boolean", versions = "list" },
  service = { main = "running", name = "name", running = "boolean", enabled = "boolean" },
  port    = { main = "listening", name = "port", listening = "boolean", ip = "list" },
  file    = {
    main = "exists", name = "path", exists = "boolean", mode = "mode", owner = "value", group = "value", size = "value",
    filetype = "value", ["linked-to"] = "value", contents = "text", contains = "text", md5 = "value", sha256 = "value", sha512 = "value",
  },
  user    = {
    main = "exists", name = "username", exists = "boolean", uid = "value", gid = "value", groups = "list", home = "value",
    shell = "value",
  },
  group   = { main = "exists", name = "groupname", exists = "boolean", gid = "value" },
  command = { main = "exit-status", name = "exec", ["exit-status"] = "value", stdout = "text", stderr = "text", timeout = "setting" },
  ["kernel-param"] = { main = "value", name = "name", value = "value" },
  mount   = {
    main = "exists", name = "mountpoint", exists = "boolean", opts = "list", source = "value", filesystem = "value",
    usage = "value", timeout = "setting",
  },
  http    = {
    main = "status", name = "url", status = "value", body = "text", headers = "text", timeout = "setting",
    ["allow-insecure"] = "setting", ["no-follow-redirects"] = "setting", ["request-headers"] = "setting",
    method = "setting", username = "setting", password = "setting",
  },
  process = { main = "running", name = "comm", running = "boolean" },
}
local ORDER = { "package", "service", "port", "file", "user", "group", "command", "kernel-param", "mount", "http", "process" }
local COMMON = { skip = true, title = true, meta = true }

local function sorted(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  table.sort(list, function(a, b) return tostring(a) < tostring(b) end)
  return list
end

local function attributes(kind)
  local list = {}
  for name in pairs(KINDS[kind]) do
    if name ~= "main" and name ~= "name" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- What helps with a name that is not known.
local function hints(name, names)
  local near = options.nearest(name, names)
  local list = { "there are: " .. table.concat(names, ", ") }
  if near then table.insert(list, 1, ("did you mean `%s`?"):format(near)) end
  return { hint = list }
end

-- One resource with its names as goss spells them.
local function resource(what, kind, id, given)
  local known = KINDS[kind]
  local found = { kind = kind, id = id, name = id, expect = {}, settings = {} }
  if type(given) ~= "table" then
    found.expect[known.main] = given
    return found
  end
  for name, value in pairs(given) do
    local attribute = tostring(name):gsub("_", "-")
    if attribute == known.name then
      found.name = value
    elseif COMMON[attribute] then
      if attribute == "skip" then found.skip = value == true end
    elseif known[attribute] and attribute ~= "main" and attribute ~= "name" then
      if known[attribute] == "setting" then
        found.settings[attribute] = value
      else
        match.check(("%s: %s %s: `%s`"):format(what, kind, id, attribute), known[attribute], value)
        found.expect[attribute] = value
      end
    else
      rimg.fail(("%s: %s %s: unknown attribute `%s`"):format(what, kind, id, tostring(name)), hints(attribute, attributes(kind)))
    end
  end
  return found
end

local read_into

-- Adds the resources of a table of kinds.
local function add(what, given, into)
  if type(given) ~= "table" then rimg.fail(("%s: expected a table of expectations, got a %s"):format(what, type(given))) end
  for _, key in ipairs(sorted(given)) do
    local kind = tostring(key):gsub("_", "-")
    if kind == "gossfile" then
      for _, id in ipairs(sorted(given[key])) do
        local one = given[key][id]
        one = type(one) == "table" and one or {}
        if not one.skip then read_into(one.file or id, into, what) end
      end
    elseif not KINDS[kind] then
      rimg.fail(("%s: there are no expectations of `%s`"):format(what, tostring(key)), hints(kind, ORDER))
    elseif type(given[key]) ~= "table" then
      rimg.fail(("%s: %s: expected a table of names, got a %s"):format(what, kind, type(given[key])))
    else
      for _, id in ipairs(sorted(given[key])) do
        local value = given[key][id]
        -- A name alone stands for: it is there, and runs.
        if type(id) == "number" then id, value = tostring(value), kind == "command" and 0 or kind == "http" and 200 or true end
        into[#into + 1] = resource(what, kind, id, value)
      end
    end
  end
end

-- Adds the resources of a goss file of this host.
function read_into(file, into, what)
  add(("%s: %s"):format(what, file), rimg.yaml.decode(rimg.fs.read(file), { drop_nulls = true }) or {}, into)
end
local function seconds(settings)
  return math.max(1, math.ceil((tonumber(settings.timeout) or 10000) / 1000))
end

local ASK = {
  file = function(r)
    local sums = {}
    for _, algorithm in ipairs { "md5", "sha256", "sha512" } do
      if r.expect[algorithm] then sums[#sums + 1] = algorithm end
    end
    local text = r.expect.contents or r.expect.contains
    return ("file %s %s %s"):format(guest.quote(r.name), text and "yes" or "''", guest.quote(table.concat(sums, " ")))
  end,
  port = function(r)
    local protocol, number = tostring(r.name):match("^([tu][cd]p6?):(%d+)$")
    if not protocol then
      rimg.fail(("test.expect: port %s: is not such as \"tcp:22\" or \"udp:53\""):format(r.name))
    end
    return ("port %s %04X"):format(protocol, tonumber(number))
  end,
  command = function(r) return ("command_ %s %d"):format(guest.quote(r.name), seconds(r.settings)) end,
  http = function(r)
    local s = r.settings
    if not r.name:match("^https?://[^/]") then
      rimg.fail(("test.expect: http %s: is no address such as \"http://127.0.0.1/\""):format(r.name))
    end
    local login = s.username and ("%s:%s"):format(s.username, s.password or "") or ""
    return ("http %s %d %s %s %s %s %s"):format(guest.quote(r.name), seconds(s), s["allow-insecure"] and "yes" or "''",
      s["no-follow-redirects"] and "yes" or "''", guest.quote(s.method or ""), guest.quote(login),
      guest.words(s["request-headers"] or {}))
  end,
  mount = function(r) return "mount_ " .. guest.quote(r.name) end,
  ["kernel-param"] = function(r) return "kernel_param " .. guest.quote(r.name) end,
}

-- The program that asks for all of them.
local function program(resources)
  local pieces = { "any=yes", "need_scratch", collect }
  for n, r in ipairs(resources) do
    if not r.skip then
      pieces[#pieces + 1] = ("n=%d"):format(n)
      pieces[#pieces + 1] = (ASK[r.kind] or function() return r.kind .. " " .. guest.quote(r.name) end)(r)
      for attribute, wanted in pairs(r.expect) do
        if KINDS[r.kind][attribute] == "text" then
          local source = attribute == "contains" and "contents" or attribute
          for k, pattern in ipairs(match.patterns(wanted)) do
            pieces[#pieces + 1] = ("pattern %s %d %s %s"):format(source, k, guest.quote(pattern.flags), guest.quote(pattern.text))
          end
          pieces[#pieces + 1] = "excerpt " .. source
        end
      end
    end
  end
  pieces[#pieces + 1] = "value done yes"
  return pieces
end

-- What an IP is in the kernel's lists: 4 bytes of little-endian words, in hexadecimal.
local function address(hex)
  local bytes = {}
  for word in hex:gmatch("%x%x%x%x%x%x%x%x") do
    for n = 4, 1, -1 do bytes[#bytes + 1] = tonumber(word:sub(2 * n - 1, 2 * n), 16) end
  end
  if #bytes == 4 then return table.concat(bytes, ".") end
  local groups = {}
  for n = 1, #bytes, 2 do groups[#groups + 1] = ("%x"):format(bytes[n] * 256 + bytes[n + 1]) end
  local text = table.concat(groups, ":")
  return text == "0:0:0:0:0:0:0:0" and "::" or text == "0:0:0:0:0:0:0:1" and "::1" or text
end

local function evaluate(name, resources, values)
  local found = { name = name, ok = true, count = 0, failed = 0, skipped = 0, results = {} }
  for n, r in ipairs(resources) do
    local expect = r.expect
    if r.skip and next(expect) == nil then expect = { [KINDS[r.kind].main] = true } end
    for _, attribute in ipairs(sorted(expect)) do
      local kind = KINDS[r.kind][attribute]
      local result = { kind = r.kind, id = r.id, attribute = attribute, title = ("%s: %s"):format(r.id, attribute), ok = true }
      local key = ("%d.%s"):format(n, attribute == "contains" and "contents" or attribute)
      if r.skip then
        result.skipped = true
        found.skipped = found.skipped + 1
      else
        local value = values[key]
        if kind == "list" and r.kind == "port" then value = (value or ""):gsub("%x+", address) end
        if values[n .. ".trouble"] then
          result.ok, result.expected, result.found = false, match.shown(expect[attribute]), values[n .. ".trouble"]
        else
          result.ok, result.expected, result.found = match.holds(kind, expect[attribute], value, function(k)
            return values[("%s.%d"):format(key, k)] == "true"
          end)
        end
      end
      found.count = found.count + 1
      if not result.ok then found.failed, found.ok = found.failed + 1, false end
      found.results[#found.results + 1] = result
    end
  end
  return found
end

--- Expectations of a machine; the provisioner fails with all that do not hold.
function M.expect(given)
  if type(given) ~= "table" then rimg.fail("test.expect: expected a table of expectations, got a " .. type(given)) end
  local kinds, rest = {}, {}
  local OPTIONS = {
    name = { "string", default = "machine" }, goss = { "string", "strings" }, junit = { "string" }, tap = { "string" },
    check = { "boolean", default = true }, attempts = { "integer", default = 1 }, sudo = { "boolean", default = true },
  }
  for key, value in pairs(given) do
    if OPTIONS[key] then rest[key] = value else kinds[key] = value end
  end
  local o = options.check("test.expect", rest, OPTIONS)
  local resources = {}
  add("test.expect", kinds, resources)
  for _, file in ipairs(type(o.goss) == "string" and { o.goss } or o.goss or {}) do
    read_into(file, resources, "test.expect")
  end
  local label = ("test.expect %s"):format(o.name)
  local asked = program(resources)
  return guest.provisioner(label, function(vm)
    local values, found
    -- What did not hold is looked at once more in any case, and really: a record of an earlier run may say that it did not.
    for attempt = 0, o.attempts do
      if attempt > 1 then rimg.sleep(1) end
      local how = { sudo = o.sudo, quiet = true }
      if attempt > 0 then how.cache = false end
      values = guest.run(vm, label, asked, how).values
      -- Under `rimg check` nothing was asked.
      if not values.done then return { name = o.name, ok = true, count = 0, failed = 0, skipped = 0, results = {} } end
      found = evaluate(o.name, resources, values)
      if found.ok then break end
    end
    if o.junit then rimg.fs.write(o.junit, report.junit(found)) end
    if o.tap then rimg.fs.write(o.tap, report.tap(found)) end
    if not found.ok and o.check then
      rimg.fail(("%d of %d expectations do not hold:\n%s"):format(found.failed, found.count, report.failures(found)))
    end
    rimg.log.info(("%s: %d of %d expectations hold"):format(o.name, found.count - found.failed - found.skipped, found.count))
    return found
  end)
end

return M
