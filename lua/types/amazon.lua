---@meta

---@class rimg
local rimg = {}

---`rimg.amazon`: images of Amazon EC2, and what a script needs around them. `rimg check` asks nobody: answers are made up.
rimg.amazon = {}

--- Filters as EC2's Describe calls take them: `{ name = "web-*", ["tag:Role"] = { "web", "db" } }`. Entries are combined by
--- and, the values of one entry by or; `*` and `?` stand for any text and any character.
---@alias rimg.AmazonFilters table<string, string|string[]>

-- Access ----------------------------------------------------------------------

--- In whose name Amazon is asked, where, and how patiently. Credentials are looked for in this order: these options, the
--- environment, the profile (with its roles, processes and SSO), a web identity token, the container's or instance's role.
--- docs/amazon.md says what each error means.
---@class rimg.AmazonAccess
---@field region string? The region, `"eu-central-1"`. Default: `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's.
---@field access_key string? The id of an access key, with `secret_key`. Default: what the chain finds.
---@field secret_key string? The access key's secret; masked in every output. Default: what the chain finds.
---@field token string? The session token of temporary credentials, with `access_key`; masked in every output.
---@field profile string? The profile of the shared configuration files to use. Default: `AWS_PROFILE`, else `default`.
---@field shared_credentials_file string? The file of credentials by profile, `~/` understood. Default: `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
---@field assume_role rimg.AmazonAssumeRole? A role to assume with the credentials that were found.
---@field mfa_code string? The code that the MFA device shows now, for the role or session that wants one.
---@field mfa_serial string? The serial number or ARN of the MFA device. Default: the virtual device that bears the user's own name.
---@field custom_endpoint_ec2 string? The address of the EC2 API alone, for clouds that speak it: `"https://ec2.example.org"`.
---@field endpoint_url string? The address of all services' APIs. Default: `AWS_ENDPOINT_URL` and its like, else Amazon's own.
---@field insecure_skip_tls_verify boolean? Whether servers' certificates are not verified; for test clouds. Default `false`.
---@field max_retries integer? How often a request is sent again that was throttled or failed on the way. Default: 9.
---@field skip_metadata_api_check boolean? Whether the instance's own metadata service is not asked for credentials. Default `false`.
---@field skip_credential_validation boolean? Whether credentials are not looked for before the first request needs them. Default `false`.
---@field decode_authorization_messages boolean? Whether encoded messages of refusals are decoded by STS, which wants `sts:DecodeAuthorizationMessage`. Default `false`.
---@field aws_polling rimg.AmazonPolling? How often and how many times a state is asked for while something is waited for.

--- A role to assume.
---@class rimg.AmazonAssumeRole
---@field role_arn string The role's ARN, `"arn:aws:iam::123456789012:role/images"`. Required.
---@field session_name string? What the session is called in CloudTrail. Default: `rimg`.
---@field external_id string? The external id that the role's trust policy wants.
---@field duration_seconds integer? How long the session's credentials last, in seconds; they are renewed. Default: 3600.
---@field policy string? A policy, as JSON, that restricts the session further.
---@field policy_arns string[]? The ARNs of managed policies that restrict the session further.
---@field tags table<string, string>? Tags of the session.
---@field transitive_tag_keys string[]? Which of the tags go on to roles that are assumed from this one.

--- How a state is asked for again.
---@class rimg.AmazonPolling
---@field delay_seconds rimg.Duration? The time between two questions. Default: 5 s; the first ones are closer together.
---@field max_attempts integer? How many questions there are at most. Default: as many as the time limit of what is waited for allows.

--- Makes a client for one region; region and credentials are looked for at once, and every method asks Amazon when it is called.
---
--- ```lua
--- local aws = rimg.amazon.client { region = "eu-central-1" }
--- for _, image in ipairs(aws:images { owners = { "self" }, filters = { name = "web-*" } }) do
---   print(image.id, image.name, image.creation_date)
--- end
--- ```
---@param options? rimg.AmazonAccess
---@return rimg.AmazonClient
function rimg.amazon.client(options) end

-- The client ------------------------------------------------------------------

--- The API of one region. Every method takes one table; where an id is its first argument, the id may stand in the table
--- as well. Lists are whole, however many pages they have. An error has Amazon's own code and text, and for a refusal the
--- missing action.
---@class rimg.AmazonClient
---@field region string The region that is asked.
local Aws = {}

--- Who the credentials belong to.
---@class rimg.AmazonIdentity
---@field account string The account's number, `"123456789012"`.
---@field arn string The ARN of the user or of the assumed role.
---@field user_id string The unique id of the user or role.

--- Says who the credentials belong to, which needs no permission: a cheap test of them.
---@async
---@return rimg.AmazonIdentity
function Aws:caller_identity() end

---@class rimg.AmazonRegionsOptions
---@field all boolean? Whether regions are listed that the account has not opted in to. Default: false.

--- Lists the names of the regions that the account can use, sorted.
---@async
---@param options? rimg.AmazonRegionsOptions
---@return string[]
function Aws:regions(options) end

-- Images ----------------------------------------------------------------------

--- An image (AMI).
---@class rimg.AmazonImage
---@field id string `"ami-…"`.
---@field name string Its name.
---@field description string? What it says about itself.
---@field state "pending"|"available"|"invalid"|"deregistered"|"transient"|"failed"|"error"|"disabled" Its state.
---@field state_reason string? Amazon's reason for the state, of one that failed.
---@field architecture "x86_64"|"arm64"|"i386"|"x86_64_mac"|"arm64_mac" The processor it is for.
---@field creation_date string When it was made, `2027-01-01T10:00:00.000Z`.
---@field deprecation_time string? When it is (or was) deprecated.
---@field owner_id string The account it belongs to.
---@field public boolean Whether every account may launch it.
---@field platform string? `windows`, and nothing for anything else.
---@field boot_mode string? `uefi`, `legacy-bios` or `uefi-preferred`.
---@field ena_support boolean? Whether it has enhanced networking.
---@field imds_support string? `v2.0` where its instances want IMDSv2.
---@field tpm_support string? `v2.0` where its instances have a TPM.
---@field root_device_name string? `/dev/xvda`.
---@field root_device_type string? `ebs` or `instance-store`.
---@field virtualization_type string? `hvm` or `paravirtual`.
---@field location string? Owner and name.
---@field deregistration_protection string? `disabled`, or how it is protected.
---@field snapshots string[] The ids of its snapshots.
---@field tags table<string, string> Its tags.

