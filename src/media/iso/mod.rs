//! A native writer of ISO 9660 images with Joliet and Rock Ridge names: seeds, answer files, driver disks.
//!
//! The image is a function of its contents alone (all times are the same), so that equal contents give equal bytes.
//! One copy of the files is described by two folder trees: the primary one with short upper-case names and the real
//! ones in Rock Ridge entries (Linux, BSD), and the Joliet one in UCS-2 (Windows).

mod bytes;
mod descriptor;
mod joliet;
mod layout;
mod record;
mod rock_ridge;
mod short_name;
mod view;
mod volume;
mod write;

#[cfg(test)]
mod tests;

pub use super::medium::Content;
pub use volume::Volume;
