---@meta std.test

--- What a machine is expected to be, in the words of goss.
---@class std.test
local test = {}

--- The names of each kind with what is expected of them: a table of attributes as goss has them (`linked-to` may be written
--- `linked_to`), a value for the main attribute, or in a list the name alone.
---@class std.test.Expectations
---@field package table? `installed`, `versions`.
---@field service table? `running`, `enabled`.
---@field port table? `"tcp:22"`: `listening`, `ip`.
---@field file table? `exists`, `mode`, `owner`, `group`, `size`, `filetype`, `linked_to`, `contents`, `md5`, `sha256`, `sha512`.
---@field user table? `exists`, `uid`, `gid`, `groups`, `home`, `shell`.
---@field group table? `exists`, `gid`.
---@field command table? `exit_status`, `stdout`, `stderr`; `exec`, `timeout` in milliseconds (10000).
---@field kernel_param table? `value`.
---@field mount table? `exists`, `opts`, `source`, `filesystem`, `usage`.
---@field http table? `status`, `body`, `headers`; `timeout`, `method`, `username`, `password`, `request_headers`, `allow_insecure`, `no_follow_redirects`.
---@field process table? `running`.
---@field gossfile table? Further goss files of this host.
---@field goss (string|string[])? Goss files of this host, relative to the script.
---@field name string? What reports call the machine. Default: `"machine"`.
---@field junit string? Where a report in JUnit's XML goes on this host. Default: none.
---@field tap string? Where one in the Test Anything Protocol goes. Default: none.
---@field check boolean? Whether an expectation that does not hold is an error. Default: true.
---@field attempts integer? How often what does not hold is looked at again, a second apart. Default: 1, at once.
---@field sudo boolean? Whether it is looked at as root. Default: true.

--- One expectation and what came of it.
---@class std.test.Result
---@field kind string `file`, `service`, …
---@field id string The name.
---@field attribute string
---@field title string Name and attribute.
---@field ok boolean
---@field skipped boolean?
---@field expected string?
---@field found string?

---@class std.test.Report
---@field name string
---@field ok boolean Whether all hold.
---@field count integer
---@field failed integer
---@field skipped integer
---@field results std.test.Result[]

--- Expectations of a machine. Applying it returns a `std.test.Report`, or fails with all that do not hold.
---
--- ```lua
--- image:boot(test.expect { service = { "nginx" }, port = { "tcp:80" }, goss = "goss.yaml" })
--- ```
---@async
---@param options std.test.Expectations
---@return std.Provisioner
function test.expect(options) end

return test
