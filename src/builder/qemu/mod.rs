//! Machines that QEMU runs on this host, from a disk image or an installation medium.

pub mod accelerator;
mod arguments;
mod builder;
mod capture;
mod checkpoint;
mod cloud_init;
mod connect;
mod console;
mod disk;
mod disk_options;
mod display;
mod emulator;
mod firmware;
mod firmware_files;
mod hardware;
mod identity;
mod keyboard;
mod launch;
mod machine;
mod media;
mod network;
mod options;
mod places;
mod probe;
pub mod qmp;
mod screen;
mod source;
mod supervisor;
pub mod tail;
mod topology;
mod tpm;
mod version;

pub use builder::{QemuBuilder, boot_options, decode, field_names};
pub use firmware_files::code_for as efi_code_for;
pub use options::{Accelerator, QemuOptions};
