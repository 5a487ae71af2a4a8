//! A channel to an `scp` on the machine.

use bytes::{Buf, Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::SemaphorePermit;

use super::super::method::hinted;
use super::super::session::SshCommunicator;
use super::message::{LONGEST_LINE, Message};
use crate::engine::quote;
use crate::error::{Error, Kind, Result};

/// How much a sink may say that nobody has asked for.
const UNASKED: usize = 64 << 10;

/// One run of `scp` on the machine.
pub(super) struct Link<'a> {
    ssh: &'a SshCommunicator,
    _permit: SemaphorePermit<'a>,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    inbox: Inbox,
    /// What is being done, for errors.
    what: String,
}

/// What has come, and not been read.
#[derive(Default)]
struct Inbox {
    data: BytesMut,
    stderr: Vec<u8>,
    refused: bool,
    ended: bool,
}

impl Inbox {
    /// Waits for more; says whether there may be yet more.
    async fn pull(&mut self, read: &mut ChannelReadHalf) -> bool {
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => self.data.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = UNASKED.saturating_sub(self.stderr.len()).min(data.len());
                self.stderr.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            Some(ChannelMsg::Failure) => (self.refused, self.ended) = (true, true),
            // Its end may come before its last words.
            Some(ChannelMsg::Close) | None => self.ended = true,
            Some(_) => {}
        }
        !self.ended
    }
}

impl<'a> Link<'a> {
    /// Starts `scp` with flags and a path; `what` is like `cannot write /etc/motd`.
    pub(super) async fn start(ssh: &'a SshCommunicator, flags: &str, path: &str, what: String) -> Result<Link<'a>> {
        let (permit, channel) = ssh.open_channel().await?;
        let (read, write) = channel.split();
        let line = format!("scp {flags} {}", quote::word(path));
        write.exec(true, line).await.map_err(|e| ssh.lost(e))?;
        Ok(Link { ssh, _permit: permit, read, write, inbox: Inbox::default(), what })
    }

    async fn fill(&mut self) -> Result<()> {
        if self.inbox.ended || !self.inbox.pull(&mut self.read).await {
            return Err(self.broken());
        }
        Ok(())
    }

    /// Makes the error for an `scp` that ended too early.
    fn broken(&self) -> Error {
        if self.ssh.is_gone() {
            return self.ssh.gone().within(&self.what);
        }
        let said = String::from_utf8_lossy(&self.inbox.stderr).trim().to_owned();
        let missing = self.inbox.refused || said.contains("not found") || said.contains("is not recognized");
        if missing {
            let said = if said.is_empty() { "the server refuses to run commands".to_owned() } else { said };
            return Error::new(Kind::Unsupported, format!("{} on the machine: {said}", self.what))
                .hint("files need SFTP, a shell with cat, or scp on the machine; none of them works there");
        }
        let said = if said.is_empty() { "scp ended before the transfer did".to_owned() } else { said };
        hinted(Error::new(Kind::Io, format!("{} on the machine: {said}", self.what)), &said)
    }

    /// Makes the error for what the other side said.
    pub(super) fn refused(&self, said: &str) -> Error {
        let said = said.trim_start_matches("scp: ");
        hinted(Error::new(Kind::Io, format!("{} on the machine: {said}", self.what)), said)
    }

    /// Makes the error for something that an honest machine does not send.
    pub(super) fn hostile(&self, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Io, format!("{}: {why}", self.what))
            .hint("its scp is broken, or the machine is not to be trusted")
    }

    async fn byte(&mut self) -> Result<u8> {
        while self.inbox.data.is_empty() {
            self.fill().await?;
        }
        Ok(self.inbox.data.get_u8())
    }

    /// Waits for the answer to what was sent; a warning is an answer too.
    pub(super) async fn answer(&mut self) -> Result<()> {
        match self.byte().await? {
            0 => Ok(()),
            1 | 2 => {
                let line = self.raw_line().await?;
                Err(self.refused(&String::from_utf8_lossy(&line)))
            }
            other => {
                // A shell that says something before scp runs; scp(1) breaks over it likewise.
                let rest = self.raw_line().await.unwrap_or_default();
                let text = format!("{}{}", char::from(other), String::from_utf8_lossy(&rest));
                Err(self.hostile(format_args!("scp answered {text:?}")))
            }
        }
    }

    async fn raw_line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.byte().await? {
                b'\n' => return Ok(line),
                byte if line.len() < LONGEST_LINE => line.push(byte),
                _ => return Err(self.hostile("a line of it has no end")),
            }
        }
    }

    /// Receives a message; none when the other side has nothing more to say.
    pub(super) async fn message(&mut self) -> Result<Option<Message>> {
        while self.inbox.data.is_empty() {
            if self.inbox.ended || !self.inbox.pull(&mut self.read).await {
                let silent = self.inbox.stderr.is_empty() && !self.inbox.refused && !self.ssh.is_gone();
                return if silent { Ok(None) } else { Err(self.broken()) };
            }
        }
        let line = self.raw_line().await?;
        Message::parse(&line).map(Some).map_err(|why| self.hostile(why))
    }

    /// Receives some content, at most `most` bytes of it.
    pub(super) async fn content(&mut self, most: u64) -> Result<Bytes> {
        while self.inbox.data.is_empty() {
            self.fill().await?;
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.inbox.data.len());
        Ok(self.inbox.data.split_to(length).freeze())
    }

    /// Sends bytes, and listens meanwhile: an `scp` that has ended takes nothing more.
    pub(super) async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let Link { read, write, inbox, .. } = self;
        let sent = {
            let sending = write.data_bytes(bytes.into());
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => break Some(sent),
                    more = inbox.pull(read), if !inbox.ended => {
                        if !more || inbox.data.len() > UNASKED {
                            break None;
                        }
                    }
                }
            }
        };
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.ssh.lost(error)),
            None => Err(self.broken()),
        }
    }

    /// Sends a message.
    pub(super) async fn say(&mut self, message: &Message) -> Result<()> {
        self.send(message.line()).await
    }

    /// Sends the answer that all is well.
    pub(super) async fn agree(&mut self) -> Result<()> {
        self.send(Bytes::from_static(&[0])).await
    }

    /// Ends what was sent, and waits for the other side to end.
    pub(super) async fn finish(mut self) -> Result<()> {
        let _ = self.write.eof().await;
        while !self.inbox.ended && self.inbox.pull(&mut self.read).await {
            // A machine may say what it likes now; it is not kept.
            self.inbox.data.clear();
        }
        if self.ssh.is_gone() {
            return Err(self.broken());
        }
        let _ = self.write.close().await;
        Ok(())
    }
}
