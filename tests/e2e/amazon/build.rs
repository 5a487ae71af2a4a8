//! A build from the first request to the last, and what each option asks for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{World, param, tags};
use crate::support::aws::{DEBIAN, SOURCE};

#[test]
fn a_machine_is_made_worked_on_and_becomes_an_image_and_all_is_tagged_at_once() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 2, "snapshots": 2, "instances": 2 }));
    let seen = world.sandbox.join("seen");
    let body = format!(
        r#"vm:run "echo over ssh >{}"
  local image = vm:finish()
  rimg.fs.write("image.json", rimg.json.encode {{ id = image.id, kind = image.kind, builder = image.builder, files = #image.files,
    metadata = image.metadata }})"#,
        seen.display()
    );
    let options = r#"run_tags = { Role = "build" }, run_volume_tags = { Disk = "root" }, tags = { Role = "web" },
      snapshot_tags = { Kept = "yes" }, ami_description = "a web server""#;
    let run = world.build(options, &body).expect_code(0);
    assert_eq!(world.sandbox.read("seen"), "over ssh\n");
    world.expect_images(&["us-east-1 web-1"], &run);

    let made: Value = serde_json::from_str(&world.sandbox.read("image.json")).unwrap();
    let left = world.aws.left();
    let id = |kind: &str| {
        let line = left.iter().find(|line| line.contains(kind)).unwrap();
        line.split(' ').nth(2).unwrap().to_owned()
    };
    let (image, snapshot) = (id(" image "), id(" snapshot "));
    assert_eq!(made["id"], format!("us-east-1:{image}"));
    assert_eq!(made["kind"], "image");
    assert_eq!(made["builder"], "amazon.ebs");
    assert_eq!(made["files"], 0);
    assert_eq!(made["metadata"]["images"], json!({ "us-east-1": image }));
    assert_eq!(made["metadata"]["snapshots"], json!({ "us-east-1": [snapshot] }));

    // At creation, so that nothing is there for a moment that nobody could find.
    assert_eq!(world.aws.calls("CreateTags"), [] as [Value; 0]);
    let one = |action: &str| {
        let calls = world.aws.calls(action);
        assert_eq!(calls.len(), 1, "{action}: {calls:?}");
        calls[0].clone()
    };
    let launch = one("RunInstances");
    let key = world.aws.calls("ImportKeyPair").into_iter().chain(world.aws.calls("CreateKeyPair")).next().unwrap();
    let image = one("CreateImage");
    let marked = [
        (&key, "key-pair"),
        (&one("CreateSecurityGroup"), "security-group"),
        (&launch, "instance"),
        (&launch, "volume"),
        (&launch, "network-interface"),
        (&image, "image"),
        (&image, "snapshot"),
    ];
    for (call, sort) in marked {
        let tags = tags(call, sort);
        for name in ["rimg:run", "rimg:id", "rimg:build", "Name"] {
            assert!(tags.contains_key(name), "{sort} has no {name}: {tags:?}");
        }
        assert_eq!(tags["rimg:build"], "web", "{sort}");
    }
    assert_eq!(tags(&launch, "instance")["Role"], "build");
    assert_eq!(tags(&launch, "volume")["Disk"], "root");
    assert_eq!(tags(&image, "image")["Role"], "web");
    assert_eq!(tags(&image, "snapshot")["Kept"], "yes");
    assert!(!tags(&image, "image").contains_key("Kept"));
    assert_eq!(param(&image, "Description"), "a web server");
    assert_eq!(param(&launch, "MetadataOptions.HttpTokens"), "required");
    assert_eq!(param(&launch, "ImageId"), SOURCE);
    assert!(!param(&launch, "ClientToken").is_empty(), "{launch}");
    // What it starts is said before it costs.
    assert!(run.stdout.contains("t3.micro"), "{}", run.stdout);
}

