//! QEMU's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::accelerator::Choice;
use super::firmware::Firmware;
use super::hardware::Hardware;
use super::options::Accelerator;
use super::places::Places;
use crate::engine::placeholders::Placeholders;
use crate::error::{Error, Kind, Result};

/// What the command line is made of.
pub struct Plan<'a> {
    pub options: &'a Hardware,
    pub name: &'a str,
    pub choice: &'a Choice,
    /// The private folder that holds the disk.
    pub dir: &'a Path,
    /// The disks, in qcow2; the first one is the machine's own.
    pub disks: &'a [PathBuf],
    pub flash: &'a Firmware,
    /// The media in the machine's CD drives; the first one is booted from, where `boots_cd` says so.
    pub cdroms: &'a [PathBuf],
    pub boots_cd: bool,
    pub floppy: Option<&'a Path>,
    pub seed: Option<&'a Path>,
    /// What the placeholders in `qemuargs` stand for, apart from those of this machine's own folder and port.
    pub values: &'a Placeholders,
    pub serial: &'a Path,
    /// Whether it waits for the state of a checkpoint instead of starting its firmware.
    pub resumes: bool,
    pub firmware: &'a Path,
    /// The port on 127.0.0.1 that leads to the guest's.
    pub host_port: u16,
    pub guest_port: u16,
    /// The hardware address of the network card.
    pub mac: &'a str,
}

/// Who gives way to a flag in `qemuargs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Replaced by the same flag.
    Default,
    /// Replaced by any `-drive`: the disk and what it hangs on.
    Disk,
    /// Left out already where the user has one.
    Card,
    /// Kept: rimg watches the machine with it.
    Own,
}

