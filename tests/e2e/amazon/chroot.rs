//! Images made on the instance that rimg runs on: moto plays the cloud, this host the instance. Its volume is a file with a
//! file system behind a loop device, mounted and worked on as it would be there; so the tests need root.

use std::path::{Path, PathBuf};
use std::process::Command;

use rimg::host::process::which;
use serde_json::{Value, json};

use super::{LONG, param, tags};
use crate::support::aws::{Aws, SOURCE};
use crate::support::library::skip;
use crate::support::rimg::{Live, Run, Sandbox};

/// A volume's content, and the device that it has on this host.
struct Disk {
    /// Nothing is ever mounted in it: it is removed with what it holds.
    folder: tempfile::TempDir,
    device: String,
}

fn run(program: &str, args: &[&str]) -> std::process::Output {
    Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

impl Disk {
    /// Makes one: with a small system, or empty.
    fn new(is_empty: bool) -> Option<Disk> {
        let programs = ["busybox", "losetup", "mkfs.ext4", "debugfs", "chroot", "umount"];
        if let Some(missing) = programs.iter().find(|program| which(program).is_none()) {
            skip(&format!("{missing} is not installed"));
            return None;
        }
        let folder = tempfile::Builder::new().prefix("rimg-disk-").tempdir().expect("a folder");
        let image = folder.path().join("disk");
        std::fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
        if !is_empty {
            let system = folder.path().join("system");
            small_system(&system);
            let made = run("mkfs.ext4", &["-q", "-d", system.to_str().unwrap(), image.to_str().unwrap()]);
            assert!(made.status.success(), "{made:?}");
        }
        let made = run("losetup", &["--find", "--show", image.to_str().unwrap()]);
        if !made.status.success() {
            skip("loop devices do not work here, or not for this user");
            return None;
        }
        Some(Disk { folder, device: String::from_utf8(made.stdout).unwrap().trim().to_owned() })
    }

    /// Returns a file of the file system, which must not be mounted; empty where there is none.
    fn read(&self, path: &str) -> String {
        self.ask(&format!("cat {path}"))
    }

    fn ask(&self, request: &str) -> String {
        let image = self.folder.path().join("disk");
        String::from_utf8(run("debugfs", &["-R", request, image.to_str().unwrap()]).stdout).unwrap()
    }

    /// Returns where it is mounted.
    fn mounted(&self) -> Vec<PathBuf> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = table.lines().filter(|line| line.split(' ').any(|word| word == self.device));
        own.map(|line| PathBuf::from(line.split(' ').nth(4).unwrap())).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in self.mounted() {
            run("umount", &["--recursive", "--lazy", path.to_str().unwrap()]);
        }
        run("losetup", &["--detach", &self.device]);
    }
}

/// Fills a folder with as little as a system can have.
fn small_system(root: &Path) {
    for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run", "var/log"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy(which("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    let listed = run("busybox", &["--list"]);
    for name in String::from_utf8(listed.stdout).unwrap().lines().filter(|name| *name != "busybox") {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    // As systemd's resolver has it: a link that leads nowhere as long as the system does not run.
    std::os::unix::fs::symlink("/run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf")).unwrap();
    std::os::unix::fs::symlink("/tmp", root.join("out")).unwrap();
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
}

/// The cloud, this instance's volume, and a folder to build in.
struct World {
    aws: Aws,
    disk: Disk,
    sandbox: Sandbox,
}

impl World {
    fn start() -> Option<World> {
        World::with(Disk::new(false)?)
    }

    fn with(disk: Disk) -> Option<World> {
        let aws = Aws::start()?;
        aws.be_an_instance();
        Some(World { aws, disk, sandbox: Sandbox::new() })
    }

    fn script(&self, options: &str, body: &str) -> String {
        format!(
            r#"local rimg = require "rimg"
rimg.build("web", function()
  local options = {{
    source_ami = "{SOURCE}", ami_name = "web-1", nvme_device_path = "{}", mount_partition = 0,
    aws_polling = {{ delay_seconds = 0.05, max_attempts = 1000 }},
  }}
  for name, value in pairs {{ {options} }} do options[name] = value end
  if options.from_scratch then options.source_ami = nil end
  local vm = rimg.amazon.chroot(options)
  {body}
end)
"#,
            self.disk.device
        )
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        self.aws.env_on_instance(&mut command);
        command
    }

