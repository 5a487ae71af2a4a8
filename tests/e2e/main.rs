//! The end-to-end tests: one binary, a file a topic, real peers.

// A test may fail as loudly as it likes.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod amazon;
mod artifact;
mod cache;
mod cli;
mod cloud_init;
mod communicator;
mod debian;
mod docs;
mod download;
mod download_cli;
mod download_hostile;
mod examples;
mod full_disk;
mod host;
mod host_keys;
mod hostile_ssh;
mod install;
mod interrupt;
mod kill;
mod load;
mod main_job;
mod media;
mod on_error;
mod operation_options;
mod provisioner;
mod qemu;
mod qemu_checkpoint;
mod qemu_hardware;
mod quickstart;
mod replay;
mod screen;
mod script_errors;
mod secrets;
mod ssh_connect;
mod ssh_login;
mod ssh_shell;
mod std;
mod support;
mod transfer;
mod typing;
mod vendor;
mod vm;
