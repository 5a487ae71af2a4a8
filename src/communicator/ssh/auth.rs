//! Authentication: every credential there is, by the methods the server offers.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};

use super::attempt::{Client, Failure, Trace};
use super::target::Target;

/// More keys than this and a stock sshd hangs up (`MaxAuthTries 6`) before the password is tried.
const AGENT_KEYS: usize = 4;
/// A server that asks more rounds of questions than this is not after a password.
const ROUNDS: usize = 8;

struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    user: &'a str,
    trace: &'a Trace,
    tried: Vec<String>,
    offered: MethodSet,
    note: Option<String>,
    /// The server accepts either any RSA signature, or only some; asked once, since asking may take a second.
    rsa_hash: Option<Option<HashAlg>>,
}

/// Logs in, or says what was tried and what the server offers.
pub(super) async fn authenticate(handle: &mut Handle<Client>, target: &Target, trace: &Trace) -> Result<(), Failure> {
    let mut attempt = Attempt {
        handle,
        user: &target.user,
        trace,
        tried: Vec::new(),
        offered: MethodSet::empty(),
        note: None,
        rsa_hash: None,
    };
    match attempt.run(target).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(attempt.refused()),
        Err(error) => {
            attempt.note = Some(format!("the server ended the connection: {error}"));
            Err(attempt.refused())
        }
    }
}

impl Attempt<'_> {
    fn refused(&mut self) -> Failure {
        if self.note.is_none() && self.handle.is_closed() {
            self.note = Some("the server ended the connection".into());
        }
        Failure::Auth { tried: self.tried.clone(), offered: names(&self.offered), note: self.note.take() }
    }

    /// Takes a method's result: true means in.
    fn take(&mut self, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, partial_success } => {
                // A server that hangs up offers nothing; keep what it said before.
                if !remaining_methods.is_empty() {
                    self.offered = remaining_methods;
                }
                if partial_success {
                    self.note = Some("one method was accepted, and another one is required".into());
                }
                self.trace.authenticating(&self.tried, &names(&self.offered));
                false
            }
        }
    }

    fn offers(&self, method: MethodKind) -> bool {
        !self.handle.is_closed() && self.offered.contains(&method)
    }

    fn trying(&mut self, what: impl Into<String>) {
        self.tried.push(what.into());
        self.trace.authenticating(&self.tried, &names(&self.offered));
    }

    async fn run(&mut self, target: &Target) -> Result<bool, russh::Error> {
        // Asking without credentials is how a server is made to name its methods; a few let everyone in.
        let result = self.handle.authenticate_none(self.user).await?;
        if self.take(result) {
            return Ok(true);
        }
        for key in &target.credentials.keys {
            if !self.offers(MethodKind::PublicKey) {
                break;
            }
            self.trying(key.name.clone());
            let hash = if key.key.algorithm().is_rsa() { self.rsa_hash().await? } else { None };
            let key = PrivateKeyWithHashAlg::new(Arc::clone(&key.key), hash);
            let result = self.handle.authenticate_publickey(self.user, key).await?;
            if self.take(result) {
                return Ok(true);
            }
        }
        if let Some(socket) = &target.credentials.agent
            && self.offers(MethodKind::PublicKey)
            && self.agent(socket).await?
        {
            return Ok(true);
        }
        let Some(password) = &target.credentials.password else { return Ok(false) };
        if self.offers(MethodKind::Password) {
            self.trying("password");
            let result = self.handle.authenticate_password(self.user, password).await?;
            if self.take(result) {
                return Ok(true);
            }
        }
        if target.credentials.keyboard_interactive && self.offers(MethodKind::KeyboardInteractive) {
            return self.keyboard_interactive(password).await;
        }
        Ok(false)
    }

    async fn rsa_hash(&mut self) -> Result<Option<HashAlg>, russh::Error> {
        if let Some(hash) = self.rsa_hash {
            return Ok(hash);
        }
        // A server that does not say is taken for one that knows SHA-2: SHA-1 signatures are refused everywhere now.
        let hash = self.handle.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha256));
        self.rsa_hash = Some(hash);
        Ok(hash)
    }

    async fn agent(&mut self, socket: &std::path::Path) -> Result<bool, russh::Error> {
        let identities = async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        let (mut agent, identities) = match identities.await {
            Ok(both) => both,
            Err(error) => {
                self.tried.push(format!("the agent (it does not answer: {error})"));
                return Ok(false);
            }
        };
        if identities.is_empty() {
            self.tried.push("the agent (it holds no keys)".into());
        }
        for identity in identities.into_iter().take(AGENT_KEYS) {
            let AgentIdentity::PublicKey { key, comment } = identity else { continue };
            if !self.offers(MethodKind::PublicKey) {
                break;
            }
            self.trying(format!("agent key {comment}"));
            let hash = if key.algorithm().is_rsa() { self.rsa_hash().await? } else { None };
            match self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent).await {
                Ok(result) => {
                    if self.take(result) {
                        return Ok(true);
                    }
                }
                Err(error) => self.tried.push(format!("(the agent did not sign: {error})")),
            }
        }
        Ok(false)
    }

    /// Answers every hidden prompt with the password, and shown ones with nothing.
    async fn keyboard_interactive(&mut self, password: &str) -> Result<bool, russh::Error> {
        self.trying("keyboard-interactive");
        let mut response = self.handle.authenticate_keyboard_interactive_start(self.user, None::<String>).await?;
        for _ in 0..ROUNDS {
            match response {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    return Ok(self.take(AuthResult::Failure { remaining_methods, partial_success }));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers =
                        prompts.iter().map(|p| if p.echo { String::new() } else { password.to_owned() }).collect();
                    response = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
                }
            }
        }
        self.note = Some("it kept asking questions".into());
        Ok(false)
    }
}

fn names(methods: &MethodSet) -> Vec<String> {
    methods.iter().map(String::from).collect()
}
