//! Folders by SFTP, for accounts that may do nothing else.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, StatusCode};

use super::super::tree;
use super::content::{Content, interrupted, write_file};
use super::download::warn;
use super::method::temporary_name;
use super::session::SshCommunicator;
use super::sftp::{FOLDER, Failure, LINK, REGULAR, Sftp, home_relative, kind_of, refusal};
use crate::communicator::pipe::Piece;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::ui::event::Counter;

/// How many files are under way at once.
const AT_ONCE: usize = 16;
/// Deeper trees are not taken.
const DEEPEST: usize = 256;

/// What a folder of this host holds.
enum Entry {
    Folder { mode: u32, modified: i64 },
    File { mode: u32, modified: i64 },
    Link { target: String },
}

impl SshCommunicator {
    pub(super) async fn upload_tree_by_sftp(
        &self,
        sftp: &Sftp,
        dir: &Path,
        to: &str,
        counter: &Counter,
    ) -> Result<u64> {
        let root = dir.to_owned();
        let entries = tokio::task::spawn_blocking(move || list(&root)).await.map_err(interrupted)??;
        let before = counter.get();
        let to = match home_relative(to).trim_end_matches('/') {
            "" => "/",
            to => to,
        };
        let sent = self.with_sftp(sftp, sftp.put_tree(entries, to, counter)).await?;
        match sent {
            Ok(()) => Ok(counter.get() - before),
            Err(failure) => Err(self.sftp_error(format!("cannot write the folder {to}"), failure).await),
        }
    }

    pub(super) async fn download_tree_by_sftp(
        &self,
        sftp: &Sftp,
        from: &str,
        to: &Path,
        counter: &Counter,
    ) -> Result<u64> {
        let pending = Pending::beside(to)?;
        tokio::fs::create_dir(pending.path()).await.map_err(|e| io_error("create folder", pending.path(), e))?;
        let before = counter.get();
        let got = self.with_sftp(sftp, sftp.get_tree(home_relative(from), pending.path(), counter)).await?;
        match got {
            Ok(()) => {
                tokio::task::spawn_blocking(move || tree::place(pending)).await.map_err(interrupted)??;
                Ok(counter.get() - before)
            }
            Err(failure) => Err(self.sftp_error(format!("cannot read the folder {from}"), failure).await),
        }
    }
}

/// Lists what is in a folder, each folder before what is in it.
fn list(root: &Path) -> Result<Vec<(PathBuf, String, Entry)>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let failed = |e| io_error("read the folder", &folder, e);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
                Error::new(Kind::Unsupported, format!("cannot send {}: its name is not UTF-8", path.display()))
                    .hint("rename it: only a machine with tar can be sent such names")
            })?;
            let name = format!("{prefix}{name}");
            let read = |e| io_error("read", &path, e);
            let meta = std::fs::symlink_metadata(&path).map_err(read)?;
            let (mode, modified) = (meta.permissions().mode() & 0o7777, meta.mtime());
            if meta.is_dir() {
                folders.push((path.clone(), format!("{name}/")));
                found.push((path, name, Entry::Folder { mode, modified }));
            } else if meta.is_symlink() {
                let target = std::fs::read_link(&path).map_err(read)?.to_string_lossy().into_owned();
                found.push((path, name, Entry::Link { target }));
            } else if meta.is_file() {
                found.push((path, name, Entry::File { mode, modified }));
            }
        }
    }
    Ok(found)
}

fn times(modified: i64) -> FileAttributes {
    let seconds = u32::try_from(modified).unwrap_or(0);
    FileAttributes { atime: Some(seconds), mtime: Some(seconds), ..FileAttributes::empty() }
}

