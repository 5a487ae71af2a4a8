//! A guest that lets nobody in until the seed has planted a key: the user, the temporary key and the host key are rimg's.

use crate::support::image::cloud_guest;
use crate::support::rimg::{Run, Sandbox};

#[test]
fn a_seed_plants_user_key_and_host_key_and_leaves_no_key_behind() {
    let Some(image) = cloud_guest() else { return };
    let sandbox = Sandbox::new();
    let source = format!(
        r##"local rimg = require "rimg"
local cloudinit = require "std.cloudinit"
local installer = require "std.installer"
local token = rimg.secret "token"
local seed = cloudinit.seed {{
  hostname = "named-by-seed", timezone = "Europe/Berlin",
  users = {{ {{ name = "ops", password = "it's 0ps", sudo = true, groups = {{ "adm" }} }} }},
  files = {{ {{ path = "/etc/from-seed", content = "ours too\n" }}, {{ path = "/etc/token", content = token, mode = "0600" }},
    {{ path = "/etc/bytes", content = "\0\xff", mode = "600", owner = "ops" }} }},
  commands = {{ {{ "touch", "/etc/it's run" }}, "echo no such luck >&2; exit 3" }},
  -- The guest has no locales that cloud-init could set.
  cloud_config = {{ locale = false }},
}}
local vm = rimg.qemu {{ source_image = "{}", memory = "512M", cpus = 2, user_data = seed.user_data, meta_data = seed.meta_data }}
-- The seed's last command fails: that is an error with the words of the module and of the command.
local ok, err = pcall(vm.apply, vm, cloudinit.wait {{}})
assert(not ok and err.message:find("ended with errors: ", 1, true) and err.message:find("scripts.user"), tostring(err))
assert(table.concat(err.hints, "\n"):find("no such luck", 1, true), table.concat(err.hints, "\n"))
local done = vm:apply(cloudinit.wait {{ check = false }})
assert(done.status == "error" and done.datasource:find "NoCloud" and #done.warnings > 0 and not done.changed, rimg.json.encode(done))
assert(vm:run("ls '/etc/it'\\''s run' && timedatectl show -p Timezone && id -nG ops && sudo -u ops sudo -n id -u && stat -c '%U %a %s' /etc/bytes").stdout
  == "/etc/it's run\nTimezone=Europe/Berlin\nops adm\n0\nops 600 2\n", "the seed took effect")
assert(vm:run("sudo perl -e 'print crypt(q(it) . chr(39) . q(s 0ps), (getpwnam q(ops))[1]) eq (getpwnam q(ops))[1]'").stdout == "1", "the password")
-- cloud-init's own schema has nothing to say against what the library writes: seeds, autoinstall, and the seed in it.
local user = {{ name = "ops", password = "x", sudo = true, ssh_authorized_keys = {{ "{{{{ .SSHPublicKey }}}}" }} }}
local documents = {{ cloudinit.seed {{
  hostname = "a.example.org", users = {{ user }}, default_user = false, locale = "de_DE.UTF-8", packages = {{ "nginx" }}, upgrade = true,
  root = {{ ssh_authorized_keys = user.ssh_authorized_keys }}, cloud_config = {{ manage_etc_hosts = true }},
}}.user_data }}
for _, given in ipairs {{
  {{ users = {{ user }}, disk = {{ lvm = true, encryption = {{ passphrase = "it's" }} }}, via = "http", mirror = "http://de.archive.ubuntu.com/ubuntu" }},
  {{ root = {{ ssh_authorized_keys = user.ssh_authorized_keys }}, firmware = "efi" }},
}} do
  given.release = "ubuntu-24.04"
  local config = rimg.yaml.decode(installer.answers(given).files["user-data"])
  documents[#documents + 1], documents[#documents + 2] = config, config.autoinstall["user-data"]
end
vm:run "mkdir /tmp/schema"
for n, document in ipairs(documents) do vm:write(("/tmp/schema/%d"):format(n), "#cloud-config\n" .. rimg.yaml.encode(document)) end
local SCHEMA = [[
import glob
from cloudinit.config import schema
known = schema.get_schema()
for path in glob.glob("/tmp/schema/*"): schema.validate_cloudconfig_file(path, known)
]]
local valid = vm:run({{ "python3", "-" }}, {{ input = SCHEMA }})
assert(not (valid.stdout .. valid.stderr):find("rror", 1, true), valid.stdout .. valid.stderr)
vm:write("/tmp/schema/wrong", "#cloud-config\nusers: []\n")
assert(not vm:run({{ "python3", "-" }}, {{ input = SCHEMA, check = false }}).ok, "the schema refuses nothing")
vm:run "rm -r /tmp/schema"
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
image:boot({{ user_data = {{ locale = false }} }}, function(test)
  assert(test:apply(cloudinit.wait {{ strict = true }}).status == "done", "the second boot is without errors")
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
"##,
        image.display()
    );
    sandbox.write("build.lua", &source);
    let token = "tok3n-of-the-guest-x7";
    let run = Run::of(sandbox.command(["run", "build.lua"]).env("RIMG_VAR_token", token)).expect_code(0);
    sandbox.assert_clean();
    assert!(!run.stdout.contains(token) && !run.stderr.contains(token));
    assert!(run.stdout.contains("out/image.qcow2"), "{}", run.stdout);
}
