//! How a machine is on the network: QEMU's user network with a forwarded port, or a bridge of this host.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::options::wrong;
use crate::error::{Error, Kind, Result};
use crate::host::process;

/// A machine's network. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkOptions {
    /// The network card's model. Default `virtio-net`.
    pub net_device: Option<String>,
    /// A bridge of this host that the machine is attached to, instead of QEMU's user network.
    pub net_bridge: Option<String>,
    /// The lowest port on 127.0.0.1 that may lead to the guest. Default: any free one.
    pub host_port_min: Option<u16>,
    /// The highest such port.
    pub host_port_max: Option<u16>,
    /// Whether no port is forwarded to the guest: it is reached at `ssh_host` and `ssh_port`.
    pub skip_nat_mapping: bool,
}

/// Where distributions have the program that attaches machines to bridges.
const HELPERS: [&str; 4] = [
    "/usr/lib/qemu/qemu-bridge-helper",
    "/usr/libexec/qemu-bridge-helper",
    "/usr/local/libexec/qemu-bridge-helper",
    "/usr/lib/qemu-bridge-helper",
];
/// How often a guest on a bridge is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl NetworkOptions {
    /// Returns the network device, virtio-net unless said otherwise.
    pub fn net_device(&self) -> &str {
        self.net_device.as_deref().unwrap_or("virtio-net")
    }

    /// Tells whether a port of this host leads to the guest.
    pub fn forwards(&self) -> bool {
        self.net_bridge.is_none() && !self.skip_nat_mapping
    }

    fn ports(&self) -> Option<(u16, u16)> {
        match (self.host_port_min, self.host_port_max) {
            (None, None) => None,
            (min, max) => Some((min.unwrap_or(1024), max.unwrap_or(u16::MAX))),
        }
    }

    /// Checks what can be known before anything starts; returns warnings.
    pub fn validate(&self) -> Result<Vec<String>> {
        if self.net_device.as_deref() == Some("") {
            return Err(wrong("net_device", "is empty"));
        }
        if let Some((min, max)) = self.ports() {
            if min == 0 {
                return Err(wrong("host_port_min", "expected a port from 1 on, found 0"));
            }
            if min > max {
                return Err(wrong("host_port_min", format!("{min} is above host_port_max, {max}")));
            }
            if !self.forwards() {
                return Ok(vec!["host_port_min and host_port_max are not used: no port leads to this guest".into()]);
            }
        }
        if let Some(bridge) = &self.net_bridge {
            check_bridge(bridge)?;
        }
        Ok(Vec::new())
    }

    /// Says what to do when QEMU cannot attach the machine to the bridge.
    pub fn explain(&self, error: Error) -> Error {
        match &self.net_bridge {
            Some(bridge) if error.message().contains("bridge helper") || error.message().contains("acl file") => error
                .hint(format!("allow it in /etc/qemu/bridge.conf, with the line: allow {bridge}"))
                .hint("users other than root need the set-user-ID bit on qemu-bridge-helper"),
            _ => error,
        }
    }

    /// Returns the `-netdev` argument.
    pub fn netdev(&self, host_port: u16, guest_port: u16) -> String {
        match &self.net_bridge {
            Some(bridge) => {
                let helper = helper().map(|path| format!(",helper={}", path.display())).unwrap_or_default();
                format!("bridge,id=user.0,br={bridge}{helper}")
            }
            None if self.skip_nat_mapping => "user,id=user.0".into(),
            None => format!("user,id=user.0,hostfwd=tcp:127.0.0.1:{host_port}-:{guest_port}"),
        }
    }

    /// Returns the card's `-device` argument. Its boot ROM is left out: nothing is to be booted over the network here, and
    /// firmware that finds no disk would try that for a long time.
    pub fn card(&self, mac: &str) -> String {
        let model = match self.net_device() {
            "virtio" | "virtio-net" => "virtio-net-pci",
            other => other,
        };
        let has_rom = ["virtio-net-pci", "e1000", "rtl8139", "pcnet", "ne2k_pci", "vmxnet3", "i82559", "i82562"]
            .iter()
            .any(|with| model.starts_with(with));
        // By its address a guest on a bridge is found.
        let mac = if self.net_bridge.is_some() { format!(",mac={mac}") } else { String::new() };
        match has_rom && !model.contains(',') {
            true => format!("{model},netdev=user.0{mac},romfile="),
            false => format!("{model},netdev=user.0{mac}"),
        }
    }

    /// Returns a port on 127.0.0.1 that was free a moment ago, within the range the script gives.
    pub fn free_port(&self) -> Result<u16> {
        let free = |port: u16| {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
            bound.map(|address| address.port())
        };
        let Some((min, max)) = self.ports() else {
            return free(0).map_err(|e| Error::new(Kind::Host, "no port on 127.0.0.1 is free").caused_by(e));
        };
        // Machines that start at once begin to look at different places.
        let count = u32::from(max - min) + 1;
        let begin = u32::from_le_bytes(random()) % count;
        let candidates = (0..count).filter_map(|n| u16::try_from(u32::from(min) + (begin + n) % count).ok());
        candidates.map(free).find_map(std::io::Result::ok).ok_or_else(|| {
            Error::new(Kind::Host, format!("every port from {min} to {max} on 127.0.0.1 is taken"))
                .hint("widen the range of `host_port_min` and `host_port_max`, or leave both out: any free port serves")
        })
    }
}