    /// Runs a build to its end, after which nothing is mounted.
    #[track_caller]
    fn build(&self, options: &str, body: &str) -> Run {
        self.sandbox.write("build.lua", self.script(options, body));
        let run = Run::of(&mut self.command(&["run", "build.lua"]));
        self.expect_unmounted(&run);
        run
    }

    fn start_build(&self, options: &str, body: &str) -> Live {
        self.sandbox.write("build.lua", self.script(options, body));
        self.sandbox.watch(self.command(&["run", "build.lua"]))
    }

    #[track_caller]
    fn expect_unmounted(&self, run: &Run) {
        assert_eq!(self.disk.mounted(), [] as [PathBuf; 0], "{run:?}");
        // Its folder is told of, and gone.
        for line in run.stdout.lines().filter(|line| line.contains("Mounted ")) {
            let folder = line.split(" at ").last().unwrap().trim();
            let parent = Path::new(folder).parent().unwrap();
            assert!(!parent.exists(), "{} is left\n{run:?}", parent.display());
        }
        self.sandbox.assert_clean_after(run);
    }

    /// Fails unless there is nothing of rimg's in the account.
    #[track_caller]
    fn expect_nothing(&self, run: &dyn std::fmt::Debug) {
        let left = self.aws.left();
        assert!(left.is_empty(), "left: {left:#?}\n{run:?}\n{:?}", self.aws.actions());
    }

    fn one(&self, action: &str) -> Value {
        let calls = self.aws.calls(action);
        assert_eq!(calls.len(), 1, "{action}: {calls:?}");
        calls[0].clone()
    }
}

