//! Where this host has EFI firmware: by the descriptions that distributions install for that (QEMU's interface
//! specification `docs/interop/firmware.json`), else at the places where it usually is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::firmware;
use crate::error::Result;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub architecture: &'a str,
    pub machine_type: &'a str,
    /// The QEMU program, whose own folders may hold firmware.
    pub binary: &'a Path,
    /// Whether it checks signatures, with the usual keys enrolled.
    pub secure: bool,
}

/// One EFI firmware: code, and the variables that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Efi {
    pub code: PathBuf,
    pub code_format: String,
    pub vars: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    mode: Option<String>,
    executable: Option<File>,
    nvram_template: Option<File>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
    format: String,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// Code and variables at places where distributions without descriptions have them.
const USUAL: [(&str, bool, &str, &str); 12] = [
    ("x86_64", false, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("x86_64", false, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("x86_64", false, "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("x86_64", false, "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("x86_64", false, "/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("x86_64", false, "/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
    ("x86_64", true, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("x86_64", true, "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ("aarch64", false, "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    (
        "aarch64",
        false,
        "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "/usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
    ("aarch64", false, "/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
    ("aarch64", true, "/usr/share/AAVMF/AAVMF_CODE.ms.fd", "/usr/share/AAVMF/AAVMF_VARS.ms.fd"),
];

/// Finds the firmware, or says what to install.
pub fn find(wanted: &Wanted<'_>) -> Result<Efi> {
    let described = descriptors(&folders(wanted.binary)).into_values().find_map(|path| matching(&path, wanted));
    let usual = || {
        let here = USUAL
            .iter()
            .filter(|(architecture, secure, ..)| (*architecture, *secure) == (wanted.architecture, wanted.secure));
        here.map(|(_, _, code, vars)| Efi { code: code.into(), code_format: "raw".into(), vars: vars.into() })
            .find(exists)
    };
    let beside_qemu = || {
        // QEMU's own build of EDK II, as Homebrew installs it.
        let (code, vars) = match (wanted.architecture, wanted.secure) {
            ("x86_64", false) => ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
            ("x86_64", true) => ("edk2-x86_64-secure-code.fd", "edk2-i386-vars.fd"),
            ("aarch64", false) => ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
            _ => return None,
        };
        let share = prefix(wanted.binary)?.join("share/qemu");
        Some(Efi { code: share.join(code), code_format: "raw".into(), vars: share.join(vars) }).filter(exists)
    };
    described.or_else(usual).or_else(beside_qemu).ok_or_else(|| firmware::not_found(wanted))
}

/// Returns the EFI code that this host has for an architecture's usual machine.
pub fn code_for(architecture: &str) -> Option<PathBuf> {
    let machine_type = if architecture == "x86_64" { "q35" } else { "virt" };
    let program = format!("qemu-system-{architecture}");
    let wanted = Wanted { architecture, machine_type, binary: Path::new(&program), secure: false };
    find(&wanted).ok().map(|efi| efi.code)
}

fn exists(efi: &Efi) -> bool {
    efi.code.is_file() && efi.vars.is_file()
}

/// Returns the folder that holds the `bin` of a program, links followed.
fn prefix(binary: &Path) -> Option<PathBuf> {
    let path = crate::host::process::which(binary)?;
    path.canonicalize().ok()?.parent()?.parent().map(Path::to_owned)
}

/// Returns the folders of descriptions, the one with precedence first.
fn folders(binary: &Path) -> Vec<PathBuf> {
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = user.or_else(|| etcetera::home_dir().ok().map(|home| home.join(".config")));
    let mut folders: Vec<PathBuf> = user.into_iter().map(|config| config.join("qemu/firmware")).collect();
    folders.extend(["/etc/qemu/firmware", "/usr/share/qemu/firmware"].map(PathBuf::from));
    folders.extend(prefix(binary).map(|prefix| prefix.join("share/qemu/firmware")));
    folders
}

/// Lists the descriptions by their names, which begin with their rank; one hides those of its name in later folders.
fn descriptors(folders: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".json") {
                found.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    found
}

/// Reads a description; one that cannot be understood is of no firmware.
fn matching(path: &Path, wanted: &Wanted<'_>) -> Option<Efi> {
    let descriptor: Descriptor = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let machine = canonical(wanted.machine_type);
    let runs = |target: &Target| {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => machine.starts_with(start),
            None => machine == *pattern,
        };
        target.architecture == wanted.architecture && target.machines.iter().any(fits)
    };
    let has = |feature: &str| descriptor.features.iter().any(|name| name == feature);
    let secure = has("secure-boot") && has("enrolled-keys");
    let plain = !has("enrolled-keys") && !has("requires-smm");
    // Firmware for confidential machines runs nothing else.
    let special = has("amd-sev-snp") || has("intel-tdx");
    let mapping = descriptor.mapping;
    let suits = descriptor.interface_types.iter().any(|name| name == "uefi")
        && mapping.device == "flash"
        && mapping.mode.as_deref().is_none_or(|mode| mode == "split")
        && descriptor.targets.iter().any(runs)
        && (if wanted.secure { secure } else { plain })
        && !special;
    let (code, vars) = (mapping.executable?, mapping.nvram_template?);
    let efi = Efi { code: code.filename, code_format: code.format, vars: vars.filename };
    (suits && exists(&efi)).then_some(efi)
}

/// Returns a machine type's full name, as the patterns of descriptions have it.
fn canonical(machine_type: &str) -> String {
    let name = machine_type.split(',').next().unwrap_or_default();
    match name {
        "pc" => "pc-i440fx-".to_owned(),
        "q35" => "pc-q35-".to_owned(),
        "virt" => "virt-".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns the variables that belong to a code file by its name, where they are beside it.
pub fn vars_beside(code: &Path) -> Option<PathBuf> {
    let name = code.file_name()?.to_str()?;
    // Code that checks signatures goes with the variables that hold no keys or with those that do; the user says which.
    let name = name.replace(".secboot", "");
    let pairs = [("CODE", "VARS"), ("code", "vars"), ("QEMU_EFI-pflash", "vars-template-pflash")];
    let path = pairs.into_iter().find(|(part, _)| name.contains(part)).map(|(part, with)| name.replace(part, with))?;
    Some(code.with_file_name(path)).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(dir: &Path, name: &str, machines: &str, features: &str) {
        for file in ["code", "vars"] {
            std::fs::write(dir.join(format!("{name}-{file}.fd")), "x").unwrap();
        }
        let text = format!(
            r#"{{"description": "x", "interface-types": ["uefi"], "mapping": {{"device": "flash",
            "executable": {{"filename": "{dir}/{name}-code.fd", "format": "raw"}},
            "nvram-template": {{"filename": "{dir}/{name}-vars.fd", "format": "qcow2"}}}},
            "targets": [{{"architecture": "x86_64", "machines": ["{machines}"]}}], "features": [{features}], "tags": []}}"#,
            dir = dir.display()
        );
        std::fs::write(dir.join(format!("{name}.json")), text).unwrap();
    }

    #[test]
    fn descriptions_are_read_by_rank_and_fit_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        describe(dir, "40-secure", "pc-q35-*", r#""secure-boot", "enrolled-keys", "requires-smm""#);
        describe(dir, "50-smm", "pc-q35-*", r#""secure-boot", "requires-smm""#);
        describe(dir, "60-plain", "pc-q35-*", "");
        describe(dir, "70-old", "pc-i440fx-*", "");
        std::fs::write(dir.join("30-broken.json"), "{").unwrap();
        let find = |machine_type: &str, secure: bool| {
            let wanted = Wanted { architecture: "x86_64", machine_type, binary: Path::new("/no/qemu"), secure };
            let found = descriptors(&[dir.to_owned()]).into_values().find_map(|path| matching(&path, &wanted));
            found.map(|efi| efi.code.file_name().unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(find("q35", false).as_deref(), Some("60-plain-code.fd"));
        assert_eq!(find("pc-q35-7.2", true).as_deref(), Some("40-secure-code.fd"));
        assert_eq!(find("pc", false).as_deref(), Some("70-old-code.fd"));
        assert_eq!(find("pc", true), None);
        assert_eq!(find("microvm", false), None);
        assert_eq!(vars_beside(&dir.join("60-plain-code.fd")), Some(dir.join("60-plain-vars.fd")));
        assert_eq!(vars_beside(&dir.join("x.fd")), None);
    }
}
