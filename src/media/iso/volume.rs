//! What is to be written: a label and a tree of files.

use std::collections::HashMap;

use super::bytes::SECTOR;
use crate::error::{Error, Kind, Result};
use crate::media::medium::Content;

/// Longest name in UTF-8. A directory record cannot be longer than 254 bytes, of which about 90 are fixed parts and the short name.
const MAX_NAME_BYTES: usize = 160;
/// The most bytes of a file that one record can describe, in whole sectors; a larger file has several.
const MAX_EXTENT: u64 = u32::MAX as u64 / SECTOR as u64 * SECTOR as u64;

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
    pub(super) max_extent: u64,
    /// Nodes by their folder and name.
    index: HashMap<(usize, String), usize>,
}

impl Volume {
    /// Makes an empty volume; the label is at most 32 characters of letters, digits, `_`, `-`, `.` and space.
    pub fn new(label: &str) -> Result<Volume> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
        if label.is_empty() || label.len() > 32 || !label.chars().all(fits) {
            return Err(Error::new(Kind::Option, format!("{label:?} cannot be the label of an ISO image"))
                .hint("a label has 1 to 32 letters, digits, `_`, `-`, `.` and spaces"));
        }
        let root = Node { name: String::new(), body: Body::Folder(Vec::new()) };
        Ok(Volume {
            label: label.to_owned(),
            nodes: vec![root],
            contents: Vec::new(),
            max_extent: MAX_EXTENT,
            index: HashMap::new(),
        })
    }

    /// Adds a folder; one that is there already is fine.
    pub fn add_folder(&mut self, path: &str) -> Result<()> {
        let names = names(path)?;
        self.folders(&names, path).map(drop)
    }

    /// Adds a file under a path with `/` between its parts; folders come into being as needed.
    pub fn add(&mut self, path: &str, content: Content) -> Result<()> {
        let names = names(path)?;
        let Some((name, folders)) = names.split_last() else {
            return Err(Error::new(Kind::Option, format!("{path:?} does not name a file in an ISO image")));
        };
        let at = self.folders(folders, path)?;
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

    /// Returns the innermost of some folders, made where it is not there yet.
    fn folders(&mut self, names: &[&str], path: &str) -> Result<usize> {
        let mut at = 0;
        for name in names {
            at = match self.child(at, name) {
                Some(index) if matches!(self.nodes.get(index).map(|n| &n.body), Some(Body::Folder(_))) => index,
                Some(_) => return Err(twice(path)),
                None => self.insert(at, name, Body::Folder(Vec::new())),
            };
        }
        Ok(at)
    }

    fn child(&self, of: usize, name: &str) -> Option<usize> {
        self.index.get(&(of, name.to_owned())).copied()
    }

    fn insert(&mut self, into: usize, name: &str, body: Body) -> usize {
        self.nodes.push(Node { name: name.to_owned(), body });
        let index = self.nodes.len() - 1;
        self.index.insert((into, name.to_owned()), index);
        if let Some(Body::Folder(children)) = self.nodes.get_mut(into).map(|node| &mut node.body) {
            children.push(index);
        }
        index
    }
}

/// Returns the names of a path, checked.
fn names(path: &str) -> Result<Vec<&str>> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let wrong = |why: &str| Err(Error::new(Kind::Option, format!("{path:?} cannot be in an ISO image: {why}")));
    for name in &names {
        if *name == ".." {
            return wrong("`..` leads out of it");
        }
        if name.len() > MAX_NAME_BYTES {
            return wrong("one of its names is longer than 160 bytes");
        }
        if name.contains('\0') {
            return wrong("it has a zero byte in it");
        }
    }
    Ok(names)
}

fn twice(path: &str) -> Error {
    Error::new(Kind::Option, format!("{path:?} is in the ISO image already"))
}
