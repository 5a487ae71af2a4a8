//! The HTTP server that an installer gets its answers from.

mod options;
mod server;

pub use options::HttpServerOptions;
pub use server::HttpServer;