---@class rimg.AmazonImagesOptions
---@field owners string[]? Whose images: account numbers, `"self"`, `"amazon"`, `"aws-marketplace"`. Default: anybody's that the account may launch.
---@field image_ids string[]? These images alone; one that is not there is an error. Default: all.
---@field filters rimg.AmazonFilters? What they must be like. Default: anything.
---@field executable_users string[]? Who must be allowed to launch them: account numbers, `"self"`, `"all"`. Default: anybody.
---@field include_deprecated boolean? Whether deprecated images of others are listed; one's own always are. Default: false.

--- Lists images, the newest first.
---
--- ```lua
--- local aws = rimg.amazon.client { region = "us-east-1" }
--- local newest = aws:images({ owners = { "136693071363" }, filters = { name = "debian-12-amd64-*", architecture = "x86_64" } })[1]
--- ```
---@async
---@param options? rimg.AmazonImagesOptions
---@return rimg.AmazonImage[]
function Aws:images(options) end

--- Returns one image, or nil where there is none of that id.
---@async
---@param image_id string
---@return rimg.AmazonImage?
function Aws:image(image_id) end

---@class rimg.AmazonCopyImageOptions
---@field source_region string The region the image is in. Required.
---@field source_image_id string The image to copy. Required.
---@field name string The copy's name. Required.
---@field description string? The copy's description. Default: none.
---@field encrypted boolean? Whether the copy's snapshots are encrypted. Default: as the source's are, or as the account demands.
---@field kms_key_id string? The key to encrypt with: id, ARN or `alias/…` of the region that is copied to. Default: the region's key for EBS.
---@field copy_image_tags boolean? Whether the source's own tags are copied. Default: false.
---@field tags table<string, string>? Tags of the copy, set as it is made. Default: none.
---@field snapshot_tags table<string, string>? Tags of the copy's snapshots, set as they are made. Default: none.
---@field client_token string? What makes a repeated call give back the first one's copy, 64 characters at most. Default: one of this call.
---@field wait boolean? Whether it is waited for, with progress, until the copy is available. Default: true.
---@field timeout rimg.Duration? How long the wait may take. Default: `"2h"`.

--- Copies an image into the client's region, and returns the copy's id.
---
--- ```lua
--- local there = rimg.amazon.client { region = "us-east-1" }
--- local id = there:copy_image { source_region = "eu-central-1", source_image_id = "ami-0123456789abcdef0", name = "web-1.4.0" }
--- ```
---@async
---@param options rimg.AmazonCopyImageOptions
---@return string
function Aws:copy_image(options) end

---@class rimg.AmazonWaitImageOptions
---@field image_id string? The image. Default: the first argument.
---@field timeout rimg.Duration? How long the wait may take. Default: `"2h"`.

--- Waits until an image is available, with progress; one that failed is an error with Amazon's reason.
---@async
---@param image_id string
---@param options? rimg.AmazonWaitImageOptions
---@return rimg.AmazonImage
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonWaitImageOptions): rimg.AmazonImage
function Aws:wait_image(image_id, options) end

---@class rimg.AmazonShareImageOptions
---@field image_id string? The image. Default: the first argument.
---@field users string[]? Account numbers. Default: none.
---@field groups string[]? Groups; `"all"`, which is everybody, is the only one there is. Default: none.
---@field organization_arns string[]? ARNs of organizations. Default: none.
---@field organizational_unit_arns string[]? ARNs of organizational units. Default: none.
---@field remove boolean? Whether they lose the permission instead of getting it. Default: false.

--- Lets others launch an image.
---@async
---@param image_id string
---@param options rimg.AmazonShareImageOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonShareImageOptions)
function Aws:share_image(image_id, options) end

---@class rimg.AmazonDeprecateImageOptions
---@field image_id string? The image. Default: the first argument.
---@field at string When, in UTC, to the minute: `"2027-01-01T00:00:00Z"`. Required.

--- Sets when an image counts as deprecated: from then on it is listed for its owner alone, and can still be launched.
---@async
---@param image_id string
---@param options rimg.AmazonDeprecateImageOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonDeprecateImageOptions)
function Aws:deprecate_image(image_id, options) end

--- Takes an image's deprecation back.
---@async
---@param image_id string
function Aws:undeprecate_image(image_id) end

---@class rimg.AmazonProtectImageOptions
---@field image_id string? The image. Default: the first argument.
---@field with_cooldown boolean? Whether the protection outlasts its end by 24 hours. Default: false.

--- Protects an image from being deregistered.
---@async
---@param image_id string
---@param options? rimg.AmazonProtectImageOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonProtectImageOptions)
function Aws:protect_image(image_id, options) end

--- Ends an image's protection: at once, or after its cooldown.
---@async
---@param image_id string
function Aws:unprotect_image(image_id) end

---@class rimg.AmazonDeregisterImageOptions
---@field image_id string? The image. Default: the first argument.
---@field delete_snapshots boolean? Whether its snapshots go with it, but those that another image stands on. Default: true.

--- Deregisters an image; its snapshots, which are what costs money, go with it. An image that is protected is an error.
---@async
---@param image_id string
---@param options? rimg.AmazonDeregisterImageOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonDeregisterImageOptions)
function Aws:deregister_image(image_id, options) end

-- Tags ------------------------------------------------------------------------

---@class rimg.AmazonTagOptions
---@field ids (string|string[])? The resources. Default: the first argument.
---@field tags table<string, string> The tags to set. Required.

--- Sets tags of images, snapshots, instances, …; others that they have stay.
---@async
---@param ids string|string[]
---@param options rimg.AmazonTagOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonTagOptions)
function Aws:tag(ids, options) end

