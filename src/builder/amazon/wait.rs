//! Waiting for what AWS takes its time for.

use std::future::Future;
use std::time::Duration;

use aws_sdk_ec2::types::{
    Image, ImageState, Instance, InstanceStateName, Snapshot, SnapshotState, StateReason, VolumeState,
};
use tokio::time::Instant;

use super::Client;
use super::error::is_not_found;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};
use crate::ui::event::Unit;

/// How long images and snapshots may take where nothing else is said: large ones are copied for hours.
pub const IMAGE: Duration = Duration::from_secs(2 * 3600);
/// How long instances may take to start, to stop and to end.
pub const INSTANCE: Duration = Duration::from_secs(15 * 60);

/// The first pause; the next ones are twice as long each, up to the usual one: what is quick is not waited for in vain.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is shorter, whatever the options say.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// How long AWS may not yet know what it has just made.
const UNKNOWN: Duration = Duration::from_secs(60);

/// What was seen at one look.
#[derive(Debug)]
pub enum Step<T> {
    Done(T),
    /// AWS is at it.
    Pending {
        state: String,
        percent: Option<u64>,
    },
    /// It will never be done, for this reason.
    Failed(String),
}

/// How it is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The time between two looks.
    pub delay: Duration,
    /// How long at most.
    pub limit: Duration,
}

impl Client {
    /// Returns how something is waited for that `usual` is long enough for; a `timeout` of its own counts more.
    pub fn patience(&self, timeout: Option<Duration>, usual: Duration) -> Patience {
        Patience { delay: self.polling.delay(), limit: timeout.unwrap_or_else(|| self.polling.limit(usual)) }
    }
}

/// Returns the pauses between looks: growing to the usual one.
fn pauses(usual: Duration) -> impl Iterator<Item = Duration> {
    let longest = usual.max(SHORTEST_PAUSE);
    std::iter::successors(Some(longest.min(FIRST_PAUSE)), move |pause| Some((*pause * 2).min(longest)))
}

/// Looks until it is done, and shows how far it is; `what` is waited for: `image ami-1 in eu-west-1`. A look is told how
/// long has been waited.
pub async fn until<T, F>(patience: Patience, what: &str, cx: &BuildCx, look: impl FnMut(Duration) -> F) -> Result<T>
where
    F: Future<Output = Result<Step<T>>>,
{
    until_showing(patience, what, (&format!("Waiting for {what}"), false), cx, look).await
}

/// The same with another text to be shown, and whether it is counted from the beginning.
async fn until_showing<T, F>(
    patience: Patience,
    what: &str,
    (text, counts): (&str, bool),
    cx: &BuildCx,
    mut look: impl FnMut(Duration) -> F,
) -> Result<T>
where
    F: Future<Output = Result<Step<T>>>,
{
    let started = Instant::now();
    let mut pauses = pauses(patience.delay);
    let mut counted = counts;
    let mut shown = counts.then(|| cx.ui.progress(text, Some(100), Unit::Percent));
    loop {
        let (state, percent) = match look(started.elapsed()).await? {
            Step::Done(done) => return Ok(done),
            Step::Failed(reason) => {
                return Err(Error::new(Kind::Cloud, format!("{what} has failed: {reason}")));
            }
            Step::Pending { state, percent } => (state, percent),
        };
        let left = patience.limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(too_long(patience.limit, what, &state, percent));
        }
        let progress = match percent {
            // Only now there is something to count.
            Some(_) if !counted => {
                counted = true;
                shown.insert(cx.ui.progress(text, Some(100), Unit::Percent))
            }
            _ => shown.get_or_insert_with(|| cx.ui.progress(text, None, Unit::Spinner)),
        };
        if let Some(percent) = percent {
            progress.set(percent.min(100));
        }
        tokio::time::sleep(pauses.next().unwrap_or(patience.delay).min(left)).await;
    }
}

fn too_long(limit: Duration, what: &str, state: &str, percent: Option<u64>) -> Error {
    let far = percent.map_or_else(String::new, |percent| format!(" ({percent} %)"));
    Error::new(Kind::Timeout, format!("{what} is still {state}{far} after {limit:?}"))
        .field("state", state)
        .hint("AWS goes on with it: wait longer, with `timeout` where there is one, or aws_polling.max_attempts")
}

