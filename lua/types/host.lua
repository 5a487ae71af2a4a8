---@meta

---@class rimg
local rimg = {}

-- Commands -------------------------------------------------------------------

---What a command on this host gives back.
---@class rimg.ExecResult
---@field status integer The exit status; 128 and more for a signal, as a shell reports it.
---@field signal string? The signal that killed it, without `SIG`.
---@field stdout string What it wrote, at most 16 MiB, with its line ends.
---@field stderr string What it wrote to standard error, at most 16 MiB.
---@field ok boolean Whether the status is an accepted one.
---@field truncated boolean Whether it wrote more than the result holds.

---@class rimg.ExecOptions
---@field cwd string? The folder it runs in, relative to the script's folder. Default: the script's folder.
---@field env (table<string, string|number|boolean>|string[])? Variables added to the environment: a table, in which `false` takes one away, or a list of `"NAME=value"`.
---@field input string? What it reads from its standard input. Default: nothing.
---@field check boolean? Whether a status that is not accepted raises an error of kind `command` with `status`, `stdout` and `stderr`. Default: true.
---@field valid_exit_codes integer[]? The accepted exit statuses. Default: 0 alone.
---@field timeout rimg.Duration? How long it may take; then it is ended and an error of kind `timeout` is raised. Default: no limit.
---@field quiet boolean? Whether its output is captured without being shown. Default: false.
---@field title string? What output and errors call it. Default: the command itself, shortened.

---Runs a command on this host and waits for it, its output shown line by line as it comes: text for `/bin/sh -c`, or a list of a program and its arguments, which
---no shell sees. It is killed with all its children when the build is cancelled. `rimg check` does not run it, and
---answers status 0 without output.
---
---```lua
---local commit = rimg.exec("git rev-parse HEAD").stdout:gsub("%s+$", "")
---rimg.exec({ "tar", "-cf", out, dir }, { timeout = "5m" })
---```
---@async
---@param command string|(string|number)[]
---@param options? rimg.ExecOptions
---@return rimg.ExecResult
function rimg.exec(command, options) end

---Returns the full path of a program as `PATH` finds it, or nil. A name with a slash is a path, relative to the
---script's folder.
---@param name string
---@return string?
function rimg.which(name) end

---Returns an environment variable of rimg itself, or the default when it is not set.
---@param name string
---@param default? any Default: nil.
---@return any
function rimg.env(name, default) end

---@class rimg.GitState
---@field commit string? The whole commit id; nil before the first commit.
---@field short string? Its first seven digits.
---@field branch string? The branch; nil when no branch is checked out.
---@field tag string? A tag of exactly this commit.
---@field dirty boolean Whether tracked files have changes that are not committed.

---Returns what the script's folder is at in git, or nil when it is not in a repository or git is not installed.
---@async
---@return rimg.GitState?
function rimg.git() end

-- Downloads ------------------------------------------------------------------

---@class rimg.FetchOptions
---@field url string? What to download: a URL of `http`, `https`, `s3` (`s3://bucket/key`) or `file`, or a path relative to the script's folder. This or `urls` is required.
---@field urls string[]? Several places to get it from, in place of `url`: the first that has it, with the right checksum, is used.
---@field checksum string What it must be: `"sha256:HEX"` (md5, sha1, sha224, sha256, sha384, sha512, blake3), a digest alone, `"file:URL"` of a checksum file, or `"none"`.
---@field to string? Where a copy goes, relative to the script's folder. Default: no copy, the cached file's path is returned.

---Downloads a file once, checks it, and keeps it in the cache. Returns the path of the file; do not change the file when
---it is the cache's.
---@async
---@param options rimg.FetchOptions
---@return string path
function rimg.download(options) end

-- Text -----------------------------------------------------------------------

---Renders a Jinja template: `{{ name }}`, `{% if x %}…{% endif %}`, `{% for x in list %}…{% endfor %}`, `{{ x | default("y") }}`.
---A name that `vars` does not have is an error with its line.
---@param text string
---@param vars? table<string, any> Plain data. Default: no variables.
---@return string
function rimg.template(text, vars) end

---`rimg.base64`: bytes as text.
rimg.base64 = {}

---Encodes bytes with the standard alphabet and padding.
---@param value string
---@return string
function rimg.base64.encode(value) end

---Decodes the standard or the URL alphabet, with or without padding; white space is passed over.
---@param text string
---@return string
function rimg.base64.decode(text) end

---`rimg.hash`: digests in lower-case hexadecimal.
rimg.hash = {}

---@alias rimg.HashAlgorithm "md5"|"sha1"|"sha224"|"sha256"|"sha384"|"sha512"|"blake3"

---Returns the digest of a file.
---@async
---@param path string Relative to the script's folder.
---@param algorithm? rimg.HashAlgorithm Default: `sha256`.
---@return string
function rimg.hash.file(path, algorithm) end

---Returns the MD5 digest of bytes.
---@param value string
---@return string
function rimg.hash.md5(value) end

---Returns the SHA-1 digest of bytes.
---@param value string
---@return string
function rimg.hash.sha1(value) end

---Returns the SHA-224 digest of bytes.
---@param value string
---@return string
function rimg.hash.sha224(value) end

---Returns the SHA-256 digest of bytes.
---@param value string
---@return string
function rimg.hash.sha256(value) end

---Returns the SHA-384 digest of bytes.
---@param value string
---@return string
function rimg.hash.sha384(value) end

---Returns the SHA-512 digest of bytes.
---@param value string
---@return string
function rimg.hash.sha512(value) end

---Returns the BLAKE3 digest of bytes.
---@param value string
---@return string
function rimg.hash.blake3(value) end

-- Time and names -------------------------------------------------------------

---Returns when the run began, in whole seconds since 1970; the same value all over a run.
---@return integer
function rimg.timestamp() end

---Returns when the run began, in UTC, formatted as for `strftime` (`"%Y-%m-%d"`), or, in a format without a percent sign,
---as Packer's Go layout (`"2006-01-02"`).
---@param format? string Default: RFC 3339 to the second, `2024-05-01T10:00:00Z`.
---@return string
function rimg.isotime(format) end

---Returns a new random UUID (version 4).
---@return string
function rimg.uuid() end

-- Messages and failure -------------------------------------------------------

---`rimg.log`: messages in the run's output. Several values are joined by spaces; a table is shown as its JSON.
rimg.log = {}

---Shows a message when more than usual is asked for.
---@param ... any
function rimg.log.debug(...) end

---Shows a message.
---@param ... any
function rimg.log.info(...) end

---Shows a warning.
---@param ... any
function rimg.log.warn(...) end

---Shows an error message. The run goes on: `rimg.fail` ends it.
---@param ... any
function rimg.log.error(...) end

---@class rimg.FailOptions
---@field hint (string|string[])? What to do about it. Default: nothing.

---Raises an error of kind `script`.
---@param message string
---@param options? rimg.FailOptions
function rimg.fail(message, options) end

---Adds a folder to those in which `require` looks: after the script's own, before `lua_modules/`, in which `rimg vendor`
---puts modules from elsewhere: `rimg.module_path "../shared"`. A folder that is not there is an error.
---@param folder string Relative to the script's folder.
function rimg.module_path(folder) end
