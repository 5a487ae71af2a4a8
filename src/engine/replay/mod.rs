//! Replay: a rebuild runs only what changed. Knows no builder, no protocol, no Lua.

pub mod checkpoints;
pub mod content;
pub mod kept;
pub mod key;
mod place;
pub mod record;
pub mod records;
pub mod seal;
pub mod secret;
pub mod space;
pub mod usage;
