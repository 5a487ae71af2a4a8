-- std.naming, std.regions, and what std.layers says before a machine starts: nothing but Lua.
local rimg    = require "rimg"
local layers  = require "std.layers"
local naming  = require "std.naming"
local regions = require "std.regions"
local support = require "support"

local full = { application = "Shop", layer = "web", version = "1.4.0", date = "20240501", revision = "3f2a9c1" }
local function with(more)
  local all = {}
  for _, from in ipairs { full, more } do
    for name, value in pairs(from) do all[name] = value end
  end
  return all
end
assert(naming.name(full) == "Shop-web-1.4.0-20240501-3f2a9c1")
assert(naming.name(with { platform = "google" }) == "shop-web-1-4-0-20240501-3f2a9c1")
assert(naming.name { application = "x", revision = false, date = false } == "x")
assert(naming.name { application = "x", revision = false }:match("^x%-%d%d%d%d%d%d%d%d$"))
assert(naming.name(with { platform = "amazon", separator = "/" }) == "Shop/web/1.4.0/20240501/3f2a9c1")
local tags = naming.tags(with { platform = "amazon" })
assert(tags.Name == naming.name(with { platform = "amazon" }) and tags.version == "1.4.0" and tags.builder == "rimg")
assert(naming.tags(with { platform = "google" }).version == "1-4-0")
for platform, names in pairs {
  amazon = { "ab", ("x"):rep(129), "a#b" }, azure = { "-a", "a-", ("x"):rep(81), "a b" },
  google = { "Abc", "1a", "a-", ("x"):rep(64), "a_b" }, docker = { ".a", "a/b" }, file = { "a/b", "" },
} do
  for _, name in ipairs(names) do
    support.fails(function() naming.check(platform, name) end, "is no image's name for " .. platform, "it takes")
  end
end
support.fails(function() naming.name(with { platform = "amzon" }) end, "amazon")
support.fails(function() naming.name { layer = "x" } end, "option `application`: is required")
support.fails(function() naming.name(with { aplication = "x" }) end, "did you mean `application`")

local running, most, tries = 0, 0, {}
local found = regions.each({ "a", "b", "c", "d" }, { limit = 2, attempts = 3, backoff = 0.01, check = false }, function(region)
  running = running + 1
  most = math.max(most, running)
  rimg.sleep(0.02)
  running = running - 1
  tries[region] = (tries[region] or 0) + 1
  if region == "b" then rimg.fail("no quota") end
  if region == "c" and tries.c < 3 then error("flaky") end
  return region:upper()
end)
assert(most == 2 and tries.a == 1 and tries.b == 3 and tries.c == 3)
assert(not found.ok and found.results.a == "A" and found.results.c == "C" and found.results.b == nil)
assert(#found.failed == 1 and found.failed[1] == "b" and found.errors.b.message == "no quota")
assert(regions.each({ "x" }, function(region) return region end).ok)
support.fails(function()
  regions.each({ "a", "b" }, function(region) if region == "a" then error("boom") end end)
end, "1 of 2 failed", "a: ", "boom", "check = false")
support.fails(function() regions.each({}, print) end, "of one at least")
support.fails(function() regions.each({ "a", "a" }, print) end, "named twice")
-- A limit of time around it ends it: that is no region's failure.
local ok, err = pcall(rimg.timeout, "200ms", function()
  regions.each({ "a" }, { attempts = 100, check = false }, function() rimg.sleep(60) end)
end)
assert(not ok and err.kind == "timeout")

-- Layers: what is wrong with them is said before any machine starts.
for text, list in pairs {
  ["layer a: option `from`: it stands on itself, by way of b"] = { { "a", from = "b" }, { "b", from = "a" } },
  ["layer app: option `from`: expected one of app, base"] = { { "app", from = "bas" }, { "base" } },
  ["layer a: there are two of that name"] = { { "a" }, { "a" } },
  ["layer 1: unknown option `aply`"] = { { "a", aply = {} } },
  ["layer a: option `apply`[1]: expected a provisioner"] = { { "a", apply = { 1 } } },
  ["layer 1: option `name`: is required"] = { {} },
  ["layer 1: expected a table, got a number"] = { 1 },
} do
  support.fails(function() layers.build { layers = list } end, text)
end

-- With a builder that only writes down what it is asked: what stands on what, and nothing on what was not tested.
local done = {}
local function note(...) done[#done + 1] = table.concat({ ... }, " ") end
local function pretended(o)
  note("start from", o.source_image.name or o.source_image, o.memory)
  return {
    apply = function(self, step) step(self) end,
    finish = function(_, f)
      note("finish", f.output_directory, f.name, tostring(f.compress))
      return { name = f.name, boot = function(_, fn) fn({ apply = function(_, test) test() end }) end }
    end,
  }
end
local builds = layers.build {
  builder = pretended, output = "images", machine = { memory = "1G" }, finish = { compress = true },
  layers = {
    { "shop", from = "base", machine = { memory = "2G" }, finish = { compress = false }, publish = function(image) note("publish", image.name) end },
    { "base", machine = function() return { source_image = "debian.qcow2" } end, apply = { function() note "one" end, function() note "two" end },
      test = function() rimg.sleep(0.05) note "tested" end },
  },
}
assert(builds.shop:await().name == "shop" and builds.base:await().name == "base")
local wanted = {
  "start from debian.qcow2 1G", "one", "two", "finish images/base base true", "tested",
  "start from base 2G", "finish images/shop shop false", "publish shop",
}
assert(table.concat(done, "\n") == table.concat(wanted, "\n"), table.concat(done, "\n"))
