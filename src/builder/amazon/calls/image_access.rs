//! Who may use an image, how long it is offered, and whether it can be removed.

use aws_sdk_ec2::types::{LaunchPermission, LaunchPermissionModifications};
use serde::Deserialize;

use super::convert::parse_time;
use super::request::{Call, Request, call, required};
use crate::builder::amazon::{Client, permissions, wrong};
use crate::engine::BuildCx;
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ShareImage {
    image_id: String,
    users: Vec<String>,
    groups: Vec<String>,
    organization_arns: Vec<String>,
    organizational_unit_arns: Vec<String>,
    remove: bool,
}

/// Checks the groups that something is shared with.
pub fn check_groups(groups: &[String]) -> Result<()> {
    match groups.iter().find(|group| *group != "all") {
        Some(other) => {
            Err(wrong("groups", format_args!("{other:?} is none; the only one is \"all\", which is everybody")))
        }
        None => Ok(()),
    }
}

impl ShareImage {
    fn permissions(&self) -> Vec<LaunchPermission> {
        permissions::launch(&self.users, &self.groups, &self.organization_arns, &self.organizational_unit_arns)
    }
}

impl Request for ShareImage {
    type Answer = ();
    const NAME: &'static str = "share_image";
    const FIRST: Option<&'static str> = Some("image_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonShareImageOptions");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)?;
        check_groups(&self.groups)?;
        match self.permissions().is_empty() {
            true => Err(wrong("users", "name somebody: users, groups, organization_arns or organizational_unit_arns")),
            false => Ok(()),
        }
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:ModifyImageAttribute"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let (some, change) = (Some(self.permissions()), LaunchPermissionModifications::builder());
        let change = if self.remove { change.set_remove(some) } else { change.set_add(some) };
        let request = client.ec2.modify_image_attribute().image_id(self.image_id).launch_permission(change.build());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:ModifyImageAttribute", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeprecateImage {
    image_id: String,
    at: String,
}

impl Request for DeprecateImage {
    type Answer = ();
    const NAME: &'static str = "deprecate_image";
    const FIRST: Option<&'static str> = Some("image_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonDeprecateImageOptions");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)?;
        required("at", &self.at)?;
        parse_time("at", &self.at).map(drop)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:EnableImageDeprecation"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let at = parse_time("at", &self.at)?;
        match client.ec2.enable_image_deprecation().image_id(self.image_id).deprecate_at(at).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:EnableImageDeprecation", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UndeprecateImage {
    image_id: String,
}

impl Request for UndeprecateImage {
    type Answer = ();
    const NAME: &'static str = "undeprecate_image";
    const FIRST: Option<&'static str> = Some("image_id");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DisableImageDeprecation"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ec2.disable_image_deprecation().image_id(self.image_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DisableImageDeprecation", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProtectImage {
    image_id: String,
    /// Whether the protection outlasts its end by a day.
    with_cooldown: bool,
}

impl Request for ProtectImage {
    type Answer = ();
    const NAME: &'static str = "protect_image";
    const FIRST: Option<&'static str> = Some("image_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonProtectImageOptions");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:EnableImageDeregistrationProtection"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let request = client.ec2.enable_image_deregistration_protection();
        match request.image_id(self.image_id).with_cooldown(self.with_cooldown).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:EnableImageDeregistrationProtection", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct UnprotectImage {
    image_id: String,
}

impl Request for UnprotectImage {
    type Answer = ();
    const NAME: &'static str = "unprotect_image";
    const FIRST: Option<&'static str> = Some("image_id");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DisableImageDeregistrationProtection"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ec2.disable_image_deregistration_protection().image_id(self.image_id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DisableImageDeregistrationProtection", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[
    call::<ShareImage>(),
    call::<DeprecateImage>(),
    call::<UndeprecateImage>(),
    call::<ProtectImage>(),
    call::<UnprotectImage>(),
];

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::PermissionGroup;

    use super::*;

    #[test]
    fn everybody_who_is_named_gets_a_permission() {
        let share = ShareImage {
            image_id: "ami-1".into(),
            users: vec!["123456789012".into()],
            groups: vec!["all".into()],
            organization_arns: vec!["arn:o".into()],
            organizational_unit_arns: vec!["arn:ou".into()],
            remove: false,
        };
        share.check().unwrap();
        let permissions = share.permissions();
        assert_eq!(permissions.len(), 4);
        assert_eq!(permissions[0].user_id(), Some("123456789012"));
        assert_eq!(permissions[1].group(), Some(&PermissionGroup::All));
        assert_eq!(permissions[2].organization_arn(), Some("arn:o"));
        assert_eq!(permissions[3].organizational_unit_arn(), Some("arn:ou"));
    }

    #[test]
    fn nobody_and_unknown_groups_are_errors() {
        let nobody = ShareImage { image_id: "ami-1".into(), ..ShareImage::default() };
        assert!(nobody.check().unwrap_err().message().contains("name somebody"));
        let friends = ShareImage { groups: vec!["friends".into()], ..nobody };
        assert!(friends.check().unwrap_err().message().contains("\"friends\" is none"));
    }
}
