//! QEMU's command line.

use std::ffi::OsString;
use std::path::Path;

use super::accelerator::Choice;
use super::options::{Accelerator, QemuOptions};

/// What the command line is made of.
pub struct Plan<'a> {
    pub options: &'a QemuOptions,
    pub name: &'a str,
    pub choice: &'a Choice,
    /// The private folder that holds the disk.
    pub dir: &'a Path,
    pub disk: &'a Path,
    pub disk_format: &'a str,
    pub seed: Option<&'a Path>,
    pub serial: &'a Path,
    pub firmware: &'a Path,
    /// The port on 127.0.0.1 that leads to the guest's.
    pub host_port: u16,
    pub guest_port: u16,
}

/// Who gives way to a flag in `qemuargs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
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
pub fn build(plan: &Plan<'_>) -> Vec<OsString> {
    let options = plan.options;
    let given = given(plan);
    let has = |flag: &str| given.iter().any(|group| group.first().is_some_and(|f| f == flag));
    let names_netdev = |group: &Vec<String>| {
        group.first().is_some_and(|flag| flag == "-device") && group.iter().any(|word| word.contains("netdev="))
    };
    let has_card = given.iter().any(names_netdev) || has("-nic") || has("-net");
    let mut parts: Vec<(Part, &str, String)> = Vec::new();
    let mut add = |part: Part, flag: &'static str, value: String| parts.push((part, flag, value));

    add(Part::Default, "-name", plan.name.replace(',', ",,"));
    if !options.machine_type().is_empty() {
        add(Part::Default, "-machine", options.machine_type().to_owned());
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
    add(Part::Default, "-smp", options.cpus().to_string());
    add(Part::Default, "-m", format!("{}M", options.memory_mib()));
    let display = match (&options.display, options.headless.unwrap_or(true)) {
        (Some(display), _) => display.clone(),
        (None, true) => "none".into(),
        (None, false) => "gtk".into(),
    };
    add(Part::Default, "-display", display);
    if options.is_pc() {
        add(Part::Default, "-vga", "std".into());
    }

    let cache = options.disk_cache.as_deref().unwrap_or("unsafe");
    let discard = options.disk_discard.as_deref().unwrap_or("unmap");
    let zeroes = match options.disk_detect_zeroes.as_deref() {
        None if discard == "ignore" => "on",
        None => "unmap",
        Some(said) => said,
    };
    let (file, format) = (escaped(plan.disk), plan.disk_format);
    add(
        Part::Disk,
        "-drive",
        format!("file={file},format={format},if=none,id=disk0,cache={cache},discard={discard},detect-zeroes={zeroes}"),
    );
    let (controller, device) = match options.disk_interface() {
        "virtio-scsi" => (Some("virtio-scsi-pci,id=scsi0"), "scsi-hd,bus=scsi0.0,drive=disk0"),
        "scsi" => (Some("lsi53c895a,id=scsi0"), "scsi-hd,bus=scsi0.0,drive=disk0"),
        "sata" => (Some("ich9-ahci,id=sata0"), "ide-hd,bus=sata0.0,drive=disk0"),
        "ide" => (None, "ide-hd,drive=disk0"),
        _ => (None, "virtio-blk-pci,drive=disk0"),
    };
    if let Some(controller) = controller {
        add(Part::Disk, "-device", controller.into());
    }
    add(Part::Disk, "-device", format!("{device},bootindex=1"));

    let forward = format!("hostfwd=tcp:127.0.0.1:{}-:{}", plan.host_port, plan.guest_port);
    if !has("-nic") && !has("-net") {
        add(Part::Default, "-netdev", format!("user,id=user.0,{forward}"));
    }
    if !has_card {
        add(Part::Card, "-device", card(options.net_device()));
    }

    // What rimg hears and sees the machine with. Standard input is one end of a socket pair: no path that could be too
    // long, nothing to remove, and nobody else can connect.
    add(Part::Own, "-chardev", "socket,id=rimg-qmp,fd=0".into());
    add(Part::Own, "-mon", "chardev=rimg-qmp,mode=control".into());
    add(Part::Own, "-chardev", format!("file,id=rimg-serial,path={}", escaped(plan.serial)));
    add(Part::Default, "-serial", "chardev:rimg-serial".into());
    if options.is_pc() {
        add(Part::Own, "-chardev", format!("file,id=rimg-firmware,path={}", escaped(plan.firmware)));
        add(Part::Own, "-device", "isa-debugcon,iobase=0x402,chardev=rimg-firmware".into());
        add(Part::Own, "-device", "pvpanic".into());
        add(Part::Own, "-device", "virtio-rng-pci".into());
    }
    // A panicked guest stops where it is, so that its screen can be looked at.
    add(Part::Default, "-action", "panic=pause".into());
    if let Some(seed) = plan.seed {
        let seed = escaped(seed);
        if options.disk_interface() == "virtio" || !options.is_pc() {
            add(Part::Own, "-drive", format!("file={seed},format=raw,if=none,id=rimg-seed,readonly=on"));
            add(Part::Own, "-device", "virtio-blk-pci,drive=rimg-seed".into());
        } else {
            add(Part::Own, "-drive", format!("file={seed},format=raw,media=cdrom,if=ide,index=2,readonly=on"));
        }
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
    arguments
}

/// Returns the card's `-device` argument. Its boot ROM is left out: nothing is to be booted over the network here, and
/// firmware that finds no disk would try that for a long time.
fn card(model: &str) -> String {
    let model = match model {
        "virtio" | "virtio-net" => "virtio-net-pci",
        other => other,
    };
    let has_rom = ["virtio-net-pci", "e1000", "rtl8139", "pcnet", "ne2k_pci", "vmxnet3", "i82559", "i82562"]
        .iter()
        .any(|with| model.starts_with(with));
    match has_rom && !model.contains(',') {
        true => format!("{model},netdev=user.0,romfile="),
        false => format!("{model},netdev=user.0"),
    }
}

/// Returns `qemuargs` with its placeholders filled in.
fn given(plan: &Plan<'_>) -> Vec<Vec<String>> {
    let disk_name = plan.disk.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let values = [
        (".SSHHostPort", plan.host_port.to_string()),
        (".OutputDir", plan.dir.display().to_string()),
        (".Name", disk_name),
    ];
    let fill = |word: &String| {
        let mut filled = word.clone();
        for (name, value) in &values {
            for form in [format!("{{{{ {name} }}}}"), format!("{{{{{name}}}}}")] {
                filled = filled.replace(&form, value);
            }
        }
        filled
    };
    plan.options.qemuargs.iter().map(|group| group.iter().map(fill).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(options: &QemuOptions, seed: bool) -> Vec<String> {
        let choice = Choice::emulation(options);
        let plan = Plan {
            options,
            name: "web,1",
            choice: &choice,
            dir: Path::new("/w"),
            disk: Path::new("/w/a,b.qcow2"),
            disk_format: "qcow2",
            seed: seed.then_some(Path::new("/w/seed.iso")),
            serial: Path::new("/w/serial.log"),
            firmware: Path::new("/w/firmware.log"),
            host_port: 40022,
            guest_port: 22,
        };
        build(&plan).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn values<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a str> {
        arguments.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
    }

    fn group(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn names_and_paths_with_commas_are_escaped() {
        let arguments = built(&QemuOptions::default(), true);
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
        let options = QemuOptions {
            qemuargs: vec![
                group(&["-m", "3G"]),
                group(&["-device", "e1000,netdev=user.0"]),
                group(&["-netdev", "user,id=user.0,hostfwd=tcp::{{ .SSHHostPort }}-:22"]),
                group(&["-chardev", "null,id=mine"]),
                group(&["-snapshot"]),
            ],
            ..QemuOptions::default()
        };
        let arguments = built(&options, false);
        assert_eq!(values(&arguments, "-m"), ["3G"]);
        assert_eq!(values(&arguments, "-netdev"), ["user,id=user.0,hostfwd=tcp::40022-:22"]);
        let devices = values(&arguments, "-device");
        assert!(devices.contains(&"e1000,netdev=user.0") && !devices.iter().any(|d| d.starts_with("virtio-net")));
        assert!(devices.iter().any(|d| d.starts_with("virtio-blk-pci,drive=disk0")), "{devices:?}");
        assert!(devices.iter().any(|d| d.starts_with("isa-debugcon")));
        assert_eq!(values(&arguments, "-chardev").len(), 4);
        assert!(arguments.contains(&"-snapshot".to_owned()));
    }

    #[test]
    fn a_drive_of_the_users_own_takes_the_disks_place() {
        let drive = group(&["-drive", "file={{.OutputDir}}/{{ .Name }},if=virtio"]);
        let options = QemuOptions { qemuargs: vec![drive], ..QemuOptions::default() };
        let arguments = built(&options, true);
        let drives = values(&arguments, "-drive");
        assert_eq!(drives.len(), 2);
        assert!(drives[1].starts_with("file=/w/seed.iso") && drives[0] == "file=/w/a,b.qcow2,if=virtio", "{drives:?}");
        assert!(!values(&arguments, "-device").iter().any(|d| d.contains("disk0")));
    }

    #[test]
    fn disks_hang_on_what_was_asked_for() {
        for (interface, controllers) in [("virtio", 0), ("virtio-scsi", 1), ("scsi", 1), ("sata", 1), ("ide", 0)] {
            let options = QemuOptions { disk_interface: Some(interface.into()), ..QemuOptions::default() };
            let arguments = built(&options, true);
            let devices = values(&arguments, "-device");
            assert_eq!(devices.iter().filter(|d| d.contains("id=s")).count(), controllers, "{devices:?}");
            assert_eq!(devices.iter().filter(|d| d.contains("drive=disk0,bootindex=1")).count(), 1);
        }
    }
}
