//! The tree that is worked on: a volume mounted in a folder, and what is mounted in it in turn. It is written down before it
//! is mounted; no folder is ever removed with what is in it, which might be this host's `/dev`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::wrong;
use super::as_root::AsRoot;
use super::mount_table;
use super::options::ChrootOptions;
use crate::engine::journal::collector::Collector;
use crate::engine::{BuildCx, Resource, ResourceId};
use crate::error::{Context, Error, Kind, Result};
use crate::host::census;

/// The name that journals have for what is found here.
pub const COLLECTOR: &str = "mounts";

/// How long what was just used may hold a mount.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long what is thrown away is waited for.
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
/// How long it may take to go.
const ENDING: Duration = Duration::from_secs(120);

/// Lists the processes whose root, folder, program or open file is the folder `$1`, or in it.
const HOLDERS: &str = r#"find /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/[0-9]*/fd -maxdepth 1 \
\( -lname "$1" -o -lname "$1/*" \) 2>/dev/null;true"#;

/// Says where the path `$1` leads, as far as it is there.
const LEADS_TO: &str = r#"t=$1;while [ ! -e "$t" ]&&[ ! -L "$t" ];do t=${t%/*};done;exec readlink -f -- "$t""#;

/// A tree as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    pub path: PathBuf,
    /// The folders that were made for it, the innermost first.
    folders: Vec<PathBuf>,
    as_root: AsRoot,
    /// The boot of this host in which it is mounted: what is mounted there in another is somebody else's.
    boot: String,
}

/// A process that holds a tree.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// Whether the tree is all that it sees.
    is_inside: bool,
}

impl Tree {
    /// Chooses the folder and writes it down, and makes it.
    pub async fn enter(options: &ChrootOptions, cx: &BuildCx) -> Result<(Tree, ResourceId)> {
        let as_root = AsRoot(options.command_wrapper.clone());
        let tree = match &options.mount_path {
            Some(path) => Tree::given(path, as_root)?,
            None => {
                let unique = uuid::Uuid::new_v4().simple().to_string();
                let own = format!("/run/rimg-chroot-{}", unique.get(..8).unwrap_or(&unique));
                let path = resolved(Path::new(&own)).join("root");
                let folders = vec![path.clone(), resolved(Path::new(&own))];
                Tree { path, folders, as_root, boot: census::boot_id() }
            }
        };
        let trace = serde_json::to_value(&tree).context(Kind::Internal, "cannot write down a mount")?;
        let name = tree.path.display().to_string();
        let what = Resource::elsewhere("mount", name, COLLECTOR, trace).taking(ENDING);
        let gone = tree.clone();
        let resource = cx.resources.enter(what, move || async move { gone.remove(false).await.map(drop) }).await?;
        for folder in tree.folders.iter().rev() {
            // Nobody else has any business in what is not finished.
            tree.as_root.run(&["mkdir", "-m", "0700", &folder.display().to_string()]).await?;
        }
        Ok((tree, resource))
    }

    /// Returns the tree of a folder that a script names.
    fn given(path: &Path, as_root: AsRoot) -> Result<Tree> {
        let path = resolved(path);
        let taken = |why: &str| Err(wrong("mount_path", format!("{} {why}", path.display())));
        if !mount_table::at(&path)?.is_empty() {
            return match taken("has something mounted") {
                Err(error) => Err(error.hint("`rimg gc` unmounts what a killed run has left")),
                ok => ok,
            };
        }
        if std::fs::read_dir(&path).is_ok_and(|mut inside| inside.next().is_some()) {
            return taken("is not empty");
        }
        let folders = path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        Ok(Tree { path, folders, as_root, boot: census::boot_id() })
    }

