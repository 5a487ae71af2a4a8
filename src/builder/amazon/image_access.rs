//! Who may use a finished image, how long, and how it may be removed.

use aws_sdk_ec2::types::{
    CreateVolumePermissionModifications, FastLaunchLaunchTemplateSpecificationRequest,
    FastLaunchSnapshotConfigurationRequest, LaunchPermissionModifications,
};

use super::calls::parse_time;
use super::capture::{Captured, unmark};
use super::image_options::ImageOptions;
use super::permissions;
use crate::error::Result;

/// Does all that is wanted of an image beside its being there.
pub async fn apply(image: &Captured, options: &ImageOptions) -> Result<()> {
    share(image, options).await?;
    share_snapshots(image, options).await?;
    deprecate(image, options).await?;
    fast_launch(image, options).await?;
    if options.skip_ami_run_tags {
        unmark(image).await?;
    }
    Ok(())
}

async fn share(image: &Captured, options: &ImageOptions) -> Result<()> {
    let all = permissions::launch(&options.ami_users, &options.ami_groups, &options.ami_org_arns, &options.ami_ou_arns);
    let ec2 = &image.client.ec2;
    if !all.is_empty() {
        let modified = LaunchPermissionModifications::builder().set_add(Some(all)).build();
        if let Err(e) = ec2.modify_image_attribute().image_id(&image.id).launch_permission(modified).send().await {
            return Err(image.client.failed("ec2:ModifyImageAttribute", e).await);
        }
    }
    if !options.ami_product_codes.is_empty() {
        let codes = options.ami_product_codes.clone();
        let set =
            ec2.modify_image_attribute().image_id(&image.id).attribute("productCodes").set_product_codes(Some(codes));
        if let Err(e) = set.send().await {
            return Err(image.client.failed("ec2:ModifyImageAttribute", e).await);
        }
    }
    Ok(())
}

async fn share_snapshots(image: &Captured, options: &ImageOptions) -> Result<()> {
    let all = permissions::volume(&options.snapshot_users, &options.snapshot_groups);
    if all.is_empty() {
        return Ok(());
    }
    for snapshot in &image.snapshots {
        let modified = CreateVolumePermissionModifications::builder().set_add(Some(all.clone())).build();
        let set = image.client.ec2.modify_snapshot_attribute().snapshot_id(snapshot).create_volume_permission(modified);
        if let Err(e) = set.send().await {
            return Err(image.client.failed("ec2:ModifySnapshotAttribute", e).await);
        }
    }
    Ok(())
}

async fn deprecate(image: &Captured, options: &ImageOptions) -> Result<()> {
    let Some(at) = &options.deprecate_at else { return Ok(()) };
    let at = parse_time("deprecate_at", at)?;
    match image.client.ec2.enable_image_deprecation().image_id(&image.id).deprecate_at(at).send().await {
        Ok(_) => Ok(()),
        Err(e) => Err(image.client.failed("ec2:EnableImageDeprecation", e).await),
    }
}

/// Protects a finished image from being removed; before that, a failure still has to remove it.
pub async fn protect(image: &Captured, options: &ImageOptions) -> Result<()> {
    let protection = &options.deregistration_protection;
    if !protection.enabled {
        return Ok(());
    }
    let request = image.client.ec2.enable_image_deregistration_protection().image_id(&image.id);
    match request.with_cooldown(protection.with_cooldown).send().await {
        Ok(_) => Ok(()),
        Err(e) => Err(image.client.failed("ec2:EnableImageDeregistrationProtection", e).await),
    }
}

async fn fast_launch(image: &Captured, options: &ImageOptions) -> Result<()> {
    let wanted = &options.fast_launch;
    let Some(template) = wanted.in_region(&image.client.region) else { return Ok(()) };
    let named = template.template_id.is_some() || template.template_name.is_some();
    let template = FastLaunchLaunchTemplateSpecificationRequest::builder()
        .set_launch_template_id(template.template_id)
        .set_launch_template_name(template.template_name)
        .version(template.template_version.map_or_else(|| "$Latest".to_owned(), |version| version.to_string()))
        .build();
    let snapshots = wanted
        .target_resource_count
        .map(|count| FastLaunchSnapshotConfigurationRequest::builder().target_resource_count(count).build());
    let request = image.client.ec2.enable_fast_launch().image_id(&image.id).resource_type("snapshot");
    let request = request.set_snapshot_configuration(snapshots).set_max_parallel_launches(wanted.max_parallel_launches);
    let request = request.set_launch_template(named.then_some(template));
    match request.send().await {
        Ok(_) => Ok(()),
        Err(e) => Err(image.client.failed("ec2:EnableFastLaunch", e).await),
    }
}
