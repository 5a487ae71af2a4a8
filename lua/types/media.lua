---@meta

--- The medium that an operating system is installed from.
---@class rimg.IsoOptions
---@field iso_url string? The medium: a path (relative to the script), or a URL of `http`, `https`, `s3` (`s3://bucket/key`) or `file`.
---@field iso_urls string[]? Several places to get it from, in place of `iso_url`: the first that has it, with the right checksum, is used.
---@field iso_checksum string? Its checksum: `sha256:…` (md5, sha1, sha224, sha256, sha384, sha512, blake3), bare hexadecimal, `file:URL` of a checksum file, or `none`. Required with a medium.
---@field iso_target_path string? Where a download is put, relative to the script. Default: in rimg's cache.
---@field iso_target_extension string? The extension that a download has in the cache, `"iso"`. Default: its URL's.

--- What is served over HTTP to a machine that is being installed.
---@class rimg.HttpServerOptions
---@field http_directory string? A folder whose files are served. Links in it are followed.
---@field http_content table<string, string|fun(request: rimg.HttpRequest): string|rimg.HttpAnswer|nil>? Contents by their paths, `["/preseed.cfg"] = "…"`, with `{{ .HTTPIP }}`, `{{ .HTTPPort }}` and the other placeholders filled in; they come before the folder's files. A function is called at each request, is given the placeholders' values with it, and what it returns is sent as it is; nil means that there is no such file. An error in it is shown, and the machine gets status 500.
---@field http_port_min integer? The lowest port to serve on. Default 8000. A free one between the two is taken.
---@field http_port_max integer? The highest port to serve on. Default 9000.
---@field http_bind_address string? The address to serve on. Default: this host only, unless the machine's network has to reach it from elsewhere.

--- A request that a machine sends to `http_content`.
---@class rimg.HttpRequest
---@field method string `GET`, `POST`, …
---@field path string The decoded path, `/preseed.cfg`.
---@field query table<string, string> The query's names and values.
---@field headers table<string, string> The headers by their lower-case names.
---@field body string What was sent with it, at most 1 MiB.
---@field address string The client's address.
---@field values table<string, string> The placeholders' values: `{ HTTPIP = …, HTTPPort = …, Name = …, SSHPublicKey = … }`.

--- What a function of `http_content` may answer in place of a string.
---@class rimg.HttpAnswer
---@field status integer? Default 200.
---@field headers table<string, string>? Headers of the answer.
---@field body string? What is sent. Default: nothing.

--- A CD that is made for the machine: ISO 9660 with the names of Joliet (Windows) and Rock Ridge (Linux, BSD).
---@class rimg.CdOptions
---@field cd_files string[]? Files, folders and globs. A folder is on the CD under its own name; of a `"folder/"`, with a slash at the end, only what is in it. What links point to is copied.
---@field cd_content table<string, string|fun(values: table<string, string>): string>? Contents by their paths on the CD, with placeholders filled in. A function is given the placeholders' values, `{ HTTPIP = …, HTTPPort = …, Name = … }`, and what it returns is taken as it is. They take the place of `cd_files` of the same path.
---@field cd_label string? The CD's label, 32 characters at most: `cidata` for cloud-init, `OEMDRV` for Anaconda. Default `packer`.

--- A floppy of 1.44 MB that is made for the machine.
---@class rimg.FloppyOptions
---@field floppy_files string[]? Files and globs, and folders whose files are all put into the root.
---@field floppy_dirs string[]? Folders and globs that are on the floppy as they are, under their own names.
---@field floppy_content table<string, string|fun(values: table<string, string>): string>? Contents by their paths on the floppy, as in `cd_content`.
---@field floppy_label string? The floppy's label, 11 characters at most. Default `packer`.