/// Doubles commas, which separate properties in QEMU's arguments.
pub fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Returns the arguments, `qemuargs` included. QEMU's control connection is its standard input.
pub fn build(plan: &Plan<'_>) -> Result<Vec<OsString>> {
    let options = plan.options;
    let given = given(plan);
    let has = |flag: &str| given.iter().any(|group| group.first().is_some_and(|f| f == flag));
    let names_netdev = |group: &Vec<String>| {
        group.first().is_some_and(|flag| flag == "-device") && group.iter().any(|word| word.contains("netdev="))
    };
    let has_card = given.iter().any(names_netdev) || has("-nic") || has("-net");
    let mut parts: Vec<(Part, &str, String)> = Vec::new();
    let ide_disks = options.disks.disk_interface() == "ide";
    let mut add = |part: Part, flag: &'static str, value: String| parts.push((part, flag, value));

    add(Part::Default, "-name", plan.name.replace(',', ",,"));
    if !options.machine_type().is_empty() {
        let smm = if options.firmware.efi_secure_boot && options.is_pc() { ",smm=on" } else { "" };
        add(Part::Default, "-machine", format!("{}{smm}", options.machine_type()));
    }
    let same_order = options.architecture() == std::env::consts::ARCH;
    match plan.choice.accelerator {
        Accelerator::None => {}
        Accelerator::Tcg if same_order => add(Part::Default, "-accel", "tcg,thread=multi".into()),
        other => add(Part::Default, "-accel", other.as_str().into()),
    }
    if let Some(model) = &plan.choice.cpu_model {
        add(Part::Default, "-cpu", model.clone());
    }
    add(Part::Default, "-smp", options.topology.argument());
    add(Part::Default, "-m", format!("{}M", options.machine.memory_mib()));
    if let Some(display) = options.display.display() {
        add(Part::Default, "-display", display);
    }
    if let Some(vnc) = options.display.vnc() {
        add(Part::Default, "-vnc", vnc);
    }
    match options.display.vga.as_deref() {
        Some(vga) if options.is_pc() => add(Part::Default, "-vga", vga.into()),
        None if options.is_pc() => add(Part::Default, "-vga", "std".into()),
        Some("virtio") | None if options.is_virt() => add(Part::Own, "-device", "virtio-gpu-pci".into()),
        Some("none") | None => {}
        Some(vga) => add(Part::Default, "-vga", vga.into()),
    }
    if options.is_virt() {
        add(Part::Own, "-device", "qemu-xhci,id=rimg-usb".into());
        add(Part::Own, "-device", "usb-kbd,bus=rimg-usb.0".into());
    }

    let mut places = Places::new(options.board(), if ide_disks { options.disks.count() } else { 0 }, &given);
    // The disk comes first: while it is empty, firmware goes on to the CD, and an installed system is booted without
    // anybody taking the CD out. What the user says of the order has precedence, which it would not have beside these.
    let ordered = given.iter().any(|group| orders_boot(group));
    let bootindex = |index: u32| (!ordered).then_some(index);
    for (flag, value) in disks(plan, &places, bootindex(1)) {
        add(Part::Disk, flag, value);
    }

    if !has("-nic") && !has("-net") {
        add(Part::Default, "-netdev", options.network.netdev(plan.host_port, plan.guest_port));
    }
    if !has_card {
        add(Part::Card, "-device", options.network.card(plan.mac));
    }

    // What rimg hears and sees the machine with. Standard input is one end of a socket pair: no path that could be too
    // long, nothing to remove, and nobody else can connect.
    add(Part::Own, "-chardev", "socket,id=rimg-qmp,fd=0".into());
    add(Part::Own, "-mon", "chardev=rimg-qmp,mode=control".into());
    // What was said before a checkpoint stays.
    let append = if plan.resumes { ",append=on" } else { "" };
    add(Part::Own, "-chardev", format!("file,id=rimg-serial,path={}{append}", escaped(plan.serial)));
    add(Part::Default, "-serial", "chardev:rimg-serial".into());
    if options.is_pc() {
        add(Part::Own, "-chardev", format!("file,id=rimg-firmware,path={}", escaped(plan.firmware)));
        add(Part::Own, "-device", "isa-debugcon,iobase=0x402,chardev=rimg-firmware".into());
        add(Part::Own, "-device", "pvpanic".into());
        add(Part::Own, "-device", "virtio-rng-pci".into());
        if options.has_generation_id() {
            // A new one each time: by it a guest knows that it goes on from a copy, and makes its random numbers anew.
            add(Part::Own, "-device", "vmgenid,guid=auto".into());
        }
    }
    // A panicked guest stops where it is, so that its screen can be looked at.
    add(Part::Default, "-action", "panic=pause".into());
    parts.extend(plan.flash.arguments(options.is_pc()));
    if let Some(device) = options.firmware.tpm_device(options.is_pc()) {
        // Its standard output is the other socket that QEMU is born with; see `Emulator`.
        parts.push((Part::Own, "-chardev", "socket,id=rimg-tpm,fd=1".into()));
        parts.push((Part::Own, "-tpmdev", "emulator,id=rimg-tpm,chardev=rimg-tpm".into()));
        parts.push((Part::Own, "-device", format!("{device},tpmdev=rimg-tpm")));
    }
    let no_place = |what: &Path| {
        Error::new(Kind::Option, format!("there is no place on the machine's IDE bus left for {}", what.display()))
            .hint("`cdrom_interface = \"virtio-scsi\"` has room for many CDs, where the system on them knows it")
    };
    for (number, path) in plan.cdroms.iter().enumerate() {
        let boot = bootindex(2).filter(|_| number == 0 && plan.boots_cd);
        let id = format!("rimg-cd{number}");
        let drive = places.cdrom(options.cdrom_interface(), &id, &escaped(path), boot);
        parts.extend(drive.ok_or_else(|| no_place(path))?);
    }
    if let Some(floppy) = plan.floppy {
        parts.push((Part::Own, "-drive", format!("file={},format=raw,if=floppy,index=0", escaped(floppy))));
    }
    if let Some(seed) = plan.seed {
        let virtio = options.disks.disk_interface() == "virtio" || !options.is_pc();
        let interface = if virtio { "virtio" } else { options.cdrom_interface() };
        let number = plan.cdroms.len();
        let drive = places.cdrom(interface, &format!("rimg-cd{number}"), &escaped(seed), None);
        parts.extend(drive.ok_or_else(|| no_place(seed))?);
    }

    let mut arguments: Vec<OsString> = ["-no-user-config", "-nodefaults", "-S"].map(OsString::from).to_vec();
    let replaced = |part: Part, flag: &str| match part {
        Part::Own | Part::Card => false,
        Part::Disk => has("-drive"),
        Part::Default => has(flag),
    };
    let (own, ours): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(part, ..)| *part == Part::Own);
    for (part, flag, value) in ours {
        if !replaced(part, flag) {
            arguments.extend([flag.into(), value.into()]);
        }
    }
    // The user's disks come before the seed, so that they get the first names in the guest.
    arguments.extend(given.into_iter().flatten().map(OsString::from));
    for (_, flag, value) in own {
        arguments.extend([flag.into(), value.into()]);
    }
    if plan.resumes {
        arguments.extend(["-incoming".into(), "defer".into()]);
    }
    Ok(arguments)
}

fn boot_property(index: Option<u32>) -> String {
    index.map(|index| format!(",bootindex={index}")).unwrap_or_default()
}

