--- The network of what is installed: DHCP, or an address of its own.

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

local NETWORK = {
  interface = { "string", required = true }, address = { "string", required = true }, gateway = { "string" },
  dns = { "strings", default = {} },
}

local function is_address(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if not a then return false end
  for _, part in ipairs { a, b, c, d } do
    if #part > 3 or tonumber(part) > 255 then return false end
  end
  return true
end

--- Returns the network with `ip`, `prefix` and `netmask`; nil for DHCP.
function M.check(what, given)
  if not given then return nil end
  what = what .. ": option `network`"
  local o = options.check(what, given, NETWORK)
  local function need(option, text)
    if not is_address(text) then
      rimg.fail(("%s: option `%s`: %q is no address"):format(what, option, text), { hint = "IPv4, such as 192.0.2.10" })
    end
  end
  if not o.interface:match("^[%w._-]+$") or #o.interface > 15 then
    rimg.fail(("%s: option `interface`: %q is no name of one"):format(what, o.interface), { hint = 'such as "ens3"' })
  end
  local ip, prefix = o.address:match("^([%d.]+)/(%d%d?)$")
  if not ip or not is_address(ip) or tonumber(prefix) > 32 then
    rimg.fail(("%s: option `address`: %q is no address with the length of its network"):format(what, o.address), {
      hint = 'such as "192.0.2.10/24"',
    })
  end
  if o.gateway then need("gateway", o.gateway) end
  for _, server in ipairs(o.dns) do need("dns", server) end
  local bits = (0xffffffff << (32 - tonumber(prefix))) & 0xffffffff
  o.ip, o.prefix = ip, math.tointeger(tonumber(prefix))
  o.netmask = ("%d.%d.%d.%d"):format(bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255)
  return o
end

return M
