//! A guest that lets nobody in until the seed has planted a key: the user, the temporary key and the host key are rimg's.

use crate::support::image::cloud_guest;
use crate::support::rimg::Sandbox;

#[test]
fn a_seed_plants_user_key_and_host_key_and_leaves_no_key_behind() {
    let Some(image) = cloud_guest() else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        r#"local rimg = require "rimg"
local vm = rimg.qemu {{
  source_image = "{}", memory = "512M", cpus = 2,
  user_data = {{ write_files = {{ {{ path = "/etc/from-seed", content = "ours too\n" }} }} }},
  meta_data = {{ ["local-hostname"] = "named-by-seed" }},
}}
-- Whether the script's own seed took effect beside what rimg plants in it.
assert(vm.user == "rimg" and vm:run("whoami").stdout == "rimg\n", "the user")
assert(vm:read("/etc/from-seed") == "ours too\n", "the script's user_data")
assert(vm:run("hostname").stdout == "named-by-seed\n", "the script's meta_data")
assert(vm:run("sudo id -u").stdout == "0\n", "sudo")
local first = vm:read(".ssh/authorized_keys")
assert(first:find("rimg%-temporary"), first)
local image = vm:finish {{ output_directory = "out", name = "image" }}
image:boot(function(test)
  local second = test:read(".ssh/authorized_keys")
  assert(second:find("rimg%-temporary") and not second:find(first:match("%S+ (%S+)"), 1, true), "the first key stayed")
end)
"#,
        image.display()
    );
    let run = sandbox.run(&source, &[]).expect_code(0);
    sandbox.assert_clean();
    assert!(run.stdout.contains("out/image.qcow2"), "{}", run.stdout);
}
