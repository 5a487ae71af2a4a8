//! The options of `rimg.qemu{…}`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::{Document, ImageSource};
use crate::engine::{BuildCx, Bytes, Seconds};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::process;
use crate::media::checksum::Checksum;

/// What makes the guest's processor run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's own, where it works, else `tcg`.
    #[default]
    Auto,
    Kvm,
    Hvf,
    Whpx,
    Nvmm,
    Xen,
    /// Emulation: works everywhere, 5 to 20 times slower.
    Tcg,
    /// Nothing is said to QEMU about it.
    None,
}

impl Accelerator {
    /// Returns QEMU's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Accelerator::Auto => "auto",
            Accelerator::Kvm => "kvm",
            Accelerator::Hvf => "hvf",
            Accelerator::Whpx => "whpx",
            Accelerator::Nvmm => "nvmm",
            Accelerator::Xen => "xen",
            Accelerator::Tcg => "tcg",
            Accelerator::None => "none",
        }
    }
}

/// The options of a QEMU machine; those of its SSH connection stand beside them in the same table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QemuOptions {
    /// The disk image to start from: a path, a URL, or an artifact. Required unless a medium (`iso_url`) is given.
    pub source_image: Option<ImageSource>,
    /// Whether `iso_url` is a disk image to start from, as in Packer.
    pub disk_image: bool,
    /// The image's checksum, `sha256:…` or `file:URL`. Required for a URL.
    pub source_checksum: Option<String>,
    /// Memory. Default `"1G"`.
    pub memory: Option<Bytes>,
    /// QEMU's machine type. Default `pc`; `virt` on ARM.
    pub machine_type: Option<String>,
    /// QEMU's processor model. Default `host`, or `max` (on x86-64 without la57) when emulating.
    pub cpu_model: Option<String>,
    /// Arguments for QEMU, `{ { "-device", "virtio-rng" }, … }`. They replace rimg's own of the same flag, apart from
    /// what rimg needs to watch the machine. `{{ .SSHHostPort }}`, `{{ .OutputDir }}` and `{{ .Name }}` are filled in.
    pub qemuargs: Vec<Vec<String>>,
    /// The QEMU program. Default `qemu-system-x86_64`.
    pub qemu_binary: Option<String>,
    /// `auto` (default), `kvm`, `tcg`, `hvf`, `whpx`, `nvmm`, `xen` or `none`.
    pub accelerator: Option<Accelerator>,
    /// The machine's name, also of the finished image. Default: the build's name.
    pub vm_name: Option<String>,
    /// How commands reach the guest: `ssh` (default), or `none` for a machine that is only driven by its keyboard and screen.
    pub communicator: Option<String>,
    /// The command that shuts the guest down, `sudo poweroff`. Default: the ACPI power button.
    pub shutdown_command: Option<String>,
    /// Whether the guest goes off by itself when it is done, and is only waited for.
    pub disable_shutdown: bool,
    /// How long the shutdown may take. Default `"5m"`.
    pub shutdown_timeout: Option<Seconds>,
    /// cloud-init user data: a table (of `#cloud-config`), text, or a file's path.
    pub user_data: Option<Document>,
    /// cloud-init metadata: a table, text, or a file's path.
    pub meta_data: Option<Document>,
    /// cloud-init network configuration: a table, text, or a file's path.
    pub network_config: Option<Document>,
    /// A file that keeps what the guest says on its serial console.
    pub serial_log: Option<PathBuf>,
}

impl QemuOptions {
    /// Returns the memory in mebibytes.
    pub fn memory_mib(&self) -> u64 {
        self.memory.map_or(1024, Bytes::mebibytes)
    }

    /// Returns the program to run, by name or path.
    pub fn binary(&self) -> &str {
        self.qemu_binary.as_deref().unwrap_or("qemu-system-x86_64")
    }

    /// Returns the guest's architecture as QEMU names it, from the program's name.
    pub fn architecture(&self) -> &str {
        let name = Path::new(self.binary()).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.strip_prefix("qemu-system-") {
            Some("i386") => "i686",
            Some(architecture) => architecture,
            None => std::env::consts::ARCH,
        }
    }

    /// Returns the machine's name; the build's unless said otherwise.
    pub fn vm_name<'a>(&'a self, cx: &'a BuildCx) -> &'a str {
        self.vm_name.as_deref().unwrap_or(&cx.build)
    }

    /// Returns the EFI variables that belong to the image the machine starts from.
    pub fn inherited_vars(&self) -> Option<&Path> {
        let Some(ImageSource::Artifact(artifact)) = &self.source_image else { return None };
        let is_vars = |path: &&Path| path.file_name().is_some_and(|name| name == super::firmware::VARS);
        artifact.files.iter().map(|file| file.path.as_path()).find(is_vars)
    }

    /// Tells whether the script gives anything to cloud-init.
    pub fn has_seed(&self) -> bool {
        self.user_data.is_some() || self.meta_data.is_some() || self.network_config.is_some()
    }

