//! From a parsed command line to an exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

#[cfg(feature = "amazon")]
use super::amazon;
use super::args::{Cli, Command};
use super::{cache, check, completions, doctor, download, gc, init, inspect, ps, run, ssh, types, vendor};
use crate::error::{Error, Kind};
use crate::script::Outcome;
use crate::ui::error_text;
use crate::ui::style::Style;

/// What a subcommand ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A build failed, or a command could not do what it was asked for.
    Failed = 1,
    /// Usage or script error before anything ran.
    Usage = 2,
    /// 128 + SIGINT, as shells have it.
    Cancelled = 130,
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Exit {
        match outcome {
            Outcome::Done => Exit::Done,
            Outcome::Failed | Outcome::Aborted => Exit::Failed,
            Outcome::ScriptError => Exit::Usage,
            Outcome::Cancelled => Exit::Cancelled,
        }
    }
}

/// Runs a subcommand; an error that it returns is rendered here, once.
pub fn dispatch(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Init(args) => init::init(&args),
        Command::Download(args) => download::download(args),
        Command::Ps(args) => ps::ps(&args),
        Command::Gc(args) => gc::gc(args),
        Command::Cache(args) => cache::cache(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Vendor(args) => vendor::vendor(args),
        #[cfg(feature = "amazon")]
        Command::Amazon(args) => amazon::amazon(args),
        Command::Types(args) => types::types(&args),
        Command::Ssh(args) => match ssh::ssh(args) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Command::Completions(args) => completions::completions(&args),
    };
    let exit = result.unwrap_or_else(|error| {
        complain(&error);
        if error.kind() == Kind::Usage { Exit::Usage } else { Exit::Failed }
    });
    ExitCode::from(exit as u8)
}

fn complain(error: &Error) {
    let stderr = std::io::stderr();
    let no_color =
        ["NO_COLOR", "RIMG_NO_COLOR"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let style = if stderr.is_terminal() { Style::terminal(no_color) } else { Style::PLAIN };
    let mut text = error_text::lines("error", &error_text::report(error), style).join("\n");
    text.push('\n');
    // Nobody is left to tell when this fails.
    let _ = stderr.lock().write_all(text.as_bytes());
}
