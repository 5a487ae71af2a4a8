//! What is to be written: a label and a tree of files.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

/// Longest name in UTF-8. A directory record cannot be longer than 254 bytes, of which about 90 are fixed parts and the short name.
const MAX_NAME_BYTES: usize = 160;
/// What readers accept in practice; the standard's own 64 is exceeded by every writer.
const MAX_NAME_UTF16: usize = 103;

/// Where a file's bytes come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A file on this host, read when the image is written.
    File(PathBuf),
}

/// What a node of the tree is.
#[derive(Debug)]
pub(super) enum Body {
    /// Its entries, as indices into the list of nodes.
    Folder(Vec<usize>),
    /// Index into the list of contents.
    File(usize),
}

/// A file or folder of the volume.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) body: Body,
}

/// A volume to be written: a label and a tree of files.
#[derive(Debug)]
pub struct Volume {
    pub(super) label: String,
    /// The first is the root.
    pub(super) nodes: Vec<Node>,
    pub(super) contents: Vec<Content>,
}

impl Volume {
    /// Makes an empty volume; the label is at most 16 characters of letters, digits, `_`, `-` and `.`.
    pub fn new(label: &str) -> Result<Volume> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
        if label.is_empty() || label.len() > 16 || !label.chars().all(fits) {
            return Err(Error::new(Kind::Option, format!("{label:?} cannot be the label of an ISO image"))
                .hint("a label has 1 to 16 letters, digits, `_`, `-`, `.` and spaces"));
        }
        let root = Node { name: String::new(), body: Body::Folder(Vec::new()) };
        Ok(Volume { label: label.to_owned(), nodes: vec![root], contents: Vec::new() })
    }

    /// Adds a file under a path with `/` between its parts; folders come into being as needed.
    pub fn add(&mut self, path: &str, content: Content) -> Result<()> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let Some((name, folders)) = parts.split_last() else {
            return Err(Error::new(Kind::Option, format!("{path:?} does not name a file in an ISO image")));
        };
        parts.iter().try_for_each(|part| check_name(part, path))?;
        let mut at = 0;
        for folder in folders {
            at = match self.child(at, folder) {
                Some(index) if matches!(self.nodes.get(index).map(|n| &n.body), Some(Body::Folder(_))) => index,
                Some(_) => return Err(twice(path)),
                None => self.insert(at, folder, Body::Folder(Vec::new())),
            };
        }
        if self.child(at, name).is_some() {
            return Err(twice(path));
        }
        self.contents.push(content);
        self.insert(at, name, Body::File(self.contents.len() - 1));
        Ok(())
    }

    pub(super) fn children(&self, of: usize) -> &[usize] {
        match self.nodes.get(of).map(|node| &node.body) {
            Some(Body::Folder(children)) => children,
            _ => &[],
        }
    }

    fn child(&self, of: usize, name: &str) -> Option<usize> {
        self.children(of).iter().copied().find(|&index| self.nodes.get(index).is_some_and(|n| n.name == name))
    }

    fn insert(&mut self, into: usize, name: &str, body: Body) -> usize {
        self.nodes.push(Node { name: name.to_owned(), body });
        let index = self.nodes.len() - 1;
        if let Some(Body::Folder(children)) = self.nodes.get_mut(into).map(|node| &mut node.body) {
            children.push(index);
        }
        index
    }
}

fn check_name(part: &str, path: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::new(Kind::Option, format!("{path:?} cannot be in an ISO image: {why}")));
    if part == ".." {
        return wrong("`..` leads out of it");
    }
    if part.len() > MAX_NAME_BYTES || part.encode_utf16().count() > MAX_NAME_UTF16 {
        return wrong("one of its names is longer than 103 characters");
    }
    if part.chars().any(|c| c.is_control() || "\\*:;?".contains(c)) {
        return wrong("its names may not have control characters or any of \\ * : ; ?");
    }
    Ok(())
}

fn twice(path: &str) -> Error {
    Error::new(Kind::Option, format!("{path:?} is in the ISO image already"))
}
