//! What is done when an operation or a build fails.

use std::sync::Arc;

use super::cx::BuildCx;
use super::operation::Operation;
use super::replay::history::History;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::ui::prompt;

/// `--on-error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// What a failed build made is removed when it ends.
    #[default]
    Cleanup,
    /// The machines of a failed build stay up when rimg has ended.
    Keep,
    /// The person at the terminal says what is done about a failed operation.
    Ask,
    /// The first build that fails ends rimg, which removes nothing.
    Abort,
}

/// What the person at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Retry,
    Shell,
    Keep,
    Cleanup,
    Abort,
}

impl Choice {
    /// Understands an answer; none where it is no answer.
    fn of(answer: &str) -> Option<Choice> {
        Some(match answer.to_ascii_lowercase().as_str() {
            "r" | "retry" => Choice::Retry,
            "s" | "shell" => Choice::Shell,
            "k" | "keep" => Choice::Keep,
            "" | "c" | "cleanup" | "clean up" => Choice::Cleanup,
            "a" | "abort" => Choice::Abort,
            _ => return None,
        })
    }
}

impl Session {
    /// Asks whether a failed operation is to be done again, and then brings the machine back to where it was before it.
    /// False: the error stands.
    pub(super) async fn tries_again(
        self: &Arc<Self>,
        operation: &Operation,
        error: &Error,
        history: Option<&Arc<History>>,
        cx: &BuildCx,
    ) -> Result<bool> {
        let is_asked = cx.settings.on_error == OnError::Ask && prompt::is_possible() && !self.is_unrecorded();
        if !is_asked || matches!(error.kind(), Kind::Cancelled | Kind::Exists) {
            return Ok(false);
        }
        let from = match history.map(|history| history.returns_to()) {
            Some(Some(step)) => format!(", from the checkpoint after {step}"),
            Some(None) => ", from its boot on".to_owned(),
            None => String::new(),
        };
        let question = format!(
            "  [r] try this operation again{from}\n  [s] open a shell in the machine, and come back here\n  \
             [k] go on with the error, and keep the machine when the build has failed\n  \
             [c] go on with the error, and clean up (Enter does the same)\n  \
             [a] abort: end rimg now, and leave everything as it is\n> "
        );
        let mut text = format!("\n{}: {error}\n{question}", self.title_of(operation));
        loop {
            let answer = prompt::ask(&cx.ui, cx.ui.secrets().mask(&text));
            let answer = cx.scope.run(answer).await?;
            text = match Choice::of(&answer) {
                None => format!("\n{answer:?} is none of these:\n{question}"),
                Some(Choice::Cleanup) => return Ok(false),
                Some(Choice::Keep) => {
                    cx.machines.keep();
                    return Ok(false);
                }
                Some(Choice::Abort) => {
                    cx.abort();
                    return Ok(false);
                }
                Some(Choice::Shell) => match cx.scope.run(self.shell(cx)).await {
                    Err(error) if cx.scope.is_cancelled() => return Err(error),
                    Err(error) => format!("\nno shell: {error}\n{question}"),
                    Ok(()) => format!("\n{question}"),
                },
                Some(Choice::Retry) => {
                    if let Some(history) = history {
                        self.rewind(history, cx).await?;
                    }
                    return Ok(true);
                }
            };
        }
    }

    /// Lets the person at the terminal into the machine.
    async fn shell(&self, cx: &BuildCx) -> Result<()> {
        let communicator = self.communicator().await?;
        prompt::lend(&cx.ui, communicator.interact(None)).await.map(drop)
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

    /// Lets go of the machine, which goes on when rimg has ended; false where there is nothing of rimg's to keep.
    pub async fn keep(&self, why: &str) -> Result<bool> {
        if let Some(history) = &self.history {
            history.written().await;
        }
        let Some(machine) = self.machine().filter(|machine| !machine.is_foreign()) else { return Ok(false) };
        self.disconnect().await;
        machine.keep(why).await?;
        if let Some(history) = &self.history {
            history.release();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_letter_or_a_word() {
        for (answer, choice) in [
            ("r", Choice::Retry),
            ("Retry", Choice::Retry),
            ("S", Choice::Shell),
            ("", Choice::Cleanup),
            ("k", Choice::Keep),
            ("abort", Choice::Abort),
        ] {
            assert_eq!(Choice::of(answer), Some(choice));
        }
        assert_eq!(Choice::of("what?"), None);
    }
}
