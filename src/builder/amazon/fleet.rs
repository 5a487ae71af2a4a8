//! A spot instance of which AWS chooses the type and the place, by a strategy: a fleet of one.

use aws_sdk_ec2::types::{
    CreateFleetError, DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverrides,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest, FleetType, InstanceType,
    ResourceType, SpotAllocationStrategy, SpotInstanceInterruptionBehavior, SpotOptionsRequest,
    TargetCapacitySpecificationRequest,
};
use tokio::time::{Duration, Instant};

use super::instance::{self, Launch};
use super::made::Made;
use super::network::Place;
use super::run_options::RunOptions;
use super::{Client, error, launch_template, tags};
use crate::engine::BuildCx;
use crate::engine::options::Scalar;
use crate::error::{Error, Kind, Result};

/// Starts the instance that is entered as `made`, and returns its id.
pub async fn start(
    client: &Client,
    options: &RunOptions,
    launch: &Launch<'_>,
    strategy: &str,
    made: &Made,
    cx: &BuildCx,
) -> Result<String> {
    let tagged = instance::tags_of(options, made, cx);
    let template = launch_template::make(client, options, launch, tagged, cx).await?;
    let mut own = made.tags(&options.run_tags, cx);
    own.extend(options.fleet_tags.clone());
    let choices = overrides(options, &launch.places, strategy);
    let by = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_name(&template.thing.mark)
        .version("$Latest")
        .build();
    let spot = SpotOptionsRequest::builder()
        .allocation_strategy(SpotAllocationStrategy::from(strategy))
        .instance_interruption_behavior(SpotInstanceInterruptionBehavior::Terminate);
    let one = TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(1)
        .default_target_capacity_type(DefaultTargetCapacityType::Spot);
    let request = client
        .ec2
        .create_fleet()
        .r#type(FleetType::Instant)
        .launch_template_configs(
            FleetLaunchTemplateConfigRequest::builder()
                .launch_template_specification(by)
                .set_overrides(Some(choices))
                .build(),
        )
        .spot_options(spot.build())
        .target_capacity_specification(one.build())
        .set_tag_specifications(tags::specifications(&[(ResourceType::Fleet, &own)]));
    let begun = Instant::now();
    let mut attempt = 0;
    loop {
        // The same request that is sent again starts no second instance; another attempt is another request.
        let asked = request.clone().client_token(format!("{}-{attempt}", made.thing.mark)).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(e) => return Err(client.failed("ec2:CreateFleet", e).await),
        };
        let started = answer.instances().iter().find_map(|some| Some((some, some.instance_ids().first()?)));
        if let Some((instance, id)) = started {
            made.is(id);
            let kind = instance.instance_type().map_or("an instance", InstanceType::as_str);
            let chosen = instance.launch_template_and_overrides().and_then(|both| both.overrides());
            let place = instance::shown(client, &place(chosen));
            cx.ui.info(format!("Started {id}: {kind}, {}, in {place}, by {strategy}", instance::price(options)));
            // What cannot be removed now stays in the journal, and is no reason to lose the instance.
            if let Err(e) = cx.resources.release(template.resource).await {
                cx.ui.warn(e.to_string());
            }
            return Ok(id.clone());
        }
        let errors = answer.errors();
        let unknown = |e: &CreateFleetError| instance::means_unknown_profile(e.error_code(), e.error_message());
        if launch.profile.is_some() && errors.iter().any(unknown) && begun.elapsed() < instance::PROFILE_IS_KNOWN {
            tokio::time::sleep(Duration::from_secs(2).min(client.polling.delay())).await;
            attempt += 1;
            continue;
        }
        return Err(none(client, errors));
    }
}

/// Returns the choices that AWS has: each type in each place, the most wanted first.
fn overrides(options: &RunOptions, places: &[Place], strategy: &str) -> Vec<FleetLaunchTemplateOverridesRequest> {
    let price = options.spot_price.as_ref().map(Scalar::text).filter(|price| *price != "auto");
    let types = options.types();
    let choices = types.iter().flat_map(|kind| places.iter().map(move |place| (*kind, place)));
    let prioritized = strategy == SpotAllocationStrategy::CapacityOptimizedPrioritized.as_str();
    let choice = |(rank, (kind, place)): (u16, (&str, &Place))| {
        FleetLaunchTemplateOverridesRequest::builder()
            .instance_type(InstanceType::from(kind))
            .set_subnet_id(place.subnet.clone())
            .set_availability_zone(place.zone.clone())
            .set_max_price(price.map(str::to_owned))
            .set_priority(prioritized.then_some(f64::from(rank)))
            .build()
    };
    (0..).zip(choices).map(choice).collect()
}

fn place(chosen: Option<&FleetLaunchTemplateOverrides>) -> Place {
    let subnet = chosen.and_then(|chosen| chosen.subnet_id()).map(str::to_owned);
    Place { subnet, zone: chosen.and_then(|chosen| chosen.availability_zone()).map(str::to_owned) }
}

/// Says why there is no instance: what AWS said first, and what else it said of the other choices.
fn none(client: &Client, errors: &[CreateFleetError]) -> Error {
    let of = |e: &CreateFleetError| {
        let chosen = e.launch_template_and_overrides().and_then(|both| both.overrides());
        let kind = chosen.and_then(|chosen| chosen.instance_type()).map_or("an instance", InstanceType::as_str);
        format!("{kind} in {}", instance::shown(client, &place(chosen)))
    };
    let Some(first) = errors.first() else {
        return Error::new(Kind::Cloud, "AWS made a fleet without an instance, and did not say why");
    };
    let tried: Vec<String> = errors.iter().map(of).collect();
    let said =
        |e: &CreateFleetError| (e.error_code().unwrap_or_default().to_owned(), e.error_message().map(str::to_owned));
    let (code, message) = said(first);
    // A fleet launches in the name of whoever asked for it.
    let mut error = error::refused("ec2:RunInstances", &client.region, &code, message.as_deref().unwrap_or_default())
        .within(format_args!("no spot instance, tried {}", tried.join(", ")));
    for other in errors.iter().filter(|other| said(other) != said(first)) {
        let (code, message) = said(other);
        error = error.hint(format!("{}: {} ({code})", of(other), message.unwrap_or_default()));
    }
    error
}
