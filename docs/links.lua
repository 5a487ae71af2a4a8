-- Checks a website that mdbook has made: each link leads to a page and a place in it, and nothing comes from elsewhere.
--
--     rimg run docs/links.lua -v book=FOLDER

local rimg = require "rimg"
local book = rimg.var("book", { default = "../target/book", help = "the folder of the website" })

local function read(path)
  local page = { ids = {}, links = {}, sources = {} }
  for tag, attributes in rimg.fs.read(path):gmatch "<(%a+)([^>]*)>" do
    local id = attributes:match '%f[%a]id="([^"]*)"'
    if id then page.ids[id] = true end
    local link = attributes:match '%f[%a]href="([^"]*)"' or attributes:match '%f[%a]src="([^"]*)"'
    if link then table.insert(tag == "a" and page.links or page.sources, (link:gsub("&amp;", "&"))) end
  end
  return page
end

local pages, count, broken = {}, 0, {}
for _, path in ipairs(rimg.fs.glob(rimg.fs.join(book, "**/*.html"))) do pages[rimg.fs.absolute(path)] = read(path) end

local function check(from, link)
  local path, anchor = link:match "^([^#]*)#?(.*)$"
  local target = path == "" and from or rimg.fs.absolute(rimg.fs.join(rimg.fs.dirname(from), path))
  local page = pages[target] or pages[rimg.fs.join(target, "index.html")]
  count = count + 1
  if not page and not rimg.fs.exists(target) or anchor ~= "" and not (page and page.ids[anchor]) then
    table.insert(broken, from .. ": " .. link)
  end
end

for from, page in pairs(pages) do
  for _, link in ipairs(page.links) do
    if not link:match "^%a[%w+.-]*:" then check(from, link) end
  end
  for _, source in ipairs(page.sources) do
    if source:match "^%a+:" or source:match "^//" then
      table.insert(broken, from .. ": is from another site: " .. source)
    elseif rimg.fs.basename(from) ~= "404.html" then
      check(from, source)
    end
  end
end

table.sort(broken)
if #broken > 0 then rimg.fail(("%d links lead nowhere:\n%s"):format(#broken, table.concat(broken, "\n"))) end
print(count .. " links checked.")
