//! Commands with a terminal (RFC 4254, sections 6.2 and 8), and what else is asked for before one starts.

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty};

use super::channel::{Input, Output};
use super::session::SshCommunicator;
use crate::engine::quote;
use crate::error::{Error, Kind, Result};

/// The end of input, as a terminal has it.
const END: u8 = 4;
/// Longer lines are cut off by a terminal (`MAX_CANON` of Linux is 4096 with the line's end).
const LONGEST_LINE: usize = 4095;
/// Does away with everything that would change what is sent or received: no echo, no signals from control characters, no
/// other line ends. Lines and the end of input stay, for programs that read.
const MODES: &[(Pty, u32)] = &[
    (Pty::VINTR, 255),
    (Pty::VQUIT, 255),
    (Pty::VERASE, 255),
    (Pty::VKILL, 255),
    (Pty::VEOF, END as u32),
    (Pty::VSTART, 255),
    (Pty::VSTOP, 255),
    (Pty::VSUSP, 255),
    (Pty::VREPRINT, 255),
    (Pty::VWERASE, 255),
    (Pty::VLNEXT, 255),
    (Pty::ICRNL, 0),
    (Pty::INLCR, 0),
    (Pty::IGNCR, 0),
    (Pty::IXON, 0),
    (Pty::IUTF8, 0),
    (Pty::ISIG, 0),
    (Pty::ICANON, 1),
    (Pty::IEXTEN, 0),
    (Pty::ECHO, 0),
    (Pty::ECHONL, 0),
    (Pty::ONLCR, 0),
    (Pty::TTY_OP_ISPEED, 38_400),
    (Pty::TTY_OP_OSPEED, 38_400),
];
const SIZE: (u32, u32) = (120, 40);

/// What a command on the machine is given beside its input.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Setting {
    pub pty: bool,
    pub agent: bool,
}

impl SshCommunicator {
    /// Asks for the terminal and the agent before a command starts.
    pub(super) async fn set_up(
        &self,
        setting: Setting,
        read: &mut ChannelReadHalf,
        write: &ChannelWriteHalf<Msg>,
    ) -> Result<()> {
        let asking = async {
            if setting.agent {
                // OpenSSH grants it once for all commands of a connection and refuses to do so again; others want to be
                // asked for each. So the first answer counts.
                let mut before = self.agent_granted.lock().await;
                write.agent_forward(true).await.map_err(|e| self.lost(e))?;
                *before |= granted(read).await;
                if !*before {
                    return Err(Error::new(Kind::Unsupported, "the SSH server refuses agent forwarding").hint(
                        "its sshd_config must have AllowAgentForwarding yes; or leave out ssh_disable_agent_forwarding",
                    ));
                }
            }
            if setting.pty {
                write.request_pty(true, "xterm", SIZE.0, SIZE.1, 0, 0, MODES).await.map_err(|e| self.lost(e))?;
                if !granted(read).await {
                    return Err(Error::new(Kind::Unsupported, "the SSH server refuses a terminal")
                        .hint("its sshd_config must have PermitTTY yes; or leave out ssh_pty"));
                }
            }
            Ok(())
        };
        match tokio::time::timeout(self.limit, self.alive(asking)).await {
            Ok(done) => done,
            Err(_) => Err(self.stalled("set a command up")),
        }
    }
}

pub(super) async fn granted(read: &mut ChannelReadHalf) -> bool {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return false,
            Some(_) => {}
        }
    }
}

/// Returns the input as a terminal takes it, with its end; none when it would not arrive as it is.
fn typed(input: &[u8]) -> Option<Bytes> {
    let fits = input.split(|b| *b == b'\n').all(|line| line.len() < LONGEST_LINE);
    if !fits || input.contains(&END) {
        return None;
    }
    let mut typed = input.to_vec();
    // Within a line, the first one only ends the line.
    if !input.is_empty() && !input.ends_with(b"\n") {
        typed.push(END);
    }
    typed.push(END);
    Some(typed.into())
}

impl SshCommunicator {
    /// Returns the line and the input that run a command with a terminal. Input that a terminal would spoil goes into a
    /// file first, which is gone once the command has opened it.
    pub(super) async fn for_terminal(&self, line: String, input: Bytes) -> Result<(String, Input)> {
        if let Some(typed) = typed(&input) {
            return Ok((line, Input::Typed(typed)));
        }
        let store = r#"umask 077; f=$(mktemp) && cat >"$f" && printf %s "$f""#;
        let mut path = Vec::new();
        let mut output = Output::Memory { stdout: &mut path, path: "", stderr: Vec::new(), counter: None };
        let status = self.run(quote::join(&["sh", "-c", store]), Input::Bytes(input), &mut output).await?;
        let errors = output.errors();
        if status.code() != 0 || path.is_empty() {
            return Err(Error::new(
                Kind::Command,
                format!("the command's input could not be stored on the machine for its terminal: {errors}"),
            ));
        }
        let path = String::from_utf8_lossy(&path).into_owned();
        let run = r#"exec <"$1"; rm -f -- "$1"; exec "${SHELL:-sh}" -c "$2""#;
        Ok((
            quote::join(&["sh", "-c", run, "sh", path.as_str(), line.as_str()]),
            Input::Typed(Bytes::from_static(&[END])),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_spoil_is_not_typed() {
        assert_eq!(typed(b"").unwrap(), [4].as_slice());
        assert_eq!(typed(b"a\n").unwrap(), b"a\n\x04".as_slice());
        assert_eq!(typed(b"a").unwrap(), b"a\x04\x04".as_slice());
        assert!(typed(b"a\x04b\n").is_none());
        assert!(typed(&[b'x'; 5000]).is_none());
        assert!(typed(&[vec![b'x'; 4000], vec![b'\n'], vec![b'y'; 4000]].concat()).is_some());
    }
}
