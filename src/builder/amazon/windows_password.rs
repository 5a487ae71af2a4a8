//! The password that Windows makes for its Administrator at the first start: AWS has it encrypted for the instance's key pair.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::KeypairData;

use super::run_options::RunOptions;
use super::wait::{self, Patience, Step};
use super::{Client, wrong};
use crate::communicator::ssh::keys::{self, KeyKind, TemporaryKeyOptions};
use crate::communicator::ssh::{SshOptions, path_of};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};
use crate::host::blocking;

/// How long Windows may take to its password where nothing else is said.
pub const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Checks what a builder's options say of the password.
pub fn validate(run: &RunOptions, ssh: &SshOptions, temporary: &TemporaryKeyOptions) -> Result<()> {
    const OPTION: &str = "windows_password";
    if !run.windows_password {
        return match run.windows_password_timeout {
            Some(_) => Err(wrong("windows_password_timeout", "is the limit of `windows_password = true`")),
            None => Ok(()),
        };
    }
    if ssh.ssh_password.is_some() {
        return Err(wrong(OPTION, "fetches a password, and `ssh_password` gives another"));
    }
    match &ssh.ssh_private_key_file {
        Some(_) if run.ssh_keypair_name.is_some() => Ok(()),
        Some(_) => Err(wrong(
            "ssh_keypair_name",
            format!("is required beside `{OPTION}`: AWS encrypts the password for the key pair that the instance has"),
        )),
        None if ssh.ssh_agent_auth => {
            Err(wrong(OPTION, "needs the private key itself, in `ssh_private_key_file`: an agent decrypts nothing"))
        }
        None if matches!(temporary.kind()?, KeyKind::Rsa(_)) => Ok(()),
        None => Err(wrong("temporary_key_pair_type", format!("is \"rsa\" for `{OPTION}`: {RSA_ONLY}"))),
    }
}

const RSA_ONLY: &str = "AWS encrypts passwords for RSA keys alone";

/// The private half of an instance's key pair.
pub struct Decrypter {
    key: RsaPrivateKey,
    /// What to call it in an error.
    name: String,
}

impl Decrypter {
    /// Takes a key, which has to be one of RSA.
    pub fn of(key: &PrivateKey, name: impl Into<String>) -> Result<Decrypter> {
        let name = name.into();
        let KeypairData::Rsa(pair) = key.key_data() else {
            let message = format!("{name} is a key of {}, and {RSA_ONLY}", key.algorithm());
            return Err(Error::new(Kind::Option, message).hint("launch the instance with an RSA key pair"));
        };
        let key = RsaPrivateKey::try_from(pair);
        let key = key.map_err(|e| Error::new(Kind::Option, format!("{name} is no valid RSA key")).caused_by(e))?;
        Ok(Decrypter { key, name })
    }

    /// Reads a key's file; `options` are the names of what it and its passphrase are given by.
    pub async fn read(
        file: &Path,
        passphrase: Option<&str>,
        options: (&'static str, &'static str),
        cx: &BuildCx,
    ) -> Result<Decrypter> {
        let (path, passphrase) = (path_of(file, cx), passphrase.map(str::to_owned));
        blocking::run(move |_| {
            let key = keys::load_as(&path, passphrase.as_deref(), options)?;
            Decrypter::of(&key, path.display().to_string())
        })
        .await
    }

    /// Waits until an instance has a password, and returns it; from then on it is masked.
    pub async fn password(&self, client: &Client, id: &str, patience: Patience, cx: &BuildCx) -> Result<String> {
        let what = format!("the password of {id} in {}", client.region);
        let encrypted = wait::until(patience, &what, cx, async |_| {
            let answer = match client.ec2.get_password_data().instance_id(id).send().await {
                Ok(answer) => answer,
                Err(e) => return Err(client.failed("ec2:GetPasswordData", e).await),
            };
            let data: String = answer.password_data.unwrap_or_default().split_whitespace().collect();
            Ok(match data.is_empty() {
                true => Step::Pending { state: "not there".to_owned(), percent: None },
                false => Step::Done(data),
            })
        })
        .await
        .map_err(|e| match e.kind() {
            Kind::Timeout => e.hint("only an instance of Windows has one, and only where Sysprep prepared its image"),
            _ => e,
        })?;
        let password = self.decrypt(&encrypted).ok_or_else(|| {
            let message =
                format!("cannot decrypt the password of {id}: it is encrypted for another key than {}", self.name);
            Error::new(Kind::Auth, message).hint("the key pair that the instance was launched with is the one")
        })?;
        cx.ui.secrets().add(&password);
        Ok(password)
    }

    /// Returns what AWS has encrypted; none where it was not for this key.
    fn decrypt(&self, encoded: &str) -> Option<String> {
        let data = STANDARD.decode(encoded).ok()?;
        let plain = self.key.decrypt(Pkcs1v15Encrypt, &data).ok()?;
        String::from_utf8(plain).ok()
    }
}
