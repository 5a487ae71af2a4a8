//! Waiting until a machine can be logged in to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::{Failure, Trace, attempt};
use super::target::Target;
use crate::engine::{BuildCx, Communicator};
use crate::error::Result;
use crate::ui::event::Unit;

/// How long to pause between attempts, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How long a server may keep silent before its banner, at first and at most. The forwarded port of an emulated guest
/// takes connections before the guest does, and those that came too early never answer; a slow server must still
/// get through in the end.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));
/// How long a booting machine may refuse the credentials.
const REFUSAL: Duration = Duration::from_secs(120);
/// How often a machine that is not booting may refuse them, or its name fail to resolve.
const REFUSALS: u32 = 3;

/// Connects and logs in, in one attempt.
pub async fn connect(target: &Target, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
    tracing::debug!(build = %cx.build, address = %target.address(), "connecting over SSH");
    let connected = attempt(target, SILENCE.1, &Trace::default()).await;
    Ok(Arc::new(connected.map_err(|failure| failure.into_error(target, ""))?))
}

/// Connects and logs in, trying again until the machine is ready or `timeout` is over.
pub async fn wait(target: &Target, timeout: Duration, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
    let started = Instant::now();
    let _progress = cx.ui.progress(format!("waiting for SSH on {}", target.address()), None, Unit::Spinner);
    let (mut pause, mut silence) = (PAUSE.0, SILENCE.0);
    let mut last: Option<Failure> = None;
    let mut refusals = 0;
    let mut refused_since: Option<Instant> = None;
    let mut unresolved = 0;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let trace = Trace::default();
        let failure = match tokio::time::timeout(left, attempt(target, silence, &trace)).await {
            Ok(Ok(connected)) => return Ok(Arc::new(connected)),
            Ok(Err(failure)) => failure,
            // An attempt that was cut short at its beginning knows less than the one before it.
            Err(_) => {
                let failure = match (trace.out_of_time(), last) {
                    (Failure::Closed(_) | Failure::Silent(_), Some(last)) => last,
                    (failure, _) => failure,
                };
                return Err(give_up(failure, target, started.elapsed()));
            }
        };
        tracing::debug!(address = %target.address(), ?failure, "not ready yet");
        let lasting = match &failure {
            Failure::Resolve(_) => {
                unresolved += 1;
                !target.patient_auth && unresolved >= REFUSALS
            }
            Failure::Silent(_) => {
                silence = (silence * 3 / 2).min(SILENCE.1);
                false
            }
            Failure::Handshake { lasting, .. } => *lasting && !target.installing,
            Failure::HostKey { .. } => true,
            Failure::Auth { .. } => {
                refusals += 1;
                if refusals == 1 && target.patient_auth {
                    cx.ui.debug(format!(
                        "{} refuses the login so far: {}",
                        target.address(),
                        failure.describe(&target.user)
                    ));
                }
                let since = *refused_since.get_or_insert_with(Instant::now);
                match (target.attempts, target.patient_auth) {
                    (Some(most), _) => refusals >= most.max(1),
                    (None, true) => !target.installing && since.elapsed() >= REFUSAL,
                    (None, false) => refusals >= REFUSALS,
                }
            }
            Failure::Closed(_) | Failure::NotSsh(_) => false,
        };
        if !matches!(failure, Failure::Auth { .. }) {
            refused_since = None;
        }
        if lasting || started.elapsed() + pause >= timeout {
            return Err(give_up(failure, target, started.elapsed()));
        }
        last = Some(failure);
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(PAUSE.1);
    }
}

fn give_up(failure: Failure, target: &Target, elapsed: Duration) -> crate::error::Error {
    failure.into_error(target, &format!(" (after {:.1} s)", elapsed.as_secs_f64()))
}
