--- cloud-init: seeds for a machine's first boot, and waiting until it is done with them.
---
---     local cloudinit = require "std.cloudinit"
---     local seed = cloudinit.seed { packages = { "nginx" }, commands = { "systemctl enable nginx" } }
---     local vm = rimg.qemu { source_image = …, user_data = seed.user_data }
---     vm:apply(cloudinit.wait {})

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"
local seeds   = require "std.cloudinit.seed"

local M = {}

-- It is done when it has written its result. The program itself is not asked: that takes seconds on a small machine.
local WAIT = [==[
have cloud-init || fail "cloud-init is not installed on the machine"
run=/run/cloud-init
waited=0
while [ ! -e $run/result.json ]; do
  [ ! -e $run/disabled ] || { value state disabled; return 0; }
  if [ "$waited" -ge "$timeout" ]; then
    stage=$(sed -n 's/.*"stage": *"\{0,1\}\([^",]*\).*/\1/p' $run/status.json 2>/dev/null | head -n 1)
    fail "cloud-init is not done after $timeout s${stage:+: it is at its stage $stage}" \
      "what it does stands in /var/log/cloud-init.log and /var/log/cloud-init-output.log"
  fi
  sleep 1
  waited=$((waited + 1))
done
value state finished
pack() { base64 | tr -d '\n'; }
value result "$(pack <$run/result.json)"
value status "$(pack <$run/status.json)"
value warnings "$(grep -E '\[(WARNING|ERROR|CRITICAL)\]: ' /var/log/cloud-init.log 2>/dev/null | tail -n 20 | pack)"
# Without the tables of addresses and routes.
value output "$(grep -v '^ci-info: ' /var/log/cloud-init-output.log 2>/dev/null | tail -n 25 | pack)"]==]

local UNITS = { s = 1, m = 60, h = 3600, [""] = 1 }

local function seconds(what, value)
  local number, unit = tostring(value):match("^(%d+)%s*([smh]?)$")
  if not number then rimg.fail(("%s: expected a time such as \"10m\", got %q"):format(what, tostring(value))) end
  return math.tointeger(tonumber(number)) * UNITS[unit]
end

local function lines(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

-- What a stage's `errors` and `recoverable_errors` are, in words.
local function judge(found, values)
  local function unpack(name) return rimg.base64.decode(values[name] or "") end
  local function object(name)
    local ok, value = pcall(rimg.json.decode, unpack(name))
    return ok and type(value) == "table" and type(value.v1) == "table" and value.v1 or {}
  end
  local result, status = object "result", object "status"
  if type(result.datasource) == "string" then found.datasource = result.datasource end
  local seen = {}
  local function add(list, text)
    text = tostring(text)
    if not seen[text] then
      seen[text] = true
      list[#list + 1] = text
    end
  end
  for _, text in ipairs(type(result.errors) == "table" and result.errors or {}) do add(found.errors, text) end
  for _, stage in ipairs { "init-local", "init", "modules-config", "modules-final" } do
    local one = type(status[stage]) == "table" and status[stage] or {}
    for _, text in ipairs(type(one.errors) == "table" and one.errors or {}) do add(found.errors, text) end
    for level, list in pairs(type(one.recoverable_errors) == "table" and one.recoverable_errors or {}) do
      for _, text in ipairs(list) do add(found.recoverable, ("%s: %s"):format(level, text)) end
    end
  end
  -- 2024-05-01 10:00:00,000 - util.py[WARNING]: what it says
  for _, line in ipairs(lines(unpack "warnings")) do found.warnings[#found.warnings + 1] = line:match("%]: (.*)$") or line end
  found.output = unpack "output"
  found.status = #found.errors > 0 and "error" or #found.recoverable > 0 and "degraded" or "done"
end

--- Waits until cloud-init is done, and makes an error of its errors.
function M.wait(given)
  local what = "cloudinit.wait"
  local o = options.check(what, given, {
    timeout = { "string", "integer", default = "20m" }, check = { "boolean", default = true }, strict = { "boolean", default = false },
  })
  o.timeout = seconds(what .. ": option `timeout`", o.timeout)
  return guest.provisioner(what, function(vm)
    local found = guest.run(vm, what, { guest.assign({ "timeout" }, o), WAIT }, { quiet = true })
    found.errors, found.recoverable, found.warnings, found.status, found.output = {}, {}, {}, "disabled", ""
    found.datasource = ""
    if found.values.state == "finished" then judge(found, found.values) end
    local failed = found.status == "error" or o.strict and found.status == "degraded"
    if failed and o.check then
      local first = found.errors[1] or found.recoverable[1]
      local hints = {}
      for n = 2, #found.errors do hints[#hints + 1] = found.errors[n] end
      for _, line in ipairs(found.warnings) do hints[#hints + 1] = line end
      local said = lines(found.output)
      for n = math.max(1, #said - 7), #said do hints[#hints + 1] = "its output: " .. said[n] end
      rimg.fail(("%s: cloud-init has ended with %s: %s"):format(what, found.status == "error" and "errors" or "recoverable errors", first),
        { hint = hints })
    end
    found.values = nil
    return found
  end)
end

--- Returns user data, metadata and network configuration for `rimg.qemu`.
function M.seed(given) return seeds.seed(given) end

return M
