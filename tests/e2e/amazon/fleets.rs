//! Spot instances: a fleet of one, of which AWS chooses the type and the place.

use serde_json::{Value, json};

use super::{World, param, tags};
use crate::support::rimg::Run;

const FLEET: &str = r#"instance_type = "", spot_price = "auto", spot_instance_types = { "t3.large", "m5.large" },
  spot_allocation_strategy = "capacity-optimized""#;

#[test]
fn a_fleet_of_one_starts_the_instance_and_leaves_no_template() {
    let Some(world) = World::start() else { return };
    let options = format!(
        r#"{FLEET}, fleet_tags = {{ Fleet = "yes" }}, spot_tags = {{ Cheap = "yes" }}, run_tags = {{ Role = "build" }},
      run_volume_tags = {{ Disk = "root" }}, availability_zone = {{ "us-east-1a", "us-east-1b" }}, user_data = "hello",
      associate_public_ip_address = true, launch_block_device_mappings = {{ {{ device_name = "/dev/xvdb", volume_size = 20,
        volume_type = "gp3", iops = 4000 }} }}"#
    );
    let run = world.build(&options, "vm:run 'true'\n  vm:finish()").expect_code(0);
    world.expect_images(&["us-east-1 web-1"], &run);
    assert!(run.stdout.contains("t3.large, spot, in us-east-1a, by capacity-optimized"), "{}", run.stdout);
    // AWS stops no spot instance.
    assert_eq!(world.aws.calls("StopInstances"), [] as [Value; 0]);
    assert_eq!(world.aws.calls("RunInstances"), [] as [Value; 0]);

    let fleet = &world.aws.calls("CreateFleet")[0];
    assert_eq!(param(fleet, "Type"), "instant");
    assert_eq!(param(fleet, "SpotOptions.AllocationStrategy"), "capacity-optimized");
    assert_eq!(param(fleet, "TargetCapacitySpecification.TotalTargetCapacity"), "1");
    assert!(!param(fleet, "ClientToken").is_empty());
    let choice =
        |number: u8, name: &str| param(fleet, &format!("LaunchTemplateConfigs.1.Overrides.{number}.{name}")).to_owned();
    let choices: Vec<_> = (1..=5).map(|n| (choice(n, "InstanceType"), choice(n, "AvailabilityZone"))).collect();
    let expected = [
        ("t3.large", "us-east-1a"),
        ("t3.large", "us-east-1b"),
        ("m5.large", "us-east-1a"),
        ("m5.large", "us-east-1b"),
        ("", ""),
    ];
    assert_eq!(choices, expected.map(|(kind, zone)| (kind.to_owned(), zone.to_owned())));
    assert_eq!((choice(1, "Priority"), choice(1, "MaxPrice")), (String::new(), String::new()));
    let of_fleet = tags(fleet, "fleet");
    assert_eq!((of_fleet["Fleet"].as_str(), of_fleet["rimg:build"].as_str()), ("yes", "web"));

    let template = &world.aws.calls("CreateLaunchTemplate")[0];
    assert!(tags(template, "launch-template").contains_key("rimg:run"), "{template}");
    let data = |name: &str| param(template, &format!("LaunchTemplateData.{name}"));
    assert_eq!(data("UserData"), "aGVsbG8=");
    assert_eq!(data("MetadataOptions.HttpTokens"), "required");
    assert_eq!(data("NetworkInterface.1.AssociatePublicIpAddress"), "true");
    assert!(data("NetworkInterface.1.SecurityGroupId.1").starts_with("sg-"), "{template}");
    assert_eq!((data("BlockDeviceMapping.1.Ebs.Iops"), data("BlockDeviceMapping.1.Ebs.VolumeType")), ("4000", "gp3"));
    // Tagged by the request that makes it.
    assert!(world.aws.calls("CreateTags").is_empty());
    let specified = |sort: &str| {
        let at = (1..9).find(|n| data(&format!("TagSpecification.{n}.ResourceType")) == sort);
        let at = at.unwrap_or_else(|| panic!("no tags of {sort}: {template}"));
        let named = |n: u8| {
            let of = |part: &str| data(&format!("TagSpecification.{at}.Tag.{n}.{part}")).to_owned();
            (of("Key"), of("Value"))
        };
        (1..20).map(named).collect::<std::collections::BTreeMap<_, _>>()
    };
    for sort in ["instance", "volume", "network-interface", "spot-instances-request"] {
        let tags = specified(sort);
        assert!(tags.contains_key("rimg:id") && tags["Role"] == "build", "{sort}: {tags:?}");
    }
    assert_eq!((&*specified("volume")["Disk"], &*specified("spot-instances-request")["Cheap"]), ("root", "yes"));
    // The instance bears the mark that the journal has.
    let shown = world.aws.ask("us-east-1", "DescribeInstances", &[]);
    assert!(shown.contains(&specified("instance")["rimg:id"]), "{shown}");
}

