//! Copies of an image in other regions.

use serde_json::{Value, json};

use super::{World, param, tags};
use crate::support::rimg::Run;

/// Returns what stands in the list of calls of an action for a region.
fn call<'c>(calls: &'c [Value], region: &str) -> &'c Value {
    calls.iter().find(|call| call["region"] == region).unwrap_or_else(|| panic!("none in {region}: {calls:?}"))
}

#[test]
fn copies_are_made_side_by_side_and_tagged_at_once() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 4, "snapshots": 3 }));
    let body = "local image = vm:finish()\n  rimg.fs.write('image.json', rimg.json.encode(image.metadata))\n  \
                rimg.fs.write('id', image.id)";
    let options = r#"ami_regions = { "eu-west-1", "eu-central-1" }, tags = { Role = "web" }, snapshot_tags = { Kept = "yes" },
      ami_users = { "111122223333" }, deprecate_at = "2030-01-01T00:00:00Z""#;
    let run = world.build(options, body).expect_code(0);
    world.expect_images(&["eu-central-1 web-1", "eu-west-1 web-1", "us-east-1 web-1"], &run);
    let made: Value = serde_json::from_str(&world.sandbox.read("image.json")).unwrap();
    let mut ids: Vec<String> = Vec::new();
    for region in ["eu-central-1", "eu-west-1", "us-east-1"] {
        let id = made["images"][region].as_str().unwrap_or_else(|| panic!("{made}"));
        ids.push(format!("{region}:{id}"));
        assert!(world.aws.left().iter().any(|line| line.starts_with(&format!("{region} image {id} "))), "{made}");
    }
    let id = world.sandbox.read("id");
    let mut shown: Vec<&str> = id.split(',').collect();
    shown.sort_unstable();
    assert_eq!(shown, ids);

    let calls = world.aws.calls("*");
    let copies = world.aws.calls("CopyImage");
    assert_eq!(copies.len(), 2);
    let last_copy = calls.iter().rposition(|call| call["action"] == "CopyImage").unwrap();
    let first_region = &copies[0]["region"];
    let looks = calls.iter().rposition(|call| call["action"] == "DescribeImages" && call["region"] == *first_region);
    assert!(looks > Some(last_copy), "one copy waits for the other: {:?}", world.aws.actions());
    for copy in &copies {
        let (image, snapshot) = (tags(copy, "image"), tags(copy, "snapshot"));
        assert_eq!((image["Role"].as_str(), snapshot["Kept"].as_str()), ("web", "yes"));
        assert!(image.contains_key("rimg:run") && snapshot.contains_key("rimg:run"), "{copy}");
        assert!(!param(copy, "ClientToken").is_empty(), "{copy}");
    }
    assert!(world.aws.calls("CreateTags").is_empty());
    // What is said of the image is said of its copies.
    for action in ["ModifyImageAttribute", "EnableImageDeprecation"] {
        let calls = world.aws.calls(action);
        for region in ["eu-central-1", "eu-west-1", "us-east-1"] {
            call(&calls, region);
        }
    }
}

#[test]
fn lines_and_events_of_progress_name_the_region() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 30, "snapshots": 25 }));
    let options = r#"ami_regions = { "eu-west-1", "eu-central-1" }"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    for region in ["eu-west-1", "eu-central-1"] {
        assert!(run.stdout.contains(&format!("web | copying to {region} …")), "{}", run.stdout);
        assert!(run.stdout.contains(&format!("web | copying to {region}: ")), "{}", run.stdout);
    }
    let script = world.script(&format!(r#"{options}, ami_name = "web-2""#), "vm:finish()");
    world.sandbox.write("build.lua", script);
    let run = Run::of(&mut world.command(&["run", "--json", "build.lua"])).expect_code(0);
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for region in ["eu-west-1", "eu-central-1"] {
        let begun = events.iter().find(|event| event["what"] == format!("copying to {region}"));
        let begun = begun.unwrap_or_else(|| panic!("{region}: {}", run.stdout));
        assert_eq!((&begun["unit"], &begun["total"]), (&json!("percent"), &json!(100)));
        let told = events.iter().filter(|event| event["event"] == "progress_advanced" && event["id"] == begun["id"]);
        assert!(told.clone().all(|event| event["done"].as_u64() <= Some(100)) && told.count() > 0, "{}", run.stdout);
    }
}

#[test]
fn each_region_has_its_own_key() {
    let Some(world) = World::start() else { return };
    let options = r#"ami_regions = { "eu-west-1" }, encrypt_boot = true, kms_key_id = "alias/here",
      region_kms_key_ids = { ["eu-west-1"] = "alias/there" }"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let copies = world.aws.calls("CopyImage");
    let there = call(&copies, "eu-west-1");
    assert_eq!((param(there, "KmsKeyId"), param(there, "Encrypted")), ("alias/there", "true"));
    for (region, key) in [("us-east-1", "alias/here"), ("eu-west-1", "alias/there")] {
        let shown = world.aws.ask(region, "DescribeImages", &[("Owner.1", "self")]);
        assert!(shown.contains("<encrypted>true") && shown.contains(key), "{region}: {shown}\n{run:?}");
    }
    world.expect_images(&["eu-west-1 web-1", "us-east-1 web-1"], &run);
}

#[test]
fn the_region_of_the_build_may_keep_nothing() {
    let Some(world) = World::start() else { return };
    let run = world.build(r#"ami_regions = { "eu-west-1" }, skip_save_build_region = true"#, "vm:finish()");
    world.expect_images(&["eu-west-1 web-1"], &run.expect_code(0));
}

#[test]
fn a_copy_that_fails_leaves_nothing_where_it_was_made() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 2, "fail": { "eu-central-1": "the key is disabled" } }));
    let options = r#"ami_regions = { "eu-west-1", "eu-central-1" }"#;
    let run = world.build(options, "vm:finish()").expect_code(1);
    let left = world.aws.left();
    assert!(!left.iter().any(|line| line.starts_with("eu-central-1")), "{left:?}\n{run:?}");
    assert_eq!(world.aws.left_but_images(), [] as [&str; 0]);
    // Whoever reads that can do something about it: where, why, and which images there are.
    let run = run.expect_errors(&["eu-central-1", "the key is disabled"]);
    for line in left.iter().filter(|line| line.contains(" image ")) {
        let id = line.split(' ').nth(2).unwrap();
        assert!(run.stderr.contains(id) || run.stdout.contains(id), "{id} is not named\n{run:?}");
    }
}

