//! Files and folders to a sink, `scp -t`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;

use super::super::channel::Input;
use super::super::content::{Content, interrupted};
use super::super::download::warn;
use super::super::session::SshCommunicator;
use super::super::sftp::home_relative;
use super::super::upload::operand;
use super::link::Link;
use super::message::Message;
use crate::error::{Error, Kind, Result, io_error};
use crate::ui::event::Counter;

impl SshCommunicator {
    /// Sends a file: beside its target, where a shell can rename it, else straight to it.
    pub(in super::super) async fn upload_by_scp(
        &self,
        content: &Content,
        to: &str,
        mode: u32,
        temporary: &str,
        counter: &Counter,
    ) -> Result<u64> {
        let path = operand(to);
        let what = format!("cannot write {to}");
        if !self.has_shell().await? {
            return self.send_file(content, &path, mode, what, counter).await;
        }
        let beside = match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{temporary}"),
            None => temporary.to_owned(),
        };
        match self.send_file(content, &beside, 0o600, what, counter).await {
            Ok(size) => {
                self.receive_file(Input::Bytes(Bytes::new()), to, mode, size, temporary, "there").await?;
                Ok(size)
            }
            Err(error) => {
                if !self.is_gone() {
                    let line = format!("rm -f {}", crate::engine::quote::word(&beside));
                    let _ =
                        self.run(line, Input::Bytes(Bytes::new()), &mut super::super::channel::Output::answer()).await;
                }
                Err(error)
            }
        }
    }

    async fn send_file(
        &self,
        content: &Content,
        path: &str,
        mode: u32,
        what: String,
        counter: &Counter,
    ) -> Result<u64> {
        let mut link = Link::start(self, "-p -t", path, what).await?;
        link.answer().await?;
        let name = path.rsplit('/').next().unwrap_or(path).replace('\n', "?");
        link.say(&Message::File { mode, size: content.size(), name }).await?;
        link.answer().await?;
        stream(&mut link, content, counter).await?;
        link.answer().await?;
        link.finish().await?;
        Ok(content.size())
    }

    /// Sends a folder's content; the protocol knows no links.
    pub(in super::super) async fn upload_tree_by_scp(&self, dir: &Path, to: &str, counter: &Counter) -> Result<u64> {
        let path = home_relative(to).trim_end_matches('/');
        let path = if path.is_empty() { "/".to_owned() } else { operand(path) };
        let (parent, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/".to_owned(), name.to_owned()),
            Some((parent, name)) => (parent.to_owned(), name.to_owned()),
            None => (".".to_owned(), path.clone()),
        };
        let mut link = Link::start(self, "-r -p -t", &parent, format!("cannot write {to}")).await?;
        link.answer().await?;
        let before = counter.get();
        // The folder itself: made if it is not there.
        let name = if name.is_empty() { ".".to_owned() } else { name };
        enter(&mut link, dir, name).await?;
        send_folder(&mut link, dir, counter).await?;
        link.say(&Message::Leave).await?;
        link.answer().await?;
        link.finish().await?;
        Ok(counter.get() - before)
    }
}

async fn stream(link: &mut Link<'_>, content: &Content, counter: &Counter) -> Result<()> {
    let (mut pieces, producer) = content.read();
    let mut sent = Ok(());
    while let Some(piece) = pieces.recv().await {
        let length = piece.len() as u64;
        sent = link.send(piece).await;
        if sent.is_err() {
            break;
        }
        counter.add(length);
    }
    drop(pieces);
    let read = producer.await.map_err(interrupted)?;
    sent?;
    read?;
    link.agree().await
}

async fn enter(link: &mut Link<'_>, dir: &Path, name: String) -> Result<()> {
    let meta = tokio::fs::metadata(dir).await.map_err(|e| io_error("read", dir, e))?;
    times(link, &meta).await?;
    link.say(&Message::Folder { mode: meta.permissions().mode() & 0o7777, name }).await?;
    link.answer().await
}

async fn times(link: &mut Link<'_>, meta: &std::fs::Metadata) -> Result<()> {
    link.say(&Message::Times { modified: u64::try_from(meta.mtime()).unwrap_or(0) }).await?;
    link.answer().await
}

async fn send_folder(link: &mut Link<'_>, dir: &Path, counter: &Counter) -> Result<()> {
    let failed = |e| io_error("read the folder", dir, e);
    let mut entries = tokio::fs::read_dir(dir).await.map_err(failed)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        names.push(entry.file_name());
    }
    names.sort();
    for name in names {
        let path = dir.join(&name);
        let left_out = |why: &str| warn(format!("left out of the upload: {} ({why})", path.display()));
        let meta = tokio::fs::symlink_metadata(&path).await.map_err(|e| io_error("send", &path, e))?;
        if !meta.is_dir() && !meta.is_file() {
            if meta.is_symlink() {
                left_out("scp knows no links, and the machine has neither tar nor SFTP");
            }
            continue;
        }
        let Some(name) = name.to_str().filter(|name| !name.contains('\n')) else {
            return Err(Error::new(
                Kind::Unsupported,
                format!("cannot send {}: scp has no way to say its name", path.display()),
            )
            .hint("rename it, or install tar or an SFTP server on the machine"));
        };
        if meta.is_dir() {
            enter(link, &path, name.to_owned()).await?;
            Box::pin(send_folder(link, &path, counter)).await?;
            link.say(&Message::Leave).await?;
            link.answer().await?;
            continue;
        }
        let (content, meta) = Content::of_file(&path).await?;
        times(link, &meta).await?;
        let mode = meta.permissions().mode() & 0o7777;
        link.say(&Message::File { mode, size: content.size(), name: name.to_owned() }).await?;
        link.answer().await?;
        stream(link, &content, counter).await?;
        link.answer().await?;
    }
    Ok(())
}
