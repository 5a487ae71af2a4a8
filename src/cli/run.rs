//! `rimg run`: does what the script says.

use super::args::RunArgs;
use super::dispatch::Exit;
use super::output::Show;
use super::session;
use crate::engine::Mode;
use crate::error::Result;
use crate::script::RunOptions;

/// Runs a script.
pub fn run(args: RunArgs) -> Result<Exit> {
    let options = RunOptions {
        parallel: args.parallel.filter(|limit| *limit > 0),
        force: args.force,
        ..session::options(args.script, Mode::Live, args.output.debug)
    };
    let (outcome, _) = session::run(options, &args.output, Show::Everything)?;
    Ok(outcome.into())
}
