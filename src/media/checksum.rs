//! Checksums as users give them, and checksum files.

use crate::error::{Error, Kind, Result};
use crate::host::digest::Algorithm;

/// What a download must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Not checked, because the user says so.
    None,
    /// It has this digest, in lower-case hexadecimal.
    Digest(Algorithm, String),
    /// Its digest stands in a checksum file: a URL or a path.
    File(String),
}

impl Checksum {
    /// Parses `sha256:HEX`, a bare digest, `file:URL` (or a path), or `none`.
    pub fn parse(text: &str) -> Result<Checksum> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("none") {
            return Ok(Checksum::None);
        }
        if let Some(file) = text.strip_prefix("file:") {
            if file.is_empty() {
                return Err(wrong(text, "`file:` must be followed by the URL or path of a checksum file"));
            }
            // `file:///path` is itself the URL of a local file.
            let is_url = file.starts_with("//");
            return Ok(Checksum::File(if is_url { text } else { file }.to_owned()));
        }
        let (algorithm, hex) = match text.split_once(':') {
            Some((name, hex)) => {
                let algorithm = Algorithm::parse(name).ok_or_else(|| {
                    let names = Algorithm::ALL.map(Algorithm::as_str).join(", ");
                    wrong(text, format!("{name:?} is not an algorithm; there are {names}"))
                })?;
                (algorithm, hex)
            }
            None => {
                let algorithm = Algorithm::by_hex_length(text.len())
                    .filter(|_| is_hex(text))
                    .ok_or_else(|| wrong(text, "it is no hexadecimal digest of a known length"))?;
                (algorithm, text)
            }
        };
        if !is_hex(hex) || hex.len() != algorithm.hex_length() {
            let (want, found) = (algorithm.hex_length(), hex.chars().count());
            return Err(wrong(text, format!("{algorithm} has {want} hexadecimal digits, found {found} characters")));
        }
        Ok(Checksum::Digest(algorithm, hex.to_ascii_lowercase()))
    }

    /// Parses the option `name` of `of`; leaving it out is an error, since only `none` may mean "unchecked".
    pub fn required(of: &str, name: &str, given: Option<&str>) -> Result<Checksum> {
        match given {
            Some(text) => Checksum::parse(text).map_err(|e| e.within(format!("{of}: option `{name}`"))),
            None => Err(Error::new(Kind::Option, format!("{of}: option `{name}`: is required for a download"))
                .hint(format!("{name} = \"sha256:…\", or \"file:URL\" of the publisher's checksum file"))
                .hint(format!("{name} = \"none\" downloads without checking"))),
        }
    }
}

fn wrong(text: &str, why: impl std::fmt::Display) -> Error {
    let shown: String = text.chars().take(160).collect();
    Error::new(Kind::Option, format!("{shown:?} is not a checksum: {why}"))
        .hint("write \"sha256:HEX\" (or md5, sha1, sha512, blake3, …), a bare digest, \"file:URL\" or \"none\"")
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A line of a checksum file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    algorithm: Algorithm,
    hex: String,
    /// None where the file holds a digest alone.
    name: Option<String>,
}

/// Finds the digest of `name` in a checksum file: GNU's `HEX  NAME`, BSD's `SHA256 (NAME) = HEX`, OpenSSL's
/// `SHA2-256(NAME)= HEX`, or one lone digest.
/// Everything else (signatures, comments) is passed over. `file` is the checksum file's own name, which tells BLAKE3
/// from SHA-256; of several digests of `name` the strongest is taken.
pub fn find(text: &str, file: &str, name: &str) -> Option<(Algorithm, String)> {
    let blake3 = ["b3", "blake3"].iter().any(|mark| file.to_ascii_lowercase().contains(mark));
    let lines: Vec<Line> = text.lines().filter_map(|line| parse_line(line, blake3)).collect();
    let wanted = name.trim_start_matches("./");
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let best = |matches: &dyn Fn(&str) -> bool| {
        let named = lines.iter().filter(|line| line.name.as_deref().is_some_and(matches));
        named.max_by_key(|line| line.algorithm.hex_length()).cloned()
    };
    // The same path before the same file name in another folder.
    let found = best(&|listed| listed.trim_start_matches("./") == wanted)
        .or_else(|| best(&|listed| base(listed) == base(wanted)))
        .or_else(|| best(&|listed| base(listed.trim()) == base(wanted)))
        .or_else(|| match lines.as_slice() {
            [only] if only.name.is_none() => Some(only.clone()),
            _ => None,
        })?;
    Some((found.algorithm, found.hex))
}

