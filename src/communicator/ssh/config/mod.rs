//! `~/.ssh/config`: what `ssh_config(5)` says about a host.

mod lookup;
mod pattern;
mod words;

pub(crate) use lookup::{Asked, Found, JumpHost, lookup};
pub(super) use pattern::{matches, matches_list};
