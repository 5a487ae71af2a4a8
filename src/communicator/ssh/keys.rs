//! Private keys and certificates, read from files.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey};

use super::options::option_error;
use super::pem::{self, Opened};
use super::plan::Identity;
use super::short_scalar;
pub use super::temporary::{
    HostKeyPair, KeyKind, TemporaryKey, TemporaryKeyOptions, clear_authorized_keys, clear_seed,
};
use crate::error::{Error, Result};

/// What the options are called that a key comes from.
pub(super) struct Names {
    pub file: String,
    pub passphrase: String,
    pub certificate: String,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            file: "ssh_private_key_file".into(),
            passphrase: "ssh_private_key_passphrase".into(),
            certificate: "ssh_certificate_file".into(),
        }
    }
}

/// A key to log in with.
#[derive(Clone)]
pub(super) struct Loaded {
    /// What to call it in an error.
    pub name: String,
    pub key: Arc<PrivateKey>,
    pub certificate: Option<Certificate>,
    /// The file's content, to be hidden.
    pub text: String,
}

/// Reads a private key file (OpenSSH, PKCS#1, PKCS#8, SEC1, PuTTY), unlocking it with `passphrase`. Blocking: the
/// passphrase of an OpenSSH key takes a good part of a second to check.
pub fn load(path: &Path, passphrase: Option<&str>) -> Result<PrivateKey> {
    let names = Names::default();
    decode(path, &read(path, &names)?, passphrase, &names)
}

/// The same, where other options give the file and the passphrase: `names` are theirs, for errors.
pub fn load_as(path: &Path, passphrase: Option<&str>, names: (&str, &str)) -> Result<PrivateKey> {
    let names = Names { file: names.0.into(), passphrase: names.1.into(), ..Names::default() };
    decode(path, &read(path, &names)?, passphrase, &names)
}

/// Reads a key and its certificate. Without `unlock`, one with a passphrase is only looked at, and nothing is returned.
pub(super) fn load_with(
    identity: &Identity,
    passphrase: Option<&str>,
    unlock: bool,
    names: &Names,
) -> Result<Option<Loaded>> {
    let path = &identity.path;
    let certificate =
        identity.certificate.as_ref().map(|certificate| read_certificate(certificate, names)).transpose()?;
    let text = read(path, names)?;
    if !unlock && passphrase.is_some() && is_locked(&text) {
        return Ok(None);
    }
    let key = decode(path, &text, passphrase, names)?;
    let mut name = format!("key {}", path.display());
    if let Some(certificate) = &certificate {
        if certificate.public_key() != key.public_key().key_data() {
            return Err(option_error(
                names.certificate.clone(),
                format!("the certificate is for another key than {}", path.display()),
            )
            .hint("sign the key's own public half: ssh-keygen -s CA -I NAME -n USER KEY.pub"));
        }
        name.push_str(" with its certificate");
    }
    Ok(Some(Loaded { name, key: Arc::new(key), certificate, text }))
}

fn read(path: &Path, names: &Names) -> Result<String> {
    let wrong = |message: String| option_error(names.file.clone(), message);
    let meta = std::fs::metadata(path).map_err(|e| {
        wrong(format!("cannot read {}", path.display()))
            .hint("make one with `ssh-keygen -t ed25519`, or correct the path")
            .caused_by(e)
    })?;
    if !meta.is_file() {
        return Err(wrong(format!("{} is not a file", path.display())));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(format!("cannot read {}", path.display())).caused_by(e))?;
    String::from_utf8(bytes).map_err(|_| {
        wrong(format!("{} is not a private key that can be read: it is not text", path.display()))
            .hint("DER files can be converted with: openssl pkey -inform DER -in KEY -out KEY.pem")
    })
}

fn decode(path: &Path, text: &str, passphrase: Option<&str>, names: &Names) -> Result<PrivateKey> {
    let wrong = |message: String| option_error(names.file.clone(), message);
    let begin = text.trim_start();
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| begin.starts_with(kind)) || begin.contains("BEGIN PUBLIC KEY") {
        return Err(wrong(format!("{} is a public key", path.display()))
            .hint("name the file of the private key, usually the same without .pub"));
    }
    if begin.contains("BEGIN DSA PRIVATE KEY") {
        return Err(wrong(format!("{} is a DSA key: they are broken, and not supported", path.display()))
            .hint("make another one with `ssh-keygen -t ed25519` (or -t rsa for an old server)"));
    }
    let locked = is_locked(text);
    let passphrase = match (locked, passphrase) {
        (true, None) => {
            return Err(wrong(format!("the private key {} is locked with a passphrase", path.display())).hint(
                format!("give it in `{}`, or load the key into an agent and let that log in", names.passphrase),
            ));
        }
        (true, passphrase) => passphrase,
        // A passphrase that nothing needs must not make a decrypter of the plain.
        (false, _) => None,
    };
    let cannot_unlock = || {
        option_error(names.passphrase.clone(), format!("it does not unlock the private key {}", path.display()))
            .hint("check the passphrase: ssh-keygen -y -f KEY asks for it, too")
    };
    let unreadable = |cause: Option<russh::keys::Error>| {
        let error = wrong(format!("{} is not a private key that can be read", path.display()))
            .hint("OpenSSH, PEM and PuTTY files are understood");
        match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    };
    if let Some(passphrase) = passphrase.filter(|_| pem::is_encrypted(text)) {
        return match pem::open(text, passphrase) {
            // Proper padding and proper DER of a wrong passphrase is possible, and no key.
            Opened::Plain(plain) => russh::keys::decode_secret_key(&plain, None).map_err(|_| cannot_unlock()),
            Opened::Wrong => Err(cannot_unlock()),
            Opened::Unknown(name) => Err(wrong(format!("{} is encrypted with {name}", path.display()))
                .hint("convert it: ssh-keygen -p -f KEY writes an OpenSSH key with the same passphrase")),
        };
    }
    russh::keys::decode_secret_key(text, passphrase).or_else(|e| {
        short_scalar::decode(text, passphrase)
            .ok_or_else(|| if locked { cannot_unlock().caused_by(e) } else { unreadable(Some(e)) })
    })
}

