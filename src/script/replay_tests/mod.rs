//! Replay as scripts see it: several runs with one cache, on machines that are folders.

mod cache;
mod deterministic;
mod random;
mod world;