---@class rimg.AmazonUntagOptions
---@field ids (string|string[])? The resources. Default: the first argument.
---@field keys string[] The names of the tags to take away. Required.

--- Takes tags away.
---@async
---@param ids string|string[]
---@param options rimg.AmazonUntagOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonUntagOptions)
function Aws:untag(ids, options) end

-- Snapshots -------------------------------------------------------------------

--- A snapshot of a volume.
---@class rimg.AmazonSnapshot
---@field id string `"snap-…"`.
---@field state "pending"|"completed"|"error"|"recoverable"|"recovering" Its state.
---@field progress string? How far it is, `"42%"`.
---@field volume_id string? The volume it was made of.
---@field volume_size integer? The volume's size in GiB.
---@field description string? What it says about itself.
---@field encrypted boolean Whether it is encrypted.
---@field start_time string? When it was begun.
---@field owner_id string The account it belongs to.
---@field tags table<string, string> Its tags.

---@class rimg.AmazonSnapshotsOptions
---@field owners string[]? Whose snapshots: account numbers, `"self"`, `"amazon"`. Default: `self`, unless `snapshot_ids` are given.
---@field snapshot_ids string[]? These snapshots alone; one that is not there is an error. Default: all.
---@field filters rimg.AmazonFilters? What they must be like. Default: anything.

--- Lists snapshots.
---@async
---@param options? rimg.AmazonSnapshotsOptions
---@return rimg.AmazonSnapshot[]
function Aws:snapshots(options) end

---@class rimg.AmazonWaitSnapshotOptions
---@field snapshot_id string? The snapshot. Default: the first argument.
---@field timeout rimg.Duration? How long the wait may take. Default: `"2h"`.

--- Waits until a snapshot is completed, with progress; one that failed is an error.
---@async
---@param snapshot_id string
---@param options? rimg.AmazonWaitSnapshotOptions
---@return rimg.AmazonSnapshot
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonWaitSnapshotOptions): rimg.AmazonSnapshot
function Aws:wait_snapshot(snapshot_id, options) end

---@class rimg.AmazonShareSnapshotOptions
---@field snapshot_id string? The snapshot. Default: the first argument.
---@field users string[]? Account numbers. Default: none.
---@field groups string[]? Groups; `"all"`, which is everybody, is the only one there is. Default: none.
---@field remove boolean? Whether they lose the permission instead of getting it. Default: false.

--- Lets others make volumes of a snapshot.
---@async
---@param snapshot_id string
---@param options rimg.AmazonShareSnapshotOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonShareSnapshotOptions)
function Aws:share_snapshot(snapshot_id, options) end

---@class rimg.AmazonCopySnapshotOptions
---@field source_region string The region the snapshot is in. Required.
---@field source_snapshot_id string The snapshot to copy. Required.
---@field description string? The copy's description. Default: none.
---@field encrypted boolean? Whether the copy is encrypted. Default: as the source is, or as the account demands.
---@field kms_key_id string? The key to encrypt with: id, ARN or `alias/…` of the region that is copied to. Default: the region's key for EBS.
---@field tags table<string, string>? Tags of the copy, set as it is made. Default: none.
---@field wait boolean? Whether it is waited for until the copy is completed. Default: true.
---@field timeout rimg.Duration? How long the wait may take. Default: `"2h"`.

--- Copies a snapshot into the client's region, and returns the copy's id.
---@async
---@param options rimg.AmazonCopySnapshotOptions
---@return string
function Aws:copy_snapshot(options) end

--- Deletes a snapshot; one that an image stands on is an error that says so.
---@async
---@param snapshot_id string
function Aws:delete_snapshot(snapshot_id) end

-- Instances -------------------------------------------------------------------

--- An instance.
---@class rimg.AmazonInstance
---@field id string `"i-…"`.
---@field state "pending"|"running"|"shutting-down"|"terminated"|"stopping"|"stopped" Its state.
---@field state_reason string? Amazon's reason for the last change of state.
---@field type string `"t3.micro"`.
---@field image_id string The image it was launched from.
---@field key_name string? The key pair it was launched with.
---@field launch_time string? When it was launched last.
---@field availability_zone string? `"eu-central-1a"`.
---@field subnet_id string? Its subnet.
---@field vpc_id string? Its VPC.
---@field public_ip string? Its public IPv4 address.
---@field private_ip string? Its private IPv4 address.
---@field public_dns string? Its public name.
---@field private_dns string? Its private name.
---@field ipv6 string? Its IPv6 address.
---@field lifecycle string? `spot` or `scheduled`, and nothing for one on demand.
---@field security_groups string[] The ids of its security groups.
---@field tags table<string, string> Its tags.

---@class rimg.AmazonInstancesOptions
---@field instance_ids string[]? These instances alone; one that is not there is an error. Default: all.
---@field filters rimg.AmazonFilters? What they must be like, `{ ["instance-state-name"] = "running" }`. Default: anything.

--- Lists instances, those terminated in the last hour among them.
---@async
---@param options? rimg.AmazonInstancesOptions
---@return rimg.AmazonInstance[]
function Aws:instances(options) end

---@class rimg.AmazonStartInstancesOptions
---@field instance_ids (string|string[])? The instances. Default: the first argument.
---@field wait boolean? Whether it is waited for until they run. Default: true.

--- Starts instances that are stopped.
---@async
---@param instance_ids string|string[]
---@param options? rimg.AmazonStartInstancesOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonStartInstancesOptions)
function Aws:start_instances(instance_ids, options) end

---@class rimg.AmazonStopInstancesOptions
---@field instance_ids (string|string[])? The instances. Default: the first argument.
---@field force boolean? Whether their systems are not given the time to shut down. Default: false.
---@field wait boolean? Whether it is waited for until they are stopped. Default: true.

--- Stops instances.
---@async
---@param instance_ids string|string[]
---@param options? rimg.AmazonStopInstancesOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonStopInstancesOptions)
function Aws:stop_instances(instance_ids, options) end

