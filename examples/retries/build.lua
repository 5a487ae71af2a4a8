-- Steps that fail now and then: what is tried again, how often, and what is not worth another try.
--
--     rimg run examples/retries/build.lua -v url=https://example.org/

local rimg = require "rimg"

local url = rimg.var("url", { help = "an address that answers, sooner or later" })
local vm  = rimg.localhost {}

-- One operation again, on its own: `max_retries` and `timeout` are for every operation, and for each attempt of it.
vm:run({ "curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", url .. "/ready" }, { max_retries = 5, timeout = "30s" })

-- Several operations together, and only where another try may help: a command that failed, not a mistake in the script.
local attempt = 0
local page = rimg.retry({ attempts = 5, backoff = "100ms", factor = 2, max_backoff = "10s", on = { "command", "network", "timeout" } }, function()
  attempt = attempt + 1
  return rimg.timeout("30s", function()
    local token = rimg.http.get(url .. "/token").body
    return vm:run({ "curl", "--fail", "--silent", "--header", "Token: " .. token, url .. "/page" }).stdout
  end)
end)
rimg.log.info(("attempt %d: %s"):format(attempt, page))

-- A failure that is expected: an error is a value.
local ok, err = pcall(rimg.http.get, url .. "/missing")
if not ok and err.status == 404 then
  rimg.log.info "nothing is missing"
elseif not ok then
  error(err, 0)
end
