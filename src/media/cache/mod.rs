//! The cache of downloads: each file under what it is, with a note that saves hashing it again.

mod hold;
mod index;
mod note;
mod slot;

pub use hold::hold;
pub use index::{Entry, clear_notes, entries};
pub use note::{Note, Validator, digest_of, known_digest};
pub use slot::Slot;

/// The folder of downloads within the cache.
pub const FOLDER: &str = "downloads";