---@class rimg.AmazonTerminateInstancesOptions
---@field instance_ids (string|string[])? The instances. Default: the first argument.
---@field wait boolean? Whether it is waited for until they are terminated. Default: true.

--- Terminates instances; those that are terminated already are no error.
---@async
---@param instance_ids string|string[]
---@param options? rimg.AmazonTerminateInstancesOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonTerminateInstancesOptions)
function Aws:terminate_instances(instance_ids, options) end

--- Returns what an instance has written to its console, as far as Amazon has it; empty where there is nothing yet.
---@async
---@param instance_id string
---@return string
function Aws:console_output(instance_id) end

---@class rimg.AmazonWindowsPasswordOptions
---@field instance_id string? The instance. Default: the first argument.
---@field private_key_file string The private half of the key pair it was launched with, which has to be one of RSA: OpenSSH, PEM or PuTTY, `~/` understood. Required.
---@field private_key_passphrase string? What unlocks the private key; masked in every output.
---@field timeout rimg.Duration? How long Windows may take to make its password. Default: `"20m"`.

--- Waits for the password that Windows has made for its Administrator at the first start, and decrypts it; it is masked in
--- every output.
---
--- ```lua
--- local aws = rimg.amazon.client { region = "eu-central-1" }
--- local password = aws:windows_password("i-0123456789abcdef0", { private_key_file = "~/.ssh/windows" })
--- ```
---@async
---@param instance_id string
---@param options rimg.AmazonWindowsPasswordOptions
---@return string
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonWindowsPasswordOptions): string
function Aws:windows_password(instance_id, options) end

-- Key pairs and security groups -----------------------------------------------

--- A key pair, of which Amazon has the public half.
---@class rimg.AmazonKeyPair
---@field id string `"key-…"`.
---@field name string Its name.
---@field type "rsa"|"ed25519" Its kind.
---@field fingerprint string Its fingerprint, as Amazon computes it.
---@field tags table<string, string> Its tags.

---@class rimg.AmazonKeyPairsOptions
---@field key_names string[]? These key pairs alone; one that is not there is an error. Default: all.
---@field filters rimg.AmazonFilters? What they must be like. Default: anything.

--- Lists key pairs.
---@async
---@param options? rimg.AmazonKeyPairsOptions
---@return rimg.AmazonKeyPair[]
function Aws:key_pairs(options) end

---@class rimg.AmazonImportKeyPairOptions
---@field key_name string Its name. Required.
---@field public_key string The public key as in `authorized_keys`: RSA or Ed25519. Required.
---@field tags table<string, string>? Tags, set as it is made. Default: none.

--- Imports a public key as a key pair, and returns its id.
---@async
---@param options rimg.AmazonImportKeyPairOptions
---@return string
function Aws:import_key_pair(options) end

--- Deletes a key pair; one that is not there is no error.
---@async
---@param key_name string
function Aws:delete_key_pair(key_name) end

--- A security group.
---@class rimg.AmazonSecurityGroup
---@field id string `"sg-…"`.
---@field name string Its name.
---@field description string What it says about itself.
---@field vpc_id string? Its VPC.
---@field tags table<string, string> Its tags.

---@class rimg.AmazonSecurityGroupsOptions
---@field group_ids string[]? These groups alone; one that is not there is an error. Default: all.
---@field filters rimg.AmazonFilters? What they must be like. Default: anything.

--- Lists security groups.
---@async
---@param options? rimg.AmazonSecurityGroupsOptions
---@return rimg.AmazonSecurityGroup[]
function Aws:security_groups(options) end

--- What a security group lets in.
---@class rimg.AmazonIngress
---@field protocol string? `tcp`, `udp`, `icmp`, or `-1` for all. Default: `tcp`.
---@field from_port integer? The first port. Default: all ports.
---@field to_port integer? The last port. Default: `from_port`.
---@field cidrs string[] Where from, IPv4 or IPv6: `{ "203.0.113.0/24" }`. Required.

---@class rimg.AmazonCreateSecurityGroupOptions
---@field name string Its name. Required.
---@field description string? What it says about itself. Default: its name.
---@field vpc_id string? The VPC it is in. Default: the region's default VPC.
---@field tags table<string, string>? Tags, set as it is made. Default: none.
---@field ingress rimg.AmazonIngress[]? What it lets in. Default: nothing.

--- Makes a security group, and returns its id.
---@async
---@param options rimg.AmazonCreateSecurityGroupOptions
---@return string
function Aws:create_security_group(options) end

--- Deletes a security group; one that an instance still uses is an error.
---@async
---@param group_id string
function Aws:delete_security_group(group_id) end

-- Parameters and secrets ------------------------------------------------------

---@class rimg.AmazonParameterOptions
---@field name string? The parameter. Default: the first argument.
---@field decrypt boolean? Whether a `SecureString` is decrypted; its value is masked in every output. Default: true.

--- Returns the value of a parameter of Systems Manager's Parameter Store, Amazon's public ones among them.
---
--- ```lua
--- local aws = rimg.amazon.client { region = "eu-central-1" }
--- local ami = aws:parameter "/aws/service/debian/release/12/latest/amd64"
--- ```
---@async
---@param name string
---@param options? rimg.AmazonParameterOptions
---@return string
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonParameterOptions): string
function Aws:parameter(name, options) end

---@class rimg.AmazonPutParameterOptions
---@field name string? The parameter. Default: the first argument.
---@field value string What it is set to. Required.
---@field type ("String"|"StringList"|"SecureString")? Its type. Default: `String`.
---@field overwrite boolean? Whether one that is there gets the new value; otherwise it is an error. Default: true.
---@field description string? What it says about itself. Default: none.
---@field tags table<string, string>? Tags. Default: none.

--- Sets a parameter of Systems Manager's Parameter Store, such as the id of the newest image.
---@async
---@param name string
---@param options rimg.AmazonPutParameterOptions
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonPutParameterOptions)
function Aws:put_parameter(name, options) end

--- Deletes a parameter.
---@async
---@param name string
function Aws:delete_parameter(name) end

