//! QEMU's migration, out of a machine and into one, as rimg asks for it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::builder::qemu::qmp::Qmp;
use crate::error::{Error, Kind, Result};

/// The name under which QEMU is given its end of the stream.
pub const DESCRIPTOR: &str = "rimg-memory";
/// Nothing else uses the stream: as fast as it goes.
const BANDWIDTH: u64 = 1 << 40;
/// How often the state is looked at.
const LOOK: Duration = Duration::from_millis(2);
const LOOK_SELDOM: Duration = Duration::from_millis(20);

/// Says how the next migration is to be done; an error with `background` says that QEMU or the host cannot.
pub async fn prepare(qmp: &Qmp, background: bool) -> Result<()> {
    let capabilities = json!([{ "capability": "background-snapshot", "state": background }]);
    let set = qmp.execute("migrate-set-capabilities", json!({ "capabilities": capabilities })).await;
    // A version that does not know it does without it.
    if background {
        set?;
    }
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": BANDWIDTH })).await.map(drop)
}

/// Lets the machine's state go out.
pub async fn begin(qmp: &Qmp) -> Result<()> {
    qmp.execute("migrate", json!({ "uri": format!("fd:{DESCRIPTOR}") })).await.map(drop)
}

/// Takes the state that comes in, up to its end.
pub async fn take(qmp: &Qmp) -> Result<()> {
    qmp.execute("migrate-incoming", json!({ "uri": format!("fd:{DESCRIPTOR}") })).await?;
    completed(qmp, LOOK).await
}

/// What `query-migrate` says.
struct Progress {
    status: String,
    error: Option<String>,
    /// Whether the state of processors and devices has been taken, and memory follows.
    follows: bool,
}

async fn progress(qmp: &Qmp) -> Result<Progress> {
    let answer = qmp.execute("query-migrate", Value::Null).await?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let pages = |name: &str| answer.pointer(&format!("/ram/{name}")).and_then(Value::as_u64).unwrap_or(0);
    Ok(Progress {
        status: text("status").unwrap_or_default(),
        error: text("error-desc"),
        follows: pages("normal") + pages("duplicate") > 0,
    })
}

fn failed(progress: &Progress) -> Option<Error> {
    let why = match (progress.status.as_str(), &progress.error) {
        ("failed", Some(why)) => why.clone(),
        ("failed", None) => "QEMU does not say why".into(),
        ("cancelled" | "cancelling", _) => "it was cancelled".into(),
        _ => return None,
    };
    Some(Error::new(Kind::Machine, format!("the machine's memory could not be moved: {why}")))
}

/// Waits until a background snapshot has begun and the guest runs on.
pub async fn resumed(qmp: &Qmp) -> Result<()> {
    loop {
        let progress = progress(qmp).await?;
        if let Some(error) = failed(&progress) {
            return Err(error);
        }
        // Some versions let a guest that was stopped before stay so.
        if progress.follows || progress.status == "completed" {
            if qmp.status().await? != "running" {
                qmp.execute("cont", Value::Null).await?;
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for the end.
pub async fn completed(qmp: &Qmp, look: Duration) -> Result<()> {
    loop {
        let progress = progress(qmp).await?;
        if progress.status == "completed" {
            return Ok(());
        }
        if let Some(error) = failed(&progress) {
            return Err(error);
        }
        tokio::time::sleep(look).await;
    }
}

/// Waits for the end of what goes on in the background.
pub async fn completed_behind(qmp: &Qmp) -> Result<()> {
    completed(qmp, LOOK_SELDOM).await
}

/// Waits for the end while the guest stands still.
pub async fn completed_soon(qmp: &Qmp) -> Result<()> {
    completed(qmp, LOOK).await
}

/// Waits for the end of a background snapshot that nobody wants any more; none is fine. It must not be broken off, for
/// which see [`super::memory::store`].
pub async fn run_out(qmp: &Qmp) -> Result<()> {
    while goes_on(&progress(qmp).await?) {
        tokio::time::sleep(LOOK_SELDOM).await;
    }
    Ok(())
}

fn goes_on(progress: &Progress) -> bool {
    matches!(progress.status.as_str(), "setup" | "active" | "cancelling" | "device" | "wait-unplug")
}

/// Ends a migration that goes on, and waits until it has ended; none is fine.
pub async fn cancel(qmp: &Qmp) -> Result<()> {
    qmp.execute("migrate_cancel", Value::Null).await?;
    while goes_on(&progress(qmp).await?) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
