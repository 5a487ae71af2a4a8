--- Images that stand on one another: base -> infrastructure -> application. Each layer is a build; it starts from the image of
--- the one below, and is made anew only where it or what it stands on has changed.
---
---     local layers = require "std.layers"
---     layers.build {
---       machine = { memory = "1G", ssh_username = "admin", ssh_password = "secret" },
---       layers = {
---         { "base", machine = { source_image = "debian.qcow2" }, apply = hardening, test = logs_in },
---         { "web", from = "base", apply = packages.install { "nginx" }, test = answers },
---       },
---     }

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local ALL = {
  layers = { "list", required = true }, machine = { "table", default = {} }, builder = { "function" },
  output = { "string", default = "out" }, finish = { "table", default = {} },
}

local LAYER = {
  name = { "string", required = true }, from = { "string" }, machine = { "table", "function", default = {} },
  apply = { "table", "function", default = {} }, test = { "table", "function", default = {} }, finish = { "table", default = {} },
  publish = { "function" },
}

-- Later tables over earlier ones.
local function merged(...)
  local result = {}
  for _, values in ipairs { ... } do
    for name, value in pairs(values) do result[name] = value end
  end
  return result
end

-- One provisioner or a list of them, as a list.
local function provisioners(what, value)
  if type(value) == "function" or value.apply then return { value } end
  for n, one in ipairs(value) do
    if type(one) ~= "function" and not (type(one) == "table" and one.apply) then
      rimg.fail(("%s[%d]: expected a provisioner or a function, got a %s"):format(what, n, type(one)))
    end
  end
  return value
end

-- The checked layers in order, and by name.
local function read(list)
  local layers, names = {}, {}
  for n, given in ipairs(list) do
    local what = ("layers.build: layer %d"):format(n)
    if type(given) ~= "table" then rimg.fail(("%s: expected a table, got a %s"):format(what, type(given))) end
    local own = merged(given)
    own[1], own.name = nil, given[1] or given.name
    local o = options.check(what, own, LAYER)
    what = ("layers.build: layer %s"):format(o.name)
    if layers[o.name] then rimg.fail(what .. ": there are two of that name") end
    o.apply = provisioners(what .. ": option `apply`", o.apply)
    o.test = provisioners(what .. ": option `test`", o.test)
    layers[n], layers[o.name], names[n] = o, o, o.name
  end
  for _, layer in ipairs(layers) do
    local what = ("layers.build: layer %s: option `from`"):format(layer.name)
    if layer.from then options.one_of(what, layer.from, names) end
    -- One that is among those below itself.
    local below, seen = layers[layer.from], {}
    while below and not seen[below] do
      if below == layer then rimg.fail(what .. ": it stands on itself, by way of " .. layer.from) end
      seen[below], below = true, layers[below.from]
    end
  end
  return layers
end

--- Starts a build for each layer and returns them by name.
function M.build(given)
  local o = options.check("layers.build", given, ALL)
  if #o.layers == 0 then rimg.fail("layers.build: option `layers`: is an empty list", { hint = 'a layer each: { "base", apply = … }' }) end
  local builder = o.builder or rimg.qemu
  local builds = {}
  for _, layer in ipairs(read(o.layers)) do
    builds[layer.name] = rimg.build(layer.name, function()
      local own = layer.machine
      if type(own) == "function" then own = own() end
      local below = layer.from and { source_image = builds[layer.from]:await() } or {}
      local vm = builder(merged(o.machine, own, below))
      for _, step in ipairs(layer.apply) do vm:apply(step) end
      local image = vm:finish(merged({ output_directory = rimg.fs.join(o.output, layer.name), name = layer.name }, o.finish, layer.finish))
      -- What does not pass is nothing to stand on.
      if #layer.test > 0 then
        image:boot(function(copy)
          for _, test in ipairs(layer.test) do copy:apply(test) end
        end)
      end
      if layer.publish then layer.publish(image) end
      return image
    end)
  end
  return builds
end

return M
