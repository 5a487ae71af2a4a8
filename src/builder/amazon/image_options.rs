//! The image that is made: its name, where it is copied to, who may use it.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::BootModeValues;
use serde::Deserialize;

use super::block_device::BlockDevice;
use super::calls::parse_time;
use super::{one_of, wrong};
use crate::error::Result;

/// Options of the image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageOptions {
    pub ami_name: Option<String>,
    pub ami_description: Option<String>,
    /// The regions that it is copied to.
    pub ami_regions: Vec<String>,
    /// Accounts that may use it.
    pub ami_users: Vec<String>,
    /// `all` makes it public.
    pub ami_groups: Vec<String>,
    pub ami_org_arns: Vec<String>,
    pub ami_ou_arns: Vec<String>,
    pub ami_product_codes: Vec<String>,
    pub ami_block_device_mappings: Vec<BlockDevice>,
    /// Tags of the image, and of its snapshots.
    pub tags: BTreeMap<String, String>,
    /// Tags of its snapshots beside those.
    pub snapshot_tags: BTreeMap<String, String>,
    pub snapshot_users: Vec<String>,
    pub snapshot_groups: Vec<String>,
    /// Whether the disks of image and copies are encrypted; as the instance's where it is not said.
    pub encrypt_boot: Option<bool>,
    pub kms_key_id: Option<String>,
    /// The key of each region that it is copied to.
    pub region_kms_key_ids: BTreeMap<String, String>,
    /// `v2.0`: instances of the image take sessions only.
    pub imds_support: Option<String>,
    pub ena_support: Option<bool>,
    pub sriov_support: bool,
    /// `uefi`, `legacy-bios` or `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// `v2.0`.
    pub tpm_support: Option<String>,
    /// The variables of the firmware, in base64.
    pub uefi_data: Option<String>,
    /// When it is no longer offered: `"2027-01-01T00:00:00Z"`.
    pub deprecate_at: Option<String>,
    pub deregistration_protection: Protection,
    /// Whether an image of the same name is removed.
    pub force_deregister: bool,
    /// Whether its snapshots go with it.
    pub force_delete_snapshot: bool,
    /// Whether no image is made in the end.
    pub skip_create_ami: bool,
    /// Whether an image of that name that is there is taken as it is, and nothing is started.
    pub skip_if_exists: bool,
    /// Whether the image of the build's own region is only made for its copies, and removed.
    pub skip_save_build_region: bool,
    pub skip_region_validation: bool,
    /// Whether the marks by which rimg finds what it made are left off the finished image.
    pub skip_ami_run_tags: bool,
    /// How long snapshots take to be copied, in steps of 15 minutes.
    pub snapshot_copy_duration_minutes: Option<i64>,
    pub fast_launch: FastLaunch,
}

/// Whether the image can be removed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protection {
    pub enabled: bool,
    /// Whether it stays protected for a day after protection is taken off.
    pub with_cooldown: bool,
}

/// Instances of a Windows image that are prepared ahead.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FastLaunch {
    pub enable_fast_launch: bool,
    pub max_parallel_launches: Option<i32>,
    pub target_resource_count: Option<i32>,
    /// The launch template that they are prepared with; default: AWS's own.
    pub template_id: Option<String>,
    pub template_name: Option<String>,
    /// Default: the latest.
    pub template_version: Option<u32>,
    /// Those of the regions that the image is copied to.
    pub region_launch_templates: Vec<RegionTemplate>,
}

/// The launch template of one region.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionTemplate {
    pub region: String,
    /// False where instances are not prepared in this region.
    pub enable_fast_launch: Option<bool>,
    pub template_id: Option<String>,
    pub template_name: Option<String>,
    pub template_version: Option<u32>,
}

impl FastLaunch {
    /// Returns what is said of a region; none where instances are not prepared there.
    pub fn in_region(&self, region: &str) -> Option<RegionTemplate> {
        let of_all = || RegionTemplate {
            region: region.to_owned(),
            enable_fast_launch: None,
            template_id: self.template_id.clone(),
            template_name: self.template_name.clone(),
            template_version: self.template_version,
        };
        let of_region = self.region_launch_templates.iter().find(|template| template.region == region);
        let wanted = of_region.cloned().unwrap_or_else(of_all);
        Some(wanted).filter(|wanted| wanted.enable_fast_launch.unwrap_or(self.enable_fast_launch))
    }

