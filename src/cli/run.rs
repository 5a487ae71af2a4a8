//! `rimg run`: does what the script says.

use super::args::{OnErrorArg, RunArgs};
use super::dispatch::Exit;
use super::output::Show;
use super::session;
use crate::engine::Mode;
use crate::engine::on_error::OnError;
use crate::engine::replay::run::Choices;
use crate::error::{Error, Kind, Result};
use crate::script::RunOptions;
use crate::ui::prompt;

/// Runs a script.
pub fn run(args: RunArgs) -> Result<Exit> {
    let options = RunOptions {
        parallel: args.parallel.filter(|limit| *limit > 0),
        force: args.force,
        on_error: match args.on_error {
            OnErrorArg::Cleanup => OnError::Cleanup,
            OnErrorArg::Ask if !prompt::is_possible() => {
                return Err(Error::new(Kind::Usage, "--on-error=ask: there is no terminal to ask on")
                    .hint("run it in a terminal, or leave it out"));
            }
            OnErrorArg::Ask => OnError::Ask,
            OnErrorArg::Keep => OnError::Keep,
            OnErrorArg::Abort => OnError::Abort,
        },
        fail_fast: args.fail_fast,
        timeout: args.timeout.map(|limit| limit.0).filter(|limit| !limit.is_zero()),
        replay: (!args.replay.no_cache).then_some(Choices {
            fresh: args.replay.fresh,
            from: args.replay.from.filter(|name| !name.is_empty()),
            explain: args.replay.explain,
        }),
        cache_size: args.replay.cache_size.map(|size| size.0),
        ..session::options(args.script, Mode::Live, args.output.debug)
    };
    let (outcome, _) = session::run(options, &args.output, Show::Everything)?;
    Ok(outcome.into())
}
