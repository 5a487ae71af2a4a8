//! What a machine starts from, as data: all that its guest can tell apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::accelerator::{self, Choice};
use super::arguments::{self, Plan};
use super::builder::QemuBuilder;
use super::connect;
use super::disk;
use super::firmware::Firmware;
use super::media::{self, CD, SEED};
use super::source::Document;
use super::version;
use crate::engine::options::Value;
use crate::engine::replay::content;
use crate::engine::{BuildCx, Bytes};
use crate::error::Result;
use crate::host::qemu_img;

/// A machine's folder, which is another one each time.
const FOLDER: &str = "/machine";
/// Options that reach the guest as they are written.
const TEXTS: [&str; 15] = [
    "boot_command",
    "boot_steps",
    "boot_wait",
    "boot_key_interval",
    "boot_keygroup_interval",
    "keyboard_layout",
    "http_content",
    "cd_content",
    "cd_label",
    "floppy_content",
    "floppy_label",
    "user_data",
    "meta_data",
    "network_config",
    "skip_resize_disk",
];
/// Options that only the shutdown and the image depend on.
const ENDING: [&str; 7] = [
    "shutdown_command",
    "disable_shutdown",
    "format",
    "disk_compression",
    "skip_compaction",
    "efi_drop_efivars",
    "qemu_img_args",
];
/// Flags of which the guest sees nothing.
const UNSEEN: [&str; 5] = ["-name", "-display", "-vnc", "-chardev", "-mon"];

/// Returns the identity; none where a function of the script's makes content that is not known beforehand.
pub async fn of(builder: &QemuBuilder, cx: &BuildCx) -> Result<Option<Json>> {
    let Some(texts) = texts(&builder.given) else { return Ok(None) };
    let options = &builder.options;
    let binary = options.machine.find_programs()?;
    let choice = accelerator::choose(&options.machine, &binary, cx).await?;
    let firmware = options.firmware.choose(
        &options.for_firmware(&binary),
        options.machine.inherited_vars(),
        Path::new(FOLDER),
        cx,
    )?;
    let disks = &options.disks;
    let medium = builder.iso.fetch(cx).await?;
    let (image, medium) = if options.machine.disk_image { (medium, None) } else { (None, medium) };
    Ok(Some(json!({
        "qemu": version::of(&binary, cx).await?,
        "arguments": hardware(builder, &choice, &firmware)?,
        "host_cpu": host_cpu(&choice).await,
        "firmware": of_firmware(&firmware, cx).await?,
        "image": of_image(builder, image, cx).await?,
        "medium": match medium {
            Some(medium) => json!(content::file(medium, cx).await?),
            None => Json::Null,
        },
        "disk_size": disks.disk_size.map(|Bytes(size)| size),
        "disk_additional_size": disks.disk_additional_size.iter().map(|size| size.0).collect::<Vec<_>>(),
        "texts": texts,
        "files": files(builder, cx).await?,
        "name": names_machine(&builder.given).then(|| options.machine.vm_name(cx)),
        "login": connect::identity(builder, cx).await?,
    })))
}

/// Returns what the machine's shutdown and its image depend on besides its history.
pub fn ending(builder: &QemuBuilder, cx: &BuildCx) -> Json {
    let Value::Map(entries) = &builder.given else { return Json::Null };
    let wanted = entries.iter().filter(|(name, _)| ENDING.contains(&name.as_str()));
    let mut ending: Map<String, Json> = wanted.map(|(name, value)| (name.clone(), value.into())).collect();
    ending.insert("name".into(), json!(builder.options.machine.vm_name(cx)));
    Json::Object(ending)
}

/// Returns the options that are texts, or tables of them; none where there is a function among them.
fn texts(given: &Value) -> Option<Json> {
    let Value::Map(entries) = given else { return Some(Json::Null) };
    let wanted: Vec<_> = entries.iter().filter(|(name, _)| TEXTS.contains(&name.as_str())).collect();
    let is_known = !wanted.iter().any(|(_, value)| value.has_function());
    is_known.then(|| Json::Object(wanted.into_iter().map(|(name, value)| (name.clone(), value.into())).collect()))
}

/// Tells whether the machine's name is put into anything that reaches the guest.
fn names_machine(given: &Value) -> bool {
    match given {
        Value::Str(text) => text.contains("{{ .Name }}") || text.contains("{{.Name}}"),
        Value::List(items) => items.iter().any(names_machine),
        Value::Map(entries) => entries.iter().any(|(_, value)| names_machine(value)),
        _ => false,
    }
}

