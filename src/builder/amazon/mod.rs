//! Amazon: images made of instances, and the calls that scripts make themselves.

mod access;
pub mod calls;
mod client;
mod error;
mod http;
mod role;

pub use access::AccessOptions;
pub use client::Client;
