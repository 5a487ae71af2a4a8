//! The instance that an image is made of: what it starts from, where, and as what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_sdk_ec2::types::{HttpTokensState, SpotAllocationStrategy, Tenancy};
use serde::Deserialize;

use super::block_device::BlockDevice;
use super::filters::{Filters, Texts};
use super::{one_of, source, wrong};
use crate::engine::options::{Any, Blob, Scalar};
use crate::engine::{BuildCx, Seconds};
use crate::error::{Error, Kind, Result};

/// Options of the instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// The image it starts from.
    pub source_ami: Option<String>,
    /// What finds that image.
    pub source_ami_filter: Option<AmiFilter>,
    pub instance_type: Option<String>,
    /// Types in the order in which they are tried while AWS has no room for them.
    pub instance_types: Vec<String>,
    /// `auto`, or the highest price an hour in dollars: makes it a spot instance.
    pub spot_price: Option<Scalar>,
    pub spot_instance_types: Vec<String>,
    pub spot_tags: BTreeMap<String, String>,
    /// How AWS chooses among the types and places: makes it a fleet of one.
    pub spot_allocation_strategy: Option<String>,
    pub fleet_tags: BTreeMap<String, String>,
    pub vpc_id: Option<String>,
    pub vpc_filter: Option<Found>,
    pub subnet_id: Option<String>,
    pub subnet_filter: Option<SubnetFilter>,
    /// One zone, or several in the order in which they are tried.
    pub availability_zone: Texts,
    pub associate_public_ip_address: Option<bool>,
    pub security_group_id: Option<String>,
    pub security_group_ids: Vec<String>,
    pub security_group_filter: Option<Found>,
    pub temporary_security_group_source_cidrs: Vec<String>,
    pub temporary_security_group_source_public_ip: bool,
    pub iam_instance_profile: Option<String>,
    /// The policy of a role that is made for the instance, as a table.
    pub temporary_iam_instance_profile_policy_document: Option<Any>,
    pub skip_profile_validation: bool,
    pub user_data: Option<Blob>,
    pub user_data_file: Option<PathBuf>,
    pub ebs_optimized: Option<bool>,
    pub enable_nitro_enclave: bool,
    pub enable_unlimited_credits: Option<bool>,
    /// What a shutdown from within does: `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// Whether the instance stops by itself, as Windows does after Sysprep.
    pub disable_stop_instance: bool,
    pub metadata_options: MetadataOptions,
    pub placement: Placement,
    pub tenancy: Option<String>,
    pub capacity_reservation_preference: Option<String>,
    pub capacity_reservation_id: Option<String>,
    pub capacity_reservation_group_arn: Option<String>,
    pub license_specifications: Vec<License>,
    pub launch_block_device_mappings: Vec<BlockDevice>,
    /// Whether Windows gets none of the host's own disks.
    pub no_ephemeral: bool,
    /// Tags of the instance and all that is made for it.
    pub run_tags: BTreeMap<String, String>,
    pub run_volume_tags: BTreeMap<String, String>,
    /// What the temporary key pair is called; default: its mark.
    pub temporary_key_pair_name: Option<String>,
    /// The key pair in AWS that belongs to `ssh_private_key_file`.
    pub ssh_keypair_name: Option<String>,
    /// Whether it is logged in to with the password that Windows has made.
    pub windows_password: bool,
    /// How long Windows may take to that; default 20 minutes.
    pub windows_password_timeout: Option<Seconds>,
    /// Which of its addresses is used.
    pub ssh_interface: Option<String>,
    /// The port of this host's that a session leads from; default: a free one.
    pub session_manager_port: Option<u16>,
    pub pause_before_ssm: Option<Seconds>,
}

/// What finds a source image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmiFilter {
    pub filters: Filters,
    /// Account ids, `self`, `amazon`, `aws-marketplace`.
    pub owners: Vec<String>,
    /// Whether the newest is taken where there are several.
    pub most_recent: bool,
    pub include_deprecated: bool,
}

/// What finds a network or security groups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Found {
    pub filters: Filters,
}

/// What finds a subnet.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubnetFilter {
    pub filters: Filters,
    /// Whether the one with the most free addresses is taken where there are several.
    pub most_free: bool,
    /// Whether any is taken.
    pub random: bool,
}

/// How the instance is told about itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataOptions {
    /// `enabled` or `disabled`.
    pub http_endpoint: Option<String>,
    /// `required` (the default: sessions, version 2 of the service) or `optional`.
    pub http_tokens: Option<String>,
    pub http_put_response_hop_limit: Option<i32>,
    /// `enabled` or `disabled`.
    pub instance_metadata_tags: Option<String>,
}

/// On which hardware.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    pub host_id: Option<String>,
    pub host_resource_group_arn: Option<String>,
    pub group_name: Option<String>,
    pub tenancy: Option<String>,
}

/// A licence that the instance uses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct License {
    pub license_configuration_request: LicenseRequest,
}

/// Which licence.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenseRequest {
    pub license_configuration_arn: String,
}

/// Addresses by which an instance can be reached.
const INTERFACES: [&str; 6] = ["public_ip", "private_ip", "public_dns", "private_dns", "ipv6", "session_manager"];

