//! What AWS does to a build: it throttles, loses answers, has no room, and ends machines.

use std::time::Instant;

use serde_json::{Value, json};

use super::{LONG, World, param};
use crate::support::sshd::free_port;

/// A region to copy to, so that every step is there.
const COPIED: &str = r#"ami_regions = { "eu-west-1" }"#;
const BOTH: [&str; 2] = ["eu-west-1 web-1", "us-east-1 web-1"];

#[test]
fn throttling_is_waited_out_at_each_step() {
    let Some(world) = World::start() else { return };
    world.build(COPIED, "vm:finish()").expect_code(0);
    let mut actions = world.aws.actions();
    actions.sort();
    actions.dedup();
    assert!(actions.len() > 8, "{actions:?}");
    // Few in one build, and only once in the adaptive mode: there the SDK slows down for longer each time.
    for (some, mode) in actions.chunks(4).zip(std::iter::once("adaptive").chain(std::iter::repeat("standard"))) {
        world.aws.reset();
        world.aws.rules(some.iter().map(|action| json!({ "action": action, "do": "throttle" })).collect());
        let run = world.run_in(&[("AWS_RETRY_MODE", mode)], &world.script(COPIED, "vm:finish()")).expect_code(0);
        let calls = world.aws.calls("*");
        let throttled = calls.iter().filter(|call| call["status"] == 503 || call["status"] == 400);
        assert_eq!(throttled.count(), some.len(), "{some:?}");
        world.expect_images(&BOTH, &run);
    }
}

/// What makes something, and in which build: an answer to one of these can be lost when it is there already.
fn makers(world: &World) -> Vec<(String, String)> {
    let fleet = format!(r#"{COPIED}, spot_price = "auto", spot_allocation_strategy = "diversified""#);
    let mut makers: Vec<(String, String)> = Vec::new();
    for options in [COPIED, &fleet] {
        world.aws.reset();
        world.build(options, "vm:finish()").expect_code(0);
        for action in world.aws.actions() {
            let makes = ["RunInstances", "CopyImage", "ImportKeyPair"].contains(&action.as_str());
            if (makes || action.starts_with("Create")) && !makers.iter().any(|(_, known)| *known == action) {
                makers.push((options.to_owned(), action));
            }
        }
    }
    assert!(makers.len() >= 7, "{makers:?}");
    makers
}

#[test]
fn an_answer_that_is_lost_does_no_harm() {
    let Some(world) = World::start() else { return };
    for (options, action) in makers(&world) {
        world.aws.reset();
        world.aws.rules(json!([{ "action": action, "do": "lose" }]));
        let run = world.build(&options, "vm:run 'true'\n  vm:finish()");
        assert_eq!(world.aws.calls(&action)[0]["status"], 0, "the answer was lost");
        let run = run.expect_code(0);
        world.expect_images(&BOTH, &format!("{action}: {run:?}"));
    }
}

#[test]
fn when_every_answer_is_lost_what_was_made_is_found_and_removed() {
    let Some(world) = World::start() else { return };
    for (options, action) in makers(&world) {
        world.aws.reset();
        world.aws.rules(json!([{ "action": action, "do": "lose", "times": 99 }]));
        let run = world.build(&format!("{options}, max_retries = 0"), "vm:run 'true'\n  vm:finish()");
        assert!(world.aws.calls(&action).iter().any(|call| call["status"] == 0), "the answer was lost");
        if run.code == Some(0) {
            // What was made has been found by its mark.
            world.expect_images(&BOTH, &format!("{action}: {run:?}"));
            continue;
        }
        let left = world.aws.left_but_images();
        assert!(left.is_empty(), "{action}: {left:?}\n{run:?}");
        // Where the copy is the trouble, the image itself may stay.
        let images = world.aws.left();
        let wrong = images.iter().filter(|line| action != "CopyImage" || !line.starts_with("us-east-1"));
        assert_eq!(wrong.count(), 0, "{action}: {images:?}\n{run:?}");
        assert!(run.stderr.contains(&action), "{action} is not named\n{}", run.stderr);
    }
}

#[test]
fn where_there_is_no_room_the_next_type_is_taken() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "RunInstances", "where": { "InstanceType": "t3.large" }, "do": "error", "status": 500,
        "code": "InsufficientInstanceCapacity", "message": "We currently do not have sufficient t3.large capacity.", "times": 99 }]));
    let started = Instant::now();
    let options = r#"instance_type = "", instance_types = { "t3.large", "t3.micro" }"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    assert!(started.elapsed() < LONG / 4, "{:?}", started.elapsed());
    let asked = world.aws.calls("RunInstances");
    assert_eq!(param(asked.last().unwrap(), "InstanceType"), "t3.micro");
    world.expect_images(&["us-east-1 web-1"], &run);

    let run = world.build(r#"instance_type = "t3.large", ami_name = "web-2""#, "vm:finish()").expect_code(1);
    run.expect_errors(&["t3.large", "InsufficientInstanceCapacity", "instance_types"]);
    world.expect_images(&["us-east-1 web-1"], &"");
}

