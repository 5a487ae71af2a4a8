//! Who may use an image or a snapshot, as requests have it.

use aws_sdk_ec2::types::{CreateVolumePermission, LaunchPermission, PermissionGroup};

/// Returns who may launch an image: accounts, groups, organizations and their units.
pub fn launch(
    users: &[String],
    groups: &[String],
    organizations: &[String],
    units: &[String],
) -> Vec<LaunchPermission> {
    let new = LaunchPermission::builder;
    let users = users.iter().map(|user| new().user_id(user).build());
    let groups = groups.iter().map(|group| new().group(PermissionGroup::from(group.as_str())).build());
    let organizations = organizations.iter().map(|arn| new().organization_arn(arn).build());
    let units = units.iter().map(|arn| new().organizational_unit_arn(arn).build());
    users.chain(groups).chain(organizations).chain(units).collect()
}

/// Returns who may make volumes of a snapshot.
pub fn volume(users: &[String], groups: &[String]) -> Vec<CreateVolumePermission> {
    let new = CreateVolumePermission::builder;
    let users = users.iter().map(|user| new().user_id(user).build());
    let groups = groups.iter().map(|group| new().group(PermissionGroup::from(group.as_str())).build());
    users.chain(groups).collect()
}
