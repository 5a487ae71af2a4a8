//! All that a script says about a machine's hardware, and what follows from several options at once.

use std::path::Path;

use super::disk_options::DiskOptions;
use super::display::DisplayOptions;
use super::firmware::{FirmwareOptions, For};
use super::network::NetworkOptions;
use super::options::{QemuOptions, wrong};
use super::places::Board;
use super::topology::Topology;
use crate::engine::BuildCx;
use crate::error::Result;

/// The options of a machine, a struct a subject.
#[derive(Debug, Clone, Default)]
pub struct Hardware {
    pub machine: QemuOptions,
    pub topology: Topology,
    pub disks: DiskOptions,
    pub firmware: FirmwareOptions,
    pub display: DisplayOptions,
    pub network: NetworkOptions,
}

/// The places on a bus of ports that is added for disks.
const PORTS: usize = 6;

/// Flags that give a machine something to write to, or a state, that rimg does not know.
const DISK_FLAGS: [&str; 17] = [
    "-drive",
    "-blockdev",
    "-hda",
    "-hdb",
    "-hdc",
    "-hdd",
    "-fda",
    "-fdb",
    "-sd",
    "-mtdblock",
    "-pflash",
    "-snapshot",
    "-virtfs",
    "-fsdev",
    "-incoming",
    "-loadvm",
    "-usbdevice",
];

impl Hardware {
    /// Returns the guest's architecture as QEMU names it.
    pub fn architecture(&self) -> &str {
        self.machine.architecture()
    }

    /// Returns QEMU's name of the machine type; empty leaves it to QEMU.
    pub fn machine_type(&self) -> &str {
        self.machine.machine_type.as_deref().unwrap_or(match self.architecture() {
            "aarch64" | "arm" | "riscv64" => "virt",
            // System management mode, which secure boot needs, is on this one only.
            "x86_64" | "i686" if self.firmware.efi_secure_boot => "q35",
            "x86_64" | "i686" => "pc",
            _ => "",
        })
    }

    /// Tells whether the guest is a PC, with what rimg watches on one.
    pub fn is_pc(&self) -> bool {
        matches!(self.architecture(), "x86_64" | "i686")
            && !self.machine_type().starts_with("microvm")
            && !self.machine_type().starts_with("isapc")
    }

    /// Tells whether the machine is the one made for virtual ARM and RISC-V guests, which has neither screen nor keyboard.
    pub fn is_virt(&self) -> bool {
        self.machine_type().starts_with("virt")
    }

    /// Returns the controller of disks and CDs that the machine has on its board.
    pub fn board(&self) -> Board {
        match self.is_pc() {
            true if self.machine_type().contains("q35") => Board::Sata,
            true => Board::Ide,
            false => Board::None,
        }
    }

    /// Returns what CDs are attached to.
    pub fn cdrom_interface(&self) -> &str {
        self.disks.cdrom_interface.as_deref().unwrap_or(match self.board() {
            Board::None => "virtio-scsi",
            Board::Ide | Board::Sata => "ide",
        })
    }

    /// Tells whether all that the guest can write to is known, so that it can be kept: no argument of the script's own adds
    /// a disk, or keeps a disk's changes elsewhere.
    pub fn knows_its_disks(&self) -> bool {
        let adds = |group: &Vec<String>| {
            let flag = group.first().map_or("", String::as_str);
            DISK_FLAGS.contains(&flag)
        };
        !self.machine.qemuargs.iter().any(adds)
    }

    /// Tells whether the machine has a generation id: on PCs whose firmware can be told where the guest keeps it, unless
    /// the script adds one.
    pub fn has_generation_id(&self) -> bool {
        let too_old =
            |version: &str| version.starts_with("1.") || ["2.0", "2.1", "2.2", "2.3", "2.4"].contains(&version);
        let version = self.machine_type().split(',').next().and_then(|name| name.rsplit('-').next());
        let given = self.machine.qemuargs.iter().any(|group| group.iter().any(|word| word.starts_with("vmgenid")));
        self.is_pc() && !given && !version.is_some_and(too_old)
    }

    /// Returns what the firmware has to fit.
    pub fn for_firmware<'a>(&'a self, binary: &'a Path) -> For<'a> {
        let given = self.machine.qemuargs.iter().any(|group| match group.split_first() {
            Some((flag, rest)) => {
                ["-bios", "-pflash", "-kernel"].contains(&flag.as_str())
                    || (flag == "-drive" && rest.concat().contains("if=pflash"))
            }
            None => false,
        });
        For { architecture: self.architecture(), machine_type: self.machine_type(), binary, given }
    }

    /// Checks what can be known without touching anything; returns warnings.
    pub fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        let mut warnings = self.machine.validate(cx)?;
        warnings.extend(self.topology.validate()?);
        self.disks.validate()?;
        self.display.validate(cx)?;
        warnings.extend(self.network.validate()?);
        if self.board() == Board::None {
            let no_ide = |option: &str| {
                wrong(option, format!("a machine of type {:?} has no IDE", self.machine_type()))
                    .hint("leave it out, or use \"virtio-scsi\"")
            };
            if self.cdrom_interface() == "ide" {
                return Err(no_ide("cdrom_interface"));
            }
            if self.disks.disk_interface() == "ide" {
                return Err(no_ide("disk_interface"));
            }
        }
        let room = match (self.disks.disk_interface(), self.board()) {
            ("ide", Board::Ide) => 4,
            ("ide" | "sata", _) => PORTS,
            _ => usize::MAX,
        };
        if self.disks.count() > room {
            let message =
                format!("{} disks do not fit the {room} places of {}", self.disks.count(), self.disks.disk_interface());
            return Err(
                wrong("disk_additional_size", message).hint("disk_interface = \"virtio-scsi\" has room for many")
            );
        }
        let looks = cx.settings.mode != crate::engine::Mode::Inspect;
        let binary = if looks { self.machine.find_programs()? } else { self.machine.binary().into() };
        self.firmware.validate(&self.for_firmware(&binary), looks, cx)?;
        Ok(warnings)
    }
}
