//! What a policy must allow: the actions behind the options.

use super::image_options::ImageOptions;
use super::run_options::RunOptions;

/// What whoever encrypts with a key of their own must be allowed to do with it.
pub const KEY: [&str; 6] = [
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

/// What every instance needs, to be found, made, watched and removed with its disks.
const INSTANCE: [&str; 8] = [
    "ec2:CreateTags",
    "ec2:DeleteVolume",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:GetConsoleOutput",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
];

/// What an image needs, and its removal where it fails.
const IMAGE: [&str; 4] = ["ec2:CreateImage", "ec2:DeleteSnapshot", "ec2:DeregisterImage", "ec2:DescribeSnapshots"];

/// What a volume needs that this instance works on, to be made, attached, found again and removed.
const VOLUME: [&str; 8] = [
    "ec2:AttachVolume",
    "ec2:CreateTags",
    "ec2:CreateVolume",
    "ec2:DeleteVolume",
    "ec2:DescribeImages",
    "ec2:DescribeInstances",
    "ec2:DescribeVolumes",
    "ec2:DetachVolume",
];

const KEY_PAIR: [&str; 3] = ["ec2:DeleteKeyPair", "ec2:DescribeKeyPairs", "ec2:ImportKeyPair"];

const SECURITY_GROUP: [&str; 3] = ["ec2:CreateSecurityGroup", "ec2:DeleteSecurityGroup", "ec2:DescribeSecurityGroups"];

const FLEET: [&str; 4] =
    ["ec2:CreateFleet", "ec2:CreateLaunchTemplate", "ec2:DeleteLaunchTemplate", "ec2:DescribeLaunchTemplates"];

const PROFILE: [&str; 9] = [
    "iam:AddRoleToInstanceProfile",
    "iam:CreateInstanceProfile",
    "iam:CreateRole",
    "iam:DeleteInstanceProfile",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:GetRole",
    "iam:PutRolePolicy",
    "iam:RemoveRoleFromInstanceProfile",
];

/// Returns what `rimg.amazon.ebs` needs; `makes_key` where nothing else says how to log in.
pub fn ebs(run: &RunOptions, image: &ImageOptions, makes_key: bool) -> Vec<&'static str> {
    let mut needed = INSTANCE.to_vec();
    let mut add = |wanted: bool, actions: &[&'static str]| {
        if wanted {
            needed.extend(actions);
        }
    };
    let through_session = run.ssh_interface.as_deref() == Some("session_manager");
    let own_group =
        run.security_group_id.is_none() && run.security_group_ids.is_empty() && run.security_group_filter.is_none();
    let own_profile = run.temporary_iam_instance_profile_policy_document.is_some();
    add(makes_key, &KEY_PAIR);
    add(own_group, &SECURITY_GROUP);
    add(own_group && !through_session, &["ec2:AuthorizeSecurityGroupIngress"]);
    add(run.security_group_filter.is_some(), &["ec2:DescribeSecurityGroups"]);
    add(run.vpc_filter.is_some(), &["ec2:DescribeVpcs"]);
    add(run.subnet_filter.is_some() || (own_group && run.subnet_id.is_some()), &["ec2:DescribeSubnets"]);
    add(own_profile, &PROFILE);
    add(own_profile || run.iam_instance_profile.is_some(), &["iam:PassRole"]);
    add(through_session, &["ssm:DescribeSessions", "ssm:StartSession", "ssm:TerminateSession"]);
    add(run.windows_password, &["ec2:GetPasswordData"]);
    add(run.spot_allocation_strategy.is_some(), &FLEET);
    add(!run.disable_stop_instance && !run.is_spot(), &["ec2:StopInstances"]);
    let devices = run.launch_block_device_mappings.iter().chain(&image.ami_block_device_mappings);
    let mut keys = devices.filter_map(|device| device.kms_key_id.as_ref());
    add(keys.next().is_some() || image.kms_key_id.is_some() || !image.region_kms_key_ids.is_empty(), &KEY);
    if image.skip_create_ami {
        return needed;
    }
    needed.extend(of_image(image));
    needed
}

/// Returns what `rimg.amazon.surrogate` needs.
pub fn surrogate(run: &RunOptions, image: &ImageOptions, makes_key: bool) -> Vec<&'static str> {
    let mut needed = ebs(run, image, makes_key);
    if !image.skip_create_ami {
        needed.retain(|action| *action != "ec2:CreateImage");
        needed.extend(["ec2:CreateSnapshot", "ec2:RegisterImage"]);
    }
    needed
}

/// Returns what `rimg.amazon.chroot` needs; `encrypts` where the volume is encrypted with a key of the account's own.
pub fn chroot(image: &ImageOptions, encrypts: bool) -> Vec<&'static str> {
    let mut needed = VOLUME.to_vec();
    let devices = image.ami_block_device_mappings.iter().any(|device| device.kms_key_id.is_some());
    if encrypts || devices || image.kms_key_id.is_some() || !image.region_kms_key_ids.is_empty() {
        needed.extend(KEY);
    }
    if !image.skip_create_ami {
        needed.extend(of_image(image));
        needed.retain(|action| !["ec2:CreateImage", "ec2:ModifyInstanceAttribute"].contains(action));
        needed.extend(["ec2:CreateSnapshot", "ec2:RegisterImage"]);
    }
    needed
}

