//! What the end-to-end tests share; a file a subject.

pub mod aws;
pub mod build;
pub mod cloud;
pub mod http;
pub mod image;
pub mod installer;
pub mod library;
pub mod place;
pub mod proxy;
pub mod rimg;
pub mod s3;
pub mod ssh_proxy;
pub mod ssh_stub;
pub mod sshd;
pub mod terminal;
