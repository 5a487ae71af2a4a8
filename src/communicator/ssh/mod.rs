//! SSH: one connection that carries all of a machine's commands and files.

mod attempt;
mod auth;
mod channel;
mod content;
mod download;
pub mod keys;
mod method;
mod options;
pub(crate) mod scp;
mod session;
mod sftp;
mod sftp_tree;
mod target;
mod upload;
mod wait;

pub use keys::TemporaryKey;
pub use method::FileTransferMethod;
pub use options::SshOptions;
pub use target::{Credentials, Target};
pub use wait::{connect, wait};
