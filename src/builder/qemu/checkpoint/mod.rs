//! A machine's checkpoints: its memory as one compressed file, its disks as a layer that is written to no more, beside
//! them the small things that belong to the instant.

mod clock;
mod delay;
mod incoming;
mod layers;
mod memory;
mod migration;
mod reference;
mod resume;
mod save;
mod state;

pub use clock::Clock;
pub use incoming::Incoming;
pub use reference::Reference;
pub use resume::{floppy, resume};
pub use state::{KeptLogin, Medium, State};
