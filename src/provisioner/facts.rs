//! `vm:facts`: what the machine is, asked once, in one round trip.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::os_release;
use super::run;
use super::wrap::Wrapped;
use crate::engine::{Answer, Operation, Session};
use crate::error::Result;

/// The name of the session's note that holds them.
const NOTE: &str = "facts";

/// Prints `name=value` lines, then a line `--`, then os-release. POSIX shell; nothing in it fails.
const PROGRAM: &str = r#"p(){ printf '%s=%s\n' "$1" "$(printf %s "$2"|head -n1)"; }
p system "$(uname -s)";p kernel "$(uname -r)";p arch "$(uname -m)"
p hostname "$(hostname 2>/dev/null||uname -n)"
p user "$(id -un 2>/dev/null)";p uid "$(id -u)";p home "$HOME"
p cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null||nproc 2>/dev/null||sysctl -n hw.ncpu 2>/dev/null)"
if [ -r /proc/meminfo ];then while read -r k v u;do [ "$k" = MemTotal: ]&&p memory_kib "$v"&&break;done </proc/meminfo
else p memory_bytes "$(sysctl -n hw.physmem 2>/dev/null)";fi
if [ -d /run/systemd/system ];then p init systemd;elif [ -x /sbin/openrc-run ]||[ -d /run/openrc ];then p init openrc
elif [ -d /run/runit ];then p init runit;else p init "$(cat /proc/1/comm 2>/dev/null)";fi
for m in apt-get dnf yum zypper apk pacman emerge xbps-install nix-env pkg;do
if command -v $m >/dev/null 2>&1;then p package_manager $m;break;fi;done
if command -v systemd-detect-virt >/dev/null 2>&1;then p virtualization "$(systemd-detect-virt 2>/dev/null)"
elif [ -r /sys/class/dmi/id/sys_vendor ];then p vendor "$(cat /sys/class/dmi/id/sys_vendor 2>/dev/null)";fi
[ -d /sys/firmware/efi ]&&p firmware uefi||p firmware bios
command -v sudo >/dev/null 2>&1&&p sudo yes
command -v cloud-init >/dev/null 2>&1&&p cloud_init yes
echo --;cat /etc/os-release 2>/dev/null||cat /usr/lib/os-release 2>/dev/null||true
"#;

/// What a machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `linux`, `freebsd`, `darwin`, …
    pub system: String,
    /// `debian`, `redhat`, `suse`, `alpine`, `arch`, … by what the distribution says it is like.
    pub os_family: String,
    /// `debian`, `ubuntu`, `fedora`, …
    pub distribution: String,
    /// `12`, `24.04`, …
    pub version: String,
    /// The first number of `version`; 0 where there is none.
    pub version_major: u32,
    /// `bookworm`, `noble`, …
    pub codename: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty_name: String,
    /// `x86_64`, `aarch64`, …
    pub arch: String,
    /// The kernel's release, `6.1.0-18-amd64`.
    pub kernel: String,
    pub hostname: String,
    /// `systemd`, `openrc`, `runit`, or the name of process 1.
    pub init: String,
    /// `apt`, `dnf`, `yum`, `zypper`, `apk`, `pacman`, `emerge`, `xbps`, `nix`, `pkg`.
    pub package_manager: String,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    /// The user that commands run as.
    pub user: String,
    pub home: String,
    pub is_root: bool,
    /// Whether sudo is installed.
    pub has_sudo: bool,
    /// Whether cloud-init is installed.
    pub has_cloud_init: bool,
    /// `kvm`, `qemu`, `oracle`, `vmware`, `docker`, …; `none` on bare metal, empty where unknown.
    pub virtualization: String,
    /// `uefi` or `bios`.
    pub firmware: String,
    /// All of os-release.
    pub os_release: BTreeMap<String, String>,
}

impl Answer for Facts {
    /// A plain Debian: the branches most scripts have are then checked too.
    fn done(_: &Operation) -> Self {
        parse(
            "system=Linux\nkernel=6.1.0-18-amd64\narch=x86_64\nhostname=debian\nuser=root\nuid=0\nhome=/root\ncpus=2\n\
             memory_kib=2097152\ninit=systemd\npackage_manager=apt-get\nvirtualization=kvm\nfirmware=bios\nsudo=yes\n--\n\
             PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
        )
    }
}

/// Returns the machine's facts; asked once until it reboots.
pub async fn facts(session: &Arc<Session>) -> Result<Facts> {
    if let Some(known) = session.noted(NOTE).and_then(|note| serde_json::from_value(note).ok()) {
        return Ok(known);
    }
    let operation = Operation::new("facts", "", serde_json::json!({})).only_reads();
    let facts: Facts = session
        .perform(operation, |session| async move {
            let wrapped = Wrapped { program: PROGRAM.to_owned(), ..Wrapped::default() };
            Ok(parse(&run::ask(&session, &wrapped).await?.stdout))
        })
        .await?;
    if let Ok(note) = serde_json::to_value(&facts) {
        session.note(NOTE, note);
    }
    Ok(facts)
}

