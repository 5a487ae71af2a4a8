//! Where credentials come from: each place that the SDK knows, played by files and by a small server on loopback.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::World;
use crate::support::rimg::Run;

/// A server that answers paths with texts, and remembers what it was asked. It ends with the tests.
struct Answers {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Answers {
    fn start(answers: &[(&str, &str)]) -> Answers {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: BTreeMap<String, String> =
            answers.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = request.split(' ').nth(1).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default();
                let (status, body) = match answers.get(path) {
                    Some(body) => ("200 OK", body.as_str()),
                    None => ("404 Not Found", ""),
                };
                shared.lock().unwrap().push(format!("{request}\n{}", head.join("\n")));
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\
                     x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Answers { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap().join("\n\n")
    }
}

/// Returns the command of a script that asks who it is, without credentials in its environment, and with a home of its own.
fn who(world: &World, options: &str) -> Command {
    let script =
        format!("local rimg = require 'rimg'\nprint(rimg.amazon.client {{ {options} }}:caller_identity().arn)\n");
    world.sandbox.write("build.lua", script);
    let mut command = world.command(&["run", "build.lua"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE"] {
        command.env_remove(name);
    }
    command.env("HOME", world.sandbox.path());
    command
}

/// Returns the access key that asked who it is.
fn key(world: &World) -> String {
    let calls = world.aws.calls("GetCallerIdentity");
    calls.last().unwrap_or_else(|| panic!("{:?}", world.aws.actions()))["by"].as_str().unwrap().to_owned()
}

/// Returns credentials as the metadata services have them.
fn credentials(key: &str) -> String {
    json!({ "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t",
        "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z" })
    .to_string()
}

#[test]
fn a_profile_that_is_not_there_is_named_with_the_files() {
    let Some(world) = World::start() else { return };
    let config = world.sandbox.write(".aws/config", "[profile build]\nregion = eu-west-1\n[profile prod]\n");
    let run = Run::of(&mut who(&world, r#"profile = "biuld""#)).expect_code(2);
    let credentials = world.sandbox.join(".aws/credentials");
    run.expect_errors(&[
        &format!("option `profile`: there is no profile \"biuld\" in {}", config.display()),
        &format!("{} (which is not there)", credentials.display()),
        "did you mean `build`?",
    ]);
    // Nor is another one taken for it.
    world.sandbox.write("keys", "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = x\n");
    let options =
        format!(r#"profile = "staging", shared_credentials_file = "{}""#, world.sandbox.join("keys").display());
    let run = Run::of(who(&world, &options).env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "x"));
    run.expect_code(2).expect_errors(&["no profile \"staging\"", "keys", "there are: build, default, prod"]);
    // The SDK would look elsewhere, and find nothing.
    let run = Run::of(who(&world, "").env("AWS_PROFILE", "staging")).expect_code(2);
    run.expect_errors(&["AWS_PROFILE: there is no profile \"staging\""]);
    assert_eq!(world.aws.actions(), [] as [&str; 0]);
}

#[test]
fn a_profile_that_is_named_counts_more_than_the_environment() {
    let Some(world) = World::start() else { return };
    world.sandbox.write(".aws/credentials", "[build]\naws_access_key_id = AKIDBUILD\naws_secret_access_key = x\n");
    Run::of(who(&world, r#"profile = "build""#).env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "x"))
        .expect_code(0);
    assert_eq!(key(&world), "AKIDBUILD");
    // One that the environment names does not.
    let mut command = who(&world, "");
    command.env("AWS_PROFILE", "build").env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "x");
    Run::of(&mut command).expect_code(0);
    assert_eq!(key(&world), "AKIDTEST");
}

#[test]
fn a_code_of_a_device_is_used_once_for_all_regions_and_services() {
    let Some(world) = World::start() else { return };
    let again = |action: &str| {
        json!({ "action": action, "where": { "TokenCode": "123456" }, "skip": 1, "times": 99, "do": "error", "status": 403,
            "code": "AccessDenied", "message": "MultiFactorAuthentication failed with invalid MFA one time pass code." })
    };
    world.aws.rules(json!([again("AssumeRole"), again("GetSessionToken")]));
    let mfa = r#"mfa_code = "123456", mfa_serial = "arn:aws:iam::123456789012:mfa/me""#;
    let options = format!(
        r#"assume_role = {{ role_arn = "arn:aws:iam::123456789012:role/builder" }}, {mfa},
      ami_regions = {{ "eu-west-1", "eu-central-1" }},
      temporary_iam_instance_profile_policy_document = {{ Statement = {{ {{ Effect = "Allow", Action = "s3:*", Resource = "*" }} }} }}"#
    );
    let run = world.build(&options, "vm:run 'true'\n  vm:finish()").expect_code(0);
    world.expect_images(&["eu-central-1 web-1", "eu-west-1 web-1", "us-east-1 web-1"], &run);
    let taken = world.aws.calls("AssumeRole");
    assert_eq!(taken.len(), 1, "{taken:?}");
    let calls = world.aws.calls("*");
    let mut services: Vec<_> = calls.iter().filter_map(|call| call["service"].as_str()).collect();
    services.sort_unstable();
    services.dedup();
    assert_eq!(services, ["ec2", "iam", "sts"]);
    let by: Vec<_> = calls.iter().filter(|call| call["service"] != "sts").map(|call| &call["by"]).collect();
    assert!(by.iter().all(|key| *key == by[0] && **key != "AKIDTEST"), "{by:?}");

    // A session without a role, too; and the second script is told what is wrong with its code.
    let mut command = who(&world, mfa);
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "x");
    Run::of(&mut command).expect_code(0);
    assert_eq!(world.aws.calls("GetSessionToken").len(), 1);
    let run = Run::of(&mut command).expect_code(2);
    run.expect_errors(&["cannot begin a session with mfa_code", "invalid MFA one time pass code"]);
}

#[test]
fn the_role_of_an_instance_is_taken_from_its_metadata() {
    let Some(world) = World::start() else { return };
    let role = "/latest/meta-data/iam/security-credentials/";
    let of_role = format!("{role}builder");
    let metadata = Answers::start(&[
        ("/latest/api/token", "session-token"),
        (role, "builder"),
        (&of_role, &credentials("ASIAINSTANCE")),
        ("/latest/meta-data/placement/region", "eu-west-1"),
    ]);
    let instance = |options: &str| {
        let mut command = who(&world, options);
        command.env_remove("AWS_EC2_METADATA_DISABLED").env_remove("AWS_REGION");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url("/"));
        Run::of(&mut command)
    };
    instance("").expect_code(0);
    assert_eq!(key(&world), "ASIAINSTANCE");
    let calls = world.aws.calls("GetCallerIdentity");
    assert_eq!(calls[0]["region"], "eu-west-1");
    // By version 2 of the service alone.
    let asked = metadata.asked();
    assert!(asked.starts_with("PUT /latest/api/token"), "{asked}");
    for request in asked.split("\n\n").filter(|request| request.starts_with("GET")) {
        assert!(request.to_lowercase().contains("x-aws-ec2-metadata-token: session-token"), "{request}");
    }
    metadata.asked.lock().unwrap().clear();
    let run = instance(r#"region = "us-east-1", skip_metadata_api_check = true"#).expect_code(2);
    run.expect_errors(&["no credentials for AWS"]);
    assert_eq!(metadata.asked(), "");
}

#[test]
fn the_role_of_a_container_is_taken_from_its_agent() {
    let Some(world) = World::start() else { return };
    let agent = Answers::start(&[("/creds", &credentials("ASIACONTAINER"))]);
    let mut command = who(&world, "");
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url("/creds"));
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc");
    Run::of(&mut command).expect_code(0);
    assert_eq!(key(&world), "ASIACONTAINER");
    assert!(agent.asked().to_lowercase().contains("authorization: basic abc"), "{}", agent.asked());
}

#[test]
fn a_web_identity_takes_its_role() {
    let Some(world) = World::start() else { return };
    let token = world.sandbox.write("token", "a.web.token");
    let mut command = who(&world, "");
    command.env("AWS_WEB_IDENTITY_TOKEN_FILE", token).env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci");
    Run::of(&mut command).expect_code(0);
    let taken = world.aws.calls("AssumeRoleWithWebIdentity");
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0]["params"]["WebIdentityToken"], "a.web.token");
    assert_eq!(taken[0]["params"]["RoleArn"], "arn:aws:iam::123456789012:role/ci");
    assert!(key(&world).starts_with("ASIA"), "{}", key(&world));
}

#[test]
fn a_process_gives_credentials_and_its_failure_is_said() {
    let Some(world) = World::start() else { return };
    let answer = json!({ "Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "s" });
    let helper = world.sandbox.write("helper", format!("#!/bin/sh\necho '{answer}'\n"));
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.sandbox.write(".aws/config", format!("[profile p]\ncredential_process = {}\n", helper.display()));
    Run::of(&mut who(&world, r#"profile = "p""#)).expect_code(0);
    assert_eq!(key(&world), "AKIDPROCESS");
    world.sandbox.write("helper", "#!/bin/sh\necho 'the vault is sealed' >&2\nexit 3\n");
    let run = Run::of(&mut who(&world, r#"profile = "p""#)).expect_code(2);
    run.expect_errors(&["no credentials for AWS", "the vault is sealed"]);
}

#[test]
fn a_session_of_sso_gives_credentials_and_one_that_is_over_says_so() {
    let Some(world) = World::start() else { return };
    let given = json!({ "roleCredentials": { "accessKeyId": "ASIASSO", "secretAccessKey": "s", "sessionToken": "t",
        "expiration": 4_070_908_800_000_i64 } });
    let portal = Answers::start(&[("/federation/credentials", &given.to_string())]);
    world.sandbox.write(
        ".aws/config",
        "[profile s]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = builder\n\
         [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n",
    );
    let cached = |until: &str| {
        let token = json!({ "accessToken": "sso-token", "expiresAt": until, "region": "us-east-1",
            "startUrl": "https://corp.awsapps.com/start" });
        let name: String = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, b"corp")
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        world.sandbox.write(format!(".aws/sso/cache/{name}.json"), token.to_string());
        let mut command = who(&world, r#"profile = "s", region = "us-east-1""#);
        command.env("AWS_ENDPOINT_URL_SSO", portal.url(""));
        Run::of(&mut command)
    };
    cached("2099-01-01T00:00:00Z").expect_code(0);
    assert_eq!(key(&world), "ASIASSO");
    assert!(portal.asked().contains("sso-token"), "{}", portal.asked());
    cached("2020-01-01T00:00:00Z").expect_code(2).expect_errors(&["no credentials for AWS", "aws sso login"]);
}
