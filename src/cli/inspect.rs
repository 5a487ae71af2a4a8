//! `rimg inspect`: what a script can be given, and what it builds.

use super::args::{InspectArgs, OutputArgs};
use super::dispatch::Exit;
use super::output::Show;
use super::{out, session};
use crate::engine::Mode;
use crate::error::Result;
use crate::script::{Inspection, Outcome};
use crate::ui::text;

/// Prints a script's variables and builds.
pub fn inspect(args: InspectArgs) -> Result<Exit> {
    let options = session::options(args.script, Mode::Inspect, false);
    let (outcome, inspection) = session::run(options, &OutputArgs::default(), Show::Errors)?;
    if outcome == Outcome::Done {
        if args.json {
            out::print_json(&inspection)?;
        } else {
            out::print(&describe(&inspection))?;
        }
    }
    Ok(outcome.into())
}

/// Returns an inspection as a person reads it.
fn describe(inspection: &Inspection) -> String {
    let mut lines = vec!["Variables".to_owned()];
    if inspection.variables.is_empty() {
        lines.push("  none".to_owned());
    }
    let width = inspection.variables.iter().map(|variable| text::width(&variable.name)).max().unwrap_or(0);
    for variable in &inspection.variables {
        let value = match (&variable.default, variable.secret, variable.required) {
            (_, true, true) => "(secret, required)".to_owned(),
            (_, true, false) => "(secret)".to_owned(),
            (Some(default), ..) => format!("= {default}"),
            (None, _, true) => "(required)".to_owned(),
            (None, _, false) => "(optional)".to_owned(),
        };
        lines.push(format!("  {}  {}", text::pad(&variable.name, width), text::sanitize(&value)));
        if let Some(help) = &variable.help {
            lines.extend(help.lines().map(|line| format!("  {}    {}", " ".repeat(width), text::sanitize(line))));
        }
    }
    lines.push(String::new());
    lines.push("Builds".to_owned());
    lines.extend(inspection.builds.iter().map(|build| format!("  {}", text::sanitize(build))));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::VariableInfo;

    #[test]
    fn a_secret_shows_nothing() {
        let variable = |name: &str, default: Option<&str>, required, secret| VariableInfo {
            name: name.into(),
            default: default.map(str::to_owned),
            help: (name == "version").then(|| "of the box".to_owned()),
            required,
            secret,
        };
        let inspection = Inspection {
            variables: vec![
                variable("version", Some("1.0"), false, false),
                variable("token", Some("hunter2"), true, true),
                variable("iso", None, true, false),
            ],
            builds: vec!["base".into(), "web".into()],
        };
        let expected = "\
Variables
  version  = 1.0
             of the box
  token    (secret, required)
  iso      (required)

Builds
  base
  web
";
        assert_eq!(describe(&inspection), expected);
    }
}
