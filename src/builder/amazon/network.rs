//! Where an instance is put, and who reaches it.

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, ResourceType, Subnet};

use super::error::{code, is_duplicate};
use super::filters::filter;
use super::made::{Made, Sort};
use super::run_options::RunOptions;
use super::{Client, tags, wrong};
use crate::engine::{BuildCx, ResourceId};
use crate::error::{Error, Kind, Result};

/// Whoever knows the key, from anywhere.
const ANYWHERE: &str = "0.0.0.0/0";
/// Tells the address that requests come from.
const OWN_ADDRESS: &str = "https://checkip.amazonaws.com";

/// A place for an instance; AWS chooses what is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub subnet: Option<String>,
    pub zone: Option<String>,
}

/// Where the instance may be put, the wanted place first, and in which network.
pub struct Network {
    pub places: Vec<Place>,
    vpc: Option<String>,
}

impl Network {
    /// Finds the network, and the subnet in each zone that is asked for.
    pub async fn find(client: &Client, options: &RunOptions) -> Result<Network> {
        let zones = options.availability_zone.list();
        let vpc = vpc(client, options).await?;
        let Some(wanted) = &options.subnet_filter else {
            let place = |zone| Place { subnet: options.subnet_id.clone(), zone };
            let places = match zones.is_empty() || options.subnet_id.is_some() {
                true => vec![place(None)],
                false => zones.into_iter().map(|zone| place(Some(zone))).collect(),
            };
            return Ok(Network { places, vpc });
        };
        let subnets = subnets(client, options, vpc.as_deref(), &zones).await?;
        let vpc = vpc.or_else(|| subnets.first().and_then(|subnet| subnet.vpc_id.clone()));
        let groups: Vec<Vec<Subnet>> = match zones.is_empty() {
            true => vec![subnets],
            false => zones.iter().map(|zone| in_zone(&subnets, zone)).collect(),
        };
        let chosen = groups.into_iter().filter(|group| !group.is_empty());
        let places = chosen.map(|group| choose(group, wanted.most_free, wanted.random)).collect::<Result<Vec<_>>>()?;
        if places.is_empty() {
            return Err(wrong(
                "subnet_filter",
                format!("there is no subnet with {} in {}", wanted.filters, client.region),
            ));
        }
        Ok(Network { places, vpc })
    }

    /// Returns the security groups of the instance: those that are named or found, else one that is made for it, which
    /// lets `port` in; that comes with what it is as a resource.
    pub async fn security_groups(
        &self,
        client: &Client,
        options: &RunOptions,
        port: u16,
        cx: &BuildCx,
    ) -> Result<(Vec<String>, Option<ResourceId>)> {
        if let Some(wanted) = &options.security_group_filter {
            let in_vpc = self.vpc.iter().map(|vpc| filter("vpc-id", [vpc]));
            let filters = wanted.filters.request().unwrap_or_default().into_iter().chain(in_vpc).collect();
            let found = client.ec2.describe_security_groups().set_filters(Some(filters)).send().await;
            let found = match found {
                Ok(answer) => answer.security_groups.unwrap_or_default(),
                Err(e) => return Err(client.failed("ec2:DescribeSecurityGroups", e).await),
            };
            let ids: Vec<String> = found.into_iter().filter_map(|group| group.group_id).collect();
            if ids.is_empty() {
                let message = format!("there is no security group with {} in {}", wanted.filters, client.region);
                return Err(wrong("security_group_filter", message));
            }
            return Ok((ids, None));
        }
        let named: Vec<String> = options.security_group_id.iter().chain(&options.security_group_ids).cloned().collect();
        if !named.is_empty() {
            return Ok((named, None));
        }
        let (id, made) = self.own_group(client, options, port, cx).await?;
        Ok((vec![id], Some(made)))
    }

