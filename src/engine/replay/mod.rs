//! Replay: a rebuild runs only what changed. Knows no builder, no protocol, no Lua.

pub mod checkpoints;
pub mod content;
pub mod explain;
pub mod history;
pub mod kept;
pub mod key;
pub mod lanes;
pub mod lookup;
mod place;
pub mod plan;
pub mod policy;
pub mod record;
pub mod records;
pub mod run;
pub mod seal;
pub mod secret;
pub mod space;
pub mod usage;
