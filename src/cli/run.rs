//! `rimg run`: does what the script says.

use super::args::RunArgs;
use super::dispatch::Exit;
use super::output::Show;
use super::session;
use crate::engine::Mode;
use crate::engine::replay::run::Choices;
use crate::error::Result;
use crate::script::RunOptions;

/// Runs a script.
pub fn run(args: RunArgs) -> Result<Exit> {
    let options = RunOptions {
        parallel: args.parallel.filter(|limit| *limit > 0),
        force: args.force,
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