    /// Tells whether commands reach the machine.
    pub fn has_communicator(&self) -> Result<bool> {
        one_of("communicator", self.communicator.as_deref(), &["ssh", "none"])?;
        Ok(self.communicator.as_deref() != Some("none"))
    }

    /// Checks what can be known without touching anything; returns warnings.
    pub fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        match &self.source_image {
            // An installation starts with an empty disk; the builder knows whether it is one.
            None => {}
            Some(ImageSource::Path(path)) => {
                let path = cx.settings.resolve(path);
                // In a check, another build's output is not there yet; it comes as an artifact, never as a path.
                let meta = std::fs::metadata(&path).map_err(|e| missing("source_image", &path, e))?;
                if !meta.is_file() && cfg!(unix) && meta.is_dir() {
                    return Err(wrong("source_image", format!("{} is a folder", path.display())));
                }
            }
            Some(ImageSource::Url(_)) if self.source_checksum.is_none() => {
                return Err(wrong("source_checksum", "is required for a download")
                    .hint("source_checksum = \"sha256:…\", or \"file:URL\" of the publisher's checksum file")
                    .hint("source_checksum = \"none\" downloads without checking"));
            }
            Some(ImageSource::Artifact(artifact)) if cx.settings.is_live() => {
                let path = ImageSource::artifact_image(artifact)?;
                std::fs::metadata(&path).map_err(|e| missing("source_image", &path, e))?;
            }
            Some(ImageSource::Url(_) | ImageSource::Artifact(_)) => {}
        }
        if let Some(checksum) = &self.source_checksum {
            Checksum::parse(checksum).map_err(|e| e.within("option `source_checksum`"))?;
        }
        if self.memory_mib() < 16 {
            return Err(wrong("memory", format!("{} MiB are too little for any system", self.memory_mib()))
                .hint("a bare number counts mebibytes: `memory = 1024` or `memory = \"1G\"`"));
        }
        for (name, text) in [("machine_type", &self.machine_type), ("cpu_model", &self.cpu_model)] {
            if text.as_deref().is_some_and(str::is_empty) {
                return Err(wrong(name, "is empty"));
            }
        }
        if let Some(name) = &self.vm_name
            && (name.is_empty() || name.contains(['/', '\0', ',']) || name.starts_with('.'))
        {
            return Err(wrong("vm_name", format!("{name:?} cannot be the name of a machine and its image")));
        }
        for (index, group) in self.qemuargs.iter().enumerate() {
            match group.first() {
                Some(flag) if flag.starts_with('-') => {}
                _ => {
                    return Err(wrong(
                        &format!("qemuargs[{}]", index + 1),
                        "expected a flag and its values, such as { \"-device\", \"virtio-rng\" }",
                    ));
                }
            }
            if group.iter().any(|word| word.contains('\0')) {
                return Err(wrong(&format!("qemuargs[{}]", index + 1), "has a zero byte"));
            }
        }
        for (name, document) in
            [("user_data", &self.user_data), ("meta_data", &self.meta_data), ("network_config", &self.network_config)]
        {
            if let Some(Document::File(path)) = document {
                let path = cx.settings.resolve(path);
                let meta = std::fs::metadata(&path).map_err(|e| missing(name, &path, e))?;
                if meta.is_dir() {
                    return Err(wrong(name, format!("{} is a folder", path.display())));
                }
            }
        }
        if self.source_checksum.is_some() && matches!(self.source_image, Some(ImageSource::Artifact(_))) {
            warnings.push("source_checksum is not used: source_image is an artifact of this run".into());
        }
        self.has_communicator()?;
        if self.communicator.as_deref() == Some("none") && self.shutdown_command.is_some() {
            return Err(wrong(
                "shutdown_command",
                "there is no communicator to run it over (`communicator = \"none\"`)",
            )
            .hint("leave it out: the machine is shut down by the ACPI power button"));
        }
        Ok(warnings)
    }

    /// Finds QEMU and `qemu-img`, or says which packages have them.
    pub fn find_programs(&self) -> Result<PathBuf> {
        let package = match self.architecture() {
            "x86_64" | "i686" => "qemu-system-x86",
            "aarch64" | "arm" => "qemu-system-arm",
            _ => "qemu-system",
        };
        process::require("qemu-img", "qemu-utils")?;
        process::require(self.binary(), package)
    }
}

pub fn wrong(option: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Option, format!("option `{option}`: {what}")).field("option", option)
}

pub fn missing(option: &str, path: &Path, error: std::io::Error) -> Error {
    io_error("read", path, error)
        .within(format_args!("option `{option}`"))
        .field("option", option)
        .hint("relative paths start at the script's folder")
}

pub fn one_of(option: &str, value: Option<&str>, allowed: &'static [&'static str]) -> Result<()> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            let error = wrong(option, format!("{value:?} is not one of {}", allowed.join(", ")));
            Err(match crate::engine::options::did_you_mean(value, allowed) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        _ => Ok(()),
    }
}
