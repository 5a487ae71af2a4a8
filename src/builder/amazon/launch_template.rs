//! A launch template, which a fleet starts its instance by: what the request for one instance says, in another form.

use aws_sdk_ec2::types::{
    InstanceMetadataOptionsRequest, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceMetadataTagsState, LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
    LaunchTemplateLicenseConfigurationRequest, LaunchTemplatePlacementRequest, LaunchTemplateTagSpecificationRequest,
    RequestLaunchTemplateData, ResourceType, ShutdownBehavior,
};

use super::Client;
use super::block_device::BlockDevice;
use super::error::{is_duplicate, is_not_found};
use super::filters::filter;
use super::instance::{self, Launch};
use super::made::{Made, Sort};
use super::network::Place;
use super::run_options::RunOptions;
use super::tags::{self, Tags};
use crate::engine::BuildCx;
use crate::error::Result;

/// Makes a template for an instance that has these tags; it is found by its mark, which is its name.
pub async fn make(
    client: &Client,
    options: &RunOptions,
    launch: &Launch<'_>,
    tagged: Vec<(ResourceType, Tags)>,
    cx: &BuildCx,
) -> Result<Made> {
    let made = Made::enter(client, Sort::LaunchTemplate, cx).await?;
    let own = made.tags(&options.run_tags, cx);
    let request = client
        .ec2
        .create_launch_template()
        .launch_template_name(&made.thing.mark)
        .client_token(&made.thing.mark)
        .launch_template_data(data(options, launch, tagged))
        .set_tag_specifications(tags::specifications(&[(ResourceType::LaunchTemplate, &own)]));
    match request.send().await {
        // Sent again, because the first answer was lost.
        Err(e) if !is_duplicate(&e) => Err(client.failed("ec2:CreateLaunchTemplate", e).await),
        _ => Ok(made),
    }
}

/// Removes the template of a name; with `dry_run`, only looks. Tells whether it was there.
pub async fn remove(client: &Client, name: &str, dry_run: bool) -> Result<bool> {
    if dry_run {
        let search = client.ec2.describe_launch_templates().filters(filter("launch-template-name", [name]));
        return match search.send().await {
            Ok(answer) => Ok(!answer.launch_templates().is_empty()),
            Err(e) => Err(client.failed("ec2:DescribeLaunchTemplates", e).await),
        };
    }
    match client.ec2.delete_launch_template().launch_template_name(name).send().await {
        Ok(_) => Ok(true),
        Err(e) if is_not_found(&e) => Ok(false),
        Err(e) => Err(client.failed("ec2:DeleteLaunchTemplate", e).await),
    }
}

fn data(options: &RunOptions, launch: &Launch<'_>, tagged: Vec<(ResourceType, Tags)>) -> RequestLaunchTemplateData {
    let tagged = tagged.into_iter().map(|(kind, tags)| {
        let specification = LaunchTemplateTagSpecificationRequest::builder().resource_type(kind);
        specification.set_tags(Some(tags::to_sdk(&tags))).build()
    });
    let disks: Vec<_> = options.disks().iter().map(mapping).collect();
    let licenses: Vec<_> = options
        .license_specifications
        .iter()
        .map(|license| {
            let arn = &license.license_configuration_request.license_configuration_arn;
            LaunchTemplateLicenseConfigurationRequest::builder().license_configuration_arn(arn).build()
        })
        .collect();
    let profile = launch
        .profile
        .as_ref()
        .map(|name| LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(name).build());
    let data = RequestLaunchTemplateData::builder()
        .image_id(launch.image)
        .set_tag_specifications(Some(tagged.collect()))
        .set_key_name(launch.key_name.clone())
        .set_user_data(launch.user_data.clone())
        .set_block_device_mappings((!disks.is_empty()).then_some(disks))
        .set_ebs_optimized(options.ebs_optimized)
        .set_iam_instance_profile(profile)
        .set_instance_initiated_shutdown_behavior(options.shutdown_behavior.as_deref().map(ShutdownBehavior::from))
        .set_credit_specification(instance::credits(options))
        .set_license_specifications((!licenses.is_empty()).then_some(licenses))
        .set_placement(placement(options))
        .metadata_options(metadata(&instance::metadata(options)));
    let groups = Some(launch.security_groups.clone());
    // The subnet is that of the place which the fleet chooses.
    match options.associate_public_ip_address {
        Some(public) => data.network_interfaces(
            LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
                .device_index(0)
                .associate_public_ip_address(public)
                .delete_on_termination(true)
                .set_groups(groups)
                .build(),
        ),
        None => data.set_security_group_ids(groups),
    }
    .build()
}

fn mapping(device: &BlockDevice) -> LaunchTemplateBlockDeviceMappingRequest {
    let device = device.mapping();
    let disk = device.ebs.map(|disk| {
        LaunchTemplateEbsBlockDeviceRequest::builder()
            .set_volume_size(disk.volume_size)
            .set_volume_type(disk.volume_type)
            .set_iops(disk.iops)
            .set_throughput(disk.throughput)
            .set_encrypted(disk.encrypted)
            .set_kms_key_id(disk.kms_key_id)
            .set_snapshot_id(disk.snapshot_id)
            .set_delete_on_termination(disk.delete_on_termination)
            .build()
    });
    LaunchTemplateBlockDeviceMappingRequest::builder()
        .set_device_name(device.device_name)
        .set_virtual_name(device.virtual_name)
        .set_no_device(device.no_device)
        .set_ebs(disk)
        .build()
}

/// Returns the placement but for the zone, which the fleet chooses.
fn placement(options: &RunOptions) -> Option<LaunchTemplatePlacementRequest> {
    let wanted = instance::placement(options, &Place::default())?;
    let placement = LaunchTemplatePlacementRequest::builder().set_tenancy(wanted.tenancy).set_host_id(wanted.host_id);
    let placement = placement.set_group_name(wanted.group_name);
    Some(placement.set_host_resource_group_arn(wanted.host_resource_group_arn).build())
}

fn metadata(wanted: &InstanceMetadataOptionsRequest) -> LaunchTemplateInstanceMetadataOptionsRequest {
    let tokens = wanted.http_tokens().map(|it| LaunchTemplateHttpTokensState::from(it.as_str()));
    let endpoint = wanted.http_endpoint().map(|it| LaunchTemplateInstanceMetadataEndpointState::from(it.as_str()));
    let tags = wanted.instance_metadata_tags().map(|it| LaunchTemplateInstanceMetadataTagsState::from(it.as_str()));
    LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .set_http_tokens(tokens)
        .set_http_endpoint(endpoint)
        .set_http_put_response_hop_limit(wanted.http_put_response_hop_limit())
        .set_instance_metadata_tags(tags)
        .build()
}
