//! A build that is killed, or asked to end, while each of its requests is on its way.

use std::time::Instant;

use serde_json::json;

use super::{LONG, World};
use crate::support::rimg::{Run, Sandbox};

const COPIED: &str = r#"ami_regions = { "eu-west-1" }"#;
const BODY: &str = "vm:run 'true'\n  vm:finish()";

/// What starts the instance in another way.
const FLEET: &str = r#"spot_price = "auto", spot_allocation_strategy = "lowest-price""#;

/// Returns every action of a build that changes something, and one that only looks; then what another build does besides.
fn points(world: &World) -> Vec<(&'static str, String)> {
    let mut points: Vec<(&str, String)> = Vec::new();
    for options in [COPIED, FLEET] {
        world.aws.reset();
        world.build(options, BODY).expect_code(0);
        for action in world.aws.actions() {
            let looks = action.starts_with("Describe") && action != "DescribeInstances";
            if !looks && !points.iter().any(|(_, known)| *known == action) {
                points.push((options, action));
            }
        }
    }
    assert!(points.len() >= 12, "{points:?}");
    points
}

/// What is asked for when all is done: a signal changes nothing then.
const ENDING: [&str; 3] = ["TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair"];

/// Ends builds at each point, before and after AWS has done what it was asked for.
fn each_point(mut check: impl FnMut(&World, crate::support::rimg::Live, &str)) {
    let Some(mut world) = World::start() else { return };
    for (options, action) in points(&world) {
        for after in [true, false] {
            world.aws.reset();
            world.sandbox = Sandbox::new();
            // What is being removed is waited for.
            let removes = action.starts_with("Delete") || ENDING.contains(&action.as_str());
            let seconds = if removes { 2 } else { 60 };
            world.aws.rules(json!([{ "action": action, "do": "delay", "seconds": seconds, "after": after }]));
            let live = world.start_build(options, BODY);
            world.aws.wait_for(&action, after);
            check(&world, live, &format!("{action}, {}", if after { "done" } else { "not done" }));
        }
    }
}

fn is_ending(at: &str) -> bool {
    ENDING.iter().any(|name| at.starts_with(name))
}

/// Fails if something is there that is no whole image.
fn expect_whole(world: &World, at: &str, run: &Run) {
    let left = world.aws.left_but_images();
    assert!(left.is_empty(), "{at}: {left:?}\n{run:?}\n{:?}", world.aws.actions());
    let images = world.aws.left();
    // A snapshot without its image is what nobody would ever find.
    let count = |kind: &str| images.iter().filter(|line| line.contains(kind)).count();
    assert_eq!(count(" image "), count(" snapshot "), "{at}: {images:?}\n{run:?}");
    assert!(images.is_empty() || is_ending(at), "{at}: {images:?}\n{run:?}");
}

#[test]
fn a_killed_build_leaves_nothing_after_gc() {
    each_point(|world, live, at| {
        live.signal(rustix::process::Signal::KILL);
        live.end(LONG);
        let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
        expect_whole(world, at, &gc);
        let journals = std::fs::read_dir(world.sandbox.join(".state/runs")).into_iter().flatten().count();
        assert_eq!(journals, 0, "{at}: {gc:?}");
        world.sandbox.assert_clean_after(&gc);
    });
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    each_point(|world, live, at| {
        let started = Instant::now();
        live.interrupt();
        let run = live.end(LONG);
        assert!(run.code == Some(130) || is_ending(at) && run.code == Some(0), "{at}: {run:?}");
        assert!(started.elapsed() < LONG / 4, "{at}: {:?}", started.elapsed());
        expect_whole(world, at, &run);
        world.sandbox.assert_clean_after(&run);
    });
}

#[test]
fn a_build_killed_at_its_work_leaves_nothing_after_gc() {
    let Some(world) = World::start() else { return };
    let (begun, over) = (world.sandbox.join("begun"), world.sandbox.join("over"));
    let body = format!(
        "vm:run [[touch {}; n=0; while [ ! -e {} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done]]",
        begun.display(),
        over.display()
    );
    let mut live = world.start_build(r#"spot_price = "auto""#, &body);
    live.wait_until("to run its command", LONG, |_| begun.exists());
    live.signal(rustix::process::Signal::KILL);
    live.end(LONG);
    std::fs::write(over, "").unwrap();
    let shown = Run::of(&mut world.command(&["gc", "--dry-run"])).expect_code(0);
    assert!(shown.stdout.contains("instance") && !world.aws.left().is_empty(), "{shown:?}");
    let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
    world.expect_nothing(&gc);
    assert!(Run::of(&mut world.command(&["gc"])).expect_code(0).stdout.len() < gc.stdout.len().max(1), "{gc:?}");
}
