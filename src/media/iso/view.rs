//! The two folder trees over one copy of the files.

use std::collections::HashSet;

use super::bytes::{SECTOR, padded};
use super::layout::Place;
use super::record::{self, record};
use super::short_name::ShortNames;
use super::volume::{Body, Node, Volume};
use super::{joliet, rock_ridge};

/// An entry of a folder in one view: its identifier there, and what it is.
pub(super) struct Item {
    identifier: Vec<u8>,
    /// The real name, for Rock Ridge.
    name: String,
    target: Target,
}

pub(super) enum Target {
    Folder(usize),
    File(usize),
}

/// Returns what the entries of a folder are sorted by (ECMA-119, section 9.3): their names as if padded with spaces, then
/// the extensions likewise. So what ends a part comes before whatever else could stand there.
fn rank(identifier: &[u8], joliet: bool) -> Vec<u16> {
    let rank = |unit: u16| match u8::try_from(unit) {
        Ok(b';') => 0,
        Ok(b'.') => 1,
        _ => unit,
    };
    if !joliet {
        return identifier.iter().map(|byte| rank(u16::from(*byte))).collect();
    }
    let units = identifier.chunks_exact(2).map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
    units.map(rank).collect()
}

/// A folder in one view.
pub(super) struct Folder {
    identifier: Vec<u8>,
    parent: usize,
    items: Vec<Item>,
    pub(super) sector: u32,
    pub(super) sectors: u32,
}

impl Folder {
    pub(super) fn bytes(&self) -> u32 {
        self.sectors * SECTOR as u32
    }
}

/// One of the two trees: the primary, or Joliet's.
pub(super) struct View {
    joliet: bool,
    max_extent: u64,
    /// In the order of the path table: by depth, then by parent, then by identifier.
    pub(super) folders: Vec<Folder>,
    pub(super) table_sector: u32,
    pub(super) table_size: u32,
}

impl View {
    pub(super) fn of(volume: &Volume, files: &[Place], joliet: bool) -> View {
        let mut folders = vec![Folder { identifier: vec![0], parent: 0, items: Vec::new(), sector: 0, sectors: 0 }];
        let mut nodes = vec![0usize];
        let mut index = 0;
        while let Some(&node) = nodes.get(index) {
            let (mut short, mut taken) = (ShortNames::default(), HashSet::new());
            let mut items: Vec<(Item, usize)> = Vec::new();
            for &child in volume.children(node) {
                let Some(Node { name, body }) = volume.nodes.get(child) else { continue };
                let (folder, target) = match body {
                    Body::Folder(_) => (true, Target::Folder(0)),
                    Body::File(content) => (false, Target::File(*content)),
                };
                let identifier = if joliet { joliet::name(name, folder, &taken) } else { short.of(name, folder) };
                if joliet {
                    taken.insert(identifier.clone());
                }
                items.push((Item { identifier, name: name.clone(), target }, child));
            }
            items.sort_by_cached_key(|(item, _)| rank(&item.identifier, joliet));
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
        let mut view = View { joliet, max_extent: volume.max_extent, folders, table_sector: 0, table_size: 0 };
        for index in 0..view.folders.len() {
            let sectors = (view.directory(index, files).len() / SECTOR) as u32;
            if let Some(folder) = view.folders.get_mut(index) {
                folder.sectors = sectors;
            }
        }
        view
    }

    pub(super) fn path_table(&self, big_endian: bool) -> Vec<u8> {
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
    pub(super) fn directory(&self, index: usize, files: &[Place]) -> Vec<u8> {
        let Some(folder) = self.folders.get(index) else { return Vec::new() };
        let place = |index: usize| self.folders.get(index).map(|f| (f.sector, f.bytes())).unwrap_or_default();
        let subfolders = folder.items.iter().filter(|item| matches!(item.target, Target::Folder(_))).count() as u32;
        let mut records = Vec::new();
        let (here, above) = (place(index), place(folder.parent));
        let mut own = Vec::new();
        if !self.joliet {
            if index == 0 {
                own.extend_from_slice(rock_ridge::FIRST);
            }
            own.extend(rock_ridge::posix(rock_ridge::FOLDER, subfolders + 2));
            if index == 0 {
                own.extend_from_slice(rock_ridge::EXTENSION);
            }
        }
        records.push(record(&[0], here.0, here.1, record::FOLDER, &own));
        records.push(record(
            &[1],
            above.0,
            above.1,
            record::FOLDER,
            &if self.joliet { Vec::new() } else { rock_ridge::posix(rock_ridge::FOLDER, 2) },
        ));
        for item in &folder.items {
            let extra = |mode: u32, links: u32| match self.joliet {
                true => Vec::new(),
                false => [rock_ridge::posix(mode, links), rock_ridge::name(&item.name)].concat(),
            };
            match item.target {
                Target::Folder(number) => {
                    let ((sector, size), extra) = (place(number), extra(rock_ridge::FOLDER, 2));
                    records.push(record(&item.identifier, sector, size, record::FOLDER, &extra));
                }
                Target::File(number) => {
                    let file = files.get(number).copied().unwrap_or_default();
                    let extra = extra(rock_ridge::file_mode(file.executable), 1);
                    let mut extents = file.extents(self.max_extent).peekable();
                    while let Some((sector, size)) = extents.next() {
                        let flags = if extents.peek().is_some() { record::MORE } else { 0 };
                        records.push(record(&item.identifier, sector, size, flags, &extra));
                    }
                }
            }
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