#[test]
fn a_region_that_refuses_is_named() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "CopyImage", "region": "eu-west-1", "do": "error", "times": 9, "status": 401,
        "code": "OptInRequired", "message": "You are not subscribed to this service." }]));
    let run = world.build(r#"ami_regions = { "eu-west-1", "eu-central-1" }"#, "vm:finish()").expect_code(1);
    run.expect_errors(&["ec2:CopyImage in eu-west-1", "opt in to the region"]);
    assert_eq!(world.aws.left_but_images(), [] as [&str; 0]);
    assert!(!world.aws.left().iter().any(|line| line.starts_with("eu-west-1")), "{:?}", world.aws.left());
}

#[test]
fn a_region_that_is_none_is_found_before_anything_is_started() {
    let Some(world) = World::start() else { return };
    let run = world.build(r#"ami_regions = { "eu-nowhere-1" }"#, "vm:finish()").expect_code(1);
    run.expect_errors(&["ami_regions", "eu-nowhere-1"]);
    assert!(world.aws.calls("RunInstances").is_empty());
}

#[test]
fn an_artifact_is_copied_to_further_regions() {
    let Some(world) = World::start() else { return };
    let body = r#"local image = vm:finish()
  local refused = select(2, pcall(image.copy_to, image, { "eu-wset-1" }))
  rimg.fs.write("refused", tostring(refused))
  local more = image:copy_to({ "eu-west-1", "us-east-1", "eu-central-1" }, { deprecate_at = "2030-01-01T00:00:00Z" })
  rimg.fs.write("image.json", rimg.json.encode(more.metadata.images))
  more:destroy()"#;
    let options = r#"tags = { Role = "web" }, encrypt_boot = true, region_kms_key_ids = { ["eu-west-1"] = "alias/there" },
      ami_regions = { "eu-west-1" }"#;
    world.build(options, body).expect_code(0);
    let refused = world.sandbox.read("refused");
    assert!(refused.contains("option `regions`: the account has no region \"eu-wset-1\""), "{refused}");
    let made: Value = serde_json::from_str(&world.sandbox.read("image.json")).unwrap();
    let regions: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(regions.len(), 3, "{made}");
    // What the build has copied is not copied again; what is new is made as the others were, but for what was said anew.
    let copies = world.aws.calls("CopyImage");
    assert_eq!(copies.iter().filter(|copy| copy["region"] == "eu-west-1").count(), 1);
    let copy = call(&copies, "eu-central-1");
    assert_eq!((tags(copy, "image")["Role"].as_str(), param(copy, "Encrypted")), ("web", "true"));
    assert_eq!(param(copy, "SourceImageId"), made["us-east-1"].as_str().unwrap());
    assert_eq!(world.aws.calls("EnableImageDeprecation").len(), 1);
    assert_eq!(world.aws.left(), Vec::<String>::new());
}

#[test]
fn a_copy_of_an_artifact_that_fails_is_removed() {
    let Some(world) = World::start() else { return };
    world
        .aws
        .rules(json!([{ "action": "CopyImage", "region": "eu-central-1", "do": "error", "times": 9, "status": 400,
        "code": "ResourceLimitExceeded", "message": "You have too many copies in progress." }]));
    let body = r#"local image = vm:finish()
  image:copy_to { "eu-west-1", "eu-central-1" }"#;
    let run = world.build("", body).expect_code(1);
    assert!(run.stderr.contains("the copy to eu-central-1"), "{run:?}");
    world.expect_images(&["us-east-1 web-1"], &run);
}
