//! The native provisioners: functions over a [`Session`](crate::engine::Session), each one operation or a few.

pub mod attempt;
pub mod breakpoint;
pub mod download;
pub mod execute_command;
pub mod expect;
pub mod facts;
pub mod os_release;
pub mod output;
mod place;
pub mod power;
pub mod result;
pub mod run;
pub mod screenshot;
pub mod shell;
pub mod template;
pub mod typing;
pub mod upload;
pub mod wrap;
pub mod write;

#[cfg(test)]
pub mod testing;
