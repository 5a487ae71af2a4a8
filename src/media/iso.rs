//! A native writer of ISO 9660 images with Joliet and Rock Ridge names: seeds, answer files, driver disks.
//!
//! The image is a function of its contents alone (all times are the same), so that equal contents give equal bytes.
//! One copy of the files is described by two folder trees: the primary one with short upper-case names and the real
//! ones in Rock Ridge entries (Linux, BSD), and the Joliet one in UCS-2 (Windows).

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;

const SECTOR: usize = 2048;
/// A directory record cannot be longer than 254 bytes, of which about 90 are fixed parts and the short name.
const MAX_NAME_BYTES: usize = 160;
/// What readers accept in practice; the standard's own 64 is exceeded by every writer.
const MAX_NAME_UTF16: usize = 103;
/// 2000-01-01 00:00:00 UTC, in the 7-byte form of directory records.
const RECORD_TIME: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
const VOLUME_TIME: &[u8; 17] = b"2000010100000000\0";

/// Where a file's bytes come from.
#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Vec<u8>),
    /// A file on this host, read when the image is written.
    File(PathBuf),
}

#[derive(Debug)]
enum Body {
    Folder(Vec<usize>),
    /// Index into the list of contents.
    File(usize),
}

#[derive(Debug)]
struct Node {
    name: String,
    body: Body,
}

/// A volume to be written: a label and a tree of files.
#[derive(Debug)]
pub struct Volume {
    label: String,
    /// The first is the root.
    nodes: Vec<Node>,
    contents: Vec<Content>,
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

    fn children(&self, of: usize) -> &[usize] {
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

    /// Writes the image, whole or not at all. Blocking.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        let pending = Pending::beside(to)?;
        let file = std::fs::File::create(pending.path()).map_err(|e| io_error("create", pending.path(), e))?;
        let mut out = std::io::BufWriter::new(file);
        self.write_to(&mut out, pending.target())?;
        out.flush().map_err(|e| io_error("write", pending.target(), e))?;
        drop(out);
        pending.commit()
    }

    fn write_to(&self, out: &mut impl Write, name: &Path) -> Result<()> {
        let sizes = self.contents.iter().map(content_size).collect::<Result<Vec<u32>>>()?;
        let layout = Layout::of(self, &sizes)?;
        let failed = |e| io_error("write", name, e);
        out.write_all(&vec![0; 16 * SECTOR]).map_err(failed)?;
        out.write_all(&layout.descriptor(&self.label, false)).map_err(failed)?;
        out.write_all(&layout.descriptor(&self.label, true)).map_err(failed)?;
        let mut end = vec![0u8; SECTOR];
        put(&mut end, 0, b"\xffCD001\x01");
        out.write_all(&end).map_err(failed)?;
        for view in [&layout.primary, &layout.joliet] {
            out.write_all(&padded(view.path_table(false))).map_err(failed)?;
            out.write_all(&padded(view.path_table(true))).map_err(failed)?;
        }
        for view in [&layout.primary, &layout.joliet] {
            for index in 0..view.folders.len() {
                out.write_all(&view.directory(index, &layout.files)).map_err(failed)?;
            }
        }
        for (content, &size) in self.contents.iter().zip(&sizes) {
            copy(content, size, out, name)?;
        }
        Ok(())
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

fn content_size(content: &Content) -> Result<u32> {
    let (size, name) = match content {
        Content::Bytes(bytes) => (bytes.len() as u64, "a file".to_owned()),
        Content::File(path) => {
            let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e))?;
            (meta.len(), path.display().to_string())
        }
    };
    u32::try_from(size).map_err(|_| {
        Error::new(Kind::Unsupported, format!("{name} has {size} bytes; a file of an ISO image must be below 4 GiB"))
    })
}

