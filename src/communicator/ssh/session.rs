//! A live connection and what it can do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Client;
use super::channel::{Input, Output};
use super::method::FileTransferMethod;
use super::orphans::Orphans;
use super::pty::Setting;
use super::route::{Link, Route};
use super::sftp;
use super::target::Target;
use crate::engine::{Command, Communicator, ExitStatus, FileMeta, Line, OutputSink, Sink, Source, quote};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// A stock sshd opens ten channels on a connection (`MaxSessions`); one is kept for SFTP, and one that was closed just now
/// may count still.
const CHANNELS: usize = 8;
/// How often, and after which pause, a refused channel is asked for again.
const REOPEN: (u32, Duration) = (40, Duration::from_millis(25));

/// One SSH connection.
pub(super) struct SshCommunicator {
    handle: Arc<Handle<Client>>,
    /// Cancelled when the connection is gone.
    token: CancellationToken,
    channels: Semaphore,
    pub(super) sftp: Mutex<sftp::Slot>,
    /// By which way files travel; none where the machine's means decide.
    pub(super) method: Option<FileTransferMethod>,
    /// Whether commands are run by a shell, once that was asked.
    pub(super) shell: OnceCell<bool>,
    address: String,
    /// What commands are given beside their input.
    setting: Setting,
    /// Whether the server let a command use the agent.
    pub(super) agent_granted: Mutex<bool>,
    /// How long the server may take to open a channel.
    pub(super) limit: Duration,
    /// What carries the local tunnels.
    tunnels: std::sync::Mutex<JoinSet<()>>,
    /// What ends the commands that nobody waits for any more.
    pub(super) orphans: Orphans,
    /// The hosts on the way, whose connections end after this one.
    _route: Route,
}

impl SshCommunicator {
    /// Takes a connection into use, with those that it goes through.
    pub(super) fn new(link: Link, route: Route, target: &Target) -> SshCommunicator {
        let handle = Arc::new(link.handle);
        let mut tunnels = JoinSet::new();
        target.tunnels.carry(&handle, &link.gone, &mut tunnels);
        SshCommunicator {
            orphans: Orphans::new(handle.clone()),
            handle,
            token: link.gone,
            channels: Semaphore::new(CHANNELS),
            sftp: Mutex::default(),
            method: target.file_transfer_method,
            shell: OnceCell::new(),
            address: target.address(),
            setting: Setting { pty: target.pty, agent: target.forward_agent.is_some() },
            agent_granted: Mutex::new(false),
            limit: target.handshake_timeout,
            tunnels: std::sync::Mutex::new(tunnels),
            _route: route,
        }
    }

    /// Opens a channel, waiting for a free one.
    pub(super) async fn open_channel(&self) -> Result<(SemaphorePermit<'_>, Channel<Msg>)> {
        let permit = self.channels.acquire().await.map_err(|_| self.gone())?;
        Ok((permit, self.open_extra_channel().await?))
    }

