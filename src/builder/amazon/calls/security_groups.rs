//! Security groups, and what they let in.

use std::time::Duration;

use aws_sdk_ec2::types::{self, IpPermission, IpRange, Ipv6Range, ResourceType};
use serde::{Deserialize, Serialize};

use super::convert::{list, page_size};
use super::request::{Call, Request, call, required};
use crate::builder::amazon::error::is_not_found;
use crate::builder::amazon::filters::Filters;
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::wait::{Patience, Step, until};
use crate::builder::amazon::{Client, wrong};
use crate::engine::BuildCx;
use crate::error::Result;

/// How long AWS may not yet know a group that it has just made.
const KNOWN: Duration = Duration::from_secs(60);

/// A security group as scripts have it.
#[derive(Default, Serialize)]
struct SecurityGroup {
    id: String,
    name: String,
    description: String,
    vpc_id: Option<String>,
    tags: Tags,
}

impl From<types::SecurityGroup> for SecurityGroup {
    fn from(group: types::SecurityGroup) -> SecurityGroup {
        SecurityGroup {
            tags: tags::from_sdk(group.tags()),
            id: group.group_id.unwrap_or_default(),
            name: group.group_name.unwrap_or_default(),
            description: group.description.unwrap_or_default(),
            vpc_id: group.vpc_id,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SecurityGroups {
    group_ids: Vec<String>,
    filters: Filters,
}

impl Request for SecurityGroups {
    type Answer = Vec<SecurityGroup>;
    const NAME: &'static str = "security_groups";
    const CLASS: Option<&'static str> = Some("rimg.AmazonSecurityGroupsOptions");

    fn check(&self) -> Result<()> {
        self.filters.check("filters")
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeSecurityGroups"]
    }

    fn pretended(&self) -> Vec<SecurityGroup> {
        let ids = self.group_ids.iter();
        ids.map(|id| SecurityGroup { id: id.clone(), name: "pretended".into(), ..SecurityGroup::default() }).collect()
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<SecurityGroup>> {
        let request = client
            .ec2
            .describe_security_groups()
            .set_max_results(page_size(&self.group_ids))
            .set_group_ids(list(self.group_ids))
            .set_filters(self.filters.request());
        match request.into_paginator().items().send().try_collect().await {
            Ok(found) => Ok(found.into_iter().map(SecurityGroup::from).collect()),
            Err(error) => Err(client.failed("ec2:DescribeSecurityGroups", error).await),
        }
    }
}

/// What a group lets in.
#[derive(Default, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingress {
    protocol: Option<String>,
    from_port: Option<i32>,
    to_port: Option<i32>,
    cidrs: Vec<String>,
}

impl Ingress {
    fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or("tcp")
    }

    fn check(&self) -> Result<()> {
        if !matches!(self.protocol(), "tcp" | "udp" | "icmp" | "icmpv6" | "-1") {
            return Err(wrong("ingress.protocol", "is tcp, udp, icmp, icmpv6, or -1 for all"));
        }
        if let (Some(from), Some(to)) = (self.from_port, self.to_port)
            && from > to
        {
            return Err(wrong("ingress.to_port", format_args!("is {to}, which is less than from_port, {from}")));
        }
        if self.cidrs.is_empty() {
            return Err(wrong("ingress.cidrs", "is required"));
        }
        let is_range = |cidr: &String| {
            let (address, bits) = cidr.split_once('/')?;
            let most = if address.parse::<std::net::IpAddr>().ok()?.is_ipv6() { 128 } else { 32 };
            (bits.parse::<u8>().ok()? <= most).then_some(())
        };
        match self.cidrs.iter().find(|cidr| is_range(cidr).is_none()) {
            Some(other) => {
                Err(wrong("ingress.cidrs", format_args!("{other:?} is no range such as \"203.0.113.0/24\"")))
            }
            None => Ok(()),
        }
    }

    /// Returns the ports, or the types of ICMP, as AWS wants them: all of them where nothing is said.
    fn ports(&self) -> (Option<i32>, Option<i32>) {
        match (self.protocol(), self.from_port) {
            ("-1", _) => (None, None),
            ("icmp" | "icmpv6", from) => (from.or(Some(-1)), self.to_port.or(Some(-1))),
            (_, Some(from)) => (Some(from), self.to_port.or(Some(from))),
            (_, None) => (Some(0), self.to_port.or(Some(65535))),
        }
    }

    fn to_sdk(&self) -> IpPermission {
        let (from, to) = self.ports();
        let (six, four): (Vec<_>, Vec<_>) = self.cidrs.iter().partition(|cidr| cidr.contains(':'));
        IpPermission::builder()
            .ip_protocol(self.protocol())
            .set_from_port(from)
            .set_to_port(to)
            .set_ip_ranges(list(four.into_iter().map(|cidr| IpRange::builder().cidr_ip(cidr).build()).collect()))
            .set_ipv6_ranges(list(six.into_iter().map(|cidr| Ipv6Range::builder().cidr_ipv6(cidr).build()).collect()))
            .build()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CreateSecurityGroup {
    name: String,
    description: Option<String>,
    vpc_id: Option<String>,
    tags: Tags,
    ingress: Vec<Ingress>,
}

impl Request for CreateSecurityGroup {
    type Answer = String;
    const NAME: &'static str = "create_security_group";
    const CLASS: Option<&'static str> = Some("rimg.AmazonCreateSecurityGroupOptions");

    fn check(&self) -> Result<()> {
        required("name", &self.name)?;
        tags::check("tags", &self.tags)?;
        self.ingress.iter().try_for_each(Ingress::check)
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut actions = vec!["ec2:CreateSecurityGroup"];
        if !self.ingress.is_empty() {
            actions.extend(["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup"]);
        }
        if !self.tags.is_empty() {
            actions.push("ec2:CreateTags");
        }
        actions
    }

    fn pretended(&self) -> String {
        "sg-0123456789abcdef0".to_owned()
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let request = client
            .ec2
            .create_security_group()
            .description(self.description.unwrap_or_else(|| self.name.clone()))
            .group_name(self.name)
            .set_vpc_id(self.vpc_id)
            .set_tag_specifications(tags::specifications(&[(ResourceType::SecurityGroup, &self.tags)]));
        let id = match request.send().await {
            Ok(answer) => answer.group_id.unwrap_or_default(),
            Err(error) => return Err(client.failed("ec2:CreateSecurityGroup", error).await),
        };
        if self.ingress.is_empty() {
            return Ok(id);
        }
        let permissions = self.ingress.iter().map(Ingress::to_sdk).collect();
        match authorize(client, &id, permissions, cx).await {
            Ok(()) => Ok(id),
            Err(error) => {
                // Half of a group is none; nobody has its id.
                if let Err(left) = client.ec2.delete_security_group().group_id(&id).send().await {
                    cx.ui.warn(client.failed("ec2:DeleteSecurityGroup", left).await.to_string());
                }
                Err(error)
            }
        }
    }
}

/// Lets in what a new group is to let in.
pub async fn authorize(client: &Client, id: &str, permissions: Vec<IpPermission>, cx: &BuildCx) -> Result<()> {
    let patience = Patience { delay: client.polling.delay(), limit: KNOWN };
    let what = format!("security group {id} in {}", client.region);
    until(patience, &what, cx, async |waited| {
        let request = client.ec2.authorize_security_group_ingress().group_id(id);
        match request.set_ip_permissions(Some(permissions.clone())).send().await {
            Ok(_) => Ok(Step::Done(())),
            Err(error) if is_not_found(&error) && waited < KNOWN => {
                Ok(Step::Pending { state: "unknown to AWS".to_owned(), percent: None })
            }
            Err(error) => Err(client.failed("ec2:AuthorizeSecurityGroupIngress", error).await),
        }
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteSecurityGroup {
    group_id: String,
}

impl Request for DeleteSecurityGroup {
    type Answer = ();
    const NAME: &'static str = "delete_security_group";
    const FIRST: Option<&'static str> = Some("group_id");

    fn check(&self) -> Result<()> {
        required("group_id", &self.group_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DeleteSecurityGroup"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ec2.delete_security_group().group_id(self.group_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DeleteSecurityGroup", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[call::<SecurityGroups>(), call::<CreateSecurityGroup>(), call::<DeleteSecurityGroup>()];

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(protocol: &str, from: Option<i32>, to: Option<i32>) -> Ingress {
        let cidrs = vec!["203.0.113.0/24".to_owned(), "2001:db8::/32".to_owned()];
        Ingress { protocol: Some(protocol.to_owned()), from_port: from, to_port: to, cidrs }
    }

    #[test]
    fn ports_are_what_aws_wants() {
        assert_eq!(ingress("tcp", Some(22), None).ports(), (Some(22), Some(22)));
        assert_eq!(ingress("udp", Some(1), Some(9)).ports(), (Some(1), Some(9)));
        assert_eq!(ingress("tcp", None, None).ports(), (Some(0), Some(65535)));
        assert_eq!(ingress("icmp", None, None).ports(), (Some(-1), Some(-1)));
        assert_eq!(ingress("-1", Some(5), None).ports(), (None, None));
        let made = ingress("tcp", Some(22), None).to_sdk();
        assert_eq!(made.ip_ranges()[0].cidr_ip(), Some("203.0.113.0/24"));
        assert_eq!(made.ipv6_ranges()[0].cidr_ipv6(), Some("2001:db8::/32"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        ingress("tcp", Some(22), None).check().unwrap();
        for (wrong, option) in [
            (ingress("tpc", None, None), "ingress.protocol"),
            (ingress("tcp", Some(2), Some(1)), "ingress.to_port"),
            (Ingress::default(), "ingress.cidrs"),
            (Ingress { cidrs: vec!["203.0.113.1".into()], ..Ingress::default() }, "ingress.cidrs"),
            (Ingress { cidrs: vec!["203.0.113.1/33".into()], ..Ingress::default() }, "ingress.cidrs"),
            (Ingress { cidrs: vec!["everywhere/0".into()], ..Ingress::default() }, "ingress.cidrs"),
        ] {
            assert_eq!(wrong.check().unwrap_err().get("option"), Some(&option.into()));
        }
    }
}