fn copy(content: &Content, size: u32, out: &mut impl Write, name: &Path) -> Result<()> {
    let written = match content {
        Content::Bytes(bytes) => {
            out.write_all(bytes).map_err(|e| io_error("write", name, e))?;
            bytes.len() as u64
        }
        Content::File(path) => {
            let file = std::fs::File::open(path).map_err(|e| io_error("read", path, e))?;
            std::io::copy(&mut file.take(u64::from(size)), out).map_err(|e| io_error("write", name, e))?
        }
    };
    if written != u64::from(size) {
        let what = match content {
            Content::File(path) => path.display().to_string(),
            Content::Bytes(_) => "a file".into(),
        };
        return Err(Error::new(Kind::Io, format!("{what} became shorter while it was read")));
    }
    let rest = (SECTOR - size as usize % SECTOR) % SECTOR;
    out.write_all(&vec![0; rest]).map_err(|e| io_error("write", name, e))
}

/// An entry of a folder in one view: its identifier there, and what it is.
struct Item {
    identifier: Vec<u8>,
    /// The real name, for Rock Ridge.
    name: String,
    target: Target,
}

enum Target {
    Folder(usize),
    File(usize),
}

/// A folder in one view.
struct Folder {
    identifier: Vec<u8>,
    parent: usize,
    items: Vec<Item>,
    sector: u32,
    sectors: u32,
}

impl Folder {
    fn bytes(&self) -> u32 {
        self.sectors * SECTOR as u32
    }
}

/// One of the two trees: the primary, or Joliet's.
struct View {
    joliet: bool,
    /// In the order of the path table: by depth, then by parent, then by identifier.
    folders: Vec<Folder>,
    table_sector: u32,
    table_size: u32,
}

struct Layout {
    primary: View,
    joliet: View,
    /// Sector and size of each file.
    files: Vec<(u32, u32)>,
    total: u32,
}

impl Layout {
    fn of(volume: &Volume, sizes: &[u32]) -> Result<Layout> {
        let mut primary = View::of(volume, false);
        let mut joliet = View::of(volume, true);
        // After the system area and three descriptors.
        let mut next: u64 = 19;
        let mut take = |sectors: u64| -> Result<u32> {
            let at = u32::try_from(next).map_err(|_| Error::new(Kind::Unsupported, "the ISO image is too large"))?;
            next += sectors;
            Ok(at)
        };
        for view in [&mut primary, &mut joliet] {
            view.table_size = view.path_table(false).len() as u32;
            view.table_sector = take(2 * u64::from(view.table_size.div_ceil(SECTOR as u32)))?;
        }
        for view in [&mut primary, &mut joliet] {
            for folder in &mut view.folders {
                folder.sector = take(u64::from(folder.sectors))?;
            }
        }
        let files = sizes
            .iter()
            .map(|&size| Ok((take(u64::from(size.div_ceil(SECTOR as u32)))?, size)))
            .collect::<Result<_>>()?;
        let total = take(0)?;
        Ok(Layout { primary, joliet, files, total })
    }

    fn descriptor(&self, label: &str, joliet: bool) -> Vec<u8> {
        let view = if joliet { &self.joliet } else { &self.primary };
        let text = |text: &str, width: usize| -> Vec<u8> {
            let mut bytes = if joliet { ucs2(text) } else { text.as_bytes().to_vec() };
            while bytes.len() < width {
                bytes.extend_from_slice(if joliet { &[0, b' '] } else { b" " });
            }
            bytes.truncate(width);
            bytes
        };
        let table_sectors = view.table_size.div_ceil(SECTOR as u32);
        let mut d = vec![0u8; SECTOR];
        put(&mut d, 0, if joliet { b"\x02CD001\x01" } else { b"\x01CD001\x01" });
        put(&mut d, 8, &text("", 32));
        put(&mut d, 40, &text(label, 32));
        put(&mut d, 80, &both32(self.total));
        if joliet {
            put(&mut d, 88, b"%/E");
        }
        put(&mut d, 120, &both16(1));
        put(&mut d, 124, &both16(1));
        put(&mut d, 128, &both16(SECTOR as u16));
        put(&mut d, 132, &both32(view.table_size));
        put(&mut d, 140, &view.table_sector.to_le_bytes());
        put(&mut d, 148, &(view.table_sector + table_sectors).to_be_bytes());
        if let Some(root) = view.folders.first() {
            put(&mut d, 156, &record(&[0], root.sector, root.bytes(), true, &[]));
        }
        for (at, width) in [(190, 128), (318, 128), (446, 128), (574, 128), (702, 37), (739, 37), (776, 37)] {
            put(&mut d, at, &text(if at == 446 { "RIMG" } else { "" }, width));
        }
        put(&mut d, 813, VOLUME_TIME);
        put(&mut d, 830, VOLUME_TIME);
        put(&mut d, 847, b"0000000000000000\0");
        put(&mut d, 864, b"0000000000000000\0");
        put(&mut d, 881, &[1]);
        d
    }
}

