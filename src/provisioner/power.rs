//! `vm:reboot`: restarts the machine and waits until it is the new boot that answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::run;
use super::wrap::Wrapped;
use crate::engine::{Operation, OperationOptions, Seconds, Session};
use crate::error::{Error, Kind, Result};

/// How long a reboot may take, until the machine takes commands again, unless `timeout` says otherwise.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// How often a machine that still answers is asked whether it is the new boot.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long one question may go unanswered before the connection counts as dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What tells one boot from the next; empty where the machine has nothing of the kind.
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id 2>/dev/null||sysctl -n kern.boottime 2>/dev/null||true";

const DEFAULT_COMMAND: &str =
    "if [ -d /run/systemd/system ]&&command -v systemctl >/dev/null;then systemctl reboot;else reboot;fi";

/// Options of `vm:reboot`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebootOptions {
    /// The command that reboots the machine; by default systemd's or `reboot`, as root.
    pub command: Option<String>,
    /// How long to wait after the machine is back.
    pub pause_after: Option<Seconds>,
}

/// Reboots the machine; the connection is a new one afterwards.
pub async fn reboot(session: &Arc<Session>, options: RebootOptions) -> Result<()> {
    let title = options.command.clone().unwrap_or_default();
    let operation = Operation::new("reboot", title, &options).limits_itself();
    let restarted = session
        .perform(operation, move |session| {
            let options = options.clone();
            async move { restart(&session, &options).await }
        })
        .await;
    // Here and not in the action alone: a replay does not run that.
    session.forget_notes();
    restarted
}

async fn restart(session: &Session, options: &RebootOptions) -> Result<()> {
    if !session.live()?.can_power() {
        return Err(Error::new(Kind::Unsupported, "this machine is not rimg's to reboot"));
    }
    let cx = context(session);
    let _progress = cx.ui.progress(format!("rebooting {}", session.name()), None, crate::ui::event::Unit::Spinner);
    let deadline = Instant::now() + OperationOptions::current().timeout.map_or(LIMIT, |limit| limit.0);
    let before = boot_id(session).await?;
    ask_to_reboot(session, options.command.as_deref()).await?;
    session.forget_notes();
    await_new_boot(session, &before, deadline).await?;
    attempt::pause(&cx, "after the reboot", options.pause_after).await;
    Ok(())
}

async fn boot_id(session: &Session) -> Result<String> {
    let wrapped = Wrapped { program: BOOT_ID.to_owned(), ..Wrapped::default() };
    Ok(run::ask(session, &wrapped).await?.stdout.trim().to_owned())
}

async fn ask_to_reboot(session: &Session, command: Option<&str>) -> Result<()> {
    let wrapped = match command {
        Some(command) => {
            Wrapped { program: r#"eval "$1""#.to_owned(), args: vec![command.to_owned()], ..Wrapped::default() }
        }
        None => Wrapped { program: DEFAULT_COMMAND.to_owned(), sudo: true, ..Wrapped::default() },
    };
    let command = wrapped.command();
    let asked = run::execute(session, &command, None, false, &[0]);
    let result = match tokio::time::timeout(Duration::from_secs(30), asked).await {
        // Some reboot commands never return; what comes next will show whether this one works.
        Err(_) => return Ok(()),
        Ok(Err(error)) if lost(&error) => return Ok(()),
        Ok(result) => result?,
    };
    // The shutdown may end the command before the connection.
    if result.signal.is_some() || result.status >= 128 { Ok(()) } else { result.accepted(&[0]).map(drop) }
}

fn lost(error: &Error) -> bool {
    matches!(error.kind(), Kind::Connect | Kind::Network)
}

/// Waits until the machine answers with another boot id. A machine without one must drop the connection instead.
async fn await_new_boot(session: &Session, before: &str, deadline: Instant) -> Result<()> {
    let old = session.communicator().await.ok().filter(|_| before.is_empty());
    if let Some(old) = old {
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, old.closed()).await.map_err(|_| late("the machine did not go down"))?;
        session.disconnect().await;
    }
    let mut last = late("the machine did not go down");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(last);
        }
        match tokio::time::timeout(left, ask_boot(session)).await {
            Ok(Ok(now)) if now != before || before.is_empty() => return Ok(()),
            Ok(Ok(_)) => {}
            // Logins are refused while a system goes down, and for a moment while it comes up.
            Ok(Err(error)) if lost(&error) || matches!(error.kind(), Kind::Auth | Kind::Timeout | Kind::Command) => {
                session.disconnect().await;
                last = late("the machine went down and does not take commands again").caused_by(error);
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(last),
        }
        tokio::time::sleep(ASK_EVERY.min(left)).await;
    }
}

/// Asks for the boot id; a connection over which no answer comes is given up.
async fn ask_boot(session: &Session) -> Result<String> {
    session.communicator().await?;
    match tokio::time::timeout(ANSWER_LIMIT, boot_id(session)).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(Kind::Timeout, "the connection does not answer")),
    }
}

fn late(what: &str) -> Error {
    Error::new(Kind::Timeout, what).hint("give vm:reboot a longer `timeout`, or a `command` that reboots this system")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    #[tokio::test]
    async fn waits_for_another_boot_over_a_new_connection() {
        let bench = Bench::new();
        bench.session.note("facts", 1.into());
        bench.reboot_on("touch rebooting");
        let options = RebootOptions { command: Some("touch rebooting".into()), ..RebootOptions::default() };
        reboot(&bench.session, options).await.unwrap();
        assert_eq!((bench.connections(), bench.session.noted("facts")), (2, None));
    }

    #[tokio::test]
    async fn what_was_known_is_forgotten_even_where_the_action_is_not_run() {
        let bench = Bench::pretended();
        bench.session.note("facts", 1.into());
        reboot(&bench.session, RebootOptions::default()).await.unwrap();
        assert_eq!(bench.session.noted("facts"), None);
    }

    #[tokio::test]
    async fn a_machine_that_stays_up_is_an_error() {
        let bench = Bench::new();
        let options = RebootOptions { command: Some("true".into()), ..Default::default() };
        let hurried = OperationOptions { timeout: Seconds::parse("1s"), ..OperationOptions::default() };
        let error = hurried.enter(reboot(&bench.session, options)).await.unwrap_err();
        assert!(error.message().contains("did not go down"), "{error}");
        let options = RebootOptions { command: Some("exit 4".into()), ..Default::default() };
        assert_eq!(reboot(&bench.session, options).await.unwrap_err().get("status"), Some(&4.into()));
    }
}
