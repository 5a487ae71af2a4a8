//! `vm:download`: files and trees of the machine onto this host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::place::Stage;
use super::run;
use super::wrap::Wrapped;
use super::write::{absolute, check_path};
use crate::communicator::{scripts, tree};
use crate::engine::{Answer, Communicator, Operation, OperationOptions, Session, Sink};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking;
use crate::ui::event::{Counter, Unit};

/// Options of `vm:download`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadOptions {
    /// Whether it is read as root, by sudo where the user is not root.
    pub sudo: bool,
}

/// What a download gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Downloaded {
    bytes: u64,
    is_tree: bool,
    /// What is there now that was not, or was another: paths in the target; an empty one is the target itself.
    made: Vec<PathBuf>,
}

impl Answer for Downloaded {
    fn done(_: &Operation) -> Self {
        Downloaded::default()
    }

    fn outputs(&self, operation: &Operation) -> Vec<PathBuf> {
        let Some(target) = operation.local.get(usize::from(self.is_tree)) else { return Vec::new() };
        let place = |made: &PathBuf| match made.as_os_str().is_empty() {
            true => target.clone(),
            false => target.join(made),
        };
        self.made.iter().map(place).collect()
    }
}

/// A download that attempts are made at.
struct Job {
    src: String,
    /// Where a file goes, and where a folder.
    targets: [PathBuf; 2],
    stage: Stage,
    options: DownloadOptions,
}

/// Downloads a file or a folder and returns the bytes received. The rules of trailing slashes are those of an upload.
/// Files that are there are replaced.
pub async fn download(session: &Arc<Session>, src: &str, dst: &str, options: &DownloadOptions) -> Result<u64> {
    check_path("vm:download", src)?;
    if dst.is_empty() {
        return Err(Error::new(Kind::Option, "vm:download: the target is empty"));
    }
    // The target is no part of it: the machine is the same wherever it goes.
    let request = serde_json::json!({ "source": src, "options": options });
    let base = session.cx().settings.resolve(dst);
    let name = src.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".." | "~"));
    let inside = |is_inside: bool| name.filter(|_| is_inside).map_or(base.clone(), |name| base.join(name));
    let targets = [inside(dst.ends_with('/')), inside(!src.ends_with('/'))];
    let operation = Operation::new("download", format!("{src} -> {dst}"), request);
    let operation = operation.limits_itself().only_reads().to_host(targets.to_vec());
    // What further attempts go on with.
    let stage = Stage::new();
    let job = Arc::new(Job { src: src.to_owned(), targets, stage, options: options.clone() });
    let downloaded: Downloaded = session
        .perform(operation, move |session| {
            let job = job.clone();
            async move {
                let (session, job, cx) = (&*session, &*job, context(&session));
                attempt::reconnecting(session, |_| async {
                    let progress = cx.ui.progress(format!("downloading {}", job.src), None, Unit::Bytes);
                    fetch(session, job, &progress.counter()).await
                })
                .await
            }
        })
        .await?;
    Ok(downloaded.bytes)
}

async fn fetch(session: &Session, job: &Job, counter: &Counter) -> Result<Downloaded> {
    let Job { src, targets, stage, options } = job;
    let from = absolute(session, src).await?;
    if !options.sudo {
        let ask = Wrapped {
            program: r#"if [ -d "$1" ];then echo d;else echo f;fi"#.into(),
            args: vec![from.clone()],
            ..Wrapped::default()
        };
        let is_tree = run::ask(session, &ask).await?.stdout.trim() == "d";
        return attempt::limited(OperationOptions::current().timeout, take(session, &from, is_tree, targets, counter))
            .await;
    }
    // The user may not read it: root copies it to a place of the user's own.
    let user = stage.make(session).await?;
    let fetched = attempt::limited(OperationOptions::current().timeout, async {
        let copy = Wrapped {
            program: r#"if [ -d "$1" ];then mkdir -- "$2"&&cp -a -- "$1/." "$2"&&t=d;else cp -- "$1" "$2"&&t=f;fi&&chown -R -- "$3" "$2"&&echo $t"#.into(),
            args: vec![scripts::operand(&from), stage.item(), user],
            sudo: true,
            ..Wrapped::default()
        };
        let is_tree = run::ask(session, &copy).await?.stdout.trim() == "d";
        take(session, &stage.item(), is_tree, targets, counter).await
    })
    .await;
    if fetched.as_ref().is_err_and(attempt::is_lost) {
        return fetched;
    }
    let removed = stage.remove(session, true).await;
    let downloaded = fetched?;
    removed?;
    Ok(downloaded)
}

