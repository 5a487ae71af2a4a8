---@meta rimg

---rimg builds machine images. A script requires it once: `local rimg = require "rimg"`.
---@class rimg
---@field version string The version of rimg that runs the script.
---@field script_dir string The script's folder; relative paths start here.
---@field cache_dir string The folder of what can be made again, `RIMG_CACHE_DIR`: a module that keeps things keeps them in a folder of its own there.
local rimg = {}

---An error that rimg raises. `pcall` gives it back; other errors are what the script itself raised.
---@class rimg.Error
---@field kind "usage"|"script"|"option"|"io"|"host"|"network"|"checksum"|"connect"|"auth"|"machine"|"command"|"timeout"|"cancelled"|"exists"|"unsupported"|"internal" What sort of thing went wrong.
---@field message string What happened, where and why.
---@field hint? string What to do about it.
---@field hints string[] All that is known to help.
---@field status? integer The exit status, of a failed command.
---@field stdout? string What a failed command wrote.
---@field stderr? string What a failed command wrote to its error output.
---@field machine? string The machine an operation failed on.
---@field operation? string The operation that failed: `run`, `upload`, …
---@field option? string The path of the option that is wrong.

-- Builds ---------------------------------------------------------------------

---@class rimg.BuildOptions
---@field timeout? rimg.Duration How long the build may take in all; no limit by default.
---@field on_error? fun(vm?: rimg.Machine, err: rimg.Error, machines: rimg.Machine[]) Called when the build has failed, before its machines are removed: with the machine made last of those that still run (nil where none does), the error, and all that run, the last made first. It has two minutes. An error of its own is a warning. Not called when the build is cancelled.

---A build that has been started.
---@class rimg.Build
---@field name string
---@field status "deferred"|"running"|"done"|"failed" `deferred`: left out by `--only` or `--except`, and runs when it is awaited.
local Build = {}

---Waits until the build has ended and returns what its function returned. A build that failed raises its error here.
---A build that waits gives its place under `--parallel` to another one.
---@return any ...
function Build:await() end

---Starts a build, which runs beside the others.
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
---@field type? "string"|"number"|"boolean"|"list" The type, where the default does not tell it. `string` by default.
---@field choices? string[] The only values that are accepted.

---Returns the value of a variable: from `-v name=value`, else from a `--var-file`, else from the environment variable
---`RIMG_VAR_name`, else the default.
---@param name string
---@param options? rimg.VarOptions
---@return any
function rimg.var(name, options) end

---@class rimg.SecretOptions
---@field env? string The environment variable to read it from.
---@field file? string The file to read it from; its last line break does not count.
---@field optional? boolean Whether nil is returned when there is none; false by default, which makes that an error.
---@field help? string What `rimg inspect` says of it.

---Returns a value that is masked in everything rimg shows or writes, also where it is quoted, escaped, in base64, in
---hexadecimal or part of a URL. It is looked for where `rimg.var` looks, and in `options.env` and `options.file`. One of
---fewer than four characters is not masked, with a warning: it would be found in anything.
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
---@generic T
---@param limit rimg.Duration
---@param fn fun(...): T
---@param ... any Arguments for the function.
---@return T
function rimg.timeout(limit, fn, ...) end

---@class rimg.ParallelOptions
---@field limit? integer How many calls run at once; all by default.

---Calls `fn(value, key)` for each entry of a table, side by side, and returns the results under the same keys. Without
---`fn` the entries themselves are functions. The first error cancels the other calls and is raised.
---@generic K, V, R
---@param items table<K, V>
---@param fn? fun(value: V, key: K): R
---@param options? rimg.ParallelOptions
---@return table<K, R>
function rimg.parallel(items, fn, options) end

---@class rimg.RetryOptions
---@field attempts? integer How often the function is called at most; 3 by default.
---@field backoff? rimg.Duration The wait before the second call; 1 s by default.
---@field factor? number What each further wait is multiplied with; 2 by default.
---@field max_backoff? rimg.Duration The longest wait; 1 min by default.
---@field on? string[]|fun(err: any, attempt: integer): boolean The kinds of error that are worth another call, or a function that says so; all by default.

---Calls a function until it returns, and returns its results; the last error is raised.
---@generic T
---@param options rimg.RetryOptions
---@param fn fun(...): T
---@param ... any Arguments for the function.
---@return T
---@overload fun(fn: function): any
function rimg.retry(options, fn, ...) end

-- Artifacts of existing files ------------------------------------------------

---Makes an artifact of files that are there, for post-processing.
---@param options rimg.ArtifactOptions|string[]|string
---@return rimg.Artifact
function rimg.artifact(options) end

return rimg
