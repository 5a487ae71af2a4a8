//! `rimg amazon`: what scripts need of Amazon.

use serde_json::json;

use super::args::{AmazonArgs, AmazonCommand, AmazonPolicyArgs, OutputArgs};
use super::dispatch::Exit;
use super::output::Show;
use super::{out, session};
use crate::engine::Mode;
use crate::error::{Error, Kind, Result};
use crate::script::Outcome;

/// Does what it is asked for.
pub fn amazon(args: AmazonArgs) -> Result<Exit> {
    match args.command {
        AmazonCommand::Policy(args) => policy(args),
    }
}

/// Prints the policy that allows what a script does, and no more.
fn policy(args: AmazonPolicyArgs) -> Result<Exit> {
    let script = args.script.script.display().to_string();
    let options = session::options(args.script, Mode::Check, false);
    let needs = options.needs.clone();
    let (outcome, _) = session::run(options, &OutputArgs::default(), Show::Errors)?;
    if outcome != Outcome::Done {
        return Ok(outcome.into());
    }
    let actions = needs.actions();
    if actions.is_empty() {
        let message = format!("{script} does nothing on Amazon that a policy would have to allow");
        return Err(Error::new(Kind::Unsupported, message).hint(
            "it is found out as `rimg check` does: what a script does only after an answer of AWS may be missing",
        ));
    }
    out::print_json(&document(&actions))?;
    Ok(Exit::Done)
}

/// Returns a policy as IAM takes it.
fn document(actions: &[&str]) -> serde_json::Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    })
}
