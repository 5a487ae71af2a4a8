//! What an operation is known by: a hash of all that went before it and all that it asks for.

use std::fmt;

use serde_json::Value;

use crate::ui::secrets::Secrets;

/// Part of every key. Raised when keys of the same operations change, which makes every record unreachable.
pub const FORMAT: &str = "rimg operation 1";

/// The key of an operation: BLAKE3 over the format, the key before it, the kind and the canonical request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// Where every chain begins.
    pub const ROOT: Key = Key([0; 32]);

    /// Returns the key of what comes after this; `request` is what [`Hider::hide`] made of it.
    pub fn next(&self, kind: &str, request: &Value) -> Key {
        self.with(&[kind.as_bytes(), canonical(request).as_bytes()])
    }

    /// Returns where one of several branches goes on from this; `name` tells them apart.
    pub fn branch(&self, name: &str) -> Key {
        self.with(&[b"branch", name.as_bytes()])
    }

    /// Returns where the branches with these ends have come together again, in whatever order they ended.
    pub fn join(&self, ends: &[Key]) -> Key {
        let mut ends: Vec<&[u8]> = ends.iter().map(|key| key.0.as_slice()).collect();
        ends.sort_unstable();
        ends.insert(0, b"join");
        self.with(&ends)
    }

    /// Returns a key that no other run will have: what comes after it is never replayed.
    pub fn unrepeatable(&self) -> Key {
        self.with(&[b"unrepeatable", uuid::Uuid::new_v4().as_bytes()])
    }

    fn with(&self, parts: &[&[u8]]) -> Key {
        let mut hasher = blake3::Hasher::new();
        for part in [FORMAT.as_bytes(), &self.0].iter().chain(parts) {
            // Lengths keep parts apart: "ab","c" is not "a","bc".
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Key(hasher.finalize().into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Puts a keyed hash in the place of every text that holds a secret, so that neither keys nor records tell it.
pub struct Hider<'a> {
    pub secrets: &'a Secrets,
    /// Known to this user of this host alone.
    pub key: &'a [u8; 32],
}

impl Hider<'_> {
    /// Returns the request without secrets.
    pub fn hide(&self, request: &Value) -> Value {
        match request {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.hide(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(name, value)| (self.text(name), self.hide(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        match self.secrets.mask(text) {
            masked if masked == text => masked,
            masked => format!("{masked} [keyed:{}]", blake3::keyed_hash(self.key, text.as_bytes()).to_hex()),
        }
    }
}

/// Returns JSON in the one form that equal values have: names sorted, nothing between the tokens, whole numbers without a
/// fraction (`512.0` is `512`, as in an option).
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Array(items) => {
            to.push('[');
            for item in items {
                write(item, to);
                to.push(',');
            }
            to.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            to.push('{');
            for (name, value) in entries {
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write(value, to);
                to.push(',');
            }
            to.push('}');
        }
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => to.push_str(&format!("{float:.0}")),
            _ => to.push_str(&number.to_string()),
        },
        plain => to.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_stay_the_same_from_version_to_version() {
        let boot = Key::ROOT.next("boot", &json!({ "memory": 512.0, "cpus": 2, "a": [null, "x"] }));
        assert_eq!(boot, Key::ROOT.next("boot", &json!({ "a": [null, "x"], "cpus": 2, "memory": 512 })));
        // A change here makes every user's records unreachable: raise FORMAT, and say so in the change log.
        assert_eq!(boot.to_string().get(..16), Some("4e9a186ad55546f4"));
    }

    #[test]
    fn all_that_is_asked_for_counts() {
        let base = Key::ROOT.next("run", &json!({ "line": "a" }));
        let others = [
            Key::ROOT.next("shell", &json!({ "line": "a" })),
            Key::ROOT.next("run", &json!({ "line": "b" })),
            Key::ROOT.next("run", &json!({ "line": ["a"] })),
            base.next("run", &json!({ "line": "a" })),
            Key::ROOT.branch("a"),
            Key::ROOT.join(&[base]),
        ];
        assert!(others.iter().all(|other| *other != base));
        let (one, two) = (base.branch("1"), base.branch("2"));
        assert_eq!(base.join(&[one, two]), base.join(&[two, one]));
        assert_ne!(base.unrepeatable(), base.unrepeatable());
    }

    #[test]
    fn a_secret_is_hidden_and_still_counts() {
        let secrets = Secrets::default();
        secrets.add("hunter2");
        let hider = Hider { secrets: &secrets, key: &[7; 32] };
        let hidden = |password: &str| hider.hide(&json!({ "env": { "PW": format!("x{password}") }, "line": "id" }));
        let shown = hidden("hunter2").to_string();
        assert!(!shown.contains("hunter2") && shown.contains("\"id\"") && shown.contains("keyed:"), "{shown}");
        assert_ne!(hidden("hunter2"), hidden("hunter2hunter2"));
        let elsewhere = Hider { secrets: &secrets, key: &[8; 32] };
        assert_ne!(elsewhere.hide(&json!("hunter2")), hider.hide(&json!("hunter2")));
    }
}
