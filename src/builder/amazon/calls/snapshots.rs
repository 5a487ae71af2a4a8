//! Snapshots of volumes.

use aws_sdk_ec2::types;
use aws_sdk_ec2::types::{CreateVolumePermissionModifications, ResourceType, SnapshotAttributeName};
use serde::{Deserialize, Serialize};

use super::convert::{list, page_size, time};
use super::image_access::check_groups;
use super::image_copy::check_key;
use super::request::{Call, Request, call, required};
use crate::builder::amazon::filters::Filters;
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::{Client, actions, permissions, presigned, wait, wrong};
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

const PRETENDED: &str = "snap-0123456789abcdef0";

/// A snapshot as scripts have it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Snapshot {
    id: String,
    state: String,
    progress: Option<String>,
    volume_id: Option<String>,
    volume_size: Option<i32>,
    description: Option<String>,
    encrypted: bool,
    start_time: Option<String>,
    owner_id: String,
    tags: Tags,
}

impl From<types::Snapshot> for Snapshot {
    fn from(snapshot: types::Snapshot) -> Snapshot {
        Snapshot {
            tags: tags::from_sdk(snapshot.tags()),
            start_time: time(snapshot.start_time.as_ref()),
            id: snapshot.snapshot_id.unwrap_or_default(),
            state: snapshot.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            progress: snapshot.progress,
            volume_id: snapshot.volume_id,
            volume_size: snapshot.volume_size,
            description: snapshot.description.filter(|text| !text.is_empty()),
            encrypted: snapshot.encrypted.unwrap_or_default(),
            owner_id: snapshot.owner_id.unwrap_or_default(),
        }
    }
}

