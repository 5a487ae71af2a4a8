//! Holes in files: found where a file is read, made where one is written.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::SeekFrom as Whence;

/// A stretch of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// Holes that save less than this are not worth a way of their own.
const WORTHWHILE: u64 = 1 << 20;
/// A file in more pieces than this is read as one.
const MOST: usize = 1 << 16;
/// File systems allocate in blocks of this size or a multiple.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Returns where a file of this size holds data; one extent where it has no holes, or none that are worth it.
pub fn extents(file: &File, size: u64) -> Vec<Extent> {
    let whole = vec![Extent { offset: 0, length: size }];
    let allocated = file.metadata().map_or(size, |meta| meta.blocks().saturating_mul(512));
    if allocated.saturating_add(WORTHWHILE.max(size / 8)) > size {
        return whole;
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < size && found.len() < MOST {
        let start = match rustix::fs::seek(file, Whence::Data(at)) {
            Ok(start) => start.min(size),
            // Nothing but a hole from here on.
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return whole,
        };
        let end = match rustix::fs::seek(file, Whence::Hole(start)) {
            Ok(end) => end.min(size),
            Err(_) => return whole,
        };
        if end > start {
            found.push(Extent { offset: start, length: end - start });
        }
        at = end.max(start + 1);
    }
    if found.len() >= MOST { whole } else { found }
}

/// Tells whether some of a file of this size is left out of its extents.
pub fn has_holes(extents: &[Extent], size: u64) -> bool {
    extents.iter().map(|e| e.length).sum::<u64>() < size
}

/// Writes a file from its beginning, and leaves holes where there would be blocks of zeros.
pub struct HoleWriter {
    file: File,
    /// Where the next byte belongs.
    at: u64,
    /// Where the file's own position is.
    position: u64,
}

impl HoleWriter {
    /// Takes an empty file.
    pub fn new(file: File) -> HoleWriter {
        HoleWriter { file, at: 0, position: 0 }
    }

    /// Gives the file its full length, and hands it back.
    pub fn finish(self) -> io::Result<File> {
        self.file.set_len(self.at)?;
        Ok(self.file)
    }

    fn put(&mut self, data: &[u8]) -> io::Result<()> {
        if self.position != self.at {
            self.file.seek(SeekFrom::Start(self.at))?;
        }
        self.file.write_all(data)?;
        self.at += data.len() as u64;
        self.position = self.at;
        Ok(())
    }
}

impl Write for HoleWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut rest = data;
        let mut run = 0;
        while let Some(ahead) = rest.get(run..).filter(|ahead| !ahead.is_empty()) {
            let within = ((self.at + run as u64) % BLOCK as u64) as usize;
            let length = (BLOCK - within).min(ahead.len());
            let hole = length == BLOCK && ahead.get(..BLOCK).is_some_and(|block| block == ZEROS);
            if !hole {
                run += length;
                continue;
            }
            self.put(rest.get(..run).unwrap_or_default())?;
            self.at += BLOCK as u64;
            rest = rest.get(run + BLOCK..).unwrap_or_default();
            run = 0;
        }
        if !rest.is_empty() {
            self.put(rest)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extents_leave_the_holes_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create_new(dir.path().join("f")).unwrap();
        let size = 64 << 20;
        file.set_len(size).unwrap();
        assert_eq!(extents(&file, size), []);
        file.seek(SeekFrom::Start(32 << 20)).unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        let found = extents(&file, size);
        assert!(has_holes(&found, size));
        let data: u64 = found.iter().map(|e| e.length).sum();
        assert!((100_000..1 << 20).contains(&data), "{found:?}");
        assert!(found.iter().any(|e| e.offset <= 32 << 20 && e.offset + e.length >= (32 << 20) + 100_000));
        std::fs::write(dir.path().join("dense"), [0; 5000]).unwrap();
        let dense = File::open(dir.path().join("dense")).unwrap();
        assert_eq!(extents(&dense, 5000), [Extent { offset: 0, length: 5000 }]);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(parts in proptest::collection::vec((any::<bool>(), 0usize..20_000), 0..8)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            let mut writer = HoleWriter::new(File::create_new(&path).unwrap());
            let mut expected = Vec::new();
            for (data, length) in parts {
                let piece = vec![u8::from(data); length];
                writer.write_all(&piece).unwrap();
                expected.extend(piece);
            }
            writer.finish().unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), expected);
        }
    }
}
