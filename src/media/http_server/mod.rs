//! The HTTP server that an installer gets its answers from.

mod answer;
mod body;
mod content_type;
mod files;
mod listing;
mod options;
pub mod range;
pub mod request;
mod server;
mod site;

#[cfg(test)]
mod tests;

pub use options::HttpServerOptions;
pub use server::HttpServer;