async fn take(
    session: &Session,
    from: &str,
    is_tree: bool,
    [file, folder]: &[PathBuf; 2],
    counter: &Counter,
) -> Result<Downloaded> {
    let communicator = session.communicator().await?;
    if !is_tree {
        let parent = file.parent().unwrap_or(Path::new("/"));
        tokio::fs::create_dir_all(parent).await.map_err(|e| io_error("create folder", parent, e))?;
        let bytes = communicator.download(from, Sink::File(file), counter).await?;
        return Ok(Downloaded { bytes, is_tree, made: vec![PathBuf::new()] });
    }
    tokio::fs::create_dir_all(folder).await.map_err(|e| io_error("create folder", folder, e))?;
    if !session.replays() {
        let bytes = communicator.download(from, Sink::Tree(folder), counter).await?;
        return Ok(Downloaded { bytes, is_tree, made: Vec::new() });
    }
    let (bytes, made) = take_apart(&*communicator, from, folder, counter).await?;
    Ok(Downloaded { bytes, is_tree, made })
}

/// Fetches a folder beside its target first: what else is in that is not to be taken for a part of the download.
async fn take_apart(
    communicator: &dyn Communicator,
    from: &str,
    folder: &Path,
    counter: &Counter,
) -> Result<(u64, Vec<PathBuf>)> {
    let pending = Pending::beside(folder)?;
    let bytes = communicator.download(from, Sink::Tree(pending.path()), counter).await?;
    blocking::run(move |_| {
        let made = additions(pending.path(), pending.target())?;
        tree::place(pending)?;
        Ok((bytes, made))
    })
    .await
}

/// Lists what moving the folder `from` into `into` puts there: whole folders where none is yet.
fn additions(from: &Path, into: &Path) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let (source, target) = (from.join(&folder), into.join(&folder));
        let fault = |e| io_error("read the folder", &source, e);
        let is_folder = std::fs::symlink_metadata(&target).is_ok_and(|meta| meta.is_dir());
        if !is_folder {
            made.push(folder);
            continue;
        }
        for entry in std::fs::read_dir(&source).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = folder.join(entry.file_name());
            match entry.file_type().map_err(fault)?.is_dir() {
                true => folders.push(name),
                false => made.push(name),
            }
        }
    }
    made.sort();
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    #[test]
    fn what_was_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        std::fs::create_dir_all(from.join("sub/new")).unwrap();
        for path in ["one", "sub/two", "sub/new/three"] {
            std::fs::write(from.join(path), "").unwrap();
        }
        let made = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(additions(&from, &into).unwrap(), made(&[""]));
        std::fs::create_dir_all(into.join("sub")).unwrap();
        std::fs::write(into.join("sub/mine"), "").unwrap();
        std::fs::write(into.join("one"), "").unwrap();
        assert_eq!(additions(&from, &into).unwrap(), made(&["one", "sub/new", "sub/two"]));
    }

    #[tokio::test]
    async fn a_folder_joins_what_is_there() {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.path("machine/disk/logs")).unwrap();
        std::fs::write(bench.path("machine/disk/logs/a"), "new").unwrap();
        let folder = bench.dir.path().join("script/logs");
        std::fs::create_dir(&folder).unwrap();
        for name in ["a", "mine"] {
            std::fs::write(folder.join(name), "old").unwrap();
        }
        let machine = bench.session.communicator().await.unwrap();
        let (_, made) = take_apart(&*machine, "logs", &folder, &Counter::default()).await.unwrap();
        assert_eq!(made, [PathBuf::from("a")]);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("a"), read("mine")), ("new".into(), "old".into()));
        assert_eq!(std::fs::read_dir(bench.dir.path().join("script")).unwrap().count(), 1);
    }

    #[test]
    fn outputs_are_where_this_run_wants_them() {
        let targets = vec![PathBuf::from("/a/x"), PathBuf::from("/a/tree")];
        let operation = Operation::new("download", "", ()).to_host(targets);
        let file = Downloaded { bytes: 1, is_tree: false, made: vec![PathBuf::new()] };
        assert_eq!(file.outputs(&operation), [PathBuf::from("/a/x")]);
        let tree = Downloaded { is_tree: true, made: vec!["sub/b".into(), "c".into()], ..file };
        assert_eq!(tree.outputs(&operation), [PathBuf::from("/a/tree/sub/b"), PathBuf::from("/a/tree/c")]);
    }

    #[tokio::test]
    async fn files_and_trees_go_where_the_slashes_say() {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.path("machine/disk/logs/sub")).unwrap();
        std::fs::write(bench.path("machine/disk/logs/sub/a"), "aa").unwrap();
        std::fs::write(bench.path("machine/disk/one"), "one").unwrap();
        for sudo in [false, rustix::process::geteuid().is_root()] {
            let get = async |src: &str, dst: &str| {
                let options = DownloadOptions { sudo };
                download(&bench.session, src, dst, &options).await.unwrap();
            };
            get("~/one", "two").await;
            get("one", "into/it/").await;
            get("logs", "whole").await;
            get("logs/", "contents").await;
            for path in ["two", "into/it/one", "whole/logs/sub/a", "contents/sub/a"] {
                assert!(bench.dir.path().join("script").join(path).is_file(), "{path}");
                std::fs::remove_file(bench.dir.path().join("script").join(path)).unwrap();
            }
        }
        let error = download(&bench.session, "gone", "x", &DownloadOptions::default()).await.unwrap_err();
        assert!(error.message().starts_with("vm: download `gone -> x`"), "{error}");
    }
}
