//! Key pairs made for one machine.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey};
use serde::Deserialize;

use super::options::option_error;
use crate::engine::options::did_you_mean;
use crate::engine::{Command, Communicator, OutputSink, quote};
use crate::error::{Context, Kind, Result};

/// Removing the temporary key may not hold up a shutdown.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(10);
const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// The key pair that is made for a machine when the script gives nothing to log in with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemporaryKeyOptions {
    /// `ed25519`, `ecdsa` or `rsa`; default `ed25519`.
    pub temporary_key_pair_type: Option<String>,
    /// Its bits: 2048 to 8192 for rsa (default 3072); 256, 384 or 521 for ecdsa (default 256).
    pub temporary_key_pair_bits: Option<u32>,
    /// Whether the temporary key is taken out of the machine's `authorized_keys` before it is shut down; default true.
    pub ssh_clear_authorized_keys: Option<bool>,
}

impl TemporaryKeyOptions {
    /// Returns what kind of key is asked for.
    pub fn kind(&self) -> Result<KeyKind> {
        const TYPE: &str = "temporary_key_pair_type";
        const BITS: &str = "temporary_key_pair_bits";
        let bits = self.temporary_key_pair_bits;
        match self.temporary_key_pair_type.as_deref().unwrap_or("ed25519") {
            "ed25519" => match bits {
                None | Some(256) => Ok(KeyKind::Ed25519),
                Some(bits) => Err(option_error(BITS, format!("an ed25519 key always has 256 bits, found {bits}"))),
            },
            "ecdsa" => match bits.unwrap_or(256) {
                256 => Ok(KeyKind::Ecdsa(EcdsaCurve::NistP256)),
                384 => Ok(KeyKind::Ecdsa(EcdsaCurve::NistP384)),
                521 => Ok(KeyKind::Ecdsa(EcdsaCurve::NistP521)),
                bits => Err(option_error(BITS, format!("an ecdsa key has 256, 384 or 521 bits, found {bits}"))),
            },
            "rsa" => match bits.unwrap_or(3072) {
                bits @ 2048..=8192 => Ok(KeyKind::Rsa(bits)),
                bits => Err(option_error(BITS, format!("expected 2048 to 8192 bits for an rsa key, found {bits}"))),
            },
            "dsa" => {
                Err(option_error(TYPE, "dsa keys are broken (1024 bits, SHA-1), and no OpenSSH of today takes them")
                    .hint("leave the option out (ed25519), or use rsa for an old guest"))
            }
            other => {
                let error = option_error(TYPE, format!("{other:?} is not one of {}", KINDS.join(", ")));
                Err(match did_you_mean(other, &KINDS) {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
        }
    }

    /// Tells whether the temporary key is taken back in the end.
    pub fn clears(&self) -> bool {
        self.ssh_clear_authorized_keys.unwrap_or(true)
    }
}

/// A kind of key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    Ecdsa(EcdsaCurve),
    /// So many bits.
    Rsa(u32),
}

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
        TemporaryKey::of(generate(&KeyKind::Ed25519, comment)?)
    }

    /// Makes a key pair of a kind, on the blocking pool: RSA takes a while.
    pub async fn generate_kind(kind: KeyKind, comment: &str) -> Result<TemporaryKey> {
        let comment = comment.to_owned();
        let made = tokio::task::spawn_blocking(move || generate(&kind, &comment)).await;
        TemporaryKey::of(made.context(Kind::Internal, "making an SSH key was interrupted")??)
    }

    /// Reads a private half that [`TemporaryKey::to_openssh`] has written.
    pub fn from_openssh(text: &str) -> Result<TemporaryKey> {
        TemporaryKey::of(PrivateKey::from_openssh(text).context(Kind::Internal, "cannot read a temporary key")?)
    }

