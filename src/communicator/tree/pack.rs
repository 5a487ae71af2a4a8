//! A folder into a tar stream.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};

use super::super::pipe::PipeWriter;
use crate::error::{Result, io_error};
use crate::host::sparse;
use crate::ui::event::Counter;

/// How a folder is packed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packing<'a> {
    /// Whether holes are left out, by GNU's extension, which small tars (busybox) do not know.
    pub sparse: bool,
    /// The name of an empty file after all others: where it arrived, everything did. A tar stream that breaks off
    /// between two files looks whole.
    pub end: Option<&'a str>,
}

/// Packs the contents of `dir` into the pipe, sorted, and returns the bytes of file content. Blocking.
///
/// The folder itself is left out, so that unpacking never changes the mode of an existing target such as `/tmp`.
pub fn pack(dir: &Path, pipe: PipeWriter, how: Packing<'_>, counter: &Counter) -> Result<u64> {
    let mut builder = Builder::new(pipe);
    builder.follow_symlinks(false);
    builder.mode(HeaderMode::Complete);
    builder.sparse(true);
    let mut packer = Packer { builder, sparse: how.sparse, linked: HashMap::new(), packed: 0, counter };
    packer.folder(dir, Path::new(""))?;
    let failed = |e| io_error("send the folder", dir, e);
    if let Some(name) = how.end {
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(0);
        packer.builder.append_data(&mut header, name, io::empty()).map_err(failed)?;
    }
    packer.builder.into_inner().and_then(|mut pipe| io::Write::flush(&mut pipe)).map_err(failed)?;
    Ok(packer.packed)
}

struct Packer<'a> {
    builder: Builder<PipeWriter>,
    sparse: bool,
    /// Files with several names, by device and inode: the name they were packed under.
    linked: HashMap<(u64, u64), PathBuf>,
    packed: u64,
    counter: &'a Counter,
}

impl Packer<'_> {
    fn folder(&mut self, dir: &Path, name: &Path) -> Result<()> {
        let read = |e| io_error("read the folder", dir, e);
        let mut entries = std::fs::read_dir(dir).map_err(read)?.collect::<io::Result<Vec<_>>>().map_err(read)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = name.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| io_error("read", &path, e))?;
            if kind.is_dir() {
                self.builder.append_dir(&name, &path).map_err(|e| io_error("send", &path, e))?;
                self.folder(&path, &name)?;
            } else if kind.is_file() {
                self.file(&path, &name)?;
            } else if kind.is_symlink() {
                self.builder.append_path_with_name(&path, &name).map_err(|e| io_error("send", &path, e))?;
            }
            // Sockets, pipes and devices mean nothing on another machine; `survey` names them.
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &Path) -> Result<()> {
        let send = |e| io_error("send", path, e);
        let mut file = File::open(path).map_err(|e| io_error("read", path, e))?;
        let meta = file.metadata().map_err(send)?;
        if meta.nlink() > 1 {
            match self.linked.entry((meta.dev(), meta.ino())) {
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(name.to_owned());
                }
                std::collections::hash_map::Entry::Occupied(first) => {
                    let mut header = header_of(&meta);
                    header.set_entry_type(EntryType::Link);
                    header.set_size(0);
                    return self.builder.append_link(&mut header, name, first.get()).map_err(send);
                }
            }
        }
        let size = meta.len();
        if self.sparse && sparse::has_holes(&sparse::extents(&file, size), size) {
            self.builder.append_file(name, &mut file).map_err(send)?;
            self.counter.add(size);
        } else {
            let content = Exactly { file, left: size, counter: self.counter };
            self.builder.append_data(&mut header_of(&meta), name, content).map_err(send)?;
        }
        self.packed += size;
        Ok(())
    }
}

fn header_of(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(meta, HeaderMode::Complete);
    header
}

/// Reads as much of a file as its header promises: one more byte would shift all that follows.
struct Exactly<'a> {
    file: File,
    left: u64,
    counter: &'a Counter,
}

impl Read for Exactly<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most).filter(|into| !into.is_empty()) else { return Ok(0) };
        let count = self.file.read(into)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short while it was read"));
        }
        self.left -= count as u64;
        self.counter.add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::communicator::pipe;

    fn packed(dir: &Path, how: Packing<'_>) -> Vec<u8> {
        let (writer, mut pieces) = pipe::outgoing();
        std::thread::scope(|scope| {
            scope.spawn(move || pack(dir, writer, how, &Counter::default()).unwrap());
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.blocking_recv() {
                bytes.extend_from_slice(&piece);
            }
            bytes
        })
    }

    #[test]
    fn links_stay_links_and_holes_holes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "content").unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        File::create_new(dir.path().join("sparse")).unwrap().set_len(8 << 20).unwrap();
        let bytes = packed(dir.path(), Packing { sparse: true, end: Some("end") });
        assert!(bytes.len() < 20 << 10, "{}", bytes.len());
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| {
                let e = e.unwrap();
                (e.path().unwrap().display().to_string(), e.header().entry_type(), e.size())
            })
            .collect();
        let names: Vec<_> = entries.iter().map(|(name, kind, size)| (name.as_str(), *kind, *size)).collect();
        assert_eq!(
            names,
            [
                ("a", EntryType::Regular, 7),
                ("b", EntryType::Link, 0),
                ("sparse", EntryType::GNUSparse, 8 << 20),
                ("end", EntryType::Regular, 0)
            ]
        );
        assert!(packed(dir.path(), Packing::default()).len() > 8 << 20);
    }
}
