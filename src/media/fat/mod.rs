//! A native writer of 1.44 MB floppy images: FAT12 with long names, as every installer reads them.
//!
//! The image is a function of its contents alone: all times are the same. Layout and entries are those of Microsoft's
//! "FAT: General Overview of On-Disk Format" (version 1.03).

mod entry;
mod image;
mod names;

#[cfg(test)]
mod tests;

pub use image::Floppy;
