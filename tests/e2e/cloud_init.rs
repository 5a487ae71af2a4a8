//! A guest that lets nobody in until the seed has planted a key: the user, the temporary key and the host key are rimg's.

use crate::support::image::cloud_guest;
use crate::support::rimg::{Run, Sandbox};

#[test]
fn a_seed_plants_user_key_and_host_key_and_leaves_no_key_behind() {
    let Some(image) = cloud_guest() else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        r#"local rimg = require "rimg"
local token = rimg.secret "token"
local vm = rimg.qemu {{
  source_image = "{}", memory = "512M", cpus = 2,
  user_data = {{ write_files = {{ {{ path = "/etc/from-seed", content = "ours too\n" }},
    {{ path = "/etc/token", content = token, permissions = "0600" }} }} }},
  meta_data = {{ ["local-hostname"] = "named-by-seed" }},
}}
-- Whether the script's own seed took effect beside what rimg plants in it.
assert(vm.user == "rimg" and vm:run("whoami").stdout == "rimg\n", "the user")
assert(vm:read("/etc/from-seed") == "ours too\n", "the script's user_data")
assert(vm:run("hostname").stdout == "named-by-seed\n", "the script's meta_data")
assert(vm:run("sudo id -u").stdout == "0\n", "sudo")
local first = vm:read(".ssh/authorized_keys")
assert(first:find("rimg%-temporary"), first)
local host_key = vm:read("/etc/ssh/ssh_host_ed25519_key.pub", {{ sudo = true }}):match("%S+ (%S+)")
assert(vm:run("sudo grep -rlF " .. host_key .. " /var/lib/cloud/instances").stdout ~= "", "the seed is stored")
-- What a token is used for leaves it nowhere.
vm:run("sleep 0.1; test -n \"$T\"", {{ env = {{ T = token }}, sudo = true }})
vm:run("cat >/dev/null", {{ input = token }})
vm:shell {{ inline = "test -n \"$T\"", env = {{ T = token }}, sudo = true }}
vm:shell {{ inline = "echo " .. token .. " >/dev/null", sudo = true }}
vm:write("/root/for-a-while", token, {{ sudo = true }})
vm:run("sudo rm /root/for-a-while")
local image = vm:finish {{ output_directory = "out", name = "image" }}
image:boot(function(test)
  local second = test:read(".ssh/authorized_keys")
  assert(second:find("rimg%-temporary") and not second:find(first:match("%S+ (%S+)"), 1, true), "the first key stayed")
  -- The test's own machine has a seed of its own, and the search has the token in a file: both are left out.
  test:write("/run/wanted", token .. "\n", {{ sudo = true, mode = "0600" }})
  local found = test:run("sudo sh -c 'grep -rlF -f /run/wanted /etc /home /root /run /tmp /var --exclude=wanted --exclude-dir=proc "
    .. "--exclude-dir=instances; journalctl --no-pager 2>/dev/null | grep -F -f /run/wanted; true'")
  assert(found.stdout == "/etc/token\n", "left in the image: " .. found.stdout)
  local seeds = test:run("sudo sh -c 'ls /var/lib/cloud/instances/*/user-data.txt | wc -l; ls -d /var/lib/cloud/instances/*/ | wc -l'")
  assert(seeds.stdout == "1\n2\n", "the first machine's seed stayed: " .. seeds.stdout)
end)
"#,
        image.display()
    );
    sandbox.write("build.lua", &source);
    let token = "tok3n-of-the-guest-x7";
    let run = Run::of(sandbox.command(["run", "build.lua"]).env("RIMG_VAR_token", token)).expect_code(0);
    sandbox.assert_clean();
    assert!(!run.stdout.contains(token) && !run.stderr.contains(token));
    assert!(run.stdout.contains("out/image.qcow2"), "{}", run.stdout);
}
