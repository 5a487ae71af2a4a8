//! What rimg makes in an account: marked and written down before it is made, found by its mark, removed.
//!
//! Everything is tagged at its creation with [`RUN`], [`MARK`] (one of its own) and [`BUILD`]; a key pair and a security group are
//! found by their names, which hold the mark. So a request whose answer was lost leaves nothing that cannot be found.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Image, Instance, InstanceStateName};
use serde::{Deserialize, Serialize};

use super::Client;
use super::access::AccessOptions;
use super::chroot::volume;
use super::error::{code, is_not_found};
use super::filters::filter;
use super::wait::snapshots_of;
use super::{launch_template, profile, session_manager};
use crate::engine::{BuildCx, Resource, ResourceId};
use crate::error::{Context, Kind, Result};
use crate::host::owner;

/// The tag with the run's id.
pub const RUN: &str = "rimg:run";
/// The tag with what is a thing's alone.
pub const MARK: &str = "rimg:id";
/// The tag with the build's name.
pub const BUILD: &str = "rimg:build";

/// How long AWS may take to end an instance, and what waits for that.
pub const ENDING: Duration = Duration::from_secs(10 * 60);
/// How long a request that is repeated until something else is gone waits in between.
pub const PAUSE: Duration = Duration::from_secs(2);

/// The name that journals have for what is found here.
pub const COLLECTOR: &str = "amazon";

/// What sort of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// An instance, with its disks, interfaces and the request for it.
    Instance,
    KeyPair,
    SecurityGroup,
    /// An image, with its snapshots.
    Image,
    /// A role and the instance profile that carries it.
    Profile,
    /// What a fleet starts its instance by.
    LaunchTemplate,
    /// A session of Session Manager.
    Session,
    /// A volume that is attached to the instance that rimg runs on.
    Volume,
}

impl Sort {
    fn kind(self) -> &'static str {
        match self {
            Sort::Instance => "instance",
            Sort::KeyPair => "key pair",
            Sort::SecurityGroup => "security group",
            Sort::Image => "image",
            Sort::Profile => "instance profile",
            Sort::LaunchTemplate => "launch template",
            Sort::Session => "session",
            Sort::Volume => "volume",
        }
    }
}

/// A thing as the journal has it: what finds it, without the answer to the request that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    pub sort: Sort,
    pub region: String,
    /// What is this thing's alone: its tag, and its name where it has one.
    pub mark: String,
    /// The name that a script gives it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A trace in the journal: the thing, and who may remove it.
#[derive(Serialize, Deserialize)]
struct Trace {
    #[serde(flatten)]
    thing: Thing,
    /// The options of access, sealed.
    access: String,
}

/// A thing that is about to be made.
pub struct Made {
    pub thing: Thing,
    pub resource: ResourceId,
    /// Its id, once AWS has told: then it need not be looked for.
    id: Arc<OnceLock<String>>,
}

impl Made {
    /// Marks a thing and writes it down.
    pub async fn enter(client: &Client, sort: Sort, cx: &BuildCx) -> Result<Made> {
        Made::enter_as(client, sort, None, cx).await
    }

    /// The same of a thing that a script names.
    pub async fn enter_as(client: &Client, sort: Sort, name: Option<String>, cx: &BuildCx) -> Result<Made> {
        let mark = format!("rimg-{}", uuid::Uuid::new_v4().simple());
        let thing = Thing { sort, region: client.region.to_string(), mark, name };
        let id: Arc<OnceLock<String>> = Arc::default();
        let access = serde_json::to_string(&client.access().for_later());
        let access = cx.seal(&access.context(Kind::Internal, "cannot write down who may remove a resource")?)?;
        let trace = serde_json::to_value(Trace { thing: thing.clone(), access });
        let trace = trace.context(Kind::Internal, "cannot write down a resource")?;
        let name = format!("{} in {}", thing.name.as_ref().unwrap_or(&thing.mark), thing.region);
        let what = Resource::elsewhere(sort.kind(), name, COLLECTOR, trace).taking(ENDING);
        let (client, gone, known) = (client.clone(), thing.clone(), id.clone());
        let destroy =
            move || async move { gone.remove(&client, known.get().map(String::as_str), false).await.map(drop) };
        let resource = cx.resources.enter(what, destroy).await?;
        Ok(Made { thing, resource, id })
    }

    /// Notes the id that AWS has given it.
    pub fn is(&self, id: &str) {
        let _ = self.id.set(id.to_owned());
    }