    /// Makes a security group for one instance.
    async fn own_group(
        &self,
        client: &Client,
        options: &RunOptions,
        port: u16,
        cx: &BuildCx,
    ) -> Result<(String, ResourceId)> {
        let vpc = match (&self.vpc, &options.subnet_id) {
            (None, Some(subnet)) => Some(vpc_of(client, subnet).await?),
            (vpc, _) => vpc.clone(),
        };
        let sources = sources(options).await?;
        let made = Made::enter(client, Sort::SecurityGroup, cx).await?;
        let group_tags = made.tags(&options.run_tags, cx);
        let request = client
            .ec2
            .create_security_group()
            .group_name(&made.thing.mark)
            .description(
                format!("Access to an instance that {} is built on", cx.build).replace(|c: char| !c.is_ascii(), "?"),
            )
            .set_vpc_id(vpc)
            .set_tag_specifications(tags::specifications(&[(ResourceType::SecurityGroup, &group_tags)]));
        let id = match request.send().await {
            Ok(answer) => answer.group_id,
            // Sent again, because the first answer was lost.
            Err(e) if is_duplicate(&e) => id_of(client, &made.thing.mark).await?,
            Err(e) => return Err(client.failed("ec2:CreateSecurityGroup", e).await),
        };
        let id = id.ok_or_else(|| Error::new(Kind::Cloud, "AWS made a security group, and did not say which"))?;
        made.is(&id);
        if options.ssh_interface.as_deref() == Some("session_manager") {
            return Ok((id, made.resource));
        }
        let allowed =
            client.ec2.authorize_security_group_ingress().group_id(&id).ip_permissions(permission(port, &sources));
        match allowed.send().await {
            Err(e) if code(&e) != Some("InvalidPermission.Duplicate") => {
                Err(client.failed("ec2:AuthorizeSecurityGroupIngress", e).await)
            }
            _ => Ok((id, made.resource)),
        }
    }
}

fn permission(port: u16, sources: &[String]) -> IpPermission {
    let (v6, v4): (Vec<&String>, Vec<&String>) = sources.iter().partition(|cidr| cidr.contains(':'));
    let v4 = v4.into_iter().map(|cidr| IpRange::builder().cidr_ip(cidr).build()).collect::<Vec<_>>();
    let v6 = v6.into_iter().map(|cidr| Ipv6Range::builder().cidr_ipv6(cidr).build()).collect::<Vec<_>>();
    IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(i32::from(port))
        .to_port(i32::from(port))
        .set_ip_ranges((!v4.is_empty()).then_some(v4))
        .set_ipv6_ranges((!v6.is_empty()).then_some(v6))
        .build()
}

/// Returns the networks that the instance may be reached from.
async fn sources(options: &RunOptions) -> Result<Vec<String>> {
    let mut sources = options.temporary_security_group_source_cidrs.clone();
    if options.temporary_security_group_source_public_ip {
        sources.push(format!("{}/32", own_address().await?));
    }
    if sources.is_empty() {
        sources.push(ANYWHERE.to_owned());
    }
    Ok(sources)
}

/// Asks under which address this host is seen.
async fn own_address() -> Result<std::net::Ipv4Addr> {
    let failed = || Error::new(Kind::Network, format!("{OWN_ADDRESS} does not tell this host's public address"));
    let answer = crate::media::http::client()?.get(OWN_ADDRESS).send().await.map_err(|e| failed().caused_by(e))?;
    let text = answer.text().await.map_err(|e| failed().caused_by(e))?;
    text.trim().parse().map_err(|e| failed().caused_by(e))
}

async fn id_of(client: &Client, name: &str) -> Result<Option<String>> {
    match client.ec2.describe_security_groups().filters(filter("group-name", [name])).send().await {
        Ok(answer) => {
            Ok(answer.security_groups.unwrap_or_default().into_iter().next().and_then(|group| group.group_id))
        }
        Err(e) => Err(client.failed("ec2:DescribeSecurityGroups", e).await),
    }
}

async fn vpc_of(client: &Client, subnet: &str) -> Result<String> {
    let answer = match client.ec2.describe_subnets().subnet_ids(subnet).send().await {
        Ok(answer) => answer,
        Err(e) => return Err(client.failed("ec2:DescribeSubnets", e).await),
    };
    let vpc = answer.subnets.unwrap_or_default().into_iter().next().and_then(|subnet| subnet.vpc_id);
    vpc.ok_or_else(|| wrong("subnet_id", format!("there is no subnet {subnet} in {}", client.region)))
}

