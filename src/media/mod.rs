//! What a machine boots from.

pub mod cache;
pub mod checksum;
pub mod download;
pub mod http;
pub mod iso;
pub mod seed;