/// Tells whether one of the user's arguments says what is booted from first.
fn orders_boot(group: &[String]) -> bool {
    let Some((flag, rest)) = group.split_first() else { return false };
    let value = rest.concat();
    // `-boot d` is the old form of `-boot order=d`; `menu=on` and its like say nothing of the order.
    flag == "-boot"
        && value.split(',').any(|word| !word.contains('=') || word.starts_with("order=") || word.starts_with("once="))
}

/// Returns the disks and what they hang on.
fn disks(plan: &Plan<'_>, places: &Places, bootindex: Option<u32>) -> Vec<(&'static str, String)> {
    let options = &plan.options.disks;
    let (cache, discard, zeroes) = options.modes();
    let controller = match options.disk_interface() {
        "virtio-scsi" => Some("virtio-scsi-pci,id=scsi0"),
        "scsi" => Some("lsi53c895a,id=scsi0"),
        "sata" => Some("ich9-ahci,id=sata0"),
        _ => None,
    };
    let mut arguments: Vec<(&str, String)> = controller.into_iter().map(|with| ("-device", with.to_owned())).collect();
    for (number, disk) in plan.disks.iter().enumerate() {
        let file = escaped(disk);
        arguments.push((
            "-drive",
            format!("file={file},format=qcow2,if=none,id=disk{number},cache={cache},discard={discard},detect-zeroes={zeroes}"),
        ));
        let device = match options.disk_interface() {
            "virtio-scsi" | "scsi" => "scsi-hd,bus=scsi0.0".to_owned(),
            "sata" => format!("ide-hd,bus=sata0.{number}"),
            "ide" => format!("ide-hd,{}", places.of_disk(number)),
            _ => "virtio-blk-pci".to_owned(),
        };
        let boot = boot_property(bootindex.filter(|_| number == 0));
        arguments.push(("-device", format!("{device},drive=disk{number}{boot}")));
    }
    arguments
}