/// Reads the program's answer.
pub(crate) fn parse(answer: &str) -> Facts {
    let (lines, release) = match answer.split_once("\n--\n") {
        Some((lines, release)) => (lines, os_release::parse(release)),
        None => (answer, BTreeMap::new()),
    };
    let said: BTreeMap<&str, &str> = lines.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |name: &str| said.get(name).map(|value| value.trim().to_owned()).unwrap_or_default();
    let from_release = |name: &str| release.get(name).cloned().unwrap_or_default();
    let system = get("system").to_lowercase();
    let distribution = match from_release("ID") {
        id if id.is_empty() => system.clone(),
        id => id,
    };
    let version = from_release("VERSION_ID");
    let kib = get("memory_kib").parse::<u64>().ok().and_then(|kib| kib.checked_mul(1024));
    Facts {
        os_family: os_release::family(&distribution, &from_release("ID_LIKE")),
        version_major: version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default(),
        codename: codename(&release),
        pretty_name: from_release("PRETTY_NAME"),
        distribution,
        version,
        system,
        arch: get("arch"),
        kernel: get("kernel"),
        hostname: get("hostname"),
        init: get("init"),
        package_manager: match get("package_manager").as_str() {
            "apt-get" => "apt",
            "xbps-install" => "xbps",
            "nix-env" => "nix",
            other => other,
        }
        .to_owned(),
        cpus: get("cpus").parse().unwrap_or_default(),
        memory: kib.or_else(|| get("memory_bytes").parse().ok()).unwrap_or_default(),
        is_root: get("uid") == "0",
        user: get("user"),
        home: get("home"),
        has_sudo: get("sudo") == "yes",
        has_cloud_init: get("cloud_init") == "yes",
        virtualization: match get("virtualization") {
            known if !known.is_empty() => known,
            _ => vendor(&get("vendor")),
        },
        firmware: get("firmware"),
        os_release: release,
    }
}

/// Returns the release's code name: its own field, or the word in parentheses that older releases put into `VERSION`.
fn codename(release: &BTreeMap<String, String>) -> String {
    if let Some(name) = release.get("VERSION_CODENAME").or_else(|| release.get("UBUNTU_CODENAME")) {
        return name.clone();
    }
    let version = release.get("VERSION").map(String::as_str).unwrap_or_default();
    let inside = version.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    inside.and_then(|name| name.split_whitespace().next()).unwrap_or_default().to_lowercase()
}

/// Returns systemd's word for a virtual machine's maker.
fn vendor(name: &str) -> String {
    match name {
        "QEMU" => "qemu",
        "VMware, Inc." => "vmware",
        "innotek GmbH" => "oracle",
        "Microsoft Corporation" => "microsoft",
        "Xen" => "xen",
        "Amazon EC2" => "amazon",
        "Google" => "google",
        _ => "",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;
    use proptest::prelude::*;

    #[test]
    fn reads_what_several_systems_say() {
        let of = |release: &str| parse(&format!("system=Linux\nuid=1000\nmemory_kib=1024\n--\n{release}"));
        let ubuntu = of(
            "NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION=\"24.04 LTS (Noble Numbat)\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n",
        );
        assert_eq!((ubuntu.os_family.as_str(), ubuntu.distribution.as_str()), ("debian", "ubuntu"));
        assert_eq!((ubuntu.version.as_str(), ubuntu.version_major, ubuntu.codename.as_str()), ("24.04", 24, "noble"));
        assert_eq!((ubuntu.memory, ubuntu.is_root), (1 << 20, false));
        let rocky = of(
            "NAME=\"Rocky Linux\"\nVERSION=\"9.3 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.3\"\n",
        );
        assert_eq!((rocky.os_family.as_str(), rocky.version_major, rocky.codename.as_str()), ("redhat", 9, "blue"));
        let alpine = of("NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\n");
        assert_eq!((alpine.os_family.as_str(), alpine.version_major), ("alpine", 3));
        let arch = of("NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n");
        assert_eq!((arch.os_family.as_str(), arch.version.as_str(), arch.version_major), ("arch", "", 0));
        let bsd = parse("system=FreeBSD\nmemory_bytes=4096\n--\n");
        assert_eq!((bsd.os_family.as_str(), bsd.memory), ("freebsd", 4096));
    }

    #[tokio::test]
    async fn asks_a_real_shell_once() {
        let bench = Bench::new();
        let facts = facts(&bench.session).await.unwrap();
        assert_eq!(facts.system, "linux");
        assert!(facts.cpus >= 1 && facts.memory > 1 << 20, "{facts:?}");
        assert!(!facts.kernel.is_empty() && !facts.arch.is_empty() && !facts.hostname.is_empty(), "{facts:?}");
        assert_eq!(facts.is_root, rustix::process::geteuid().is_root());
        assert_eq!(facts.home, bench.path("machine/disk"));
        assert_eq!(super::facts(&bench.session).await.unwrap(), facts);
        assert_eq!(bench.commands().len(), 1);
        assert!(bench.output().is_empty());
    }

    #[tokio::test]
    async fn a_pretended_machine_is_a_debian() {
        let facts = facts(&Bench::pretended().session).await.unwrap();
        assert_eq!(
            (facts.os_family.as_str(), facts.package_manager.as_str(), facts.codename.as_str()),
            ("debian", "apt", "bookworm")
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z_=\"()0-9. \n-]{0,80}") {
            let _ = parse(&text);
        }
    }
}
