//! Files and folders to the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;

use super::super::{pipe, scripts, tree};
use super::channel::{Input, Output};
use super::content::{Content, interrupted, no_shell};
use super::method::{FileTransferMethod, accept, temporary_name, word};
use super::session::SshCommunicator;
use super::sftp::{Sftp, home_relative};
use crate::engine::{ExitStatus, FileMeta};
use crate::error::{Error, Kind, Result, io_error};
use crate::ui::event::Counter;

/// From this size on a file goes through the shell's `cat`, which was measured to take two thirds of the time of SFTP
/// with a full pipe: nobody answers block by block. Smaller ones save the start of a shell.
pub(super) const STREAM_FROM: u64 = 32 << 20;
const DEFAULT_MODE: u32 = 0o644;
/// Holes below this are sent as zeros.
const HOLES_FROM: u64 = 1 << 20;

/// Returns a path as a program on the machine takes it.
pub(super) fn operand(path: &str) -> String {
    scripts::operand(home_relative(path))
}

impl SshCommunicator {
    pub(super) async fn upload_file(&self, path: &Path, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        let (content, found) = Content::of_file(path).await?;
        let to = match (to.ends_with('/'), path.file_name()) {
            (true, Some(name)) => format!("{to}{}", name.to_string_lossy()),
            _ => to.to_owned(),
        };
        let mode = meta.mode.unwrap_or(found.permissions().mode() & 0o7777);
        self.upload_content(&content, &to, FileMeta { mode: Some(mode), ..meta }, counter).await
    }

    pub(super) async fn upload_bytes(&self, bytes: &[u8], to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        let content = Content::Bytes(Bytes::copy_from_slice(bytes));
        self.upload_content(&content, to, meta, counter).await
    }

    /// Sends a file by the way asked for; else by the fastest that the machine has.
    async fn upload_content(&self, content: &Content, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        let mode = meta.mode.unwrap_or(DEFAULT_MODE);
        let temporary = temporary_name(meta.transfer);
        match self.method {
            Some(FileTransferMethod::Sftp) => {
                let sftp = self.sftp().await?.ok_or_else(no_sftp)?;
                return self.upload_by_sftp(&sftp, content, to, mode, &temporary, counter).await;
            }
            Some(FileTransferMethod::Scp) => return self.upload_by_scp(content, to, mode, &temporary, counter).await,
            None => {}
        }
        // Only SFTP sends a file in pieces, and so can leave the holes out.
        if (content.size() < STREAM_FROM || content.has_holes())
            && let Some(sftp) = self.sftp().await?
        {
            return self.upload_by_sftp(&sftp, content, to, mode, &temporary, counter).await;
        }
        let before = counter.get();
        match self.upload_by_shell(content, to, mode, &temporary, counter).await {
            Err(error) if self.wants_another_way(&error).await => {
                counter.set(before);
                match self.sftp().await? {
                    Some(sftp) => self.upload_by_sftp(&sftp, content, to, mode, &temporary, counter).await,
                    None => self.upload_by_scp(content, to, mode, &temporary, counter).await,
                }
            }
            result => result,
        }
    }

    async fn upload_by_sftp(
        &self,
        sftp: &Sftp,
        content: &Content,
        to: &str,
        mode: u32,
        temporary: &str,
        counter: &Counter,
    ) -> Result<u64> {
        match self.with_sftp(sftp, sftp.put(content, home_relative(to), mode, temporary, counter)).await? {
            Ok(()) => Ok(content.size()),
            Err(failure) => {
                let error = self.sftp_error(format!("cannot write {to}"), failure).await;
                // OpenSSH says only "Failure" where more is known.
                if error.message().ends_with("Failure") && self.is_folder(sftp, to).await {
                    return Err(Error::new(Kind::Io, format!("cannot write {to} on the machine: it is a folder")));
                }
                Err(error)
            }
        }
    }

    async fn is_folder(&self, sftp: &Sftp, path: &str) -> bool {
        let look = async { Ok(sftp.is_folder(home_relative(path)).await) };
        matches!(self.with_sftp(sftp, look).await, Ok(Ok(true)))
    }

