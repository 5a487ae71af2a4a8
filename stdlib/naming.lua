--- Names and tags of images by one convention, and by the rules of the platform that they are for.
---
---     local naming = require "std.naming"
---     local name = naming.name { application = "shop", layer = "web", version = "1.4.0", platform = "amazon" }
---     -- shop-web-1.4.0-20240501-3f2a9c1

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

-- What each platform's documentation says of an image's name: its length, the characters, and how it begins and ends.
-- `fold` is what is done to a name before: what a platform has no capitals or dots for.
local RULES = {
  amazon    = { min = 3, max = 128, characters = "[%w()%[%] ./'@_-]", said = "letters, digits, spaces and ( ) [ ] . / - ' @ _" },
  azure     = { min = 1, max = 80, characters = "[%w_.-]", first = "[%w]", last = "[%w_]", said = "letters, digits, _ . -, with a letter or digit first" },
  google    = { min = 1, max = 63, characters = "[%l%d-]", first = "[%l]", last = "[%l%d]", fold = true,
    said = "small letters, digits and -, with a letter first and no - at the end" },
  openstack = { min = 1, max = 255, characters = "[^%c]", said = "anything but control characters" },
  docker    = { min = 1, max = 128, characters = "[%w_.-]", first = "[%w_]", said = "letters, digits, _ . -, as a tag; no . or - first" },
  vagrant   = { min = 1, max = 128, characters = "[%w_.-]", first = "[%w]", said = "letters, digits, _ . -" },
  file      = { min = 1, max = 200, characters = "[%w_.+-]", first = "[%w_]", said = "letters, digits, _ . + -" },
}

local function platforms()
  local names = {}
  for name in pairs(RULES) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Fails unless a platform takes the name for an image.
function M.check(platform, name)
  options.one_of("naming.check: the platform", platform, platforms())
  local rule = RULES[platform]
  local function wrong(what)
    rimg.fail(("naming: %q is no image's name for %s: %s"):format(name, platform, what), {
      hint = ("it takes %d to %d characters: %s"):format(rule.min, rule.max, rule.said),
    })
  end
  if #name < rule.min or #name > rule.max then wrong(("it has %d characters"):format(#name)) end
  for n = 1, #name do
    local c = name:sub(n, n)
    if not c:match(rule.characters) then wrong(("it has the character %q"):format(c)) end
  end
  if rule.first and not name:sub(1, 1):match(rule.first) then wrong(("it begins with %q"):format(name:sub(1, 1))) end
  if rule.last and not name:sub(-1):match(rule.last) then wrong(("it ends with %q"):format(name:sub(-1))) end
  return name
end

local FIELDS = {
  application = { "string", required = true }, layer = { "string" }, version = { "string" }, revision = { "string", "boolean" },
  date = { "string", "boolean" }, platform = { "string", one_of = platforms(), default = "file" }, separator = { "string", default = "-" },
}

-- The parts with what is known without being told: the commit and the day.
local function parts(what, given)
  local o = options.check(what, given, FIELDS)
  if o.revision == nil or o.revision == true then
    local git = rimg.git()
    o.revision = git and git.short and git.short .. (git.dirty and ".dirty" or "") or nil
  end
  if o.date == nil or o.date == true then o.date = rimg.isotime "%Y%m%d" end
  for _, part in ipairs { "application", "layer", "version", "revision", "date" } do
    o[part] = o[part] or nil
    if o[part] == "" then rimg.fail(("%s: option `%s`: is empty"):format(what, part)) end
  end
  return o
end

--- The name of an image: application, layer, version, day and commit, as far as they are known.
function M.name(given)
  local o = parts("naming.name", given)
  local list = {}
  for _, part in ipairs { "application", "layer", "version", "date", "revision" } do
    if o[part] then list[#list + 1] = o[part] end
  end
  local name = table.concat(list, o.separator)
  if RULES[o.platform].fold then name = name:lower():gsub("[^%l%d-]", "-") end
  return M.check(o.platform, name)
end

--- The same as a table of tags, named as the platform wants it.
function M.tags(given)
  local o = parts("naming.tags", given)
  local tags = {}
  for _, part in ipairs { "application", "layer", "version", "date", "revision" } do
    if o[part] then tags[part] = o.platform == "google" and o[part]:lower():gsub("[^%l%d_-]", "-") or o[part] end
  end
  tags.builder = "rimg"
  -- Google has names of its own for images, and labels have no room for them.
  if o.platform == "amazon" then tags.Name = M.name(given) end
  local longest = o.platform == "google" and 63 or 256
  for name, value in pairs(tags) do
    if #value > longest then
      rimg.fail(("naming.tags: the tag %s has %d characters, and %s takes %d"):format(name, #value, o.platform, longest))
    end
  end
  return tags
end

return M
