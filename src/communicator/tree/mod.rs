//! Folders as tar streams: packed here, unpacked here without trusting the other side.

mod pack;
mod survey;
pub(crate) mod unpack;

pub use pack::{Packing, pack};
pub use survey::{Survey, survey};
pub use unpack::{Received, copy_with_holes, place, unpack};
