//! The names of special keys, and their places on the keyboard.

use crate::engine::Key;

/// Packer's names, which are taken in any case.
const NAMES: [(&str, u8); 43] = [
    ("bs", 0x2a),
    ("del", 0x4c),
    ("down", 0x51),
    ("end", 0x4d),
    ("enter", 0x28),
    ("esc", 0x29),
    ("f1", 0x3a),
    ("f2", 0x3b),
    ("f3", 0x3c),
    ("f4", 0x3d),
    ("f5", 0x3e),
    ("f6", 0x3f),
    ("f7", 0x40),
    ("f8", 0x41),
    ("f9", 0x42),
    ("f10", 0x43),
    ("f11", 0x44),
    ("f12", 0x45),
    ("home", 0x4a),
    ("insert", 0x49),
    ("left", 0x50),
    ("leftAlt", 0xe2),
    ("leftCtrl", 0xe0),
    ("leftShift", 0xe1),
    ("leftSuper", 0xe3),
    ("menu", 0x65),
    ("pageDown", 0x4e),
    ("pageUp", 0x4b),
    ("return", 0x28),
    ("right", 0x4f),
    ("rightAlt", 0xe6),
    ("rightCtrl", 0xe4),
    ("rightShift", 0xe5),
    ("rightSuper", 0xe7),
    ("spacebar", 0x2c),
    ("tab", 0x2b),
    ("up", 0x52),
    // Not in Packer's list, but on the keyboard.
    ("capsLock", 0x39),
    ("numLock", 0x53),
    ("pause", 0x48),
    ("printScreen", 0x46),
    ("scrollLock", 0x47),
    ("sysRq", 0x46),
];

/// What people write for a key whose name is another.
const MISTAKEN: [(&str, &str); 18] = [
    ("alt", "leftAlt"),
    ("altgr", "rightAlt"),
    ("backspace", "bs"),
    ("control", "leftCtrl"),
    ("ctrl", "leftCtrl"),
    ("delete", "del"),
    ("escape", "esc"),
    ("ins", "insert"),
    ("meta", "leftSuper"),
    ("newline", "enter"),
    ("pgdn", "pageDown"),
    ("pgdown", "pageDown"),
    ("pgup", "pageUp"),
    ("shift", "leftShift"),
    ("sleep", "wait"),
    ("space", "spacebar"),
    ("super", "leftSuper"),
    ("win", "leftSuper"),
];

/// Returns the key of a name, and the name as it is spelled.
pub fn key(name: &str) -> Option<(&'static str, Key)> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(known, usage)| (*known, Key(*usage)))
}

/// Returns the name of a key.
pub fn name_of(key: Key) -> Option<&'static str> {
    NAMES.iter().find(|(_, usage)| *usage == key.0).map(|(name, _)| *name)
}

/// Returns the name that was probably meant by something that is no name; none where it is just text.
pub fn meant(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, meant)) = MISTAKEN.iter().find(|(mistaken, _)| *mistaken == lower) {
        return Some(meant);
    }
    // Two letters apart from a name of two is anything at all.
    let reach = match name.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    let near = NAMES.iter().map(|(known, _)| *known).chain(["wait"]);
    let near = near.map(|known| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()), known));
    near.filter(|(distance, _)| *distance <= reach).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_near_misses_are_not_text() {
        assert_eq!(key("PAGEup"), Some(("pageUp", Key(0x4b))));
        assert_eq!(key("xyz"), None);
        assert_eq!(name_of(Key(0xe0)), Some("leftCtrl"));
        for (wrong, right) in
            [("entr", "enter"), ("Escape", "esc"), ("ctrl", "leftCtrl"), ("leftCtl", "leftCtrl"), ("f13", "f1")]
        {
            assert_eq!(meant(wrong), Some(right), "{wrong}");
        }
        for text in ["br", "b", "div", "html", "EOF", "user", "hostname", ""] {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
