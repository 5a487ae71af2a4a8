//! Watching an instance: what AWS says of it, asked from time to time, and at once when its connection is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Client;
use super::error::is_not_found;
use crate::engine::Health;

/// The first pause while it starts; the next ones are twice as long each, up to the usual one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many usual pauses lie between two looks at an instance that runs.
const RUNNING: u32 = 2;
/// How long AWS may not yet know what it has just made.
const UNKNOWN: u32 = 12;

/// What is known of one instance, and what tells the watcher.
pub struct Watch {
    pub id: String,
    pub health: watch::Sender<Health>,
    /// What AWS said last.
    pub seen: watch::Sender<Option<Instance>>,
    /// Whether rimg has asked for its end: then it is no death.
    pub going_off: AtomicBool,
    pub look: Notify,
    pub stop: CancellationToken,
}

impl Watch {
    pub fn new(id: String, going_off: bool) -> Arc<Watch> {
        Arc::new(Watch {
            id,
            health: watch::Sender::new(Health::Running),
            seen: watch::Sender::new(None),
            going_off: AtomicBool::new(going_off),
            look: Notify::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Looks until the instance is gone or nobody cares any more.
    pub async fn run(self: Arc<Self>, client: Client) {
        let usual = client.polling.delay();
        let mut pause = FIRST_PAUSE.min(usual);
        let mut unknown = 0;
        loop {
            let request = client.ec2.describe_instances().instance_ids(&self.id);
            let answer = tokio::select! {
                // Nobody waits for an answer that nobody needs: it may be a minute late.
                () = self.stop.cancelled() => return,
                answer = request.send() => answer,
            };
            match answer {
                Ok(answer) => {
                    let found = answer.reservations.unwrap_or_default().into_iter();
                    let instance = found.flat_map(|some| some.instances.unwrap_or_default()).next();
                    if let Some(instance) = instance
                        && self.judge(instance)
                    {
                        return;
                    }
                }
                Err(e) if is_not_found(&e) => {
                    unknown += 1;
                    if unknown > UNKNOWN {
                        self.health.send_replace(Health::Dead(format!("AWS does not know {}", self.id)));
                        return;
                    }
                }
                // Requests fail in passing, and the build goes on meanwhile.
                Err(e) => tracing::debug!(instance = %self.id, error = %e, "cannot look at the instance"),
            }
            let state = self.seen.borrow().as_ref().and_then(state_of);
            let rests = matches!(state, Some(InstanceStateName::Running)) && !self.going_off.load(Ordering::Acquire);
            let wait = if rests { usual * RUNNING } else { pause };
            pause = (pause * 2).min(usual);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.look.notified() => pause = FIRST_PAUSE.min(usual),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes in what was seen; tells whether it is the end.
    fn judge(&self, instance: Instance) -> bool {
        let state = state_of(&instance);
        let end = match state {
            Some(InstanceStateName::Stopped) if self.going_off.load(Ordering::Acquire) => Some(Health::Off),
            Some(InstanceStateName::Stopping) if self.going_off.load(Ordering::Acquire) => None,
            Some(
                InstanceStateName::Stopping
                | InstanceStateName::Stopped
                | InstanceStateName::ShuttingDown
                | InstanceStateName::Terminated,
            ) => Some(Health::Dead(reason(&instance))),
            _ => None,
        };
        self.seen.send_replace(Some(instance));
        let over = end.is_some();
        if let Some(health) = end {
            self.health.send_replace(health);
        }
        over
    }
}

/// Returns the name of the state that an instance is in.
pub fn state_of(instance: &Instance) -> Option<InstanceStateName> {
    instance.state.as_ref().and_then(|state| state.name.clone())
}

/// Says why an instance is in its state, in AWS's own words.
fn reason(instance: &Instance) -> String {
    let id = instance.instance_id().unwrap_or_default();
    let state = state_of(instance).map_or_else(|| "gone".to_owned(), |state| state.as_str().to_owned());
    let why = instance.state_reason.as_ref();
    let message =
        why.and_then(|why| why.message()).or(instance.state_transition_reason()).filter(|text| !text.is_empty());
    match (why.and_then(|why| why.code()), message) {
        (Some(code), Some(message)) if !message.contains(code) => format!("{id} is {state}: {message} ({code})"),
        (_, Some(message)) => format!("{id} is {state}: {message}"),
        (Some(code), None) => format!("{id} is {state}: {code}"),
        (None, None) => format!("{id} is {state}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::{InstanceState, StateReason};

    fn instance(state: InstanceStateName, code: &str, message: &str) -> Instance {
        let reason = StateReason::builder().code(code).message(message).build();
        Instance::builder()
            .instance_id("i-1")
            .state(InstanceState::builder().name(state).build())
            .state_reason(reason)
            .build()
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_a_death_with_its_reason() {
        let watch = Watch::new("i-1".into(), false);
        assert!(!watch.judge(instance(InstanceStateName::Running, "", "")));
        assert!(watch.judge(instance(InstanceStateName::ShuttingDown, "Server.SpotInstanceTermination", "no room")));
        let Health::Dead(why) = watch.health.borrow().clone() else { panic!("alive") };
        assert_eq!(why, "i-1 is shutting-down: no room (Server.SpotInstanceTermination)");
    }

    #[test]
    fn a_stop_that_was_asked_for_is_none() {
        let watch = Watch::new("i-1".into(), true);
        assert!(!watch.judge(instance(InstanceStateName::Stopping, "", "")));
        assert!(watch.judge(instance(InstanceStateName::Stopped, "Client.UserInitiatedShutdown", "")));
        assert_eq!(*watch.health.borrow(), Health::Off);
        // It was to stop, and has gone altogether.
        let watch = Watch::new("i-1".into(), true);
        assert!(watch.judge(instance(InstanceStateName::Terminated, "Client.UserInitiatedShutdown", "")));
        assert!(matches!(&*watch.health.borrow(), Health::Dead(_)));
    }
}
