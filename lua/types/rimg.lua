---@meta rimg

---rimg builds machine images. A script requires it once: `local rimg = require "rimg"`.
---@class rimg
---@field version string The version of rimg that runs the script.
---@field script_dir string The script's folder; relative paths start here.
---@field cache_dir string The folder of what can be made again, `RIMG_CACHE_DIR`: a module that keeps things keeps them in a folder of its own there.
local rimg = {}

---What sort of thing went wrong: what `err.kind` may be, what `rimg.retry` and `std.regions` take as `on`, and what `--json`
---shows.
---@alias rimg.ErrorKind
---| "usage" # The command line, a variable or a variables file is wrong.
---| "script" # The Lua script itself: syntax, a runtime error, `rimg.fail`.
---| "option" # An option's name, type or value.
---| "io" # A file or folder on this host.
---| "host" # A program on this host is missing, or it failed.
---| "network" # Name resolution, connection, HTTP.
---| "checksum" # Content is not what its checksum says.
---| "connect" # Nothing answers, or not by the protocol that was asked for.
---| "auth" # The other side is reached and refuses the credentials.
---| "machine" # The machine died, or cannot start.
---| "command" # A command, on a machine or on this host, ended with a status that is not accepted.
---| "timeout" # Something took longer than it was allowed to.
---| "cancelled" # The run, the build or the operation was cancelled.
---| "exists" # An output is there already.
---| "cloud" # A cloud refuses, or fails at, what it was asked for; `err.code` is its own code.
---| "unsupported" # This builder, format or host cannot do it.
---| "internal" # A defect of rimg: please report it.

---An error that rimg raises. `pcall` gives it back; other errors are what the script itself raised.
---
---```lua
---local ok, err = pcall(vm.run, vm, "systemctl is-active nginx")
---if not ok and err.kind == "command" then rimg.log.warn(err.status, err.stdout) end
---```
---@class rimg.Error
---@field kind rimg.ErrorKind What sort of thing went wrong.
---@field message string What happened, where and why.
---@field hint? string What to do about it.
---@field hints string[] All that is known to help.
---@field status? integer The exit status, of a failed command.
---@field stdout? string What a failed command wrote.
---@field stderr? string What a failed command wrote to its error output.
---@field machine? string The machine an operation failed on.
---@field operation? string The operation that failed: `run`, `upload`, …
---@field option? string The path of the option that is wrong.
---@field code? string What a cloud calls it: `"InvalidAMIID.NotFound"`.
---@field action? string The request that a cloud refused, as its policies call it: `"ec2:RunInstances"`.

-- Builds ---------------------------------------------------------------------

---@class rimg.BuildOptions
---@field timeout? rimg.Duration How long the build may take in all: `"40m"`. Default: no limit.
---@field on_error? fun(vm?: rimg.Machine, err: rimg.Error, machines: rimg.Machine[]) Called when the build has failed, before its machines are removed: with the machine made last of those that still run (nil where none does), the error, and all that run, the last made first. It has two minutes. An error of its own is a warning. Not called when the build is cancelled.

---A build that has been started.
---@class rimg.Build
---@field name string What it is called.
---@field status "deferred"|"running"|"done"|"failed" `deferred`: left out by `--only` or `--except`, and runs when it is awaited.
local Build = {}

---Waits until the build has ended and returns what its function returned. A build that failed raises its error here.
---A build that waits gives its place under `--parallel` to another one.
---@return any ...
function Build:await() end

---Starts a build, which runs beside the others.
---
---```lua
---local base = rimg.build("base", { timeout = "1h" }, function()
---  return rimg.qemu({ source_image = "image.qcow2", ssh_username = "admin" }):finish { output_directory = "out/base" }
---end)
---rimg.build("web", function()
---  local vm = rimg.qemu { source_image = base:await(), ssh_username = "admin" }
---  vm:run "make image"
---end)
---```
---@param name string What outputs and log lines are called after; unique, without slashes.
---@param options rimg.BuildOptions
---@param fn fun(): any
---@return rimg.Build
---@overload fun(name: string, fn: fun(): any): rimg.Build
function rimg.build(name, options, fn) end

-- What a run is given --------------------------------------------------------

