//! `/etc/os-release`: what a system says it is.

use std::collections::BTreeMap;

/// Parses the file's `NAME=value` lines, quoted as in a shell.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = line.split_once('=') {
            entries.insert(name.trim().to_owned(), unquote(value.trim()));
        }
    }
    entries
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

/// Returns the family of a distribution, as configuration management tools name it, from `ID` and `ID_LIKE`.
pub fn family(id: &str, id_like: &str) -> String {
    let known = |id: &str| match id {
        "debian" | "ubuntu" | "raspbian" | "linuxmint" | "kali" | "pop" | "devuan" => Some("debian"),
        "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" | "scientific" | "mariner" => {
            Some("redhat")
        }
        "suse" | "opensuse" | "sles" | "sled" | "opensuse-leap" | "opensuse-tumbleweed" => Some("suse"),
        "alpine" => Some("alpine"),
        "arch" | "archarm" | "manjaro" => Some("arch"),
        "gentoo" => Some("gentoo"),
        "void" => Some("void"),
        "nixos" => Some("nixos"),
        "freebsd" => Some("freebsd"),
        _ => None,
    };
    std::iter::once(id).chain(id_like.split_whitespace()).find_map(known).unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_quotes_comments_and_escapes() {
        let entries = parse("# x\nNAME=\"A \\\"B\\\" \\$5\"\n\nID=debian\nEMPTY=\nS='it is'\nnonsense\n");
        assert_eq!(entries["NAME"], "A \"B\" $5");
        assert_eq!((entries["ID"].as_str(), entries["EMPTY"].as_str(), entries["S"].as_str()), ("debian", "", "it is"));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_distribution_belongs_to_the_family_it_is_like() {
        assert_eq!(family("ubuntu", "debian"), "debian");
        assert_eq!(family("neon", "ubuntu debian"), "debian");
        assert_eq!(family("rocky", "rhel centos fedora"), "redhat");
        assert_eq!(family("opensuse-leap", "suse opensuse"), "suse");
        assert_eq!(family("unheard-of", ""), "unheard-of");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Z=\"'\\\\ é\n]{0,60}") {
            let _ = parse(&text);
        }
    }
}
