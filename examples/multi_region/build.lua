-- One image in many regions: built once in each partition of Amazon's cloud, copied to the others side by side, and written
-- down as a manifest like Packer's and as variables for Terraform.
--
--     rimg run examples/multi_region/build.lua -v version=1.4.0
--     rimg run examples/multi_region/build.lua -v version=1.4.0 -v regions=eu-central-1,us-east-1,us-gov-west-1 -v profile_gov=gov
--
-- Credentials are found as the AWS command line finds them (docs/amazon.md); those of China and of GovCloud are accounts of their
-- own, hence their profiles. `rimg check` runs it without an account. Run again, it builds and copies only what is missing.

local rimg = require "rimg"
local aws  = require "std.aws"

local version = rimg.var("version", { default = "0.1.0", help = "version of the image" })
local wanted  = rimg.var("regions", { default = { "eu-central-1", "eu-west-1", "us-east-1", "us-west-2", "ap-south-1", "ap-northeast-1" }, help = "where it is to be" })
local source  = { owner = rimg.var("owner", { default = "amazon" }), name = rimg.var("source", { default = "al2023-ami-2023.*-kernel-*-x86_64" }) }
local out     = rimg.var("out", { default = "out", help = "the folder of the two files" })
local marker  = rimg.var("marker", { default = "/etc/shop-release", help = "the file that says on the image what it is" })
local user    = rimg.var("user", { default = "ec2-user", help = "who logs in to it" })
local name    = "shop-" .. version

-- Nothing crosses the border of a partition: each has its own credentials, its own first region, and its own habits.
local PARTITIONS = {
  ["aws"] = { profile = rimg.var("profile", { default = "" }) },
  ["aws-cn"] = {
    profile = rimg.var("profile_cn", { default = "" }),
    prepare = function(vm) vm:write("/etc/pip.conf", "[global]\nindex-url = https://mirror.example.cn/simple\n", { sudo = true }) end,
  },
  ["aws-us-gov"] = {
    profile = rimg.var("profile_gov", { default = "" }), encrypt_boot = true,
    prepare = function(vm) vm:run "sudo fips-mode-setup --enable" end,
  },
}

local function partition_of(region)
  if region:find "^cn%-" then return "aws-cn" end
  if region:find "^us%-gov%-" then return "aws-us-gov" end
  return "aws"
end

-- Where the machine is reached, should that not be its own address: the tests have no instances but this host.
local ssh_host, ssh_port = rimg.var("ssh_host", { default = "" }), rimg.var("ssh_port", { default = 22 })

local function build(home, partition, access)
  local base = aws.latest_image { region = home, access = access, owner = source.owner, name = source.name }
  local vm = rimg.amazon.ebs {
    region = home, profile = access.profile, source_ami = base.id, ami_name = name, encrypt_boot = partition.encrypt_boot,
    instance_types = { "t3.small", "t3a.small", "t2.small" },               -- the next where there is no capacity
    ssh_username = user, ssh_host = ssh_host ~= "" and ssh_host or nil, ssh_port = ssh_port,
    run_tags = { application = "shop", version = version }, tags = { application = "shop", version = version, base = base.name },
  }
  if partition.prepare then vm:apply(partition.prepare) end
  vm:write(marker, "shop " .. version .. "\n", { sudo = user ~= "root" })
  return vm:finish().metadata.images
end

local builds = {}
for id, partition in pairs(PARTITIONS) do
  local regions = {}
  for _, region in ipairs(wanted) do
    if partition_of(region) == id then table.insert(regions, region) end
  end
  local home, access = regions[1], { profile = partition.profile ~= "" and partition.profile or nil }
  builds[id] = home and rimg.build(id, function()
    local client = rimg.amazon.client { region = home, profile = access.profile }
    local there = client:images({ owners = { "self" }, filters = { name = name, state = "available" } })[1]
    local images = there and { [home] = there.id } or build(home, partition, access)
    local ids, errors = aws.copy_to_regions(images, { regions = regions, access = access, limit = 4, attempts = 5, check = false })
    return { ids = ids, errors = errors }
  end)
end

-- What is done is written down, whatever became of the rest.
local ids, list, failed = {}, {}, {}
for id, handle in pairs(builds) do
  local ok, done = pcall(handle.await, handle)
  if not ok then done = { ids = {}, errors = { [id] = done } } end
  for region, ami in pairs(done.ids) do ids[region] = ami end
  for where, err in pairs(done.errors) do table.insert(failed, ("%s: %s"):format(where, err.message)) end
end
for _, region in ipairs(wanted) do
  print(("%-16s %s"):format(region, ids[region] or "failed"))
  if ids[region] then table.insert(list, region .. ":" .. ids[region]) end
end

-- Terraform reads *.auto.tfvars.json by itself: variable "images" { type = map(string) }.
local variables = rimg.fs.join(out, "images.auto.tfvars.json")
rimg.fs.write(variables, rimg.json.encode({ images = ids }, { pretty = true }) .. "\n")
rimg.artifact({ files = { variables }, id = table.concat(list, ","), kind = "image", builder = "amazon.ebs" })
  :manifest { output = rimg.fs.join(out, "packer-manifest.json"), custom_data = { version = version, regions = #list } }

if #failed > 0 then rimg.fail(("%d of %d regions have no image:\n%s"):format(#wanted - #list, #wanted, table.concat(failed, "\n"))) end
