//! Replay: a rebuild runs only what changed. Knows no builder, no protocol, no Lua.

pub mod content;