#[test]
fn fewer_requests_are_sent_than_packer_sends() {
    let Some(world) = World::start() else { return };
    let run = world
        .build(r#"tags = { Role = "web" }, aws_polling = { delay_seconds = 1 }"#, "vm:run 'true'\n  vm:finish()")
        .expect_code(0);
    let actions = world.aws.actions();
    // Packer 1.6.6 sends 21 for this one, when nothing has to be waited for.
    assert!(actions.len() < 21, "{} requests: {actions:?}\n{run:?}", actions.len());
}

#[test]
fn the_newest_image_that_a_filter_finds_is_the_source() {
    let Some(world) = World::start() else { return };
    let filter = format!(
        r#"source_ami = "", source_ami_filter = {{ filters = {{ name = "debian-12-*", architecture = "x86_64" }},
          owners = {{ "{DEBIAN}" }}, most_recent = true }}"#
    );
    world.build(&filter, "vm:finish()").expect_code(0);
    assert_eq!(param(&world.aws.calls("RunInstances")[0], "ImageId"), SOURCE);
    let searches = world.aws.calls("DescribeImages");
    assert!(searches.iter().any(|search| param(search, "Owner.1") == DEBIAN), "{searches:?}");

    let several = filter.replace("most_recent = true", "most_recent = false");
    let run = world.build(&format!(r#"ami_name = "web-2", {several}"#), "vm:finish()").expect_code(1);
    run.expect_errors(&["source_ami_filter", "most_recent"]);
    let none = filter.replace("debian-12-*", "debian-13-*");
    let run = world.build(&format!(r#"ami_name = "web-2", {none}"#), "vm:finish()").expect_code(1);
    run.expect_errors(&["source_ami_filter", "debian-13-*"]);
    assert_eq!(world.aws.calls("RunInstances").len(), 1);
}

#[test]
fn a_temporary_group_lets_in_who_it_is_told_to() {
    let Some(world) = World::start() else { return };
    let options = r#"temporary_security_group_source_cidrs = { "203.0.113.0/24", "198.51.100.7/32" }"#;
    world.build(options, "vm:finish()").expect_code(0);
    let rules = &world.aws.calls("AuthorizeSecurityGroupIngress")[0];
    let text = rules["params"].to_string();
    assert!(text.contains("203.0.113.0/24") && text.contains("198.51.100.7/32"), "{text}");
    assert!(!text.contains("0.0.0.0/0"), "{text}");
    assert_eq!(param(rules, "IpPermissions.1.IpProtocol"), "tcp");
    // The machine's own port: where the tests reach it is none of the group's business.
    assert_eq!(world.aws.left_but_images(), [] as [&str; 0]);
}

#[test]
fn a_group_and_a_key_pair_of_the_users_are_used_and_stay() {
    let Some(world) = World::start() else { return };
    let kept = ("TagSpecification.1.Tag.1.Key", "test:keep");
    let group = world.aws.ask(
        "us-east-1",
        "CreateSecurityGroup",
        &[
            ("GroupName", "ours"),
            ("GroupDescription", "ours"),
            ("TagSpecification.1.ResourceType", "security-group"),
            kept,
            ("TagSpecification.1.Tag.1.Value", ""),
        ],
    );
    let group = group.split("<groupId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
    let public = std::fs::read_to_string(world.aws.sshd().file("user_key.pub")).unwrap();
    let public = BASE64_STANDARD.encode(public.trim());
    world.aws.ask(
        "us-east-1",
        "ImportKeyPair",
        &[
            ("KeyName", "ours"),
            ("PublicKeyMaterial", &public),
            ("TagSpecification.1.ResourceType", "key-pair"),
            kept,
            ("TagSpecification.1.Tag.1.Value", ""),
        ],
    );
    let options = format!(
        r#"security_group_filter = {{ filters = {{ ["group-name"] = "our*" }} }}, ssh_keypair_name = "ours", ssh_private_key_file = "{}""#,
        world.aws.sshd().user_key().display()
    );
    let run = world.build(&options, "vm:run 'true'\n  vm:finish()").expect_code(0);
    let launch = &world.aws.calls("RunInstances")[0];
    assert!(launch["params"].to_string().contains(&group), "{launch}");
    assert_eq!(param(launch, "KeyName"), "ours");
    assert_eq!(world.aws.calls("CreateSecurityGroup").len(), 1, "the test's own");
    assert!(
        world.aws.calls("DeleteSecurityGroup").is_empty() && world.aws.calls("DeleteKeyPair").is_empty(),
        "{run:?}"
    );
    world.expect_images(&["us-east-1 web-1"], &run);
}

#[test]
fn an_image_is_shared_deprecated_and_protected() {
    let Some(world) = World::start() else { return };
    let options = r#"ami_users = { "111122223333" }, ami_org_arns = { "arn:aws:organizations::123456789012:organization/o-abc" },
      snapshot_users = { "111122223333" }, deprecate_at = "2030-01-01T00:00:00Z", deregistration_protection = { enabled = true },
      imds_support = "v2.0""#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let shown = world.aws.ask("us-east-1", "DescribeImages", &[("Owner.1", "self")]);
    for text in
        ["<deprecationTime>2030-01-01", "<deregistrationProtection>enabled-without-cooldown", "<imdsSupport>v2.0"]
    {
        assert!(shown.contains(text), "{text} is not in {shown}\n{run:?}");
    }
    let shares =
        world.aws.calls("ModifyImageAttribute").iter().map(|call| call["params"].to_string()).collect::<String>();
    assert!(shares.contains("111122223333") && shares.contains("organization/o-abc"), "{shares}");
    assert!(world.aws.calls("ModifySnapshotAttribute")[0]["params"].to_string().contains("111122223333"));
    // It is not removed by what comes after it, either.
    let run = world.build("force_deregister = true", "vm:finish()").expect_code(1);
    run.expect_errors(&["ec2:DeregisterImage", "protected"]);
    world.expect_images(&["us-east-1 web-1"], &"");
}

#[test]
fn disks_spot_and_placement_are_asked_for() {
    let Some(world) = World::start() else { return };
    let options = r#"instance_type = "", spot_price = "auto", spot_instance_types = { "t3.large" }, spot_tags = { Cheap = "yes" },
      launch_block_device_mappings = { { device_name = "/dev/xvdb", volume_size = 20, volume_type = "gp3", iops = 4000,
        throughput = 250, encrypted = true, delete_on_termination = true } },
      metadata_options = { http_put_response_hop_limit = 3 }, user_data = "hello", shutdown_behavior = "terminate",
      associate_public_ip_address = true, availability_zone = "us-east-1b", ebs_optimized = true"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let text = world.aws.calls("*").iter().map(ToString::to_string).collect::<String>();
    for part in ["gp3", "4000", "250", "t3.large", "us-east-1b", "aGVsbG8=", "\"spot\"", "Cheap"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    world.expect_images(&["us-east-1 web-1"], &run);
}

#[test]
fn a_role_for_the_machine_is_made_and_goes() {
    let Some(world) = World::start() else { return };
    let options = r#"temporary_iam_instance_profile_policy_document = { Version = "2012-10-17",
      Statement = { { Effect = "Allow", Action = "s3:GetObject", Resource = "*" } } }"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let launch = &world.aws.calls("RunInstances")[0];
    assert!(
        !param(launch, "IamInstanceProfile.Name").is_empty() || !param(launch, "IamInstanceProfile.Arn").is_empty()
    );
    world.expect_images(&["us-east-1 web-1"], &run);
}

#[test]
fn what_is_there_already_is_kept_replaced_or_refused() {
    let Some(world) = World::start() else { return };
    world.build("", "vm:finish()").expect_code(0);
    let first = world.aws.left();
    let run = world.build("", "vm:finish()").expect_code(1);
    run.expect_errors(&["web-1", "force_deregister", "skip_if_exists"]);
    assert_eq!(world.aws.calls("RunInstances").len(), 1, "a name that is taken is found before anything is started");
    world.build("skip_if_exists = true", "vm:finish()").expect_code(0);
    assert_eq!(world.aws.calls("RunInstances").len(), 1);
    assert_eq!(world.aws.left(), first);
    let run = world.build("force_deregister = true, force_delete_snapshot = true", "vm:finish()").expect_code(0);
    world.expect_images(&["us-east-1 web-1"], &run);
    assert!(world.aws.left().iter().all(|line| !first.contains(line)), "{:?}", world.aws.left());
}

#[test]
fn a_key_pair_has_the_name_that_it_is_given_and_another_of_that_name_stays() {
    let Some(world) = World::start() else { return };
    let run = world.build(r#"temporary_key_pair_name = "builds""#, "vm:run 'true'\n  vm:finish()").expect_code(0);
    assert_eq!(param(&world.aws.calls("RunInstances")[0], "KeyName"), "builds");
    world.expect_images(&["us-east-1 web-1"], &run);
    let public = std::fs::read_to_string(world.aws.sshd().file("user_key.pub")).unwrap();
    let public = BASE64_STANDARD.encode(public.trim());
    world.aws.ask("us-east-1", "ImportKeyPair", &[("KeyName", "builds"), ("PublicKeyMaterial", &public)]);
    let run = world.build(r#"temporary_key_pair_name = "builds", ami_name = "web-2""#, "vm:finish()").expect_code(1);
    run.expect_errors(&["ec2:ImportKeyPair", "builds"]);
    assert_eq!(world.aws.left_but_images().len(), 1, "{:?}", world.aws.left());
}

#[test]
fn windows_is_made_to_start_fast_by_templates_of_its_own_and_has_no_disks_of_the_host() {
    let Some(world) = World::start() else { return };
    let options = r#"no_ephemeral = true, ami_regions = { "eu-west-1", "eu-central-1" }, fast_launch = { enable_fast_launch = true,
      max_parallel_launches = 6, region_launch_templates = { { region = "us-east-1", template_name = "fast", template_version = 3 },
        { region = "eu-west-1", enable_fast_launch = false } } }"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let launch = &world.aws.calls("RunInstances")[0];
    assert_eq!(param(launch, "BlockDeviceMapping.1.DeviceName"), "xvdca");
    assert_eq!(param(launch, "BlockDeviceMapping.26.DeviceName"), "xvdcz");
    assert!(launch["params"].get("BlockDeviceMapping.26.NoDevice").is_some(), "{launch}");
    let fast = world.aws.calls("EnableFastLaunch");
    let of = |region: &str| {
        fast.iter().find(|call| call["region"] == region).unwrap_or_else(|| panic!("{region}: {fast:?}"))
    };
    let own = of("us-east-1");
    assert_eq!((param(own, "LaunchTemplate.LaunchTemplateName"), param(own, "LaunchTemplate.Version")), ("fast", "3"));
    assert_eq!(param(of("eu-central-1"), "LaunchTemplate.Version"), "", "AWS's own template");
    assert_eq!(fast.len(), 2, "{fast:?}\n{run:?}");
    for (wrong, said) in [
        (r#"template_id = "lt-1", template_name = "x""#, "give one of them"),
        ("template_version = 2", "fast_launch.template_version"),
    ] {
        let options = format!("fast_launch = {{ enable_fast_launch = true, {wrong} }}");
        world.build(&options, "vm:finish()").expect_code(2).expect_errors(&[said]);
    }
    let options = r#"ami_regions = { "eu-west-1" }, fast_launch = { enable_fast_launch = true, template_id = "lt-1" }"#;
    world.build(options, "vm:finish()").expect_code(2).expect_errors(&["region_launch_templates"]);
}

#[test]
fn no_image_is_made_of_a_trial() {
    let Some(world) = World::start() else { return };
    let run = world.build("skip_create_ami = true", "vm:run 'true'\n  vm:finish()").expect_code(0);
    world.expect_nothing(&run);
    assert!(world.aws.calls("CreateImage").is_empty());
    // Nor of a build that fails.
    let run = world.build("", "vm:run 'exit 7'\n  vm:finish()").expect_code(1).expect_errors(&["status 7"]);
    world.expect_nothing(&run);
}

#[test]
fn a_check_asks_nobody() {
    let Some(world) = World::start() else { return };
    world.sandbox.write("build.lua", world.script("", "vm:run 'true'\n  vm:finish()"));
    crate::support::rimg::Run::of(&mut world.command(&["check", "build.lua"])).expect_code(0);
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}

#[test]
fn a_volume_that_was_worked_on_becomes_the_root_of_an_image() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "snapshots": 2, "images": 1 }));
    let options = r#"launch_block_device_mappings = { { device_name = "/dev/xvdf", volume_size = 4 }, { device_name = "/dev/xvdg" , volume_size = 1 } },
      ami_root_device = { source_device_name = "/dev/xvdf", device_name = "/dev/xvda", volume_size = 8 }, boot_mode = "uefi",
      tags = { Role = "web" }"#;
    let script =
        world.script(options, "vm:run 'true'\n  vm:finish()").replace("rimg.amazon.ebs(", "rimg.amazon.surrogate(");
    let run = world.run(&script).expect_code(0);
    let left = world.aws.left();
    assert_eq!(left.iter().filter(|line| line.contains(" image ")).count(), 1, "{left:#?}\n{run:?}");
    assert_eq!(left.iter().filter(|line| line.contains(" snapshot ")).count(), 2, "{left:#?}\n{run:?}");
    assert_eq!(left.len(), 3, "{left:#?}\n{run:?}");
    assert!(world.aws.calls("CreateImage").is_empty());
    let snapshots = world.aws.calls("CreateSnapshot");
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|call| tags(call, "snapshot")["Role"] == "web"), "{snapshots:?}");
    let registered = world.aws.calls("RegisterImage");
    let [image] = registered.as_slice() else { panic!("{registered:?}") };
    assert_eq!((param(image, "RootDeviceName"), param(image, "BootMode")), ("/dev/xvda", "uefi"));
    assert_eq!(param(image, "BlockDeviceMapping.1.DeviceName"), "/dev/xvda");
    assert_eq!(param(image, "BlockDeviceMapping.1.Ebs.VolumeSize"), "8");
    assert_eq!(param(image, "BlockDeviceMapping.2.DeviceName"), "/dev/xvdg");
    assert!(tags(image, "image").contains_key("rimg:id"));

    // What is made of it so far goes when it fails, and the root must be one of the volumes.
    world
        .aws
        .rules(json!([{ "action": "RegisterImage", "times": 100, "do": "error", "code": "InvalidBlockDeviceMapping",
        "message": "no such root", "status": 400 }]));
    let again = script.replace("web-1", "web-2");
    world.run(&again).expect_code(1).expect_errors(&["ec2:RegisterImage", "no such root"]);
    assert_eq!(world.aws.left().len(), 3, "{:#?}", world.aws.left());
    let wrong = script.replace("source_device_name = \"/dev/xvdf\"", "source_device_name = \"/dev/xvdz\"");
    world.run(&wrong).expect_code(2).expect_errors(&["ami_root_device.source_device_name", "/dev/xvdf, /dev/xvdg"]);
}