impl View {
    fn of(volume: &Volume, joliet: bool) -> View {
        let mut folders = vec![Folder { identifier: vec![0], parent: 0, items: Vec::new(), sector: 0, sectors: 0 }];
        let mut nodes = vec![0usize];
        let mut index = 0;
        while let Some(&node) = nodes.get(index) {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            let mut items: Vec<(Item, usize)> = Vec::new();
            for &child in volume.children(node) {
                let Some(Node { name, body }) = volume.nodes.get(child) else { continue };
                let (folder, target) = match body {
                    Body::Folder(_) => (true, Target::Folder(0)),
                    Body::File(content) => (false, Target::File(*content)),
                };
                let identifier = if joliet { joliet_name(name, folder) } else { short_name(name, folder, &taken) };
                taken.push(identifier.clone());
                items.push((Item { identifier, name: name.clone(), target }, child));
            }
            items.sort_by(|a, b| a.0.identifier.cmp(&b.0.identifier));
            for (item, child) in &mut items {
                if let Target::Folder(number) = &mut item.target {
                    *number = folders.len();
                    let identifier = item.identifier.clone();
                    folders.push(Folder { identifier, parent: index, items: Vec::new(), sector: 0, sectors: 0 });
                    nodes.push(*child);
                }
            }
            if let Some(folder) = folders.get_mut(index) {
                folder.items = items.into_iter().map(|(item, _)| item).collect();
            }
            index += 1;
        }
        let mut view = View { joliet, folders, table_sector: 0, table_size: 0 };
        for index in 0..view.folders.len() {
            let sectors = (view.directory(index, &[]).len() / SECTOR) as u32;
            if let Some(folder) = view.folders.get_mut(index) {
                folder.sectors = sectors;
            }
        }
        view
    }

    fn path_table(&self, big_endian: bool) -> Vec<u8> {
        let mut table = Vec::new();
        for folder in &self.folders {
            table.extend_from_slice(&[folder.identifier.len() as u8, 0]);
            let parent = folder.parent as u16 + 1;
            if big_endian {
                table.extend_from_slice(&folder.sector.to_be_bytes());
                table.extend_from_slice(&parent.to_be_bytes());
            } else {
                table.extend_from_slice(&folder.sector.to_le_bytes());
                table.extend_from_slice(&parent.to_le_bytes());
            }
            table.extend_from_slice(&folder.identifier);
            if folder.identifier.len() % 2 == 1 {
                table.push(0);
            }
        }
        table
    }

