//! How `rimg doctor` finds out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::Command;

use super::doctor::{Ability, Check, Report, Status};
use crate::builder::qemu;
use crate::host::{dirs, disk, process};
use crate::ui::units;

/// A program that does not tell its version by then has none worth waiting for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that rimg can make use of.
struct Program {
    name: &'static str,
    package: &'static str,
    needed_for: &'static str,
    /// Whether an image cannot be built without it.
    required: bool,
}

/// Returns the emulator of this host's own architecture, and its Debian package.
fn emulator() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("qemu-system-aarch64", "qemu-system-arm"),
        "riscv64" => ("qemu-system-riscv64", "qemu-system-misc"),
        "powerpc64" => ("qemu-system-ppc64", "qemu-system-ppc"),
        "s390x" => ("qemu-system-s390x", "qemu-system-misc"),
        _ => ("qemu-system-x86_64", "qemu-system-x86"),
    }
}

fn programs() -> Vec<Program> {
    let (qemu, package) = emulator();
    let program = |name, package, needed_for| Program { name, package, needed_for, required: false };
    let mut programs = vec![
        Program { required: true, ..program(qemu, package, "rimg.qemu") },
        Program { required: true, ..program("qemu-img", "qemu-utils", "disk images: rimg.qemu, artifact:convert") },
        program("qemu-system-aarch64", "qemu-system-arm", "rimg.qemu with qemu_binary = \"qemu-system-aarch64\""),
        program("swtpm", "swtpm", "rimg.qemu with vtpm"),
        program("mmdebstrap", "mmdebstrap", "std.debian.bootstrap: images from scratch"),
        program("vagrant", "vagrant", "trying the boxes that artifact:vagrant makes (making them needs nothing)"),
        program("session-manager-plugin", "", "rimg.amazon.ebs with ssh_interface = \"session_manager\""),
        program("git", "git", "rimg.git"),
    ];
    // On an ARM host it is the first one already.
    let mut seen = std::collections::HashSet::new();
    programs.retain(|program| seen.insert(program.name));
    programs
}

/// Looks at everything.
pub async fn look() -> Report {
    let wanted = programs();
    let programs = join_all(wanted.iter().map(look_at)).await;
    let missing: Vec<&str> = wanted
        .iter()
        .zip(&programs)
        .filter(|(program, check)| program.required && check.status == Status::Missing)
        .map(|(program, _)| program.name)
        .collect();
    let reason = (!missing.is_empty()).then(|| format!("{} not installed", missing.join(" and ")));
    let can_build = vec![
        Ability {
            builder: "qemu",
            makes: "disk images: qcow2, raw, vmdk, vdi, vhdx",
            available: reason.is_none(),
            reason,
        },
        Ability {
            builder: "amazon.ebs",
            makes: "AMIs in many regions",
            available: cfg!(feature = "amazon"),
            reason: (!cfg!(feature = "amazon")).then(|| "this rimg was compiled without the feature amazon".to_owned()),
        },
        Ability { builder: "host", makes: "changes to an existing machine over SSH", available: true, reason: None },
        Ability { builder: "localhost", makes: "changes to this host", available: true, reason: None },
    ];
    let mut host = vec![
        accelerator(),
        efi("x86_64", "ovmf"),
        efi("aarch64", "qemu-efi-aarch64"),
        agent(),
        namespaces(),
        processors(),
    ];
    host.extend(memory());
    host.push(folder("cache folder", dirs::cache(), "downloads and work in progress"));
    host.push(folder("state folder", dirs::state(), "what rimg remembers"));
    Report { version: env!("CARGO_PKG_VERSION"), can_build, programs, host }
}

async fn look_at(program: &Program) -> Check {
    let check = |status, detail, hint| Check {
        name: program.name.to_owned(),
        status,
        detail,
        needed_for: program.needed_for,
        hint,
    };
    match process::which(program.name) {
        Some(path) => {
            let version = version(&path).await.unwrap_or_default();
            check(Status::Ok, format!("{version} {}", path.display()).trim().to_owned(), None)
        }
        None => {
            let hint = match program.package {
                "" => "AWS publishes it as a package of its own".to_owned(),
                package => format!("Debian, Ubuntu: apt-get install {package}"),
            };
            check(Status::Missing, String::new(), Some(hint))
        }
    }
}

