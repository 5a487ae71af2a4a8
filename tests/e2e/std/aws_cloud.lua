-- std.aws against the tests' own AWS: the same answers as of the pretended cloud in aws.lua, by real requests.
local rimg    = require "rimg"
local aws     = require "std.aws"
local support = require "support"

local regions = { "eu-west-1", "us-west-2", "ap-south-1" }
local base = aws.latest_image { region = "us-east-1", owner = "136693071363", name = "debian-12-amd64-*", architecture = "x86_64" }
assert(base.name == "debian-12-amd64-20260601-1" and base.state == "available", base.name)
support.fails(function() aws.latest_image { region = "us-east-1", owner = "136693071363", name = "ubuntu-*" } end, "has name=ubuntu-*", "in us-east-1")

-- The first copies meet what the test has ordered; each region has one of them in the end.
local ids
for n = 1, 5 do
  ids = aws.copy_to_regions(base.id, { from = "us-east-1", regions = regions, name = "web-" .. n, tags = { application = "shop" }, backoff = 0.01 })
end
for _, region in ipairs(regions) do
  local client = rimg.amazon.client { region = region }
  local images = client:images { owners = { "self" }, filters = { name = "web-*", ["tag:application"] = "shop" } }
  assert(#images == 5, region .. " has " .. #images)
  assert(client:image(ids[region]).tags["rimg:copy-of"] == "us-east-1/" .. base.id)
  local snapshots = client:snapshots { snapshot_ids = client:image(ids[region]).snapshots }
  assert(#snapshots == 1 and snapshots[1].tags.application == "shop")
end
assert(aws.wait({ region = "eu-west-1", image_id = ids["eu-west-1"], timeout = "1m" }).id == ids["eu-west-1"])
local again = aws.copy_to_regions({ ["us-east-1"] = base.id }, { regions = regions, name = "web-5" })
for _, region in ipairs(regions) do assert(again[region] == ids[region], region) end

-- Two stay, and the one that is protected.
local client = rimg.amazon.client { region = "eu-west-1" }
local oldest = client:images({ owners = { "self" }, filters = { name = "web-1" } })[1]
client:protect_image(oldest.id)
local prune = { regions = regions, name = "web-*", keep = 2 }
local dry = aws.prune_images { regions = regions, name = "web-*", keep = 2, dry_run = true }
assert(#dry["us-west-2"].removed == 3 and #client:images { owners = { "self" } } == 5)
local done = aws.prune_images(prune)
assert(#done["us-west-2"].removed == 3 and #done["us-west-2"].kept == 2)
for _, region in ipairs(regions) do
  local here = rimg.amazon.client { region = region }
  local images = here:images { owners = { "self" } }
  assert(#images == #done[region].kept, region)
  -- Their snapshots have gone with them.
  assert(#here:snapshots { filters = { ["tag:application"] = "shop" } } == #images, region)
end
assert(client:image(oldest.id) ~= nil)
assert(#aws.prune_images(prune)["us-west-2"].removed == 0)
