//! The command line without any build: what it answers, and with which exit code.

use crate::support::rimg::Sandbox;

#[test]
fn runs_in_a_folder_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.write("sub/script.lua", "-- nothing");
    sandbox.rimg(["--version"]).expect_code(0);
    assert_eq!(sandbox.read("sub/script.lua"), "-- nothing");
}
