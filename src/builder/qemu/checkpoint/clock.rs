//! A guest's clock after it has gone on from a checkpoint: it stands where it stood then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::builder::qemu::connect::Login;
use crate::engine::{BuildCx, Command, Communicator, OutputSink};

/// A guest that does not answer must not hold up what is to be done on it.
const LIMIT: Duration = Duration::from_secs(10);

/// Sets the guest's clock once, at the first connection.
pub struct Clock {
    is_behind: Mutex<bool>,
}

/// Sets the clock to `now`, in seconds since 1970, or to `whole` ones, where fractions are not understood. A password for
/// sudo is on the standard input.
const SCRIPT: &str = r#"{
if [ "$(id -u)" = 0 ]; then date -u -s "@$now" || date -u -s "@$whole"
else sudo -n date -u -s "@$now" || sudo -S -p '' date -u -s "@$now"; fi
} >/dev/null 2>&1"#;

impl Clock {
    /// Makes one; `is_behind` says whether the guest has been away.
    pub fn new(is_behind: bool) -> Clock {
        Clock { is_behind: Mutex::new(is_behind) }
    }

    /// Sets the guest's clock, unless that was done. Where it cannot be, people are told.
    pub async fn set(&self, communicator: &dyn Communicator, login: &Login, cx: &BuildCx) {
        let mut is_behind = self.is_behind.lock().await;
        if !std::mem::replace(&mut *is_behind, false) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let script = format!("now={}.{:03}; whole={}; {SCRIPT}", now.as_secs(), now.subsec_millis(), now.as_secs());
        let mut command = Command::argv(["sh", "-c", &script]);
        command.stdin = Some(login.password().map(|password| format!("{password}\n")).unwrap_or_default().into());
        let set = tokio::time::timeout(LIMIT, communicator.exec(&command, &mut Nowhere)).await;
        tracing::debug!(?set, "the guest's clock");
        if !matches!(&set, Ok(Ok(status)) if status.code() == 0) {
            cx.ui.warn(
                "the guest's clock is behind since it went on from a checkpoint, and could not be set: the user that \
                 rimg logs in as is not root, and may not use sudo without a password",
            );
        }
    }
}

struct Nowhere;

impl OutputSink for Nowhere {
    fn stdout(&mut self, _: &[u8]) {}
    fn stderr(&mut self, _: &[u8]) {}
}
