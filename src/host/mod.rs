//! This host: processes in groups of their own, private folders, files that appear whole.

pub mod atomic;
pub mod blocking;
pub mod digest;
pub mod dirs;
pub mod process;
pub mod qemu_img;
