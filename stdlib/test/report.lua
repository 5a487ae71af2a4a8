--- Results as JUnit XML and TAP.

local M = {}

local function xml(text)
  local escaped = tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" })
  -- XML has no place for these, not even escaped.
  return (escaped:gsub("[%z\1-\8\11\12\14-\31]", "\u{FFFD}"))
end

local function said(result)
  return ("expected %s, found %s"):format(result.expected, result.found)
end

--- JUnit's XML, as CI servers read it.
function M.junit(report)
  local lines = {
    '<?xml version="1.0" encoding="UTF-8"?>',
    ('<testsuite name="%s" tests="%d" failures="%d" errors="0" skipped="%d">'):format(
      xml(report.name), report.count, report.failed, report.skipped),
  }
  for _, result in ipairs(report.results) do
    local case = ('  <testcase classname="%s" name="%s"'):format(xml(result.kind), xml(result.title))
    if result.skipped then
      lines[#lines + 1] = case .. "><skipped/></testcase>"
    elseif result.ok then
      lines[#lines + 1] = case .. "/>"
    else
      lines[#lines + 1] = ('%s><failure message="%s"/></testcase>'):format(case, xml(said(result)))
    end
  end
  lines[#lines + 1] = "</testsuite>\n"
  return table.concat(lines, "\n")
end

--- The Test Anything Protocol, version 13.
function M.tap(report)
  local lines = { "TAP version 13", ("1..%d"):format(report.count) }
  for n, result in ipairs(report.results) do
    -- A # would begin a directive.
    local title = ("%s %s"):format(result.kind, result.title):gsub("[\n\r]", " "):gsub("#", "\\#")
    lines[#lines + 1] = ("%s %d - %s%s"):format(result.ok and "ok" or "not ok", n, title, result.skipped and " # SKIP" or "")
    if not result.ok then lines[#lines + 1] = "# " .. said(result):gsub("[\n\r]", " ") end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- One line for each result that does not hold.
function M.failures(report)
  local lines = {}
  for _, result in ipairs(report.results) do
    if not result.ok then lines[#lines + 1] = ("  %s %s: %s"):format(result.kind, result.title, said(result)) end
  end
  return table.concat(lines, "\n")
end

return M
