//! Which host key a machine must have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{HostPatterns, KnownHosts, Marker};
use russh::keys::ssh_key::{Fingerprint, PublicKey};
use russh::keys::{Algorithm, HashAlg};
use serde::Deserialize;
use sha1::Sha1;

use super::options::{option_error, path_of};
use crate::engine::BuildCx;
use crate::error::{Error, Result};

/// What is known of the machine's host key beforehand. Without it, the first key seen is pinned.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostKeyOptions {
    /// The host key: its fingerprint as `ssh-keygen -l` shows it, `SHA256:…`, or the public key, `ssh-ed25519 AAAA…`.
    pub ssh_host_key: Option<String>,
    /// A `known_hosts` file that has the machine's host key; `~/` and paths relative to the script are understood.
    pub ssh_known_hosts_file: Option<PathBuf>,
}

impl HostKeyOptions {
    /// Returns the host key that the machine called `host` must have.
    pub(super) fn expected(&self, host: &str, port: u16, cx: &BuildCx) -> Result<HostKey> {
        match (&self.ssh_host_key, &self.ssh_known_hosts_file) {
            (Some(_), Some(_)) => Err(option_error(
                "ssh_host_key",
                "is given together with ssh_known_hosts_file: one of them says which key the machine has",
            )),
            (Some(text), None) => HostKey::parse("ssh_host_key", text),
            (None, Some(path)) => HostKey::known("ssh_known_hosts_file", &path_of(path, cx), host, port),
            (None, None) => Ok(HostKey::default()),
        }
    }
}

#[derive(Debug, Clone)]
enum Expected {
    Key(PublicKey),
    Fingerprint(Fingerprint),
}

impl Expected {
    fn is(&self, found: &PublicKey) -> bool {
        match self {
            Expected::Key(key) => key.key_data() == found.key_data(),
            Expected::Fingerprint(fingerprint) => found.fingerprint(fingerprint.algorithm()) == *fingerprint,
        }
    }

