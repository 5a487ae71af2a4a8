//! A reader of FAT12 images that insists on what writers must keep to.

use std::collections::{BTreeMap, BTreeSet};

const ENTRY: usize = 32;
const FOLDER: u8 = 0x10;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;

/// Returns every file of an image by its path.
pub(super) fn files(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let boot = part(image, 0, 512);
    assert_eq!(part(boot, 510, 2), [0x55, 0xaa]);
    let sector = number(boot, 11);
    let (tables, table_size, roots) = (byte(boot, 16), number(boot, 22) * sector, number(boot, 17));
    assert_eq!((tables, byte(boot, 13), number(boot, 19) * sector), (2, 1, image.len()));
    let tables_at = number(boot, 14) * sector;
    let table = part(image, tables_at, table_size);
    assert_eq!(table, part(image, tables_at + table_size, table_size), "the two tables");
    let root_at = tables_at + 2 * table_size;
    let data = image.get(root_at + roots * ENTRY..).expect("the data");
    let mut reader = Reader { table, data, sector, used: BTreeSet::new(), found: BTreeMap::new() };
    assert_eq!(reader.next(0) & 0xff, usize::from(byte(boot, 21)), "the medium's kind");
    reader.folder(part(image, root_at, roots * ENTRY), "", 0, 0);
    for cluster in 2..2 + data.len() / sector {
        assert_eq!(reader.next(cluster) != 0, reader.used.contains(&cluster), "cluster {cluster}");
    }
    reader.found
}

struct Reader<'i> {
    table: &'i [u8],
    data: &'i [u8],
    sector: usize,
    used: BTreeSet<usize>,
    found: BTreeMap<String, Vec<u8>>,
}

impl Reader<'_> {
    fn next(&self, cluster: usize) -> usize {
        let pair = number(self.table, cluster + cluster / 2);
        if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
    }

    fn chain(&mut self, first: usize) -> Vec<u8> {
        let (mut cluster, mut bytes) = (first, Vec::new());
        while cluster < 0xff8 {
            assert!(self.used.insert(cluster), "cluster {cluster} has two owners");
            let at = cluster.checked_sub(2).expect("a cluster") * self.sector;
            bytes.extend_from_slice(part(self.data, at, self.sector));
            cluster = self.next(cluster);
        }
        bytes
    }

    fn folder(&mut self, entries: &[u8], path: &str, own: usize, above: usize) {
        let mut long: Vec<&[u8]> = Vec::new();
        let (mut short_names, mut ended, mut labels) = (BTreeSet::new(), false, 0);
        for (index, entry) in entries.chunks(ENTRY).enumerate() {
            if byte(entry, 0) == 0 {
                ended = true;
                continue;
            }
            assert!(!ended, "an entry behind the end");
            let (short, attributes, cluster) = (part(entry, 0, 11), byte(entry, 11), number(entry, 26));
            if attributes == LONG_NAME {
                long.push(entry);
                continue;
            }
            assert!(short_names.insert(short.to_vec()), "{short:?} twice");
            if attributes & LABEL != 0 {
                labels += 1;
                continue;
            }
            if own != 0 && index < 2 {
                let (name, of) = if index == 0 { (b".          ", own) } else { (b"..         ", above) };
                assert_eq!((short, attributes, cluster), (&name[..], FOLDER, of));
                continue;
            }
            let name = format!("{path}{}", if long.is_empty() { short_name(short) } else { long_name(&long, short) });
            long.clear();
            let size = number(entry, 28) | number(entry, 30) << 16;
            if attributes & FOLDER != 0 {
                assert_eq!(size, 0);
                let inside = self.chain(cluster);
                self.folder(&inside, &format!("{name}/"), cluster, own);
                continue;
            }
            let mut bytes = if cluster == 0 { Vec::new() } else { self.chain(cluster) };
            assert_eq!(bytes.len(), size.div_ceil(self.sector) * self.sector, "the chain of {name:?}");
            bytes.truncate(size);
            assert!(self.found.insert(name, bytes).is_none(), "a name that is there twice");
        }
        assert!(long.is_empty(), "a long name without a file");
        assert_eq!(labels, usize::from(own == 0));
    }
}

fn short_name(short: &[u8]) -> String {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect("ASCII").trim_end().to_owned();
    let (stem, extension) = (text(part(short, 0, 8)), text(part(short, 8, 3)));
    assert!(!stem.is_empty());
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

fn long_name(entries: &[&[u8]], short: &[u8]) -> String {
    let sum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units = Vec::new();
    for (place, entry) in entries.iter().rev().enumerate() {
        let last = if place + 1 == entries.len() { 0x40 } else { 0 };
        assert_eq!(byte(entry, 0), (place + 1) as u8 | last, "the order of a long name");
        assert_eq!((byte(entry, 12), byte(entry, 13), number(entry, 26)), (0, sum, 0));
        for (at, length) in [(1, 10), (14, 12), (28, 4)] {
            units.extend(part(entry, at, length).chunks(2).map(|pair| number(pair, 0) as u16));
        }
    }
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    let (name, rest) = units.split_at(end);
    assert!(rest.iter().skip(1).all(|unit| *unit == 0xffff) && rest.len() <= 13 && !name.is_empty());
    String::from_utf16(name).expect("UTF-16")
}

fn part(bytes: &[u8], at: usize, length: usize) -> &[u8] {
    bytes.get(at..at + length).expect("a part inside the image")
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    *bytes.get(at).expect("a byte")
}

fn number(bytes: &[u8], at: usize) -> usize {
    usize::from(byte(bytes, at)) | usize::from(byte(bytes, at + 1)) << 8
}
