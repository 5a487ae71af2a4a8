//! What is done when an operation fails, before its error reaches the script.

use std::sync::Arc;

use super::cx::BuildCx;
use super::replay::history::History;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::ui::prompt;

/// `--on-error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// The error is the script's; what the build made is removed when it ends.
    #[default]
    Cleanup,
    /// The person at the terminal may have the one operation done again.
    Ask,
}

impl Session {
    /// Asks whether a failed operation is to be done again, and then brings the machine back to where it was before it.
    /// False: the error stands.
    pub(super) async fn tries_again(
        self: &Arc<Self>,
        error: &Error,
        history: Option<&Arc<History>>,
        cx: &BuildCx,
    ) -> Result<bool> {
        let is_asked = cx.settings.on_error == OnError::Ask && prompt::is_possible();
        if !is_asked || matches!(error.kind(), Kind::Cancelled | Kind::Exists) {
            return Ok(false);
        }
        let from = match history.map(|history| history.returns_to()) {
            Some(Some(step)) => format!(", from the checkpoint after {step}"),
            Some(None) => ", from its boot on".to_owned(),
            None => String::new(),
        };
        let text = format!(
            "\n{}: {error}\n  [r] try this operation again{from}\n  [Enter] go on with the error\n> ",
            self.name()
        );
        let text = cx.ui.secrets().mask(&text);
        if !matches!(cx.scope.run(prompt::ask(&cx.ui, text)).await?.as_str(), "r" | "R" | "retry") {
            return Ok(false);
        }
        if let Some(history) = history {
            self.rewind(history, cx).await?;
        }
        Ok(true)
    }

    /// Gives up the machine and brings another to where its history stands.
    async fn rewind(self: &Arc<Self>, history: &Arc<History>, cx: &BuildCx) -> Result<()> {
        history.written().await;
        if let Some(machine) = self.machine() {
            self.put(None).await;
            machine.destroy().await?;
        }
        history.sleep();
        self.wake(history, cx).await
    }
}