/// Returns AWS's reason for a state, or the state.
fn reason(state: &str, reason: Option<&StateReason>) -> String {
    let said = reason.and_then(|reason| reason.message.as_deref().or(reason.code.as_deref()));
    said.filter(|text| !text.is_empty()).map_or_else(|| format!("it is {state}"), str::to_owned)
}

/// Returns the number of `42%`.
fn percent(progress: Option<&str>) -> Option<u64> {
    progress?.trim().trim_end_matches('%').parse().ok()
}

fn not_yet_known<T>() -> Step<T> {
    Step::Pending { state: "unknown to AWS".to_owned(), percent: None }
}

/// Tells what the state of an image means.
fn image_step(image: Image, percent: Option<u64>) -> Step<Image> {
    let state = image.state.clone().unwrap_or(ImageState::Pending);
    match state {
        ImageState::Available => Step::Done(image),
        ImageState::Pending | ImageState::Transient => Step::Pending { state: state.as_str().to_owned(), percent },
        _ => Step::Failed(reason(state.as_str(), image.state_reason.as_ref())),
    }
}

/// Waits until an image can be launched.
pub async fn image_available(client: &Client, id: &str, patience: Patience, cx: &BuildCx) -> Result<Image> {
    let what = format!("image {id} in {}", client.region);
    image(client, id, patience, (&what, &format!("Waiting for {what}"), false), cx).await
}

/// The same of a copy: among many, its region is what tells one from another.
pub async fn image_copied(client: &Client, id: &str, patience: Patience, cx: &BuildCx) -> Result<Image> {
    let what = format!("image {id} in {}", client.region);
    image(client, id, patience, (&what, &format!("copying to {}", client.region), true), cx).await
}

async fn image(
    client: &Client,
    id: &str,
    patience: Patience,
    (what, text, counts): (&str, &str, bool),
    cx: &BuildCx,
) -> Result<Image> {
    until_showing(patience, what, (text, counts), cx, async |waited| {
        let answer = match client.ec2.describe_images().image_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if is_not_found(&error) && waited < UNKNOWN => return Ok(not_yet_known()),
            Err(error) => return Err(client.failed("ec2:DescribeImages", error).await),
        };
        let Some(image) = answer.images.unwrap_or_default().into_iter().next() else {
            return match waited < UNKNOWN {
                true => Ok(not_yet_known()),
                false => Ok(Step::Failed("AWS knows no such image".to_owned())),
            };
        };
        let pending = image.state.as_ref().is_none_or(|state| *state == ImageState::Pending);
        let percent = if pending { image_percent(client, &image).await } else { None };
        Ok(image_step(image, percent))
    })
    .await
}

/// Returns how far the snapshots of an image are: the image itself does not tell. Who may not look at them sees no numbers.
async fn image_percent(client: &Client, image: &Image) -> Option<u64> {
    let ids = snapshots_of(image);
    if ids.is_empty() {
        return None;
    }
    let answer = client.ec2.describe_snapshots().set_snapshot_ids(Some(ids)).send().await.ok()?;
    answer.snapshots().iter().filter_map(|snapshot| percent(snapshot.progress())).min()
}

/// Returns the ids of the snapshots that an image stands on.
pub fn snapshots_of(image: &Image) -> Vec<String> {
    let ebs = image.block_device_mappings().iter().filter_map(|mapping| mapping.ebs.as_ref());
    ebs.filter_map(|ebs| ebs.snapshot_id.clone()).collect()
}

/// Tells what the state of a snapshot means.
fn snapshot_step(snapshot: Snapshot) -> Step<Snapshot> {
    let state = snapshot.state.clone().unwrap_or(SnapshotState::Pending);
    match state {
        SnapshotState::Completed => Step::Done(snapshot),
        SnapshotState::Error => {
            let said = snapshot.state_message.filter(|text| !text.is_empty());
            Step::Failed(said.unwrap_or_else(|| "it is in the state error".to_owned()))
        }
        _ => Step::Pending { state: state.as_str().to_owned(), percent: percent(snapshot.progress.as_deref()) },
    }
}

