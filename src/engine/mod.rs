//! The contracts every builder, communicator and provisioner is written against. Knows no builder, no protocol, no Lua.

pub mod access;
pub mod artifact;
pub mod checkpoint;
pub mod communicator;
pub mod console;
pub mod cx;
mod door;
pub mod journal;
mod limits;
pub mod machine;
pub mod machines;
pub mod needs;
pub mod on_error;
pub mod operation;
pub mod operation_options;
pub mod options;
pub mod picture;
pub mod placeholders;
pub mod post_processing;
pub mod quote;
pub mod replay;
pub mod resource;
mod saving;
pub mod schedule;
pub mod scope;
pub mod session;
pub mod shown;
pub mod template;
#[cfg(test)]
pub mod testing;
mod waking;

pub use access::Access;
pub use artifact::{Artifact, Digest};
pub use checkpoint::{Checkpoint, Checkpoints, Saved, Saving};
pub use communicator::{Command, Communicator, ExitStatus, FileMeta, Line, OutputSink, Sink, Source};
pub use console::{Console, Key, KeyEvent, ScreenText};
pub use cx::{BuildCx, Mode, Settings};
pub use machine::{Builder, CaptureSpec, Health, Machine};
pub use machines::Machines;
pub use needs::Needs;
pub use operation::{Answer, Operation};
pub use operation_options::{OperationOptions, Outcome};
pub use options::{Bytes, OptionError, Seconds, Value};
pub use resource::{Resource, ResourceId, Resources};
pub use scope::Scope;
pub use session::Session;
