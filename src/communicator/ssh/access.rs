//! A target as data, for another rimg that is to log in to the same machine.

use std::path::PathBuf;
use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Certificate, PrivateKey};
use serde::{Deserialize, Serialize};

use super::algorithms::{AlgorithmOptions, Algorithms};
use super::keys::Loaded;
use super::options::SshOptions;
use super::plan::Peer;
use super::proxy::Proxy;
use super::target::Target;
use crate::engine::access::Access;
use crate::error::{Context, Error, Kind, Result};

/// The communicator's name.
pub const NAME: &str = "ssh";

#[derive(Serialize, Deserialize)]
struct Key {
    name: String,
    private: String,
    certificate: Option<String>,
}

/// One host to log in to, and those on the way to it.
#[derive(Serialize, Deserialize)]
struct Details {
    host: String,
    port: u16,
    user: String,
    keys: Vec<Key>,
    agent: Option<PathBuf>,
    password: Option<String>,
    keyboard_interactive: bool,
    /// The host key that it was seen with.
    host_key: Option<String>,
    algorithms: AlgorithmOptions,
    via: Vec<Details>,
    proxy: Option<Proxy>,
}

impl Details {
    fn of(target: &Target) -> Result<Details> {
        let keys = target.credentials.keys.iter().map(|loaded| {
            let private =
                loaded.key.to_openssh(LineEnding::LF).context(Kind::Internal, "cannot write a key as text")?;
            let certificate = loaded.certificate.as_ref().map(Certificate::to_openssh).transpose();
            let certificate = certificate.context(Kind::Internal, "cannot write a certificate as text")?;
            Ok(Key { name: loaded.name.clone(), private: private.to_string(), certificate })
        });
        Ok(Details {
            host: target.host.clone(),
            port: target.port,
            user: target.user.clone(),
            keys: keys.collect::<Result<_>>()?,
            agent: target.credentials.agent.clone(),
            password: target.credentials.password.clone(),
            keyboard_interactive: target.credentials.keyboard_interactive,
            host_key: target.host_key_line(),
            algorithms: target.algorithms.options(),
            via: target.via.iter().map(Details::of).collect::<Result<_>>()?,
            proxy: target.proxy.as_deref().cloned(),
        })
    }

    fn target(self) -> Result<Target> {
        let unreadable = "cannot read how a machine is logged in to";
        let mut target = Target::bare(self.host, self.port, self.user, Algorithms::new(&self.algorithms)?);
        for key in self.keys {
            let private = PrivateKey::from_openssh(&key.private).context(Kind::Internal, unreadable)?;
            let certificate = key.certificate.as_deref().map(Certificate::from_openssh).transpose();
            let certificate = certificate.context(Kind::Internal, unreadable)?;
            target.credentials.keys.push(Loaded {
                name: key.name,
                text: key.private,
                key: Arc::new(private),
                certificate,
            });
        }
        target.credentials.agent = self.agent;
        target.credentials.password = self.password;
        target.credentials.keyboard_interactive = self.keyboard_interactive;
        if let Some(line) = &self.host_key {
            target = target.expect_host_key_line(line)?;
        }
        target.via = self.via.into_iter().map(Details::target).collect::<Result<_>>()?;
        target.proxy = self.proxy.map(Arc::new);
        Ok(target)
    }
}

impl Target {
    /// Returns all that another rimg needs to log in to this machine, with the host keys seen so far.
    pub fn access(&self) -> Result<Access> {
        let details = serde_json::to_value(Details::of(self)?)
            .context(Kind::Internal, "cannot write down how a machine is logged in to")?;
        Ok(Access { communicator: NAME.to_owned(), details })
    }

    /// Makes the target again of what [`Target::access`] has written.
    pub fn from_access(access: &Access) -> Result<Target> {
        if access.communicator != NAME {
            let message = format!("no shell can be opened over {}", access.communicator);
            return Err(Error::new(Kind::Unsupported, message));
        }
        let details = Details::deserialize(&access.details)
            .context(Kind::Io, "what was written down of the machine cannot be read by this version of rimg")?;
        details.target()
    }

    fn bare(host: String, port: u16, user: String, algorithms: Algorithms) -> Target {
        Target::with_keys(Peer::bare(host, port, user, algorithms), Vec::new(), &SshOptions::default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::TemporaryKey;
    use super::*;

    #[test]
    fn a_target_comes_back_as_it_was() {
        let key = TemporaryKey::generate("rimg test").unwrap();
        let algorithms = AlgorithmOptions {
            ssh_ciphers: Some(vec!["aes256-ctr".into()]),
            ssh_host_key_algorithms: Some(vec!["ssh-rsa".into()]),
            ..AlgorithmOptions::default()
        };
        let bare = |host: &str| {
            Target::bare(host.into(), 2222, "root".into(), Algorithms::new(&algorithms).unwrap())
                .expect_host_key(key.private.public_key())
        };
        let mut target = bare("::1").with_key(&key);
        target.host_key.pin(key.private.public_key());
        target.credentials.password = Some("hunter2".into());
        target.via = vec![bare("bastion")];
        let access = target.access().unwrap();
        let again = Target::from_access(&access).unwrap();
        assert_eq!(again.address(), "[::1]:2222");
        assert_eq!(again.credentials.public_key(), target.credentials.public_key());
        assert!(again.host_key.mismatch(key.private.public_key()).is_none());
        let other = TemporaryKey::generate("other").unwrap();
        assert!(again.host_key.mismatch(other.private.public_key()).is_some());
        assert!(again.algorithms.sha1_signatures);
        assert_eq!(again.via[0].host, "bastion");
        again.host_key.pin(key.private.public_key());
        assert_eq!(again.access().unwrap().details, access.details);
        let error = Target::from_access(&Access { communicator: "winrm".into(), ..access }).err().unwrap();
        assert_eq!(error.message(), "no shell can be opened over winrm");
    }
}