#[test]
fn priorities_and_the_price_go_to_the_choices() {
    let Some(world) = World::start() else { return };
    let options = r#"instance_type = "", spot_price = 0.05, spot_instance_types = { "t3.large", "m5.large" },
      spot_allocation_strategy = "capacity-optimized-prioritized""#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    assert!(run.stdout.contains("spot, at most $0.05 an hour"), "{}", run.stdout);
    let fleet = &world.aws.calls("CreateFleet")[0];
    for (number, rank) in [(1, 0.0), (2, 1.0)] {
        let of = |name: &str| param(fleet, &format!("LaunchTemplateConfigs.1.Overrides.{number}.{name}")).to_owned();
        assert_eq!(of("MaxPrice"), "0.05");
        assert_eq!(of("Priority").parse::<f64>().unwrap(), rank);
    }
}

#[test]
fn a_fleet_without_an_instance_says_why_of_each_choice() {
    let Some(world) = World::start() else { return };
    let item = |kind: &str, code: &str, message: &str| {
        format!(
            "<item><launchTemplateAndOverrides><overrides><instanceType>{kind}</instanceType>\
             <availabilityZone>us-east-1a</availabilityZone></overrides></launchTemplateAndOverrides>\
             <lifecycle>spot</lifecycle><errorCode>{code}</errorCode><errorMessage>{message}</errorMessage></item>"
        )
    };
    let body = format!(
        "<CreateFleetResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><fleetId>fleet-1</fleetId><errorSet>{}{}</errorSet>\
         <fleetInstanceSet/></CreateFleetResponse>",
        item("t3.large", "InsufficientInstanceCapacity", "There is no Spot capacity available."),
        item("m5.large", "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    );
    world.aws.rules(json!([{ "action": "CreateFleet", "do": "replace", "times": 9, "body": body }]));
    let run = world.build(FLEET, "vm:finish()").expect_code(1);
    run.expect_errors(&[
        "no spot instance, tried t3.large in us-east-1a, m5.large in us-east-1a",
        "InsufficientInstanceCapacity",
        "m5.large in us-east-1a: Max spot instance count exceeded (MaxSpotInstanceCountExceeded)",
    ]);
    world.expect_nothing(&"");
}

#[test]
fn what_is_wrong_with_a_fleet_is_said_before_anything_is_made() {
    let Some(world) = World::start() else { return };
    for (options, said) in [
        (r#"spot_price = "auto", spot_allocation_strategy = "cheapest""#, "is none of capacity-optimized"),
        (r#"spot_price = "auto", spot_allocation_strategy = "lowest-prize""#, "did you mean `lowest-price`?"),
        (r#"spot_allocation_strategy = "lowest-price""#, "option `spot_price`: is required beside"),
        (r#"fleet_tags = { A = "b" }"#, "option `fleet_tags`"),
        (
            r#"spot_price = "auto", spot_allocation_strategy = "diversified", enable_nitro_enclave = true"#,
            "option `enable_nitro_enclave`: is for instances on demand",
        ),
    ] {
        let run = world.build(options, "vm:finish()").expect_code(2);
        run.expect_errors(&[said]);
    }
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}

#[test]
fn the_policy_of_a_fleet_has_all_that_it_does() {
    let Some(world) = World::start() else { return };
    world.build(FLEET, "vm:finish()").expect_code(0);
    let policy = Run::of(&mut world.command(&["amazon", "policy", "build.lua"])).expect_code(0).stdout;
    for action in world.aws.actions() {
        assert!(policy.contains(&format!("\"ec2:{action}\"")), "{action} is not in {policy}");
    }
}

#[test]
fn a_spot_instance_is_not_stopped_before_its_image_is_made() {
    let Some(world) = World::start() else { return };
    let run = world.build(r#"spot_price = "auto""#, "vm:run 'true'\n  vm:finish()").expect_code(0);
    assert_eq!(world.aws.calls("StopInstances"), [] as [Value; 0]);
    world.expect_images(&["us-east-1 web-1"], &run);
}
