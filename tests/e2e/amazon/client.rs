//! The calls that scripts make themselves.

use serde_json::{Value, json};

use super::{World, param, tags};
use crate::support::aws::{ACCOUNT, DEBIAN, SOURCE, WINDOWS};
use crate::support::rimg::Run;

/// Runs Lua with a client `aws` of us-east-1.
#[track_caller]
fn lua(world: &World, code: &str) -> Run {
    let client = r#"local rimg = require "rimg"
local aws = rimg.amazon.client { region = "us-east-1", aws_polling = { delay_seconds = 0.05, max_attempts = 1000 } }
local function same(a, b)
  a, b = rimg.json.encode(a), rimg.json.encode(b)
  if a ~= b then error(a .. " is not " .. b, 2) end
end
"#;
    world.run(&format!("{client}{code}"))
}

#[test]
fn who_and_where_is_told() {
    let Some(world) = World::start() else { return };
    let code = format!(
        r#"same(aws.region, "us-east-1")
same(aws:caller_identity().account, "{ACCOUNT}")
local regions = aws:regions {{}}
assert(#regions > 10 and regions[1] < regions[2], rimg.json.encode(regions))
assert(#aws:regions {{ all = true }} >= #regions)
"#
    );
    lua(&world, &code).expect_code(0);
}

#[test]
fn images_are_found_newest_first() {
    let Some(world) = World::start() else { return };
    let code = format!(
        r#"local found = aws:images {{ owners = {{ "{DEBIAN}" }}, filters = {{ name = "debian-12-*", architecture = {{ "x86_64" }} }} }}
same(#found, 2)
same(found[1].id, "{SOURCE}")
local image = aws:image "{SOURCE}"
same({{ image.name, image.state, image.architecture, image.root_device_type, image.public, image.owner_id, #image.snapshots }},
  {{ "debian-12-amd64-20260601-1", "available", "x86_64", "ebs", true, "{DEBIAN}", 1 }})
same(aws:image "ami-0123456789abcdef0", nil)
same(aws:image "{WINDOWS}".platform, "windows")
same(#aws:images {{ owners = "self" }}, 0)
"#
    );
    lua(&world, &code).expect_code(0);
}

#[test]
fn every_page_is_read() {
    let Some(world) = World::start() else { return };
    let page = |id: &str, token: &str| {
        format!(
            "<DescribeImagesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><imagesSet><item><imageId>{id}</imageId>\
             <name>{id}</name><creationDate>2026-01-01T00:00:00.000Z</creationDate></item></imagesSet>{token}</DescribeImagesResponse>"
        )
    };
    world.aws.rules(json!([
        { "action": "DescribeImages", "do": "replace", "body": page("ami-1", "<nextToken>more</nextToken>") },
        { "action": "DescribeImages", "do": "replace", "body": page("ami-2", "") },
    ]));
    lua(&world, "same(#aws:images { owners = 'self' }, 2)").expect_code(0);
    assert_eq!(param(&world.aws.calls("DescribeImages")[1], "NextToken"), "more");
}

#[test]
fn an_image_has_a_life() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 2, "snapshots": 2 }));
    let code = format!(
        r#"local there = rimg.amazon.client {{ region = "eu-west-1", aws_polling = {{ delay_seconds = 0.05, max_attempts = 1000 }} }}
local id = there:copy_image {{ source_region = "us-east-1", source_image_id = "{SOURCE}", name = "copy", description = "d",
  encrypted = true, kms_key_id = "alias/k", tags = {{ Role = "web" }}, snapshot_tags = {{ S = "1" }}, client_token = "once" }}
same(there:image(id).state, "available")
same(there:copy_image {{ source_region = "us-east-1", source_image_id = "{SOURCE}", name = "copy", description = "d",
  encrypted = true, kms_key_id = "alias/k", tags = {{ Role = "web" }}, snapshot_tags = {{ S = "1" }}, client_token = "once", wait = false }}, id)
there:wait_image(id, {{ timeout = "1m" }})
local snapshot = there:image(id).snapshots[1]
same(there:wait_snapshot(snapshot).state, "completed")
local shown = there:snapshots {{ snapshot_ids = {{ snapshot }} }}[1]
same({{ shown.encrypted, shown.tags.S }}, {{ true, "1" }})
there:share_image(id, {{ users = {{ "111122223333" }} }})
there:share_image(id, {{ users = {{ "111122223333" }}, remove = true }})
there:share_snapshot(snapshot, {{ users = {{ "111122223333" }} }})
there:tag({{ id, snapshot }}, {{ tags = {{ Team = "x" }} }})
same({{ there:image(id).tags.Team, there:image(id).tags.Role }}, {{ "x", "web" }})
there:untag(id, {{ keys = {{ "Team" }} }})
same(there:image(id).tags.Team, nil)
there:deprecate_image(id, {{ at = "2030-01-01T00:00:00Z" }})
assert(there:image(id).deprecation_time:match "^2030%-01%-01T00:00:00")
there:undeprecate_image(id)
same(there:image(id).deprecation_time, nil)
there:protect_image(id)
same(there:image(id).deregistration_protection, "enabled-without-cooldown")
local ok, err = pcall(there.deregister_image, there, id)
assert(not ok and err.message:match "protected", err.message)
there:unprotect_image(id)
there:deregister_image(id)
same(there:image(id), nil)
same(#there:snapshots {{ filters = {{ ["tag:S"] = "1" }} }}, 0)
"#
    );
    let run = lua(&world, &code).expect_code(0);
    let copy = &world.aws.calls("CopyImage")[0];
    assert_eq!((param(copy, "KmsKeyId"), param(copy, "ClientToken")), ("alias/k", "once"), "{run:?}");
    assert_eq!(tags(copy, "snapshot")["S"], "1");
    world.expect_nothing(&run);
}

#[test]
fn a_snapshot_is_copied_and_deleted() {
    let Some(world) = World::start() else { return };
    let code = format!(
        r#"local there = rimg.amazon.client {{ region = "eu-west-1" }}
local snapshot = aws:image "{SOURCE}".snapshots[1]
local id = there:copy_snapshot {{ source_region = "us-east-1", source_snapshot_id = snapshot, description = "d", tags = {{ A = "b" }} }}
same(there:snapshots {{ snapshot_ids = {{ id }} }}[1].tags.A, "b")
there:delete_snapshot(id)
same(#there:snapshots {{ filters = {{ ["tag:A"] = "b" }} }}, 0)
"#
    );
    lua(&world, &code).expect_code(0);
}

#[test]
fn instances_are_started_stopped_and_ended() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "instances": 2 }));
    world.aws.console("hello from the console\n");
    world.aws.ask(
        "us-east-1",
        "RunInstances",
        &[
            ("ImageId", SOURCE),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("InstanceType", "t3.micro"),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Role"),
            ("TagSpecification.1.Tag.1.Value", "db"),
        ],
    );
    let code = format!(
        r#"local found = aws:instances {{ filters = {{ ["tag:Role"] = "d*" }} }}
same(#found, 1)
local one = found[1]
same({{ one.type, one.image_id, one.tags.Role }}, {{ "t3.micro", "{SOURCE}", "db" }})
local function state() return aws:instances {{ instance_ids = {{ one.id }} }}[1].state end
aws:stop_instances {{ one.id }}
same(state(), "stopped")
aws:start_instances(one.id, {{ wait = true }})
same(state(), "running")
same(aws:console_output(one.id), "hello from the console\n")
aws:terminate_instances {{ one.id }}
same(state(), "terminated")
"#
    );
    let run = lua(&world, &code).expect_code(0);
    world.expect_nothing(&run);
}

#[test]
fn keys_and_groups_are_made_and_deleted() {
    let Some(world) = World::start() else { return };
    let public = std::fs::read_to_string(world.aws.sshd().file("user_key.pub")).unwrap();
    let code = format!(
        r#"local key = aws:import_key_pair {{ key_name = "k", public_key = "{}", tags = {{ A = "b" }} }}
assert(key:match "^key%-", key)
local pairs = aws:key_pairs {{ filters = {{ ["key-name"] = "k" }} }}
same({{ #pairs, pairs[1].name, pairs[1].type, pairs[1].tags.A }}, {{ 1, "k", "ed25519", "b" }})
aws:delete_key_pair "k"
same(#aws:key_pairs {{}}, 0)
local group = aws:create_security_group {{ name = "g", description = "d", tags = {{ A = "b" }},
  ingress = {{ {{ protocol = "tcp", from_port = 22, to_port = 22, cidrs = {{ "203.0.113.0/24" }} }} }} }}
same(aws:security_groups {{ group_ids = {{ group }} }}[1].name, "g")
aws:delete_security_group(group)
same(#aws:security_groups {{ filters = {{ ["group-name"] = "g" }} }}, 0)
"#,
        public.trim()
    );
    let run = lua(&world, &code).expect_code(0);
    let rules = world.aws.calls("AuthorizeSecurityGroupIngress")[0]["params"].to_string();
    assert!(rules.contains("203.0.113.0/24") && rules.contains("22"), "{rules}");
    assert_eq!(world.aws.calls("CreateTags"), [] as [Value; 0]);
    world.expect_nothing(&run);
}

#[test]
fn parameters_and_secrets_are_read_and_a_secret_is_never_shown() {
    let Some(world) = World::start() else { return };
    let secret = json!({ "Name": "db", "SecretString": "{\"user\":\"app\",\"password\":\"correct-horse\"}",
        "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-abc" });
    world.aws.rules(json!([{ "action": "GetSecretValue", "do": "replace", "times": 9, "body": secret }]));
    let code = r#"aws:put_parameter("/web/ami", { value = "ami-1", description = "d", tags = { A = "b" }, overwrite = false })
aws:put_parameter("/web/ami", { value = "ami-2" })
same(aws:parameter "/web/ami", "ami-2")
aws:put_parameter("/web/key", { value = "battery-staple", type = "SecureString" })
same(aws:parameter "/web/key", "battery-staple")
same(aws:secret("db", { key = "password" }), "correct-horse")
rimg.log.info(aws:secret("db", { key = "password" }) .. " " .. aws:parameter "/web/key" .. " " .. aws:parameter "/web/ami")
aws:delete_parameter "/web/ami"
local ok, err = pcall(aws.parameter, aws, "/web/ami")
assert(not ok and err.message:match "/web/ami", err.message)
local ok, err = pcall(aws.secret, aws, "db", { key = "passwort" })
assert(not ok and err.message:match "passwort" and not err.message:match "horse", err.message)
"#;
    let run = lua(&world, code).expect_code(0);
    assert!(run.stdout.contains("ami-2"), "{run:?}");
    let shown = format!("{run:?}");
    assert!(!shown.contains("correct-horse") && !shown.contains("battery-staple"), "{shown}");
}

#[test]
fn std_aws_prunes_copies_and_finds() {
    let Some(world) = World::start() else { return };
    let code = format!(
        r#"local aws_std = require "std.aws"
same(aws_std.latest_image {{ client = aws, owner = "{DEBIAN}", name = "debian-12-*" }}.id, "{SOURCE}")
for number = 1, 4 do
  aws:copy_image {{ source_region = "us-east-1", source_image_id = "{SOURCE}", name = "web-" .. number, tags = {{ ["rimg:run"] = "x" }} }}
end
local pruned = aws_std.prune_images {{ client = aws, name = "web-*", keep = 1 }}
same({{ #pruned["us-east-1"].removed, #pruned["us-east-1"].kept }}, {{ 3, 1 }})
local id = aws:images {{ owners = "self" }}[1].id
local copies = aws_std.copy_to_regions(id, {{ from = "us-east-1", regions = {{ "eu-west-1", "eu-central-1" }}, name = "there",
  tags = {{ ["rimg:run"] = "x" }} }})
assert(copies["eu-west-1"] and copies["eu-central-1"])
"#
    );
    let run = lua(&world, &code).expect_code(0);
    let images = world.aws.left().into_iter().filter(|line| line.contains(" image ")).collect::<Vec<_>>();
    assert_eq!(images.len(), 3, "{images:?}\n{run:?}");
}