#[test]
fn a_volume_is_worked_on_in_a_chroot_and_becomes_an_image() {
    let Some(world) = World::start() else { return };
    world.aws.slow(json!({ "images": 2, "snapshots": 2 }));
    world.sandbox.write("tree/inner/file", "of a tree\n");
    world.sandbox.write("big", vec![7u8; 3 << 20]);
    let body = r#"
  vm:run "echo made >/made; pwd >>/made"
  vm:shell { inline = { "echo $GREETING >/greeted", "test -e /proc/self/stat", "test -c /dev/null", "test -d /sys/kernel" },
    env = { GREETING = "it's me" } }
  vm:run { "sh", "-c", "cat /etc/resolv.conf >/seen-resolv" }
  vm:run "env | sort >/seen-env; hostname >/dev/null"
  vm:upload("big", "/var/")
  vm:upload("tree/", "/opt/tree")
  vm:write("/etc/motd", "welcome\n")
  assert(vm:read("/etc/motd") == "welcome\n")
  vm:download("/opt/tree/", "back")
  vm:download("/var/big", "big-back")
  assert(vm.user == "root" and vm.id:match "^vol%-")
  local image = vm:finish()
  rimg.fs.write("image.json", rimg.json.encode { id = image.id, builder = image.builder, metadata = image.metadata })"#;
    let options = r#"tags = { Role = "web" }, snapshot_tags = { Kept = "yes" }, root_volume_tags = { Disk = "root" },
      root_volume_size = 20, root_volume_type = "gp3", ami_description = "a web server",
      ami_block_device_mappings = { { device_name = "/dev/sdz", volume_size = 5, encrypted = true } }"#;
    let secret = [("AWS_SESSION_NAME", "not for the image")];
    world.sandbox.write("build.lua", world.script(options, body));
    let run = Run::of(world.command(&["run", "build.lua"]).envs(secret)).expect_code(0);
    world.expect_unmounted(&run);

    // What was done in the chroot is on the disk, and nothing else.
    assert_eq!(world.disk.read("/made"), "made\n/\n");
    assert_eq!(world.disk.read("/greeted"), "it's me\n");
    assert_eq!(world.disk.read("/opt/tree/inner/file"), "of a tree\n");
    assert_eq!(world.disk.read("/etc/motd"), "welcome\n");
    assert_eq!(world.disk.read("/seen-resolv"), std::fs::read_to_string("/etc/resolv.conf").unwrap());
    let env = world.disk.read("/seen-env");
    assert!(env.contains("HOME=/root") && !env.contains("AWS_"), "{env}");
    assert_eq!(world.sandbox.read("back/inner/file"), "of a tree\n");
    assert_eq!(std::fs::read(world.sandbox.join("big-back")).unwrap(), vec![7u8; 3 << 20]);
    assert!(world.disk.ask("stat /etc/resolv.conf").contains("stub-resolv.conf"), "the link is not back");
    let listed: String =
        ["/", "/etc", "/var", "/opt", "/tmp"].map(|path| world.disk.ask(&format!("ls {path}"))).concat();
    assert!(!listed.contains("rimg"), "{listed}");
    assert!(!world.disk.ask("ls /dev").contains("null") && !world.disk.ask("ls /proc").contains("self"));

    // The image exists, with its snapshot and tags; the volume is gone.
    let made: Value = serde_json::from_str(&world.sandbox.read("image.json")).unwrap();
    let left = world.aws.left();
    let id = |kind: &str| left.iter().find(|line| line.contains(kind)).unwrap().split(' ').nth(2).unwrap().to_owned();
    let (image, snapshot) = (id(" image "), id(" snapshot "));
    assert_eq!(left.len(), 2, "{left:?}\n{run:?}");
    assert_eq!(made["id"], format!("us-east-1:{image}"));
    assert_eq!(made["builder"], "amazon.chroot");
    assert_eq!(made["metadata"]["snapshots"], json!({ "us-east-1": [snapshot] }));
    let (volume, taken) = (world.one("CreateVolume"), world.one("CreateSnapshot"));
    let registered = world.one("RegisterImage");
    assert!(!param(&volume, "ClientToken").is_empty() && param(&volume, "SnapshotId").starts_with("snap-"), "{volume}");
    assert_eq!((param(&volume, "Size"), param(&volume, "VolumeType")), ("20", "gp3"));
    assert!(param(&volume, "AvailabilityZone").starts_with("us-east-1"), "{volume}");
    for (call, sort) in [(&volume, "volume"), (&taken, "snapshot"), (&registered, "image")] {
        let tags = tags(call, sort);
        for name in ["rimg:run", "rimg:id", "rimg:build", "Name"] {
            assert!(tags.contains_key(name), "{sort} has no {name}: {tags:?}");
        }
    }
    assert_eq!(tags(&volume, "volume")["Disk"], "root");
    assert_eq!(tags(&taken, "snapshot")["Kept"], "yes");
    assert_eq!(tags(&registered, "image")["Role"], "web");
    for (name, value) in [
        ("Architecture", "x86_64"),
        ("BootMode", "uefi-preferred"),
        ("RootDeviceName", "/dev/xvda"),
        ("VirtualizationType", "hvm"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", &snapshot),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "20"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdz"),
        ("BlockDeviceMapping.2.Ebs.Encrypted", "true"),
    ] {
        assert_eq!(param(&registered, name), value, "{name}: {registered}");
    }
    let order = world.aws.actions();
    let at =
        |action: &str| order.iter().position(|other| other == action).unwrap_or_else(|| panic!("{action}: {order:?}"));
    assert!(at("AttachVolume") < at("DetachVolume") && at("DetachVolume") < at("CreateSnapshot"), "{order:?}");
    assert!(at("RegisterImage") < at("DeleteVolume"), "{order:?}");
    assert!(!order.contains(&"TerminateInstances".to_owned()));
    // The same name once more is found out before anything is made.
    world.build("", "vm:finish()").expect_code(1).expect_errors(&["there is an image", "force_deregister"]);
    assert_eq!(world.aws.calls("CreateVolume").len(), 1);
    world.build("skip_if_exists = true", "error 'not reached'").expect_code(0);
}

#[test]
fn an_image_of_a_chroot_is_copied_and_shared() {
    let Some(world) = World::start() else { return };
    let options = r#"ami_regions = { "eu-west-1" }, ami_users = { "111122223333" }, snapshot_users = { "111122223333" },
      deregistration_protection = { enabled = true }"#;
    world.build(options, "vm:finish { name = 'other-1' }").expect_code(0);
    let left = world.aws.left();
    assert_eq!(left.iter().filter(|line| line.ends_with(" other-1")).count(), 2, "{left:?}");
    assert_eq!(world.aws.calls("ModifySnapshotAttribute").len(), 2);
    assert_eq!(world.aws.calls("EnableImageDeregistrationProtection").len(), 2);
    let made = left.len();
    world.build("skip_create_ami = true, ami_name = 'x-1'", "vm:finish()").expect_code(0);
    assert_eq!(world.aws.left().len(), made);
}

