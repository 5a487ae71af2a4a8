---@meta std.aws

--- Amazon's images: the newest one, copies in regions, old ones cleaned up.
---@class std.aws
local aws = {}

--- Whom to ask.
---@class std.aws.Access
---@field client (rimg.AmazonClient|fun(region: string?): rimg.AmazonClient)? The client to ask, or a function that gives one for each region. Default: one for `region`.
---@field region string? The region to ask. Default: the client's, else `AWS_REGION` or the profile's.
---@field access rimg.AmazonAccess? Other options of `rimg.amazon.client`: `{ profile = "images" }`. Default: what the environment says.

---@class std.aws.LatestImage : std.aws.Access
---@field name string? What it is called, with `*` and `?`: `"debian-12-amd64-*"`. Required, unless there are `filters`.
---@field owner string? Whose it is: an account number, `"self"`, `"amazon"`. Required, or `owners`.
---@field owners string[]? Several of them.
---@field architecture ("x86_64"|"arm64"|"i386")? The processor it is for. Default: any.
---@field filters rimg.AmazonFilters? What else it must be like. Default: anything.
---@field include_deprecated boolean? Whether deprecated images of others count. Default: false.
---@field optional boolean? Whether nil is returned where there is none. Default: false, and it is an error.

--- Returns the newest image that is available and like this.
---
--- ```lua
--- local base = aws.latest_image { region = "eu-central-1", owner = "136693071363", name = "debian-12-amd64-*" }
--- ```
---@async
---@param options std.aws.LatestImage
---@return rimg.AmazonImage
function aws.latest_image(options) end

---@class std.aws.PruneImages : std.aws.Access
---@field regions string[]? The regions to clean up, side by side. Default: `region`, or the client's.
---@field name string? What they are called, with `*` and `?`: `"web-*"`. Required, unless there are `filters`.
---@field filters rimg.AmazonFilters? What they must be like: `{ ["tag:application"] = "shop" }`. Default: anything.
---@field keep integer? How many of the newest stay in each region, of those that can be used. Default: 3.
---@field older_than rimg.Duration? What is younger stays, too: `"30d"`. Default: nothing for its age.
---@field dry_run boolean? Whether it is only said what would go. Default: false.
---@field delete_snapshots boolean? Whether their snapshots go with them. Default: true.
---@field limit integer? How many regions at once. Default: 4.
---@field attempts integer? How often each region is tried, where it is the network's or Amazon's fault. Default: 3.

--- What has become of a region's images, newest first.
---@class std.aws.Pruned
---@field removed rimg.AmazonImage[] Those that are gone, or with `dry_run` would be.
---@field kept rimg.AmazonImage[] Those that stay.

--- Deregisters one's own images of a name but the newest, in each region. What is protected, on its way or disabled stays
--- and does not count; what failed goes.
---
--- ```lua
--- local done = aws.prune_images { regions = { "eu-central-1", "us-east-1" }, name = "web-*", keep = 3, older_than = "30d" }
--- for region, images in pairs(done) do print(region, #images.removed .. " removed") end
--- ```
---@async
---@param options std.aws.PruneImages
---@return table<string, std.aws.Pruned> # By region.
function aws.prune_images(options) end

---@class std.aws.CopyToRegions
---@field regions string[] Where it is to be. Required.
---@field from string? The region to copy from. Default: the one the artifact is in. Required with an id.
---@field name string? The copies' name. Default: the image's.
---@field description string? The copies' description. Default: none.
---@field tags table<string, string>? Tags of the copies and their snapshots, over the image's own. Default: none.
---@field snapshot_tags table<string, string>? Tags of the snapshots, over `tags`. Default: none.
---@field copy_image_tags boolean? Whether the image's own tags are copied. Default: true.
---@field kms_key_ids table<string, string>? The key to encrypt with in a region, `{ ["us-east-1"] = "alias/images" }`; an empty text is the region's key for EBS.
---@field encrypted boolean? Whether all copies are encrypted. Default: those with a key, and what is encrypted already.
---@field users string[]? Account numbers that may launch the copies. Default: none.
---@field groups string[]? Groups that may; `{ "all" }` makes them public. Default: none.
---@field organization_arns string[]? ARNs of organizations that may. Default: none.
---@field organizational_unit_arns string[]? ARNs of organizational units that may. Default: none.
---@field deprecate_at string? When the copies count as deprecated, in UTC: `"2027-01-01T00:00:00Z"`. Default: never.
---@field limit integer? How many copies at once. Default: 4.
---@field attempts integer? How often each is tried, where it is the network's or Amazon's fault. Default: 3.
---@field backoff rimg.Duration? The wait before the second attempt, doubled for each further one. Default: 5 s.
---@field timeout rimg.Duration? How long one copy may take. Default: `"2h"`.
---@field check boolean? Whether a failure is an error at the end, with all of them. Default: true.
---@field client (fun(region: string): rimg.AmazonClient)? Gives the client for a region. Default: one by `access`.
---@field access rimg.AmazonAccess? Options of `rimg.amazon.client` for all regions: `{ profile = "images" }`. Default: what the environment says.

--- Copies an image to regions, side by side. A copy that is there already, or on its way, is not made again: it is found
--- by its name and its tag `rimg:copy-of`. So a second run makes what the first one could not.
---
--- ```lua
--- local ids = aws.copy_to_regions("ami-0123456789abcdef0", {
---   from = "eu-central-1", regions = { "us-east-1", "ap-south-1" }, users = { "123456789012" },
--- })
--- for region, id in pairs(ids) do print(region, id) end
--- ```
---@async
---@param image rimg.Artifact|string|table<string, string> An artifact of `rimg.amazon.ebs`, an id, or ids by region.
---@param options std.aws.CopyToRegions
---@return table<string, string> ids The id in each region, also that of the region it was copied from.
---@return table<string, rimg.Error> errors With `check = false`, the errors by region.
function aws.copy_to_regions(image, options) end

---@class std.aws.Wait : std.aws.Access
---@field image_id string? The image to wait for.
---@field snapshot_id string? The snapshot to wait for, in the place of an image.
---@field timeout rimg.Duration? How long it may take. Default: `"2h"`.

--- Waits until an image is available, or a snapshot complete, and returns it; one that failed is an error.
---
--- ```lua
--- local image = aws.wait { region = "eu-central-1", image_id = "ami-0123456789abcdef0", timeout = "30m" }
--- ```
---@async
---@param options std.aws.Wait
---@return rimg.AmazonImage|rimg.AmazonSnapshot
function aws.wait(options) end

return aws