/// Returns random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let id = uuid::Uuid::new_v4();
    for (to, from) in bytes.iter_mut().zip(id.as_bytes()) {
        *to = *from;
    }
    bytes
}

/// Makes a hardware address of the range that QEMU's cards have.
pub fn new_mac() -> String {
    let [a, b, c] = random::<3>();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

fn check_bridge(name: &str) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(wrong("net_bridge", "works on Linux only").hint("leave it out: the user network needs nothing"));
    }
    let devices = Path::new("/sys/class/net");
    if name.contains('/') || !devices.join(name).join("bridge").is_dir() {
        let bridges: Vec<String> = std::fs::read_dir(devices)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("bridge").is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let there =
            if bridges.is_empty() { "there is none".into() } else { format!("there are {}", bridges.join(", ")) };
        return Err(wrong("net_bridge", format!("{name:?} is no bridge of this host; {there}"))
            .hint("libvirt's default network makes `virbr0`; by hand: ip link add br0 type bridge"));
    }
    if helper().is_none() {
        return Err(wrong("net_bridge", "QEMU's bridge helper (qemu-bridge-helper) is not installed")
            .hint("on Debian and Ubuntu it is in the package qemu-system-common"));
    }
    Ok(())
}

fn helper() -> Option<PathBuf> {
    HELPERS.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Returns the host's own address on a bridge, where the guests reach it.
pub async fn bridge_address(bridge: &str) -> Result<IpAddr> {
    let ip = process::require("ip", "iproute2")?;
    let output = process::run(ip, ["-4", "-o", "addr", "show", "dev", bridge]).await?;
    address_in(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        wrong("net_bridge", format!("this host has no IPv4 address on {bridge}, so the guest cannot be served by HTTP"))
            .hint("give the bridge an address, or put the files on a CD: `cd_files`, `cd_content`")
    })
}

/// Finds the address in a line of `ip -o addr`: `3: br0    inet 10.1.0.1/24 brd …`.
fn address_in(text: &str) -> Option<IpAddr> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
    words.nth(1)?.split('/').next()?.parse().ok()
}

/// Waits until this host has heard of the guest with that hardware address, and returns the guest's address.
pub async fn find_guest(mac: &str) -> String {
    loop {
        let table = tokio::fs::read_to_string("/proc/net/arp").await.unwrap_or_default();
        if let Some(address) = neighbour_in(&table, mac) {
            return address;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Finds a hardware address in the kernel's table of neighbours: address, type, flags, hardware address, mask, device.
fn neighbour_in(table: &str, mac: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // Flags of 0 are of an entry that is not complete.
            [address, _, flags, hardware, ..] if hardware.eq_ignore_ascii_case(mac) && *flags != "0x0" => {
                Some((*address).to_owned())
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_from_the_range_and_a_full_range_is_an_error() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let options =
            NetworkOptions { host_port_min: Some(port), host_port_max: Some(port), ..NetworkOptions::default() };
        let error = options.free_port().unwrap_err();
        assert!(error.message().contains(&format!("every port from {port} to {port}")), "{error}");
        drop(taken);
        assert_eq!(options.free_port().unwrap(), port);
        assert!(NetworkOptions::default().free_port().unwrap() > 0);
        let turned = NetworkOptions { host_port_min: Some(9), host_port_max: Some(8), ..NetworkOptions::default() };
        assert!(turned.validate().is_err());
    }

    #[test]
    fn bridges_are_checked_and_guests_on_them_found() {
        let options = NetworkOptions { net_bridge: Some("nonesuch".into()), ..NetworkOptions::default() };
        assert!(options.validate().unwrap_err().message().contains("no bridge of this host"));
        assert!(options.netdev(1, 2).starts_with("bridge,id=user.0,br=nonesuch"));
        assert_eq!(options.card("52:54:00:01:02:03"), "virtio-net-pci,netdev=user.0,mac=52:54:00:01:02:03,romfile=");
        let table = "IP address HW type Flags HW address Mask Device\n\
                     10.0.0.9  0x1 0x0 52:54:00:01:02:03 * br0\n10.0.0.7  0x1 0x2 52:54:00:01:02:03 * br0\n";
        assert_eq!(neighbour_in(table, "52:54:00:01:02:03").as_deref(), Some("10.0.0.7"));
        assert_eq!(neighbour_in(table, "52:54:00:00:00:00"), None);
        let line = "3: br0    inet 10.1.0.1/24 brd 10.1.0.255 scope global br0";
        assert_eq!(address_in(line), Some("10.1.0.1".parse().unwrap()));
        assert!(new_mac().starts_with("52:54:00:") && new_mac() != new_mac());
    }
}
