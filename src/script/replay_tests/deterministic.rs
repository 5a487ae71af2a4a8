//! One case each of what makes an operation run again, and of what does not.

use super::world::World;

const THREE: &str = r#"
local vm = machine {}
local one = vm:run "echo one | tee one"
vm:shell { inline = { "echo two >two" }, remote_folder = "." }
local three = vm:run "cat one two >three; cat three"
print((one.stdout .. three.stdout):gsub("\n", " ") .. "")
vm:finish { output_directory = "out", format = "tree" }
"#;

#[test]
fn a_machine_that_is_a_folder_is_one() {
    let world = World::new();
    let ran = world.run(THREE).done();
    assert_eq!((ran.count("boot", ""), ran.ran("echo one"), ran.count("capture", "")), (1, 1, 1), "{ran}");
    assert_eq!(ran.messages().last().unwrap(), "one one two ", "{ran}");
    let tree = world.tree("out");
    assert_eq!(tree.len(), 4, "{tree:?}");
    assert_eq!(world.read("out/vm/three"), "one\ntwo\n");
    assert!(world.read("live.log").contains("shutdown"));
}
