//! `vm:download`: files and trees of the machine onto this host.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::place::Stage;
use super::run;
use super::wrap::Wrapped;
use super::write::{absolute, check_path};
use crate::communicator::scripts;
use crate::engine::{Operation, OperationOptions, Session, Sink};
use crate::error::{Error, Kind, Result, io_error};
use crate::ui::event::{Counter, Unit};

/// Options of `vm:download`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadOptions {
    /// Whether it is read as root, by sudo where the user is not root.
    pub sudo: bool,
}

/// A download that attempts are made at.
struct Job {
    src: String,
    dst: String,
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
    let request = serde_json::json!({ "source": src, "target": dst, "options": options });
    let operation = Operation::new("download", format!("{src} -> {dst}"), request).limits_itself().only_reads();
    // What further attempts go on with.
    let stage = Stage::new();
    let job = Arc::new(Job { src: src.to_owned(), dst: dst.to_owned(), stage, options: options.clone() });
    session
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
        .await
}

async fn fetch(session: &Session, job: &Job, counter: &Counter) -> Result<u64> {
    let Job { src, dst, stage, options } = job;
    let from = absolute(session, src).await?;
    if !options.sudo {
        let ask = Wrapped {
            program: r#"if [ -d "$1" ];then echo d;else echo f;fi"#.into(),
            args: vec![from.clone()],
            ..Wrapped::default()
        };
        let is_tree = run::ask(session, &ask).await?.stdout.trim() == "d";
        return attempt::limited(OperationOptions::current().timeout, take(session, src, &from, is_tree, dst, counter))
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
        take(session, src, &stage.item(), is_tree, dst, counter).await
    })
    .await;
    if fetched.as_ref().is_err_and(attempt::is_lost) {
        return fetched;
    }
    let removed = stage.remove(session, true).await;
    let bytes = fetched?;
    removed?;
    Ok(bytes)
}

/// Fetches `from`, which the user called `src`.
async fn take(session: &Session, src: &str, from: &str, is_tree: bool, dst: &str, counter: &Counter) -> Result<u64> {
    let communicator = session.communicator().await?;
    let base = session.cx().settings.resolve(dst);
    let name = src.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".." | "~"));
    let into_folder = if is_tree { !src.ends_with('/') } else { dst.ends_with('/') };
    let target = match name {
        Some(name) if into_folder => base.join(name),
        _ => base,
    };
    let folder = if is_tree { Some(target.as_path()) } else { target.parent() };
    let folder = folder.unwrap_or(Path::new("/"));
    tokio::fs::create_dir_all(folder).await.map_err(|e| io_error("create folder", folder, e))?;
    let sink = if is_tree { Sink::Tree(&target) } else { Sink::File(&target) };
    communicator.download(from, sink, counter).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

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
