--- Amazon's images: finding the newest, copying to regions, cleaning old ones up. Plain Lua over `rimg.amazon.client`.
---
---     local aws = require "std.aws"
---     local base = aws.latest_image { region = "eu-central-1", owner = "136693071363", name = "debian-12-amd64-*" }
---     local ids  = aws.copy_to_regions(image, { regions = { "us-east-1", "ap-south-1" } })
---     aws.prune_images { regions = { "eu-central-1", "us-east-1", "ap-south-1" }, name = "web-*", keep = 3 }

local rimg    = require "rimg"
local options = require "std.options"
local regions = require "std.regions"

local M = {}

-- Which image a copy was made of: what is there already is known by it and by its name.
local COPY_OF = "rimg:copy-of"

-- What may be gone the next time; a refusal or a wrong option is not.
local WORTH_ANOTHER = { "network", "timeout", "cloud" }

-- Whom to ask: what every function takes. A function gives a client for each region.
local ACCESS = { client = { "object", "function", "table" }, region = { "string" }, access = { "table", default = {} } }

local function with_access(specification)
  for name, kinds in pairs(ACCESS) do specification[name] = kinds end
  return specification
end

-- Returns a client for a region; nil is the client's own, or the environment's.
local function client_for(what, o, region)
  local client = o.client
  if type(client) == "function" then return client(region) end
  if client then
    if region and region ~= client.region then
      rimg.fail(("%s: option `client`: it is one for %s, and cannot ask %s"):format(what, client.region, region), {
        hint = 'give `access = { profile = … }` in its place, or a function: client = function(region) return rimg.amazon.client { region = region } end',
      })
    end
    return client
  end
  local access = {}
  for name, value in pairs(o.access) do access[name] = value end
  access.region = region or access.region
  return rimg.amazon.client(access)
end

local function merged(...)
  local all = {}
  for _, one in ipairs { ... } do
    for name, value in pairs(one) do all[name] = value end
  end
  return all
end

-- Filters as EC2 takes them, of the options that stand for the usual ones.
local function filters_of(o, more)
  return merged(more, { name = o.name, architecture = o.architecture }, o.filters)
end

local function shown(filters)
  local list = {}
  for name, value in pairs(filters) do
    list[#list + 1] = name .. "=" .. (type(value) == "table" and table.concat(value, "|") or tostring(value))
  end
  table.sort(list)
  return table.concat(list, ", ")
end

-- Returns the images of one page after another in the order of their making, newest first, whatever the client's order.
local function newest_first(images)
  table.sort(images, function(a, b)
    if a.creation_date ~= b.creation_date then return (a.creation_date or "") > (b.creation_date or "") end
    return a.id > b.id
  end)
  return images
end

--- The newest image that is available and like this.
function M.latest_image(given)
  local o = options.check("aws.latest_image", given, with_access {
    name = { "string" }, owner = { "string" }, owners = { "strings" }, architecture = { "string" },
    filters = { "table", default = {} }, include_deprecated = { "boolean", default = false }, optional = { "boolean", default = false },
  })
  if o.owner and o.owners then rimg.fail("aws.latest_image: option `owners`: give it or `owner`, not both") end
  local owners = o.owners or { o.owner }
  if #owners == 0 then
    rimg.fail("aws.latest_image: option `owner`: is required, since anybody can give an image any name", {
      hint = '"self" for your own images, "amazon", or the account number of whom you trust',
    })
  end
  if not o.name and next(o.filters) == nil then
    rimg.fail("aws.latest_image: option `name`: it, or `filters`, is required", { hint = 'name = "debian-12-amd64-*"' })
  end
  local client = client_for("aws.latest_image", o, o.region)
  local filters = filters_of(o, { state = "available" })
  local found = newest_first(client:images { owners = owners, filters = filters, include_deprecated = o.include_deprecated })
  if not found[1] and not o.optional then
    rimg.fail(("aws.latest_image: no image of %s in %s has %s"):format(table.concat(owners, ", "), client.region, shown(filters)), {
      hint = { "is it the right region, and the right owner?", "include_deprecated = true finds old ones of others, optional = true returns nil instead of this" },
    })
  end
  return found[1]
end

--- Waits until an image is available or a snapshot is complete.
function M.wait(given)
  local o = options.check("aws.wait", given, with_access { image_id = { "string" }, snapshot_id = { "string" }, timeout = { "duration" } })
  if (o.image_id == nil) == (o.snapshot_id == nil) then
    rimg.fail "aws.wait: option `image_id`: it or `snapshot_id` is required, and not both"
  end
  local client = client_for("aws.wait", o, o.region)
  if o.image_id then return client:wait_image(o.image_id, { timeout = o.timeout }) end
  return client:wait_snapshot(o.snapshot_id, { timeout = o.timeout })
end

-- Seconds since 1970 of "2027-01-01T10:00:00.000Z": `os.time` would take it for this host's own time.
local function seconds_of(date)
  local year, month, day, hour, minute, second = (date or ""):match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)"
  if not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  -- Days of the civil calendar, counted in years that begin in March: leap days come last.
  if month <= 2 then year, month = year - 1, month + 12 end
  local days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
  return days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