---@class rimg.AmazonSecretOptions
---@field secret_id string? The secret's name or ARN. Default: the first argument.
---@field key string? The field of the JSON in it that is wanted. Default: all of it, as it is.
---@field version_id string? The version's id. Default: by `version_stage`.
---@field version_stage string? The version's stage. Default: `AWSCURRENT`.

--- Returns a secret of Secrets Manager; it is masked in every output.
---
--- ```lua
--- local aws = rimg.amazon.client { region = "eu-central-1" }
--- local password = aws:secret("build/registry", { key = "password" })
--- ```
---@async
---@param secret_id string
---@param options? rimg.AmazonSecretOptions
---@return string
---@overload fun(self: rimg.AmazonClient, options: rimg.AmazonSecretOptions): string
function Aws:secret(secret_id, options) end

-- The builder -----------------------------------------------------------------

--- Options of an instance that is launched, worked on over SSH, and made an image of. Names are Packer's (`amazon-ebs`);
--- docs/amazon.md has Packer's options and rimg's side by side. The connection's options (`ssh_username`, …) and those of
--- access stand in the same table. `ssh_host` and `ssh_port` override where the instance is reached.
---
--- Everything that is made is tagged as it is made: `rimg:run`, `rimg:build`, `rimg:id` and `Name`; `rimg gc` finds by
--- them what a killed run left.
---@class rimg.AmazonEbsOptions : rimg.AmazonSourceOptions, rimg.AmazonLaunchOptions, rimg.AmazonNetworkOptions, rimg.AmazonSpotOptions, rimg.AmazonConnectOptions, rimg.AmazonAmiOptions, rimg.AmazonCopyOptions, rimg.AmazonShareOptions, rimg.AmazonAccess, rimg.SshOptions, rimg.TemporaryKeyOptions

--- The image that an instance is launched from: one of the two is required.
---@class rimg.AmazonSourceOptions
---@field source_ami string? The image's id, `"ami-…"`.
---@field source_ami_filter rimg.AmazonSourceFilter? What the image must be like.

--- What a source image must be like: none, or several without `most_recent`, is an error that lists them.
---@class rimg.AmazonSourceFilter
---@field filters rimg.AmazonFilters? Filters of DescribeImages: `{ name = "debian-12-amd64-*", ["root-device-type"] = "ebs" }`.
---@field owners string[] Whose images count: account numbers, `"self"`, `"amazon"`, `"aws-marketplace"`. Anybody can give an image any name. Required.
---@field most_recent boolean? Whether the newest of several is taken. Default `false`.
---@field include_deprecated boolean? Whether deprecated images of others count. Default `false`.

--- How an instance is launched.
---@class rimg.AmazonLaunchOptions
---@field instance_type string? The type, `"t3.small"`. Required, unless `instance_types` or `spot_instance_types` is given.
---@field instance_types string[]? Several types in the place of one, the most wanted first: where there is no capacity for one, the next is tried.
---@field availability_zone (string|string[])? The zone, or several: where there is no capacity in one, the next is tried. Default: Amazon's choice.
---@field iam_instance_profile string? The name of the instance profile that the instance runs with. Default: none.
---@field skip_profile_validation boolean? Whether it is not looked at beforehand that the profile is there. Default `false`.
---@field temporary_iam_instance_profile_policy_document table? A policy, `{ Version = "2012-10-17", Statement = { … } }`, of a role and profile that are made for this machine alone.
---@field user_data string? User data, for cloud-init and its like, 16 KiB at most. Default: none.
---@field user_data_file string? The file with the user data.
---@field launch_block_device_mappings rimg.AmazonBlockDevice[]? Volumes of the instance: further ones, or the root volume by its device name, made larger. They are in the image, too.
---@field no_ephemeral boolean? Whether the host's own disks, which images of Windows name `xvdca` to `xvdcz`, are left out. Default `false`.
---@field ebs_optimized boolean? Whether the type's optimization for EBS is turned on. Default `false`; current types have it anyway.
---@field enable_nitro_enclave boolean? Whether the instance may have Nitro enclaves. Default `false`.
---@field enable_unlimited_credits boolean? Whether a burstable type (T2, T3, T4g) may use more processor than it has earned, at a price. Default `false`.
---@field shutdown_behavior ("stop"|"terminate")? What becomes of the instance when its system shuts down. Default `stop`.
---@field disable_stop_instance boolean? Whether the instance is stopped from inside, by what the script does last (sysprep); `vm:finish` only waits for it. Default `false`.
---@field metadata_options rimg.AmazonMetadataOptions? How the instance reads its own metadata. Default: IMDSv2 is required.
---@field placement rimg.AmazonPlacement? Where in Amazon's house the instance runs.
---@field tenancy ("default"|"dedicated"|"host")? Whether the hardware is shared. Packer's older name for `placement`'s.
---@field capacity_reservation_preference ("open"|"none")? Whether open reservations of capacity are used. Default `none`.
---@field capacity_reservation_id string? The reservation to use.
---@field capacity_reservation_group_arn string? The group of reservations to use.
---@field license_specifications rimg.AmazonLicense[]? Licence configurations of License Manager.
---@field run_tags table<string, string>? Tags of all that is made for the build and removed after it: instance, volumes, interfaces, key pair, security group, role, spot request, launch template.
---@field run_volume_tags table<string, string>? Tags of the instance's volumes, over `run_tags`.

--- Where an instance stands in the network, and who reaches it.
---@class rimg.AmazonNetworkOptions
---@field vpc_id string? The VPC. Default: the subnet's, else the default one.
---@field vpc_filter { filters: rimg.AmazonFilters }? What the VPC must be like; exactly one must be.
---@field subnet_id string? The subnet. Default: the default subnet of the zone.
---@field subnet_filter rimg.AmazonSubnetFilter? What the subnet must be like.
---@field associate_public_ip_address boolean? Whether the instance gets a public address. Default: as the subnet says.
---@field security_group_id string? The security group. It must let SSH in. Default: a temporary one that lets in SSH alone.
---@field security_group_ids string[]? Several security groups.
---@field security_group_filter { filters: rimg.AmazonFilters }? What the security groups must be like; all that are so are taken.
---@field temporary_security_group_source_cidrs string[]? Where from the temporary security group lets SSH in. Default: `0.0.0.0/0`, and `::/0` for `ssh_interface = "ipv6"`.
---@field temporary_security_group_source_public_ip boolean? Whether it lets in this host's public address alone, as checkip.amazonaws.com sees it. Default `false`.

