-- std.aws over a pretended cloud: what it asks for, and what it does not.
local rimg    = require "rimg"
local aws     = require "std.aws"
local options = require "std.options"
local support = require "support"

-- A cloud of images by region; `trouble(region, call, count)` may raise an error. Its calls are counted.
local function cloud(images, trouble)
  local this = { images = images, calls = {}, copied = {}, shared = {}, removed = {}, asked = {} }
  function this.client(region)
    local here = this.images[region] or {}
    this.images[region] = here
    local client = { region = region }
    local function called(name)
      local key = region .. " " .. name
      this.calls[key] = (this.calls[key] or 0) + 1
      if trouble then trouble(region, name, this.calls[key]) end
    end
    function client:images(query)
      called "images"
      this.asked = query
      local found = {}
      for _, image in pairs(here) do
        local fits = true
        for name, wanted in pairs(query.filters or {}) do
          local tag = name:match "^tag:(.*)$"
          local value = tag and (image.tags or {})[tag] or image[name]
          local pattern = "^" .. wanted:gsub("[%-%.]", "%%%0"):gsub("%*", ".*") .. "$"
          fits = fits and value ~= nil and value:match(pattern) ~= nil
        end
        if fits then found[#found + 1] = image end
      end
      return found
    end
    function client:image(id) called "image" for _, image in pairs(here) do if image.id == id then return image end end end
    function client:copy_image(o)
      called "copy_image"
      local id = ("ami-%s-%d"):format(region, #here + 1)
      here[#here + 1] = { id = id, name = o.name, state = "available", tags = o.tags, creation_date = "2026-01-01T00:00:00.000Z" }
      this.copied[#this.copied + 1] = o
      return id
    end
    function client:wait_image(id) called "wait_image" return this.client(region):image(id) end
    function client:wait_snapshot(id) return { id = id, state = "completed" } end
    function client:share_image(id, with) this.shared[id] = with end
    function client:deprecate_image(id, with) this.deprecated = id .. " " .. with.at end
    function client:deregister_image(id, with)
      called "deregister_image"
      this.removed[#this.removed + 1] = id .. (with.delete_snapshots and "" or " without snapshots")
      for n, image in ipairs(here) do if image.id == id then table.remove(here, n) break end end
    end
    return client
  end
  return this
end

local function image(id, date, more)
  local all = { id = id, name = "web-" .. id, state = "available", creation_date = date .. "T00:00:00.000Z", tags = {} }
  for name, value in pairs(more or {}) do all[name] = value end
  return all
end

local function ids(images)
  local list = {}
  for _, one in ipairs(images) do list[#list + 1] = one.id end
  return table.concat(list, " ")
end

-- Durations of options.
for text, seconds in pairs { ["1h30m"] = 5400, ["30d"] = 2592000, ["90"] = 90, ["250ms"] = 0.25, ["1.5m"] = 90 } do
  assert(options.seconds(text) == seconds, text)
end
for _, text in ipairs { "", "abc", "1x", "1h2", "-1s", {}, -1 } do assert(options.seconds(text) == nil, tostring(text)) end

-- The newest that is available, and of nobody but who is named.
local there = cloud { ["eu-1"] = { image("ami-1", "2025-01-01"), image("ami-3", "2025-03-01", { state = "pending" }), image("ami-2", "2025-02-01") } }
local newest = aws.latest_image { client = there.client "eu-1", owner = "self", name = "web-*" }
assert(newest.id == "ami-2" and there.asked.owners[1] == "self" and there.asked.filters.state == "available")
assert(aws.latest_image { client = there.client, region = "eu-1", owners = { "self", "1" }, filters = { name = "web-*" } }.id == "ami-2")
assert(aws.latest_image { client = there.client "eu-1", owner = "self", name = "db-*", optional = true } == nil)
support.fails(function() aws.latest_image { client = there.client "eu-1", owner = "self", name = "db-*" } end,
  "no image of self in eu-1 has name=db-*, state=available", "the right region")
support.fails(function() aws.latest_image { client = there.client "eu-1", name = "web-*" } end, "option `owner`: is required")
support.fails(function() aws.latest_image { client = there.client "eu-1", owner = "self" } end, "option `name`")
support.fails(function() aws.latest_image { owner = "self", nam = "x" } end, "did you mean `name`")
support.fails(function() aws.latest_image { client = there.client "eu-1", region = "us-1", owner = "self", name = "x" } end, "cannot ask us-1")

-- Waiting.
assert(aws.wait { client = there.client "eu-1", image_id = "ami-1" }.id == "ami-1")
assert(aws.wait { client = there.client "eu-1", snapshot_id = "snap-1", timeout = "5m" }.state == "completed")
support.fails(function() aws.wait { client = there.client "eu-1" } end, "option `image_id`")
support.fails(function() aws.wait { client = there.client "eu-1", image_id = "ami-1", timeout = "soon" } end, "a duration")

-- Pruning: the newest that can be used stay; so does what is protected, on its way, or young; what failed goes.
local function many()
  return {
    image("ami-1", "2025-01-01"), image("ami-2", "2025-02-01", { deregistration_protection = "enabled-without-cooldown" }),
    image("ami-3", "2025-03-01"), image("ami-4", "2025-04-01"), image("ami-5", "2025-05-01", { state = "failed" }),
    image("ami-6", "2025-06-01", { deregistration_protection = "disabled" }), image("ami-7", "2025-07-01", { state = "pending" }),
    image("ami-8", "2025-08-01", { state = "disabled" }), image("db", "2024-01-01", { name = "db-1" }),
  }
end
local prune = cloud { ["eu-1"] = many(), ["us-1"] = many() }
local dry = aws.prune_images { client = prune.client, regions = { "eu-1", "us-1" }, name = "web-*", keep = 2, dry_run = true }
assert(ids(dry["eu-1"].removed) == "ami-5 ami-3 ami-1" and #prune.removed == 0)
local pruned = aws.prune_images { client = prune.client, regions = { "eu-1", "us-1" }, name = "web-*", keep = 2 }
assert(ids(pruned["eu-1"].removed) == "ami-5 ami-3 ami-1" and ids(pruned["eu-1"].kept) == "ami-8 ami-7 ami-6 ami-4 ami-2")
assert(ids(pruned["us-1"].removed) == "ami-5 ami-3 ami-1" and #prune.removed == 6 and prune.asked.owners[1] == "self")
assert(#aws.prune_images({ client = prune.client, regions = { "eu-1" }, name = "web-*", keep = 2 })["eu-1"].removed == 0)
-- What is younger than it says stays, to the day.
local function ago(days) return os.date("!%Y-%m-%d", rimg.timestamp() - days * 86400) end
local young = cloud { ["eu-1"] = { image("ami-1", ago(40)), image("ami-2", ago(29)), image("ami-3", ago(1)), image("ami-4", "2024-02-29") } }
local result = aws.prune_images { client = young.client "eu-1", name = "web-*", keep = 0, older_than = "30d", delete_snapshots = false }
assert(ids(result["eu-1"].removed) == "ami-1 ami-4" and young.removed[1] == "ami-1 without snapshots")
support.fails(function() aws.prune_images { client = young.client } end, "lest all images of the account go")
support.fails(function() aws.prune_images { client = young.client, name = "x", keep = -1 } end, "option `keep`")
support.fails(function() aws.prune_images { client = young.client, name = "x", older_than = "a while" } end, "a duration")
local refused = cloud({ ["eu-1"] = many() }, function(_, call) if call == "deregister_image" then rimg.fail "not allowed" end end)
support.fails(function() aws.prune_images { client = refused.client, regions = { "eu-1" }, name = "web-*", keep = 0 } end, "1 of 1 failed", "eu-1: not allowed")

-- Copies: at once where nothing is, not again where something is, and again where it failed.
local source = { ["eu-1"] = { image("ami-1", "2025-01-01", { name = "web-1.4.0" }) } }
local copies = cloud(source)
local found = aws.copy_to_regions("ami-1", {
  from = "eu-1", regions = { "eu-1", "us-1", "ap-1" }, client = copies.client, users = { "123456789012" }, tags = { application = "shop" },
  kms_key_ids = { ["us-1"] = "alias/images", ["ap-1"] = "" }, deprecate_at = "2027-01-01T00:00:00Z",
})
assert(found["eu-1"] == "ami-1" and found["us-1"] == "ami-us-1-1" and found["ap-1"] == "ami-ap-1-1")
assert(#copies.copied == 2 and copies.shared["ami-us-1-1"].users[1] == "123456789012" and copies.deprecated:find "2027")
for _, asked in ipairs(copies.copied) do
  assert(asked.name == "web-1.4.0" and asked.tags["rimg:copy-of"] == "eu-1/ami-1" and asked.tags.application == "shop")
  assert(asked.encrypted and asked.copy_image_tags and #asked.client_token <= 64)
  assert(asked.kms_key_id == (asked.client_token:find "us%-1" and "alias/images" or nil))
end
local again = aws.copy_to_regions({ ["eu-1"] = "ami-1" }, { regions = { "us-1", "ap-1", "eu-2" }, client = copies.client })
assert(again["us-1"] == "ami-us-1-1" and again["eu-2"] == "ami-eu-2-1" and #copies.copied == 3)
-- One that failed is made again, under another token.
copies.images["us-1"][1].state = "failed"
assert(aws.copy_to_regions("ami-1", { from = "eu-1", regions = { "us-1" }, client = copies.client })["us-1"] == "ami-us-1-1")
assert(copies.removed[1] == "ami-us-1-1" and #copies.images["us-1"] == 1 and not copies.copied[4].client_token:find "us%-1$")
-- An artifact knows where it is; nothing is asked where there is nothing to do.
local idle = cloud {}
assert(aws.copy_to_regions({ ["eu-1"] = "ami-1", ["us-1"] = "ami-2" }, { regions = { "us-1" }, client = idle.client })["us-1"] == "ami-2")
assert(next(idle.calls) == nil)

-- A region that fails now and then, one whose answer is lost after the copy was made, one that never works.
local flaky = cloud({ ["eu-1"] = { image("ami-1", "2025-01-01") } }, function(region)
  if region == "us-3" then rimg.fail "never" end
end)
local lost = flaky.client
function flaky.client(region)
  local client = lost(region)
  local copy_image = client.copy_image
  function client:copy_image(o)
    local id = copy_image(self, o)
    if region == "us-2" and #flaky.images[region] == 1 then rimg.timeout("1ms", function() rimg.sleep(5) end) end
    return id
  end
  return client
end
local function copied(more)
  local all = { regions = { "us-2", "us-3" }, client = flaky.client, backoff = 0.01, name = "x" }
  for name, value in pairs(more) do all[name] = value end
  return aws.copy_to_regions({ ["eu-1"] = "ami-1" }, all)
end
local ok, errors = copied { check = false }
assert(ok["us-2"] == "ami-us-2-1" and #flaky.images["us-2"] == 1 and ok["us-3"] == nil and errors["us-3"].message == "never")
support.fails(function() copied {} end, "1 of 2 regions failed", "us-3: never", "run it again")
support.fails(function() aws.copy_to_regions("ami-1", { regions = { "us-1" } }) end, "option `from`: is required")
support.fails(function() aws.copy_to_regions({}, { regions = { "us-1" } }) end, "there is no image to copy")
support.fails(function() aws.copy_to_regions({ ["eu-1"] = "ami-1" }, { regions = { "us-1" }, from = "us-9" }) end, "the image is not in us-9")
support.fails(function() aws.copy_to_regions({ ["eu-1"] = "ami-1" }, { regions = { "us-1" }, kms_key_ids = { ["us-2"] = "x" } }) end, "us-1")
support.fails(function() aws.copy_to_regions({ ["eu-1"] = "ami-9" }, { regions = { "us-1" }, client = cloud({}).client }) end, "there is no image ami-9 in eu-1")