local function is_protected(image)
  local protection = image.deregistration_protection
  return protection ~= nil and protection ~= false and protection ~= "" and protection ~= "disabled"
end

-- What never was, or will be, an image: it counts for nothing that is to be kept.
local FAILED = { failed = true, invalid = true, error = true }

-- Returns which images go and which stay; the newest `keep` of those that can be used do.
local function sorted_out(images, o)
  local old, kept, usable = {}, {}, 0
  for _, image in ipairs(newest_first(images)) do
    local usable_now = image.state == "available"
    if usable_now then usable = usable + 1 end
    local made = seconds_of(image.creation_date)
    local young = o.seconds and (made == nil or rimg.timestamp() - made < o.seconds)
    local goes = (usable_now and usable > o.keep or FAILED[image.state]) and not young and not is_protected(image)
    local list = goes and old or kept
    list[#list + 1] = image
  end
  return old, kept
end

--- Deregisters all of one's own images that are like this, but the newest.
function M.prune_images(given)
  local o = options.check("aws.prune_images", given, with_access {
    regions = { "strings" }, name = { "string" }, filters = { "table", default = {} }, keep = { "integer", default = 3 },
    older_than = { "duration" }, dry_run = { "boolean", default = false }, delete_snapshots = { "boolean", default = true },
    limit = { "integer", default = 4 }, attempts = { "integer", default = 3 },
  })
  if not o.name and next(o.filters) == nil then
    rimg.fail("aws.prune_images: option `name`: it, or `filters`, is required, lest all images of the account go", {
      hint = 'name = "web-*", or filters = { ["tag:application"] = "shop" }',
    })
  end
  if o.keep < 0 then rimg.fail "aws.prune_images: option `keep`: is less than 0" end
  if o.regions and o.region then rimg.fail "aws.prune_images: option `regions`: give it or `region`, not both" end
  o.seconds = options.seconds(o.older_than)
  local list = o.regions or { o.region or client_for("aws.prune_images", o).region }
  return regions.each(list, { limit = o.limit, attempts = o.attempts, on = WORTH_ANOTHER }, function(region)
    local client = client_for("aws.prune_images", o, region)
    local old, kept = sorted_out(client:images { owners = { "self" }, filters = filters_of(o, {}) }, o)
    for _, image in ipairs(old) do
      rimg.log.info(("%s: %s %s (%s), made %s"):format(region, o.dry_run and "would remove" or "removes", image.id, image.name, image.creation_date))
      if not o.dry_run then client:deregister_image(image.id, { delete_snapshots = o.delete_snapshots }) end
    end
    return { removed = old, kept = kept }
  end).results
end

-- Returns the ids by region that an artifact, a table or (with `from`) a text says.
local function images_of(image, from)
  local images = {}
  if type(image) == "userdata" then
    images = image.metadata.images or {}
    if next(images) == nil then
      for region, id in image.id:gmatch "([%w-]+):(ami%-[%w-]+)" do images[region] = id end
    end
  elseif type(image) == "table" then
    images = image
  elseif type(image) == "string" and from then
    images[from] = image
  elseif type(image) == "string" then
    rimg.fail("aws.copy_to_regions: option `from`: is required with an image's id", { hint = 'from = "eu-central-1"' })
  end
  if next(images) == nil then
    rimg.fail("aws.copy_to_regions: there is no image to copy: expected an artifact of rimg.amazon.ebs, an id, or a table of ids by region")
  end
  return images
end

-- Returns the region to copy from: the one that is named, else the only one, else the first by name.
local function origin(images, from)
  if from then
    if not images[from] then rimg.fail(("aws.copy_to_regions: option `from`: the image is not in %s"):format(from)) end
    return from
  end
  local names = {}
  for region in pairs(images) do names[#names + 1] = region end
  table.sort(names)
  return names[1]
end

-- Returns what has to be shared with whom, or nil.
local function audience(o)
  local with = { users = o.users, groups = o.groups, organization_arns = o.organization_arns, organizational_unit_arns = o.organizational_unit_arns }
  return next(with) ~= nil and with or nil
end

-- Returns the copy of an image that is in a client's region: one that is there or on its way, else a new one.
local function copy(client, from, id, o, token)
  local marked = client:images { owners = { "self" }, filters = { name = o.name, ["tag:" .. COPY_OF] = from .. "/" .. id } }
  local failed = false
  for _, one in ipairs(newest_first(marked)) do
    -- A retry goes on where the last attempt, or the last run, was.
    if one.state == "available" then return one.id, true end
    if one.state == "pending" then return client:wait_image(one.id, { timeout = o.timeout }).id, true end
    -- What is no image takes the name of one; and its token would give it back.
    client:deregister_image(one.id, { delete_snapshots = true })
    failed = true
  end
  local key = o.kms_key_ids[client.region]
  local encrypted = o.encrypted
  if key ~= nil then encrypted = true end
  return client:copy_image {
    source_region = from, source_image_id = id, name = o.name, description = o.description, copy_image_tags = o.copy_image_tags,
    tags = merged(o.tags, { [COPY_OF] = from .. "/" .. id }), snapshot_tags = merged(o.tags, o.snapshot_tags),
    encrypted = encrypted, kms_key_id = key ~= "" and key or nil, timeout = o.timeout,
    -- The same request again is the same copy.
    client_token = failed and rimg.uuid() or token .. "-" .. client.region,
  }
end

--- Copies an image to regions, side by side; what is there already is not copied again.
function M.copy_to_regions(image, given)
  local what = "aws.copy_to_regions"
  local o = options.check(what, given, {
    from = { "string" }, regions = { "strings", required = true }, name = { "string" }, description = { "string" },
    limit = { "integer", default = 4 }, attempts = { "integer", default = 3 }, backoff = { "string", "number", default = "5s" },
    tags = { "table", default = {} }, snapshot_tags = { "table", default = {} }, copy_image_tags = { "boolean", default = true },
    kms_key_ids = { "table", default = {} }, encrypted = { "boolean" },
    users = { "strings" }, groups = { "strings" }, organization_arns = { "strings" }, organizational_unit_arns = { "strings" },
    deprecate_at = { "string" }, timeout = { "duration" }, check = { "boolean", default = true },
    client = { "function" }, access = { "table", default = {} },
  })
  local images = images_of(image, o.from)
  local from = origin(images, o.from)
  local found, missing = { [from] = images[from] }, {}
  for _, region in ipairs(o.regions) do
    if images[region] then found[region] = images[region] else missing[#missing + 1] = region end
  end
  for region in pairs(o.kms_key_ids) do
    options.one_of(what .. ": option `kms_key_ids`", region, o.regions)
  end
  if #missing == 0 then return found, {} end
  if not o.name then
    local source = client_for(what, o, from):image(images[from])
    if not source then rimg.fail(("%s: there is no image %s in %s"):format(what, images[from], from)) end
    o.name = source.name
  end
  local token = rimg.uuid()
  local done = regions.each(missing, { limit = o.limit, attempts = o.attempts, backoff = o.backoff, on = WORTH_ANOTHER, check = false }, function(region)
    local client = client_for(what, o, region)
    local id, there = copy(client, from, images[from], o, token)
    if audience(o) then client:share_image(id, audience(o)) end
    if o.deprecate_at then client:deprecate_image(id, { at = o.deprecate_at }) end
    rimg.log.info(("%s: %s%s"):format(region, id, there and ", which was there already" or ""))
    return id
  end)
  for region, id in pairs(done.results) do found[region] = id end
  if done.ok or not o.check then return found, done.errors end
  local lines = {}
  for _, region in ipairs(done.failed) do
    local err = done.errors[region]
    lines[#lines + 1] = ("  %s: %s"):format(region, type(err) == "userdata" and err.message or tostring(err))
  end
  rimg.fail(("%s: %d of %d regions failed:\n%s"):format(what, #lines, #missing, table.concat(lines, "\n")), {
    hint = { "the copies that are done stay: run it again, and only what is missing is copied", "with check = false the ids of the others are returned, and the errors beside them" },
  })
end

return M
