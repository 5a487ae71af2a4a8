//! The password that Windows has made: waited for, decrypted, used, and never shown.

use super::{World, param};
use crate::support::aws::WINDOWS;
use crate::support::rimg::Run;
use crate::support::ssh_stub::{Asks, PASSWORD, Stub};
use crate::support::sshd::keygen;

/// A client of us-east-1, and how to compare without showing.
const CLIENT: &str = r#"local rimg = require "rimg"
local aws = rimg.amazon.client { region = "us-east-1", aws_polling = { delay_seconds = 0.05 } }
"#;

/// Launches an instance with a key pair of this public half, and returns its id.
fn launched(world: &World, public: &str) -> String {
    use base64::Engine;
    let public =
        base64::prelude::BASE64_STANDARD.encode(std::fs::read_to_string(world.sandbox.join(public)).unwrap().trim());
    world.aws.ask("us-east-1", "ImportKeyPair", &[("KeyName", "ours"), ("PublicKeyMaterial", &public)]);
    let image = [("ImageId", WINDOWS), ("InstanceType", "t3.large"), ("KeyName", "ours")];
    let answer =
        world.aws.ask("us-east-1", "RunInstances", &[&image[..], &[("MinCount", "1"), ("MaxCount", "1")]].concat());
    answer.split("<instanceId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned()
}

#[test]
fn a_password_is_waited_for_decrypted_and_masked() {
    let Some(world) = World::start() else { return };
    for (name, kind) in [("rsa", "rsa"), ("other", "rsa"), ("ed25519", "ed25519")] {
        keygen(&world.sandbox.join(name), &["-t", kind, "-N", ""]);
    }
    keygen(&world.sandbox.join("locked"), &["-t", "rsa", "-N", "sesame-open"]);
    let id = launched(&world, "rsa.pub");
    world.aws.password("Tr0ub4dor&3xyz", 3);
    let script = format!(
        r#"{CLIENT}
local password = aws:windows_password {{ instance_id = "{id}", private_key_file = "rsa" }}
assert(#password == 14 and rimg.hash.sha256(password) == "{}")
rimg.log.info("it is " .. password)
print(password)
assert(password == aws:windows_password("{id}", {{ private_key_file = "rsa" }}))
"#,
        sha256("Tr0ub4dor&3xyz")
    );
    world.sandbox.write("build.lua", script);
    let run = Run::of(&mut world.command(&["run", "build.lua", "--log-file", "log"])).expect_code(0);
    assert_eq!(world.aws.calls("GetPasswordData").len(), 5, "three that came too early");
    assert!(run.stdout.contains("it is ********"), "{run:?}");
    let shown = format!("{run:?}{}", world.sandbox.read("log"));
    assert!(!shown.contains("Tr0ub4dor"), "{shown}");

    let fails = |options: &str, said: &[&str]| {
        let run = world.run(&format!("{CLIENT} aws:windows_password(\"{id}\", {{ {options} }})")).expect_code(1);
        run.expect_errors(said);
    };
    fails(
        r#"private_key_file = "other""#,
        &["cannot decrypt the password", &id, "encrypted for another key than", "other"],
    );
    let asked = world.aws.calls("GetPasswordData").len();
    fails(r#"private_key_file = "ed25519""#, &["ed25519", "AWS encrypts passwords for RSA keys alone"]);
    fails(r#"private_key_file = "locked""#, &["locked with a passphrase", "`private_key_passphrase`"]);
    fails(r#"private_key_file = "nowhere""#, &["option `private_key_file`: cannot read", "nowhere"]);
    assert_eq!(world.aws.calls("GetPasswordData").len(), asked, "AWS is not asked in vain");
    world.aws.password("", 0);
    fails(
        r#"private_key_file = "rsa", timeout = 0.3"#,
        &["the password of", &id, "is still not there", "300ms", "only an instance of Windows"],
    );
    world
        .run(&format!("{CLIENT} aws:windows_password(\"{id}\")"))
        .expect_code(2)
        .expect_errors(&["option `private_key_file`: is required"]);
}

fn sha256(text: &str) -> String {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_logs_in_with_the_password_of_windows() {
    let Some(world) = World::start() else { return };
    let stub = Stub::start(Asks::Password).await;
    world.aws.password(PASSWORD, 2);
    let options = format!(
        r#"source_ami = "{WINDOWS}", ssh_username = "Administrator", ssh_port = {}, windows_password = true, skip_create_ami = true"#,
        stub.port
    );
    let world = tokio::task::spawn_blocking(move || {
        let run = world.build(&options, "vm:run 'ver'\n  vm:finish()").expect_code(0);
        assert!(!format!("{run:?}").contains(PASSWORD), "{run:?}");
        world.expect_nothing(&run);
        world
    });
    let world = world.await.unwrap();
    assert_eq!(world.aws.calls("GetPasswordData").len(), 3);
    use base64::Engine;
    let public = param(&world.aws.calls("ImportKeyPair")[0], "PublicKeyMaterial").to_owned();
    let public = base64::prelude::BASE64_STANDARD.decode(public).unwrap();
    assert!(public.starts_with(b"ssh-rsa "), "AWS encrypts for RSA keys alone");
}

#[test]
fn a_password_that_does_not_come_fails_the_build_in_time() {
    let Some(world) = World::start() else { return };
    let options = r#"windows_password = true, windows_password_timeout = "300ms""#;
    let run = world.build(options, "vm:finish()").expect_code(1);
    world.expect_nothing(&run.expect_errors(&["the password of i-", "is still not there", "300ms"]));
}

#[test]
fn options_of_the_password_that_cannot_work_are_refused() {
    let Some(world) = World::start() else { return };
    for (options, said) in [
        (
            r#"windows_password = true, temporary_key_pair_type = "ed25519""#,
            "option `temporary_key_pair_type`: is \"rsa\"",
        ),
        (r#"windows_password = true, ssh_password = "x""#, "`ssh_password` gives another"),
        (r#"windows_password = true, ssh_agent_auth = true"#, "an agent decrypts nothing"),
        (r#"windows_password_timeout = "5m""#, "is the limit of `windows_password = true`"),
    ] {
        world.build(options, "vm:finish()").expect_code(2).expect_errors(&[said]);
    }
    let key = world.aws.sshd().user_key();
    let own = format!(r#"windows_password = true, ssh_private_key_file = "{}""#, key.display());
    world.build(&own, "vm:finish()").expect_code(2).expect_errors(&["option `ssh_keypair_name`: is required"]);
    let own = format!(r#"{own}, ssh_keypair_name = "ours""#);
    world.build(&own, "vm:finish()").expect_code(1).expect_errors(&["AWS encrypts passwords for RSA keys alone"]);
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}