    fn validate(&self, copied: bool) -> Result<()> {
        const TEMPLATE: &str = "fast_launch.template_id";
        if copied && (self.template_id.is_some() || self.template_name.is_some()) {
            let what = "is of one region, and the image is copied to others";
            return Err(wrong(TEMPLATE, what).hint("region_launch_templates = { { region = …, template_name = … } }"));
        }
        let own = (&self.template_id, &self.template_name, self.template_version);
        let of_regions = self.region_launch_templates.iter();
        let all = of_regions.map(|of| (&of.template_id, &of.template_name, of.template_version)).chain([own]);
        for (id, name, version) in all {
            if id.is_some() && name.is_some() {
                return Err(wrong(TEMPLATE, "names a launch template, and `template_name` another: give one of them"));
            }
            if version.is_some() && id.is_none() && name.is_none() {
                return Err(wrong(
                    "fast_launch.template_version",
                    "is of no template: give `template_id` or `template_name`",
                ));
            }
        }
        if self.region_launch_templates.iter().any(|template| template.region.is_empty()) {
            return Err(wrong("fast_launch.region_launch_templates", "each needs a `region`"));
        }
        Ok(())
    }
}

/// The shortest and the longest name that AWS takes.
const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;

impl ImageOptions {
    /// Checks what can be told without asking anybody.
    pub fn validate(&self) -> Result<()> {
        match &self.ami_name {
            None if self.skip_create_ami => {}
            None => return Err(wrong("ami_name", "is required: the name of the image, once in each region")),
            Some(name) => check_name("ami_name", name)?,
        }
        if let Some(kms) = self.region_kms_key_ids.keys().find(|region| !self.ami_regions.contains(region)) {
            return Err(wrong("region_kms_key_ids", format!("{kms} is none of `ami_regions`")));
        }
        if self.encrypt_boot != Some(true) && (self.kms_key_id.is_some() || !self.region_kms_key_ids.is_empty()) {
            return Err(
                wrong("encrypt_boot", "is false or left out, and a KMS key is given").hint("encrypt_boot = true")
            );
        }
        if self.skip_save_build_region && self.ami_regions.is_empty() {
            return Err(wrong("skip_save_build_region", "would leave no image: `ami_regions` names no other region"));
        }
        if self.force_deregister && self.skip_if_exists {
            return Err(wrong("skip_if_exists", "keeps what `force_deregister` removes: give one of them"));
        }
        if self.snapshot_copy_duration_minutes.is_some_and(|minutes| minutes <= 0 || minutes % 15 != 0) {
            return Err(wrong("snapshot_copy_duration_minutes", "is a multiple of 15"));
        }
        if let Some(at) = &self.deprecate_at {
            parse_time("deprecate_at", at)?;
        }
        one_of("imds_support", self.imds_support.as_deref(), &["v2.0"])?;
        one_of("boot_mode", self.boot_mode.as_deref(), BootModeValues::values())?;
        one_of("tpm_support", self.tpm_support.as_deref(), &["v2.0"])?;
        if self.tpm_support.is_some() && self.boot_mode.as_deref() != Some("uefi") {
            return Err(wrong("tpm_support", "needs boot_mode = \"uefi\""));
        }
        if self.sriov_support && self.ena_support == Some(true) {
            return Err(wrong("sriov_support", "and `ena_support` are two ways of networking: give one of them"));
        }
        self.fast_launch.validate(!self.ami_regions.is_empty())?;
        self.ami_block_device_mappings.iter().try_for_each(|disk| disk.validate("ami_block_device_mappings"))
    }

    /// Tells whether something is wanted that can only be said of an image that is registered anew.
    pub fn registers_anew(&self) -> bool {
        self.boot_mode.is_some() || self.tpm_support.is_some() || self.uefi_data.is_some()
    }
}

/// Checks a name as AWS does.
pub fn check_name(option: &'static str, name: &str) -> Result<()> {
    let length = name.chars().count();
    if !NAME_LENGTH.contains(&length) {
        return Err(wrong(option, format!("{name:?} has {length} characters, and AWS takes 3 to 128")));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(*c))) {
        Some(c) => Err(wrong(option, format!("{name:?}: AWS takes no {c:?} in a name")).hint(
            "letters, digits, spaces and ()[]./-'@_ are taken: rimg.isotime(\"%Y%m%d-%H%M%S\") makes a name unique",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_aws_does() {
        assert!(check_name("ami_name", "web [1.0] (a)/b.c-d'e@f_g").is_ok());
        for name in ["ab", "web:1", "wéb", &"x".repeat(129)] {
            assert!(check_name("ami_name", name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let of = |change: &dyn Fn(&mut ImageOptions)| {
            let mut options = ImageOptions { ami_name: Some("web".into()), ..Default::default() };
            change(&mut options);
            options.validate().map_err(|e| e.message().to_owned())
        };
        assert!(of(&|_| {}).is_ok());
        assert!(of(&|o| o.kms_key_id = Some("alias/x".into())).unwrap_err().contains("encrypt_boot"));
        assert!(of(&|o| o.deprecate_at = Some("tomorrow".into())).unwrap_err().contains("tomorrow"));
        assert!(of(&|o| o.snapshot_copy_duration_minutes = Some(20)).is_err());
        assert!(of(&|o| o.skip_save_build_region = true).is_err());
    }
}
