//! A reader of ISO 9660 images (ECMA-119, Joliet, Rock Ridge) that insists on what writers must keep to.

use std::collections::BTreeMap;

const SECTOR: usize = 2048;
/// No image of a property is deeper.
const DEEPEST: usize = 64;

/// Which of a file's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// The identifiers of the primary tree.
    Short,
    RockRidge,
    Joliet,
}

/// Returns every file of an image by its path.
pub(super) fn files(image: &[u8], names: Names) -> BTreeMap<String, Vec<u8>> {
    let reader = Reader { image, names };
    let kind = if names == Names::Joliet { 2 } else { 1 };
    let descriptor = (16..32)
        .map(|sector| reader.part(sector * SECTOR, SECTOR))
        .take_while(|descriptor| byte(descriptor, 0) != 255)
        .find(|descriptor| byte(descriptor, 0) == kind)
        .expect("a volume descriptor");
    assert_eq!(reader.slice(descriptor, 1, 5), b"CD001");
    assert_eq!(both(descriptor, 80) as usize * SECTOR, image.len(), "the volume's size");
    assert_eq!(both16(descriptor, 128) as usize, SECTOR);
    let root = record(reader.slice(descriptor, 156, 34));
    let mut found = BTreeMap::new();
    let mut folders = vec![root.sector];
    reader.folder(&root, &root, "", 0, &mut found, &mut folders);
    let table = |at: usize, number: fn(&[u8], usize) -> u32| {
        let size = both(descriptor, 132) as usize;
        reader.path_table(reader.part(number(descriptor, at) as usize * SECTOR, size), number)
    };
    let (little, big) = (table(140, le32), table(148, be32));
    assert_eq!(little, big, "the path tables");
    let mut listed = little;
    listed.sort_unstable();
    folders.sort_unstable();
    assert_eq!(listed, folders, "the folders of the path table");
    found
}

struct Reader<'i> {
    image: &'i [u8],
    names: Names,
}

#[derive(Debug, Clone, Copy)]
struct Record<'i> {
    sector: u32,
    size: u32,
    flags: u8,
    identifier: &'i [u8],
    system: &'i [u8],
}