---@class rimg.VarOptions
---@field default? any The value when none is given; its type is the variable's type. Without it the variable is required.
---@field help? string What `rimg inspect` says of it.
---@field type? "string"|"number"|"boolean"|"list" The type, where the default does not tell it. Default: that of `default`, else `string`.
---@field choices? string[] The only values that are accepted: `{ "amd64", "arm64" }`. Default: any.

---Returns the value of a variable: from `-v name=value`, else from a `--var-file`, else from the environment variable
---`RIMG_VAR_name`, else the default.
---
---```lua
---local version = rimg.var("version", { default = "1.0.0", help = "of the image" })
---local mirrors = rimg.var("mirrors", { default = { "https://one.example.org" } })
---```
---@param name string
---@param options? rimg.VarOptions
---@return any
function rimg.var(name, options) end

---@class rimg.SecretOptions
---@field env? string The environment variable to read it from: `"CI_JOB_TOKEN"`.
---@field file? string The file to read it from; its last line break does not count.
---@field optional? boolean Whether nil is returned when there is none. Default: false, and it is an error.
---@field help? string What `rimg inspect` says of it.

---Returns a value that is masked in everything rimg shows or writes, also where it is quoted, escaped, in base64, in
---hexadecimal or part of a URL. It is looked for where `rimg.var` looks, and in `options.env` and `options.file`. One of
---fewer than four characters is not masked, with a warning: it would be found in anything.
---
---```lua
---local token = rimg.secret("token", { env = "CI_JOB_TOKEN", optional = true })
---```
---@param name string
---@param options? rimg.SecretOptions
---@return string
function rimg.secret(name, options) end

-- Control flow ---------------------------------------------------------------

---Waits; other builds go on. `rimg check` does not wait.
---@param duration rimg.Duration
function rimg.sleep(duration) end

---Calls a function as a named group in output and report, and returns its results.
---@generic T
---@param name string
---@param fn fun(...): T
---@param ... any Arguments for the function.
---@return T
function rimg.step(name, fn, ...) end

---Calls a function and cancels what it does when it is not done in time: an error of kind `timeout`.
---
---```lua
---rimg.timeout("10m", function() vm:run "make image" end)
---```
---@generic T
---@param limit rimg.Duration
---@param fn fun(...): T
---@param ... any Arguments for the function.
---@return T
function rimg.timeout(limit, fn, ...) end

---@class rimg.ParallelOptions
---@field limit? integer How many calls run at once. Default: all.

---Calls `fn(value, key)` for each entry of a table, side by side, and returns the results under the same keys. Without
---`fn` the entries themselves are functions. The first error cancels the other calls and is raised.
---
---```lua
---local sizes = rimg.parallel({ "amd64", "arm64" }, function(arch)
---  return rimg.http.head("https://example.org/" .. arch .. ".qcow2").headers["content-length"]
---end, { limit = 2 })
---```
---@generic K, V, R
---@param items table<K, V>
---@param fn? fun(value: V, key: K): R
---@param options? rimg.ParallelOptions
---@return table<K, R>
function rimg.parallel(items, fn, options) end

---@class rimg.RetryOptions
---@field attempts? integer How often the function is called at most. Default: 3.
---@field backoff? rimg.Duration The wait before the second call: `"500ms"`. Default: 1 s.
---@field factor? number What each further wait is multiplied with; 1 keeps it as it is. Default: 2.
---@field max_backoff? rimg.Duration The longest wait: `"30s"`. Default: 1 min.
---@field on? rimg.ErrorKind[]|fun(err: any, attempt: integer): boolean The kinds of error that are worth another call, `{ "network", "timeout" }`, or a function that says so. Default: all.

---Calls a function until it returns, and returns its results; the last error is raised.
---
---```lua
---rimg.retry({ attempts = 5, backoff = "2s", on = { "command" } }, function() vm:run "sudo apt-get update" end)
---```
---@generic T
---@param options rimg.RetryOptions
---@param fn fun(...): T
---@param ... any Arguments for the function.
---@return T
---@overload fun(fn: function): any
function rimg.retry(options, fn, ...) end

-- Artifacts of existing files ------------------------------------------------

---Makes an artifact of files that are there, for post-processing.
---
---```lua
---rimg.artifact("image.qcow2"):compress { output = "out/image.qcow2.zst" }
---```
---@param options rimg.ArtifactOptions|string[]|string
---@return rimg.Artifact
function rimg.artifact(options) end

return rimg
