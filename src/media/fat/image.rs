//! The floppy as a whole: boot sector, two tables, the root, and the data.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::entry::{self, ENTRY};
use super::names::{self, Short};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic;
use crate::media::medium::{Content, Entry, Medium};

const SECTOR: usize = 512;
const SECTORS: usize = 2880;
const TABLE_SECTORS: usize = 9;
const ROOT_ENTRIES: usize = 224;
const DATA_AT: usize = 1 + 2 * TABLE_SECTORS + ROOT_ENTRIES * ENTRY / SECTOR;
/// Clusters are sectors; the first one is number 2.
const CLUSTERS: usize = SECTORS - DATA_AT;
const END_OF_CHAIN: u16 = 0xfff;

/// A floppy of 1.44 MB that is to be written.
#[derive(Debug)]
pub struct Floppy {
    label: Short,
    root: Folder,
}

#[derive(Debug, Default)]
struct Folder {
    /// By name, in the order they are written.
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
struct Node {
    short: Short,
    /// Whether the short name says it all.
    is_short: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Folder(Folder),
    File { content: Content, size: u64 },
}

impl Floppy {
    /// Makes a floppy of a label and what is to be on it; says by how much that is too much. Blocking.
    pub fn new(label: &str, medium: &Medium) -> Result<Floppy> {
        let mut root = Folder::default();
        for (path, entry) in medium.entries() {
            let body = match entry {
                Entry::Folder => Body::Folder(Folder::default()),
                Entry::File(content) => Body::File { content: content.clone(), size: size(content)? },
            };
            root.insert(path, path, body)?;
        }
        let floppy = Floppy { label: label_of(label)?, root };
        floppy.check_size()?;
        Ok(floppy)
    }

    /// Writes the image, whole or not at all. Blocking.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        atomic::write(to, &self.image()?)
    }

    fn check_size(&self) -> Result<()> {
        let in_root = 1 + self.root.entries();
        if in_root > ROOT_ENTRIES {
            let message = format!(
                "the floppy has room for {ROOT_ENTRIES} entries in its root, and would need {in_root} (a long name takes several)"
            );
            return Err(Error::new(Kind::Option, message).hint("put some of the files into folders, or use a CD"));
        }
        let (needed, room) = (self.root.clusters() * SECTOR as u64, (CLUSTERS * SECTOR) as u64);
        if needed > room {
            let message =
                format!("the floppy has room for {room} bytes, and would need {needed}: {} too many", needed - room);
            return Err(Error::new(Kind::Option, message).hint("leave some of the files out, or use a CD (cd_files)"));
        }
        Ok(())
    }

    /// Returns the image. Blocking.
    pub(crate) fn image(&self) -> Result<Vec<u8>> {
        let mut data = Data::default();
        let mut root = entry::label(&self.label);
        root.extend(self.root.write(0, &mut data)?);
        root.resize(ROOT_ENTRIES * ENTRY, 0);
        let table = data.table();
        let mut image = boot_sector(&self.label);
        image.extend_from_slice(&table);
        image.extend_from_slice(&table);
        image.extend(root);
        image.extend(data.bytes);
        if image.len() > SECTORS * SECTOR {
            // They grew since they were counted.
            return Err(Error::new(Kind::Option, "the files became too many for the floppy while they were read"));
        }
        image.resize(SECTORS * SECTOR, 0);
        Ok(image)
    }
}

impl Folder {
    /// Puts something at a path; the folders it is in are there.
    fn insert(&mut self, path: &str, whole: &str, body: Body) -> Result<()> {
        if let Some((first, rest)) = path.split_once('/')
            && let Some(Node { body: Body::Folder(folder), .. }) = self.nodes.get_mut(first)
        {
            return folder.insert(rest, whole, body);
        }
        let wrong = |why: &str| Err(Error::new(Kind::Option, format!("{whole:?} cannot be on a floppy: {why}")));
        if let Some(why) = names::wrong(path) {
            return wrong(why);
        }
        // FAT keeps the case of names and does not tell them apart by it.
        let folded = path.to_uppercase();
        if let Some(other) = self.nodes.keys().find(|name| name.to_uppercase() == folded) {
            return wrong(&format!("{other:?} is there already, and case makes no difference"));
        }
        let taken: HashSet<Short> = self.nodes.values().map(|node| node.short).collect();
        let (short, is_short) = names::short(path, &taken);
        self.nodes.insert(path.to_owned(), Node { short, is_short, body });
        Ok(())
    }

    /// Returns how many entries its files and folders take.
    fn entries(&self) -> usize {
        self.nodes.iter().map(|(name, node)| entry::count(node.long(name))).sum()
    }