async fn vpc(client: &Client, options: &RunOptions) -> Result<Option<String>> {
    let Some(wanted) = options.vpc_filter.as_ref().filter(|_| options.vpc_id.is_none()) else {
        return Ok(options.vpc_id.clone());
    };
    let found = match client.ec2.describe_vpcs().set_filters(wanted.filters.request()).send().await {
        Ok(answer) => answer.vpcs.unwrap_or_default(),
        Err(e) => return Err(client.failed("ec2:DescribeVpcs", e).await),
    };
    match found.as_slice() {
        [vpc] => Ok(vpc.vpc_id.clone()),
        found => Err(wrong(
            "vpc_filter",
            format!("expected one network with {} in {}, found {}", wanted.filters, client.region, found.len()),
        )),
    }
}

async fn subnets(client: &Client, options: &RunOptions, vpc: Option<&str>, zones: &[String]) -> Result<Vec<Subnet>> {
    let wanted = options.subnet_filter.as_ref().and_then(|wanted| wanted.filters.request()).unwrap_or_default();
    let in_vpc = vpc.map(|vpc| filter("vpc-id", [vpc]));
    let in_zones = (!zones.is_empty()).then(|| filter("availability-zone", zones));
    let filters = wanted.into_iter().chain(in_vpc).chain(in_zones).collect();
    match client.ec2.describe_subnets().set_filters(Some(filters)).send().await {
        Ok(answer) => Ok(answer.subnets.unwrap_or_default()),
        Err(e) => Err(client.failed("ec2:DescribeSubnets", e).await),
    }
}

fn in_zone(subnets: &[Subnet], zone: &str) -> Vec<Subnet> {
    subnets.iter().filter(|subnet| subnet.availability_zone() == Some(zone)).cloned().collect()
}

fn choose(mut subnets: Vec<Subnet>, most_free: bool, random: bool) -> Result<Place> {
    if subnets.len() > 1 && !most_free && !random {
        let ids: Vec<&str> = subnets.iter().filter_map(Subnet::subnet_id).collect();
        return Err(wrong("subnet_filter", format!("finds {} subnets: {}", ids.len(), ids.join(", ")))
            .hint("most_free = true takes the one with the most free addresses, random = true any"));
    }
    if random {
        let any = uuid::Uuid::new_v4().as_u128() % (subnets.len().max(1) as u128);
        subnets.rotate_left(usize::try_from(any).unwrap_or_default());
        subnets.truncate(1);
    }
    let best = subnets.into_iter().max_by_key(|subnet| subnet.available_ip_address_count.unwrap_or_default());
    Ok(best.map_or_else(Place::default, |subnet| Place { subnet: subnet.subnet_id, zone: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_subnets_is_chosen_only_where_it_is_said_how() {
        let subnet = |id: &str, free| Subnet::builder().subnet_id(id).available_ip_address_count(free).build();
        let subnets = || vec![subnet("a", 3), subnet("b", 9), subnet("c", 5)];
        assert_eq!(choose(subnets(), true, false).unwrap().subnet.as_deref(), Some("b"));
        assert!(choose(subnets(), false, true).unwrap().subnet.is_some());
        assert!(choose(subnets(), false, false).unwrap_err().message().contains("a, b, c"));
        assert_eq!(choose(vec![subnet("a", 0)], false, false).unwrap().subnet.as_deref(), Some("a"));
    }

    #[test]
    fn networks_of_both_kinds_are_let_in() {
        let permission = permission(2222, &["10.0.0.0/8".into(), "2001:db8::/32".into()]);
        assert_eq!((permission.from_port(), permission.to_port()), (Some(2222), Some(2222)));
        assert_eq!(permission.ip_ranges()[0].cidr_ip(), Some("10.0.0.0/8"));
        assert_eq!(permission.ipv6_ranges()[0].cidr_ipv6(), Some("2001:db8::/32"));
    }
}
