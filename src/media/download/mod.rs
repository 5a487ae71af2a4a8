//! Downloads: streamed to the cache, hashed on the way, kept only if they are what they should be.

pub(crate) mod content_range;
mod expected;
mod part;
mod place;
mod receive;
mod remote;
mod to_cache;
mod wanted;

pub use wanted::{Wanted, fetch};
