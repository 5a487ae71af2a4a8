//! What becomes of runs when the cache, or what came from it, is changed, damaged or cleared.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::world::{World, files};

/// Its output is large enough for a hard link.
const BIG: &str = r#"
local vm = machine {}
vm:run "head -c 17000000 /dev/zero >big"
vm:run "echo LAST"
vm:finish { output_directory = "out", format = "tree" }
"#;

fn changed(source: &str) -> String {
    source.replace("LAST", "OTHER")
}

#[test]
fn an_output_that_is_changed_in_place_is_made_again_and_not_given_back() {
    let world = World::new();
    world.run(BIG).done();
    let big = files(&world.path("out")).into_iter().find(|path| path.ends_with("big")).unwrap();
    let shared = std::fs::metadata(&big).unwrap().nlink() > 1;
    world.run(BIG).done().nothing_ran();
    let file = std::fs::File::options().write(true).open(&big).unwrap();
    file.write_all_at(b"the user's", 1_000_000).unwrap();
    // Without --force it is left alone, and that is an error, as it would be for a run without a cache.
    world.run_with(BIG, |options| options.force = false).failed();
    assert_eq!(&std::fs::read(&big).unwrap()[1_000_000..1_000_010], b"the user's");
    let ran = world.run(BIG).done();
    assert_eq!(ran.count("capture", ""), usize::from(shared), "a copy is given back, a link is made again: {ran}");
    assert!(std::fs::read(&big).unwrap() == vec![0; 17_000_000]);
    std::fs::remove_dir_all(world.path("out")).unwrap();
    world.run(BIG).done().nothing_ran();
    assert!(std::fs::read(&big).unwrap() == vec![0; 17_000_000]);
}

#[test]
fn what_is_damaged_or_gone_is_done_again() {
    type Harm = (&'static str, fn(&std::path::Path) -> bool, fn(&std::path::Path));
    let empty = |path: &std::path::Path| std::fs::write(path, "").unwrap();
    let harms: [Harm; 4] = [
        ("records", |path| path.extension().is_some_and(|e| e == "json"), empty),
        ("checkpoints", |path| path.ends_with("meta.json"), empty),
        (
            "checkpoints",
            |path| !path.ends_with("meta.json") && !path.ends_with("lock"),
            |path| std::fs::remove_file(path).unwrap(),
        ),
        ("files", |_| true, |path| std::fs::remove_file(path).unwrap()),
    ];
    for (number, (folder, which, harm)) in harms.into_iter().enumerate() {
        let world = World::new();
        world.run(BIG).done();
        let hit: Vec<_> =
            files(&world.path("cache/replay").join(folder)).into_iter().filter(|path| which(path)).collect();
        assert!(!hit.is_empty(), "{number}: nothing is there");
        hit.iter().for_each(|path| harm(path));
        world.run(&changed(BIG)).done();
        std::fs::remove_dir_all(world.path("out")).unwrap();
        world.run(&changed(BIG)).done().nothing_ran();
        assert!(world.path("out/vm/big").exists(), "{number}");
    }
}
