//! Checksums, and the files they stand in.

use std::collections::BTreeMap;

use super::source::Source;
use crate::host::digest::{Algorithm, of_bytes};
use crate::media::checksum::{Checksum, find};

/// Whatever is found is a digest that stands there, and what is written by GNU's, BSD's and OpenSSL's rules is found.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(Checksum::Digest(algorithm, hex)) = Checksum::parse(&text) {
        assert_eq!(Checksum::parse(&format!("{algorithm}:{hex}")).unwrap(), Checksum::Digest(algorithm, hex));
    }
    for name in text.split_whitespace().take(8) {
        if let Some((algorithm, hex)) = find(&text, "SUMS", name) {
            assert_eq!(hex.len(), algorithm.hex_length());
            assert!(text.to_ascii_lowercase().contains(&hex), "{hex} is not in {text:?}");
        }
    }
    a_list_is_read_back(&mut Source::new(data));
}

const PIECES: &[&str] =
    &["a", "B", "7", ".iso", " ", "  ", "*", "\\", "\n", "\r", "(", ") = ", ")= ", "=", "é", "-", "/", "\t"];

fn a_list_is_read_back(source: &mut Source<'_>) {
    let mut listed = BTreeMap::new();
    let mut text = String::new();
    let form = source.below(3);
    for number in 0..source.below(6) {
        if source.flag() {
            text.push_str(source.pick(&[
                "# a comment\n",
                "\n",
                "-----BEGIN PGP SIGNED MESSAGE-----\n",
                "Hash: SHA512\n",
            ]));
        }
        // Names are told apart by their ends, whatever else is in them; a folder's own dots mean nothing.
        let name = format!("x{}{number}", source.text(PIECES, 8));
        let name = if source.flag() { format!("{}{name}", source.pick(&[" ", "*", "(", "\\", "d/"])) } else { name };
        let algorithm = source.pick(&[Algorithm::Sha256, Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha512]);
        let hex = of_bytes(algorithm, source.bytes(4));
        let shown = if source.flag() { hex.to_uppercase() } else { hex.clone() };
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let mark = if escaped == name { "" } else { "\\" };
        let tag = algorithm.to_string().to_uppercase();
        text.push_str(&match (form, source.flag()) {
            (0, _) => format!("{mark}{tag} ({escaped}) = {shown}\n"),
            (1, _) => format!("{mark}{tag}({escaped})= {shown}\n"),
            (_, true) => format!("{mark}{shown} *{escaped}\n"),
            (_, false) => format!("{mark}{shown}  {escaped}\n"),
        });
        listed.insert(name, (algorithm, hex));
    }
    for (name, digest) in &listed {
        assert_eq!(find(&text, "SUMS", name).as_ref(), Some(digest), "{name:?} in {text:?}");
    }
}