    /// Returns the tags that make it found; `more` are a script's own.
    pub fn tags(&self, more: &BTreeMap<String, String>, cx: &BuildCx) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::from([("Name".to_owned(), "rimg".to_owned())]);
        tags.extend(more.clone());
        let run = owner::current().map_or_else(|| "unknown".to_owned(), |owner| owner.id().to_owned());
        tags.insert(RUN.to_owned(), run);
        tags.insert(MARK.to_owned(), self.thing.mark.clone());
        tags.insert(BUILD.to_owned(), cx.build.to_string());
        tags
    }
}

impl AccessOptions {
    /// Returns what can be used another day: the code of a device is good for once.
    fn for_later(&self) -> AccessOptions {
        AccessOptions { mfa_code: None, ..self.clone() }
    }
}

/// Removes what a journal describes; tells whether it was there.
pub async fn collect(trace: &serde_json::Value, dry_run: bool) -> Result<bool> {
    let trace: Trace = serde_json::from_value(trace.clone())
        .context(Kind::Internal, "the journal describes something of Amazon's that this rimg does not understand")?;
    let access = crate::engine::cx::unseal(&trace.access, &crate::host::dirs::state()?)?;
    let access: AccessOptions = match access.map(|text| serde_json::from_str(&text)) {
        Some(Ok(access)) => access,
        // Sealed with a key that is gone: whoever runs this may be somebody who may remove it.
        _ => AccessOptions { region: Some(trace.thing.region.clone()), ..AccessOptions::default() },
    };
    let client = Client::connect(&access.in_region(&trace.thing.region)).await?;
    trace.thing.remove(&client, None, dry_run).await
}

impl Thing {
    /// Removes it, found by its mark where its id is not known; with `dry_run`, only looks. Tells whether it was there.
    pub async fn remove(&self, client: &Client, id: Option<&str>, dry_run: bool) -> Result<bool> {
        match self.sort {
            Sort::Instance => self.remove_instance(client, id, dry_run).await,
            Sort::KeyPair => self.remove_key_pair(client, dry_run).await,
            Sort::SecurityGroup => self.remove_security_group(client, id, dry_run).await,
            Sort::Image => self.remove_image(client, id, dry_run).await,
            Sort::Profile => profile::remove(client, &self.mark, dry_run).await,
            Sort::LaunchTemplate => launch_template::remove(client, &self.mark, dry_run).await,
            Sort::Session => session_manager::end(client, &self.mark, id, dry_run).await,
            Sort::Volume => volume::remove(client, self.tagged(), id, dry_run).await,
        }
    }

    fn tagged(&self) -> Filter {
        filter(&format!("tag:{MARK}"), [&self.mark])
    }

    async fn remove_instance(&self, client: &Client, id: Option<&str>, dry_run: bool) -> Result<bool> {
        let ids = match id {
            Some(id) => vec![id.to_owned()],
            None => self.instances(client).await?.into_iter().filter_map(|instance| instance.instance_id).collect(),
        };
        if !dry_run && !ids.is_empty() {
            let ended = client.ec2.terminate_instances().set_instance_ids(Some(ids.clone())).send().await;
            match ended {
                Err(e) if !is_not_found(&e) => return Err(client.failed("ec2:TerminateInstances", e).await),
                _ => {}
            }
            self.ended(client, &ids).await?;
        }
        // A disk that does not go with its instance is left, with the instance's mark.
        let volumes = client.ec2.describe_volumes().filters(self.tagged()).send().await;
        let volumes = match volumes {
            Ok(answer) => answer.volumes.unwrap_or_default(),
            Err(e) => return Err(client.failed("ec2:DescribeVolumes", e).await),
        };
        for id in volumes.iter().filter(|_| !dry_run).filter_map(|volume| volume.volume_id()) {
            volume::delete(client, id).await?;
        }
        Ok(!ids.is_empty() || !volumes.is_empty())
    }

    /// Returns the instances with the mark that are not gone.
    async fn instances(&self, client: &Client) -> Result<Vec<Instance>> {
        let states = filter("instance-state-name", ["pending", "running", "stopping", "stopped", "shutting-down"]);
        let answer = client.ec2.describe_instances().filters(self.tagged()).filters(states).send().await;
        match answer {
            Ok(answer) => Ok(answer
                .reservations
                .unwrap_or_default()
                .into_iter()
                .flat_map(|some| some.instances.unwrap_or_default())
                .collect()),
            Err(e) => Err(client.failed("ec2:DescribeInstances", e).await),
        }
    }

