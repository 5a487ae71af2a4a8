//! `rimg.amazon.chroot{…}`: an image made on the instance that rimg itself runs on, in a volume that is mounted there.

mod as_root;
mod builder;
mod copied;
mod device;
mod here;
mod image;
mod machine;
mod mount_table;
mod mounts;
mod options;
pub mod volume;

pub use builder::ENTRY;
pub use mounts::{COLLECTOR, Mounts};
