//! Instances: which there are, and what they have to say.

use aws_sdk_ec2::types;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::convert::{list, page_size, time};
use super::request::{Call, Request, call, required};
use crate::builder::amazon::Client;
use crate::builder::amazon::error::code;
use crate::builder::amazon::filters::Filters;
use crate::builder::amazon::tags::{self, Tags};
use crate::engine::BuildCx;
use crate::error::Result;

/// An instance as scripts have it.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Instance {
    id: String,
    state: String,
    state_reason: Option<String>,
    r#type: String,
    image_id: String,
    key_name: Option<String>,
    launch_time: Option<String>,
    availability_zone: Option<String>,
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    public_ip: Option<String>,
    private_ip: Option<String>,
    public_dns: Option<String>,
    private_dns: Option<String>,
    ipv6: Option<String>,
    lifecycle: Option<String>,
    security_groups: Vec<String>,
    tags: Tags,
}

/// Returns a text, unless it is empty: AWS says so for what is not there.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl From<types::Instance> for Instance {
    fn from(instance: types::Instance) -> Instance {
        let reason = instance.state_reason.and_then(|reason| reason.message);
        Instance {
            tags: tags::from_sdk(instance.tags.as_deref().unwrap_or_default()),
            launch_time: time(instance.launch_time.as_ref()),
            id: instance.instance_id.unwrap_or_default(),
            state: instance.state.and_then(|state| state.name).map(|name| name.as_str().to_owned()).unwrap_or_default(),
            state_reason: some(reason).or(some(instance.state_transition_reason)),
            r#type: instance.instance_type.map(|it| it.as_str().to_owned()).unwrap_or_default(),
            image_id: instance.image_id.unwrap_or_default(),
            key_name: some(instance.key_name),
            availability_zone: instance.placement.and_then(|place| place.availability_zone),
            subnet_id: some(instance.subnet_id),
            vpc_id: some(instance.vpc_id),
            public_ip: some(instance.public_ip_address),
            private_ip: some(instance.private_ip_address),
            public_dns: some(instance.public_dns_name),
            private_dns: some(instance.private_dns_name),
            ipv6: some(instance.ipv6_address),
            lifecycle: instance.instance_lifecycle.map(|it| it.as_str().to_owned()),
            security_groups: instance
                .security_groups
                .unwrap_or_default()
                .into_iter()
                .filter_map(|group| group.group_id)
                .collect(),
        }
    }
}

impl Instance {
    fn pretended(id: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            state: "running".into(),
            r#type: "t3.micro".into(),
            image_id: super::images::PRETENDED.to_owned(),
            private_ip: Some("10.0.0.10".into()),
            ..Instance::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Instances {
    instance_ids: Vec<String>,
    filters: Filters,
}

impl Request for Instances {
    type Answer = Vec<Instance>;
    const NAME: &'static str = "instances";
    const CLASS: Option<&'static str> = Some("rimg.AmazonInstancesOptions");

    fn check(&self) -> Result<()> {
        self.filters.check("filters")
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeInstances"]
    }

    fn pretended(&self) -> Vec<Instance> {
        match self.instance_ids.as_slice() {
            [] => vec![Instance::pretended("i-0123456789abcdef0")],
            ids => ids.iter().map(|id| Instance::pretended(id)).collect(),
        }
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<Instance>> {
        let request = client
            .ec2
            .describe_instances()
            .set_max_results(page_size(&self.instance_ids))
            .set_instance_ids(list(self.instance_ids))
            .set_filters(self.filters.request());
        match request.into_paginator().items().send().try_collect().await {
            Ok(found) => {
                let instances = found.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default());
                Ok(instances.map(Instance::from).collect())
            }
            Err(error) => Err(client.failed("ec2:DescribeInstances", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConsoleOutput {
    instance_id: String,
}

impl Request for ConsoleOutput {
    type Answer = String;
    const NAME: &'static str = "console_output";
    const FIRST: Option<&'static str> = Some("instance_id");

    fn check(&self) -> Result<()> {
        required("instance_id", &self.instance_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:GetConsoleOutput"]
    }

    fn pretended(&self) -> String {
        String::new()
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<String> {
        console_output(client, &self.instance_id).await
    }
}

/// Returns what an instance has written to its console; the newest of it, where its type can tell.
pub async fn console_output(client: &Client, instance_id: &str) -> Result<String> {
    let request = || client.ec2.get_console_output().instance_id(instance_id);
    let answer = match request().latest(true).send().await {
        Err(error) if code(&error) == Some("UnsupportedOperation") => request().send().await,
        answer => answer,
    };
    match answer {
        Ok(answer) => Ok(console_text(&answer.output.unwrap_or_default())),
        Err(error) => Err(client.failed("ec2:GetConsoleOutput", error).await),
    }
}

/// Returns the text in the base64 that AWS sends; what is none is the text.
fn console_text(encoded: &str) -> String {
    let bare: String = encoded.split_whitespace().collect();
    let decoded = STANDARD.decode(bare);
    decoded.map_or_else(|_| encoded.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub const CALLS: &[Call] = &[call::<Instances>(), call::<ConsoleOutput>()];

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{GroupIdentifier, InstanceState, InstanceStateName, InstanceType, Placement};

    use super::*;

    #[test]
    fn an_instance_of_the_sdk_is_one_of_the_script() {
        let instance = types::Instance::builder()
            .instance_id("i-1")
            .instance_type(InstanceType::T3Micro)
            .state(InstanceState::builder().name(InstanceStateName::ShuttingDown).build())
            .state_transition_reason("User initiated")
            .public_dns_name("")
            .placement(Placement::builder().availability_zone("eu-west-1a").build())
            .security_groups(GroupIdentifier::builder().group_id("sg-1").build())
            .build();
        let expected = Instance {
            id: "i-1".into(),
            r#type: "t3.micro".into(),
            state: "shutting-down".into(),
            state_reason: Some("User initiated".into()),
            availability_zone: Some("eu-west-1a".into()),
            security_groups: vec!["sg-1".into()],
            ..Instance::default()
        };
        assert_eq!(Instance::from(instance), expected);
    }

    #[test]
    fn a_console_is_decoded() {
        assert_eq!(console_text("bG9n\naW46\n"), "login:");
        assert_eq!((console_text("not base64!"), console_text("")), ("not base64!".into(), String::new()));
    }
}