#[test]
fn a_system_is_made_from_scratch() {
    let Some(disk) = Disk::new(true) else { return };
    let Some(world) = World::with(disk) else { return };
    small_system(&world.sandbox.join("system"));
    let options = r#"from_scratch = true, root_volume_size = 3, root_device_name = "/dev/sda1", boot_mode = "uefi",
      pre_mount_commands = { "echo device {{.Device}}; mkfs.ext4 -q {{.Device}}" },
      post_mount_commands = { "cp -a system/. {{.MountPath}}/" }, mount_options = { "noatime" },
      chroot_mounts = { { "proc", "proc", "/proc" } }, copy_files = {}"#;
    let run =
        world.build(options, "vm:run 'grep -c noatime /proc/mounts; ls /dev >/devices'\n  vm:finish()").expect_code(0);
    assert!(run.stdout.contains(&format!("device {}", world.disk.device)), "{run:?}");
    assert_eq!(world.disk.read("/devices"), "");
    let (volume, image) = (world.one("CreateVolume"), world.one("RegisterImage"));
    assert_eq!((param(&volume, "Size"), param(&volume, "SnapshotId")), ("3", ""));
    assert_eq!((param(&image, "RootDeviceName"), param(&image, "BootMode")), ("/dev/sda1", "uefi"));
    assert_eq!(param(&image, "Architecture"), "x86_64");
}