--- What a subnet must be like: one, or with `most_free` or `random` one of several.
---@class rimg.AmazonSubnetFilter
---@field filters rimg.AmazonFilters? Filters of DescribeSubnets: `{ ["tag:Class"] = "build" }`.
---@field most_free boolean? Whether the one with the most free addresses is taken. Default `false`.
---@field random boolean? Whether any one is taken. Default `false`.

--- An instance at the spot price, which Amazon may take back: the build then fails at once, with that reason. Amazon stops no
--- such instance: making the image shuts its system down for a moment.
---@class rimg.AmazonSpotOptions
---@field spot_price (string|number)? The most to pay, in dollars an hour, or `"auto"`: at most the price on demand. Default: an instance on demand.
---@field spot_instance_types string[]? Several types in the place of `instance_type`, the most wanted first: where there is no capacity for one, the next is tried. Wants `spot_price`.
---@field spot_tags table<string, string>? Tags of the spot request, over `run_tags`.
---@field spot_allocation_strategy ("price-capacity-optimized"|"capacity-optimized"|"capacity-optimized-prioritized"|"diversified"|"lowest-price")? How Amazon itself chooses among the types and zones, in one request: a fleet of one instance, with a launch template that is there only as long as the request. Wants `spot_price`. Default: types and zones are tried in their order.
---@field fleet_tags table<string, string>? Tags of the fleet, over `run_tags`. Wants `spot_allocation_strategy`.

--- How an instance is reached.
---@class rimg.AmazonConnectOptions
---@field ssh_interface ("public_ip"|"private_ip"|"public_dns"|"private_dns"|"ipv6"|"session_manager")? By which of its addresses. Default: the public address, else the private one.
---@field ssh_keypair_name string? A key pair of the account, whose private half is `ssh_private_key_file` or in the agent. Default: a temporary key pair.
---@field temporary_key_pair_name string? What the temporary key pair is called in the account. Default: a name of its own, `rimg-…`.
---@field windows_password boolean? Whether the password that Windows makes for `Administrator` at its first start is waited for, decrypted, and used to log in over SSH. It is masked. The temporary key pair is one of RSA then; a key pair of the account has to be, with its private half in `ssh_private_key_file`. Default `false`.
---@field windows_password_timeout rimg.Duration? How long Windows may take to that. Default: `"20m"`.
---@field session_manager_port integer? The local port of the Session Manager tunnel. Default: any free one.
---@field pause_before_ssm rimg.Duration? How long to wait before the tunnel is opened. Default: not at all; it is tried for five minutes, until the instance has reported.