/// Returns `qemuargs` with its placeholders filled in.
fn given(plan: &Plan<'_>) -> Vec<Vec<String>> {
    let disk_name = plan
        .disks
        .first()
        .and_then(|disk| disk.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let values = plan.values.clone().with("SSHHostPort", plan.host_port.to_string());
    let values = values.with("OutputDir", plan.dir.display().to_string()).with("Name", disk_name);
    plan.options
        .machine
        .qemuargs
        .iter()
        .map(|group| group.iter().map(|word| values.fill_known(word)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::qemu::disk_options::DiskOptions;
    use crate::builder::qemu::options::QemuOptions;

    fn with_arguments(qemuargs: Vec<Vec<String>>) -> Hardware {
        Hardware { machine: QemuOptions { qemuargs, ..QemuOptions::default() }, ..Hardware::default() }
    }

    fn built(options: &Hardware, seed: bool) -> Vec<String> {
        with_media(options, seed, &[], None)
    }

    fn with_media(options: &Hardware, seed: bool, cdroms: &[PathBuf], floppy: Option<&Path>) -> Vec<String> {
        let choice = Choice::emulation(&options.machine);
        let disks: Vec<PathBuf> =
            ["/w/a,b.qcow2", "/w/b.qcow2", "/w/c.qcow2"].map(PathBuf::from)[..options.disks.count()].to_vec();
        let values = Placeholders::default().with("HTTPPort", "8123");
        let plan = Plan {
            options,
            name: "web,1",
            choice: &choice,
            dir: Path::new("/w"),
            disks: &disks,
            flash: &Firmware::Own,
            cdroms,
            boots_cd: !cdroms.is_empty(),
            floppy,
            seed: seed.then_some(Path::new("/w/seed.iso")),
            values: &values,
            serial: Path::new("/w/serial.log"),
            resumes: false,
            firmware: Path::new("/w/firmware.log"),
            host_port: 40022,
            guest_port: 22,
            mac: "52:54:00:00:00:01",
        };
        build(&plan).unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn values<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a str> {
        arguments.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
    }

    fn group(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_and_paths_with_commas_are_escaped() {
        let arguments = built(&Hardware::default(), true);
        assert_eq!(values(&arguments, "-name"), ["web,,1"]);
        let drives = values(&arguments, "-drive");
        assert!(drives[0].starts_with("file=/w/a,,b.qcow2,format=qcow2,if=none,id=disk0,cache=unsafe"), "{drives:?}");
        assert!(drives[1].starts_with("file=/w/seed.iso"));
        assert_eq!(values(&arguments, "-netdev"), ["user,id=user.0,hostfwd=tcp:127.0.0.1:40022-:22"]);
        assert!(values(&arguments, "-device").contains(&"virtio-net-pci,netdev=user.0,romfile="));
        assert_eq!(values(&arguments, "-cpu"), ["max,la57=off"]);
    }

    #[test]
    fn qemuargs_replace_the_same_flag_and_never_what_watches() {
        let options = with_arguments(vec![
            group(&["-m", "3G"]),
            group(&["-device", "e1000,netdev=user.0"]),
            group(&["-netdev", "user,id=user.0,hostfwd=tcp::{{ .SSHHostPort }}-:22"]),
            group(&["-chardev", "null,id=mine"]),
            group(&["-snapshot"]),
            group(&["-fw_cfg", "name=opt/x,string={{ .HTTPPort }} {{ .State }}"]),
        ]);
        let arguments = built(&options, false);
        assert_eq!(values(&arguments, "-m"), ["3G"]);
        assert_eq!(values(&arguments, "-netdev"), ["user,id=user.0,hostfwd=tcp::40022-:22"]);
        let devices = values(&arguments, "-device");
        assert!(devices.contains(&"e1000,netdev=user.0") && !devices.iter().any(|d| d.starts_with("virtio-net")));
        assert!(devices.iter().any(|d| d.starts_with("virtio-blk-pci,drive=disk0")), "{devices:?}");
        assert!(devices.iter().any(|d| d.starts_with("isa-debugcon")));
        assert_eq!(values(&arguments, "-chardev").len(), 4);
        assert!(arguments.contains(&"-snapshot".to_owned()));
        assert_eq!(values(&arguments, "-fw_cfg"), ["name=opt/x,string=8123 {{ .State }}"]);
    }

    #[test]
    fn a_drive_of_the_users_own_takes_the_disks_place() {
        let drive = group(&["-drive", "file={{.OutputDir}}/{{ .Name }},if=virtio"]);
        let options = with_arguments(vec![drive]);
        let arguments = built(&options, true);
        let drives = values(&arguments, "-drive");
        assert_eq!(drives.len(), 2);
        assert!(drives[1].starts_with("file=/w/seed.iso") && drives[0] == "file=/w/a,b.qcow2,if=virtio", "{drives:?}");
        assert!(!values(&arguments, "-device").iter().any(|d| d.contains("disk0")));
    }

    #[test]
    fn disks_hang_on_what_was_asked_for() {
        for (interface, controllers) in [("virtio", 0), ("virtio-scsi", 1), ("scsi", 1), ("sata", 1), ("ide", 0)] {
            let disks = DiskOptions { disk_interface: Some(interface.into()), ..DiskOptions::default() };
            let options = Hardware { disks, ..Hardware::default() };
            let arguments = built(&options, true);
            let devices = values(&arguments, "-device");
            assert_eq!(devices.iter().filter(|d| d.contains("id=s")).count(), controllers, "{devices:?}");
            assert_eq!(devices.iter().filter(|d| d.contains("drive=disk0,bootindex=1")).count(), 1);
        }
    }

    #[test]
    fn media_are_attached_and_the_first_is_booted_after_the_disk() {
        let cds = ["/w/a,b.iso".into(), "/w/cd.iso".into()];
        let arguments = with_media(&Hardware::default(), false, &cds, Some(Path::new("/w/floppy.img")));
        let drives = values(&arguments, "-drive");
        assert_eq!(drives[1], "file=/w/a,,b.iso,format=raw,if=none,id=rimg-cd0,readonly=on,media=cdrom");
        assert!(drives[3].contains("if=floppy"), "{drives:?}");
        let devices = values(&arguments, "-device");
        assert!(devices.contains(&"ide-cd,bus=ide.1,unit=0,drive=rimg-cd0,bootindex=2"), "{devices:?}");
        assert!(devices.contains(&"ide-cd,bus=ide.1,unit=1,drive=rimg-cd1"), "{devices:?}");

        let disks = DiskOptions { cdrom_interface: Some("virtio-scsi".into()), ..DiskOptions::default() };
        let options = Hardware { disks, ..Hardware::default() };
        let arguments = with_media(&options, true, &cds, None);
        let devices = values(&arguments, "-device");
        assert_eq!(devices.iter().filter(|d| d.contains("id=rimg-cds")).count(), 1, "{devices:?}");
        assert!(devices.contains(&"scsi-cd,bus=rimg-cds.0,drive=rimg-cd0,bootindex=2"), "{devices:?}");

        for (boot, ours) in [("order=dc", false), ("once=d", false), ("d", false), ("menu=on,splash-time=5", true)] {
            let options = with_arguments(vec![group(&["-boot", boot])]);
            let arguments = with_media(&options, false, &cds, None);
            assert_eq!(arguments.iter().any(|word| word.contains("bootindex")), ours, "{boot}");
        }
    }
}
