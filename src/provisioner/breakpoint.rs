//! `vm:breakpoint`: a place where a person may look around.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::context;
use crate::engine::{Operation, Session};
use crate::error::Result;
use crate::ui::prompt;

/// Options of `vm:breakpoint`, Packer's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakpointOptions {
    /// What to tell the person who looks.
    pub note: Option<String>,
    /// Whether it is passed over.
    pub disable: bool,
}

/// Waits until a person presses Enter. Only with `--debug` and on a terminal; else it says so and goes on, and is no
/// operation: to put one in changes nothing of what follows. Where it stops, what the person did is not known.
pub async fn breakpoint(session: &Arc<Session>, options: BreakpointOptions) -> Result<()> {
    if session.is_pretended() || !stops(session, &options) {
        return Ok(());
    }
    let operation = Operation::new("breakpoint", options.note.as_deref().unwrap_or_default(), &options).aside();
    session
        .perform(operation, move |session| {
            let options = options.clone();
            async move { stop(&session, &options).await }
        })
        .await
}

/// Tells whether there is somebody to stop for, and says why not.
fn stops(session: &Session, options: &BreakpointOptions) -> bool {
    let cx = context(session);
    if options.disable {
        return false;
    }
    if !cx.settings.debug {
        cx.ui.info(format!("{}: passing a breakpoint: it stops only with --debug", session.name()));
        return false;
    }
    if !prompt::is_possible() {
        cx.ui.warn(format!("{}: passing a breakpoint: there is no terminal to ask on", session.name()));
        return false;
    }
    true
}

async fn stop(session: &Session, options: &BreakpointOptions) -> Result<()> {
    let text = invitation(session, options.note.as_deref().unwrap_or_default());
    prompt::ask(&context(session).ui, text).await.map(drop)
}

fn invitation(session: &Session, note: &str) -> String {
    let mut text = format!("\n{} stops at a breakpoint", session.name());
    if !note.is_empty() {
        text.push_str(&format!(": {note}"));
    }
    if let Some(machine) = session.machine()
        && let Some((host, port)) = machine.address()
    {
        let user = machine.user().map(|user| format!("{user}@")).unwrap_or_default();
        text.push_str(&format!("\n  look around from another terminal: ssh -p {port} {user}{host}"));
    }
    text.push_str("\n  press Enter to go on: ");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    #[tokio::test]
    async fn without_debug_it_says_so_and_goes_on() {
        let bench = Bench::new();
        breakpoint(&bench.session, BreakpointOptions::default()).await.unwrap();
        assert!(bench.output().concat().contains("only with --debug"));
    }
}
