//! The device that this host has for a volume: Nitro instances do not call it what it was attached as.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};

/// How long an attached volume may take to come up.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the kernel may take to see a partition that was just made.
const PARTITION_LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for the device of a volume that was attached as `name`; `given` is where a script says it is.
pub async fn of_volume(volume: &str, name: &str, given: Option<&Path>) -> Result<PathBuf> {
    let until = Instant::now() + LIMIT;
    loop {
        let found = match given {
            Some(path) => path.exists().then(|| path.to_owned()),
            None => look(volume, name),
        };
        match found {
            Some(found) => return Ok(found),
            None if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            None => {
                let looked = given.map_or_else(
                    || format!("neither by its serial number nor as {}", names(name).join(" or ")),
                    |path| format!("{} is not there", path.display()),
                );
                let error = format!("{volume} is attached as {name}, and this host has no device for it: {looked}");
                return Err(Error::new(Kind::Host, error).hint("nvme_device_path = \"/dev/nvme1n1\" says where it is"));
            }
        }
    }
}

/// Looks for the device: by the volume's id, which is the serial number of an NVMe device, else by its name.
fn look(volume: &str, name: &str) -> Option<PathBuf> {
    let serial = volume.replace('-', "");
    let link = PathBuf::from(format!("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}"));
    if let Ok(device) = link.canonicalize() {
        return Some(device);
    }
    let blocks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let nvme = blocks.map(|block| block.file_name()).find(|block| {
        let path = Path::new("/sys/block").join(block).join("device/serial");
        std::fs::read_to_string(path).is_ok_and(|found| found.trim() == serial)
    });
    let nvme = nvme.map(|block| Path::new("/dev").join(block)).filter(|device| device.exists());
    nvme.or_else(|| names(name).into_iter().map(PathBuf::from).find(|device| device.exists()))
}

/// Returns what a Xen instance may call what was attached as `name`.
pub fn names(name: &str) -> Vec<String> {
    let xen = name.strip_prefix("/dev/sd").map(|letter| format!("/dev/xvd{letter}"));
    std::iter::once(name.to_owned()).chain(xen).collect()
}

/// Waits for a partition of a device; none is all of it.
pub async fn partition(device: &Path, number: Option<u32>) -> Result<PathBuf> {
    let Some(number) = number else { return Ok(device.to_owned()) };
    let wanted = partition_name(device, number);
    let until = Instant::now() + PARTITION_LIMIT;
    while !wanted.exists() {
        if Instant::now() >= until {
            let there = partitions(device);
            let there = match there.is_empty() {
                true => "it has no partitions".to_owned(),
                false => format!("it has the partitions {}", there.join(", ")),
            };
            let error = format!("option `mount_partition`: {} has no partition {number}: {there}", device.display());
            return Err(Error::new(Kind::Option, error)
                .field("option", "mount_partition")
                .hint("mount_partition = 0 mounts the whole volume"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(wanted)
}

/// Returns what the kernel calls a partition: a device whose name ends with a digit has a `p` in between.
fn partition_name(device: &Path, number: u32) -> PathBuf {
    let name = device.display().to_string();
    let between = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    PathBuf::from(format!("{name}{between}{number}"))
}

/// Returns the names of the partitions that there are.
fn partitions(device: &Path) -> Vec<String> {
    let Some(name) = device.file_name() else { return Vec::new() };
    let inside = std::fs::read_dir(Path::new("/sys/class/block").join(name)).into_iter().flatten().flatten();
    let own = inside.filter(|entry| entry.path().join("partition").exists());
    let mut found: Vec<String> = own.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_the_kernel_gives_them() {
        assert_eq!(names("/dev/sdf"), ["/dev/sdf", "/dev/xvdf"]);
        assert_eq!(names("/dev/xvdf"), ["/dev/xvdf"]);
        let of = |device: &str| partition_name(Path::new(device), 1).display().to_string();
        assert_eq!(of("/dev/nvme1n1"), "/dev/nvme1n1p1");
        assert_eq!(of("/dev/xvdf"), "/dev/xvdf1");
        assert_eq!(of("/dev/loop3"), "/dev/loop3p1");
    }
}
