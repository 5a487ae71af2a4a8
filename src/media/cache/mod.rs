//! The cache of downloads: each file under what it is, with a note that saves hashing it again.

mod hold;
mod index;
mod note;
mod slot;

pub use hold::hold;
pub use index::{Entry, clear_notes};
pub use note::{Note, Validator, digest_of, known_digest};
pub use slot::Slot;

pub use crate::host::downloads::FOLDER;