    /// Returns a folder's records in whole sectors; no record crosses from one sector into the next.
    fn directory(&self, index: usize, files: &[(u32, u32)]) -> Vec<u8> {
        let Some(folder) = self.folders.get(index) else { return Vec::new() };
        let place = |index: usize| self.folders.get(index).map(|f| (f.sector, f.bytes())).unwrap_or_default();
        let subfolders = folder.items.iter().filter(|item| matches!(item.target, Target::Folder(_))).count() as u32;
        let mut records = Vec::new();
        let (here, above) = (place(index), place(folder.parent));
        let mut own = Vec::new();
        if !self.joliet {
            if index == 0 {
                own.extend_from_slice(b"SP\x07\x01\xbe\xef\x00");
            }
            own.extend(posix(true, subfolders + 2));
            if index == 0 {
                own.extend_from_slice(b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A");
            }
        }
        records.push(record(&[0], here.0, here.1, true, &own));
        records.push(record(&[1], above.0, above.1, true, &if self.joliet { Vec::new() } else { posix(true, 2) }));
        for item in &folder.items {
            let (is_folder, (sector, size)) = match item.target {
                Target::Folder(number) => (true, place(number)),
                Target::File(number) => (false, files.get(number).copied().unwrap_or_default()),
            };
            let mut extra = Vec::new();
            if !self.joliet {
                extra.extend(posix(is_folder, if is_folder { 2 } else { 1 }));
                extra.extend_from_slice(&[b'N', b'M', 5 + item.name.len() as u8, 1, 0]);
                extra.extend_from_slice(item.name.as_bytes());
            }
            records.push(record(&item.identifier, sector, size, is_folder, &extra));
        }
        let mut bytes = Vec::new();
        for record in records {
            let used = bytes.len() % SECTOR;
            if used + record.len() > SECTOR {
                bytes.resize(bytes.len() + SECTOR - used, 0);
            }
            bytes.extend(record);
        }
        padded(bytes)
    }
}

/// Returns a directory record.
fn record(identifier: &[u8], sector: u32, size: u32, folder: bool, extra: &[u8]) -> Vec<u8> {
    let mut r = vec![0u8, 0];
    r.extend_from_slice(&both32(sector));
    r.extend_from_slice(&both32(size));
    r.extend_from_slice(&RECORD_TIME);
    r.extend_from_slice(&[if folder { 2 } else { 0 }, 0, 0]);
    r.extend_from_slice(&both16(1));
    r.push(identifier.len() as u8);
    r.extend_from_slice(identifier);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    r.extend_from_slice(extra);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    let length = r.len() as u8;
    put(&mut r, 0, &[length]);
    r
}

/// Returns Rock Ridge's mode, links, owner and group.
fn posix(folder: bool, links: u32) -> Vec<u8> {
    let mode: u32 = if folder { 0o040_755 } else { 0o100_644 };
    let mut px = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        px.extend_from_slice(&both32(value));
    }
    px
}

/// Returns an unused upper-case 8.3 name for the primary tree; the real one is in the Rock Ridge entry.
fn short_name(name: &str, folder: bool, taken: &[Vec<u8>]) -> Vec<u8> {
    let clean = |text: &str, width: usize| -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(fit).take(width).collect()
    };
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !folder && !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let (stem, extension) = (clean(stem, 8), clean(extension, 3));
    let form = |stem: &str| match folder {
        true => stem.as_bytes().to_vec(),
        false => format!("{stem}.{extension};1").into_bytes(),
    };
    let mut candidate = form(&stem);
    let mut number = 0;
    while taken.contains(&candidate) {
        let tail = number.to_string();
        let head: String = stem.chars().take(8usize.saturating_sub(tail.len())).collect();
        candidate = form(&format!("{head}{tail}"));
        number += 1;
    }
    candidate
}