/// Tells whether a key file needs a passphrase.
fn is_locked(text: &str) -> bool {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem::is_encrypted(text) {
        return true;
    }
    if let Some(rest) = text.split("\nEncryption:").nth(1).filter(|_| text.starts_with("PuTTY-User-Key-File-")) {
        return !rest.trim_start().starts_with("none");
    }
    text.contains("BEGIN OPENSSH PRIVATE KEY")
        && PrivateKey::from_openssh(text.trim()).is_ok_and(|key| key.is_encrypted())
}

fn read_certificate(path: &Path, names: &Names) -> Result<Certificate> {
    let wrong = |message: String| option_error(names.certificate.clone(), message);
    let text =
        std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot read {}", path.display())).caused_by(e))?;
    let certificate = Certificate::from_openssh(text.trim()).map_err(|e| {
        wrong(format!("{} is not an OpenSSH certificate", path.display()))
            .hint("it is what `ssh-keygen -s CA -I NAME -n USER KEY.pub` leaves as KEY-cert.pub")
            .caused_by(e)
    })?;
    if certificate.cert_type() != CertType::User {
        return Err(wrong(format!("{} is a certificate of a host, not of a user", path.display()))
            .hint("sign the key without -h"));
    }
    in_time(&certificate, SystemTime::now()).map_err(|when| {
        wrong(format!("the certificate {} {when}", path.display())).hint("see: ssh-keygen -L -f CERTIFICATE")
    })?;
    Ok(certificate)
}

fn in_time(certificate: &Certificate, now: SystemTime) -> std::result::Result<(), &'static str> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if certificate.valid_before() <= seconds {
        return Err("has expired");
    }
    if certificate.valid_after() > seconds {
        return Err("is not valid yet");
    }
    Ok(())
}

/// Says who a certificate is for when a server refuses it.
pub(super) fn about(certificate: &Certificate, user: &str) -> Option<String> {
    let principals = certificate.valid_principals();
    let fits = principals.is_empty() || principals.iter().any(|name| name == user);
    (!fits).then(|| format!("the certificate is for {}", principals.join(", ")))
}