--- The image that is made.
---@class rimg.AmazonAmiOptions
---@field ami_name string? The image's name, unique in its region: 3 to 128 letters, digits, spaces and `()[]./-'@_`. `vm:finish { name = … }` overrides it. Required, unless `skip_create_ami`.
---@field ami_description string? What it says about itself. Default: none.
---@field ami_block_device_mappings rimg.AmazonBlockDevice[]? Volumes that instances of the image get, besides those it was made with.
---@field tags table<string, string>? Tags of the image and its snapshots, in all regions. `Name` is the image's name unless they say otherwise.
---@field snapshot_tags table<string, string>? Tags of the snapshots, over `tags`.
---@field skip_ami_run_tags boolean? Whether the tags `rimg:run`, `rimg:id` and `rimg:build` are taken off the finished image and its snapshots. Default `false`.
---@field ena_support boolean? Whether the image has enhanced networking (ENA). Default: as the source.
---@field sriov_support boolean? Whether it has enhanced networking of the older kind (SR-IOV). Default `false`.
---@field boot_mode ("legacy-bios"|"uefi"|"uefi-preferred")? How it boots. With this, `tpm_support` or `uefi_data` the image is registered anew of its snapshots. Default: as the source.
---@field tpm_support "v2.0"? Whether its instances have a TPM; wants `boot_mode = "uefi"`.
---@field uefi_data string? What its UEFI variables hold at first, in base64, as `python-uefivars` writes it.
---@field imds_support "v2.0"? Whether its instances want IMDSv2, unless they are launched otherwise. Default: the source's.
---@field deprecate_at string? When it counts as deprecated, in UTC: `"2027-01-01T00:00:00Z"`. Default: never.
---@field deregistration_protection rimg.AmazonDeregistrationProtection? Whether it cannot be deregistered.
---@field fast_launch rimg.AmazonFastLaunch? Snapshots prepared beforehand, so that Windows starts sooner.
---@field force_deregister boolean? Whether an image of that name is deregistered just before the new one is made. Default `false`: it is an error before anything is launched.
---@field force_delete_snapshot boolean? Whether that one's snapshots go with it. Default `false`.
---@field skip_if_exists boolean? Whether a build is done, and launches nothing, where an image of that name is there in `region`: that image is what the build returns. Default `false`.
---@field skip_create_ami boolean? Whether no image is made, for a test of the rest. Default `false`.

--- Where the image goes, and how it is encrypted there.
---@class rimg.AmazonCopyOptions
---@field ami_regions string[]? Regions that it is copied to, side by side; where one fails, none is kept. Default: none.
---@field skip_region_validation boolean? Whether it is not looked at beforehand that the regions are there. Default `false`.
---@field skip_save_build_region boolean? Whether it does not stay in the region it was made in. Default `false`.
---@field encrypt_boot boolean? Whether its snapshots are encrypted; it is copied for that where the instance's volumes were not. Default: as they were.
---@field kms_key_id string? The key to encrypt with in `region`, with `encrypt_boot`: id, ARN or `alias/…`. Default: the region's key for EBS.
---@field region_kms_key_ids table<string, string>? The keys of the regions in `ami_regions`, with `encrypt_boot`: `{ ["us-east-1"] = "alias/images" }`. Default: each region's key for EBS.
---@field snapshot_copy_duration_minutes integer? In how many minutes a copy is to be complete, a multiple of 15, which Amazon charges for. Default: best effort.

--- Who else may use the image.
---@class rimg.AmazonShareOptions
---@field ami_users string[]? Account numbers that may launch it. Default: none.
---@field ami_groups string[]? Groups that may: `{ "all" }` makes it public. Default: none.
---@field ami_org_arns string[]? ARNs of organizations that may. Default: none.
---@field ami_ou_arns string[]? ARNs of organizational units that may. Default: none.
---@field ami_product_codes string[]? Product codes of the Marketplace that it carries. Default: none.
---@field snapshot_users string[]? Account numbers that may make volumes of its snapshots. Default: none.
---@field snapshot_groups string[]? Groups that may: `{ "all" }`. Default: none.

--- A volume of an instance or image.
---@class rimg.AmazonBlockDevice
---@field device_name string What the instance calls it: `/dev/xvda`, `/dev/sdf`. Required.
---@field volume_size integer? Its size in GiB. Required, unless the source or a snapshot has one.
---@field volume_type ("gp3"|"gp2"|"io2"|"io1"|"st1"|"sc1"|"standard")? Its type. Default: the source's, else Amazon's choice.
---@field iops integer? Operations a second, for gp3, io1 and io2. Default: the type's.
---@field throughput integer? MiB a second, for gp3. Default: 125.
---@field encrypted boolean? Whether it is encrypted. Default: as the source is, or as the account demands.
---@field kms_key_id string? The key to encrypt with, beside `encrypted = true`: id, ARN or `alias/…`. Default: the region's key for EBS.
---@field snapshot_id string? The snapshot it starts with. Default: the source's, or an empty volume.
---@field delete_on_termination boolean? Whether it goes with the instance. Default `true`, unlike Packer's: a volume that is forgotten costs money.
---@field no_device boolean? Whether the source's device of that name is left out. Default `false`.
---@field virtual_name string? An instance store volume, `ephemeral0`.

--- How an instance reads its own metadata.
---@class rimg.AmazonMetadataOptions
---@field http_endpoint ("enabled"|"disabled")? Whether it can at all. Default `enabled`.
---@field http_tokens ("required"|"optional")? Whether by IMDSv2 only. Default `required`, unlike Packer's.
---@field http_put_response_hop_limit integer? How many hops its answers go, 1 to 64; containers need 2. Default 1.
---@field instance_metadata_tags ("enabled"|"disabled")? Whether the tags are among it. Default `disabled`.

--- Where in Amazon's house an instance runs.
---@class rimg.AmazonPlacement
---@field tenancy ("default"|"dedicated"|"host")? Whether the hardware is shared. Default `default`.
---@field host_id string? The dedicated host.
---@field host_resource_group_arn string? The group of dedicated hosts.
---@field group_name string? The placement group.

--- A licence configuration of License Manager.
---@class rimg.AmazonLicense
---@field license_configuration_request { license_configuration_arn: string } Its ARN. Required.

--- Whether an image cannot be deregistered.
---@class rimg.AmazonDeregistrationProtection
---@field enabled boolean? Whether it is protected. Default `false`.
---@field with_cooldown boolean? Whether the protection outlasts its end by 24 hours. Default `false`.

--- Windows that starts sooner: Amazon prepares snapshots of the image, which cost money.
---@class rimg.AmazonFastLaunch
---@field enable_fast_launch boolean? Whether it is so. Default `false`.
---@field max_parallel_launches integer? How many instances prepare at once, 6 at least. Default: 6.
---@field target_resource_count integer? How many snapshots are kept ready. Default: 5.
---@field template_id string? The launch template that they are prepared with, for an image of one region. Default: Amazon's own.
---@field template_name string? The same by its name.
---@field template_version integer? Which version of it. Default: the latest.
---@field region_launch_templates rimg.AmazonRegionTemplate[]? The launch templates by region, for an image that is copied. Default: Amazon's own.

--- The launch template of one region.
---@class rimg.AmazonRegionTemplate
---@field region string The region. Required.
---@field enable_fast_launch boolean? `false` leaves this region out. Default: as for all.
---@field template_id string? The launch template's id. Default: Amazon's own template.
---@field template_name string? Or its name.
---@field template_version integer? Which version of it. Default: the latest.

--- Launches an instance and returns it when it takes commands; `vm:finish` stops it and makes the image, in all regions. The
--- artifact has no files: its `id` is `eu-central-1:ami-…,us-east-1:ami-…`, `metadata.images` the ids by region, and
--- `metadata.snapshots` the lists of snapshots by region.
---
--- ```lua
--- local vm = rimg.amazon.ebs {
---   region = "eu-central-1", instance_type = "t3.small", ssh_username = "admin", ami_name = "web-" .. rimg.timestamp(),
---   source_ami_filter = { owners = { "136693071363" }, filters = { name = "debian-12-amd64-*" }, most_recent = true },
--- }
--- vm:shell "sudo apt-get update && sudo apt-get install --yes nginx"
--- print(vm:finish().metadata.images["eu-central-1"])
--- ```
---@async
---@param options rimg.AmazonEbsOptions
---@return rimg.Machine
function rimg.amazon.ebs(options) end

--- Options of an image that is made of a volume which was worked on as a second disk: those of `rimg.amazon.ebs`, and which
--- volume becomes the root.
---@class rimg.AmazonSurrogateOptions : rimg.AmazonEbsOptions
---@field ami_root_device rimg.AmazonRootDevice Which of the instance's volumes is the image's root.
---@field ami_architecture ("arm64"|"arm64_mac"|"i386"|"x86_64"|"x86_64_mac")? Default: the source image's.

--- The root of an image that is made of volumes.
---@class rimg.AmazonRootDevice
---@field source_device_name string What it is called on the instance, in `launch_block_device_mappings`: `"/dev/xvdf"`.
---@field device_name string What it is called in the image: `"/dev/xvda"`.
---@field volume_size integer? GiB. Default: the volume's.
---@field volume_type ("gp3"|"gp2"|"io1"|"io2"|"st1"|"sc1"|"standard")? Default: the volume's.
---@field iops integer? Of gp3, io1 and io2. Default: the volume's.
---@field throughput integer? MiB a second, of gp3. Default: the volume's.
---@field delete_on_termination boolean? Whether it goes with an instance of the image. Default `true`.

--- Launches an instance with empty volumes beside its own disk; what the script puts on them, `vm:finish` takes snapshots of
--- and registers as an image: a system from scratch, which the instance's own never ran.
---
--- ```lua
--- local vm = rimg.amazon.surrogate {
---   region = "eu-central-1", instance_type = "t3.small", ssh_username = "admin", ami_name = "tiny-" .. rimg.timestamp(),
---   source_ami_filter = { owners = { "136693071363" }, filters = { name = "debian-12-amd64-*" }, most_recent = true },
---   launch_block_device_mappings = { { device_name = "/dev/xvdf", volume_size = 4, volume_type = "gp3" } },
---   ami_root_device = { source_device_name = "/dev/xvdf", device_name = "/dev/xvda" },
--- }
--- vm:shell "sudo mkfs.ext4 -q /dev/xvdf && sudo mount /dev/xvdf /mnt && sudo mmdebstrap bookworm /mnt"
--- vm:finish()
--- ```
---@async
---@param options rimg.AmazonSurrogateOptions
---@return rimg.Machine
function rimg.amazon.surrogate(options) end

--- Options of an image that is made on the EC2 instance that rimg itself runs on: a volume is attached to it, mounted, and
--- worked on in a chroot. Names are Packer's (`amazon-chroot`). Options of access, of the image, its copies and who may use it
--- stand in the same table; `region` is the instance's own.
---@class rimg.AmazonChrootOptions : rimg.AmazonSourceOptions, rimg.AmazonMountOptions, rimg.AmazonRootVolumeOptions, rimg.AmazonAmiOptions, rimg.AmazonCopyOptions, rimg.AmazonShareOptions, rimg.AmazonAccess
---@field from_scratch boolean? Whether the volume is empty at first, in the place of a source image. Wants `root_volume_size`, `root_device_name` and `pre_mount_commands` that make a file system. Default `false`.
---@field command_wrapper string[]? The words in front of every program that needs root: `{ "sudo", "-n" }`. Packer's `"sudo {{.Command}}"` is not taken: words are not taken apart by a shell again. Default: none, and rimg is root.
---@field ami_architecture ("arm64"|"i386"|"x86_64")? The processor that the image is for. Default: the source's, else this instance's.
---@field ami_virtualization_type "hvm"? Amazon starts no others any more. Default `hvm`.

--- Where the volume is, how it is mounted, and what is in it while it is worked on.
---@class rimg.AmazonMountOptions
---@field device_path string? What the volume is attached as, `"/dev/sdf"`. Default: the first of `/dev/sdf` to `/dev/sdp` that is free.
---@field nvme_device_path string? The device that this host has for it, `"/dev/nvme1n1"`. Default: found by the volume's id, the serial number of the device, else by its name.
---@field pre_mount_commands string[]? Lines for this host's shell, run as root one by one before the volume is mounted; `{{.Device}}` is its device. Default: none.
---@field mount_partition (integer|string)? The number of the partition that is the root; 0 mounts the volume itself. Default 1.
---@field mount_options string[]? Options of mount(8), each behind a `-o`: `{ "noatime" }`; `{ "nouuid" }` for an XFS whose twin is mounted. Default: none.
---@field mount_path string? The folder it is mounted in, which is not there yet or empty. Default: a private one in `/run`.
---@field post_mount_commands string[]? Lines for this host's shell, run as root one by one when the volume is mounted and nothing is in it yet; `{{.Device}}` and `{{.MountPath}}` are known. Default: none.
---@field chroot_mounts string[][]? What is mounted in it: lists of type, what and where, of which `bind` binds a folder. Default: `proc`, `sysfs`, a bind of `/dev`, `devpts`, and `binfmt_misc` where this host has it.
---@field copy_files string[]? Files of this host that are in it, at the same paths, as long as it is worked on; what was there before is put back, unless the script has written the file anew. Default: `{ "/etc/resolv.conf" }`.

--- The volume, which becomes the image's root.
---@class rimg.AmazonRootVolumeOptions
---@field root_device_name string? What the image calls its root, `"/dev/xvda"`. Default: as the source does.
---@field root_volume_size integer? Its size in GiB; the file system in it is not made larger. Default: the source's.
---@field root_volume_type ("gp3"|"gp2"|"io2"|"io1"|"st1"|"sc1"|"standard")? Its type, also in the image. Default: the source's, else `gp3`.
---@field root_volume_tags table<string, string>? Tags of the volume, which is removed in the end.
---@field root_volume_encrypt_boot boolean? Whether it is encrypted, and with it the image. Default: as the source is, or as the account demands.
---@field root_volume_kms_key_id string? The key to encrypt with, beside `root_volume_encrypt_boot = true`. Default: the region's key for EBS.

--- Makes a volume of an image's root, attaches it to the instance that rimg runs on, mounts it, and returns it as a machine
--- whose commands run in it as root; `vm:finish` unmounts it, takes a snapshot and registers the image. No instance is
--- launched or waited for. rimg must run on EC2, as root or with a `command_wrapper`.
---
--- ```lua
--- local vm = rimg.amazon.chroot {
---   ami_name = "web-" .. rimg.timestamp(),
---   source_ami_filter = { owners = { "136693071363" }, filters = { name = "debian-12-amd64-*" }, most_recent = true },
--- }
--- vm:shell "apt-get update && apt-get install --yes nginx"
--- vm:finish()
--- ```
---@async
---@param options rimg.AmazonChrootOptions
---@return rimg.Machine
function rimg.amazon.chroot(options) end
