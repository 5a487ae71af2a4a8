//! `artifact:vagrant`: a Vagrant box of the artifact's disk image, for the libvirt provider.

use std::path::Path;

use serde::Deserialize;

use super::archive::{Content, Entry, Format};
use super::convert::{Request, image, source_format, write as convert};
use super::output::Draft;
use super::{compress, name};
use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::qemu_img::{self, DiskFormat};

const OF: &str = "artifact:vagrant";
const PROVIDER: &str = "libvirt";
/// The name under which the provider looks for the disk.
const DISK: &str = "box.img";
const GIB: u64 = 1 << 30;

/// The options of `artifact:vagrant`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VagrantOptions {
    /// The box to write; may hold `{{.BuildName}}`, `{{.BuilderType}}`, `{{.Provider}}` and `{{.Architecture}}`.
    /// `BUILD_libvirt.box` beside the image when it is not given.
    pub output: Option<String>,
    /// 0 (store) to 9; 6 when it is not given.
    pub compression_level: Option<i32>,
    /// A Vagrantfile of yours, whose content follows rimg's own in the box.
    pub vagrantfile_template: Option<String>,
    /// Further files to put into the box, under their own names.
    pub include: Vec<String>,
    /// The provider of the box; `libvirt` is the one there is.
    pub provider_override: Option<String>,
    /// `amd64`, `arm64`, …; that of the image, or of this host, when it is not given.
    pub architecture: Option<String>,
    /// Whether the artifact's own files stay; true unless said otherwise.
    pub keep_input_artifact: Option<bool>,
}

impl VagrantOptions {
    /// Decodes what a script gives: a table of options, or only the output.
    pub fn from_value(value: Value) -> Result<VagrantOptions> {
        decode_short(OF, value, "output")
    }
}

/// Packs the disk image of an artifact into a Vagrant box; gives back an artifact of the box with its SHA-256.
pub async fn vagrant(artifact: &Artifact, options: VagrantOptions, cx: &BuildCx) -> Result<Artifact> {
    let source = image(OF, artifact)?;
    if let Some(provider) = options.provider_override.as_deref().filter(|provider| *provider != PROVIDER) {
        let message = format!("{OF}: option `provider_override`: boxes for {provider} cannot be made");
        return Err(Error::new(Kind::Unsupported, message).hint("the one provider there is, is libvirt"));
    }
    let level = compress::level(OF, Format::TarGz, options.compression_level)?;
    let architecture = architecture(&options, artifact);
    let target = match &options.output {
        Some(output) => {
            let more = [("Provider", PROVIDER), ("Architecture", architecture)];
            name::output(OF, output, artifact, &more, cx)?
        }
        None => source.with_file_name(format!("{}_{PROVIDER}.box", name::build_name(artifact, cx))),
    };
    let mut result = name::derive(artifact, "vagrant", "vagrant");
    result.id = PROVIDER.into();
    result.metadata.insert("provider".into(), PROVIDER.into());
    result.metadata.insert("architecture".into(), architecture.into());
    result.files = vec![ArtifactFile { path: target.clone(), size: 0, digests: Vec::new() }];
    if !cx.settings.is_live() {
        return Ok(result);
    }
    let template = match &options.vagrantfile_template {
        Some(path) => Some(cx.read_file(path).await.map_err(|e| e.within(format!("{OF}: `vagrantfile_template`")))?),
        None => None,
    };
    let mut extra = Vec::new();
    for path in &options.include {
        extra.push(include(&cx.settings.resolve(path))?);
    }
    let info = qemu_img::info(source, source_format(artifact)).await?;
    // An overlay is no use without what is below it.
    let draft = if info.format == DiskFormat::Qcow2.as_str() && info.backing_file.is_none() {
        None
    } else {
        let draft = Draft::of(&target.with_extension("qcow2"), cx)?;
        let request = Request { compress: false, compact: true, options: &[] };
        convert(artifact, source, &draft, DiskFormat::Qcow2, &request, cx).await?;
        Some(draft)
    };
    let disk = draft.as_ref().map_or(source, Draft::path).to_owned();
    let metadata = serde_json::json!({
        "provider": PROVIDER,
        "format": "qcow2",
        "virtual_size": info.virtual_size.div_ceil(GIB),
        "architecture": architecture,
    });
    let text = |name: &str, bytes: Vec<u8>| Entry { name: name.into(), content: Content::Bytes(bytes) };
    let mut entries = vec![
        // Vagrant reads this one first, and finds it without unpacking the disk.
        text("metadata.json", format!("{metadata:#}\n").into_bytes()),
        text("Vagrantfile", vagrantfile(artifact, template)),
    ];
    entries.extend(extra);
    entries.push(Entry { name: DISK.into(), content: Content::File(disk) });
    result.files = vec![compress::write(entries, Format::TarGz, level, target, cx).await?];
    drop(draft);
    if options.keep_input_artifact == Some(false) {
        super::files::remove(artifact).await?;
    }
    Ok(result)
}

fn include(path: &Path) -> Result<Entry> {
    let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e).within(format!("{OF}: `include`")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let taken = ["metadata.json", "Vagrantfile", DISK].contains(&name.as_str());
    if !meta.is_file() || taken {
        let why = if taken { "the box has a file of that name already" } else { "is not a file" };
        return Err(Error::new(Kind::Option, format!("{OF}: option `include`: {}: {why}", path.display())));
    }
    Ok(Entry { name, content: Content::File(path.to_owned()) })
}

/// Returns the architecture in Vagrant's words.
fn architecture<'a>(options: &'a VagrantOptions, artifact: &'a Artifact) -> &'a str {
    let known = artifact.metadata.get("architecture").and_then(|value| value.as_str());
    match options.architecture.as_deref().or(known).unwrap_or(std::env::consts::ARCH) {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" | "x86" => "i386",
        other => other,
    }
}

/// Returns the box's Vagrantfile: what the image needs to run, then the user's own.
fn vagrantfile(artifact: &Artifact, template: Option<Vec<u8>>) -> Vec<u8> {
    let number = |name: &str| artifact.metadata.get(name).and_then(serde_json::Value::as_u64);
    let mut text = String::from("Vagrant.configure(\"2\") do |config|\n  config.vm.provider :libvirt do |libvirt|\n");
    // Made to run with these; a project's Vagrantfile can still say otherwise.
    for name in ["cpus", "memory"] {
        if let Some(value) = number(name) {
            text.push_str(&format!("    libvirt.{name} = {value}\n"));
        }
    }
    text.push_str("    libvirt.disk_bus = \"virtio\"\n  end\nend\n");
    let mut bytes = text.into_bytes();
    if let Some(template) = template {
        bytes.push(b'\n');
        bytes.extend(template);
    }
    bytes
}
