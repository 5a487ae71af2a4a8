//! An independent client finds the tests' AWS to be one: else the other tests would only show that rimg agrees with itself.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::aws::Aws;
use crate::support::library::has;

#[test]
fn packer_builds_copies_and_cleans_up() {
    if !has("packer") {
        return;
    }
    let Some(aws) = Aws::start_with_old_ssh() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    // By its name it would be taken for the newer form.
    let template = folder.path().join("amazon.json");
    std::fs::copy(root.join("tests/bench/amazon.pkr.json"), &template).unwrap();
    let mut packer = Command::new("packer");
    aws.env(&mut packer);
    packer.env("CHECKPOINT_DISABLE", "1").env("HOME", folder.path()).env("TMPDIR", folder.path());
    packer.args([
        "build",
        "-var",
        &format!("endpoint={}", aws.url()),
        "-var",
        &format!("ssh_port={}", aws.sshd().port),
    ]);
    let output = packer.arg(&template).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), aws.sshd().log());
    for region in ["us-east-1", "eu-west-1", "eu-central-1"] {
        assert!(said.contains(&format!("{region}: ami-")), "{said}");
    }
    let failed: Vec<Value> = aws.calls("*").into_iter().filter(|call| call["status"] != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    // Packer's images do not carry rimg's tags.
    assert_eq!(aws.left(), [] as [&str; 0]);
}
