//! Amazon: images made of instances, and the calls that scripts make themselves.

mod access;
mod block_device;
pub mod calls;
mod client;
mod error;
mod filters;
mod http;
mod image_options;
mod key_pair;
mod made;
mod network;
mod profile;
mod role;
mod run_options;
mod source;
mod tags;
mod wait;

pub use access::AccessOptions;
pub use client::Client;

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