    /// Returns how many clusters all that is in it takes.
    fn clusters(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| match &node.body {
                Body::File { size, .. } => size.div_ceil(SECTOR as u64),
                Body::Folder(folder) => folder.own_clusters() as u64 + folder.clusters(),
            })
            .sum()
    }

    /// Returns how many clusters the list of its entries takes.
    fn own_clusters(&self) -> usize {
        ((2 + self.entries()) * ENTRY).div_ceil(SECTOR)
    }

    /// Writes all that is in it and returns its entries; `own` is its cluster, 0 for the root.
    fn write(&self, own: u16, data: &mut Data) -> Result<Vec<u8>> {
        let mut entries = Vec::new();
        for (name, node) in &self.nodes {
            let long = node.long(name);
            match &node.body {
                Body::File { content, .. } => {
                    let bytes = read(content)?;
                    let cluster = data.append(&bytes);
                    entries.extend(entry::file(long, &node.short, cluster, bytes.len() as u32));
                }
                Body::Folder(folder) => {
                    let cluster = data.append(&vec![0; folder.own_clusters() * SECTOR]);
                    let mut listed = entry::dots(cluster, own);
                    listed.extend(folder.write(cluster, data)?);
                    data.overwrite(cluster, &listed);
                    entries.extend(entry::folder(long, &node.short, cluster));
                }
            }
        }
        Ok(entries)
    }
}

impl Node {
    fn long<'a>(&self, name: &'a str) -> Option<&'a str> {
        (!self.is_short).then_some(name)
    }
}

/// The data region, and which cluster follows which.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    next: Vec<u16>,
}

impl Data {
    /// Adds bytes and returns their first cluster; none (0) for no bytes.
    fn append(&mut self, bytes: &[u8]) -> u16 {
        let count = bytes.len().div_ceil(SECTOR);
        if count == 0 {
            return 0;
        }
        let first = self.next.len() + 2;
        self.next.extend((1..count).map(|n| (first + n) as u16));
        self.next.push(END_OF_CHAIN);
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.next.len() * SECTOR, 0);
        first as u16
    }

    fn overwrite(&mut self, cluster: u16, bytes: &[u8]) {
        let at = usize::from(cluster - 2) * SECTOR;
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Returns the table: 12 bits a cluster, two of them in three bytes.
    fn table(&self) -> Vec<u8> {
        let mut numbers = vec![0xff0, END_OF_CHAIN];
        numbers.extend(&self.next);
        let mut table = Vec::new();
        for pair in numbers.chunks(2) {
            let low = pair.first().copied().unwrap_or(0);
            let high = pair.get(1).copied().unwrap_or(0);
            let three = u32::from(low & 0xfff) | u32::from(high & 0xfff) << 12;
            table.extend(three.to_le_bytes().iter().take(3));
        }
        table.resize(TABLE_SECTORS * SECTOR, 0);
        table
    }
}

fn boot_sector(label: &Short) -> Vec<u8> {
    let mut sector = vec![0xeb, 0x3c, 0x90];
    sector.extend(b"RIMG    ");
    sector.extend((SECTOR as u16).to_le_bytes());
    // One sector a cluster, one sector before the tables, two tables.
    sector.extend([1, 1, 0, 2]);
    sector.extend((ROOT_ENTRIES as u16).to_le_bytes());
    sector.extend((SECTORS as u16).to_le_bytes());
    sector.push(0xf0);
    sector.extend((TABLE_SECTORS as u16).to_le_bytes());
    // 18 sectors a track, two heads, nothing before it, no larger count, drive 0, and what follows is there.
    sector.extend([18, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x29]);
    sector.extend(b"rimg");
    sector.extend(label);
    sector.extend(b"FAT12   ");
    // There is no system on it: `int 18h` tells the firmware to go on with the next drive; then wait.
    sector.extend([0xcd, 0x18, 0xf4, 0xeb, 0xfd]);
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

fn label_of(label: &str) -> Result<Short> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_- ".contains(c);
    if label.trim().is_empty() || label.len() > 11 || !label.chars().all(fits) {
        return Err(Error::new(Kind::Option, format!("{label:?} cannot be the label of a floppy"))
            .hint("a label has 1 to 11 letters, digits, `_`, `-` and spaces"));
    }
    let mut short = [b' '; 11];
    short.iter_mut().zip(label.bytes()).for_each(|(to, from)| *to = from);
    Ok(short)
}

fn size(content: &Content) -> Result<u64> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.len() as u64),
        Content::File(path) => Ok(std::fs::metadata(path).map_err(|e| io_error("read", path, e))?.len()),
    }
}

/// Reads a file, but never more than a floppy holds.
fn read(content: &Content) -> Result<Vec<u8>> {
    use std::io::Read;
    match content {
        Content::Bytes(bytes) => Ok(bytes.clone()),
        Content::File(path) => {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path).map_err(|e| io_error("read", path, e))?;
            let mut limited = file.take((SECTORS * SECTOR) as u64 + 1);
            limited.read_to_end(&mut bytes).map_err(|e| io_error("read", path, e))?;
            Ok(bytes)
        }
    }
}
