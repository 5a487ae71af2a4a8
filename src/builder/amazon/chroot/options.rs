//! The volume, how it is mounted, and what it has in it while it is worked on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aws_sdk_ec2::types::VolumeType;
use serde::Deserialize;

use super::super::run_options::AmiFilter;
use super::super::{one_of, source, wrong};
use crate::engine::options::Scalar;
use crate::error::Result;

/// Options beside those of access and of the image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChrootOptions {
    /// The image whose root the volume begins as.
    pub source_ami: Option<String>,
    /// What finds that image.
    pub source_ami_filter: Option<AmiFilter>,
    /// Whether the volume begins empty.
    pub from_scratch: bool,
    /// The words in front of a program that needs root; none where rimg is root.
    pub command_wrapper: Vec<String>,
    /// What the volume is called when it is attached; default: the first free one of `/dev/sdf` to `/dev/sdp`.
    pub device_path: Option<String>,
    /// The device that this host has for it, where rimg is not to look for it.
    pub nvme_device_path: Option<PathBuf>,
    /// Lines for this host's shell, run as root before the volume is mounted.
    pub pre_mount_commands: Vec<String>,
    /// The number of the partition that is the root; 0 is the whole volume. Default 1.
    pub mount_partition: Option<Scalar>,
    /// Options of mount(8).
    pub mount_options: Vec<String>,
    /// Where it is mounted; default: a private folder.
    pub mount_path: Option<PathBuf>,
    /// Lines for this host's shell, run as root when the volume is mounted.
    pub post_mount_commands: Vec<String>,
    /// What else is mounted in it: type, what, where.
    pub chroot_mounts: Option<Vec<Vec<String>>>,
    /// Files of this host that are in it as long as it is worked on; default: `/etc/resolv.conf`.
    pub copy_files: Option<Vec<String>>,
    /// GiB; default: the source's.
    pub root_volume_size: Option<i32>,
    /// Default: the source's, else gp3.
    pub root_volume_type: Option<String>,
    pub root_volume_tags: BTreeMap<String, String>,
    pub root_volume_encrypt_boot: Option<bool>,
    pub root_volume_kms_key_id: Option<String>,
    /// What the image calls its root; default: as the source does.
    pub root_device_name: Option<String>,
    /// Default: the source's, else this instance's.
    pub ami_architecture: Option<String>,
    /// `hvm`: Amazon starts no others any more.
    pub ami_virtualization_type: Option<String>,
}

/// What a system expects to find: the kernel's own file systems, and this host's devices.
const MOUNTS: [[&str; 3]; 5] = [
    ["proc", "proc", "/proc"],
    ["sysfs", "sysfs", "/sys"],
    ["bind", "/dev", "/dev"],
    ["devpts", "devpts", "/dev/pts"],
    ["binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc"],
];

impl ChrootOptions {
    /// Returns what names or finds the source image.
    pub fn source(&self) -> source::Wanted<'_> {
        (self.source_ami.as_deref(), self.source_ami_filter.as_ref())
    }

    /// Checks what can be told without asking anybody.
    pub fn validate(&self) -> Result<()> {
        match self.from_scratch {
            true => self.validate_from_scratch()?,
            false => source::check(self.source())?,
        }
        if let Some(word) = self.command_wrapper.iter().find(|word| word.contains("{{") || word.is_empty()) {
            return Err(wrong("command_wrapper", format!("{word:?} is no word to run a program with")).hint(
                "it is the words in front of a program and its arguments: command_wrapper = { \"sudo\", \"-n\" }",
            ));
        }
        if let Some(device) = self.device_path.as_ref().filter(|device| !device.starts_with("/dev/")) {
            return Err(wrong("device_path", format!("{device:?} is no device: \"/dev/sdf\"")));
        }
        let patterns = |path: &str| path.contains(['*', '?', '[', '\\', '\n']);
        if let Some(path) = &self.mount_path
            && (!path.is_absolute() || path.parent().is_none() || path.to_str().is_none_or(patterns))
        {
            return Err(wrong("mount_path", format!("{path:?} is no whole path without *, ?, [ and \\")));
        }
        if let Some(mount) = self.chroot_mounts.iter().flatten().find(|m| m.len() != 3 || !starts_inside(m.get(2))) {
            return Err(wrong("chroot_mounts", format!("{{ {} }} is not {{ type, what, where }}", mount.join(", ")))
                .hint("{ \"bind\", \"/srv/cache\", \"/var/cache/apt\" }: the last is a path in the volume"));
        }
        if let Some(file) = self.copy_files.iter().flatten().find(|file| !file.starts_with('/')) {
            return Err(wrong("copy_files", format!("{file:?} is no whole path of this host")));
        }
        self.partition()?;
        one_of("root_volume_type", self.root_volume_type.as_deref(), VolumeType::values())?;
        one_of("ami_architecture", self.ami_architecture.as_deref(), &["arm64", "i386", "x86_64"])?;
        one_of("ami_virtualization_type", self.ami_virtualization_type.as_deref(), &["hvm"])?;
        if self.root_volume_size.is_some_and(|size| size < 1) {
            return Err(wrong("root_volume_size", "is at least 1 (GiB)"));
        }
        if self.root_volume_kms_key_id.is_some() && self.root_volume_encrypt_boot != Some(true) {
            return Err(wrong("root_volume_kms_key_id", "needs `root_volume_encrypt_boot = true`"));
        }
        Ok(())
    }

    fn validate_from_scratch(&self) -> Result<()> {
        let of_source = self.source_ami.is_some() || self.source_ami_filter.is_some();
        let needed = [
            ("root_volume_size", self.root_volume_size.is_none(), "GiB, there is no source to have a size"),
            ("root_device_name", self.root_device_name.is_none(), "what the image calls its root: \"/dev/xvda\""),
            ("pre_mount_commands", self.pre_mount_commands.is_empty(), "an empty volume has no file system to mount"),
        ];
        if of_source {
            return Err(wrong("from_scratch", "begins with an empty volume, and `source_ami` with an image"));
        }
        match needed.iter().find(|(_, is_missing, _)| *is_missing) {
            Some((option, _, why)) => Err(wrong(*option, format!("is required with `from_scratch`: {why}"))),
            None => Ok(()),
        }
    }

    /// Returns the number of the root's partition; none is the whole volume.
    pub fn partition(&self) -> Result<Option<u32>> {
        let Some(given) = &self.mount_partition else { return Ok(Some(1)) };
        match given.text().parse() {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong("mount_partition", format!("{:?} is no number of a partition", given.text()))),
        }
    }

    /// Returns what is mounted in the volume. What nobody asked for is left out where this host has it not.
    pub fn mounts(&self) -> Vec<Vec<String>> {
        let has = |target: &str| target != "/proc/sys/fs/binfmt_misc" || std::path::Path::new(target).is_dir();
        let usual = || MOUNTS.iter().filter(|[_, _, target]| has(target));
        self.chroot_mounts.clone().unwrap_or_else(|| usual().map(|mount| mount.map(str::to_owned).to_vec()).collect())
    }

    /// Returns the files of this host that the volume has in it.
    pub fn files(&self) -> Vec<String> {
        self.copy_files.clone().unwrap_or_else(|| vec!["/etc/resolv.conf".to_owned()])
    }
}