    async fn upload_by_shell(
        &self,
        content: &Content,
        to: &str,
        mode: u32,
        temporary: &str,
        counter: &Counter,
    ) -> Result<u64> {
        let (pieces, producer) = content.read();
        let input = Input::Pipe { pieces, producer, counter: Some(counter.clone()) };
        self.receive_file(input, to, mode, content.size(), temporary, "").await?;
        Ok(content.size())
    }

    /// Has the machine's shell receive a file, or with a last word take over the one under the temporary name.
    pub(super) async fn receive_file(
        &self,
        input: Input,
        to: &str,
        mode: u32,
        size: u64,
        temporary: &str,
        there: &str,
    ) -> Result<()> {
        let (mode, size, word) = (format!("{mode:o}"), size.to_string(), word());
        let line = scripts::line(scripts::RECEIVE, &[&operand(to), &mode, &size, temporary, &word, there]);
        let mut output = Output::answer();
        let status = self.run(line, input, &mut output).await?;
        accept(status, &output, || format!("cannot write {to}"))?;
        if output.says(&word) { Ok(()) } else { Err(no_shell().within(format!("cannot write {to}"))) }
    }

    pub(super) async fn upload_tree(&self, dir: &Path, to: &str, counter: &Counter) -> Result<u64> {
        let found = tokio::fs::metadata(dir).await.map_err(|e| io_error("read", dir, e))?;
        if !found.is_dir() {
            return Err(Error::new(Kind::Io, format!("{} is a file, not a folder", dir.display())));
        }
        let before = counter.get();
        match self.upload_tree_by_tar(dir, to, counter).await {
            Err(error) if self.wants_another_way(&error).await => {
                counter.set(before);
                match self.sftp().await? {
                    Some(sftp) => self.upload_tree_by_sftp(&sftp, dir, to, counter).await,
                    None => self.upload_tree_by_scp(dir, to, counter).await,
                }
            }
            result => result,
        }
    }

    async fn upload_tree_by_tar(&self, dir: &Path, to: &str, counter: &Counter) -> Result<u64> {
        let (root, word) = (dir.to_owned(), word());
        let holes = tokio::task::spawn_blocking(move || tree::survey(&root)).await.map_err(interrupted)??.holes;
        let sparse = holes >= HOLES_FROM && self.tar_is_sparse().await?;
        let (writer, pieces) = pipe::outgoing();
        let before = counter.get();
        let (root, counted, end) = (dir.to_owned(), counter.clone(), word.clone());
        let (packing, packed) = tokio::sync::oneshot::channel::<()>();
        let producer = tokio::task::spawn_blocking(move || {
            let _packing = packing;
            tree::pack(&root, writer, tree::Packing { sparse, end: Some(&end) }, &counted)
        });
        let line = scripts::line(scripts::RECEIVE_TREE, &[&operand(to), &temporary_name(None), &word, &word]);
        let mut output = Output::answer();
        let ran = self.run(line, Input::Pipe { pieces, producer, counter: None }, &mut output).await;
        // Nobody takes its pieces any more, so it ends; what it still counts must not mix with another way's.
        let _ = packed.await;
        accept(ran?, &output, || format!("cannot unpack the folder into {to}"))?;
        if !output.says(&word) {
            return Err(no_shell().within(format!("cannot unpack the folder into {to}")));
        }
        Ok(counter.get() - before)
    }

    async fn tar_is_sparse(&self) -> Result<bool> {
        let word = word();
        let mut output = Output::answer();
        let line = scripts::line(scripts::TAR_IS_SPARSE, &[&word]);
        let status = self.run(line, Input::Bytes(Bytes::new()), &mut output).await?;
        Ok(status == ExitStatus::Code(0) && output.says(&word))
    }
}

/// Makes the error for a machine without SFTP, where it was asked for.
pub(super) fn no_sftp() -> Error {
    Error::new(Kind::Unsupported, "the SSH server has no SFTP, which `ssh_file_transfer_method` asks for")
        .hint("leave the option out: then files go by what the machine has")
}
