//! This host: processes in groups of their own, private folders, files that appear whole and files that are found.

pub mod atomic;
pub mod blocking;
pub mod census;
pub mod copy;
pub mod digest;
pub mod dirs;
pub mod disk;
pub mod downloads;
pub mod glob;
pub mod lock;
pub mod owner;
pub mod process;
pub mod qemu_img;
pub mod sparse;
pub mod terminal;
