//! Text that only this user can read: what a record holds of a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Kind, Result};

/// What is sealed: bound to it, so that nothing else that the same key seals is taken for it.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    Record,
    /// How a machine is logged in to.
    Access,
}

impl Purpose {
    fn bytes(self) -> &'static [u8] {
        match self {
            Purpose::Record => b"rimg record 1",
            Purpose::Access => b"rimg access 1",
        }
    }
}

/// Seals bytes with AES-256-GCM: a random nonce and what came of it, in base64.
pub fn seal(key: &[u8; 32], purpose: Purpose, plain: &[u8]) -> Result<String> {
    let failed = || Error::new(Kind::Internal, "cannot seal text: this host's source of randomness fails");
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| failed())?;
    let mut sealed = plain.to_vec();
    cipher(key)
        .ok_or_else(failed)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.bytes()), &mut sealed)
        .map_err(|_| failed())?;
    Ok(STANDARD_NO_PAD.encode([&nonce, sealed.as_slice()].concat()))
}

/// Opens what [`seal`] made; none when the key is another, or a bit of it has changed.
pub fn open(key: &[u8; 32], purpose: Purpose, text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = sealed.to_vec();
    let (nonce, purpose) = (Nonce::assume_unique_for_key(*nonce), Aad::from(purpose.bytes()));
    let length = cipher(key)?.open_in_place(nonce, purpose, &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_it_and_only_unchanged() {
        let key = [7; 32];
        for plain in [b"".as_slice(), b"hunter2", &[0; 100_000]] {
            let text = seal(&key, Purpose::Record, plain).unwrap();
            assert!(!text.contains("hunter2"));
            assert_eq!(open(&key, Purpose::Record, &text).as_deref(), Some(plain));
            assert_ne!(seal(&key, Purpose::Record, plain).unwrap(), text, "a nonce is never used twice");
            assert_eq!(open(&key, Purpose::Access, &text), None);
            assert_eq!(open(&[8; 32], Purpose::Record, &text), None);
            let mut bytes = STANDARD_NO_PAD.decode(&text).unwrap();
            for at in [0, NONCE_LEN, bytes.len() - 1] {
                bytes[at] ^= 1;
                assert_eq!(open(&key, Purpose::Record, &STANDARD_NO_PAD.encode(&bytes)), None);
                bytes[at] ^= 1;
            }
            assert_eq!(open(&key, Purpose::Record, text.get(..text.len() - 4).unwrap()), None);
        }
        for text in ["", "AAAA", "no base64!", "ä"] {
            assert_eq!(open(&key, Purpose::Record, text), None);
        }
    }
}
