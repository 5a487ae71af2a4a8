//! A module in a git repository: one commit of it, without its history.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::super::args::VendorAddArgs;
use super::{add, archive};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking;
use crate::host::digest::Algorithm;
use crate::host::process::{self, Output};
use crate::media::checksum::Checksum;
use crate::media::http;
use crate::script::vendored::Entry;

/// What would make git work on another repository than ours.
const NOT_OURS: [&str; 5] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"];

/// Fetches the commit and unpacks it to where `pending` will be renamed from.
pub async fn fetch(args: &VendorAddArgs, checksum: &Checksum, pending: &Pending, cx: &BuildCx) -> Result<Entry> {
    let wanted = match checksum {
        Checksum::None => None,
        Checksum::Digest(Algorithm::Sha1 | Algorithm::Sha256, hex) => Some(hex.clone()),
        _ => {
            return Err(Error::new(Kind::Usage, "--checksum: of a repository it is the commit").hint(
                "40 hexadecimal digits, as `git rev-parse` prints them; or leave it out: the lock keeps the commit",
            ));
        }
    };
    let rev = args.rev.as_deref().or(wanted.as_deref()).unwrap_or("HEAD");
    if rev.is_empty() || rev.starts_with('-') || rev.contains(|c: char| c.is_whitespace() || c == ':') {
        return Err(Error::new(Kind::Usage, format!("--rev: {rev:?} is no branch, tag or commit")));
    }
    process::require("git", "git")?;
    let scratch = add::scratch(pending)?;
    let repository = Repository { dir: scratch.path().join("repository"), url: address(&args.url, cx) };
    let commit = repository.fetch(rev, cx).await?;
    if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != commit) {
        let message = format!("{rev} of {} is the commit {commit}, not {wanted}", http::shown_text(&args.url));
        return Err(
            Error::new(Kind::Checksum, message).hint("the branch or tag was moved, or --checksum is another one's")
        );
    }
    let tar = scratch.path().join("tree.tar");
    // As it stands in the repository, whatever this user's git does to line ends.
    let mut how = ["-c", "core.autocrlf=false", "archive", "--format=tar", "--output"].map(OsStr::new).to_vec();
    how.extend([tar.as_os_str(), commit.as_ref()]);
    repository.must(&how).await?;
    let into = pending.path().to_owned();
    std::fs::create_dir(&into).map_err(|e| io_error("create folder", &into, e))?;
    blocking::run(move |_| archive::unpack(&tar, &into)).await?;
    Ok(Entry { rev: args.rev.clone(), commit: Some(commit), ..Entry::default() })
}

/// Returns what git is told: a path of this host must not depend on the folder it works in.
fn address(url: &str, cx: &BuildCx) -> String {
    let path = cx.settings.resolve(url);
    match !url.contains("://") && path.exists() {
        true => path.display().to_string(),
        false => url.to_owned(),
    }
}

/// A bare repository for the time of the fetch.
struct Repository {
    dir: PathBuf,
    url: String,
}

impl Repository {
    async fn git(&self, args: &[&OsStr]) -> Result<Output> {
        let mut command = Command::new("git");
        command
            .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "--git-dir"])
            .arg(&self.dir)
            .args(args)
            .stdin(Stdio::null());
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        for name in NOT_OURS {
            command.env_remove(name);
        }
        process::output(&mut command).await
    }

    async fn must(&self, args: &[&OsStr]) -> Result<String> {
        let output = self.git(args).await?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let said = said.replace(&self.url, &http::shown_text(&self.url));
                Err(Error::new(Kind::Network, format!("git cannot have it: {said}")))
            }
        }
    }

    /// Returns the commit that `rev` is, which is then there.
    async fn fetch(&self, rev: &str, cx: &BuildCx) -> Result<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let run = async |args: Vec<String>| self.must(&args.iter().map(OsStr::new).collect::<Vec<_>>()).await;
        run(words(&["init", "--quiet", "--bare", "--template="])).await?;
        cx.ui.info(format!("Fetching {rev} of {}", http::shown_text(&self.url)));
        let short = run(words(&["fetch", "--quiet", "--depth", "1", "--no-tags", "--", &self.url, rev])).await;
        let Err(first) = short else { return run(words(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"])).await };
        // A commit, or the beginning of one, of a server that gives no commits by themselves: all of it, then.
        if rev == "HEAD" || !rev.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(first);
        }
        let (heads, tags) = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*");
        run(words(&["fetch", "--quiet", "--", &self.url, heads, tags])).await?;
        let commit = run(words(&["rev-parse", "--verify", "--quiet", &format!("{rev}^{{commit}}")])).await;
        commit.map_err(|_| {
            Error::new(Kind::Network, format!("there is no commit {rev} in {}", http::shown_text(&self.url)))
        })
    }
}