fn joliet_name(name: &str, folder: bool) -> Vec<u8> {
    ucs2(&if folder { name.to_owned() } else { format!("{name};1") })
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn both16(n: u16) -> Vec<u8> {
    [n.to_le_bytes(), n.to_be_bytes()].concat()
}

fn both32(n: u32) -> Vec<u8> {
    [n.to_le_bytes(), n.to_be_bytes()].concat()
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = into.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    let sectors = bytes.len().div_ceil(SECTOR).max(1);
    bytes.resize(sectors * SECTOR, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::process::Command;

    /// Unpacks an image with xorriso, and returns what was in it; none when xorriso is missing.
    fn unpack(iso: &Path, args: &[&str]) -> Option<BTreeMap<String, Vec<u8>>> {
        if crate::host::process::which("xorriso").is_none() {
            assert!(std::env::var_os("CI").is_none(), "xorriso is not installed");
            return None;
        }
        let out = tempfile::tempdir().unwrap();
        let run = Command::new("xorriso")
            .args(args)
            .args(["-osirrox", "on", "-indev"])
            .arg(iso)
            .args(["-extract", "/"])
            .arg(out.path().join("x"))
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, found);
                } else {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(&out.path().join("x"), &out.path().join("x"), &mut found);
        Some(found)
    }

    fn image(files: &BTreeMap<String, Vec<u8>>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let mut volume = Volume::new("cidata").unwrap();
        for (name, bytes) in files {
            volume.add(name, Content::Bytes(bytes.clone())).unwrap();
        }
        let iso = volume.write(&dir.path().join("v.iso")).unwrap();
        (dir, iso)
    }

    #[test]
    fn another_reader_finds_every_file_by_either_kind_of_name() {
        let mut files = BTreeMap::new();
        files.insert("user-data".to_owned(), b"#cloud-config\n".to_vec());
        files.insert("empty".to_owned(), Vec::new());
        files.insert("Größe/deep/er/a file with spaces.tar.gz".to_owned(), vec![1; 5000]);
        files.insert("Größe/deep/er/a file with spaces.tar.xz".to_owned(), vec![2; 2048]);
        // More than one sector of records.
        for n in 0..60 {
            files.insert(format!("many/a-rather-long-file-name-number-{n}.conf"), n.to_string().into_bytes());
        }
        let (_dir, iso) = image(&files);
        let Some(rock_ridge) = unpack(&iso, &[]) else { return };
        assert_eq!(rock_ridge, files);
        let joliet = unpack(&iso, &["-read_fs", "norock"]).unwrap();
        assert_eq!(joliet, files);
        let label = Command::new("blkid").args(["-o", "value", "-s", "LABEL"]).arg(&iso).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "cidata");
    }

    #[test]
    fn host_files_are_copied_and_names_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("driver.bin");
        std::fs::write(&source, vec![9u8; 3_000_000]).unwrap();
        let mut volume = Volume::new("DRIVERS").unwrap();
        volume.add("a/driver.bin", Content::File(source)).unwrap();
        assert!(volume.add("a/driver.bin", Content::Bytes(vec![])).is_err());
        assert!(volume.add("a", Content::Bytes(vec![])).is_err());
        assert!(volume.add("a/driver.bin/b", Content::Bytes(vec![])).is_err());
        assert!(volume.add("../b", Content::Bytes(vec![])).is_err());
        assert!(volume.add(&"x".repeat(120), Content::Bytes(vec![])).is_err());
        assert!(Volume::new("much too long a label").is_err());
        let iso = volume.write(&dir.path().join("v.iso")).unwrap();
        let Some(found) = unpack(&iso, &[]) else { return };
        assert_eq!(found["a/driver.bin"].len(), 3_000_000);
        volume.add("gone", Content::File(dir.path().join("gone"))).unwrap();
        let error = volume.write(&dir.path().join("w.iso")).unwrap_err();
        assert!(error.message().contains("gone"), "{error}");
        assert!(!dir.path().join("w.iso").exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn any_tree_comes_back(
            files in prop::collection::btree_map("[a-zA-Zé][a-zA-Z0-9._-]{0,30}(/[a-z][a-zA-Z0-9.-]{0,12}){0,4}",
                prop::collection::vec(any::<u8>(), 0..5000), 0..30)
        ) {
            let mut volume = Volume::new("t").unwrap();
            let mut kept = BTreeMap::new();
            for (name, bytes) in files {
                // A name may be a folder of another; that is refused, and tested above.
                if volume.add(&name, Content::Bytes(bytes.clone())).is_ok() {
                    kept.insert(name, bytes);
                }
            }
            let dir = tempfile::tempdir().unwrap();
            let iso = volume.write(&dir.path().join("v.iso")).unwrap();
            if let Some(found) = unpack(&iso, &[]) {
                prop_assert_eq!(found, kept);
            }
        }
    }
}
