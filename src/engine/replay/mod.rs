//! Replay: a rebuild runs only what changed. Knows no builder, no protocol, no Lua.

pub mod content;
pub mod kept;
pub mod key;
pub mod record;
pub mod records;
pub mod secret;
