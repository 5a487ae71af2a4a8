//! Replay as scripts see it: several runs with one cache, on machines that are folders.

#![expect(dead_code, reason = "the tests of replay come with the door")]

mod cache;
mod deterministic;
mod world;
