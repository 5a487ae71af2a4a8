//! Why an operation was not replayed, in words.

use serde_json::Value;

use super::record::Record;

/// How many differences are named.
const MOST: usize = 3;
/// How much of a value is shown, in characters.
const LONGEST: usize = 60;

/// A value that is another one in each run, and where it comes from: `rimg.timestamp()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volatile {
    pub value: String,
    pub source: &'static str,
}

/// Says what tells an operation from the one that was recorded in its place; requests are without secrets.
pub fn difference(recorded: &Record, kind: &str, request: &Value, volatile: &[Volatile]) -> String {
    if recorded.kind != kind {
        let title = if recorded.title.is_empty() { String::new() } else { format!(" `{}`", recorded.title) };
        return format!("the last run had {}{title} in this place", recorded.kind);
    }
    let mut found = Vec::new();
    compare("", &recorded.request, request, &mut found);
    if found.is_empty() {
        return "an operation before it was not the same".to_owned();
    }
    let more = found.len().saturating_sub(MOST);
    let mut words: Vec<String> = found.iter().take(MOST).map(|difference| difference.describe(volatile)).collect();
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}

struct Difference<'a> {
    path: String,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

impl Difference<'_> {
    fn describe(&self, volatile: &[Volatile]) -> String {
        let name = if self.path.is_empty() { "what it asks for" } else { &self.path };
        let is_digest =
            |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|text| text.starts_with("blake3:"));
        let mut text = match (self.old, self.new) {
            (old, new) if is_digest(old) && is_digest(new) => format!("`{name}` has changed"),
            (None, Some(new)) => format!("`{name}` is new: {}", short(new)),
            (Some(old), None) => format!("`{name}` is gone, it was {}", short(old)),
            (Some(old), Some(new)) => {
                let (old, new) = apart(old, new);
                format!("`{name}` was {old}, is {new}")
            }
            (None, None) => String::new(),
        };
        let new = self.new.map(Value::to_string).unwrap_or_default();
        if let Some(volatile) = volatile.iter().find(|volatile| new.contains(&volatile.value)) {
            text.push_str(&format!(
                "; that is {}, another one in each run, so this operation runs each time",
                volatile.source
            ));
        }
        text
    }
}

fn compare<'a>(path: &str, old: &'a Value, new: &'a Value, found: &mut Vec<Difference<'a>>) {
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            for (name, value) in before {
                match after.get(name) {
                    Some(other) => compare(&inside(name), value, other, found),
                    None if value.is_null() => {}
                    None => found.push(Difference { path: inside(name), old: Some(value), new: None }),
                }
            }
            let added = after.iter().filter(|(name, value)| !before.contains_key(*name) && !value.is_null());
            found.extend(added.map(|(name, value)| Difference { path: inside(name), old: None, new: Some(value) }));
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (number, (value, other)) in (1..).zip(before.iter().zip(after)) {
                match (pair(value), pair(other)) {
                    // Variables of an environment are pairs, for their order.
                    (Some((name, value)), Some((same, other))) if name == same => {
                        compare(&inside(name), value, other, found);
                    }
                    _ => compare(&inside(&number.to_string()), value, other, found),
                }
            }
        }
        (before, after) if before != after => {
            found.push(Difference { path: path.to_owned(), old: Some(before), new: Some(after) });
        }
        _ => {}
    }
}

/// Returns the name and the value that a list of two is.
fn pair(value: &Value) -> Option<(&str, &Value)> {
    match value.as_array()?.as_slice() {
        [Value::String(name), value] => Some((name, value)),
        _ => None,
    }
}

/// Shows two values; of long texts the part where they differ.
fn apart(old: &Value, new: &Value) -> (String, String) {
    let (Value::String(before), Value::String(after)) = (old, new) else { return (short(old), short(new)) };
    let same = before.chars().zip(after.chars()).take_while(|(one, other)| one == other).count();
    let from = if before.chars().count().max(after.chars().count()) > LONGEST { same.saturating_sub(20) } else { 0 };
    let cut = |text: &str| {
        let rest: String = text.chars().skip(from).collect();
        let dots = if from > 0 { "… " } else { "" };
        format!("{dots}{}", short(&Value::String(rest)))
    };
    (cut(before), cut(after))
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::super::record::Outcome;
    use super::*;
    use serde_json::json;

    fn recorded(kind: &str, request: Value) -> Record {
        Record {
            id: "i".into(),
            after: "root".into(),
            key: String::new(),
            kind: kind.into(),
            title: "apt-get update".into(),
            request,
            outcome: Outcome::Done(Value::Null),
            places: Vec::new(),
            outputs: None,
            seconds: 0.0,
            at: 0,
            script: "/s".into(),
            build: "b".into(),
        }
    }

    #[test]
    fn names_the_argument_with_its_old_and_new_value() {
        let old = recorded("run", json!({ "line": "id", "options": { "env": [["A", "1"]], "sudo": false } }));
        let of = |new: Value| difference(&old, "run", &new, &[]);
        assert_eq!(
            of(json!({ "line": "id -u", "options": { "env": [["A", "2"]], "sudo": false } })),
            "`line` was \"id\", is \"id -u\"; `options.env.A` was \"1\", is \"2\""
        );
        assert_eq!(
            of(json!({ "line": "id", "options": { "env": [["A", "1"]], "cwd": "/" } })),
            "`options.sudo` is gone, it was false; `options.cwd` is new: \"/\""
        );
        assert_eq!(difference(&old, "upload", &json!({}), &[]), "the last run had run `apt-get update` in this place");
        let digests = recorded("write", json!({ "content": "blake3:aa" }));
        assert_eq!(difference(&digests, "write", &json!({ "content": "blake3:bb" }), &[]), "`content` has changed");
        let long = recorded("run", json!({ "line": format!("{}x", "a".repeat(500)) }));
        let text = difference(&long, "run", &json!({ "line": format!("{}y", "a".repeat(500)) }), &[]);
        assert!(text.contains("aax\"") && text.contains("aay\"") && text.len() < 150, "{text}");
    }

    #[test]
    fn a_value_of_this_run_alone_is_named() {
        let old = recorded("run", json!({ "line": "tag 1700000000" }));
        let volatile = [Volatile { value: "1800000000".into(), source: "rimg.timestamp()" }];
        let text = difference(&old, "run", &json!({ "line": "tag 1800000000" }), &volatile);
        assert!(text.contains("rimg.timestamp(), another one in each run"), "{text}");
    }
}