#[test]
fn where_there_is_no_room_the_next_zone_is_taken() {
    let Some(world) = World::start() else { return };
    let subnets = world.aws.ask("us-east-1", "DescribeSubnets", &[]);
    let zone_of = |subnet: &str| {
        let item = subnets.split("<item>").find(|item| item.contains(subnet)).unwrap_or_else(|| panic!("no {subnet}"));
        item.split("<availabilityZone>").nth(1).unwrap().chars().take(10).collect::<String>()
    };
    let zone = |call: &Value| {
        let text = call["params"].to_string();
        match text.split("subnet-").nth(1) {
            Some(rest) => zone_of(&format!("subnet-{}", rest.split('"').next().unwrap())),
            None => param(call, "Placement.AvailabilityZone").to_owned(),
        }
    };
    world.aws.rules(json!([{ "action": "RunInstances", "do": "error", "status": 500,
        "code": "InsufficientInstanceCapacity", "message": "We currently do not have sufficient t3.micro capacity." }]));
    let options = r#"availability_zone = { "us-east-1a", "us-east-1b" }, max_retries = 0"#;
    let run = world.build(options, "vm:finish()").expect_code(0);
    let zones: Vec<String> = world.aws.calls("RunInstances").iter().map(zone).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"], "{run:?}");
    world.expect_images(&["us-east-1 web-1"], &run);
}

#[test]
fn a_machine_that_aws_takes_away_fails_the_command_at_once() {
    for (state, code, message) in [
        ("terminated", "Server.SpotInstanceTermination", "Spot instance termination"),
        ("stopped", "Server.ScheduledStop", "Stopped due to a scheduled retirement"),
    ] {
        let Some(world) = World::start() else { return };
        let (begun, over) = (world.sandbox.join("begun"), world.sandbox.join("over"));
        // It ends as soon as the test has seen what it came for.
        let body = format!(
            "vm:run [[touch {}; n=0; while [ ! -e {} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done]]\n  vm:finish()",
            begun.display(),
            over.display()
        );
        let mut live = world.start_build("", &body);
        live.wait_until("to run its command", LONG, |_| begun.exists());
        let list = world.aws.left();
        let id = list.iter().find(|line| line.contains(" instance ")).and_then(|line| line.split(' ').nth(2)).unwrap();
        let started = Instant::now();
        world.aws.end_instance(id, state, code, message);
        let run = live.end(LONG / 2);
        std::fs::write(over, "").unwrap();
        let run = run.expect_code(1).expect_errors(&[id, code, message]);
        assert!(started.elapsed() < LONG / 4, "{:?}", started.elapsed());
        world.expect_nothing(&run);
    }
}

#[test]
fn a_machine_that_does_not_come_up_shows_its_console() {
    let Some(world) = World::start() else { return };
    world.aws.console("Booting\nKernel panic - not syncing: VFS: Unable to mount root fs\n");
    let options = format!(r#"ssh_port = {}, ssh_timeout = "2s""#, free_port());
    let run = world.build(&options, "vm:finish()").expect_code(1);
    assert!(run.stderr.contains("Kernel panic") || run.stdout.contains("Kernel panic"), "{run:?}");
    world.expect_nothing(&run);
}
