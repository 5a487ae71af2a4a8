---@meta std.packages

--- Packages of a machine, by whichever of apt, dnf, yum, zypper and apk it has. Each function returns a provisioner; applied
--- again, it changes nothing.
---@class std.packages
local packages = {}

---@class std.packages.Options
---@field [integer] string The packages: `"nginx"`, or `"nginx=1.22.*"` for a version (a pattern where it has a `*`).
---@field refresh (boolean|string|"auto")? Whether the package lists are fetched before anything is installed: `"auto"` when they are older than an hour, or lack a package; a time such as `"24h"` in the place of the hour. Default: `"auto"`.
---@field retries integer? How often what the network has broken is tried again. Default: 3.
---@field lock_timeout (string|integer)? How long another program may hold the package manager's lock. Default: `"10m"`.

---@class std.packages.InstallOptions : std.packages.Options
---@field recommends boolean? Whether packages that are merely recommended come with them. Default: false.
---@field hold boolean? Whether later upgrades leave them as they are (apt, zypper). Default: false.

--- Packages that are installed. Names that do not exist are an error before anything is installed.
---
--- ```lua
--- vm:apply(packages.install { "nginx", "curl=7.88.*" })
--- ```
---@param options string|std.packages.InstallOptions
---@return std.Provisioner
function packages.install(options) end

---@class std.packages.RemoveOptions : std.packages.Options
---@field purge boolean? Whether their configuration goes, too (apt, apk). Default: false.
---@field unused boolean? Whether what nothing needs any more goes, too (apt, dnf, yum). Default: false.

--- Packages that are not installed.
---@param options string|std.packages.RemoveOptions
---@return std.Provisioner
function packages.remove(options) end

---@class std.packages.UpgradeOptions
---@field full boolean? Whether packages may be removed for it (apt's and zypper's dist-upgrade). Default: false.
---@field refresh (boolean|string|"auto")? As for `install`.
---@field retries integer? Default: 3.
---@field lock_timeout (string|integer)? Default: `"10m"`.

--- All packages at the newest version that the repositories have.
---@param options std.packages.UpgradeOptions?
---@return std.Provisioner
function packages.upgrade(options) end

---@class std.packages.RepositoryOptions
---@field name string What its file is called. Required.
---@field url string Its address. Required.
---@field suites (string|string[])? apt: the releases, or `"./"` for a repository without any. Required for apt.
---@field components (string|string[])? apt: parts of it, `"main"`.
---@field architectures (string|string[])? apt: Default: the machine's.
---@field key string? The text of the key it is signed with. This, `key_file` or `trusted` is required.
---@field key_file string? The same as a file of this host, relative to the script.
---@field trusted boolean? Whether packages that nobody has signed are taken. Default: false.
---@field retries integer? Default: 3.
---@field lock_timeout (string|integer)? Default: `"10m"`.

--- A repository that packages come from (apt, dnf, yum, zypper). Its lists are fetched at once; where that fails it is not
--- added.
---@param options std.packages.RepositoryOptions
---@return std.Provisioner
function packages.repository(options) end

return packages
