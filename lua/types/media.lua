---@meta

--- The medium that an operating system is installed from.
---@class rimg.IsoOptions
---@field iso_url string? The medium: a path or a URL.
---@field iso_urls string[]? Several places to get it from, tried in order.
---@field iso_checksum string? Its checksum: `sha256:…`, bare hexadecimal, `file:URL` or `none`. Required with a medium.

--- What is served over HTTP to a machine that is being installed.
---@class rimg.HttpServerOptions
---@field http_directory string? A folder whose files are served.

--- A CD that is made for the machine.
---@class rimg.CdOptions
---@field cd_files string[]? Files, folders and globs.

--- A floppy that is made for the machine.
---@class rimg.FloppyOptions
---@field floppy_files string[]? Files, folders and globs.
