//! Names: which are possible, and the short ones that go with them.

use std::collections::HashSet;

/// The most units of UTF-16 that a name may have.
const MAX_UNITS: usize = 255;

/// A short name, `NAME` and `EXT` padded with spaces.
pub(super) type Short = [u8; 11];

/// Says what is wrong with a name, if anything is.
pub(super) fn wrong(name: &str) -> Option<&'static str> {
    if name.chars().any(|c| c.is_control() || "\"*/:<>?\\|".contains(c)) {
        return Some("a name on a floppy may not have control characters or any of \" * / : < > ? \\ |");
    }
    if name.ends_with(['.', ' ']) {
        return Some("a name on a floppy may not end with a dot or a space");
    }
    (name.encode_utf16().count() > MAX_UNITS).then_some("a name on a floppy may have 255 characters at most")
}

/// Returns an unused short name, and whether it says all that the name does.
pub(super) fn short(name: &str, taken: &HashSet<Short>) -> (Short, bool) {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "_-~".contains(c);
    let exact = !stem.is_empty()
        && stem.len() <= 8
        && extension.len() <= 3
        && stem.chars().chain(extension.chars()).all(plain)
        && !name.ends_with('.');
    if exact {
        let short = padded(stem, extension);
        if !taken.contains(&short) {
            return (short, true);
        }
    }
    let clean = |text: &str, width: usize| -> String {
        let upper = text.chars().filter(|c| !" .".contains(*c)).map(|c| c.to_ascii_uppercase());
        upper.map(|c| if plain(c) { c } else { '_' }).take(width).collect()
    };
    let (stem, extension) = (clean(stem, 8), clean(extension, 3));
    let mut number = 1;
    loop {
        let tail = format!("~{number}");
        let head: String = stem.chars().take(8usize.saturating_sub(tail.len())).collect();
        let short = padded(&format!("{head}{tail}"), &extension);
        if !taken.contains(&short) {
            return (short, false);
        }
        number += 1;
    }
}

/// Returns the sum by which long names know the short name they belong to.
pub(super) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn padded(stem: &str, extension: &str) -> Short {
    let mut short = [b' '; 11];
    let stem = stem.bytes().chain(std::iter::repeat(b' ')).take(8);
    let extension = extension.bytes().chain(std::iter::repeat(b' ')).take(3);
    short.iter_mut().zip(stem.chain(extension)).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_found_for_all() {
        let mut taken = HashSet::new();
        let mut next = |name: &str| {
            let (short, exact) = short(name, &taken);
            assert!(taken.insert(short));
            (String::from_utf8(short.to_vec()).unwrap(), exact)
        };
        assert_eq!(next("README.TXT"), ("README  TXT".into(), true));
        assert_eq!(next("Autounattend.xml"), ("AUTOUN~1XML".into(), false));
        assert_eq!(next("AutounattendX.xml"), ("AUTOUN~2XML".into(), false));
        assert_eq!(next("AUTOUN~3.XML"), ("AUTOUN~3XML".into(), true));
        assert_eq!(next("autounattend.xml2"), ("AUTOUN~4XML".into(), false));
        assert_eq!(next(".hidden"), ("HIDDEN~1   ".into(), false));
        assert_eq!(next("é日.b c.d"), ("__BC~1  D  ".into(), false));
        assert_eq!(next("ks.cfg"), ("KS~1    CFG".into(), false));
    }

    #[test]
    fn names_that_windows_cannot_read_are_refused() {
        for bad in ["a:b", "a\nb", "a.", "a ", &"x".repeat(256)] {
            assert!(wrong(bad).is_some(), "{bad}");
        }
        for good in ["a b", ".a", "a+b,c;d=[e]", &"x".repeat(255), "Größe"] {
            assert!(wrong(good).is_none(), "{good}");
        }
    }
}
