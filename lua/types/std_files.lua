---@meta std.files

--- Files of a machine as they should be. Each function returns a provisioner; applied again, it changes nothing.
---@class std.files
local files = {}

---@class std.files.Options
---@field path string An absolute path on the machine. Required.
---@field mode string? Permission bits as an octal string. Default: those it has, `"0644"` for a new file.
---@field owner string? `user` or `user:group`, names or numbers. Default: the one it has.
---@field group string? Default: the one it has.
---@field sudo boolean? Whether it is done as root, by sudo where the user is not root. Default: true.

---@class std.files.EditOptions : std.files.Options
---@field state ("present"|"absent")? Default: `"present"`.
---@field after string? An extended regular expression: what is added goes behind the last line like it. Default: to the end.
---@field before string? The same: before the last line like it.
---@field at ("start"|"end")? Where else it goes. Default: `"end"`.
---@field create boolean? Whether a file that is not there is made. Default: false, and it is an error.
---@field validate string? A command that must succeed before the file is replaced; `%s` is the new file. Default: none.

---@class std.files.LineOptions : std.files.EditOptions
---@field line (string|string[])? The line, or lines each of which is to be there.
---@field match string? An extended regular expression: the last line like it becomes `line`; with `state = "absent"` all like it go. Default: `line` itself.

--- Lines that are in a file, or not.
---
--- ```lua
--- vm:apply(files.line { path = "/etc/ssh/sshd_config", match = "^#?PermitRootLogin", line = "PermitRootLogin no" })
--- ```
---@param options std.files.LineOptions
---@return std.Provisioner
function files.line(options) end

---@class std.files.BlockOptions : std.files.EditOptions
---@field block string? The lines.
---@field name string? Tells blocks of one file apart. Default: `"rimg"`.
---@field marker string? The lines around it; `{mark}` becomes `BEGIN` and `END`. Default: `"# {mark} {name}"`.

--- A block of lines in a file, between two markers.
---@param options std.files.BlockOptions
---@return std.Provisioner
function files.block(options) end

---@class std.files.WriteOptions : std.files.Options
---@field content string Required.
---@field validate string? A command that must succeed before the file is replaced; `%s` is the new file. Default: none.

--- A file with a content.
---@param options std.files.WriteOptions
---@return std.Provisioner
function files.write(options) end

---@class std.files.TemplateOptions : std.files.Options
---@field source string A Jinja template of this host, relative to the script. Required.
---@field vars table<string, any>? Default: none.
---@field validate string? A command that must succeed before the file is replaced; `%s` is the new file. Default: none.

--- A file whose content is a template of this host, rendered at once.
---@async
---@param options std.files.TemplateOptions
---@return std.Provisioner
function files.template(options) end

--- A folder, with those above it.
---@param options std.files.Options
---@return std.Provisioner
function files.directory(options) end

---@class std.files.PermissionsOptions : std.files.Options
---@field recursive boolean? Whether all that is in a folder gets the owner and the group, and the modes below. Default: false.
---@field file_mode string? The mode of all files in it.
---@field directory_mode string? The mode of it and of all folders in it.

--- Mode, owner and group of what is there.
---@param options std.files.PermissionsOptions
---@return std.Provisioner
function files.permissions(options) end

---@class std.files.RemoveOptions
---@field path string An absolute path on the machine. Required.
---@field recursive boolean? Whether a folder goes with all that is in it. Default: false.
---@field sudo boolean? Default: true.

--- Nothing at a path.
---@param options std.files.RemoveOptions
---@return std.Provisioner
function files.remove(options) end

---@class std.files.ArchiveOptions
---@field source string An archive of this host: tar (gz, xz, bz2, zst) or zip. Required.
---@field path string The folder on the machine. Required.
---@field strip integer? How many folders to take away in front. Default: 0.
---@field creates string? Where this path is there, nothing is sent. Default: what is in the archive is compared.
---@field owner string? Of all in the folder. Default: who unpacks it.
---@field group string?
---@field sudo boolean? Default: true.

--- What is in an archive of this host, in a folder of the machine.
---@param options std.files.ArchiveOptions
---@return std.Provisioner
function files.archive(options) end

---@class std.files.DownloadOptions : std.files.Options
---@field url string Required.
---@field checksum string `"sha256:HEX"`; also sha512, sha384, sha224, sha1, md5. Required.
---@field via ("host"|"machine")? Who downloads. Default: `"host"`, which keeps it in its cache.

--- A file from the network, checked.
---@param options std.files.DownloadOptions
---@return std.Provisioner
function files.download(options) end

return files
