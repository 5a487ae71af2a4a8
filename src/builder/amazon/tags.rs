//! Tags, as scripts have them and as the SDK wants them.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

use super::wrong;
use crate::error::Result;

/// Tags by their names.
pub type Tags = BTreeMap<String, String>;

/// How many characters a name and a value may have.
const LONGEST: (usize, usize) = (128, 256);
/// How many tags one thing may have.
const MOST: usize = 50;

/// Returns tags as the SDK wants them.
pub fn to_sdk(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Returns tags as the SDK gives them.
pub fn from_sdk(tags: &[Tag]) -> Tags {
    let of = |tag: &Tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default()));
    tags.iter().filter_map(of).collect()
}

/// Returns what a request says about the tags of what it makes; none without tags, which AWS refuses.
pub fn specifications(of: &[(ResourceType, &Tags)]) -> Option<Vec<TagSpecification>> {
    let tagged = of.iter().filter(|(_, tags)| !tags.is_empty());
    let made: Vec<_> = tagged
        .map(|(kind, tags)| {
            TagSpecification::builder().resource_type(kind.clone()).set_tags(Some(to_sdk(tags))).build()
        })
        .collect();
    (!made.is_empty()).then_some(made)
}

/// Checks what AWS would refuse.
pub fn check(option: &'static str, tags: &Tags) -> Result<()> {
    let wrong = |what: String| Err(wrong(option, what));
    if tags.len() > MOST {
        return wrong(format!("has {} tags, and AWS allows {MOST}", tags.len()));
    }
    for (key, value) in tags {
        if key.is_empty() {
            return wrong("a tag needs a name".to_owned());
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return wrong(format!("`{key}`: names that begin with aws: are AWS's own"));
        }
        if key.chars().count() > LONGEST.0 || value.chars().count() > LONGEST.1 {
            return wrong(format!("`{key}`: a name has at most {} characters, a value {}", LONGEST.0, LONGEST.1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(entries: &[(&str, &str)]) -> Tags {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn there_and_back() {
        let tags = tags(&[("Name", "web"), ("empty", "")]);
        assert_eq!(from_sdk(&to_sdk(&tags)), tags);
    }

    #[test]
    fn only_what_has_tags_is_specified() {
        let (some, none) = (tags(&[("a", "b")]), Tags::new());
        let made = specifications(&[(ResourceType::Image, &some), (ResourceType::Snapshot, &none)]).unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].resource_type(), Some(&ResourceType::Image));
        assert_eq!(specifications(&[(ResourceType::Image, &none)]), None);
    }

    #[test]
    fn what_aws_refuses_is_named() {
        let message = |tags: &Tags| check("tags", tags).map_err(|error| error.message().to_owned());
        assert_eq!(message(&tags(&[("Name", "ü".repeat(256).as_str())])), Ok(()));
        for wrong in [&[("aws:x", "")], &[("AWS:x", "")], &[("", "x")]] {
            assert!(message(&tags(wrong)).unwrap_err().starts_with("option `tags`: "));
        }
        assert!(message(&tags(&[("a", &"x".repeat(257))])).unwrap_err().contains("`a`"));
        let many: Tags = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(message(&many).unwrap_err().contains("51"));
    }
}
