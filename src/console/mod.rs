//! What is done at a machine's console: typing, and reading what it shows.

pub mod boot_command;
pub mod expect;
pub mod screen;

pub use boot_command::BootOptions;
