---@meta

--- What a build leaves: files, with what is known about them. Post-processing makes new artifacts from it; the files it
--- has stay as they are, and nothing is overwritten without `--force`. An output that is already what this run would
--- write is left alone.
---@class rimg.Artifact
---@field id string What identifies it: Packer's artifact id where there is one.
---@field kind string `image`, `archive`, `vagrant`, `files`, …
---@field builder string The builder or post-processor that made it: `qemu`, `compress`, …
---@field build string The build it belongs to.
---@field path string? The first of its files: the disk image of an image.
---@field files rimg.ArtifactFile[] Its files.
---@field metadata table<string, any> What later steps must know: `format`, `architecture`, …; of an Amazon image `images` and `snapshots`, by region.
local Artifact = {}

--- One file of an artifact.
---@class rimg.ArtifactFile
---@field path string Its full path.
---@field size integer Bytes.
---@field digests rimg.Digest[]? The digests that were computed.

--- A digest of a file.
---@class rimg.Digest
---@field algorithm string `sha256`, `md5`, …
---@field hex string Lower-case hexadecimal.

---@alias rimg.ChecksumType "md5"|"sha1"|"sha224"|"sha256"|"sha384"|"sha512"|"blake3"

---@class rimg.ChecksumOptions
---@field types (rimg.ChecksumType[]|rimg.ChecksumType)? Which digests; several are computed in one read. Default: `sha256`.
---@field output string? The file to write; may hold `{{.BuildName}}`, `{{.BuilderType}}` and `{{.ChecksumType}}`, as in Packer's `packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum`. Types that share a file stand in it in BSD's tagged form. Default: beside the artifact, `FILE.sha256`.

--- Computes digests of the artifact's files and writes them to files that `sha256sum -c` and its kin take, with names
--- relative to the file's own folder.
---
--- ```lua
--- box:checksum { "sha256", "md5" }
--- ```
---@param options (rimg.ChecksumOptions|rimg.ChecksumType[]|rimg.ChecksumType)?
---@return rimg.Artifact # The artifact, with the digests noted at its files and the checksum files added.
function Artifact:checksum(options) end

---@class rimg.CompressOptions
---@field output string? The file to write; may hold `{{.BuildName}}` and `{{.BuilderType}}`. Default: beside the artifact, with the format as its extension.
---@field format ("tar.gz"|"tar.zst"|"tar.xz"|"tar.bz2"|"tar.lz4"|"tar"|"zip"|"gz"|"zst"|"xz"|"bz2"|"lz4"|"bgzf")? Default: by the output's extension, else `tar.gz`.
---@field compression_level integer? 0 (store) to 9 for gzip, BGZF and zip, 1 to 22 for zstd, 0 to 9 for xz, 1 to 9 for bzip2; lz4 has only 1. Default: 6, for zstd 3, for bzip2 9.
---@field keep_input_artifact boolean? Whether the artifact's own files stay. Default: true.

--- Packs the artifact's files into an archive, or compresses its one file (`gz`, `zst`, `xz`, `bz2`, `lz4`, `bgzf`), on all
--- cores (lz4 on one; xz on as many as a quarter of the memory is enough for).
---
--- ```lua
--- image:compress { output = "out/web.tar.zst", compression_level = 19 }
--- ```
---@param options (rimg.CompressOptions|string)? A text is the output.
---@return rimg.Artifact # The one file, with its SHA-256.
function Artifact:compress(options) end

---@class rimg.ConvertOptions
---@field format ("qcow2"|"raw"|"vmdk"|"vdi"|"vhdx")? Default: by the output's extension; one of the two is required.
---@field output string? The file to write; may hold `{{.BuildName}}` and `{{.BuilderType}}`. Default: beside the image, with the format as its extension.
---@field compress boolean? Whether clusters are compressed (qcow2 and vmdk). Default: false.
---@field compact boolean? Whether areas of zeroes take no space. Default: true.
---@field options string[]? Options of the format as `qemu-img -o` takes them, such as `subformat=streamOptimized`. Default: none.
---@field keep_input_artifact boolean? Whether the artifact's own files stay. Default: true.