    /// Mounts the root.
    pub async fn mount(&self, device: &Path, options: &[String]) -> Result<()> {
        let mut words = vec!["mount".to_owned()];
        words.extend(options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]));
        words.extend([device.display().to_string(), self.text()]);
        if let Err(error) = self.as_root.run(&words).await {
            let given: String = options.iter().map(|option| format!(" -o {option}")).collect();
            let error = error.within(format_args!("cannot mount {}{given}", device.display()));
            return Err(error
                .hint("mount_partition says which partition is the root, 0 that the whole volume is one file system")
                .hint(
                    "an XFS whose twin is mounted already (this host's own root?) needs mount_options = { \"nouuid\" }",
                ));
        }
        self.keep_private(&self.text()).await
    }

    /// Mounts something in it: a type, what, and where.
    pub async fn mount_inside(&self, mount: &[String]) -> Result<()> {
        let [kind, what, target] = mount else { return Err(wrong("chroot_mounts", "is a list of lists of three")) };
        let target = self.path.join(target.trim_start_matches('/')).display().to_string();
        let failed = |error: Error| error.within(format_args!("option `chroot_mounts`: {kind} at {target}"));
        let led = self.as_root.run(&["sh", "-c", LEADS_TO, "rimg", &target]).await.map_err(failed)?;
        let led = PathBuf::from(String::from_utf8_lossy(&led.stdout).trim_end_matches('\n'));
        if !led.starts_with(&self.path) {
            let why = format!("{target} leads out of the volume, to {}", led.display());
            return Err(failed(Error::new(Kind::Host, why)));
        }
        self.as_root.run(&["mkdir", "-p", &target]).await.map_err(failed)?;
        match kind.as_str() {
            "bind" => {
                self.as_root.run(&["mount", "--bind", what, &target]).await.map_err(failed)?;
                self.keep_private(&target).await
            }
            _ => self.as_root.run(&["mount", "-t", kind, what, &target]).await.map(drop).map_err(failed),
        }
    }

    /// Keeps what is mounted in a folder from being mounted elsewhere, too: a `/dev/pts` in a bound `/dev` would cover this
    /// host's own.
    async fn keep_private(&self, path: &str) -> Result<()> {
        self.as_root.run(&["mount", "--make-private", path]).await.map(drop)
    }

    /// Unmounts all of it, the last first, and removes its folders. What holds it for long is an error that names it.
    pub async fn unmount(&self) -> Result<()> {
        match self.unmount_within(PATIENCE).await {
            Ok(()) => self.remove_folders().await,
            Err(error) => {
                let holders = self.holders().await.unwrap_or_default();
                Err(match holders.is_empty() {
                    true => error,
                    false => {
                        let shown: Vec<String> = holders.iter().map(Holder::shown).collect();
                        error.within(format_args!("{} is in use by {}", self.path.display(), shown.join(", "))).hint(
                            "the script's last commands have to stop what the others have started: services, agents",
                        )
                    }
                })
            }
        }
    }

    async fn unmount_within(&self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            let Some(last) = mount_table::at(&self.path)?.into_iter().next() else { return Ok(()) };
            match self.as_root.run(&["umount", &last.display().to_string()]).await {
                Ok(_) => {}
                Err(_) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.within(format_args!("cannot unmount {}", last.display()))),
            }
        }
    }

    async fn remove_folders(&self) -> Result<()> {
        for folder in self.folders.iter() {
            // Gone already, or by somebody's else hands not empty: nothing of rimg's is in it.
            if let Err(error) = self.as_root.run(&["rmdir", &folder.display().to_string()]).await {
                tracing::debug!(folder = %folder.display(), %error, "a folder stays");
            }
        }
        Ok(())
    }

    /// Unmounts what is thrown away: what runs in it is ended, and what holds it all the same keeps no name of it. Tells
    /// whether there was anything.
    async fn remove(&self, dry_run: bool) -> Result<bool> {
        let mounted = self.boot == census::boot_id() && !mount_table::at(&self.path)?.is_empty();
        let there = mounted || self.folders.iter().any(|folder| folder.exists());
        if dry_run || !there {
            return Ok(there);
        }
        if mounted {
            self.end_processes().await?;
            if let Err(error) = self.unmount_within(LITTLE_PATIENCE).await {
                tracing::debug!(%error, "unmounting lazily");
                for last in mount_table::at(&self.path)? {
                    self.as_root.run(&["umount", "-l", &last.display().to_string()]).await?;
                }
            }
        }
        self.remove_folders().await?;
        Ok(true)
    }

    /// Ends the processes that see nothing but the tree.
    async fn end_processes(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LITTLE_PATIENCE * 2 {
            let inside = self.holders().await?.into_iter().filter(|holder| holder.is_inside);
            let pids: Vec<String> = inside.map(|holder| holder.pid.to_string()).collect();
            if pids.is_empty() {
                break;
            }
            let signal = if begun.elapsed() < LITTLE_PATIENCE { "TERM" } else { "KILL" };
            let kill = r#"kill -s "$0" "$@" 2>/dev/null;true"#;
            let mut words = vec!["sh", "-c", kill, signal];
            words.extend(pids.iter().map(String::as_str));
            self.as_root.run(&words).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn holders(&self) -> Result<Vec<Holder>> {
        let output = self.as_root.run(&["sh", "-c", HOLDERS, "rimg", &self.text()]).await?;
        Ok(holders(&String::from_utf8_lossy(&output.stdout)))
    }

    fn text(&self) -> String {
        self.path.display().to_string()
    }
}

impl Holder {
    fn shown(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        match name.trim() {
            "" => format!("process {}", self.pid),
            name => format!("{name} ({})", self.pid),
        }
    }
}

/// Reads lines such as `/proc/42/root`.
fn holders(lines: &str) -> Vec<Holder> {
    let mut found: BTreeMap<u32, bool> = BTreeMap::new();
    for line in lines.lines() {
        let Some((pid, how)) = line.strip_prefix("/proc/").and_then(|rest| rest.split_once('/')) else { continue };
        let Ok(pid) = pid.parse() else { continue };
        *found.entry(pid).or_default() |= how == "root";
    }
    found.into_iter().map(|(pid, is_inside)| Holder { pid, is_inside }).collect()
}

/// Returns a path as the kernel's table has it, whether it is there or not.
fn resolved(path: &Path) -> PathBuf {
    let there = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let Some((folder, real)) = there else { return path.to_owned() };
    match path.strip_prefix(folder) {
        Ok(rest) if rest.as_os_str().is_empty() => real,
        Ok(rest) => real.join(rest),
        Err(_) => path.to_owned(),
    }
}

/// The collector of what is mounted.
pub struct Mounts;

#[async_trait]
impl Collector for Mounts {
    async fn collect(&self, what: &serde_json::Value, dry_run: bool) -> Result<bool> {
        let tree: Tree = serde_json::from_value(what.clone())
            .context(Kind::Internal, "the journal describes a mount that this rimg does not understand")?;
        tree.remove(dry_run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_and_those_inside_are_told_from_others() {
        let found = holders("/proc/7/cwd\n/proc/12/fd/3\n/proc/12/root\n/proc/self/root\nnoise\n");
        assert_eq!(found, [Holder { pid: 7, is_inside: false }, Holder { pid: 12, is_inside: true }]);
    }

    #[test]
    fn a_folder_of_the_scripts_is_empty_and_nothing_is_mounted_there() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: PathBuf| Tree::given(&path, AsRoot::default());
        let tree = of(dir.path().join("a/b")).unwrap();
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(tree.folders, [real.join("a/b"), real.join("a")]);
        assert_eq!(of(dir.path().to_owned()).unwrap().folders, [] as [PathBuf; 0]);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(of(dir.path().to_owned()).unwrap_err().message().contains("not empty"));
        assert!(of("/proc".into()).unwrap_err().message().contains("mounted"));
    }

    #[tokio::test]
    async fn nothing_is_there_of_what_was_never_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::given(&dir.path().join("x"), AsRoot::default()).unwrap();
        let written = serde_json::to_value(&tree).unwrap();
        assert!(!Mounts.collect(&written, false).await.unwrap());
        std::fs::create_dir(&tree.path).unwrap();
        assert!(Mounts.collect(&written, true).await.unwrap() && tree.path.exists());
        assert!(Mounts.collect(&written, false).await.unwrap() && !tree.path.exists());
    }
}
