//! What a run has made and has not removed yet, on disk before it is made: what finds it after a crash.
//!
//! A run has a folder `runs/<id>` below the state folder, with a file `journal` of JSON lines and a file `lock`. It holds the
//! lock for its life, so that whether it lives is asked of the kernel and of no process id. The folder goes when the run ends
//! and has left nothing.

pub mod collect;
pub mod collector;
mod entry;
mod run;
pub mod runs;
mod stores;
pub mod story;
#[cfg(test)]
mod tests;
mod unborn;
mod unfinished;
mod writer;

pub use entry::{Begin, Line, Trace};
pub use run::Journal;
