//! Waiting until a machine can be logged in to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::attempt::attempt;
use super::failure::{Failed, Failure, Trace};
use super::route::Route;
use super::target::{Pause, Target};
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
/// How often a server may refuse to listen for a remote tunnel: the port may be held by the connection before this one,
/// whose end the server has not noticed yet.
const TUNNEL_REFUSALS: u32 = 12;

/// Connects and logs in, in one attempt.
pub async fn connect(target: &Target, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
    tracing::debug!(build = %cx.build, address = %target.address(), "connecting over SSH");
    target.tunnels.listen().await?;
    once(target, SILENCE.1).await
}

/// The same for a machine that is up and may be slow, and a target that carries no tunnels.
pub async fn open(target: &Target) -> Result<Arc<dyn Communicator>> {
    once(target, target.handshake_timeout).await
}

async fn once(target: &Target, patience: Duration) -> Result<Arc<dyn Communicator>> {
    let connected = attempt(target, patience, &Trace::default(), &mut Route::default()).await;
    Ok(Arc::new(connected.map_err(|failed| failed.into_error(target, ""))?))
}

/// Connects and logs in, trying again until the machine is ready or `timeout` is over. The first time, the pause that was
/// asked for is made, and the connection anew after it.
pub async fn wait(target: &Target, timeout: Duration, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
    let connected = until_ready(target, timeout, cx).await?;
    let Some(Pause { length, over }) = target.pause.as_deref() else { return Ok(connected) };
    if over.load(Ordering::Acquire) {
        return Ok(connected);
    }
    connected.close().await;
    drop(connected);
    {
        let what = format!("pausing for {} s before connecting", length.as_secs_f64());
        let _progress = cx.ui.progress(what, None, Unit::Spinner);
        tokio::time::sleep(*length).await;
    }
    over.store(true, Ordering::Release);
    until_ready(target, timeout, cx).await
}

async fn until_ready(target: &Target, timeout: Duration, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
    target.tunnels.listen().await?;
    let started = Instant::now();
    let mut route = Route::default();
    let _progress = cx.ui.progress(format!("waiting for SSH on {}", target.address()), None, Unit::Spinner);
    let (mut pause, mut silence) = (PAUSE.0, SILENCE.0);
    let mut last: Option<Failed> = None;
    let mut refusals = 0;
    let mut refused_since: Option<Instant> = None;
    let (mut unresolved, mut unlistened) = (0, 0);
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let trace = Trace::default();
        let failed = match tokio::time::timeout(left, attempt(target, silence, &trace, &mut route)).await {
            Ok(Ok(connected)) => return Ok(Arc::new(connected)),
            Ok(Err(failed)) => failed,
            // An attempt that was cut short at its beginning knows less than the one before it.
            Err(_) => {
                let failed = match (trace.out_of_time(), last) {
                    (Failed { failure: Failure::Closed(_) | Failure::Silent(_), .. }, Some(last)) => last,
                    (failed, _) => failed,
                };
                return Err(give_up(failed, target, started.elapsed()));
            }
        };
        tracing::debug!(address = %target.address(), ?failed, "not ready yet");
        // Only the machine may be booting, not what is on the way to it.
        let patient = target.patient_auth && failed.hop.is_none();
        let lasting = match &failed.failure {
            Failure::Resolve(_) => {
                unresolved += 1;
                !patient && unresolved >= REFUSALS
            }
            Failure::Silent(_) => {
                silence = (silence * 3 / 2).min(SILENCE.1);
                false
            }
            Failure::Proxy { lasting, .. } => *lasting,
            Failure::HostKey { .. } => true,
            Failure::Negotiation { .. } => !(target.installing && patient),
            Failure::Tunnel(_) => {
                unlistened += 1;
                unlistened >= TUNNEL_REFUSALS
            }
            Failure::Auth { .. } => {
                refusals += 1;
                if refusals == 1 && patient {
                    cx.ui.debug(format!("{} refuses the login so far: {}", target.address(), failed.describe(target)));
                }
                let since = *refused_since.get_or_insert_with(Instant::now);
                match (target.attempts, patient) {
                    (Some(most), _) => refusals >= most.max(1),
                    (None, true) => !target.installing && since.elapsed() >= REFUSAL,
                    (None, false) => refusals >= REFUSALS,
                }
            }
            Failure::Closed(_) | Failure::NotSsh(_) | Failure::Handshake(_) | Failure::Forward(_) => false,
        };
        if !matches!(failed.failure, Failure::Auth { .. }) {
            refused_since = None;
        }
        if lasting || started.elapsed() + pause >= timeout {
            return Err(give_up(failed, target, started.elapsed()));
        }
        last = Some(failed);
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(PAUSE.1);
    }
}

fn give_up(failed: Failed, target: &Target, elapsed: Duration) -> crate::error::Error {
    failed.into_error(target, &format!(" (after {:.1} s)", elapsed.as_secs_f64()))
}
