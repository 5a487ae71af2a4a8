//! SSH: one connection that carries all of a machine's commands and files.

mod attempt;
mod auth;
mod channel;
mod files;
pub mod keys;
mod options;
mod session;
mod sftp;
mod target;
mod wait;

pub use keys::TemporaryKey;
pub use options::SshOptions;
pub use target::{Credentials, Target};
pub use wait::{connect, wait};
