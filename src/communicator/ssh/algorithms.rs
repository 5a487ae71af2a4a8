//! Which algorithms are offered to a server, by the names of the SSH protocol.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Preferred, cipher, kex, mac};
use serde::{Deserialize, Serialize};

use super::options::option_error;
use crate::engine::options::did_you_mean;
use crate::error::Result;

/// Which algorithms are offered to a server. A list replaces the default one, most wanted first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlgorithmOptions {
    /// Ciphers, `aes128-gcm@openssh.com`.
    pub ssh_ciphers: Option<Vec<String>>,
    /// Key exchanges, `curve25519-sha256`.
    pub ssh_key_exchange_algorithms: Option<Vec<String>>,
    /// Message authentication codes, `hmac-sha2-256-etm@openssh.com`.
    pub ssh_macs: Option<Vec<String>>,
    /// Host keys, `ssh-ed25519`; `ssh-rsa` also allows SHA-1 signatures of our own RSA keys.
    pub ssh_host_key_algorithms: Option<Vec<String>>,
    /// Whether algorithms that are no longer safe are offered too, after all others: for servers of the time before
    /// 2016; default false.
    pub ssh_legacy: bool,
}

/// One kind of algorithms: what rimg can do, and how it is called.
struct Known<T: 'static> {
    option: &'static str,
    what: &'static str,
    safe: &'static [T],
    legacy: &'static [T],
}

// AES-GCM runs in hardware nearly everywhere: measured, ChaCha20 takes 1.6 times as long, and AES-CTR with its MAC twice.
const CIPHERS: Known<cipher::Name> = Known {
    option: "ssh_ciphers",
    what: "cipher",
    safe: &[
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ],
    legacy: &[cipher::AES_128_CBC, cipher::AES_192_CBC, cipher::AES_256_CBC, cipher::TRIPLE_DES_CBC],
};

const KEY_EXCHANGES: Known<kex::Name> = Known {
    option: "ssh_key_exchange_algorithms",
    what: "key exchange",
    safe: &[
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
        kex::DH_GEX_SHA256,
        kex::DH_G18_SHA512,
        kex::DH_G17_SHA512,
        kex::DH_G16_SHA512,
        kex::DH_G15_SHA512,
        kex::DH_G14_SHA256,
    ],
    legacy: &[kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1],
};

const MACS: Known<mac::Name> = Known {
    option: "ssh_macs",
    what: "MAC",
    safe: &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512],
    legacy: &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1],
};

const HOST_KEYS: Known<Algorithm> = Known {
    option: "ssh_host_key_algorithms",
    what: "kind of host key",
    safe: &[
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ],
    legacy: &[Algorithm::Rsa { hash: None }],
};

