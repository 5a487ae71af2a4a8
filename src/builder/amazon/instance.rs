//! Starting an instance: what is asked for, and the next best where AWS has no room.

use aws_sdk_ec2::types::{
    CapacityReservationPreference, CapacityReservationSpecification, CapacityReservationTarget,
    CreditSpecificationRequest, EnclaveOptionsRequest, HttpTokensState, IamInstanceProfileSpecification,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceNetworkInterfaceSpecification, InstanceType,
    LicenseConfigurationRequest, MarketType, Placement, ResourceType, ShutdownBehavior, SpotInstanceType,
    SpotMarketOptions, Tenancy,
};
use tokio::time::{Duration, Instant};

use super::block_device::mappings;
use super::error::{self, is_no_capacity};
use super::made::{Made, Sort};
use super::network::Place;
use super::run_options::RunOptions;
use super::tags::{self, Tags};
use super::{Client, fleet};
use crate::engine::BuildCx;
use crate::engine::options::Scalar;
use crate::error::{Error, Kind, Result};

/// How long IAM may take to tell EC2 of a profile that it has just made.
pub const PROFILE_IS_KNOWN: Duration = Duration::from_secs(120);

/// What an instance is started with beside the options: all that was found and made for it.
pub struct Launch<'a> {
    pub image: &'a str,
    pub key_name: Option<String>,
    pub security_groups: Vec<String>,
    pub profile: Option<String>,
    pub user_data: Option<String>,
    pub places: Vec<Place>,
}

/// An instance that has been started.
pub struct Started {
    pub id: String,
    pub made: Made,
}

/// Starts it: the first type in the first place that has room.
pub async fn start(client: &Client, options: &RunOptions, launch: &Launch<'_>, cx: &BuildCx) -> Result<Started> {
    let made = Made::enter(client, Sort::Instance, cx).await?;
    if let Some(strategy) = &options.spot_allocation_strategy {
        let id = fleet::start(client, options, launch, strategy, &made, cx).await?;
        return Ok(Started { id, made });
    }
    let types = options.types();
    let choices: Vec<(&str, &Place)> =
        types.iter().flat_map(|kind| launch.places.iter().map(|place| (*kind, place))).collect();
    let mut refusals = Vec::new();
    for (attempt, (kind, place)) in choices.iter().enumerate() {
        match run(client, options, launch, (kind, place), &made, attempt, cx).await {
            Ok(id) => {
                made.is(&id);
                cx.ui.info(format!("Started {id}: {kind}, {}, in {}", price(options), shown(client, place)));
                return Ok(Started { id, made });
            }
            Err(Refusal::NoRoom(error)) => {
                cx.ui.warn(format!("no {kind} in {}: {}", shown(client, place), error.message()));
                refusals.push(error);
            }
            Err(Refusal::Final(error)) => return Err(error),
        }
    }
    let tried: Vec<String> =
        choices.iter().map(|(kind, place)| format!("{kind} in {}", shown(client, place))).collect();
    let last = refusals.pop().unwrap_or_else(|| Error::new(Kind::Option, "no type of instance to start"));
    Err(match tried.len() {
        1 => last,
        _ => last.within(format_args!("no room for an instance, tried {}", tried.join(", "))),
    })
}

pub fn shown(client: &Client, place: &Place) -> String {
    place.subnet.clone().or_else(|| place.zone.clone()).unwrap_or_else(|| client.region.to_string())
}

/// Returns the class of the price.
pub fn price(options: &RunOptions) -> String {
    match options.spot_price.as_ref().map(Scalar::text) {
        None => "on demand".to_owned(),
        Some("auto") => "spot".to_owned(),
        Some(price) => format!("spot, at most ${price} an hour"),
    }
}

/// Returns the tags of all that comes with the instance.
pub fn tags_of(options: &RunOptions, made: &Made, cx: &BuildCx) -> Vec<(ResourceType, Tags)> {
    let own = made.tags(&options.run_tags, cx);
    let with = |more: &Tags| own.iter().chain(more).map(|(key, value)| (key.clone(), value.clone())).collect();
    let (volume, spot) = (with(&options.run_volume_tags), with(&options.spot_tags));
    let request = options.is_spot().then_some((ResourceType::SpotInstancesRequest, spot));
    let always =
        [(ResourceType::Instance, own.clone()), (ResourceType::Volume, volume), (ResourceType::NetworkInterface, own)];
    always.into_iter().chain(request).collect()
}

enum Refusal {
    /// Another type, or another place, may do.
    NoRoom(Error),
    Final(Error),
}

