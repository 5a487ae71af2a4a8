//! S3 as moto plays it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::library::skip;

/// The server; it ends with the value.
pub struct S3 {
    child: Child,
    endpoint: String,
    _dir: tempfile::TempDir,
}

impl S3 {
    /// Starts it, where it is installed.
    pub async fn start() -> Option<S3> {
        let Some(program) = program() else {
            skip("moto_server is not installed (tests/setup/tools does)");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server starts");
        let s3 = S3 { child, endpoint: format!("http://127.0.0.1:{port}"), _dir: dir };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(s3);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("moto_server does not answer");
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns what a client has to know.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    /// Makes a bucket, if there is none, and an object in it.
    pub async fn put(&self, bucket: &str, key: &str, body: impl Into<Vec<u8>>) {
        let client = rimg::media::http::client().expect("a client");
        let url = |path: &str| reqwest::Url::parse(&self.endpoint).expect("a URL").join(path).expect("a URL");
        let made = client.put(url(bucket)).send().await.expect("an answer");
        assert!(made.status().is_success() || made.status().as_u16() == 409, "{made:?}");
        let put = client.put(url(&format!("{bucket}/{key}"))).body(body.into()).send().await.expect("an answer");
        assert!(put.status().is_success(), "{put:?}");
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/moto/bin/moto_server");
    if own.exists() { Some(own) } else { rimg::host::process::which("moto_server") }
}