impl<'i> Reader<'i> {
    fn part(&self, at: usize, length: usize) -> &'i [u8] {
        self.slice(self.image, at, length)
    }

    fn slice(&self, of: &'i [u8], at: usize, length: usize) -> &'i [u8] {
        of.get(at..at + length).expect("a part inside the image")
    }

    fn extent(&self, record: &Record<'_>) -> &'i [u8] {
        self.part(record.sector as usize * SECTOR, record.size as usize)
    }

    fn path_table(&self, table: &'i [u8], number: fn(&[u8], usize) -> u32) -> Vec<u32> {
        let (mut at, mut sectors) = (0, Vec::new());
        while at < table.len() {
            let length = usize::from(byte(table, at));
            sectors.push(number(table, at + 2));
            let parent = if number(&[1, 0, 0, 0], 0) == 1 { u16::from_le_bytes } else { u16::from_be_bytes };
            let parent = usize::from(parent([byte(table, at + 6), byte(table, at + 7)]));
            assert!((1..=sectors.len()).contains(&parent), "a parent comes first");
            at += 8 + length + length % 2;
        }
        sectors
    }

    fn folder(
        &self,
        folder: &Record<'i>,
        parent: &Record<'i>,
        path: &str,
        depth: usize,
        found: &mut BTreeMap<String, Vec<u8>>,
        folders: &mut Vec<u32>,
    ) {
        assert!(depth < DEEPEST && (folder.size as usize).is_multiple_of(SECTOR) && folder.size > 0);
        let mut records = Vec::new();
        for sector in self.extent(folder).chunks(SECTOR) {
            let mut at = 0;
            while at < SECTOR && byte(sector, at) != 0 {
                let length = usize::from(byte(sector, at));
                // It panics where the record crosses the sector's end.
                records.push(record(self.slice(sector, at, length)));
                at += length;
            }
        }
        let [own, above, entries @ ..] = records.as_slice() else { panic!("a folder without its own records") };
        assert_eq!((own.identifier, own.sector, own.size), (&[0][..], folder.sector, folder.size));
        assert_eq!((above.identifier, above.sector, above.size), (&[1][..], parent.sector, parent.size));
        let mut last: Option<&Record<'_>> = None;
        let mut content = Vec::new();
        for entry in entries {
            if let Some(last) = last {
                let goes_on = last.flags & 0x80 != 0 && last.identifier == entry.identifier;
                let (before, here) = (self.rank(last), self.rank(entry));
                assert!(goes_on || before < here, "{before:?} comes before {here:?}");
            }
            last = Some(entry);
            let name = format!("{path}{}", self.name(entry));
            if entry.flags & 2 != 0 {
                folders.push(entry.sector);
                self.folder(entry, folder, &format!("{name}/"), depth + 1, found, folders);
                continue;
            }
            content.extend_from_slice(self.extent(entry));
            if entry.flags & 0x80 == 0 {
                assert!(found.insert(name, std::mem::take(&mut content)).is_none(), "a name that is there twice");
            }
        }
    }

    /// Returns what folders are sorted by (ECMA-119, section 9.3): the name, then the extension; there is one version of each.
    fn rank(&self, record: &Record<'_>) -> Vec<Vec<u16>> {
        let width = if self.names == Names::Joliet { 2 } else { 1 };
        let unit = |unit: &[u8]| unit.iter().fold(0, |all, byte| all << 8 | u16::from(*byte));
        let units: Vec<u16> = record.identifier.chunks(width).map(unit).collect();
        let name = units.split(|unit| *unit == u16::from(b';')).next().unwrap_or_default();
        name.split(|unit| *unit == u16::from(b'.')).map(<[u16]>::to_vec).collect()
    }

    fn name(&self, record: &Record<'_>) -> String {
        match self.names {
            Names::Short => {
                let name = std::str::from_utf8(record.identifier).expect("ASCII");
                let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "_.;".contains(c);
                assert!(name.chars().all(allowed) && name.len() <= 31, "{name:?}");
                name.trim_end_matches(".;1").to_owned()
            }
            Names::Joliet => {
                let units = record.identifier.chunks(2).map(|pair| u16::from_be_bytes([byte(pair, 0), byte(pair, 1)]));
                let name = String::from_utf16(&units.collect::<Vec<_>>()).expect("UTF-16");
                assert!(!name.is_empty() && !name.contains(['*', '/', ':', '\\', '?']), "{name:?}");
                assert!(record.identifier.len() <= 222);
                name.strip_suffix(";1").map_or(name.clone(), str::to_owned)
            }
            Names::RockRidge => {
                let (mut at, mut name, mut has_mode) = (0, Vec::new(), false);
                while at + 4 <= record.system.len() {
                    let length = usize::from(byte(record.system, at + 2));
                    assert!(length >= 4, "an entry without length");
                    let entry = record.system.get(at..at + length).expect("an entry in its record");
                    match entry.get(..2) {
                        Some(b"NM") => name.extend_from_slice(entry.get(5..).expect("a name")),
                        Some(b"PX") => {
                            let kind = both(entry, 4) & 0o170_000;
                            let expected = if record.flags & 2 != 0 { 0o040_000 } else { 0o100_000 };
                            assert_eq!(kind, expected);
                            has_mode = true;
                        }
                        _ => {}
                    }
                    at += length;
                }
                assert!(has_mode, "no PX entry");
                String::from_utf8(name).expect("UTF-8")
            }
        }
    }
}

/// Reads a directory record (ECMA-119, section 9.1).
fn record(bytes: &[u8]) -> Record<'_> {
    assert!(bytes.len().is_multiple_of(2) && bytes.len() >= 34, "a record of {} bytes", bytes.len());
    assert_eq!(both16(bytes, 28), 1, "the volume's number");
    let length = usize::from(byte(bytes, 32));
    let behind = 33 + length + (length + 1) % 2;
    Record {
        sector: both(bytes, 2),
        size: both(bytes, 10),
        flags: byte(bytes, 25),
        identifier: bytes.get(33..33 + length).expect("an identifier in its record"),
        system: bytes.get(behind..).unwrap_or_default(),
    }
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    *bytes.get(at).expect("a byte")
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).expect("a number").try_into().unwrap()
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Reads a number that is there in both byte orders.
fn both(bytes: &[u8], at: usize) -> u32 {
    let number = le32(bytes, at);
    assert_eq!(number, be32(bytes, at + 4));
    number
}

fn both16(bytes: &[u8], at: usize) -> u16 {
    let number = u16::from_le_bytes(array(bytes, at));
    assert_eq!(number, u16::from_be_bytes(array(bytes, at + 2)));
    number
}
