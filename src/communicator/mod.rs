//! How commands and files reach a machine.

/// Programs of this host.
mod child;
/// A folder of this host as a machine's root.
pub mod chroot;
/// How long output is waited for when the command itself has ended.
pub mod linger;
/// This host as a machine.
pub mod local;
/// A bounded pipe between async code and blocking readers and writers.
pub mod pipe;
/// Shell programs for the other end of a transfer.
pub mod scripts;
/// Holes in files.
/// SSH.
pub mod ssh;
/// Folders as tar streams.
pub mod tree;