/// Tells whether a path in the volume stays there.
fn starts_inside(path: Option<&String>) -> bool {
    path.is_some_and(|path| path.starts_with('/') && path.len() > 1 && path.split('/').all(|part| part != ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ChrootOptions)) -> String {
        let mut options = ChrootOptions { source_ami: Some("ami-1".into()), ..Default::default() };
        change(&mut options);
        options.validate().map_err(|e| e.message().to_owned()).err().unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(check(|_| {}), "");
        assert!(check(|o| o.source_ami = None).contains("source_ami"));
        assert!(check(|o| o.command_wrapper = vec!["sudo {{.Command}}".into()]).contains("command_wrapper"));
        assert!(check(|o| o.device_path = Some("sdf".into())).contains("device_path"));
        assert!(check(|o| o.mount_path = Some("mnt".into())).contains("mount_path"));
        assert!(check(|o| o.mount_path = Some("/".into())).contains("mount_path"));
        assert!(check(|o| o.mount_path = Some("/mnt/*".into())).contains("mount_path"));
        assert!(check(|o| o.copy_files = Some(vec!["resolv.conf".into()])).contains("copy_files"));
        assert!(check(|o| o.ami_virtualization_type = Some("paravirtual".into())).contains("hvm"));
        assert!(check(|o| o.root_volume_kms_key_id = Some("k".into())).contains("root_volume_encrypt_boot"));
        for mount in [&["proc", "/proc"][..], &["bind", "/dev", "dev"], &["bind", "/x", "/../x"], &["bind", "/x", "/"]]
        {
            let mount: Vec<String> = mount.iter().map(|word| (*word).to_owned()).collect();
            assert!(check(|o| o.chroot_mounts = Some(vec![mount.clone()])).contains("chroot_mounts"), "{mount:?}");
        }
    }

    #[test]
    fn an_empty_volume_must_be_filled() {
        let whole = |o: &mut ChrootOptions| {
            *o = ChrootOptions {
                from_scratch: true,
                root_volume_size: Some(2),
                root_device_name: Some("/dev/xvda".into()),
                pre_mount_commands: vec!["mkfs.ext4 {{.Device}}".into()],
                ..Default::default()
            }
        };
        assert_eq!(check(whole), "");
        let without = |change: fn(&mut ChrootOptions)| {
            check(|o| {
                whole(o);
                change(o);
            })
        };
        assert!(without(|o| o.source_ami = Some("ami-1".into())).contains("from_scratch"));
        assert!(without(|o| o.root_volume_size = None).contains("root_volume_size"));
        assert!(without(|o| o.root_device_name = None).contains("root_device_name"));
        assert!(without(|o| o.pre_mount_commands.clear()).contains("pre_mount_commands"));
    }

    #[test]
    fn a_partition_is_a_number_and_none_of_them_is_the_volume() {
        let of = |given: Option<&str>| {
            let mount_partition = given.map(|text| Scalar::Text(text.to_owned()));
            ChrootOptions { mount_partition, ..Default::default() }.partition()
        };
        assert_eq!(of(None).unwrap(), Some(1));
        assert_eq!(of(Some("0")).unwrap(), None);
        assert_eq!(of(Some("3")).unwrap(), Some(3));
        assert!(of(Some("root")).is_err());
    }
}
