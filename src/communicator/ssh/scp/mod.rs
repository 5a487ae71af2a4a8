//! The protocol of rcp and the old scp, for servers that have nothing else.

mod link;
pub(crate) mod message;
mod receive;
mod send;
