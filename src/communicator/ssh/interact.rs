//! A person at the machine: a shell or a command with this process's terminal or pipes (RFC 4254, sections 6.2 to 6.10).

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::channel::signal_text;
use super::session::SshCommunicator;
use crate::engine::ExitStatus;
use crate::error::{Context, Error, Kind, Result};
use crate::host::terminal::{self, Input, Raw};

impl SshCommunicator {
    /// Connects standard input and output with a shell, or with a command, until it ends. On a terminal it gets one, too.
    pub(super) async fn interact_with(&self, command: Option<&str>) -> Result<ExitStatus> {
        let channel = self.open_extra_channel().await?;
        let (mut read, write) = channel.split();
        let begun = async {
            let is_terminal = terminal::is_interactive();
            if is_terminal {
                let kind = std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "xterm".into());
                let (columns, rows) = terminal::size();
                write.request_pty(true, &kind, columns, rows, 0, 0, &[]).await.map_err(|e| self.lost(e))?;
                if !super::pty::granted(&mut read).await {
                    return Err(Error::new(Kind::Unsupported, "the SSH server refuses a terminal"));
                }
            }
            match command {
                Some(line) => write.exec(true, line).await,
                None => write.request_shell(true).await,
            }
            .map_err(|e| self.lost(e))?;
            Ok(is_terminal)
        };
        let is_terminal = match tokio::time::timeout(self.limit, self.alive(begun)).await {
            Ok(begun) => begun?,
            Err(_) => return Err(self.stalled("begin a shell")),
        };
        let listen = |kind| signal(kind).context(Kind::Host, "cannot listen for signals");
        let mut resized = listen(SignalKind::window_change())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let raw = if is_terminal { Some(Raw::enter()?) } else { None };
        let mut input = Input::open()?;
        let status = tokio::select! {
            biased;
            status = self.show(&mut read) => status,
            // In a terminal that is raw, Ctrl-C is a key like any other.
            _ = interrupt.recv(), if raw.is_none() => {
                self.orphans.abandon(write);
                return Ok(ExitStatus::Signal("INT".into()));
            }
            never = type_in(&write, &mut input, &mut resized, is_terminal) => match never {},
        };
        let _ = write.close().await;
        status
    }

    async fn show(&self, read: &mut ChannelReadHalf) -> Result<ExitStatus> {
        let mut status = None;
        loop {
            match read.wait().await {
                Some(ChannelMsg::Data { data }) => terminal::write(data.to_vec(), false).await?,
                Some(ChannelMsg::ExtendedData { data, .. }) => terminal::write(data.to_vec(), true).await?,
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    status = Some(ExitStatus::Code(i32::try_from(exit_status).unwrap_or(i32::MAX)));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    status = Some(ExitStatus::Signal(signal_text(&signal_name)));
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Error::new(Kind::Unsupported, "the SSH server refuses to run a shell"));
                }
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        status.ok_or_else(|| self.gone())
    }
}

/// Sends what is typed, and the size of the window when it changes.
async fn type_in(
    write: &ChannelWriteHalf<Msg>,
    input: &mut Input,
    resized: &mut Signal,
    is_terminal: bool,
) -> std::convert::Infallible {
    let mut ended = false;
    loop {
        tokio::select! {
            piece = input.next(), if !ended => match piece {
                Some(piece) => ended = write.data_bytes(piece).await.is_err(),
                None => {
                    ended = true;
                    let _ = match is_terminal {
                        // Nobody is left at it.
                        true => write.close().await,
                        false => write.eof().await,
                    };
                }
            },
            _ = resized.recv() => {
                let (columns, rows) = terminal::size();
                let _ = write.window_change(columns, rows, 0, 0).await;
            }
        }
    }
}
