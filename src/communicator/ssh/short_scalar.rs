//! ECDSA keys on P-256 whose secret number begins with a zero byte: one in 256 of those that `ssh-keygen -t ecdsa`
//! makes. OpenSSH's file has that number as an `mpint`, without the zero byte (RFC 4251, section 5), and the `ssh-key`
//! crate (0.7) refuses one of less than 32 bytes. The file's layout is that of OpenSSH's PROTOCOL.key.

use base64::Engine as _;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::encoding::Decode;
use russh::keys::ssh_key::private::{EcdsaKeypair, EcdsaPrivateKey, KeypairData};
use russh::keys::ssh_key::public::EcdsaPublicKey;

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Reads such a key, if it is one.
pub(super) fn decode(text: &str, passphrase: Option<&str>) -> Option<PrivateKey> {
    let section = match passphrase {
        Some(passphrase) => unlocked(&PrivateKey::from_openssh(text.trim()).ok()?, passphrase)?,
        None => plain(text)?,
    };
    key(&section)
}

/// Returns the private section of a key that has no passphrase.
fn plain(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----")?;
    let body: String = body.strip_suffix("-----END OPENSSH PRIVATE KEY-----")?.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let cipher = String::decode(&mut rest).ok()?;
    let _kdf = String::decode(&mut rest).ok()?;
    let _kdf_options = Vec::<u8>::decode(&mut rest).ok()?;
    let keys = u32::decode(&mut rest).ok()?;
    let _public = Vec::<u8>::decode(&mut rest).ok()?;
    (cipher == "none" && keys == 1).then(|| Vec::<u8>::decode(&mut rest).ok()).flatten()
}

/// Returns the private section of a key with a passphrase. With a wrong one it is noise, which `key` does not read.
fn unlocked(locked: &PrivateKey, passphrase: &str) -> Option<Vec<u8>> {
    let mut section = locked.key_data().encrypted()?.to_vec();
    let (secret, iv) = locked.kdf().derive_key_and_iv(locked.cipher(), passphrase).ok()?;
    locked.cipher().decrypt(&secret, &iv, &mut section, None).ok()?;
    Some(section)
}

fn key(section: &[u8]) -> Option<PrivateKey> {
    let mut rest = section;
    let check = (u32::decode(&mut rest).ok()?, u32::decode(&mut rest).ok()?);
    let names = (String::decode(&mut rest).ok()?, String::decode(&mut rest).ok()?);
    if check.0 != check.1 || names.0 != "ecdsa-sha2-nistp256" || names.1 != "nistp256" {
        return None;
    }
    let public = EcdsaPublicKey::from_sec1_bytes(&Vec::<u8>::decode(&mut rest).ok()?).ok()?;
    let scalar = Vec::<u8>::decode(&mut rest).ok()?;
    let comment = String::decode(&mut rest).ok()?;
    let EcdsaPublicKey::NistP256(public) = public else { return None };
    let mut padded = [0; 32];
    padded.get_mut(32_usize.checked_sub(scalar.len())?..)?.copy_from_slice(&scalar);
    let pair = EcdsaKeypair::NistP256 { public, private: EcdsaPrivateKey::from(padded) };
    PrivateKey::new(KeypairData::Ecdsa(pair), comment).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use russh::keys::ssh_key::HashAlg;

    use super::*;

    fn run(program: &str, args: &[&str], file: &Path) {
        let output = Command::new(program).args(args).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_scalar_with_a_zero_byte_in_front_is_read_locked_and_not() {
        if crate::host::process::which("ssh-keygen").and(crate::host::process::which("openssl")).is_none() {
            assert!(std::env::var_os("CI").is_none(), "ssh-keygen and openssl are required in CI");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (sec1, path) = (dir.path().join("sec1"), dir.path().join("key"));
        // RFC 5915: version 1, a scalar of 32 bytes of which the first is zero, the curve's name. OpenSSL adds the public half.
        let mut der = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20, 0x00];
        der.extend((1..=31).map(|i| i * 7));
        der.extend([0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
        std::fs::write(&sec1, der).unwrap();
        run("openssl", &["ec", "-inform", "DER", "-in", &sec1.display().to_string(), "-out"], &path);
        run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "", "-f"], &path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(PrivateKey::from_openssh(&text).is_err(), "the crate reads it by now: this file can go");
        let key = decode(&text, None).unwrap();
        let fingerprint = Command::new("ssh-keygen").arg("-lf").arg(&path).output().unwrap().stdout;
        let fingerprint = String::from_utf8(fingerprint).unwrap();
        assert!(fingerprint.contains(&key.fingerprint(HashAlg::Sha256).to_string()), "{fingerprint}");
        assert!(key.sign("test", HashAlg::Sha256, b"text").is_ok());

        run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "sesame-open", "-f"], &path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(decode(&text, Some("sesame-open")).unwrap().public_key(), key.public_key());
        assert!(decode(&text, Some("wrong")).is_none());
        assert!(decode("not a key", None).is_none());
    }
}
