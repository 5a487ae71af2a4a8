--- Locales, keyboards and time zones: what is known, and what each format calls a keyboard.

local rimg    = require "rimg"
local options = require "std.options"

local M = {}

-- The locales of glibc in UTF-8, by language.
local LOCALES = [[
af ZA; am ET; ar AE BH DZ EG IQ JO KW LB LY MA OM QA SA SD SY TN YE; az AZ; be BY; bg BG; bn BD IN; bs BA; ca AD ES FR IT;
cs CZ; cy GB; da DK; de AT BE CH DE IT LI LU; el CY GR; en AG AU BW CA DK GB HK IE IL IN NG NZ PH SC SG US ZA ZM ZW;
es AR BO CL CO CR CU DO EC ES GT HN MX NI PA PE PR PY SV US UY VE; et EE; eu ES FR; fa IR; fi FI; fo FO; fr BE CA CH FR LU;
fy DE NL; ga IE; gd GB; gl ES; gu IN; ha NG; he IL; hi IN; hr HR; hu HU; hy AM; id ID; ig NG; is IS; it CH IT; ja JP; ka GE;
kk KZ; km KH; kn IN; ko KR; ku TR; ky KG; lb LU; lo LA; lt LT; lv LV; mg MG; mk MK; ml IN; mn MN; mr IN; ms MY; mt MT; my MM;
nb NO; ne NP; nl AW BE NL; nn NO; oc FR; or IN; pa IN PK; pl PL; ps AF; pt BR PT; ro RO; ru RU UA; rw RW; sd IN; se NO; si LK;
sk SK; sl SI; so SO; sq AL MK; sr ME RS; sv FI SE; sw KE TZ; ta IN LK; te IN; tg TJ; th TH; tk TM; tr CY TR; tt RU; ug CN;
uk UA; ur IN PK; uz UZ; vi VN; wo SN; xh ZA; yo NG; zh CN HK SG TW; zu ZA
]]

-- By the names that `keyboard_layout` has: XKB's layout and variant, Debian's installer's word where it has one of its own,
-- and YaST's.
local KEYBOARDS = {
  us = { "us", suse = "english-us" }, ["us-intl"] = { "us", "intl", suse = "us-int" }, uk = { "gb", suse = "english-uk" },
  ie = { "ie" }, de = { "de", suse = "german" }, ch = { "ch", suse = "german-ch" }, ["ch-fr"] = { "ch", "fr", suse = "french-ch" },
  fr = { "fr", debian = "fr(latin9)", suse = "french" }, be = { "be", suse = "belgian" }, ca = { "ca", suse = "french-ca" },
  es = { "es", suse = "spanish" }, latam = { "latam", suse = "spanish-lat" }, pt = { "pt", suse = "portugese" },
  br = { "br", suse = "portugese-br" }, it = { "it", suse = "italian" }, se = { "se", suse = "swedish" },
  fi = { "fi", suse = "finnish" }, no = { "no", suse = "norwegian" }, dk = { "dk", suse = "danish" },
  is = { "is", suse = "icelandic" }, nl = { "nl", suse = "dutch" }, pl = { "pl", suse = "polish" }, cz = { "cz", suse = "czech" },
  sk = { "sk", suse = "slovak" }, hu = { "hu", suse = "hungarian" }, ro = { "ro", suse = "romanian" },
  hr = { "hr", suse = "croatian" }, tr = { "tr", suse = "turkish" }, jp = { "jp", suse = "japanese" },
  dvorak = { "us", "dvorak", suse = "dvorak" },
}

--- Returns `de_DE` of `de_DE.UTF-8`; `C` of `C.UTF-8`.
function M.locale(what, text)
  local name, charset = text:match("^([%a_]+)%.?(.*)$")
  if charset ~= "" and not ("UTF-8 utf8 UTF8 utf-8"):find(charset, 1, true) then
    rimg.fail(("%s: option `locale`: %s is not in UTF-8"):format(what, text), { hint = ("%s.UTF-8"):format(name) })
  end
  if name == "C" then return name end
  local known = {}
  for language, countries in LOCALES:gmatch("(%l+) ([%u%s]+)") do
    for country in countries:gmatch("%u+") do known[#known + 1] = language .. "_" .. country end
  end
  for _, one in ipairs(known) do
    if one == name then return name end
  end
  local near = name and options.nearest(name, known)
  rimg.fail(("%s: option `locale`: there is no locale %q"):format(what, text), {
    hint = { near and ("did you mean %q?"):format(near .. ".UTF-8") or 'language and country: "en_US.UTF-8"' },
  })
end

--- Returns `{ layout, variant, debian, suse }`.
function M.keyboard(what, name)
  local names = {}
  for one in pairs(KEYBOARDS) do names[#names + 1] = one end
  table.sort(names)
  if not KEYBOARDS[name] then
    local near = options.nearest(name, names)
    rimg.fail(("%s: option `keyboard`: there is no layout %q"):format(what, name), {
      hint = { near and ("did you mean %q?"):format(near) or "a layout by its country",
        "there are: " .. table.concat(names, ", ") },
    })
  end
  local layout, variant = KEYBOARDS[name][1], KEYBOARDS[name][2]
  return {
    layout = layout, variant = variant, suse = KEYBOARDS[name].suse, name = name,
    debian = KEYBOARDS[name].debian or (variant and variant ~= "intl" and ("%s(%s)"):format(layout, variant)) or layout,
  }
end

--- Checks a time zone: against this host's list where it has one.
function M.timezone(what, zone)
  local function wrong(hint)
    rimg.fail(("%s: option `timezone`: there is no time zone %q"):format(what, zone), { hint = hint })
  end
  if not zone:match("^%a[%w_+-]*$") and not zone:match("^%a[%w_+-]*/[%w_+/-]+$") then wrong('such as "Europe/Berlin" or "Etc/UTC"') end
  local folder = "/usr/share/zoneinfo/"
  if zone == "UTC" or not rimg.fs.exists(folder .. "Etc/UTC") or rimg.fs.exists(folder .. zone) then return zone end
  local names = {}
  local area = zone:match("^(%a+)/")
  for _, path in ipairs(area and rimg.fs.glob(folder .. area .. "/*") or {}) do names[#names + 1] = path:sub(#folder + 1) end
  local near = options.nearest(zone, names)
  wrong(near and ("did you mean %q?"):format(near) or 'such as "Europe/Berlin" or "Etc/UTC"')
end

return M