    fn describe(&self) -> String {
        match self {
            Expected::Key(key) => fingerprint(key),
            Expected::Fingerprint(fingerprint) => fingerprint.to_string(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Known beforehand: one of them it must be.
    expected: Vec<Expected>,
    revoked: Vec<PublicKey>,
    /// The one of the first login.
    pinned: Option<PublicKey>,
}

/// The host key of one machine: the one it must have, or the first one seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HostKey(Arc<Mutex<State>>);

impl HostKey {
    fn lock(&self) -> MutexGuard<'_, State> {
        match self.0.lock() {
            Ok(key) => key,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn of(expected: Vec<Expected>, revoked: Vec<PublicKey>) -> HostKey {
        HostKey(Arc::new(Mutex::new(State { expected, revoked, pinned: None })))
    }

    /// Returns the expectation of one key.
    pub fn exactly(key: &PublicKey) -> HostKey {
        HostKey::of(vec![Expected::Key(key.clone())], Vec::new())
    }

    /// Reads a fingerprint or a public key; `option` is whose value it is, for errors.
    pub(crate) fn parse(option: &str, text: &str) -> Result<HostKey> {
        let text = text.trim();
        if let Ok(fingerprint) = text.parse::<Fingerprint>() {
            return Ok(HostKey::of(vec![Expected::Fingerprint(fingerprint)], Vec::new()));
        }
        let wrong = |message: &str| {
            option_error(option, format!("{message}, found {text:?}"))
                .hint("what `ssh-keygen -l` shows, SHA256:…, or the line of the .pub file")
                .hint("to see a server's: ssh-keyscan HOST | ssh-keygen -lf -")
        };
        if text.starts_with("MD5:") || text.split(':').count() == 16 {
            return Err(wrong("MD5 fingerprints are not safe and not supported: expected SHA256:…"));
        }
        let key =
            PublicKey::from_openssh(text).map_err(|e| wrong("expected a fingerprint or a public key").caused_by(e))?;
        Ok(HostKey::exactly(&key))
    }

    /// Looks a machine up in a `known_hosts` file (the format is in sshd(8)).
    pub(crate) fn known(option: &'static str, path: &Path, host: &str, port: u16) -> Result<HostKey> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| option_error(option, format!("cannot read {}", path.display())).caused_by(e))?;
        let name = if port == 22 { host.to_lowercase() } else { format!("[{}]:{port}", host.to_lowercase()) };
        let (mut expected, mut revoked, mut authority) = (Vec::new(), Vec::new(), false);
        // A line that is not understood (a kind of key not known here) is another's business.
        for entry in KnownHosts::new(&text).flatten().filter(|entry| is_for(entry.host_patterns(), &name)) {
            match entry.marker() {
                Some(Marker::Revoked) => revoked.push(entry.public_key().clone()),
                Some(Marker::CertAuthority) => authority = true,
                None => expected.push(Expected::Key(entry.public_key().clone())),
            }
        }
        if expected.is_empty() {
            let error = option_error(option, format!("{} has no host key of {name}", path.display()));
            return Err(if authority {
                error.hint(
                    "it has a @cert-authority line for it; host certificates are not supported: add the host's own key",
                )
            } else {
                error.hint(format!("add it, once you know that it is the right one: ssh-keyscan -p {port} {host}"))
            });
        }
        Ok(HostKey::of(expected, revoked))
    }

    /// Returns the pinned key.
    pub fn get(&self) -> Option<PublicKey> {
        self.lock().pinned.clone()
    }

    /// Pins `key` unless one is pinned already.
    pub(super) fn pin(&self, key: &PublicKey) {
        self.lock().pinned.get_or_insert_with(|| key.clone());
    }

    /// Returns the kinds of the keys that would be right, to ask the server for these.
    pub(super) fn kinds(&self) -> Vec<Algorithm> {
        let state = self.lock();
        let expected = state.expected.iter().filter_map(|expected| match expected {
            Expected::Key(key) => Some(key.algorithm()),
            Expected::Fingerprint(_) => None,
        });
        state.pinned.iter().map(PublicKey::algorithm).chain(expected).collect()
    }

    /// Tells whether the right key's kind is not known, so that a server must be asked for one kind after the other.
    pub(super) fn of_any_kind(&self) -> bool {
        let state = self.lock();
        state.pinned.is_none() && state.expected.iter().any(|e| matches!(e, Expected::Fingerprint(_)))
    }

    /// Returns what was expected and what was found when `found` is a wrong key.
    pub(crate) fn mismatch(&self, found: &PublicKey) -> Option<(String, String)> {
        let state = self.lock();
        if state.revoked.iter().any(|key| key.key_data() == found.key_data()) {
            return Some(("a key that is not revoked".into(), fingerprint(found)));
        }
        match &state.pinned {
            Some(pinned) => (pinned.key_data() != found.key_data()).then(|| (fingerprint(pinned), fingerprint(found))),
            None if state.expected.is_empty() || state.expected.iter().any(|e| e.is(found)) => None,
            None => {
                let expected: Vec<_> = state.expected.iter().map(Expected::describe).collect();
                Some((expected.join(" or "), fingerprint(found)))
            }
        }
    }
}

/// Returns a key's type and fingerprint as `ssh-keygen -l` shows them.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn is_for(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => super::config::matches_list(patterns, name),
        HostPatterns::HashedName { salt, hash } => {
            let Ok(mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
            mac.chain_update(name).verify_slice(hash).is_ok()
        }
    }
}

/// Makes the error for a host that none of the known keys fits, when there is no more to be asked for.
pub(super) fn explain(error: Error) -> Error {
    error
        .hint("this is another machine than before, or its keys were made anew; a reboot does not change them")
        .hint("to see what a server has: ssh-keyscan HOST | ssh-keygen -lf -")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(text: &str, host: &str, port: u16) -> Result<HostKey> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        HostKey::known("ssh_known_hosts_file", file.path(), host, port)
    }

    #[test]
    fn a_fingerprint_or_a_key_is_the_one_it_must_be() {
        let fingerprint = key(KEY).fingerprint(HashAlg::Sha256).to_string();
        for text in [fingerprint.as_str(), KEY, &format!(" {KEY} a comment\n")] {
            let expected = HostKey::parse("ssh_host_key", text).unwrap();
            assert!(expected.mismatch(&key(KEY)).is_none(), "{text}");
            let (wanted, found) = expected.mismatch(&key(OTHER)).unwrap();
            assert!(wanted.contains(&fingerprint) && found.contains("SHA256:"), "{wanted} {found}");
        }
        for text in ["", "SHA256:short", "nonsense", "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"] {
            let error = HostKey::parse("ssh_host_key", text).unwrap_err();
            assert!(error.message().starts_with("option `ssh_host_key`"), "{error}");
        }
    }

    #[test]
    fn known_hosts_by_name_port_pattern_and_hash() {
        let is = |text: &str, host, port| known(text, host, port).is_ok_and(|k| k.mismatch(&key(KEY)).is_none());
        assert!(is(&format!("# comment\n\nhost,other {KEY} c\n"), "Host", 22));
        assert!(is(&format!("[host]:2222 {KEY}\n"), "host", 2222));
        assert!(!is(&format!("host {KEY}\n"), "host", 2222));
        assert!(is(&format!("*.example.org,!bad.example.org {KEY}\n"), "a.example.org", 22));
        assert!(!is(&format!("*.example.org,!bad.example.org {KEY}\n"), "bad.example.org", 22));
        // Made with: ssh-keygen -H, of the name pijul.org.
        let hashed = "|1|lWa76fEBMxrb6KkOnHf0o7WKmdo=|fLRbWZW/fikEkGI6b8fhXw56dPI=";
        assert!(known(&format!("{hashed} {OTHER}\n"), "pijul.org", 22).is_ok());
        assert!(known(&format!("{hashed} {OTHER}\n"), "pijul.net", 22).is_err());
        // One of several keys; a revoked one never.
        let two = known(&format!("host {KEY}\nhost {OTHER}\n"), "host", 22).unwrap();
        assert!(two.mismatch(&key(KEY)).is_none() && two.mismatch(&key(OTHER)).is_none());
        let revoked = known(&format!("host {KEY}\n@revoked * {OTHER}\n"), "host", 22).unwrap();
        assert!(revoked.mismatch(&key(OTHER)).is_some());
        let error = known(&format!("@cert-authority * {KEY}\n"), "host", 22).unwrap_err();
        assert!(error.hints()[0].contains("certificates"), "{error}");
    }

    #[test]
    fn the_first_key_is_pinned() {
        let host_key = HostKey::default();
        assert!(host_key.mismatch(&key(KEY)).is_none());
        host_key.pin(&key(KEY));
        host_key.pin(&key(OTHER));
        assert_eq!(host_key.get(), Some(key(KEY)));
        assert!(host_key.mismatch(&key(OTHER)).is_some());
    }
}
