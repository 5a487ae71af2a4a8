//! `boot_command`: what is typed into a machine that starts, and what is waited for in between.

pub(crate) mod grammar;
pub(crate) mod layout;
pub(crate) mod layouts;
mod names;
mod options;
mod run;
mod step;
pub(crate) mod strokes;
mod typist;

pub use options::BootOptions;
pub use run::run;
pub use step::StepTable;
pub use typist::{Pace, Typist, check};

#[cfg(test)]
mod tests;