/// Returns the version that a program tells, without the words around it.
async fn version(path: &Path) -> Option<String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(PATIENCE, process::output(&mut command)).await.ok()?.ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

fn version_in(text: &str) -> Option<String> {
    let words = text.lines().next()?.split_whitespace();
    let mut versions = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    versions.next().map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned())
}

fn accelerator() -> Check {
    let check = |status, detail: String, hint: Option<&str>| Check {
        name: "accelerator".to_owned(),
        status,
        detail,
        needed_for: "fast machines: rimg.qemu",
        hint: hint.map(str::to_owned),
    };
    let kvm = Path::new("/dev/kvm");
    if !kvm.exists() {
        let hint = "without KVM machines run under TCG, several times slower: enable virtualisation, or nest it";
        return check(Status::Warning, "TCG (there is no /dev/kvm)".into(), Some(hint));
    }
    if let Some(problem) = remembered_problem() {
        let hint = "an earlier build found that out; it is tried again after a reboot, an update of QEMU, or a day";
        return check(Status::Warning, format!("TCG (KVM does not work here: {problem})"), Some(hint));
    }
    match std::fs::File::options().read(true).write(true).open(kvm) {
        Ok(_) => {
            check(Status::Ok, "KVM (/dev/kvm opens; a build that finds it does not work goes on with TCG)".into(), None)
        }
        Err(error) => {
            let hint = "add this user to the group kvm: usermod -aG kvm USER";
            check(Status::Warning, format!("TCG (cannot open /dev/kvm: {error})"), Some(hint))
        }
    }
}

/// Returns what an earlier build found wrong with KVM since this host was started.
fn remembered_problem() -> Option<String> {
    let text = std::fs::read_to_string(dirs::state().ok()?.join("accelerators.json")).ok()?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    kvm_problem_in(&text, boot.trim())
}

/// Returns the problem of the last finding about KVM in this boot of the host.
fn kvm_problem_in(findings: &str, boot: &str) -> Option<String> {
    let findings: serde_json::Map<String, serde_json::Value> = serde_json::from_str(findings).ok()?;
    let text = |finding: &serde_json::Value, field: &str| finding.get(field)?.as_str().map(str::to_owned);
    findings
        .iter()
        .filter(|(key, finding)| {
            key.starts_with("kvm ") && text(finding, "host").is_some_and(|host| host.contains(boot))
        })
        .max_by_key(|(_, finding)| text(finding, "at"))
        .and_then(|(_, finding)| text(finding, "problem"))
}

/// Looks for the EFI firmware of an architecture's machines.
fn efi(architecture: &str, package: &str) -> Check {
    let found = qemu::efi_code_for(architecture);
    let needed_for = if architecture == "aarch64" { "rimg.qemu: every ARM machine" } else { "rimg.qemu with efi_boot" };
    let hint = || format!("Debian, Ubuntu: apt-get install {package}");
    Check {
        name: format!("EFI for {architecture}"),
        status: if found.is_some() { Status::Ok } else { Status::Missing },
        detail: found.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        needed_for,
        hint: found.is_none().then(hint),
    }
}

fn agent() -> Check {
    let (status, detail) = match std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) {
        None => (Status::Warning, "none (SSH_AUTH_SOCK is not set)".to_owned()),
        Some(path) => match std::os::unix::net::UnixStream::connect(&path) {
            Ok(_) => (Status::Ok, Path::new(&path).display().to_string()),
            Err(error) => (Status::Warning, format!("{} does not answer: {error}", Path::new(&path).display())),
        },
    };
    Check { name: "ssh-agent".to_owned(), status, detail, needed_for: "ssh_agent_auth", hint: None }
}