#[test]
fn what_fails_leaves_nothing() {
    let Some(world) = World::start() else { return };
    let run = world.build("", "vm:run 'echo before; exit 3'").expect_code(1);
    run.expect_errors(&["exited with status 3"]);
    world.expect_nothing(&"");
    let failing = [
        (r#"pre_mount_commands = { "echo no; exit 4" }"#, ["pre_mount_commands", "status 4"]),
        (r#"post_mount_commands = { "test -e {{.MountPath}}/no" }"#, ["post_mount_commands", "status 1"]),
        (r#"mount_options = { "no-such-option" }"#, ["cannot mount", "-o no-such-option"]),
        (r#"mount_partition = 3"#, ["mount_partition", "no partitions"]),
        (r#"chroot_mounts = { { "no-such-type", "x", "/x" } }"#, ["chroot_mounts", "no-such-type"]),
        (r#"chroot_mounts = { { "bind", "/tmp", "/etc/resolv.conf/x" } }"#, ["chroot_mounts", "resolv.conf"]),
        (r#"chroot_mounts = { { "bind", "/tmp", "/out/rimg-e2e" } }"#, ["leads out of the volume", "/tmp"]),
        (r#"copy_files = { "/no/such/file" }"#, ["copy_files", "/no/such/file"]),
    ];
    for (options, errors) in failing {
        let run = world.build(options, "vm:finish()");
        assert_ne!(run.code, Some(0), "{options}");
        run.expect_errors(&errors);
        world.expect_nothing(&options);
    }
    assert!(!Path::new("/tmp/rimg-e2e").exists(), "a folder of this host's was made");
    for action in ["CreateVolume", "AttachVolume", "DetachVolume", "CreateSnapshot", "RegisterImage"] {
        world.aws.rules(json!([{ "action": action, "times": 1, "do": "error", "code": "UnauthorizedOperation",
            "message": "not for you", "status": 403 }]));
        world.build("", "vm:finish()").expect_code(1).expect_errors(&[&format!("ec2:{action}"), "not for you"]);
        world.expect_nothing(&action);
    }
}

#[test]
fn what_holds_the_volume_is_named_and_ended() {
    let Some(world) = World::start() else { return };
    let run = world.build("", "vm:run 'sleep 311 >/dev/null 2>&1 & :'\n  vm:finish()").expect_code(1);
    run.expect_errors(&["is in use by", "sleep (", "have to stop"]);
    world.expect_nothing(&"");
    assert!(!runs("sleep 311"));
}

/// Tells whether a process with these words runs on this host.
fn runs(words: &str) -> bool {
    let lines = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    lines
        .filter_map(|path| std::fs::read(path).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().ends_with(words))
}

#[test]
fn a_device_that_is_taken_is_not_taken_again() {
    let Some(world) = World::start() else { return };
    world.aws.rules(json!([{ "action": "AttachVolume", "times": 1, "do": "error", "code": "InvalidParameterValue",
        "message": "Attachment point /dev/sdf is already in use", "status": 400 }]));
    world.build("skip_create_ami = true", "vm:finish()").expect_code(0);
    let names: Vec<String> =
        world.aws.calls("AttachVolume").iter().map(|call| param(call, "Device").to_owned()).collect();
    assert_eq!(names, ["/dev/sdf", "/dev/sdg"]);
    // The answer that is lost has attached it.
    world.aws.rules(json!([{ "action": "AttachVolume", "times": 1, "do": "lose" }]));
    world.build("skip_create_ami = true, device_path = '/dev/sdk'", "vm:finish()").expect_code(0);
    // The root of moto's instances.
    let run = world.build("device_path = '/dev/sda1'", "vm:finish()").expect_code(1);
    run.expect_errors(&["device_path", "/dev/sda1 is taken"]);
    world.expect_nothing(&"");
}

#[test]
fn commands_become_roots_by_the_wrapper() {
    let Some(world) = World::start() else { return };
    let wrapper =
        world.sandbox.write("wrapper", "#!/bin/sh\nprintf '%s\\n' \"$1\" >>\"${0%/*}/wrapped\"\nexec \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&wrapper, mode).unwrap();
    let options = format!(r#"command_wrapper = {{ "{}" }}, skip_create_ami = true"#, wrapper.display());
    world.build(&options, "vm:run 'echo hello >/made'\n  vm:finish()").expect_code(0);
    assert_eq!(world.disk.read("/made"), "hello\n");
    let wrapped = world.sandbox.read("wrapped");
    for program in ["id", "mkdir", "mount", "chroot", "umount", "rmdir"] {
        assert!(wrapped.lines().any(|line| line == program), "{program} is not in {wrapped}");
    }
    let made = world.aws.calls("CreateVolume").len();
    let run = world.build(r#"command_wrapper = { "false" }"#, "vm:finish()").expect_code(1);
    run.expect_errors(&["command_wrapper", "sudo"]);
    assert_eq!(world.aws.calls("CreateVolume").len(), made);
}

#[test]
fn root_and_an_instance_are_asked_for_before_anything_is_made() {
    let Some(world) = World::start() else { return };
    world.sandbox.write("build.lua", world.script("", "vm:finish()"));
    let mut elsewhere = world.sandbox.command(["run", "build.lua"]);
    world.aws.env(&mut elsewhere);
    Run::of(&mut elsewhere).expect_code(1).expect_errors(&["this host is no EC2 instance", "rimg.amazon.ebs"]);
    let mut nobody = world.command(&["run", "build.lua"]);
    nobody.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    Run::of(&mut nobody).expect_code(1).expect_errors(&["this host is no EC2 instance", "does not answer"]);
    let run = world.build("region = 'eu-west-1'", "vm:finish()").expect_code(1);
    run.expect_errors(&["region", "this instance is in us-east-1"]);
    if which("setpriv").is_some() {
        // Somebody who may use the folder, and no more.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(world.sandbox.path(), open).unwrap();
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(env!("CARGO_BIN_EXE_rimg"));
        user.args(["run", "build.lua"]).current_dir(world.sandbox.path()).env("TMPDIR", world.sandbox.path());
        user.env("RIMG_CACHE_DIR", world.sandbox.join("c")).env("RIMG_STATE_DIR", world.sandbox.join("s"));
        world.aws.env_on_instance(&mut user);
        Run::of(&mut user).expect_code(1).expect_errors(&["need root", "65534", "command_wrapper"]);
    }
    assert_eq!(world.aws.calls("CreateVolume"), [] as [Value; 0]);
}

#[test]
fn a_check_needs_neither_root_nor_an_account() {
    let sandbox = Sandbox::new();
    let script = |options: &str, finish: &str| {
        format!(
            r#"local rimg = require "rimg"
local vm = rimg.amazon.chroot {{ {options} }}
vm:run "true"
print(vm:finish{finish}.metadata.images["eu-central-1"])
"#
        )
    };
    let options = r#"region = "eu-central-1", source_ami = "ami-1", ami_name = "web-1""#;
    sandbox.write("build.lua", script(options, " {}"));
    let checked = sandbox.rimg(["check", "build.lua"]).expect_code(0);
    assert!(checked.stdout.contains("ami-"), "{checked:?}");
    let policy = sandbox.rimg(["amazon", "policy", "build.lua"]).expect_code(0);
    for action in ["ec2:AttachVolume", "ec2:CreateVolume", "ec2:DetachVolume", "ec2:RegisterImage"] {
        assert!(policy.stdout.contains(action), "{action}: {policy:?}");
    }
    assert!(!policy.stdout.contains("ec2:RunInstances"), "{policy:?}");
    for (more, finish, error) in [
        (r#", command_wrapper = "sudo {{.Command}}""#, " {}", "command_wrapper"),
        (r#", from_scratch = true"#, " {}", "from_scratch"),
        (r#", pre_mount_commands = { "{{.MountPath}}" }"#, " {}", "MountPath"),
        (r#", mount_parttion = 1"#, " {}", "mount_partition"),
        (r#", chroot_mounts = { { "proc", "/proc" } }"#, " {}", "chroot_mounts"),
        ("", r#" { shutdown_command = "poweroff" }"#, "no system"),
        ("", r#" { output_directory = "out" }"#, "output_directory"),
    ] {
        sandbox.write("build.lua", script(&format!("{options}{more}"), finish));
        let run = sandbox.rimg(["check", "build.lua"]);
        assert_ne!(run.code, Some(0), "{more}{finish}");
        run.expect_errors(&[error]);
    }
}

/// What a build asks for that changes something.
const POINTS: [&str; 5] = ["CreateVolume", "AttachVolume", "DetachVolume", "CreateSnapshot", "RegisterImage"];

#[test]
fn a_killed_build_leaves_nothing_after_gc() {
    let Some(mut world) = World::start() else { return };
    for action in POINTS {
        for after in [true, false] {
            world.aws.reset();
            world.aws.be_an_instance();
            world.sandbox = Sandbox::new();
            world.aws.rules(json!([{ "action": action, "do": "delay", "seconds": 60, "after": after }]));
            let live = world.start_build("", "vm:run 'true'\n  vm:finish()");
            world.aws.wait_for(action, after);
            live.signal(rustix::process::Signal::KILL);
            live.end(LONG);
            let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
            world.expect_nothing(&(action, after, &gc));
            world.expect_unmounted(&gc);
        }
    }
}

#[test]
fn a_build_killed_at_its_work_is_unmounted_by_gc() {
    let Some(world) = World::start() else { return };
    let mut live = world.start_build("", "vm:run 'echo at work; sleep 312'");
    live.wait_for("at work", LONG);
    live.signal(rustix::process::Signal::KILL);
    let killed = live.end(LONG);
    let there = world.disk.mounted();
    assert_eq!(there.len(), 1, "{killed:?}");
    let shown = Run::of(&mut world.command(&["gc", "--dry-run"])).expect_code(0);
    assert!(shown.stdout.contains("mount") && shown.stdout.contains("volume"), "{shown:?}");
    assert_eq!(world.disk.mounted(), there);
    let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
    world.expect_nothing(&gc);
    world.expect_unmounted(&gc);
    assert!(!there[0].exists() && !there[0].parent().unwrap().exists(), "{there:?}");
    assert!(!runs("sleep 312"));
    // What is this host's own is still there.
    assert!(Path::new("/dev/null").exists() && Path::new("/dev/pts").exists());
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let Some(world) = World::start() else { return };
    let mut live = world.start_build("", "vm:run 'echo at work; sleep 313'");
    live.wait_for("at work", LONG);
    live.interrupt();
    let run = live.end(LONG).expect_code(130);
    world.expect_nothing(&run);
    world.expect_unmounted(&run);
}

#[test]
fn a_failed_build_is_kept_when_that_is_asked_for() {
    let Some(world) = World::start() else { return };
    world.sandbox.write("build.lua", world.script("", "vm:run 'echo kept >/kept; exit 1'"));
    let run = Run::of(&mut world.command(&["run", "--on-error=keep", "build.lua"])).expect_code(1);
    let there = world.disk.mounted();
    assert_eq!(there.len(), 1, "{run:?}");
    assert!(run.stdout.contains(&format!("chroot {}", there[0].display())), "{run:?}");
    assert!(there[0].join("kept").exists() && there[0].join("proc/self").exists());
    let gc = Run::of(&mut world.command(&["gc"])).expect_code(0);
    assert_eq!(world.disk.mounted(), there, "{gc:?}");
    let gc = Run::of(&mut world.command(&["gc", "web"])).expect_code(0);
    world.expect_nothing(&gc);
    world.expect_unmounted(&gc);
}