    fn of(private: PrivateKey) -> Result<TemporaryKey> {
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

fn generate(kind: &KeyKind, comment: &str) -> Result<PrivateKey> {
    let rng = &mut safe_rng();
    let key = match kind {
        KeyKind::Ed25519 => PrivateKey::random(rng, Algorithm::Ed25519),
        KeyKind::Ecdsa(curve) => PrivateKey::random(rng, Algorithm::Ecdsa { curve: *curve }),
        KeyKind::Rsa(bits) => RsaKeypair::random(rng, usize::try_from(*bits).unwrap_or(3072))
            .and_then(|pair| PrivateKey::new(KeypairData::Rsa(pair), "")),
    };
    let mut key = key.context(Kind::Internal, "cannot make an SSH key")?;
    key.set_comment(comment);
    Ok(key)
}

/// Removes the lines with this comment from the `authorized_keys` of the login and, where sudo asks for no password, of
/// root. Only tidying: whoever finds the key in an image has nothing that fits it.
pub async fn clear_authorized_keys(communicator: &dyn Communicator, comment: &str) {
    let edit = format!("test ! -f \"$f\" || sed -i {} \"$f\"", quote::word(&format!("/{comment}/d")));
    let root = format!("f=/root/.ssh/authorized_keys; {edit}");
    let command = Command::shell(format!(
        "f=\"$HOME/.ssh/authorized_keys\"; {edit}; if [ \"$(id -u)\" != 0 ]; then sudo -n sh -c {} 2>/dev/null; fi",
        quote::word(&root)
    ));
    let command = Command::argv(["sh", "-c", &command.line.to_shell()]);
    let removed = tokio::time::timeout(TAKE_BACK_LIMIT, communicator.exec(&command, &mut Nowhere)).await;
    tracing::debug!(?removed, "the temporary key was taken back");
}

/// Removes what cloud-init keeps of a seed in which one of these texts is: a private host key is in it, and whatever else
/// the script planted. Where sudo asks for no password, if the login is not root. Only tidying, too: the instance that the
/// seed made is not looked at again.
pub async fn clear_seed(communicator: &dyn Communicator, marks: &[&str]) {
    let clear = r#"for d in /var/lib/cloud/instances/*/;do for m in "$@";do
if grep -qsF -- "$m" "$d"user-data.txt "$d"user-data.txt.i "$d"cloud-config.txt;then
rm -f -- "$d"user-data.txt "$d"user-data.txt.i "$d"cloud-config.txt "$d"obj.pkl;fi;done;done"#;
    let program = r#"[ "$(id -u)" = 0 ]&&exec sh -c "$@";exec sudo -n -- sh -c "$@" 2>/dev/null"#;
    let command = Command::argv([&["sh", "-c", program, "rimg", clear, "rimg"], marks].concat());
    let removed = tokio::time::timeout(TAKE_BACK_LIMIT, communicator.exec(&command, &mut Nowhere)).await;
    tracing::debug!(?removed, "what cloud-init kept of the seed was removed");
}

struct Nowhere;

impl OutputSink for Nowhere {
    fn stdout(&mut self, _: &[u8]) {}
    fn stderr(&mut self, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: Option<&str>, bits: Option<u32>) -> TemporaryKeyOptions {
        TemporaryKeyOptions {
            temporary_key_pair_type: kind.map(str::to_owned),
            temporary_key_pair_bits: bits,
            ..Default::default()
        }
    }

    #[test]
    fn kinds_and_bits_are_checked() {
        assert_eq!(options(None, None).kind().unwrap(), KeyKind::Ed25519);
        assert_eq!(options(Some("rsa"), None).kind().unwrap(), KeyKind::Rsa(3072));
        assert_eq!(options(Some("ecdsa"), Some(521)).kind().unwrap(), KeyKind::Ecdsa(EcdsaCurve::NistP521));
        for (kind, bits, expected) in [
            (Some("dsa"), None, "dsa keys are broken"),
            (Some("rsa"), Some(1024), "2048 to 8192"),
            (Some("ecdsa"), Some(512), "256, 384 or 521"),
            (None, Some(4096), "always has 256 bits"),
            (Some("ed2519"), None, "is not one of"),
        ] {
            let error = options(kind, bits).kind().unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
        assert_eq!(options(Some("ed2519"), None).kind().unwrap_err().hints(), ["did you mean `ed25519`?"]);
    }

    #[tokio::test]
    async fn every_kind_is_made_as_asked() {
        for (kind, begin) in [
            (KeyKind::Ed25519, "ssh-ed25519 "),
            (KeyKind::Ecdsa(EcdsaCurve::NistP384), "ecdsa-sha2-nistp384 "),
            (KeyKind::Rsa(2048), "ssh-rsa "),
        ] {
            let key = TemporaryKey::generate_kind(kind.clone(), "rimg test").await.unwrap();
            assert!(key.authorized_key.starts_with(begin) && key.authorized_key.ends_with(" rimg test"), "{kind:?}");
            if let KeypairData::Rsa(pair) = key.private.key_data() {
                assert_eq!(pair.key_size(), 2048);
            }
        }
    }
}