/// Returns QEMU's arguments by their flags, with what is another for each machine taken out.
fn hardware(builder: &QemuBuilder, choice: &Choice, firmware: &Firmware) -> Result<Json> {
    let options = &builder.options;
    let folder = Path::new(FOLDER);
    let within = |given: bool, name: &str| given.then(|| folder.join(name));
    let boots_cd = builder.installs() || (builder.iso.is_given() && !options.machine.disk_image);
    let cdroms: Vec<PathBuf> =
        within(boots_cd, "medium.iso").into_iter().chain(within(builder.cd.is_given(), CD)).collect();
    let floppy = within(builder.floppy.is_given(), "floppy.img");
    let seed = within(connect::has_seed(builder), SEED);
    let firmware = firmware.within(folder);
    let plan = Plan {
        options,
        name: "",
        choice,
        dir: folder,
        disks: &disk::paths(&options.disks, folder),
        flash: &firmware,
        cdroms: &cdroms,
        boots_cd,
        floppy: floppy.as_deref(),
        seed: seed.as_deref(),
        values: &media::placeholders(builder),
        serial: &folder.join("serial.log"),
        resumes: false,
        firmware: &folder.join("firmware.log"),
        host_port: 0,
        guest_port: builder.ssh.port(),
        mac: "",
    };
    let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut flag = String::new();
    for word in arguments::build(&plan)? {
        let word = word.to_string_lossy().into_owned();
        if word.starts_with('-') {
            flags.entry(word.clone()).or_default();
            flag = word;
        } else {
            flags.entry(flag.clone()).or_default().push(word);
        }
    }
    flags.retain(|flag, _| !UNSEEN.contains(&flag.as_str()));
    Ok(json!(flags))
}

/// Returns the digest of what the host's processor can do, where the guest is shown that processor.
async fn host_cpu(choice: &Choice) -> Json {
    if choice.cpu_model.as_deref().is_none_or(|model| !model.starts_with("host")) {
        return Json::Null;
    }
    let text = tokio::fs::read_to_string("/proc/cpuinfo").await.unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let lasting = ["vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part"];
    let lines = first.lines().filter(|line| lasting.contains(&line.split(':').next().unwrap_or_default().trim()));
    let lines: Vec<&str> = lines.collect();
    json!(format!("blake3:{}", blake3::hash(lines.join("\n").as_bytes()).to_hex()))
}

async fn of_firmware(firmware: &Firmware, cx: &BuildCx) -> Result<Json> {
    Ok(match firmware {
        Firmware::Own => Json::Null,
        Firmware::File { file, .. } => json!({ "file": content::file(file, cx).await? }),
        Firmware::Efi { code, template, .. } => json!({
            "code": content::file(code, cx).await?,
            "vars": content::file(template, cx).await?,
        }),
    })
}

/// Returns the digests of the image that the disk starts from, and of those below it.
async fn of_image(builder: &QemuBuilder, image: Option<PathBuf>, cx: &BuildCx) -> Result<Json> {
    let Some(source) = disk::find(&builder.options.machine, image, cx).await? else { return Ok(Json::Null) };
    let mut digests = vec![content::file(&source.path, cx).await?];
    for path in qemu_img::below(&source.info).await? {
        digests.push(content::file(path, cx).await?);
    }
    Ok(json!(digests))
}

/// Returns the digests of the files that reach the guest, by the options that name them.
async fn files(builder: &QemuBuilder, cx: &BuildCx) -> Result<Json> {
    let machine = &builder.options.machine;
    let mut found = json!({
        "cd_files": builder.cd.digests(cx).await?,
        "floppy_files": builder.floppy.digests(cx).await?,
        "http_directory": builder.http.digests(cx).await?,
    });
    for (name, document) in [
        ("user_data", &machine.user_data),
        ("meta_data", &machine.meta_data),
        ("network_config", &machine.network_config),
    ] {
        if let (Some(Document::File(path)), Some(found)) = (document, found.as_object_mut()) {
            found.insert(name.into(), json!(content::file(cx.settings.resolve(path), cx).await?));
        }
    }
    // Kernels, media and whatever else arguments name, as QEMU would find them.
    let mut named = Map::new();
    for word in machine.qemuargs.iter().flatten() {
        for part in word.split([',', '=']) {
            if part.contains('/') && Path::new(part).is_file() {
                named.insert(part.to_owned(), json!(content::file(part, cx).await?));
            }
        }
    }
    if let Some(found) = found.as_object_mut() {
        found.insert("qemuargs".into(), Json::Object(named));
    }
    Ok(found)
}
