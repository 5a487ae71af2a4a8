//! Objects in Amazon S3 and what speaks its protocol, by signed URLs.

pub(crate) mod credentials;
mod object;

pub use object::{Object, reason};