/// Names of the protocol that stand among the key exchanges and are none (RFC 8308; OpenSSH's strict key exchange).
const EXTENSIONS: [kex::Name; 2] = [kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

impl<T: AsRef<str> + Clone> Known<T> {
    fn find(&self, name: &str) -> Option<T> {
        self.safe.iter().chain(self.legacy).find(|known| known.as_ref() == name).cloned()
    }

    fn names(&self) -> Vec<&str> {
        self.safe.iter().chain(self.legacy).map(AsRef::as_ref).collect()
    }

    fn default(&self, legacy: bool) -> Vec<T> {
        self.safe.iter().chain(if legacy { self.legacy } else { &[] }).cloned().collect()
    }

    fn choose(&self, asked: Option<&[String]>, legacy: bool) -> Result<Vec<T>> {
        let Some(asked) = asked else { return Ok(self.default(legacy)) };
        if asked.is_empty() {
            return Err(option_error(self.option, "is an empty list: nothing could be agreed on")
                .hint(format!("the names are: {}", self.names().join(", "))));
        }
        asked.iter().map(|name| self.find(name).ok_or_else(|| self.unknown(name))).collect()
    }

    fn unknown(&self, name: &str) -> crate::error::Error {
        if name == "ssh-dss" {
            return option_error(
                self.option,
                "ssh-dss (DSA) is not supported: its 1024 bits are broken, and OpenSSH dropped it",
            )
            .hint("make a key of another kind on the server: ssh-keygen -t ed25519 (or rsa)");
        }
        let names = self.names();
        let error = option_error(self.option, format!("there is no {} {name:?}", self.what));
        let error = match did_you_mean(name, &names) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.hint(format!("the names are: {}", names.join(", ")))
    }

    /// Applies a list as `ssh_config(5)` writes it: names it has and rimg has not are passed over; `+` adds, `-` removes,
    /// `^` puts in front.
    fn configured(&self, spec: &str) -> Result<Vec<String>> {
        let default = || self.safe.iter().map(|a| a.as_ref().to_owned());
        let (sign, rest) = match spec.chars().next() {
            Some(sign @ ('+' | '-' | '^')) => (sign, spec.get(1..).unwrap_or_default()),
            _ => ('=', spec),
        };
        let patterns: Vec<&str> = rest.split(',').map(str::trim).filter(|n| !n.is_empty()).collect();
        let named = || patterns.iter().filter(|n| self.find(n).is_some()).map(|n| (*n).to_owned());
        let mut list: Vec<String> = Vec::new();
        let chosen: Vec<String> = match sign {
            '+' => default().chain(named()).collect(),
            '^' => named().chain(default()).collect(),
            '-' => default().filter(|n| !patterns.iter().any(|p| super::config::matches(p, n))).collect(),
            _ => named().collect(),
        };
        for name in chosen {
            if !list.contains(&name) {
                list.push(name);
            }
        }
        if list.is_empty() {
            return Err(option_error(
                "ssh_use_config",
                format!("the configuration's list of {}s, {spec:?}, has none that rimg knows", self.what),
            )
            .hint(format!("the names are: {}", self.names().join(", ")))
            .hint(format!("`{}` overrides the configuration", self.option)));
        }
        Ok(list)
    }
}

impl AlgorithmOptions {
    /// Fills in what `ssh_config(5)` says under a keyword, where the script says nothing.
    pub(super) fn configure(&mut self, keyword: &str, spec: &str) -> Result<()> {
        let (slot, list) = match keyword {
            "ciphers" => (&mut self.ssh_ciphers, CIPHERS.configured(spec)?),
            "kexalgorithms" => (&mut self.ssh_key_exchange_algorithms, KEY_EXCHANGES.configured(spec)?),
            "macs" => (&mut self.ssh_macs, MACS.configured(spec)?),
            _ => (&mut self.ssh_host_key_algorithms, HOST_KEYS.configured(spec)?),
        };
        if slot.is_none() {
            *slot = Some(list);
        }
        Ok(())
    }
}

/// What is offered to one server.
#[derive(Debug, Clone)]
pub(super) struct Algorithms {
    ciphers: Vec<cipher::Name>,
    key_exchanges: Vec<kex::Name>,
    macs: Vec<mac::Name>,
    host_keys: Vec<Algorithm>,
    /// Whether our own RSA keys may sign with SHA-1.
    pub(super) sha1_signatures: bool,
}

impl Default for Algorithms {
    fn default() -> Algorithms {
        Algorithms {
            ciphers: CIPHERS.default(false),
            key_exchanges: KEY_EXCHANGES.default(false),
            macs: MACS.default(false),
            host_keys: HOST_KEYS.default(false),
            sha1_signatures: false,
        }
    }
}

impl Algorithms {
    /// Makes the lists of the options.
    pub(super) fn new(options: &AlgorithmOptions) -> Result<Algorithms> {
        let legacy = options.ssh_legacy;
        let host_keys = HOST_KEYS.choose(options.ssh_host_key_algorithms.as_deref(), legacy)?;
        Ok(Algorithms {
            ciphers: CIPHERS.choose(options.ssh_ciphers.as_deref(), legacy)?,
            key_exchanges: KEY_EXCHANGES.choose(options.ssh_key_exchange_algorithms.as_deref(), legacy)?,
            macs: MACS.choose(options.ssh_macs.as_deref(), legacy)?,
            sha1_signatures: legacy || host_keys.contains(&Algorithm::Rsa { hash: None }),
            host_keys,
        })
    }

    /// Returns the options that make the same lists.
    pub(super) fn options(&self) -> AlgorithmOptions {
        fn names<T: AsRef<str>>(list: &[T]) -> Option<Vec<String>> {
            Some(list.iter().map(|known| known.as_ref().to_owned()).collect())
        }
        AlgorithmOptions {
            ssh_ciphers: names(&self.ciphers),
            ssh_key_exchange_algorithms: names(&self.key_exchanges),
            ssh_macs: names(&self.macs),
            ssh_host_key_algorithms: names(&self.host_keys),
            ssh_legacy: self.sha1_signatures && !self.host_keys.contains(&Algorithm::Rsa { hash: None }),
        }
    }

    /// Returns the lists for one handshake: host keys of the `wanted` kinds first, and none of the `unwanted`.
    pub(super) fn preferred(&self, wanted: &[Algorithm], unwanted: &[Algorithm]) -> Preferred {
        let rsa = |a: &Algorithm| matches!(a, Algorithm::Rsa { .. });
        let same = |a: &Algorithm, b: &Algorithm| a == b || (rsa(a) && rsa(b));
        let mut host_keys: Vec<_> =
            self.host_keys.iter().filter(|a| !unwanted.iter().any(|u| same(a, u))).cloned().collect();
        // A server with several keys shows the kind asked for first.
        host_keys.sort_by_key(|a| !wanted.iter().any(|w| same(a, w)));
        Preferred {
            kex: Cow::Owned(self.key_exchanges.iter().chain(&EXTENSIONS).copied().collect()),
            key: Cow::Owned(host_keys),
            cipher: Cow::Owned(self.ciphers.clone()),
            mac: Cow::Owned(self.macs.clone()),
            ..Preferred::DEFAULT
        }
    }
}

/// Says that nothing could be agreed on, and which option would help.
pub(super) fn nothing_in_common(kind: &AlgorithmKind, ours: &[String], theirs: &[String]) -> (String, Vec<String>) {
    let (what, option, known, legacy): (_, _, Vec<&str>, Vec<&str>) = match kind {
        AlgorithmKind::Kex => parts(&KEY_EXCHANGES),
        AlgorithmKind::Key => parts(&HOST_KEYS),
        AlgorithmKind::Cipher => parts(&CIPHERS),
        AlgorithmKind::Mac => parts(&MACS),
        AlgorithmKind::Compression => ("compression", "", Vec::new(), Vec::new()),
    };
    let marker = |name: &&String| !name.starts_with("kex-strict-") && !name.starts_with("ext-info-");
    let list = |names: &[String]| names.iter().filter(marker).cloned().collect::<Vec<_>>().join(", ");
    let message = format!("no {what} in common: the server offers {}; rimg offers {}", list(theirs), list(ours));
    let possible: Vec<&str> = theirs.iter().map(String::as_str).filter(|name| known.contains(name)).collect();
    let mut hints = Vec::new();
    if !possible.is_empty() {
        let quoted: Vec<_> = possible.iter().map(|name| format!("{name:?}")).collect();
        hints.push(format!("name what the server has: `{option} = {{ {} }}`", quoted.join(", ")));
        if possible.iter().any(|name| legacy.contains(name)) {
            hints.push(
                "or `ssh_legacy = true` offers all old algorithms; they are no longer safe against an attacker in between"
                    .into(),
            );
        }
    } else if !known.is_empty() {
        hints.push(format!("rimg knows none of the server's; it can do: {}", known.join(", ")));
    }
    (message, hints)
}

fn parts<T: AsRef<str> + Clone>(
    known: &'static Known<T>,
) -> (&'static str, &'static str, Vec<&'static str>, Vec<&'static str>) {
    let legacy = known.legacy.iter().map(AsRef::as_ref).collect();
    (known.what, known.option, known.names(), legacy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: AsRef<str>>(list: &[T]) -> Vec<&str> {
        list.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn old_algorithms_are_offered_only_when_asked_for() {
        let safe = Algorithms::new(&AlgorithmOptions::default()).unwrap();
        for old in ["3des-cbc", "aes128-cbc"] {
            assert!(!names(&safe.ciphers).contains(&old));
        }
        assert!(!names(&safe.key_exchanges).iter().any(|n| n.ends_with("-sha1")));
        assert!(!names(&safe.macs).iter().any(|n| n.contains("sha1")));
        assert!(!names(&safe.host_keys).contains(&"ssh-rsa") && !safe.sha1_signatures);

        let legacy = Algorithms::new(&AlgorithmOptions { ssh_legacy: true, ..Default::default() }).unwrap();
        assert!(names(&legacy.ciphers).ends_with(&["3des-cbc"]));
        assert!(names(&legacy.key_exchanges).contains(&"diffie-hellman-group1-sha1"));
        assert!(names(&legacy.host_keys).ends_with(&["ssh-rsa"]) && legacy.sha1_signatures);

        let named = AlgorithmOptions { ssh_ciphers: Some(vec!["aes256-cbc".into()]), ..Default::default() };
        assert_eq!(names(&Algorithms::new(&named).unwrap().ciphers), ["aes256-cbc"]);
        // What stands among the key exchanges without being one is never lost: without it, strict key exchange is off.
        let preferred = Algorithms::new(&named).unwrap().preferred(&[], &[]);
        assert!(names(&preferred.kex).ends_with(&["ext-info-c", "kex-strict-c-v00@openssh.com"]));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let options = AlgorithmOptions { ssh_macs: Some(vec!["hmac-sha2-265".into()]), ..Default::default() };
        let error = Algorithms::new(&options).unwrap_err();
        assert!(error.message().contains("option `ssh_macs`: there is no MAC \"hmac-sha2-265\""), "{error}");
        assert_eq!(error.hints()[0], "did you mean `hmac-sha2-256`?");
        assert!(error.hints()[1].contains("hmac-sha2-512-etm@openssh.com"), "{:?}", error.hints());
        let dsa = AlgorithmOptions { ssh_host_key_algorithms: Some(vec!["ssh-dss".into()]), ..Default::default() };
        assert!(Algorithms::new(&dsa).unwrap_err().message().contains("DSA"));
        let none = AlgorithmOptions { ssh_ciphers: Some(Vec::new()), ..Default::default() };
        assert!(Algorithms::new(&none).unwrap_err().message().contains("empty list"));
    }

    #[test]
    fn lists_of_an_ssh_configuration_add_remove_and_reorder() {
        let configured = |keyword: &str, spec: &str| {
            let mut options = AlgorithmOptions::default();
            options.configure(keyword, spec).map(|()| Algorithms::new(&options).unwrap())
        };
        assert!(names(&configured("ciphers", "+3des-cbc").unwrap().ciphers).ends_with(&["3des-cbc"]));
        assert_eq!(configured("ciphers", "^aes256-ctr,strange").unwrap().ciphers[0].as_ref(), "aes256-ctr");
        assert_eq!(names(&configured("macs", "-*-etm@openssh.com").unwrap().macs), ["hmac-sha2-256", "hmac-sha2-512"]);
        assert!(configured("hostkeyalgorithms", "+ssh-rsa").unwrap().sha1_signatures);
        let error = configured("kexalgorithms", "quantum").unwrap_err();
        assert!(error.message().contains("none that rimg knows"), "{error}");
    }

    #[test]
    fn a_failed_negotiation_names_the_option_that_helps() {
        let theirs = ["diffie-hellman-group14-sha1".to_owned(), "kex-strict-s-v00@openssh.com".to_owned()];
        let (message, hints) = nothing_in_common(&AlgorithmKind::Kex, &["curve25519-sha256".into()], &theirs);
        assert_eq!(
            message,
            "no key exchange in common: the server offers diffie-hellman-group14-sha1; rimg offers curve25519-sha256"
        );
        assert!(hints[0].contains("ssh_key_exchange_algorithms = { \"diffie-hellman-group14-sha1\" }"), "{hints:?}");
        assert!(hints[1].contains("ssh_legacy"));
        let (_, hints) = nothing_in_common(&AlgorithmKind::Cipher, &[], &["blowfish-cbc".into()]);
        assert!(hints[0].contains("rimg knows none"), "{hints:?}");
    }
}
