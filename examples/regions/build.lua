-- An image in several regions: two at a time, each tried three times, and what failed told beside what did not.
--
--     rimg run examples/regions/build.lua -v api=https://cloud.example.org/v1 -v token=… -v key=~/.ssh/id_ed25519 -v image=image-1
--
-- It takes the cloud that examples/lua_builder speaks to, whose module it shares.

local rimg    = require "rimg"
local naming  = require "std.naming"
local regions = require "std.regions"
rimg.module_path "../lua_builder"
local cloud   = require "cloud"

local account = {
  api = rimg.var("api", { help = "address of the cloud's API" }), token = rimg.secret("token"), image = "debian-12",
  ssh_private_key_file = rimg.var("key", { help = "the private key for new machines" }), poll = rimg.var("poll", { default = 2 }),
}
local image = rimg.var("image", { help = "the image to copy" })
local names = rimg.var("regions", { default = { "eu-1", "eu-2", "us-1", "asia-1" } })

local done = regions.each(names, { limit = 2, attempts = 3, backoff = "200ms", check = false }, function(region)
  return cloud.copy(account, image, region)
end)

rimg.fs.write("out/images.json", rimg.json.encode({
  name = naming.name { application = "shop", version = "1.0", date = false, revision = false },
  images = done.results, failed = done.failed,
}, { pretty = true }))
for _, region in ipairs(done.failed) do rimg.log.warn(region .. ": " .. done.errors[region].message) end
if #done.failed * 2 > #names then rimg.fail("more than half of the regions have failed") end