/// Whether mmdebstrap can work without root.
fn namespaces() -> Check {
    let read = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let root = rustix::process::geteuid().is_root();
    let refused = read("/proc/sys/kernel/unprivileged_userns_clone") == Some(0)
        || read("/proc/sys/user/max_user_namespaces") == Some(0)
        || read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    let (status, detail, hint) = match (root, refused) {
        (true, _) => (Status::Ok, "not needed: running as root", None),
        (false, false) => (Status::Ok, "allowed", None),
        (false, true) => {
            (Status::Warning, "not allowed by this kernel", Some("std.debian.bootstrap needs root on this host"))
        }
    };
    Check {
        name: "user namespaces".to_owned(),
        status,
        detail: detail.to_owned(),
        needed_for: "std.debian.bootstrap without root",
        hint: hint.map(str::to_owned),
    }
}

fn processors() -> Check {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    Check {
        name: "processors".to_owned(),
        status: Status::Ok,
        detail: count.to_string(),
        needed_for: "everything",
        hint: None,
    }
}

fn memory() -> Option<Check> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let (total, available) = memory_in(&text)?;
    let little = available < 1 << 30;
    Some(Check {
        name: "memory".to_owned(),
        status: if little { Status::Warning } else { Status::Ok },
        detail: format!("{} free of {}", units::size(available), units::size(total)),
        needed_for: "machines: each takes its `memory`",
        hint: little.then(|| "a machine of 1 GiB does not fit: use less `memory`, or --parallel 1".to_owned()),
    })
}

/// Returns total and available bytes of `/proc/meminfo`.
fn memory_in(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

fn folder(name: &str, path: crate::error::Result<PathBuf>, needed_for: &'static str) -> Check {
    let check = |status, detail: String, hint: Option<String>| Check {
        name: name.to_owned(),
        status,
        detail,
        needed_for,
        hint,
    };
    let path = match path {
        Ok(path) => path,
        Err(error) => return check(Status::Missing, error.to_string(), error.hints().first().cloned()),
    };
    // It is made by the first run; until then its nearest ancestor says how it will be.
    let Some(existing) = path.ancestors().find(|dir| dir.is_dir()) else {
        return check(Status::Missing, path.display().to_string(), None);
    };
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err() {
        let hint = "set RIMG_CACHE_DIR and RIMG_STATE_DIR to folders of this user's";
        return check(Status::Missing, format!("{} is not writable", path.display()), Some(hint.to_owned()));
    }
    let free = disk::free(existing).unwrap_or(0);
    let little = free < 5 << 30;
    let hint = little.then(|| "images need room: set RIMG_CACHE_DIR to a folder on a larger disk".to_owned());
    let status = if little { Status::Warning } else { Status::Ok };
    check(status, format!("{} ({} free)", path.display(), units::size(free)), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, version) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright", Some("7.2.22")),
            ("qemu-img version 7.2.22 (x)", Some("7.2.22")),
            ("Vagrant 2.3.4\n", Some("2.3.4")),
            ("mmdebstrap 1.3.5", Some("1.3.5")),
            ("no version here", None),
            ("", None),
        ] {
            assert_eq!(version_in(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn what_builds_found_out_about_kvm_is_read() {
        let findings = r#"{
            "kvm host /usr/bin/qemu": { "host": "6.1 boot-1 10-20 0", "problem": null, "at": "2026-01-01T00:00:00Z" },
            "kvm max /usr/bin/qemu": { "host": "6.1 boot-1 10-20 0", "problem": "it stopped", "at": "2026-01-02T00:00:00Z" },
            "tcg max /usr/bin/qemu": { "host": "6.1 boot-1 10-20 0", "problem": "other", "at": "2026-01-03T00:00:00Z" }
        }"#;
        assert_eq!(kvm_problem_in(findings, "boot-1").as_deref(), Some("it stopped"));
        assert_eq!(kvm_problem_in(findings, "boot-2"), None);
        assert_eq!(kvm_problem_in("[1]", "boot-1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:        8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n";
        assert_eq!(memory_in(text), Some((8_192_000_000, 4_096_000_000)));
        assert_eq!(memory_in("nonsense"), None);
    }
}