impl Sftp {
    async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        match self.raw.mkdir(path, FileAttributes::empty()).await {
            Ok(_) => Ok(()),
            Err(_) if self.is_folder(path).await => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_tree(
        &self,
        entries: Vec<(PathBuf, String, Entry)>,
        to: &str,
        counter: &Counter,
    ) -> Result<(), Failure> {
        // The folder, and those it is in.
        let mut missing = vec![to];
        while let Some((parent, _)) = missing.last().and_then(|path| path.rsplit_once('/')) {
            if parent.is_empty() || self.is_folder(parent).await {
                break;
            }
            missing.push(parent);
        }
        for path in missing.into_iter().rev() {
            self.make_folder(path).await?;
        }
        let target = |name: &str| format!("{}/{name}", to.trim_end_matches('/'));
        let mut fresh = Vec::new();
        for (_, name, entry) in &entries {
            if let Entry::Folder { mode, modified } = entry {
                let path = target(name);
                if self.raw.mkdir(&path, FileAttributes::empty()).await.is_ok() {
                    fresh.push((path, *mode, *modified));
                } else {
                    self.make_folder(&path).await?;
                }
            }
        }
        let mut sending = FuturesUnordered::new();
        for (path, name, entry) in &entries {
            while sending.len() >= AT_ONCE {
                let Some(sent) = sending.next().await else { break };
                let sent: Result<(), Failure> = sent;
                sent?;
            }
            let to = target(name);
            sending.push(async move { self.put_entry(path, &to, entry, counter).await });
        }
        while let Some(sent) = sending.next().await {
            sent?;
        }
        // Last and deepest first: a mode may forbid what is still to be done, and each file changes its folder's time.
        for (path, mode, modified) in fresh.into_iter().rev() {
            let attributes = FileAttributes { permissions: Some(mode), ..times(modified) };
            self.raw.setstat(path, attributes).await?;
        }
        Ok(())
    }

    async fn put_entry(&self, path: &Path, to: &str, entry: &Entry, counter: &Counter) -> Result<(), Failure> {
        match entry {
            Entry::Folder { .. } => Ok(()),
            Entry::File { mode, modified } => {
                let (content, _) = Content::of_file(path).await.map_err(Failure::Local)?;
                self.put(&content, to, *mode, &temporary_name(None), counter).await?;
                self.raw.setstat(to, times(*modified)).await?;
                Ok(())
            }
            Entry::Link { target } => {
                // OpenSSH takes the two paths in the other order than the draft, and so does everyone else.
                match self.raw.symlink(target.as_str(), to).await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        if self.raw.lstat(to).await.is_err() {
                            return Err(error.into());
                        }
                        self.raw.remove(to).await?;
                        self.raw.symlink(target.as_str(), to).await?;
                        Ok(())
                    }
                }
            }
        }
    }

    async fn get_tree(&self, from: &str, to: &Path, counter: &Counter) -> Result<(), Failure> {
        let mut folders = vec![(from.to_owned(), to.to_owned(), 0)];
        let mut finished = Vec::new();
        while let Some((from, to, depth)) = folders.pop() {
            if depth > DEEPEST {
                return Err(refusal(format!("{from} is nested too deeply")));
            }
            let mut files = FuturesUnordered::new();
            for (name, attributes) in self.names(&from).await? {
                let (from, to) = (format!("{}/{name}", from.trim_end_matches('/')), to.join(&name));
                let mode = attributes.permissions.unwrap_or(0o644) & 0o777;
                let modified = UNIX_EPOCH + Duration::from_secs(attributes.mtime.unwrap_or(0).into());
                match kind_of(&attributes) {
                    FOLDER => {
                        tokio::fs::create_dir(&to)
                            .await
                            .map_err(|e| Failure::Local(io_error("create folder", &to, e)))?;
                        finished.push((to.clone(), mode, modified));
                        folders.push((from, to, depth + 1));
                    }
                    LINK => {
                        let target = self.raw.readlink(&from).await?.files.pop().map(|file| file.filename);
                        let target = target.ok_or_else(|| refusal(format!("{from} leads nowhere")))?;
                        let link = to.clone();
                        tokio::fs::symlink(target, &link)
                            .await
                            .map_err(|e| Failure::Local(io_error("make the link", &link, e)))?;
                    }
                    REGULAR => {
                        while files.len() >= AT_ONCE {
                            let Some(result) = files.next().await else { break };
                            let result: Result<(), Failure> = result;
                            result?;
                        }
                        let size = attributes.size.unwrap_or(0);
                        files.push(async move { self.get_entry(&from, size, &to, mode, modified, counter).await });
                    }
                    _ => warn(format!("left out of the download: {from} (no file, folder or link)")),
                }
            }
            while let Some(result) = files.next().await {
                result?;
            }
        }
        for (path, mode, modified) in finished.into_iter().rev() {
            finish(&path, mode, modified).map_err(Failure::Local)?;
        }
        Ok(())
    }

    /// Lists a folder; names that lead elsewhere are refused.
    async fn names(&self, folder: &str) -> Result<Vec<(String, FileAttributes)>, Failure> {
        let handle = self.raw.opendir(folder).await?.handle;
        let mut found = Vec::new();
        let result = loop {
            match self.raw.readdir(&handle).await {
                Ok(names) if names.files.is_empty() => break Ok(()),
                Ok(names) => found.extend(names.files.into_iter().map(|file| (file.filename, file.attrs))),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let closed = self.raw.close(handle).await.map(drop);
        result.and(closed)?;
        found.retain(|(name, _)| name != "." && name != "..");
        match found.iter().find(|(name, _)| name.is_empty() || name.contains(['/', '\0'])) {
            Some((name, _)) => Err(refusal(format!("the machine sent a file that is not taken: {name:?}"))),
            None => Ok(found),
        }
    }

    async fn get_entry(
        &self,
        from: &str,
        size: u64,
        to: &Path,
        mode: u32,
        modified: std::time::SystemTime,
        counter: &Counter,
    ) -> Result<(), Failure> {
        let (sender, consumer) = write_file(to, None, &Counter::default());
        let read = self.read(from, size, &sender, counter).await;
        if read.is_ok() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let written = consumer.await.map_err(|e| Failure::Local(interrupted(e)))?;
        read?;
        written.map_err(Failure::Local)?;
        finish(to, mode, modified).map_err(Failure::Local)
    }
}

fn finish(path: &Path, mode: u32, modified: std::time::SystemTime) -> Result<()> {
    let failed = |e| io_error("set the mode of", path, e);
    let file = std::fs::File::open(path).map_err(failed)?;
    file.set_modified(modified).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}
