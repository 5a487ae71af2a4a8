//! What a machine boots from.

pub mod cache;
pub mod cd;
pub mod checksum;
pub mod download;
pub mod fat;
pub mod floppy;
pub mod http;
pub mod http_server;
pub mod inline;
pub mod installer;
pub mod iso;
pub mod medium;
pub mod s3;
pub mod seed;

#[cfg(test)]
mod testing;

pub use cd::CdOptions;
pub use floppy::FloppyOptions;
pub use http_server::{HttpServer, HttpServerOptions};
pub use installer::IsoOptions;
