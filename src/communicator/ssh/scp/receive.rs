//! Files and folders from a source, `scp -f`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;

use super::super::super::tree;
use super::super::download::warn;
use super::super::session::SshCommunicator;
use super::super::upload::operand;
use super::link::Link;
use super::message::Message;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::ui::event::Counter;

/// Deeper trees are not taken.
const DEEPEST: usize = 256;

impl SshCommunicator {
    pub(in super::super) async fn download_by_scp(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let mut link = Link::start(self, "-f", &operand(from), format!("cannot read {from}")).await?;
        link.agree().await?;
        let size = loop {
            match link.message().await? {
                Some(Message::Times { .. }) => link.agree().await?,
                Some(Message::File { size, .. }) => break size,
                Some(Message::Warning(said) | Message::Fatal(said)) => return Err(link.refused(&said)),
                None => return Err(link.refused("scp sent nothing")),
                Some(other) => return Err(link.hostile(format_args!("it sent {other:?} where a file was asked for"))),
            }
        };
        let pending = Pending::beside(to)?;
        receive_content(&mut link, size, pending.path(), counter).await?;
        if let Some(other) = link.message().await? {
            return Err(link.hostile(format_args!("it sent {other:?} after the file that was asked for")));
        }
        link.finish().await?;
        tokio::task::spawn_blocking(move || pending.commit()).await.map_err(super::super::content::interrupted)??;
        Ok(size)
    }

    pub(in super::super) async fn download_tree_by_scp(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let path = operand(from);
        let mut link = Link::start(self, "-r -p -f", &path, format!("cannot read {from}")).await?;
        link.agree().await?;
        let pending = Pending::beside(to)?;
        let mut received = 0;
        // Folders that are open, with what they are to become; the first is the one that was asked for.
        let mut open: Vec<(PathBuf, u32, Option<SystemTime>)> = Vec::new();
        let mut times = None;
        while let Some(message) = link.message().await? {
            let here = open.last().map(|(path, ..)| path.clone());
            match (message, here) {
                (Message::Times { modified }, _) => {
                    times = Some(UNIX_EPOCH + Duration::from_secs(modified.min(i32::MAX as u64)));
                    link.agree().await?;
                }
                (Message::Folder { mode, name }, here) if open.len() < DEEPEST => {
                    let path = here.map_or_else(|| pending.path().to_owned(), |here| here.join(name));
                    tokio::fs::create_dir(&path).await.map_err(|e| io_error("create folder", &path, e))?;
                    let mode = if open.is_empty() { 0o755 } else { mode & 0o777 };
                    open.push((path, mode, times.take()));
                    link.agree().await?;
                }
                (Message::File { mode, size, name }, Some(here)) => {
                    let path = here.join(name);
                    receive_content(&mut link, size, &path, counter).await?;
                    finish(&path, mode & 0o777, times.take()).await?;
                    received += size;
                }
                (Message::Leave, Some(_)) => {
                    if let Some((path, mode, times)) = open.pop() {
                        finish(&path, mode, times).await?;
                    }
                    link.agree().await?;
                    if open.is_empty() {
                        break;
                    }
                }
                (Message::Warning(said), _) if said.ends_with("not a regular file") => {
                    warn(format!("left out of the download: {}", said.trim_start_matches("scp: ")));
                }
                (Message::Warning(said) | Message::Fatal(said), _) => return Err(link.refused(&said)),
                (other, _) => return Err(link.hostile(format_args!("it sent {other:?} out of turn"))),
            }
        }
        if !open.is_empty() || !pending.path().exists() {
            return Err(Error::new(Kind::Io, format!("cannot read {from}: scp ended before the folder did")));
        }
        link.finish().await?;
        tokio::task::spawn_blocking(move || tree::place(pending))
            .await
            .map_err(super::super::content::interrupted)??;
        Ok(received)
    }
}

/// Receives a file's content, whose size was said.
async fn receive_content(link: &mut Link<'_>, size: u64, to: &Path, counter: &Counter) -> Result<()> {
    let failed = |e| io_error("write", to, e);
    let mut file = tokio::fs::File::create_new(to).await.map_err(failed)?;
    link.agree().await?;
    let mut left = size;
    while left > 0 {
        let piece = link.content(left).await?;
        file.write_all(&piece).await.map_err(failed)?;
        left -= piece.len() as u64;
        counter.add(piece.len() as u64);
    }
    file.flush().await.map_err(failed)?;
    // The source says whether it could read all of it.
    link.answer().await?;
    link.agree().await
}

async fn finish(path: &Path, mode: u32, time: Option<SystemTime>) -> Result<()> {
    let failed = |e| io_error("set the mode of", path, e);
    let file = std::fs::File::open(path).map_err(failed)?;
    if let Some(time) = time {
        file.set_modified(time).map_err(failed)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}
