//! Which renderers a run speaks through.

use std::io::IsTerminal;

use super::args::OutputArgs;
use crate::error::Result;
use crate::media::http;
use crate::ui::json::Json;
use crate::ui::logfile::LogFile;
use crate::ui::plain::Plain;
use crate::ui::style::Style;
use crate::ui::summary::Summary;
use crate::ui::terminal::{Standard, Terminal};
use crate::ui::{Renderer, Ui, UiThread};

/// What of a run is for a person's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Everything,
    /// Only errors: the command has an answer of its own to print.
    Errors,
    /// What happens, on standard error: the command has an answer of its own to print.
    Beside,
}

/// Starts the user interface that the options and the terminal call for.
pub fn start(args: &OutputArgs, show: Show) -> Result<(Ui, UiThread)> {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let no_color = args.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let style = |is_terminal: bool| match is_terminal && !dumb {
        true => Style::terminal(no_color),
        false => Style::PLAIN,
    };
    let mut renderers: Vec<Box<dyn Renderer>> = Vec::new();
    if args.json {
        renderers.push(Box::new(Json::new(std::io::stdout())));
    }
    let people_read_out = !args.json && show == Show::Everything;
    if people_read_out {
        // One writer owns the terminal: where the program's log goes to it as well, nothing may move.
        let log_on_terminal = super::logging::filter().is_some() && args.log_file.is_none() && err.is_terminal();
        if out.is_terminal() && !dumb && !log_on_terminal {
            renderers.push(Box::new(Terminal::new(Standard::Output, style(true), args.timestamps, args.debug)));
        } else {
            renderers.push(Box::new(Plain::new(std::io::stdout(), args.timestamps, args.debug)));
        }
    }
    if show == Show::Beside {
        if err.is_terminal() && !dumb && super::logging::filter().is_none() {
            renderers.push(Box::new(Terminal::new(Standard::Error, style(true), args.timestamps, args.debug)));
        } else {
            renderers.push(Box::new(Plain::new(std::io::stderr(), args.timestamps, args.debug)));
        }
    }
    // Last, so that what it repeats comes after what it repeats.
    let summary_out = people_read_out.then(std::io::stdout);
    renderers.push(Box::new(Summary::new(
        summary_out,
        err,
        style(out.is_terminal()),
        style(std::io::stderr().is_terminal()),
    )));
    // After that: what it has to say of itself comes when the terminal is nobody's any more.
    if let Some(path) = &args.log_file {
        renderers.push(Box::new(LogFile::open(path)?));
    }
    let (ui, thread) = Ui::start(renderers);
    http::hide_proxies(ui.secrets());
    Ok((ui, thread))
}
