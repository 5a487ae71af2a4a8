//! `boot_command`: what is typed into a machine that starts, and what is waited for in between.

mod options;
mod run;

pub use options::BootOptions;
pub use run::run;
