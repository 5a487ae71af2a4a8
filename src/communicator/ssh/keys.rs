//! Private keys: read from files, or made for one machine.

use std::path::Path;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use crate::error::{Context, Error, Kind, Result, io_error};

/// A key pair made for one machine; the public half is planted on it.
#[derive(Debug, Clone)]
pub struct TemporaryKey {
    /// The private half, for [`super::Target::with_key`].
    pub private: Arc<PrivateKey>,
    /// The line for `authorized_keys`.
    pub authorized_key: String,
}

impl TemporaryKey {
    /// Makes an ed25519 key pair; `comment` ends the `authorized_keys` line.
    pub fn generate(comment: &str) -> Result<TemporaryKey> {
        let private = generate(comment)?;
        let authorized_key =
            private.public_key().to_openssh().context(Kind::Internal, "cannot write a public key as text")?;
        Ok(TemporaryKey { private: Arc::new(private), authorized_key })
    }

    /// Returns the private half as an OpenSSH key file's content, for tools that want a file.
    pub fn to_openssh(&self) -> Result<String> {
        let text = self.private.to_openssh(LineEnding::LF).context(Kind::Internal, "cannot write a key as text")?;
        Ok(text.to_string())
    }
}

/// A host key made for one machine, so that its first connection can be verified already.
#[derive(Debug, Clone)]
pub struct HostKeyPair {
    /// What the server presents, for [`super::Target::expect_host_key`].
    pub public: PublicKey,
    /// The content of `ssh_host_ed25519_key`.
    pub private_openssh: String,
    /// The content of `ssh_host_ed25519_key.pub`.
    pub public_openssh: String,
}

impl HostKeyPair {
    /// Makes an ed25519 host key.
    pub fn generate(comment: &str) -> Result<HostKeyPair> {
        let key = TemporaryKey::generate(comment)?;
        let private_openssh = key.to_openssh()?;
        Ok(HostKeyPair {
            public: key.private.public_key().clone(),
            private_openssh,
            public_openssh: key.authorized_key,
        })
    }
}

fn generate(comment: &str) -> Result<PrivateKey> {
    let mut key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .context(Kind::Internal, "cannot make an SSH key")?;
    key.set_comment(comment);
    Ok(key)
}

/// Reads a private key file (OpenSSH, PKCS#1, PKCS#8, SEC1), unlocking it with `passphrase`. Blocking: the passphrase
/// of an OpenSSH key takes a good part of a second to check.
pub fn load(path: &Path, passphrase: Option<&str>) -> Result<PrivateKey> {
    let text = std::fs::read_to_string(path).map_err(|e| io_error("read the private key", path, e))?;
    let wrong = |message: String| Error::new(Kind::Option, message).field("option", "ssh_private_key_file");
    if text.trim_start().starts_with("ssh-") || text.trim_start().starts_with("ecdsa-") {
        return Err(wrong(format!("{} is a public key", path.display()))
            .hint("name the file of the private key, usually the same without .pub"));
    }
    russh::keys::decode_secret_key(&text, passphrase).map_err(|e| match (&e, passphrase) {
        (russh::keys::Error::KeyIsEncrypted, _) | (russh::keys::Error::SshKey(_), None) if is_locked(&text) => {
            wrong(format!("the private key {} is locked with a passphrase", path.display()))
                .hint("give it in `ssh_private_key_passphrase`, or load the key into an agent and set ssh_agent_auth")
        }
        (_, Some(_)) => wrong(format!("cannot unlock the private key {}", path.display()))
            .hint("check `ssh_private_key_passphrase`")
            .caused_by(e),
        _ => wrong(format!("{} is not a private key that can be read", path.display()))
            .hint("OpenSSH and PEM files are understood; PuTTY keys can be converted with: puttygen KEY -O private-openssh")
            .caused_by(e),
    })
}

/// Tells whether an unreadable key is one that only lacks its passphrase.
fn is_locked(text: &str) -> bool {
    text.contains("ENCRYPTED") || text.contains("BEGIN OPENSSH PRIVATE KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keygen(args: &[&str], file: &Path) -> bool {
        let status = std::process::Command::new("ssh-keygen").args(args).arg("-q").arg("-f").arg(file).status();
        status.is_ok_and(|s| s.success())
    }

    #[test]
    fn a_temporary_key_is_one_that_openssh_reads() {
        let dir = tempfile::tempdir().unwrap();
        let key = TemporaryKey::generate("rimg test").unwrap();
        assert!(key.authorized_key.starts_with("ssh-ed25519 ") && key.authorized_key.ends_with(" rimg test"));
        let path = dir.path().join("key");
        crate::host::atomic::write(&path, key.to_openssh().unwrap().as_bytes()).unwrap();
        let read = load(&path, None).unwrap();
        assert_eq!(read.public_key().key_data(), key.private.public_key().key_data());
        let error = {
            std::fs::write(dir.path().join("key.pub"), &key.authorized_key).unwrap();
            load(&dir.path().join("key.pub"), None).unwrap_err()
        };
        assert!(error.message().contains("is a public key"), "{error}");
    }

    #[test]
    fn reads_what_ssh_keygen_writes_and_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let locked = dir.path().join("locked");
        if !keygen(&["-t", "ed25519", "-N", "sesame-open"], &locked) {
            assert!(std::env::var_os("CI").is_none(), "ssh-keygen is required in CI");
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: ssh-keygen is not installed");
            }
            return;
        }
        assert!(load(&locked, Some("sesame-open")).is_ok());
        let error = load(&locked, None).unwrap_err();
        assert!(error.message().contains("locked with a passphrase"), "{error}");
        let error = load(&locked, Some("wrong")).unwrap_err();
        assert!(error.message().contains("cannot unlock"), "{error}");
        for (name, args) in [("rsa", ["-t", "rsa", "-m", "PEM"]), ("ec", ["-t", "ecdsa", "-m", "PKCS8"])] {
            let path = dir.path().join(name);
            assert!(keygen(&[&args[..], &["-N", ""]].concat(), &path));
            load(&path, None).unwrap();
        }
        std::fs::write(dir.path().join("junk"), "not a key").unwrap();
        let error = load(&dir.path().join("junk"), None).unwrap_err();
        assert!(error.message().contains("is not a private key"), "{error}");
    }
}