/// Waits until a snapshot holds all of its volume.
pub async fn snapshot_completed(client: &Client, id: &str, patience: Patience, cx: &BuildCx) -> Result<Snapshot> {
    let what = format!("snapshot {id} in {}", client.region);
    until(patience, &what, cx, async |waited| {
        let answer = match client.ec2.describe_snapshots().snapshot_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if is_not_found(&error) && waited < UNKNOWN => return Ok(not_yet_known()),
            Err(error) => return Err(client.failed("ec2:DescribeSnapshots", error).await),
        };
        let snapshot = answer.snapshots.unwrap_or_default().into_iter().next();
        Ok(snapshot.map_or_else(not_yet_known, snapshot_step))
    })
    .await
}

/// Waits until a volume is there and attached to nothing.
pub async fn volume_available(client: &Client, id: &str, patience: Patience, cx: &BuildCx) -> Result<()> {
    let what = format!("volume {id} in {}", client.region);
    until(patience, &what, cx, async |waited| {
        let answer = match client.ec2.describe_volumes().volume_ids(id).send().await {
            Ok(answer) => answer,
            Err(error) if is_not_found(&error) && waited < UNKNOWN => return Ok(not_yet_known()),
            Err(error) => return Err(client.failed("ec2:DescribeVolumes", error).await),
        };
        let state = answer.volumes().first().and_then(|volume| volume.state());
        Ok(match state {
            None => not_yet_known(),
            Some(VolumeState::Available) => Step::Done(()),
            Some(VolumeState::Error) => Step::Failed("it is in the state error: is there such a key?".to_owned()),
            Some(state) => Step::Pending { state: state.as_str().to_owned(), percent: None },
        })
    })
    .await
}

/// Tells what the states of instances mean to who wants all of them in one.
fn instances_step(instances: Vec<Instance>, wanted: &InstanceStateName) -> Step<Vec<Instance>> {
    let state = |instance: &Instance| instance.state.as_ref().and_then(|state| state.name.clone());
    let never = |found: &InstanceStateName| match wanted {
        InstanceStateName::Terminated => false,
        InstanceStateName::Stopped => {
            matches!(found, InstanceStateName::ShuttingDown | InstanceStateName::Terminated)
        }
        _ => !matches!(found, InstanceStateName::Pending) && found != wanted,
    };
    let mut pending = None;
    for instance in &instances {
        let Some(found) = state(instance).filter(|found| found != wanted) else { continue };
        if never(&found) {
            let id = instance.instance_id().unwrap_or_default();
            return Step::Failed(format!("{id}: {}", reason(found.as_str(), instance.state_reason.as_ref())));
        }
        pending = Some(found);
    }
    match pending {
        None => Step::Done(instances),
        Some(state) => Step::Pending { state: state.as_str().to_owned(), percent: None },
    }
}