/// Marks an error as one of a key's file, for callers that name the option themselves.
pub(super) fn interrupted(error: tokio::task::JoinError) -> Error {
    Error::new(crate::error::Kind::Internal, "reading a private key was interrupted").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(program: &str) -> bool {
        if crate::host::process::which(program).is_some() {
            return true;
        }
        assert!(std::env::var_os("CI").is_none(), "{program} is required in CI");
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("SKIPPED: {program} is not installed");
        }
        false
    }

    fn run(program: &str, args: &[&str], file: &Path) {
        let status = std::process::Command::new(program)
            .args(args)
            .arg(file)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{program} {args:?}");
    }

    fn keygen(args: &[&str], file: &Path) {
        run("ssh-keygen", &[args, &["-q", "-f"]].concat(), file);
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
        // A passphrase that is not needed does no harm.
        load(&path, Some("not needed")).unwrap();
        let error = {
            std::fs::write(dir.path().join("key.pub"), &key.authorized_key).unwrap();
            load(&dir.path().join("key.pub"), None).unwrap_err()
        };
        assert!(error.message().contains("is a public key"), "{error}");
    }

    #[test]
    fn reads_every_format_locked_and_not() {
        if !available("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let kinds = [["ed25519", "256"], ["ecdsa", "256"], ["ecdsa", "384"], ["ecdsa", "521"], ["rsa", "2048"]];
        for [kind, bits] in kinds {
            for format in ["RFC4716", "PEM", "PKCS8"] {
                // ssh-keygen writes ed25519 in its own format only.
                if kind == "ed25519" && format != "RFC4716" {
                    continue;
                }
                let path = dir.path().join(format!("{kind}-{bits}-{format}"));
                keygen(&["-t", kind, "-b", bits, "-m", format, "-N", "sesame-open"], &path);
                let key = load(&path, Some("sesame-open")).unwrap_or_else(|e| panic!("{path:?}: {e}"));
                let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
                assert!(public.contains(key.public_key().to_openssh().unwrap().split(' ').nth(1).unwrap()), "{path:?}");
                let error = load(&path, None).unwrap_err();
                assert!(error.message().contains("is locked with a passphrase"), "{path:?}: {error}");
                let error = load(&path, Some("wrong")).unwrap_err();
                assert!(error.message().contains("does not unlock"), "{path:?}: {error}");
                assert_eq!(error.get("option").unwrap(), "ssh_private_key_passphrase");
                keygen(&["-p", "-P", "sesame-open", "-N", "", "-m", format], &path);
                load(&path, None).unwrap_or_else(|e| panic!("{path:?} unlocked: {e}"));
            }
        }
        std::fs::write(dir.path().join("junk"), "not a key").unwrap();
        let error = load(&dir.path().join("junk"), None).unwrap_err();
        assert!(error.message().contains("is not a private key"), "{error}");
        let error = load(dir.path(), None).unwrap_err();
        assert!(error.message().contains("is not a file"), "{error}");
    }

    #[test]
    fn reads_what_openssl_writes() {
        if !available("openssl") || !available("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        keygen(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""], &plain);
        let plain = plain.display().to_string();
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3"] {
            let path = dir.path().join(format!("rsa{cipher}"));
            run("openssl", &["rsa", "-traditional", "-in", &plain, cipher, "-passout", "pass:sesame", "-out"], &path);
            assert!(std::fs::read_to_string(&path).unwrap().contains("DEK-Info"));
            load(&path, Some("sesame")).unwrap_or_else(|e| panic!("{cipher}: {e}"));
            assert!(load(&path, Some("sesamf")).unwrap_err().message().contains("does not unlock"));
        }
        let camellia = dir.path().join("camellia");
        run(
            "openssl",
            &["rsa", "-traditional", "-in", &plain, "-camellia128", "-passout", "pass:x", "-out"],
            &camellia,
        );
        assert!(load(&camellia, Some("x")).unwrap_err().message().contains("encrypted with CAMELLIA-128-CBC"));
        for (name, args) in [
            ("pbes2", &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"][..]),
            ("pbes2-sha1", &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"]),
            ("pbes2-des3", &["-v2", "des3", "-v2prf", "hmacWithSHA1"]),
            ("scrypt", &["-v2", "aes-256-cbc", "-scrypt"]),
        ] {
            let path = dir.path().join(name);
            let start = ["pkcs8", "-topk8", "-in", &plain, "-passout", "pass:sesame"];
            run("openssl", &[&start[..], args, &["-out"]].concat(), &path);
            load(&path, Some("sesame")).unwrap_or_else(|e| panic!("{name}: {e} {:?}", e.hints()));
        }
        for curve in ["prime256v1", "secp384r1", "secp521r1"] {
            let path = dir.path().join(curve);
            run("openssl", &["ecparam", "-name", curve, "-genkey", "-noout", "-out"], &path);
            load(&path, None).unwrap_or_else(|e| panic!("{curve}: {e}"));
        }
        let ed = dir.path().join("ed25519");
        run("openssl", &["genpkey", "-algorithm", "ed25519", "-out"], &ed);
        load(&ed, None).unwrap();
    }

    #[test]
    fn certificates_are_looked_at_beforehand() {
        if !available("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["ca", "key", "other"] {
            keygen(&["-t", "ed25519", "-N", ""], &path(name));
        }
        let ca = path("ca").display().to_string();
        let sign = |args: &[&str], key: &str| {
            run("ssh-keygen", &[&["-q", "-s", &ca, "-I", "test"], args].concat(), &path(&format!("{key}.pub")));
            std::fs::read_to_string(path(&format!("{key}-cert.pub"))).unwrap()
        };
        let load = |certificate: &str| {
            std::fs::write(path("certificate"), certificate).unwrap();
            let identity = Identity { path: path("key"), certificate: Some(path("certificate")), optional: false };
            load_with(&identity, None, true, &Names::default())
        };
        let good = load(&sign(&["-n", "root,deploy"], "key")).unwrap().unwrap();
        let certificate = good.certificate.unwrap();
        assert_eq!(about(&certificate, "root"), None);
        assert_eq!(about(&certificate, "nobody").unwrap(), "the certificate is for root, deploy");
        for (certificate, expected) in [
            (sign(&["-n", "root", "-V", "20200101:20200102"], "key"), "has expired"),
            (sign(&["-n", "root", "-V", "20900101:20910102"], "key"), "is not valid yet"),
            (sign(&["-h", "-n", "host"], "key"), "is a certificate of a host"),
            (sign(&["-n", "root"], "other"), "is for another key"),
            ("ssh-ed25519 nonsense".into(), "is not an OpenSSH certificate"),
        ] {
            let Err(error) = load(&certificate) else { panic!("{expected}") };
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