fn parse_line(line: &str, blake3: bool) -> Option<Line> {
    let line = line.trim_end_matches('\r');
    // GNU marks a line whose name is escaped.
    let (line, escaped) = match line.strip_prefix('\\') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let name = |name: &str| if escaped { unescape(name) } else { name.to_owned() };
    if let Some((tag, rest)) = line.split_once('(')
        && let Some(algorithm) = tagged(tag)
    {
        // BSD has a space before the parenthesis and before the `=`, OpenSSL (dgst) neither.
        let (listed, hex) = rest.rsplit_once(if tag.ends_with(' ') { ") = " } else { ")= " })?;
        let hex = hex.trim();
        let fits = is_hex(hex) && hex.len() == algorithm.hex_length();
        return fits.then(|| Line { algorithm, hex: hex.to_ascii_lowercase(), name: Some(name(listed)) });
    }
    let line = line.trim_start();
    let (hex, rest) = match line.split_once([' ', '\t']) {
        Some((hex, rest)) => (hex, Some(rest)),
        None => (line, None),
    };
    let algorithm = Algorithm::by_hex_length(hex.len()).filter(|_| is_hex(hex))?;
    let algorithm = if blake3 && algorithm == Algorithm::Sha256 { Algorithm::Blake3 } else { algorithm };
    // A space or an asterisk more tells text from binary mode; all behind it is the name. Other lists put what they like.
    let listed = rest.map(|rest| match rest.strip_prefix([' ', '*']) {
        Some(name) => name,
        None => rest.trim_start_matches([' ', '\t']),
    });
    let listed = listed.filter(|listed| !listed.trim().is_empty()).map(name);
    Some(Line { algorithm, hex: hex.to_ascii_lowercase(), name: listed })
}

/// Reads the name before the parenthesis; OpenSSL 3 says `SHA2-256` where others say `SHA256`.
fn tagged(text: &str) -> Option<Algorithm> {
    let text = text.strip_suffix(' ').unwrap_or(text);
    Algorithm::parse(text).or_else(|| Algorithm::parse(&format!("sha{}", text.strip_prefix("SHA2-")?)))
}

fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    #[test]
    fn takes_every_form() {
        let sha256 = Checksum::Digest(Algorithm::Sha256, SHA256.to_lowercase());
        assert_eq!(Checksum::parse(&format!("sha256:{SHA256}")).unwrap(), sha256);
        assert_eq!(Checksum::parse(SHA256).unwrap(), sha256);
        assert_eq!(Checksum::parse(MD5).unwrap(), Checksum::Digest(Algorithm::Md5, MD5.into()));
        assert_eq!(Checksum::parse("none").unwrap(), Checksum::None);
        let file = |text: &str| Checksum::File(text.into());
        assert_eq!(Checksum::parse("file:https://x.org/SUMS").unwrap(), file("https://x.org/SUMS"));
        assert_eq!(Checksum::parse("file:./SUMS").unwrap(), file("./SUMS"));
        assert_eq!(Checksum::parse("file:file:///a/SUMS").unwrap(), file("file:///a/SUMS"));
        assert_eq!(Checksum::parse("file:///a/SUMS").unwrap(), file("file:///a/SUMS"));
        for bad in ["", "sha256:", "sha256:12", "crc32:12345678", "hello", "file:", "xyz150983cd24fb0d6963f7d28e17f72"]
        {
            assert_eq!(Checksum::parse(bad).unwrap_err().kind(), Kind::Option, "{bad}");
        }
        let error = Checksum::required("rimg.qemu", "source_checksum", None).unwrap_err();
        assert!(error.message().contains("`source_checksum`"), "{error}");
    }

    #[test]
    fn finds_a_name_in_every_format() {
        let hex = SHA256.to_lowercase();
        let sha256 = Some((Algorithm::Sha256, hex.clone()));
        let sums =
            format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{MD5}  other.iso\n{SHA256} *a b.iso\r\n");
        assert_eq!(find(&sums, "SUMS", "a b.iso"), sha256);
        assert_eq!(find(&sums, "SUMS", "b.iso"), None);
        assert_eq!(find(&format!("# x\nSHA256 (a b.iso) = {SHA256}\n"), "CHECKSUM", "a b.iso"), sha256);
        for tag in ["SHA256", "SHA2-256"] {
            let text = format!("MD5(a b.iso)= {MD5}\n{tag}(a b.iso)= {SHA256}\n{tag}(c)= {}\n", "0".repeat(64));
            assert_eq!(find(&text, "CHECKSUM", "a b.iso"), sha256);
            assert_eq!(find(&text, "CHECKSUM", "b.iso"), None);
        }
        assert_eq!(find(&format!("SHA2-256(x)= {MD5}\n"), "CHECKSUM", "x"), None);
        assert_eq!(find(SHA256, "x.iso.sha256", "x.iso"), sha256);
        assert_eq!(find(SHA256, "B3SUMS", "x.iso"), Some((Algorithm::Blake3, hex.clone())));
        let folders = format!("{}  ./a/x.iso\n{SHA256}  ./b/x.iso\n", "0".repeat(64));
        assert_eq!(find(&folders, "SUMS", "b/x.iso"), sha256);
        assert_eq!(find(&format!("{MD5}  x.iso\n{SHA256}  x.iso\n"), "SUMS", "x.iso"), sha256);
        assert_eq!(find(&format!("{SHA256}   *x\n"), "SUMS", " *x"), sha256);
        assert_eq!(find(&format!("{SHA256}      x\n"), "SUMS", "x"), sha256);
        assert_eq!(find(&format!("{SHA256}\t\tx\n"), "SUMS", "x"), sha256);
        assert_eq!(find(&format!("\\{SHA256}  a\\nb\\\\c\n"), "SUMS", "a\nb\\c"), sha256);
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parsers_panic(text in "\\PC{0,200}", name in "\\PC{0,20}") {
            let _ = Checksum::parse(&text);
            let _ = find(&text, "SUMS", &name);
        }

        #[test]
        fn what_gnu_bsd_and_openssl_write_is_found(
            names in proptest::collection::btree_set("[a-zA-Z0-9(][a-zA-Z0-9 ()=*._-]{0,12}[a-zA-Z0-9)]", 1..6),
            form in 0..4usize,
            pick: proptest::sample::Index,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let hex_of = |name: &str| crate::host::digest::of_bytes(Algorithm::Sha512, name.as_bytes());
            let text: String = names.iter().map(|name| {
                let hex = hex_of(name);
                match form {
                    0 => format!("{hex}  {name}\n"),
                    1 => format!("SHA512 ({name}) = {hex}\n"),
                    2 => format!("SHA512({name})= {hex}\n"),
                    _ => format!("SHA2-512({name})= {hex}\n"),
                }
            }).collect();
            let wanted = &names[pick.index(names.len())];
            prop_assert_eq!(find(&text, "SUMS", wanted), Some((Algorithm::Sha512, hex_of(wanted))));
        }

        #[test]
        fn a_digest_with_its_name_parses(bytes in proptest::collection::vec(any::<u8>(), 0..50), which in 0..7usize) {
            let algorithm = Algorithm::ALL[which];
            let hex = crate::host::digest::of_bytes(algorithm, &bytes);
            prop_assert_eq!(Checksum::parse(&format!("{algorithm}:{hex}")).unwrap(), Checksum::Digest(algorithm, hex));
        }
    }
}