    /// Opens a channel beside the counted ones.
    pub(super) async fn open_extra_channel(&self) -> Result<Channel<Msg>> {
        let mut refusals = 0;
        loop {
            let opened = tokio::select! {
                biased;
                () = self.token.cancelled() => return Err(self.gone()),
                opened = tokio::time::timeout(self.limit, self.handle.channel_open_session()) => opened,
            };
            let Ok(opened) = opened else { return Err(self.stalled("open a channel")) };
            match opened {
                Ok(channel) => return Ok(channel),
                // The server's count of open channels lags behind.
                Err(russh::Error::ChannelOpenFailure(
                    ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::ResourceShortage,
                )) if refusals < REOPEN.0 => {
                    refusals += 1;
                    tokio::time::sleep(REOPEN.1).await;
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Runs `work` until it is done or the connection is gone.
    pub(super) async fn alive<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.token.cancelled() => Err(self.gone()),
        }
    }

    /// Tells whether the connection is no more.
    pub(super) fn is_gone(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Makes the error for a connection that is no more.
    pub(super) fn gone(&self) -> Error {
        Error::new(Kind::Connect, format!("the SSH connection to {} is gone", self.address))
            .hint("the machine rebooted, its network changed, or it died; expect_disconnect says that this is fine")
    }

    /// Makes the error for a server that lives and does not do what it was asked for.
    pub(super) fn stalled(&self, what: &str) -> Error {
        let message = format!("the SSH server {} did not {what} within {:?}", self.address, self.limit);
        Error::new(Kind::Connect, message).hint("`ssh_handshake_timeout` gives a slow server longer")
    }

    /// Wraps an error of the protocol.
    pub(super) fn lost(&self, error: russh::Error) -> Error {
        if self.token.is_cancelled() || matches!(error, russh::Error::SendError | russh::Error::Disconnect) {
            return self.gone();
        }
        Error::new(Kind::Connect, format!("the SSH connection to {} failed", self.address)).caused_by(error)
    }
}

/// Returns the line that runs a command with its environment. `env` works in every login shell and needs no leave of the
/// server, which refuses most variables sent by the protocol.
fn shell_line(command: &Command) -> String {
    if command.env.is_empty() {
        return command.line.to_shell();
    }
    let mut line = "env".to_owned();
    for (name, value) in &command.env {
        line.push_str(&format!(" {name}={}", quote::word(value)));
    }
    match &command.line {
        // Still the login shell's own language.
        Line::Shell(script) => line.push_str(&format!(" \"$SHELL\" -c {}", quote::word(script))),
        Line::Argv(argv) => line.push_str(&format!(" {}", quote::join(argv))),
    }
    line
}

#[async_trait]
impl Communicator for SshCommunicator {
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus> {
        let (line, stdin) = (shell_line(command), command.stdin.clone().map(Bytes::from).unwrap_or_default());
        let (line, input) =
            if self.setting.pty { self.for_terminal(line, stdin).await? } else { (line, Input::Bytes(stdin)) };
        self.run_in(self.setting, line, input, &mut Output::Sink(out)).await
    }

    async fn upload(&self, what: Source<'_>, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        match what {
            Source::File(path) => self.upload_file(path, to, meta, counter).await,
            Source::Bytes(bytes) => self.upload_bytes(bytes, to, meta, counter).await,
            Source::Tree(path) => self.upload_tree(path, to, counter).await,
        }
    }

    async fn download(&self, from: &str, to: Sink<'_>, counter: &Counter) -> Result<u64> {
        match to {
            Sink::File(path) => self.download_file(from, path, counter).await,
            Sink::Bytes(bytes) => self.download_bytes(from, bytes, counter).await,
            Sink::Tree(path) => self.download_tree(from, path, counter).await,
        }
    }

    async fn interact(&self, command: Option<&str>) -> Result<ExitStatus> {
        self.interact_with(command).await
    }

    async fn close(&self) {
        self.orphans.ended().await;
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
        // The task that owns the socket ends after the good-bye; a machine that is gone must not hold us up.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.token.cancelled()).await;
        self.channels.close();
        self.token.cancel();
        if let Ok(mut tunnels) = self.tunnels.lock() {
            tunnels.abort_all();
        }
    }

    async fn closed(&self) {
        self.token.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_goes_before_the_command() {
        let mut command = Command::shell("echo $A | cat");
        assert_eq!(shell_line(&command), "echo $A | cat");
        command.env = vec![("A".into(), "it's".into()), ("B".into(), String::new())];
        assert_eq!(shell_line(&command), r#"env A='it'\''s' B='' "$SHELL" -c 'echo $A | cat'"#);
        let mut command = Command::argv(["printenv", "A B"]);
        command.env = vec![("A".into(), "1".into())];
        assert_eq!(shell_line(&command), "env A=1 printenv 'A B'");
    }
}