impl Snapshot {
    fn pretended(id: &str) -> Snapshot {
        Snapshot {
            id: id.to_owned(),
            state: "completed".into(),
            progress: Some("100%".into()),
            volume_size: Some(8),
            start_time: Some("2026-01-01T00:00:00Z".into()),
            owner_id: "123456789012".into(),
            ..Snapshot::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Snapshots {
    owners: Vec<String>,
    snapshot_ids: Vec<String>,
    filters: Filters,
}

impl Request for Snapshots {
    type Answer = Vec<Snapshot>;
    const NAME: &'static str = "snapshots";
    const CLASS: Option<&'static str> = Some("rimg.AmazonSnapshotsOptions");

    fn check(&self) -> Result<()> {
        self.filters.check("filters")
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeSnapshots"]
    }

    fn pretended(&self) -> Vec<Snapshot> {
        match self.snapshot_ids.as_slice() {
            [] => vec![Snapshot::pretended(PRETENDED)],
            ids => ids.iter().map(|id| Snapshot::pretended(id)).collect(),
        }
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<Snapshot>> {
        // All that are public are many, and nobody's.
        let owners = match (self.owners.is_empty(), self.snapshot_ids.is_empty()) {
            (true, true) => vec!["self".to_owned()],
            _ => self.owners,
        };
        let request = client
            .ec2
            .describe_snapshots()
            .set_max_results(page_size(&self.snapshot_ids))
            .set_owner_ids(list(owners))
            .set_snapshot_ids(list(self.snapshot_ids))
            .set_filters(self.filters.request());
        match request.into_paginator().items().send().try_collect().await {
            Ok(found) => Ok(found.into_iter().map(Snapshot::from).collect()),
            Err(error) => Err(client.failed("ec2:DescribeSnapshots", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WaitSnapshot {
    snapshot_id: String,
    timeout: Option<Seconds>,
}

impl Request for WaitSnapshot {
    type Answer = Snapshot;
    const NAME: &'static str = "wait_snapshot";
    const FIRST: Option<&'static str> = Some("snapshot_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonWaitSnapshotOptions");

    fn check(&self) -> Result<()> {
        required("snapshot_id", &self.snapshot_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeSnapshots"]
    }

    fn pretended(&self) -> Snapshot {
        Snapshot::pretended(&self.snapshot_id)
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<Snapshot> {
        let patience = client.patience(self.timeout.map(|limit| limit.0), wait::IMAGE);
        Ok(wait::snapshot_completed(client, &self.snapshot_id, patience, cx).await?.into())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShareSnapshot {
    snapshot_id: String,
    users: Vec<String>,
    groups: Vec<String>,
    remove: bool,
}

impl Request for ShareSnapshot {
    type Answer = ();
    const NAME: &'static str = "share_snapshot";
    const FIRST: Option<&'static str> = Some("snapshot_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonShareSnapshotOptions");

    fn check(&self) -> Result<()> {
        required("snapshot_id", &self.snapshot_id)?;
        check_groups(&self.groups)?;
        match self.users.is_empty() && self.groups.is_empty() {
            true => Err(wrong("users", "name somebody: users or groups")),
            false => Ok(()),
        }
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:ModifySnapshotAttribute"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let (some, change) =
            (Some(permissions::volume(&self.users, &self.groups)), CreateVolumePermissionModifications::builder());
        let change = if self.remove { change.set_remove(some) } else { change.set_add(some) };
        let request = client.ec2.modify_snapshot_attribute().snapshot_id(self.snapshot_id);
        let request = request.attribute(SnapshotAttributeName::CreateVolumePermission);
        match request.create_volume_permission(change.build()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:ModifySnapshotAttribute", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CopySnapshot {
    source_region: String,
    source_snapshot_id: String,
    description: Option<String>,
    encrypted: Option<bool>,
    kms_key_id: Option<String>,
    tags: Tags,
    wait: Option<bool>,
    timeout: Option<Seconds>,
}

impl CopySnapshot {
    fn waits(&self) -> bool {
        self.wait.unwrap_or(true)
    }
}

impl Request for CopySnapshot {
    type Answer = String;
    const NAME: &'static str = "copy_snapshot";
    const CLASS: Option<&'static str> = Some("rimg.AmazonCopySnapshotOptions");

    fn check(&self) -> Result<()> {
        required("source_region", &self.source_region)?;
        required("source_snapshot_id", &self.source_snapshot_id)?;
        check_key(self.encrypted, self.kms_key_id.as_deref())?;
        tags::check("tags", &self.tags)
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut needed = vec!["ec2:CopySnapshot"];
        if self.waits() {
            needed.push("ec2:DescribeSnapshots");
        }
        if !self.tags.is_empty() {
            needed.push("ec2:CreateTags");
        }
        if self.kms_key_id.is_some() {
            needed.extend(actions::KEY);
        }
        needed
    }

    fn pretended(&self) -> String {
        PRETENDED.to_owned()
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let waits = self.waits();
        let presigned = presigned::copy_snapshot(client, &self.source_snapshot_id, &self.source_region).await?;
        let request = client
            .ec2
            .copy_snapshot()
            .set_presigned_url(presigned)
            .source_region(self.source_region)
            .source_snapshot_id(self.source_snapshot_id)
            .set_description(self.description)
            .set_encrypted(self.encrypted.or(self.kms_key_id.is_some().then_some(true)))
            .set_kms_key_id(self.kms_key_id)
            .set_tag_specifications(tags::specifications(&[(ResourceType::Snapshot, &self.tags)]));
        let id = match request.send().await {
            Ok(answer) => answer.snapshot_id.unwrap_or_default(),
            Err(error) => return Err(client.failed("ec2:CopySnapshot", error).await),
        };
        if waits {
            let patience = client.patience(self.timeout.map(|limit| limit.0), wait::IMAGE);
            wait::snapshot_completed(client, &id, patience, cx)
                .await
                .map_err(|e| e.field("snapshot_id", id.as_str()))?;
        }
        Ok(id)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteSnapshot {
    snapshot_id: String,
}

impl Request for DeleteSnapshot {
    type Answer = ();
    const NAME: &'static str = "delete_snapshot";
    const FIRST: Option<&'static str> = Some("snapshot_id");

    fn check(&self) -> Result<()> {
        required("snapshot_id", &self.snapshot_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DeleteSnapshot"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ec2.delete_snapshot().snapshot_id(self.snapshot_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DeleteSnapshot", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[
    call::<Snapshots>(),
    call::<WaitSnapshot>(),
    call::<ShareSnapshot>(),
    call::<CopySnapshot>(),
    call::<DeleteSnapshot>(),
];
