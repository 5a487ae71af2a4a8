//! What the end-to-end tests share; a file a subject.

pub mod rimg;
