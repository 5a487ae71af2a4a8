//! Which accelerator a machine gets: what the host offers if it works, and what was found out about that before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::options::{Accelerator, QemuOptions};
use super::probe;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// How long "does not work" is believed: an update of a module or of the outer hypervisor may have mended it.
const BELIEF_SECONDS: i64 = 24 * 3600;

/// What a machine is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub accelerator: Accelerator,
    /// None leaves it to QEMU.
    pub cpu_model: Option<String>,
    /// Whether emulation may take over when the accelerator turns out not to work.
    pub may_fall_back: bool,
}

impl Choice {
    /// Returns emulation with the most capable processor it has.
    pub fn emulation(options: &QemuOptions) -> Choice {
        let cpu_model = match options.cpu_model.as_deref() {
            // Only an accelerator can show the guest the host's processor.
            // A fifth level of page tables makes each emulated page walk longer: without it a boot is 7 % faster.
            None | Some("host") if options.architecture() == "x86_64" => "max,la57=off".to_owned(),
            None | Some("host") => "max".to_owned(),
            Some(model) => model.to_owned(),
        };
        Choice { accelerator: Accelerator::Tcg, cpu_model: Some(cpu_model), may_fall_back: false }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Finding {
    /// The host and the QEMU it was found on.
    host: String,
    /// None: it works.
    problem: Option<String>,
    /// Seconds since 1970.
    at: i64,
}

/// One probe at a time in a run; the others then read what it found.
static PROBING: Mutex<()> = Mutex::const_new(());
/// Whether this run has said already that it emulates.
static SAID: AtomicBool = AtomicBool::new(false);

/// Picks the accelerator for a machine. With `auto` whatever the host offers is tried once and remembered.
pub async fn choose(options: &QemuOptions, binary: &Path, cx: &BuildCx) -> Result<Choice> {
    let native = options.architecture() == std::env::consts::ARCH;
    let as_said = |accelerator: Accelerator| Choice {
        accelerator,
        cpu_model: options.cpu_model.clone().or_else(|| match accelerator {
            Accelerator::None | Accelerator::Xen => None,
            _ => Some("host".into()),
        }),
        may_fall_back: false,
    };
    let offered = match options.accelerator.unwrap_or_default() {
        Accelerator::Auto if cfg!(target_os = "macos") && native => Accelerator::Hvf,
        Accelerator::Auto => Accelerator::Kvm,
        Accelerator::Tcg => return Ok(Choice::emulation(options)),
        Accelerator::Kvm => return explicit_kvm(as_said(Accelerator::Kvm), options, binary, cx).await,
        other => return Ok(as_said(other)),
    };
    if !native {
        return Ok(Choice::emulation(options));
    }
    if offered == Accelerator::Kvm
        && let Err(problem) = open_kvm()
    {
        once(|| cx.ui.info(format!("{problem}: emulating the guest's processor (TCG), which is slower")));
        return Ok(Choice::emulation(options));
    }
    let choice = Choice { may_fall_back: true, ..as_said(offered) };
    match find_out(&choice, options, binary, cx).await? {
        (None, _) => Ok(choice),
        (Some(problem), new) => {
            let name = offered.as_str().to_uppercase();
            if new {
                SAID.store(true, Ordering::Relaxed);
                cx.ui.warn(format!("{name} does not work on this host: {problem}; going on with emulation (TCG)"));
            } else {
                once(|| cx.ui.info(format!("{name} was found not to work on this host; emulating (TCG)")));
            }
            Ok(Choice::emulation(options))
        }
    }
}

fn once(say: impl FnOnce()) {
    if !SAID.swap(true, Ordering::Relaxed) {
        say();
    }
}

async fn explicit_kvm(choice: Choice, options: &QemuOptions, binary: &Path, cx: &BuildCx) -> Result<Choice> {
    let problem = match open_kvm() {
        Err(problem) => Some(problem),
        Ok(()) => find_out(&choice, options, binary, cx).await?.0,
    };
    match problem {
        None => Ok(choice),
        Some(problem) => {
            Err(Error::new(Kind::Host, format!("accelerator \"kvm\" does not work on this host: {problem}"))
                .hint("`accelerator = \"auto\"` falls back to emulation, `accelerator = \"tcg\"` asks for it"))
        }
    }
}

/// Returns why /dev/kvm cannot be used by this user.
fn open_kvm() -> Result<(), String> {
    match std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            Err("this user may not open /dev/kvm (add it to the group kvm)".into())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err("this host has no /dev/kvm".into()),
        Err(e) => Err(format!("/dev/kvm cannot be opened ({e})")),
    }
}

/// Returns what is wrong with the accelerator, and whether that is news.
async fn find_out(
    choice: &Choice,
    options: &QemuOptions,
    binary: &Path,
    cx: &BuildCx,
) -> Result<(Option<String>, bool)> {
    let _one = PROBING.lock().await;
    let (key, host) = (key(choice, binary), host_identity(binary));
    let now = jiff::Timestamp::now().as_second();
    if let Some(finding) = read(&file(cx)).remove(&key)
        && finding.host == host
        && (finding.problem.is_none() || now.saturating_sub(finding.at) < BELIEF_SECONDS)
    {
        return Ok((finding.problem, false));
    }
    let cpu = choice.cpu_model.as_deref().unwrap_or("host");
    let name = choice.accelerator.as_str();
    let progress = cx.ui.progress(format!("trying {name} on this host"), None, crate::ui::event::Unit::Spinner);
    let problem = probe::try_out(binary, options.architecture(), name, cpu, cx).await?;
    drop(progress);
    remember(choice, binary, problem.clone(), cx).await;
    Ok((problem, true))
}

/// Writes down what was found about an accelerator on this host. A state folder that cannot be written only costs the
/// next run another try.
pub async fn remember(choice: &Choice, binary: &Path, problem: Option<String>, cx: &BuildCx) {
    let (path, key, host) = (file(cx), key(choice, binary), host_identity(binary));
    let written = tokio::task::spawn_blocking(move || {
        let mut findings = read(&path);
        findings.insert(key, Finding { host, problem, at: jiff::Timestamp::now().as_second() });
        if let Some(dir) = path.parent() {
            crate::host::dirs::private(dir)?;
        }
        let text = serde_json::to_vec_pretty(&findings).unwrap_or_default();
        crate::host::atomic::write(&path, &text).map(drop)
    })
    .await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "cannot remember what was found about an accelerator");
    }
}

fn file(cx: &BuildCx) -> PathBuf {
    cx.settings.state_dir.join("accelerators.json")
}

/// A file that cannot be read or understood is as good as none.
fn read(path: &Path) -> BTreeMap<String, Finding> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn key(choice: &Choice, binary: &Path) -> String {
    format!("{} {} {}", choice.accelerator.as_str(), choice.cpu_model.as_deref().unwrap_or("-"), binary.display())
}

/// Names this boot of this host and this build of QEMU: when either changes, what was found is void.
fn host_identity(binary: &Path) -> String {
    let uname = rustix::system::uname();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let program = std::fs::metadata(binary).ok().map(|meta| {
        use std::os::unix::fs::MetadataExt;
        format!("{}-{}", meta.len(), meta.mtime())
    });
    let user = rustix::process::getuid().as_raw();
    let release = uname.release().to_string_lossy();
    format!("{release} {} {} {user}", boot.trim(), program.unwrap_or_default())
}