/// Returns what making an image, its copies, and sharing them needs.
fn of_image(image: &ImageOptions) -> Vec<&'static str> {
    let mut needed = IMAGE.to_vec();
    let mut add = |wanted: bool, actions: &[&'static str]| {
        if wanted {
            needed.extend(actions);
        }
    };
    let copies = !image.ami_regions.is_empty() || image.encrypt_boot == Some(true);
    let shared =
        [&image.ami_users, &image.ami_groups, &image.ami_org_arns, &image.ami_ou_arns, &image.ami_product_codes];
    let modified = shared.iter().any(|list| !list.is_empty()) || image.imds_support.is_some();
    add(image.ena_support.is_some() || image.sriov_support, &["ec2:ModifyInstanceAttribute"]);
    add(image.registers_anew(), &["ec2:RegisterImage"]);
    add(copies, &["ec2:CopyImage"]);
    add(!image.ami_regions.is_empty() && !image.skip_region_validation, &["ec2:DescribeRegions"]);
    add(modified, &["ec2:ModifyImageAttribute"]);
    add(!image.snapshot_users.is_empty() || !image.snapshot_groups.is_empty(), &["ec2:ModifySnapshotAttribute"]);
    add(image.deprecate_at.is_some(), &["ec2:EnableImageDeprecation"]);
    add(image.deregistration_protection.enabled, &["ec2:EnableImageDeregistrationProtection"]);
    let fast = &image.fast_launch;
    let prepared = fast.region_launch_templates.iter().any(|template| template.enable_fast_launch == Some(true));
    add(fast.enable_fast_launch || prepared, &["ec2:EnableFastLaunch"]);
    add(image.skip_ami_run_tags, &["ec2:DeleteTags"]);
    needed
}

/// Returns what `artifact:copy_to` needs: no image is made but by copying.
pub fn copy(image: &ImageOptions) -> Vec<&'static str> {
    let made_otherwise = ["ec2:CreateImage", "ec2:ModifyInstanceAttribute", "ec2:RegisterImage"];
    let mut needed = of_image(image);
    needed.retain(|action| !made_otherwise.contains(action));
    needed.extend(["ec2:CreateTags", "ec2:DescribeImages"]);
    if image.kms_key_id.is_some() || !image.region_kms_key_ids.is_empty() {
        needed.extend(KEY);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_allows_what_is_done_and_no_more() {
        let (run, image) = (RunOptions::default(), ImageOptions::default());
        let plain = ebs(&run, &image, true);
        for needed in ["ec2:RunInstances", "ec2:ImportKeyPair", "ec2:CreateSecurityGroup", "ec2:CreateImage"] {
            assert!(plain.contains(&needed), "{needed}: {plain:?}");
        }
        let of_volume = surrogate(&run, &image, true);
        assert!(of_volume.contains(&"ec2:CreateSnapshot") && !of_volume.contains(&"ec2:CreateImage"), "{of_volume:?}");
        for more in ["ec2:CopyImage", "iam:PassRole", "kms:Decrypt", "ec2:DescribeVpcs", "ec2:ModifyImageAttribute"] {
            assert!(!plain.contains(&more), "{more}: {plain:?}");
        }
        let run = RunOptions {
            security_group_id: Some("sg-1".into()),
            iam_instance_profile: Some("p".into()),
            ssh_interface: Some("session_manager".into()),
            ..RunOptions::default()
        };
        let image = ImageOptions { skip_create_ami: true, ..ImageOptions::default() };
        let little = ebs(&run, &image, false);
        for needed in ["iam:PassRole", "ssm:StartSession"] {
            assert!(little.contains(&needed), "{needed}: {little:?}");
        }
        for more in ["ec2:ImportKeyPair", "ec2:CreateSecurityGroup", "ec2:CreateImage", "iam:CreateRole"] {
            assert!(!little.contains(&more), "{more}: {little:?}");
        }
    }

    #[test]
    fn no_action_of_the_builder_is_forgotten() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/builder/amazon");
        let entries = [folder.join("chroot"), folder].map(|folder| std::fs::read_dir(folder).unwrap());
        for entry in entries.into_iter().flatten() {
            let path = entry.unwrap().path();
            let source = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
            for rest in source.split("client.failed(\"").skip(1) {
                let action = rest.split_once('"').unwrap().0;
                let known = include_str!("actions.rs").contains(&format!("\"{action}\""));
                assert!(known, "{action} of {}", path.display());
            }
        }
    }

    #[test]
    fn a_chroot_needs_no_instance() {
        let image = ImageOptions { ena_support: Some(true), ..ImageOptions::default() };
        let needed = chroot(&image, false);
        for action in ["ec2:AttachVolume", "ec2:DetachVolume", "ec2:CreateSnapshot", "ec2:RegisterImage"] {
            assert!(needed.contains(&action), "{action}: {needed:?}");
        }
        for action in ["ec2:RunInstances", "ec2:CreateImage", "ec2:ModifyInstanceAttribute", "kms:Decrypt"] {
            assert!(!needed.contains(&action), "{action}: {needed:?}");
        }
        assert!(chroot(&image, true).contains(&"kms:CreateGrant"));
        let nothing = ImageOptions { skip_create_ami: true, ..ImageOptions::default() };
        assert!(!chroot(&nothing, false).contains(&"ec2:CreateSnapshot"));
    }

    #[test]
    fn copies_and_those_who_may_use_them_need_more() {
        let image = ImageOptions {
            ami_regions: vec!["eu-west-1".into()],
            region_kms_key_ids: [("eu-west-1".to_owned(), "k".to_owned())].into(),
            ami_users: vec!["123456789012".into()],
            ..ImageOptions::default()
        };
        let needed = ebs(&RunOptions::default(), &image, true);
        for action in ["ec2:CopyImage", "ec2:DescribeRegions", "ec2:ModifyImageAttribute", "kms:CreateGrant"] {
            assert!(needed.contains(&action), "{action}: {needed:?}");
        }
    }
}
