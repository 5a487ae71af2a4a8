//! Files and options of SSH: configuration, known hosts, keys, tunnels.

use std::path::Path;

use super::source::Source;
use crate::communicator::ssh::TunnelOptions;
use crate::communicator::ssh::config::{Asked, lookup};
use crate::communicator::ssh::host_key::HostKey;
use crate::communicator::ssh::keys;
use crate::communicator::ssh::pem;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBHWXiYrEir6JmRd3KqGaXYLedOLrRCG3mrhUsrbplok";
const HEADS: &[&str] =
    &["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"];

/// Whatever is in such a file is understood or refused, and what is written by the rules is found.
pub(super) fn holds(data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let text = String::from_utf8_lossy(data);
    std::fs::write(&path, text.as_bytes()).unwrap();
    let asked =
        Asked { host: "db".into(), user: None, port: None, local_user: "me".into(), home: folder.path().to_owned() };
    // Which other files a configuration names is up to chance.
    if !text.to_ascii_lowercase().contains("include")
        && let Ok(found) = lookup(&path, &asked)
    {
        assert!(found.proxy_jump.iter().flatten().all(|hop| !hop.host.is_empty() && hop.port != Some(0)), "{found:?}");
    }
    let _ = HostKey::known("x", &path, "db", 22);
    let _ = HostKey::parse("x", &text);
    let _ = keys::load(&path, None);
    let _ = pem::open(&text, "secret");
    for tunnel in (TunnelOptions { ssh_local_tunnels: vec![text.to_string()], ..TunnelOptions::default() })
        .local()
        .into_iter()
        .flatten()
    {
        assert!(!tunnel.to_host.is_empty() && tunnel.to_port > 0, "{tunnel:?}");
    }

    let mut source = Source::new(data);
    keys_of_any_content(&mut source, data, &path);
    what_is_written_is_found(&mut source, &asked, &path);
}

fn keys_of_any_content(source: &mut Source<'_>, data: &[u8], path: &Path) {
    use base64::Engine as _;
    let head = source.pick(HEADS);
    let name = source.pick(&["AES-128-CBC", "AES-256-CBC", "DES-EDE3-CBC", "RC2"]);
    let legacy = if source.flag() {
        format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: {name},{:032x}\n\n", source.number())
    } else {
        String::new()
    };
    let magic: &[u8] = if head.starts_with("OPENSSH") { b"openssh-key-v1\0" } else { b"" };
    let body = base64::engine::general_purpose::STANDARD.encode([magic, data].concat());
    let text = format!("-----BEGIN {head}-----\n{legacy}{body}\n-----END {head}-----\n");
    std::fs::write(path, &text).unwrap();
    let _ = keys::load(path, None);
    let _ = pem::open(&text, "secret");
}

fn what_is_written_is_found(source: &mut Source<'_>, asked: &Asked, path: &Path) {
    let port = 1 + source.below(65_535) as u16;
    let name = format!("h{}", source.text(&["a", ".", "-", "1"], 6));
    let (equals, indent) = (source.pick(&[" ", "=", " = ", "\t"]), source.pick(&["", "  ", "\t"]));
    let quote = source.pick(&["", "\""]);
    let block = format!("{indent}HostName{equals}{quote}{name}{quote}\n{indent}pOrT{equals}{port}\n");
    let others = source.pick(&["", "# a comment\n\n", "Host other !db\n  Port 1\n", "Match host nowhere\n Port 2\n"]);
    std::fs::write(
        path,
        format!("{others}Host {}\n{block}Host *\n  Port 9\n", source.pick(&["db", "d?", "* !x", "\"db\""])),
    )
    .unwrap();
    let found = lookup(path, asked).unwrap();
    assert_eq!((found.host_name.as_deref(), found.port), (Some(name.as_str()), Some(port)));

    let line = if port == 22 { format!("{name} {KEY}\n") } else { format!("x,[{name}]:{port} {KEY} comment\n") };
    std::fs::write(path, format!("{}{line}", source.pick(&["", "# a comment\n", "broken\n", "@revoked x \n"])))
        .unwrap();
    let known = HostKey::known("x", path, &name, port).unwrap();
    let key = russh::keys::PublicKey::from_openssh(KEY).unwrap();
    assert_eq!(known.mismatch(&key), None);
    assert!(HostKey::known("x", path, &name, port ^ 1).is_err());
}
