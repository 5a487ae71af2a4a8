//! Parse, run, exit code; nothing else.

use clap::Parser;

fn main() -> std::process::ExitCode {
    rimg::cli::dispatch(rimg::cli::Cli::parse())
}