impl RunOptions {
    /// Checks what can be told without asking anybody.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        source::check(self.source())?;
        if self.types().is_empty() {
            return Err(wrong("instance_type", "is required: \"t3.micro\""));
        }
        if self.instance_type.is_some() && !(self.instance_types.is_empty() && self.spot_instance_types.is_empty()) {
            return Err(wrong("instance_type", "names one type, and another option a list: give one of them"));
        }
        if !self.spot_instance_types.is_empty() && self.spot_price.is_none() {
            return Err(wrong(
                "spot_price",
                "is required beside `spot_instance_types`: \"auto\" pays up to the usual price",
            ));
        }
        if let Some(price) = self.spot_price.as_ref().map(Scalar::text)
            && price != "auto"
            && !price.parse::<f64>().is_ok_and(|price| price > 0.0)
        {
            return Err(wrong("spot_price", format!("{price:?} is neither \"auto\" nor a price in dollars an hour")));
        }
        self.validate_fleet()?;
        if self.user_data.is_some() && self.user_data_file.is_some() {
            return Err(wrong("user_data_file", "names what `user_data` holds: give one of them"));
        }
        if let Some(file) = self.user_data_file.as_ref().map(|file| cx.settings.resolve(file))
            && !file.is_file()
        {
            return Err(wrong("user_data_file", format!("{} is not a file", file.display())));
        }
        if self.iam_instance_profile.is_some() && self.temporary_iam_instance_profile_policy_document.is_some() {
            return Err(wrong("iam_instance_profile", "names a profile, and another option makes one"));
        }
        for cidr in &self.temporary_security_group_source_cidrs {
            let (address, length) = cidr.split_once('/').unwrap_or((cidr, ""));
            let bits = address.parse::<std::net::IpAddr>().map(|address| if address.is_ipv4() { 32 } else { 128 });
            if !bits.is_ok_and(|bits| length.parse::<u8>().is_ok_and(|length| length <= bits)) {
                return Err(wrong(
                    "temporary_security_group_source_cidrs",
                    format!("{cidr:?} is not a network such as \"203.0.113.0/24\""),
                ));
            }
        }
        one_of("ssh_interface", self.ssh_interface.as_deref(), &INTERFACES)?;
        one_of("shutdown_behavior", self.shutdown_behavior.as_deref(), &["stop", "terminate"])?;
        one_of("tenancy", self.tenancy.as_deref(), Tenancy::values())?;
        one_of("placement.tenancy", self.placement.tenancy.as_deref(), Tenancy::values())?;
        one_of(
            "metadata_options.http_tokens",
            self.metadata_options.http_tokens.as_deref(),
            HttpTokensState::values(),
        )?;
        for (option, value) in [
            ("metadata_options.http_endpoint", &self.metadata_options.http_endpoint),
            ("metadata_options.instance_metadata_tags", &self.metadata_options.instance_metadata_tags),
        ] {
            one_of(option, value.as_deref(), &["enabled", "disabled"])?;
        }
        self.launch_block_device_mappings.iter().try_for_each(|disk| disk.validate("launch_block_device_mappings"))
    }

    fn validate_fleet(&self) -> Result<()> {
        const STRATEGY: &str = "spot_allocation_strategy";
        if self.spot_allocation_strategy.is_none() {
            return match self.fleet_tags.is_empty() {
                true => Ok(()),
                false => Err(wrong("fleet_tags", format!("are of a fleet, which `{STRATEGY}` makes"))),
            };
        }
        one_of(STRATEGY, self.spot_allocation_strategy.as_deref(), SpotAllocationStrategy::values())?;
        if self.spot_price.is_none() {
            return Err(wrong(
                "spot_price",
                format!("is required beside `{STRATEGY}`: \"auto\" pays up to the usual price"),
            ));
        }
        let on_demand = [
            ("enable_nitro_enclave", self.enable_nitro_enclave),
            ("capacity_reservation_id", self.capacity_reservation_id.is_some()),
            ("capacity_reservation_group_arn", self.capacity_reservation_group_arn.is_some()),
            ("capacity_reservation_preference", self.capacity_reservation_preference.is_some()),
        ];
        match on_demand.iter().find(|(_, given)| *given) {
            Some((option, _)) => {
                Err(wrong(*option, format!("is for instances on demand, and `{STRATEGY}` is for spot")))
            }
            None => Ok(()),
        }
    }

    /// Returns the disks that it is launched with, and those that are left out.
    pub fn disks(&self) -> Vec<BlockDevice> {
        // The names that images of Windows map the host's disks to.
        let letters = ('a'..='z').filter(|_| self.no_ephemeral);
        let left_out = letters.map(|letter| BlockDevice {
            device_name: format!("xvdc{letter}"),
            no_device: true,
            ..BlockDevice::default()
        });
        self.launch_block_device_mappings.iter().cloned().chain(left_out).collect()
    }

    /// Tells whether AWS may take the instance back.
    pub fn is_spot(&self) -> bool {
        self.spot_price.is_some()
    }

    /// Returns what names or finds the image it starts from.
    pub fn source(&self) -> source::Wanted<'_> {
        (self.source_ami.as_deref(), self.source_ami_filter.as_ref())
    }

    /// Returns the types of instance that may do, the wanted first.
    pub fn types(&self) -> Vec<&str> {
        let lists = [&self.spot_instance_types, &self.instance_types];
        let listed = lists.into_iter().flatten().map(String::as_str);
        self.instance_type.as_deref().into_iter().chain(listed).collect()
    }

    /// Returns the text that the instance is given to begin with, in base64 as the request has it.
    pub async fn encoded_user_data(&self, cx: &BuildCx) -> Result<Option<String>> {
        use base64::Engine as _;
        let bytes = match (&self.user_data, &self.user_data_file) {
            (Some(Blob(text)), _) => text.to_vec(),
            (None, Some(file)) => cx.read_file(file).await?,
            (None, None) => return Ok(None),
        };
        if bytes.len() > 16 << 10 {
            let message = format!("the user data has {} bytes, and AWS takes 16 KiB", bytes.len());
            return Err(Error::new(Kind::Option, message).hint("let it fetch the rest, or upload files with vm:upload"));
        }
        Ok(Some(base64::engine::general_purpose::STANDARD.encode(bytes)))
    }
}
