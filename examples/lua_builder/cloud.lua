-- A whole builder in Lua: machines and images of a cloud that rimg does not know, over its HTTP API and SSH.
--
--     local cloud = require "cloud"
--     local image = cloud.build({ api = …, token = …, image = "debian-12", ssh_username = "root", ssh_private_key_file = … }, function(vm) … end)

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local OPTIONS = {
  api = { "string", required = true }, token = { "string", required = true }, image = { "string", required = true },
  size = { "string", default = "small" }, name = { "string", default = "rimg" }, ssh_username = { "string", default = "root" },
  ssh_private_key_file = { "string", required = true }, timeout = { "string", default = "10m" }, poll = { "number", default = 2 },
}

-- One request; what the cloud refuses is an error with its own words.
local function ask(o, method, path, body)
  local answer = rimg.http.request(method, o.api .. path, { bearer = o.token, json = body, retries = 3, check = false })
  if not answer.ok and not (method == "DELETE" and answer.status == 404) then
    rimg.fail(("cloud: %s %s: %d %s"):format(method, path, answer.status, answer.body))
  end
  return answer.body ~= "" and answer:json() or {}
end

-- Looks again until a resource is in the wanted state, or cannot come to it any more.
local function await(o, path, state)
  return rimg.timeout(o.timeout, function()
    while true do
      local found = ask(o, "GET", path)
      -- `rimg check` has answers without content.
      if found.state == state or found.state == nil then return found end
      if found.state == "error" then rimg.fail(("cloud: %s: %s"):format(path, found.reason)) end
      rimg.sleep(o.poll)
    end
  end)
end

--- Removes the machines that a run left which could not: a name is one build's alone.
local function sweep(o)
  for _, left in ipairs(ask(o, "GET", "/instances?name=" .. o.name).instances or {}) do
    rimg.log.warn("cloud: removing " .. left.id .. ", which an earlier run left")
    ask(o, "DELETE", "/instances/" .. left.id)
  end
end

--- Starts a machine, calls `provision` with it, and returns the id of the image that is made of it. The machine is removed, whatever
--- becomes of it.
function M.build(given, provision)
  local o = options.check("cloud.build", given, OPTIONS)
  sweep(o)
  local path = "/instances/" .. (ask(o, "POST", "/instances", { name = o.name, image = o.image, size = o.size }).id or "none")
  local ok, result = pcall(function()
    local machine = await(o, path, "running")
    local vm = rimg.host {
      name = o.name, ssh_host = machine.address or "127.0.0.1", ssh_port = machine.port, ssh_username = o.ssh_username,
      ssh_private_key_file = o.ssh_private_key_file, ssh_host_key = machine.host_key,
    }
    vm:apply(provision)
    local image = ask(o, "POST", path .. "/image", { name = o.name }).id or "none"
    await(o, "/images/" .. image, "available")
    return image
  end)
  ask(o, "DELETE", path)
  if not ok then error(result, 0) end
  return result
end

--- Copies an image to another region and returns its id there.
function M.copy(given, image, region)
  local o = options.check("cloud.copy", given, OPTIONS)
  local copy = ask(o, "POST", ("/images/%s/copy"):format(image), { region = region }).id or "none"
  await(o, "/images/" .. copy, "available")
  return copy
end

return M
