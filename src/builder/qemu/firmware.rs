//! The firmware that a machine starts with: QEMU's own BIOS, a file, or EFI with its variables.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::arguments::{Part, escaped};
use super::firmware_files::{self, Efi, Wanted};
use super::options::{missing, one_of, wrong};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::qemu_img::{self, Conversion, DiskFormat};

/// A machine's firmware and TPM. Names are Packer's where the thing is the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirmwareOptions {
    /// A firmware image in place of QEMU's own.
    pub firmware: Option<PathBuf>,
    /// Whether `firmware` is put into flash memory instead of being loaded as a BIOS.
    pub use_pflash: bool,
    /// Whether the machine starts with EFI. Default: on ARM, or where another `efi_…` option says so.
    pub efi_boot: Option<bool>,
    /// EFI's code. Default: what this host's distribution has for the machine.
    pub efi_firmware_code: Option<PathBuf>,
    /// EFI's variables, of which the machine gets a copy. Default: what belongs to the code; those of `source_image` where it
    /// is an artifact that has them.
    pub efi_firmware_vars: Option<PathBuf>,
    /// Whether EFI boots only what is signed, with the usual keys enrolled.
    pub efi_secure_boot: bool,
    /// Whether the finished image comes without its EFI variables.
    pub efi_drop_efivars: bool,
    /// Whether the machine has a TPM 2.0 (by swtpm).
    pub vtpm: bool,
    /// The TPM's device: `tpm-tis` (default on PCs), `tpm-crb`, `tpm-tis-device` (default on ARM) or `tpm-spapr`.
    pub tpm_device_type: Option<String>,
}

/// The machine's own copy of the variables, and the name under which the finished image has them.
pub const VARS: &str = "efivars.fd";
const TPM_DEVICES: [&str; 4] = ["tpm-tis", "tpm-crb", "tpm-tis-device", "tpm-spapr"];

/// The machine that the firmware is for.
#[derive(Debug, Clone, Copy)]
pub struct For<'a> {
    pub architecture: &'a str,
    pub machine_type: &'a str,
    pub binary: &'a Path,
    /// Whether `qemuargs` bring a firmware or a kernel of their own.
    pub given: bool,
}

impl FirmwareOptions {
    /// Tells whether the machine starts with EFI.
    pub fn is_efi(&self, machine: &For<'_>) -> bool {
        // ARM's virtual machine has no other firmware.
        let usual = machine.architecture == "aarch64"
            && machine.machine_type.starts_with("virt")
            && self.firmware.is_none()
            && !machine.given;
        self.efi_boot.unwrap_or(usual || self.asks_for_efi())
    }

    fn asks_for_efi(&self) -> bool {
        self.efi_firmware_code.is_some() || self.efi_firmware_vars.is_some() || self.efi_secure_boot
    }

    /// Checks what can be known before anything starts; `look` tells whether this host's programs and files may be looked
    /// for.
    pub fn validate(&self, machine: &For<'_>, look: bool, cx: &BuildCx) -> Result<()> {
        for (name, path) in [
            ("firmware", &self.firmware),
            ("efi_firmware_code", &self.efi_firmware_code),
            ("efi_firmware_vars", &self.efi_firmware_vars),
        ] {
            if let Some(path) = path {
                let path = cx.settings.resolve(path);
                std::fs::metadata(&path).map_err(|e| {
                    let error = missing(name, &path, e);
                    match firmware_files::find(&self.wanted(machine)) {
                        Ok(found) => {
                            error.hint(format!("this host has {}: leave `{name}` out to use it", found.code.display()))
                        }
                        Err(_) => error,
                    }
                })?;
            }
        }
        if self.efi_boot == Some(false) && self.asks_for_efi() {
            return Err(wrong("efi_boot", "is false, and other options ask for EFI"));
        }
        if self.firmware.is_some() && self.is_efi(machine) {
            return Err(wrong("firmware", "cannot stand beside EFI")
                .hint("an EFI firmware with its variables is named by `efi_firmware_code` and `efi_firmware_vars`"));
        }
        if self.use_pflash && self.firmware.is_none() {
            return Err(wrong("use_pflash", "says where `firmware` goes, and there is none")
                .hint("EFI's code and variables are in flash memory in any case"));
        }
        one_of("tpm_device_type", self.tpm_device_type.as_deref(), &TPM_DEVICES)?;
        if look && self.is_efi(machine) {
            self.find(machine, None, cx)?;
        }
        if look && self.vtpm {
            super::tpm::require()?;
        }
        Ok(())
    }

