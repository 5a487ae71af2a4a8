//! An SSH server that asks for a password, which a test cannot have of OpenSSH without changing this host's users.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Password,
    /// One hidden prompt.
    KeyboardInteractive,
    /// A password first, then a hidden prompt.
    Both,
    /// Whatever is given is never answered.
    Nothing,
    /// A key, with SHA-1 for RSA; none is right.
    Sha1,
    /// A password, and then no channel is ever opened.
    PasswordAndNoChannel,
}

pub const PASSWORD: &str = "open sesame";

/// A running server; dropping it ends it.
pub struct Stub {
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Handler(Asks);

fn methods(kinds: &[MethodKind]) -> MethodSet {
    MethodSet::from(kinds)
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(match (password == PASSWORD, self.0) {
            (_, Asks::Nothing) => std::future::pending::<Auth>().await,
            (true, Asks::Password | Asks::PasswordAndNoChannel) => Auth::Accept,
            (true, Asks::Both) => Auth::Reject {
                proceed_with_methods: Some(methods(&[MethodKind::KeyboardInteractive])),
                partial_success: true,
            },
            _ => Auth::reject(),
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        Ok(match response {
            None => Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false), (Cow::Borrowed("Colour: "), true)]),
            },
            Some(answers) => {
                let answers: Vec<_> = answers.map(|a| String::from_utf8_lossy(&a).into_owned()).collect();
                if answers == [PASSWORD, ""] { Auth::Accept } else { Auth::reject() }
            }
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.0 == Asks::PasswordAndNoChannel {
            // Dropped, it would be refused.
            std::mem::forget(reply);
            return Ok(());
        }
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let line = String::from_utf8_lossy(line).into_owned();
        let is = |name: &str| line.contains(name);
        if is("say nothing") {
            return Ok(());
        }
        if is("refuse") {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        if is("stop in the middle") {
            return session.data(id, "half a li");
        }
        if is("hang up") {
            session.data(id, "half a li")?;
            return Err(russh::Error::Disconnect);
        }
        session.data(id, line.clone())?;
        if is("stop before the status") {
            return session.eof(id);
        }
        if !is("keep the status") {
            session.exit_status_request(id, 0)?;
        }
        if is("go on for ever") {
            let handle = session.handle();
            tokio::spawn(async move { while handle.data(id, vec![b'x'; 32 << 10]).await.is_ok() {} });
            return Ok(());
        }
        session.eof(id)?;
        session.close(id)
    }
}

impl Stub {
    /// Starts a server on a free port. Commands are answered with their own text; some words among them say how else.
    pub async fn start(asks: Asks) -> Stub {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let offered = match asks {
            Asks::Password | Asks::Both | Asks::Nothing | Asks::PasswordAndNoChannel => {
                methods(&[MethodKind::Password])
            }
            Asks::KeyboardInteractive => methods(&[MethodKind::KeyboardInteractive]),
            Asks::Sha1 => methods(&[MethodKind::PublicKey]),
        };
        let mut preferred = Preferred::default();
        if asks == Asks::Sha1 {
            preferred.key = Cow::Borrowed(&[Algorithm::Ed25519, Algorithm::Rsa { hash: None }]);
        }
        let config = Arc::new(server::Config {
            methods: offered,
            preferred,
            keys: vec![key],
            auth_rejection_time: Duration::from_millis(50),
            ..server::Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let config = config.clone();
                sessions.spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, Handler(asks)).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Stub { port, task }
    }
}
