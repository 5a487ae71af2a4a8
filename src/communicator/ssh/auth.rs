//! Authentication: every credential there is, by the methods the server offers.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, signature};
use russh::{AgentAuthError, MethodKind, MethodSet};

use super::attempt::Client;
use super::failure::{Failure, Trace};
use super::keys::{self, Loaded};
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
    hint: Option<String>,
    /// Whether our RSA keys may sign with SHA-1.
    sha1: bool,
    /// The server accepts either any RSA signature, or only some; asked once, since asking may take a second.
    rsa_hash: Option<Rsa>,
}

/// How an RSA key may sign for a server.
#[derive(Clone, Copy)]
enum Rsa {
    With(Option<HashAlg>),
    /// It knows SHA-1 only, and that was not asked for.
    OnlySha1,
}

/// Signs for a certificate with its key.
struct CertificateSigner(Arc<PrivateKey>);

impl russh::Signer for CertificateSigner {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let signed: Result<Signature, signature::Error> = match self.0.key_data() {
            KeypairData::Rsa(pair) => signature::Signer::try_sign(&(pair, hash), &to_sign),
            _ => signature::Signer::try_sign(&*self.0, &to_sign),
        };
        let signed = signed.map_err(|_| russh::keys::Error::CouldNotReadKey)?;
        let mut data = to_sign;
        signed.encode_prefixed(&mut data).map_err(russh::keys::Error::from)?;
        Ok(data)
    }
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
        hint: None,
        sha1: target.algorithms.sha1_signatures,
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
        let (tried, offered) = (self.tried.clone(), names(&self.offered));
        Failure::Auth { tried, offered, note: self.note.take(), hint: self.hint.take() }
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
            if self.key(key).await? {
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

    /// Tries a key of a file: with its certificate, then without.
    async fn key(&mut self, loaded: &Loaded) -> Result<bool, russh::Error> {
        let Some(hash) = self.hash_for(loaded.key.algorithm().is_rsa(), &loaded.name).await? else { return Ok(false) };
        self.trying(loaded.name.clone());
        if let Some(certificate) = &loaded.certificate {
            let mut signer = CertificateSigner(Arc::clone(&loaded.key));
            let tried =
                self.handle.authenticate_certificate_with(self.user, certificate.clone(), hash, &mut signer).await;
            let tried = tried.map_err(|error| match error {
                AgentAuthError::Send(_) => russh::Error::SendError,
                AgentAuthError::Key(error) => error.into(),
            })?;
            if self.take(tried) {
                return Ok(true);
            }
            self.note = self.note.take().or_else(|| keys::about(certificate, self.user));
            if !self.offers(MethodKind::PublicKey) {
                return Ok(false);
            }
        }
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&loaded.key), hash);
        let result = self.handle.authenticate_publickey(self.user, key).await?;
        if self.take(result) {
            return Ok(true);
        }
        // OpenSSH names what it can do, not what it is configured to take.
        if !self.sha1 || hash.is_none() || !loaded.key.algorithm().is_rsa() || !self.offers(MethodKind::PublicKey) {
            return Ok(false);
        }
        self.trying(format!("{} with SHA-1", loaded.name));
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&loaded.key), None);
        let result = self.handle.authenticate_publickey(self.user, key).await?;
        Ok(self.take(result))
    }

    /// Returns how a key signs for this server, or none when it may not.
    async fn hash_for(&mut self, rsa: bool, name: &str) -> Result<Option<Option<HashAlg>>, russh::Error> {
        if !rsa {
            return Ok(Some(None));
        }
        match self.rsa_hash().await? {
            Rsa::With(hash) => Ok(Some(hash)),
            Rsa::OnlySha1 => {
                self.tried.push(format!("not {name}, as the server takes RSA signatures with SHA-1 only"));
                self.hint = Some(
                    "`ssh_legacy = true` (or \"ssh-rsa\" in `ssh_host_key_algorithms`) allows SHA-1; a key of another kind needs no such thing"
                        .into(),
                );
                Ok(None)
            }
        }
    }

    async fn rsa_hash(&mut self) -> Result<Rsa, russh::Error> {
        if let Some(hash) = self.rsa_hash {
            return Ok(hash);
        }
        let hash = match self.handle.best_supported_rsa_hash().await? {
            Some(None) if !self.sha1 => Rsa::OnlySha1,
            Some(hash) => Rsa::With(hash),
            // A server that does not say is of the time before SHA-2 was known, or one that knows it all the same.
            None if self.sha1 => Rsa::With(None),
            None => Rsa::With(Some(HashAlg::Sha256)),
        };
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
            if !self.offers(MethodKind::PublicKey) {
                break;
            }
            let (rsa, name) = match &identity {
                AgentIdentity::PublicKey { key, comment } => (key.algorithm().is_rsa(), format!("agent key {comment}")),
                AgentIdentity::Certificate { certificate, comment } => {
                    (certificate.algorithm().is_rsa(), format!("agent certificate {comment}"))
                }
            };
            let Some(hash) = self.hash_for(rsa, &name).await? else { continue };
            self.trying(name);
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent).await
                }
            };
            match result {
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
