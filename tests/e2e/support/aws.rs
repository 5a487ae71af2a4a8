//! AWS as moto plays it, with what moto lacks, the slowness that it has not, and faults on order (see `aws/server.py`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rimg::host::process::which;
use serde_json::{Value, json};

use super::library::skip;
use super::sshd::Sshd;

/// An image that every region has, the newest `debian-12-*` of Debian's account.
pub const SOURCE: &str = "ami-0debian120002bbbb";
/// The same, of Windows.
pub const WINDOWS: &str = "ami-0windows22001cccc";
/// Debian's account.
pub const DEBIAN: &str = "136693071363";
/// The account that everybody has here.
pub const ACCOUNT: &str = "123456789012";

/// The cloud; it ends with the value.
pub struct Aws {
    child: Child,
    port: u16,
    /// Where every machine of this cloud is reached, with the key it was launched with.
    sshd: Option<Sshd>,
}

impl Aws {
    /// Starts it, where moto is installed.
    pub fn start() -> Option<Aws> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Some(python) = python(root) else {
            skip("moto is not installed (tests/setup/tools does)");
            return None;
        };
        let mut child = Command::new(python)
            .arg(root.join("tests/e2e/support/aws/server.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the server said {line:?}"));
        Some(Aws { child, port, sshd: None })
    }

    /// Starts it with an SSH server that lets in the keys of the machines that run.
    pub fn start_with_sshd() -> Option<Aws> {
        Aws::start_with("ed25519", "")
    }

    /// The same, with an SSH server that a client of 2020 can talk to.
    pub fn start_with_old_ssh() -> Option<Aws> {
        Aws::start_with("rsa", "HostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n")
    }

    fn start_with(host_key: &str, extra: &str) -> Option<Aws> {
        let mut aws = Aws::start()?;
        let Some(curl) = which("curl") else {
            skip("curl is not installed");
            return None;
        };
        let keys = format!("AuthorizedKeysCommand {} -sf {}/rimg/keys", curl.display(), aws.url());
        let extra = format!("{extra}{keys}\nAuthorizedKeysCommandUser {}", me());
        aws.sshd = Some(Sshd::start_with(&["-t", host_key], &extra)?);
        Some(aws)
    }

    /// Returns the Python that its server runs in.
    pub fn python() -> Option<PathBuf> {
        python(Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    pub fn sshd(&self) -> &Sshd {
        self.sshd.as_ref().expect("started with an SSH server")
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Points a command's SDK here, and nowhere else.
    pub fn env(&self, command: &mut Command) {
        for name in ["AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_CONFIG_FILE"] {
            command.env_remove(name);
        }
        command
            .env("AWS_ENDPOINT_URL", self.url())
            .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }

    /// Returns the calls of an action so far, with `service`, `region`, `params`, `token` and `status`; all of `*`.
    pub fn calls(&self, action: &str) -> Vec<Value> {
        let mut calls = self.list("calls");
        calls.retain(|call| action == "*" || call["action"] == action);
        calls
    }

    /// Returns the actions called, in their order.
    pub fn actions(&self) -> Vec<String> {
        self.list("calls").iter().map(|call| call["action"].as_str().expect("a name").to_owned()).collect()
    }

    /// Orders faults: a list of `{action, region, where, times, skip, do, …}`, see `aws/faults.py`.
    pub fn rules(&self, rules: Value) {
        self.post("rules", &rules.to_string());
    }

    /// Forgets all that was made, called and ordered.
    pub fn reset(&self) {
        self.post("reset", "");
    }

    /// Makes states take as many questions as told: `{images, snapshots, instances}`; `fail = {region: why}` lets images fail.
    pub fn slow(&self, polls: Value) {
        self.post("slow", &polls.to_string());
    }

    /// Ends an instance as AWS does; `state` is `terminated` or `stopped`.
    pub fn end_instance(&self, id: &str, state: &str, code: &str, message: &str) {
        let told = json!({ "instance_id": id, "state": state, "code": code, "message": message });
        self.post("end", &told.to_string());
    }

    /// Starts an instance, and has the metadata service say that it is this host.
    pub fn be_an_instance(&self) {
        let tags = [
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "test:keep"),
            ("TagSpecification.1.Tag.1.Value", ""),
        ];
        let own = [("ImageId", SOURCE), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let answer = self.ask("us-east-1", "RunInstances", &[&own[..], &tags].concat());
        let text = |name: &str| {
            let rest = answer.split_once(&format!("<{name}>")).expect("an element").1;
            rest.split_once('<').expect("its end").0.to_owned()
        };
        let here = json!({ "instanceId": text("instanceId"), "availabilityZone": text("availabilityZone"),
            "region": "us-east-1", "architecture": "x86_64", "accountId": ACCOUNT });
        self.post("here", &here.to_string());
    }

    /// Points a command's SDK to the metadata service, too.
    pub fn env_on_instance(&self, command: &mut Command) {
        self.env(command);
        command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.url());
    }

    /// Sets what machines have written on their consoles.
    pub fn console(&self, text: &str) {
        self.post("console", text);
    }

    /// Sets the password that Windows machines have made; the first questions for it come too early.
    pub fn password(&self, password: &str, too_early: u32) {
        self.post("password", &json!({ "password": password, "boots": too_early }).to_string());
    }

    /// Returns what builds have left in all regions: images and snapshots that rimg tagged, too; a line a thing.
    /// What carries the tag `test:keep` is the test's own.
    pub fn left(&self) -> Vec<String> {
        self.list("left").iter().map(|line| line.as_str().expect("a line").to_owned()).collect()
    }

    /// Returns what is left apart from images and their snapshots.
    pub fn left_but_images(&self) -> Vec<String> {
        let mut left = self.left();
        left.retain(|line| !line.contains(" image ") && !line.contains(" snapshot "));
        left
    }

    /// Asks EC2 as somebody with credentials of his own would, and returns the XML it answers; a failure fails the test.
    #[track_caller]
    pub fn ask(&self, region: &str, action: &str, params: &[(&str, &str)]) -> String {
        let mut form = reqwest::Url::parse("form:").expect("a URL");
        form.query_pairs_mut().append_pair("Action", action).append_pair("Version", "2016-11-15").extend_pairs(params);
        let scope = format!("AKIDOTHER/20260101/{region}/ec2/aws4_request");
        let headers = format!(
            "Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n"
        );
        let (status, answer) = self.http("POST", "/", &headers, form.query().expect("a query"));
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    /// Waits until an action was called; with `done`, until it is carried out, too.
    #[track_caller]
    pub fn wait_for(&self, action: &str, done: bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.calls(action).iter().any(|call| !done || !call["status"].is_null()) {
            assert!(Instant::now() < deadline, "nobody called {action}: {:?}", self.actions());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn list(&self, name: &str) -> Vec<Value> {
        let (status, answer) = self.http("GET", &format!("/rimg/{name}"), "", "");
        assert_eq!(status, 200, "{name}: {answer}");
        serde_json::from_str(&answer).expect("a list")
    }

    fn post(&self, name: &str, body: &str) {
        let (status, answer) = self.http("POST", &format!("/rimg/{name}"), "", body);
        assert_eq!(status, 200, "{name}: {answer}");
    }

    /// Asks once; the server hangs up behind its answer.
    fn http(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(root: &Path) -> Option<PathBuf> {
    let own = root.join("target/tools/moto/bin/python");
    own.exists().then_some(own)
}

/// Returns who runs the tests: sshd asks for keys as somebody.
fn me() -> String {
    let user = Command::new("id").arg("-un").output().expect("id").stdout;
    String::from_utf8_lossy(&user).trim().to_owned()
}
