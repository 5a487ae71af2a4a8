//! `rimg completions`: what a shell needs to complete rimg's command line.

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::dispatch::Exit;
use super::out;
use crate::error::Result;

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rimg", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
