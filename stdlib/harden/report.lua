--- An audit's report: as text, JSON, and a page of HTML.

local rimg = require "rimg"

local M = {}

local STATES = { holds = "holds", differs = "does not hold", skipped = "does not apply" }

local function escaped(text)
  return (tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

--- Returns a page of HTML that needs nothing else.
function M.html(report)
  local rows = {}
  for _, result in ipairs(report.results) do
    rows[#rows + 1] = ('<tr class="%s"><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>'):format(
      result.state, escaped(result.rule), escaped(result.title), escaped(result.references), STATES[result.state], escaped(result.found))
  end
  return ([[
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%s</title><style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; width: 100%% } th, td { text-align: left; vertical-align: top; padding: .3em .6em; border-bottom: 1px solid #ddd }
td:last-child { overflow-wrap: anywhere } .differs td:nth-child(4) { color: #b00020; font-weight: 600 }
.holds td:nth-child(4) { color: #1b6e2e } .skipped { color: #777 }
</style></head><body>
<h1>%s</h1>
<p>%s: %d of %d rules hold; %d do not; %d do not apply.</p>
<table><thead><tr><th>Rule</th><th>What is wanted</th><th>References</th><th>State</th><th>Found</th></tr></thead><tbody>
%s
</tbody></table></body></html>
]]):format(escaped(report.name), escaped(report.name), escaped(report.system), report.held, report.held + report.failed, report.failed,
    report.skipped, table.concat(rows, "\n"))
end

--- Returns a line for each rule that does not hold.
function M.text(report)
  local lines = {}
  for _, result in ipairs(report.results) do
    if result.state == "differs" then
      lines[#lines + 1] = ("%s: %s%s"):format(result.rule, result.found, result.references ~= "" and (" (%s)"):format(result.references) or "")
    end
  end
  return table.concat(lines, "\n")
end

--- Writes the files that are asked for.
function M.write(report, o)
  if o.json then rimg.fs.write(o.json, rimg.json.encode(report, { pretty = true }) .. "\n") end
  if o.html then rimg.fs.write(o.html, M.html(report)) end
end

return M
