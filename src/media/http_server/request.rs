//! What a client asks for.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::engine::Value;

/// Returns the decoded path without a slash at the front, as names; a folder's ends with an empty name. None when it
/// leads outside or is not text.
pub(crate) fn names(path: &str) -> Option<Vec<String>> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let mut names: Vec<String> = Vec::new();
    let mut is_folder = true;
    for name in decoded.split('/') {
        is_folder = matches!(name, "" | ".");
        if name == ".." || name.contains('\0') {
            return None;
        }
        if !is_folder {
            names.push(name.to_owned());
        }
    }
    if is_folder {
        names.push(String::new());
    }
    Some(names)
}

/// Returns the request as the table that a function is given, with the placeholders' `values` in it.
pub(super) fn to_value(parts: &Parts, names: &[String], body: &Bytes, address: SocketAddr, values: &Value) -> Value {
    let mut headers: Vec<(String, Value)> = Vec::new();
    for name in parts.headers.keys() {
        let lines = parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let joined = lines.collect::<Vec<_>>().join(", ");
        headers.push((name.as_str().to_owned(), Value::Str(joined)));
    }
    let body = match std::str::from_utf8(body) {
        Ok(text) => Value::Str(text.to_owned()),
        Err(_) => Value::Bytes(body.to_vec()),
    };
    Value::Map(vec![
        ("method".into(), Value::Str(parts.method.as_str().to_owned())),
        ("path".into(), Value::Str(format!("/{}", names.join("/")))),
        ("query".into(), Value::Map(query(parts.uri.query().unwrap_or_default()))),
        ("headers".into(), Value::Map(headers)),
        ("body".into(), body),
        ("address".into(), Value::Str(address.ip().to_string())),
        ("values".into(), values.clone()),
    ])
}

/// Returns the query's names and values; of a name that is there twice, the last.
fn query(query: &str) -> Vec<(String, Value)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), Value::Str(decode(value))))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_decoded_and_stay_inside() {
        let inside = |path: &str| names(path).map(|names| names.join("/"));
        assert_eq!(inside("/a/b.cfg").unwrap(), "a/b.cfg");
        assert_eq!(inside("/a%20b/%C3%A9").unwrap(), "a b/é");
        assert_eq!(inside("//a/./b//c").unwrap(), "a/b/c");
        assert_eq!(inside("/a/").unwrap(), "a/");
        assert_eq!(inside("/").unwrap(), "");
        assert_eq!(inside("/%2e%2e/etc/passwd"), None);
        assert_eq!(inside("/a/..%2f../x"), None);
        assert_eq!(inside("/a%00b"), None);
        assert_eq!(inside("/%ff"), None);
        assert_eq!(inside("/...").unwrap(), "...");
    }

    #[test]
    fn a_query_is_a_table() {
        let s = |text: &str| Value::Str(text.into());
        let expected =
            [("a".to_owned(), s("1 2")), ("b".to_owned(), s("")), ("c=".to_owned(), s("&")), ("a".to_owned(), s("3"))];
        assert_eq!(query("a=1+2&b&&c%3D=%26&a=3"), expected);
    }

    proptest! {
        #[test]
        fn no_path_leads_outside(path in "[/.%2eEfF\\\\a-c0]{0,24}|.*") {
            for name in names(&path).unwrap_or_default() {
                prop_assert!(name != ".." && name != "." && !name.contains(['/', '\0']));
            }
        }
    }
}