--- Converts the disk image to another format.
---@param options rimg.ConvertOptions|string A text is the format.
---@return rimg.Artifact # The new image.
function Artifact:convert(options) end

---@class rimg.VagrantOptions
---@field output string? The box to write; may hold `{{.BuildName}}`, `{{.BuilderType}}`, `{{.Provider}}` and `{{.Architecture}}`. Default: `BUILD_libvirt.box` beside the image.
---@field compression_level integer? 0 (store) to 9. Default: 6.
---@field vagrantfile_template string? A Vagrantfile of yours, whose content follows rimg's own in the box. Default: none.
---@field include string[]? Further files to put into the box, under their own names. Default: none.
---@field provider_override "libvirt"? The provider of the box. Default: `libvirt`.
---@field architecture string? `amd64`, `arm64`, … Default: the image's, else this host's.
---@field keep_input_artifact boolean? Whether the artifact's own files stay. Default: true.

--- Packs the disk image into a box that `vagrant box add` takes.
---
--- ```lua
--- local box = image:vagrant { output = "out/web.box" }
--- ```
---@param options (rimg.VagrantOptions|string)? A text is the output.
---@return rimg.Artifact # The box, with its SHA-256.
function Artifact:vagrant(options) end

---@class rimg.ManifestOptions
---@field output string? The file to write or add to; may hold `{{.BuildName}}` and `{{.BuilderType}}`. Default: `packer-manifest.json` in the script's folder.
---@field strip_path boolean? Whether files are named without their folders. Default: false.
---@field strip_time boolean? Whether `build_time` is left out. Default: false.
---@field custom_data table<string, string|number|boolean>? What to note with the build, under names of yours. Default: nothing.

--- Adds the artifact to a manifest file, in the format of Packer's manifest post-processor. With `--force`, what earlier
--- runs wrote there goes.
---@param options (rimg.ManifestOptions|string)? A text is the output.
---@return rimg.Artifact # The artifact, as it was.
function Artifact:manifest(options) end

--- Boots a throwaway copy of the image, for a smoke test: the image itself stays as it is. An error in the function
--- fails the build; the machine is removed either way.
---
--- ```lua
--- image:boot(function(test)
---   test:run "systemctl is-active nginx"
--- end)
--- ```
---@param options table Options of the builder that made the image, over those it was built with.
---@param fn fun(machine: rimg.Machine)
---@return rimg.Artifact # The artifact, as it was.
---@overload fun(self: rimg.Artifact, fn: fun(machine: rimg.Machine)): rimg.Artifact
function Artifact:boot(options, fn) end

--- Copies an Amazon image to further regions, side by side, and waits until the copies are there: named, tagged, encrypted, shared and
--- protected as those of `ami_regions` are. Where one fails, all new ones are removed as the build ends; regions that have the image already are left as they are.
---
--- ```lua
--- local rimg = require "rimg"
---
--- local vm = rimg.amazon.ebs {
---   region = "eu-central-1", source_ami = "ami-0123456789abcdef0", instance_type = "t3.small", ssh_username = "admin",
---   ami_name = "web-1.4.0",
--- }
--- local image = vm:finish():copy_to({ "us-east-1", "ap-south-1" }, { deprecate_at = "2030-01-01T00:00:00Z" })
--- print(image.metadata.images["us-east-1"])
--- ```
---@param regions string[]
---@param options table? Options of `rimg.amazon.ebs` about the image, over those that the build had.
---@return rimg.Artifact # The image in all of its regions.
function Artifact:copy_to(regions, options) end

--- Removes the artifact's files; of an Amazon image the images and their snapshots, in all regions.
function Artifact:destroy() end

---@class rimg.ArtifactOptions
---@field files string[]|string Paths and globs (`*`, `?`, `[…]`, `{a,b}`, `**`); relative ones start at the script's folder.
---@field id string? What identifies it. Default: `files`.
---@field kind string? `image`, `archive`, … Default: `image` for a disk image, else `files`.
---@field builder string? The builder that later steps shall see. Default: `file`.
---@field metadata table<string, any>? What later steps must know, such as `format` of an image. Default: nothing, or the format by the file's extension.