async fn run(
    client: &Client,
    options: &RunOptions,
    launch: &Launch<'_>,
    (kind, place): (&str, &Place),
    made: &Made,
    attempt: usize,
    cx: &BuildCx,
) -> std::result::Result<String, Refusal> {
    let tagged = tags_of(options, made, cx);
    let tagged: Vec<_> = tagged.iter().map(|(kind, tags)| (kind.clone(), tags)).collect();
    let request = client
        .ec2
        .run_instances()
        .image_id(launch.image)
        .instance_type(InstanceType::from(kind))
        .min_count(1)
        .max_count(1)
        // The same request that is sent again starts no second instance.
        .client_token(format!("{}-{attempt}", made.thing.mark))
        .set_tag_specifications(tags::specifications(&tagged))
        .set_key_name(launch.key_name.clone())
        .set_user_data(launch.user_data.clone())
        .set_block_device_mappings(mappings(&options.disks()))
        .set_ebs_optimized(options.ebs_optimized)
        .set_iam_instance_profile(
            launch.profile.as_ref().map(|name| IamInstanceProfileSpecification::builder().name(name).build()),
        )
        .set_instance_initiated_shutdown_behavior(options.shutdown_behavior.as_deref().map(ShutdownBehavior::from))
        .set_instance_market_options(market(options))
        .set_credit_specification(credits(options))
        .set_enclave_options(
            options.enable_nitro_enclave.then(|| EnclaveOptionsRequest::builder().enabled(true).build()),
        )
        .set_license_specifications(licenses(options))
        .set_capacity_reservation_specification(reservation(options))
        .set_placement(placement(options, place))
        .metadata_options(metadata(options));
    // Whether it has a public address can only be said of an interface, and the rest belongs there then.
    let request = match options.associate_public_ip_address {
        Some(public) => request.network_interfaces(
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .associate_public_ip_address(public)
                .delete_on_termination(true)
                .set_subnet_id(place.subnet.clone())
                .set_groups(Some(launch.security_groups.clone()))
                .build(),
        ),
        None => {
            request.set_subnet_id(place.subnet.clone()).set_security_group_ids(Some(launch.security_groups.clone()))
        }
    };
    let begun = Instant::now();
    loop {
        let failure = match request.clone().send().await {
            Ok(answer) => {
                let id =
                    answer.instances.unwrap_or_default().into_iter().next().and_then(|instance| instance.instance_id);
                let silent =
                    || Refusal::Final(Error::new(Kind::Cloud, "AWS started an instance, and did not say which"));
                return id.ok_or_else(silent);
            }
            Err(failure) => failure,
        };
        if is_unknown_profile(&failure) && launch.profile.is_some() && begun.elapsed() < PROFILE_IS_KNOWN {
            tokio::time::sleep(Duration::from_secs(2).min(client.polling.delay())).await;
            continue;
        }
        let no_room = is_no_capacity(&failure);
        let error = client.failed("ec2:RunInstances", failure).await;
        return Err(if no_room { Refusal::NoRoom(error) } else { Refusal::Final(error) });
    }
}

fn is_unknown_profile<E: error::Failure>(failure: &error::SdkError<E>) -> bool {
    let message = failure.as_service_error().and_then(|e| e.message());
    means_unknown_profile(error::code(failure), message)
}

/// Tells whether AWS says that it has not heard of the instance's profile.
pub fn means_unknown_profile(code: Option<&str>, message: Option<&str>) -> bool {
    code == Some("InvalidParameterValue") && message.is_some_and(|text| text.contains("iamInstanceProfile"))
}

fn market(options: &RunOptions) -> Option<InstanceMarketOptionsRequest> {
    let price = options.spot_price.as_ref()?.text();
    let spot = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .set_max_price((price != "auto").then(|| price.to_owned()));
    Some(InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(spot.build()).build())
}

pub fn credits(options: &RunOptions) -> Option<CreditSpecificationRequest> {
    let unlimited = options.enable_unlimited_credits?;
    Some(CreditSpecificationRequest::builder().cpu_credits(if unlimited { "unlimited" } else { "standard" }).build())
}

fn licenses(options: &RunOptions) -> Option<Vec<LicenseConfigurationRequest>> {
    let arns =
        options.license_specifications.iter().map(|l| &l.license_configuration_request.license_configuration_arn);
    let licenses: Vec<_> =
        arns.map(|arn| LicenseConfigurationRequest::builder().license_configuration_arn(arn).build()).collect();
    (!licenses.is_empty()).then_some(licenses)
}

fn reservation(options: &RunOptions) -> Option<CapacityReservationSpecification> {
    let (id, group) = (&options.capacity_reservation_id, &options.capacity_reservation_group_arn);
    if id.is_none() && group.is_none() && options.capacity_reservation_preference.is_none() {
        return None;
    }
    let target = (id.is_some() || group.is_some()).then(|| {
        CapacityReservationTarget::builder()
            .set_capacity_reservation_id(id.clone())
            .set_capacity_reservation_resource_group_arn(group.clone())
            .build()
    });
    let preference = options.capacity_reservation_preference.as_deref().map(CapacityReservationPreference::from);
    let specification = CapacityReservationSpecification::builder().set_capacity_reservation_target(target);
    Some(specification.set_capacity_reservation_preference(preference).build())
}

pub fn placement(options: &RunOptions, place: &Place) -> Option<Placement> {
    let wanted = &options.placement;
    let tenancy = wanted.tenancy.as_deref().or(options.tenancy.as_deref()).map(Tenancy::from);
    let zone = place.zone.clone();
    if zone.is_none()
        && tenancy.is_none()
        && wanted.host_id.is_none()
        && wanted.host_resource_group_arn.is_none()
        && wanted.group_name.is_none()
    {
        return None;
    }
    let placement = Placement::builder().set_availability_zone(zone).set_tenancy(tenancy);
    let placement = placement.set_host_id(wanted.host_id.clone()).set_group_name(wanted.group_name.clone());
    Some(placement.set_host_resource_group_arn(wanted.host_resource_group_arn.clone()).build())
}

/// Sessions are required unless it is said otherwise: version 1 of the service gives a role's credentials to anybody who
/// gets a program of the instance to fetch a page.
pub fn metadata(options: &RunOptions) -> InstanceMetadataOptionsRequest {
    let wanted = &options.metadata_options;
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(wanted.http_tokens.as_deref().map_or(HttpTokensState::Required, HttpTokensState::from))
        .set_http_endpoint(wanted.http_endpoint.as_deref().map(InstanceMetadataEndpointState::from))
        .set_http_put_response_hop_limit(wanted.http_put_response_hop_limit)
        .set_instance_metadata_tags(wanted.instance_metadata_tags.as_deref().map(InstanceMetadataTagsState::from))
        .build()
}
