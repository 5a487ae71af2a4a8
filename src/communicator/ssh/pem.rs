//! The old encryption of PEM private keys, as OpenSSL and `ssh-keygen -m PEM` write it.
//!
//! The headers are those of RFC 1421, section 4.6; the key derivation is OpenSSL's `EVP_BytesToKey` with MD5, one round,
//! and the first eight bytes of the IV as salt.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use base64::Engine as _;
use md5::Digest as _;

/// What is inside an encrypted PEM block.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The same block without its encryption.
    Plain(String),
    /// Encrypted in a way that is not known here, by its name.
    Unknown(String),
    /// The passphrase does not open it.
    Wrong,
}

/// Tells whether the text is a PEM block with RFC 1421 encryption.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.lines().any(|line| line.trim().starts_with("DEK-Info:"))
}

/// Decrypts a PEM block with RFC 1421 encryption.
pub(crate) fn open(text: &str, passphrase: &str) -> Opened {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let value = lines.iter().find_map(|line| line.strip_prefix("DEK-Info:"));
    let Some((name, iv)) = value.and_then(|value| value.trim().split_once(',')) else {
        return Opened::Unknown("a DEK-Info line that cannot be read".into());
    };
    let (name, iv) = (name.trim().to_ascii_uppercase(), hex::decode(iv.trim()).unwrap_or_default());
    let begin = lines.iter().find(|line| line.starts_with("-----BEGIN ")).copied().unwrap_or_default();
    let body: String = lines
        .iter()
        .skip_while(|line| !line.starts_with("-----BEGIN "))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END "))
        .filter(|line| !line.contains(':'))
        .copied()
        .collect();
    let Ok(data) = base64::engine::general_purpose::STANDARD.decode(body) else {
        return Opened::Unknown("damaged base64".into());
    };
    let plain = match name.as_str() {
        "AES-128-CBC" => decrypt::<cbc::Decryptor<aes::Aes128>>(&data, passphrase, &iv, 16),
        "AES-192-CBC" => decrypt::<cbc::Decryptor<aes::Aes192>>(&data, passphrase, &iv, 24),
        "AES-256-CBC" => decrypt::<cbc::Decryptor<aes::Aes256>>(&data, passphrase, &iv, 32),
        "DES-EDE3-CBC" => decrypt::<cbc::Decryptor<des::TdesEde3>>(&data, passphrase, &iv, 24),
        _ => return Opened::Unknown(name),
    };
    match plain {
        // A wrong passphrase leaves proper padding now and then; what is in there is then no DER.
        Some(plain) if plain.first() == Some(&0x30) => {
            let end = begin.replace("BEGIN", "END");
            let body = base64::engine::general_purpose::STANDARD.encode(plain);
            Opened::Plain(format!("{begin}\n{body}\n{end}\n"))
        }
        _ => Opened::Wrong,
    }
}

fn decrypt<D: KeyIvInit + BlockModeDecrypt>(
    data: &[u8],
    passphrase: &str,
    iv: &[u8],
    length: usize,
) -> Option<Vec<u8>> {
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < length {
        let mut md5 = md5::Md5::new();
        md5.update(&last);
        md5.update(passphrase.as_bytes());
        md5.update(iv.get(..8)?);
        last = md5.finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    let mut data = data.to_vec();
    let plain = D::new_from_slices(&key, iv).ok()?.decrypt_padded::<Pkcs7>(&mut data).ok()?;
    Some(plain.to_vec())
}