    /// Waits until instances are gone: until then, what they use cannot be removed.
    async fn ended(&self, client: &Client, ids: &[String]) -> Result<()> {
        loop {
            let answer = client.ec2.describe_instances().set_instance_ids(Some(ids.to_vec())).send().await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(e) if is_not_found(&e) => return Ok(()),
                Err(e) => return Err(client.failed("ec2:DescribeInstances", e).await),
            };
            let there = answer.reservations().iter().flat_map(|some| some.instances());
            let mut states = there.filter_map(|instance| instance.state()).filter_map(|state| state.name());
            if states.all(|state| *state == InstanceStateName::Terminated) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE.min(client.polling.delay())).await;
        }
    }

    async fn remove_key_pair(&self, client: &Client, dry_run: bool) -> Result<bool> {
        if let Some(name) = &self.name {
            // Another may have that name: only the mark tells.
            let there = self.key_pair(client).await?;
            if there && !dry_run {
                delete_key_pair(client, name).await?;
            }
            return Ok(there);
        }
        if !dry_run {
            return delete_key_pair(client, &self.mark).await;
        }
        self.key_pair(client).await
    }

    /// Tells whether the key pair with the mark is there.
    pub async fn key_pair(&self, client: &Client) -> Result<bool> {
        match client.ec2.describe_key_pairs().filters(self.tagged()).send().await {
            Ok(answer) => Ok(!answer.key_pairs().is_empty()),
            Err(e) => Err(client.failed("ec2:DescribeKeyPairs", e).await),
        }
    }

    async fn remove_security_group(&self, client: &Client, id: Option<&str>, dry_run: bool) -> Result<bool> {
        let id = match id {
            Some(id) => id.to_owned(),
            None => {
                let named = filter("group-name", [&self.mark]);
                let found = match client.ec2.describe_security_groups().filters(named).send().await {
                    Ok(answer) => answer.security_groups.unwrap_or_default(),
                    Err(e) => return Err(client.failed("ec2:DescribeSecurityGroups", e).await),
                };
                match found.into_iter().next().and_then(|group| group.group_id) {
                    Some(id) => id,
                    None => return Ok(false),
                }
            }
        };
        if dry_run {
            return Ok(true);
        }
        let until = tokio::time::Instant::now() + ENDING;
        loop {
            match client.ec2.delete_security_group().group_id(&id).send().await {
                Ok(_) => return Ok(true),
                Err(e) if is_not_found(&e) => return Ok(false),
                // The interface of an instance goes a moment after it.
                Err(e) if code(&e) == Some("DependencyViolation") && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(PAUSE.min(client.polling.delay())).await;
                }
                Err(e) => return Err(client.failed("ec2:DeleteSecurityGroup", e).await),
            }
        }
    }

    async fn remove_image(&self, client: &Client, id: Option<&str>, dry_run: bool) -> Result<bool> {
        let search = client.ec2.describe_images().owners("self");
        let search = match id {
            Some(id) => search.image_ids(id),
            None => search.filters(self.tagged()),
        };
        let images = match search.send().await {
            Ok(answer) => answer.images.unwrap_or_default(),
            Err(e) if is_not_found(&e) => Vec::new(),
            Err(e) => return Err(client.failed("ec2:DescribeImages", e).await),
        };
        let mut snapshots: Vec<String> = images.iter().flat_map(snapshots_of).collect();
        if !dry_run {
            for id in images.iter().filter_map(Image::image_id) {
                deregister(client, id).await?;
            }
        }
        // While an image is being made, it does not name its snapshots.
        let tagged = client.ec2.describe_snapshots().owner_ids("self").filters(self.tagged()).send().await;
        match tagged {
            Ok(answer) => snapshots.extend(answer.snapshots().iter().filter_map(|s| s.snapshot_id.clone())),
            Err(e) => return Err(client.failed("ec2:DescribeSnapshots", e).await),
        }
        snapshots.sort();
        snapshots.dedup();
        for id in snapshots.iter().filter(|_| !dry_run) {
            delete_snapshot(client, id).await?;
        }
        Ok(!images.is_empty() || !snapshots.is_empty())
    }
}

/// Deletes a key pair; one that is not there is no error.
async fn delete_key_pair(client: &Client, name: &str) -> Result<bool> {
    match client.ec2.delete_key_pair().key_name(name).send().await {
        Ok(_) => Ok(true),
        Err(e) if is_not_found(&e) => Ok(false),
        Err(e) => Err(client.failed("ec2:DeleteKeyPair", e).await),
    }
}

/// Takes an image off the list; one that is not there is fine.
pub async fn deregister(client: &Client, id: &str) -> Result<()> {
    match client.ec2.deregister_image().image_id(id).send().await {
        Err(e) if !is_not_found(&e) => Err(client.failed("ec2:DeregisterImage", e).await),
        _ => Ok(()),
    }
}

/// Deletes a snapshot; one that is not there is fine.
pub async fn delete_snapshot(client: &Client, id: &str) -> Result<()> {
    match client.ec2.delete_snapshot().snapshot_id(id).send().await {
        Err(e) if !is_not_found(&e) => Err(client.failed("ec2:DeleteSnapshot", e).await),
        _ => Ok(()),
    }
}
