//! Amazon: images made of instances, and the calls that scripts make themselves.

mod access;
mod actions;
mod artifact;
mod artifact_copy;
mod block_device;
pub mod calls;
mod capture;
mod chroot;
mod client;
mod collector;
mod copy;
mod ebs;
mod error;
mod existing;
mod filters;
mod fleet;
mod http;
mod image_access;
mod image_options;
mod instance;
mod key_pair;
mod launch_template;
mod machine;
mod made;
mod network;
mod permissions;
mod presigned;
mod profile;
mod profiles;
mod regions;
mod register;
mod remembered;
mod retry;
mod role;
mod run_options;
mod session_manager;
mod source;
mod surrogate;
mod tags;
mod target;
mod wait;
mod watch;
mod windows_password;

pub use access::AccessOptions;
pub use chroot::{COLLECTOR as MOUNTS_COLLECTOR, ENTRY as CHROOT, Mounts};
pub use client::Client;
pub use collector::Amazon;
pub use ebs::{ENTRY as EBS, SURROGATE_ENTRY as SURROGATE};
pub use made::COLLECTOR;

use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result};

/// Says what is wrong with an option.
fn wrong(option: impl Into<String>, what: impl std::fmt::Display) -> Error {
    let option = option.into();
    Error::new(Kind::Option, format!("option `{option}`: {what}")).field("option", option)
}

/// Checks that a text is one of a few.
fn one_of(option: &str, found: Option<&str>, known: &[&'static str]) -> Result<()> {
    let Some(found) = found.filter(|found| !known.contains(found)) else { return Ok(()) };
    let error = wrong(option, format!("{found:?} is none of {}", known.join(", ")));
    Err(match did_you_mean(found, known) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}