/// Waits until instances are all in a state; what is long gone counts as terminated.
pub async fn instances_in_state(
    client: &Client,
    ids: &[String],
    wanted: InstanceStateName,
    patience: Patience,
    cx: &BuildCx,
) -> Result<Vec<Instance>> {
    let several = if ids.len() == 1 { "instance" } else { "instances" };
    let what = format!("{several} {} in {} to be {}", ids.join(", "), client.region, wanted.as_str());
    until(patience, &what, cx, async |waited| {
        let answer = match client.ec2.describe_instances().set_instance_ids(Some(ids.to_vec())).send().await {
            Ok(answer) => answer,
            Err(error) if is_not_found(&error) && wanted == InstanceStateName::Terminated => {
                return Ok(Step::Done(Vec::new()));
            }
            Err(error) if is_not_found(&error) && waited < UNKNOWN => return Ok(not_yet_known()),
            Err(error) => return Err(client.failed("ec2:DescribeInstances", error).await),
        };
        let reservations = answer.reservations.unwrap_or_default();
        let instances = reservations.into_iter().flat_map(|some| some.instances.unwrap_or_default()).collect();
        Ok(instances_step(instances, &wanted))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use aws_sdk_ec2::types::InstanceState;

    use super::*;
    use crate::engine::Mode;
    use crate::engine::testing::surroundings;
    use crate::ui::Ui;

    const PATIENCE: Patience = Patience { delay: Duration::from_millis(1), limit: Duration::from_millis(60) };

    fn pending<T>(percent: Option<u64>) -> Step<T> {
        Step::Pending { state: "pending".to_owned(), percent }
    }

    #[test]
    fn pauses_grow_to_the_usual_one() {
        let of =
            |seconds| pauses(Duration::from_secs(seconds)).take(5).map(|pause| pause.as_secs()).collect::<Vec<_>>();
        assert_eq!(of(5), [1, 2, 4, 5, 5]);
        assert_eq!(of(1), [1; 5]);
        assert_eq!(pauses(Duration::ZERO).next(), Some(SHORTEST_PAUSE));
    }

    #[tokio::test]
    async fn it_is_looked_until_it_is_done() {
        let (_dir, cx) = surroundings(Mode::Live, Ui::silent());
        let looks = Cell::new(0);
        let look = async |_| {
            looks.set(looks.get() + 1);
            Ok(if looks.get() == 3 { Step::Done("there") } else { pending(Some(5)) })
        };
        assert_eq!((until(PATIENCE, "x", &cx, look).await.unwrap(), looks.get()), ("there", 3));
    }

    #[tokio::test]
    async fn too_long_says_how_long_and_what_it_was() {
        let (_dir, cx) = surroundings(Mode::Live, Ui::silent());
        let started = Instant::now();
        let error = until(PATIENCE, "image ami-1 in eu-west-1", &cx, async |_| Ok(pending::<()>(Some(42)))).await;
        let error = error.unwrap_err();
        assert_eq!(error.message(), "image ami-1 in eu-west-1 is still pending (42 %) after 60ms");
        assert_eq!((error.kind(), error.get("state")), (Kind::Timeout, Some(&"pending".into())));
        assert!(started.elapsed() >= PATIENCE.limit);
    }

    #[tokio::test]
    async fn what_has_failed_is_not_waited_for() {
        let (_dir, cx) = surroundings(Mode::Live, Ui::silent());
        let patient = Patience { delay: Duration::from_secs(600), limit: Duration::from_secs(600) };
        let error = until(patient, "image ami-1", &cx, async |_| Ok(Step::<()>::Failed("no key".into()))).await;
        assert_eq!(error.unwrap_err().message(), "image ami-1 has failed: no key");
        let error = until(patient, "x", &cx, async |_| Err::<Step<()>, _>(Error::new(Kind::Auth, "denied"))).await;
        assert_eq!(error.unwrap_err().kind(), Kind::Auth);
    }

    #[test]
    fn an_image_that_failed_says_why() {
        let image = |state| Image::builder().state(state);
        assert!(matches!(image_step(image(ImageState::Available).build(), None), Step::Done(_)));
        let step = image_step(image(ImageState::Pending).build(), Some(3));
        assert!(matches!(step, Step::Pending { state, percent: Some(3) } if state == "pending"));
        let why = StateReason::builder().code("Client.X").message("the key is disabled").build();
        let step = image_step(image(ImageState::Failed).state_reason(why).build(), None);
        assert!(matches!(step, Step::Failed(reason) if reason == "the key is disabled"));
        let step = image_step(image(ImageState::Invalid).build(), None);
        assert!(matches!(step, Step::Failed(reason) if reason == "it is invalid"));
    }

    #[test]
    fn a_snapshot_tells_how_far_it_is() {
        let snapshot = |state| Snapshot::builder().state(state).progress("42%").state_message("bad key").build();
        let step = snapshot_step(snapshot(SnapshotState::Pending));
        assert!(matches!(step, Step::Pending { percent: Some(42), .. }));
        assert!(matches!(snapshot_step(snapshot(SnapshotState::Error)), Step::Failed(why) if why == "bad key"));
        assert!(matches!(snapshot_step(snapshot(SnapshotState::Completed)), Step::Done(_)));
    }

    #[test]
    fn instances_are_waited_for_as_long_as_they_may_get_there() {
        use InstanceStateName::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        let instance = |state: &InstanceStateName| {
            Instance::builder().instance_id("i-1").state(InstanceState::builder().name(state.clone()).build()).build()
        };
        let word =
            |states: &[InstanceStateName], wanted| match instances_step(states.iter().map(instance).collect(), &wanted)
            {
                Step::Done(_) => "done",
                Step::Pending { .. } => "pending",
                Step::Failed(_) => "failed",
            };
        assert_eq!(word(&[Running, Running], Running), "done");
        assert_eq!(word(&[Running, Pending], Running), "pending");
        assert_eq!(word(&[Pending, Terminated], Running), "failed");
        assert_eq!(word(&[Running, Stopping], Stopped), "pending");
        assert_eq!(word(&[Stopped, ShuttingDown], Stopped), "failed");
        assert_eq!(word(&[Terminated, ShuttingDown], Terminated), "pending");
    }
}
