//! Starting, stopping and terminating instances.

use aws_sdk_ec2::types::InstanceStateName;
use serde::Deserialize;

use super::request::{Call, Request, call, some};
use crate::builder::amazon::error::is_not_found;
use crate::builder::amazon::{Client, wait};
use crate::engine::BuildCx;
use crate::error::Result;

/// Waits until all are in a state, unless nobody wants to know.
async fn settle(
    client: &Client,
    ids: &[String],
    state: InstanceStateName,
    waits: Option<bool>,
    cx: &BuildCx,
) -> Result<()> {
    if waits == Some(false) {
        return Ok(());
    }
    let patience = client.patience(None, wait::INSTANCE);
    wait::instances_in_state(client, ids, state, patience, cx).await.map(drop)
}

/// Returns the action and, if it is waited, the one of looking.
fn actions(action: &'static str, waits: Option<bool>) -> Vec<&'static str> {
    if waits == Some(false) { vec![action] } else { vec![action, "ec2:DescribeInstances"] }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StartInstances {
    instance_ids: Vec<String>,
    wait: Option<bool>,
}

impl Request for StartInstances {
    type Answer = ();
    const NAME: &'static str = "start_instances";
    const FIRST: Option<&'static str> = Some("instance_ids");
    const CLASS: Option<&'static str> = Some("rimg.AmazonStartInstancesOptions");

    fn check(&self) -> Result<()> {
        some("instance_ids", &self.instance_ids)
    }

    fn actions(&self) -> Vec<&'static str> {
        actions("ec2:StartInstances", self.wait)
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<()> {
        if let Err(error) = client.ec2.start_instances().set_instance_ids(Some(self.instance_ids.clone())).send().await
        {
            return Err(client.failed("ec2:StartInstances", error).await);
        }
        settle(client, &self.instance_ids, InstanceStateName::Running, self.wait, cx).await
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StopInstances {
    instance_ids: Vec<String>,
    force: bool,
    wait: Option<bool>,
}

impl Request for StopInstances {
    type Answer = ();
    const NAME: &'static str = "stop_instances";
    const FIRST: Option<&'static str> = Some("instance_ids");
    const CLASS: Option<&'static str> = Some("rimg.AmazonStopInstancesOptions");

    fn check(&self) -> Result<()> {
        some("instance_ids", &self.instance_ids)
    }

    fn actions(&self) -> Vec<&'static str> {
        actions("ec2:StopInstances", self.wait)
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<()> {
        let request = client.ec2.stop_instances().set_instance_ids(Some(self.instance_ids.clone()));
        if let Err(error) = request.set_force(self.force.then_some(true)).send().await {
            return Err(client.failed("ec2:StopInstances", error).await);
        }
        settle(client, &self.instance_ids, InstanceStateName::Stopped, self.wait, cx).await
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TerminateInstances {
    instance_ids: Vec<String>,
    wait: Option<bool>,
}

impl Request for TerminateInstances {
    type Answer = ();
    const NAME: &'static str = "terminate_instances";
    const FIRST: Option<&'static str> = Some("instance_ids");
    const CLASS: Option<&'static str> = Some("rimg.AmazonTerminateInstancesOptions");

    fn check(&self) -> Result<()> {
        some("instance_ids", &self.instance_ids)
    }

    fn actions(&self) -> Vec<&'static str> {
        actions("ec2:TerminateInstances", self.wait)
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<()> {
        let terminate = |ids: &[String]| client.ec2.terminate_instances().set_instance_ids(Some(ids.to_vec())).send();
        let mut left = self.instance_ids;
        match terminate(&left).await {
            Ok(_) => {}
            // One that is long gone keeps AWS from terminating the others.
            Err(error) if is_not_found(&error) => {
                let mut there = Vec::new();
                for id in left {
                    match terminate(std::slice::from_ref(&id)).await {
                        Ok(_) => there.push(id),
                        Err(error) if is_not_found(&error) => {}
                        Err(error) => return Err(client.failed("ec2:TerminateInstances", error).await),
                    }
                }
                left = there;
            }
            Err(error) => return Err(client.failed("ec2:TerminateInstances", error).await),
        }
        match left.as_slice() {
            [] => Ok(()),
            left => settle(client, left, InstanceStateName::Terminated, self.wait, cx).await,
        }
    }
}

pub const CALLS: &[Call] = &[call::<StartInstances>(), call::<StopInstances>(), call::<TerminateInstances>()];
