//! What is wrong with an account is said so that it can be put right.

use serde_json::json;

use super::World;
use crate::support::rimg::Run;

#[test]
fn without_credentials_it_says_where_they_may_come_from() {
    let Some(world) = World::start() else { return };
    world.sandbox.write("build.lua", world.script("skip_metadata_api_check = true", "vm:finish()"));
    let mut command = world.command(&["run", "build.lua"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("HOME", world.sandbox.path());
    let run = Run::of(&mut command).expect_code(1);
    run.expect_errors(&["no credentials for AWS", "AWS_ACCESS_KEY_ID", "profile"]);
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}

#[test]
fn credentials_that_aws_does_not_know_fail_before_anything_is_made() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "*", "do": "reject", "times": 99 }]));
    let run = world.build("", "vm:finish()").expect_code(1).expect_errors(&["does not know this access key"]);
    world.expect_nothing(&run);
    assert!(world.aws.actions().len() < 4, "{:?}", world.aws.actions());
}

#[test]
fn a_profile_and_a_role_of_it_are_used() {
    let Some(world) = World::start() else { return };
    let files = "[profile builder]\nregion = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/builder\nsource_profile = base\n";
    let config = world.sandbox.write("config", files);
    let keys = world.sandbox.write("credentials", "[base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = x\n");
    world.sandbox.write("build.lua", world.script(r#"profile = "builder", ami_name = "web-1""#, "vm:finish()"));
    let mut command = world.command(&["run", "build.lua"]);
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", config).env("AWS_SHARED_CREDENTIALS_FILE", keys);
    let run = Run::of(&mut command).expect_code(0);
    assert_eq!(world.aws.calls("AssumeRole")[0]["by"], "AKIDBASE");
    let launch = &world.aws.calls("RunInstances")[0];
    assert_ne!(launch["by"], "AKIDBASE");
    assert_eq!(launch["region"], "eu-west-1");
    // The role is of this account, and its images are found there.
    assert!(world.aws.left_but_images().is_empty(), "{:?}\n{run:?}", world.aws.left());
}

#[test]
fn an_action_that_is_not_allowed_is_named_and_nothing_is_left() {
    let Some(world) = World::start() else { return };
    world.build(r#"ami_regions = { "eu-west-1" }"#, "vm:finish()").expect_code(0);
    let mut actions: Vec<String> = world.aws.actions();
    actions.retain(|action| !action.starts_with("Delete") && !action.starts_with("Terminate"));
    actions.sort();
    actions.dedup();
    for action in actions {
        world.aws.reset();
        world.aws.rules(json!([{ "action": action, "do": "deny", "times": 99 }]));
        let run = world.build(r#"ami_regions = { "eu-west-1" }"#, "vm:finish()");
        let named = run.stderr.contains(&format!("ec2:{action}"));
        // What only serves to tell more, a build does without.
        assert!(run.code == Some(0) || named, "ec2:{action} is not named\n{run:?}");
        assert!(!run.stderr.contains("eyJ"), "what is encoded says nothing to anybody\n{}", run.stderr);
        let denied_look = action.starts_with("Describe");
        let left = world.aws.left_but_images();
        // What may not be looked for can still be removed, as it was told when it was made.
        assert!(left.is_empty(), "{action}: {left:?} (only looks: {denied_look})\n{run:?}");
    }
}

#[test]
fn a_refusal_is_decoded_where_that_is_wanted() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "RunInstances", "do": "deny", "times": 99 }]));
    let run = world.build("decode_authorization_messages = true", "vm:finish()").expect_code(1);
    run.expect_errors(&["AWS does not allow ec2:RunInstances in us-east-1", "explicitDeny"]);
    assert_eq!(world.aws.calls("DecodeAuthorizationMessage").len(), 1);
}

#[test]
fn a_limit_says_what_to_do() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "RunInstances", "do": "error", "code": "VcpuLimitExceeded",
        "message": "You have requested more vCPU capacity than your current vCPU limit of 0 allows." }]));
    let run = world.build("", "vm:finish()").expect_code(1);
    world.expect_nothing(&run.expect_errors(&["VcpuLimitExceeded", "vCPU limit of 0", "quota"]));
}

#[test]
fn a_source_that_is_not_there_is_found_before_anything_is_made() {
    let Some(world) = World::start() else { return };
    let run = world.build(r#"source_ami = "ami-0123456789abcdef0""#, "vm:finish()").expect_code(1);
    run.expect_errors(&["ami-0123456789abcdef0", "us-east-1"]);
    assert!(world.aws.calls("CreateSecurityGroup").is_empty(), "{:?}", world.aws.actions());
    world.expect_nothing(&"");
}
