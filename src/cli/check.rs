//! `rimg check`: the whole script, no machine.

use super::args::CheckArgs;
use super::dispatch::Exit;
use super::output::Show;
use super::session;
use crate::engine::Mode;
use crate::error::Result;

/// Runs a script with machines that answer "done".
pub fn check(args: CheckArgs) -> Result<Exit> {
    let options = session::options(args.script, Mode::Check, args.output.debug);
    let (outcome, _) = session::run(options, &args.output, Show::Everything)?;
    Ok(outcome.into())
}