    fn wanted<'a>(&self, machine: &For<'a>) -> Wanted<'a> {
        Wanted {
            architecture: machine.architecture,
            machine_type: machine.machine_type,
            binary: machine.binary,
            secure: self.efi_secure_boot,
        }
    }

    /// Finds the files of EFI; `inherited` are the variables of the image that the machine starts from.
    fn find(&self, machine: &For<'_>, inherited: Option<&Path>, cx: &BuildCx) -> Result<Efi> {
        let code = self.efi_firmware_code.as_ref().map(|path| cx.settings.resolve(path));
        let vars = self.efi_firmware_vars.as_ref().map(|path| cx.settings.resolve(path));
        let mut efi = match code {
            None => firmware_files::find(&self.wanted(machine))?,
            Some(code) => {
                let beside = firmware_files::vars_beside(&code);
                let Some(vars) = vars.clone().or(inherited.map(Path::to_owned)).or(beside) else {
                    return Err(wrong("efi_firmware_vars", format!("no variables are beside {}", code.display()))
                        .hint("name the file of variables that belongs to the code, OVMF_VARS.fd"));
                };
                Efi { code, code_format: "raw".into(), vars }
            }
        };
        if let Some(vars) = vars.or(inherited.map(Path::to_owned)) {
            efi.vars = vars;
        }
        Ok(efi)
    }

    /// Finds the machine's firmware and, with EFI, gives it variables of its own in its folder.
    pub async fn prepare(
        &self,
        machine: &For<'_>,
        inherited: Option<&Path>,
        dir: &Path,
        cx: &BuildCx,
    ) -> Result<Firmware> {
        let firmware = self.choose(machine, inherited, dir, cx)?;
        firmware.reset().await?;
        Ok(firmware)
    }

    /// Finds the firmware of a machine whose folder is `dir`.
    pub fn choose(&self, machine: &For<'_>, inherited: Option<&Path>, dir: &Path, cx: &BuildCx) -> Result<Firmware> {
        if !self.is_efi(machine) {
            let file = self.firmware.as_ref().map(|file| cx.settings.resolve(file));
            return Ok(file.map_or(Firmware::Own, |file| Firmware::File { file, flash: self.use_pflash }));
        }
        let Efi { code, code_format, vars } = self.find(machine, inherited, cx)?;
        Ok(Firmware::Efi { code, code_format, template: vars, vars: dir.join(VARS), secure: self.efi_secure_boot })
    }

    /// Returns the TPM's device, where there is one.
    pub fn tpm_device(&self, is_pc: bool) -> Option<&str> {
        let usual = if is_pc { "tpm-tis" } else { "tpm-tis-device" };
        self.vtpm.then(|| self.tpm_device_type.as_deref().unwrap_or(usual))
    }
}

/// The firmware of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// What QEMU brings.
    Own,
    File {
        file: PathBuf,
        flash: bool,
    },
    Efi {
        code: PathBuf,
        code_format: String,
        /// What the variables begin as.
        template: PathBuf,
        /// The machine's own.
        vars: PathBuf,
        secure: bool,
    },
}

impl Firmware {
    /// Returns the machine's own variables.
    pub fn vars(&self) -> Option<&Path> {
        match self {
            Firmware::Efi { vars, .. } => Some(vars),
            Firmware::Own | Firmware::File { .. } => None,
        }
    }

    /// Returns the same by names that do not depend on the host, as files of `folder`.
    pub fn within(&self, folder: &Path) -> Firmware {
        match self.clone() {
            Firmware::Own => Firmware::Own,
            Firmware::File { flash, .. } => Firmware::File { file: folder.join("firmware"), flash },
            Firmware::Efi { code_format, secure, .. } => Firmware::Efi {
                code: folder.join("code"),
                code_format,
                template: folder.join("template"),
                vars: folder.join(VARS),
                secure,
            },
        }
    }

    /// Lets the variables begin anew.
    pub async fn reset(&self) -> Result<()> {
        match self {
            Firmware::Efi { template, vars, .. } => {
                copy_vars(template, vars).await.map_err(|e| e.within("the machine's EFI variables"))
            }
            Firmware::Own | Firmware::File { .. } => Ok(()),
        }
    }

    /// Returns QEMU's arguments for it.
    pub fn arguments(&self, is_pc: bool) -> Vec<(Part, &'static str, String)> {
        let drive = |value| (Part::Own, "-drive", value);
        let global = |value: &str| (Part::Own, "-global", value.to_owned());
        match self {
            Firmware::Own => Vec::new(),
            Firmware::File { file, flash: false } => vec![(Part::Default, "-bios", file.display().to_string())],
            Firmware::File { file, flash: true } => {
                vec![drive(format!("if=pflash,unit=0,format=raw,readonly=on,file={}", escaped(file)))]
            }
            Firmware::Efi { code, code_format, vars, secure, .. } => {
                let mut arguments = vec![
                    drive(format!("if=pflash,unit=0,format={code_format},readonly=on,file={}", escaped(code))),
                    drive(format!("if=pflash,unit=1,format=raw,file={}", escaped(vars))),
                ];
                if *secure && is_pc {
                    // The variables are the firmware's alone, which its system management mode sees to.
                    arguments.push(global("driver=cfi.pflash01,property=secure,value=on"));
                    arguments.push(global("ICH9-LPC.disable_s3=1"));
                }
                arguments
            }
        }
    }
}

/// Copies variables to `to` as they are in flash memory; distributions have them as qcow2, too.
async fn copy_vars(from: &Path, to: &Path) -> Result<()> {
    crate::host::atomic::remove(to);
    let info = qemu_img::info(from, None).await?;
    if info.format == "raw" {
        tokio::fs::copy(from, to).await.map_err(|e| io_error("copy", from, e))?;
        // The original is the distribution's, which nobody may write to.
        let writable: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        return tokio::fs::set_permissions(to, writable).await.map_err(|e| io_error("make writable", to, e));
    }
    let conversion = Conversion {
        source: from,
        source_format: Some(&info.format),
        target: to,
        format: DiskFormat::Raw,
        compress: false,
        compact: true,
        options: &[],
        more: &[],
    };
    qemu_img::convert(&conversion, |_| ()).await
}

/// Returns an error that says where EFI firmware comes from.
pub fn not_found(wanted: &Wanted<'_>) -> Error {
    let package = match wanted.architecture {
        "aarch64" => "qemu-efi-aarch64",
        "riscv64" => "qemu-efi-riscv64",
        _ => "ovmf",
    };
    let what = if wanted.secure { " that checks signatures" } else { "" };
    let message = format!(
        "no EFI firmware{what} for {} machines of type {:?} is installed",
        wanted.architecture, wanted.machine_type
    );
    Error::new(Kind::Host, message)
        .hint(format!("on Debian and Ubuntu: apt-get install {package}; on Fedora and Arch it is in edk2-… packages"))
        .hint("or name the files: `efi_firmware_code` and `efi_firmware_vars`")
}
