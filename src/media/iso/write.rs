//! The order of an image's parts, and their writing.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::bytes::{SECTOR, padded};
use super::descriptor;
use super::layout::{Layout, Place};
use super::volume::Volume;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking::Cancel;
use crate::media::medium::Content;
use crate::ui::event::Counter;

/// How much of a file is in memory at once.
const BLOCK: usize = 1 << 20;

impl Volume {
    /// Writes the image, whole or not at all. Blocking.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        self.write_counted(to, &Cancel::default(), &Counter::default())
    }

    /// Writes the image, whole or not at all, counting the bytes of its files. Blocking.
    pub fn write_counted(&self, to: &Path, cancel: &Cancel, counter: &Counter) -> Result<PathBuf> {
        let pending = Pending::beside(to)?;
        let file = std::fs::File::create(pending.path()).map_err(|e| io_error("create", pending.path(), e))?;
        let mut out = std::io::BufWriter::new(file);
        self.write_to(&mut out, pending.target(), cancel, counter)?;
        out.flush().map_err(|e| io_error("write", pending.target(), e))?;
        drop(out);
        pending.commit()
    }

    /// Returns the bytes of all its files. Blocking.
    pub fn content_size(&self) -> Result<u64> {
        self.contents.iter().map(|content| Ok(place_of(content)?.size)).sum()
    }

    /// Writes the image; `name` is what it is called in errors.
    pub(crate) fn write_to(&self, out: &mut impl Write, name: &Path, cancel: &Cancel, counter: &Counter) -> Result<()> {
        let files = self.contents.iter().map(place_of).collect::<Result<Vec<_>>>()?;
        let layout = Layout::of(self, files)?;
        let failed = |e| io_error("write", name, e);
        out.write_all(&vec![0; 16 * SECTOR]).map_err(failed)?;
        out.write_all(&descriptor::primary(&layout, &self.label)).map_err(failed)?;
        out.write_all(&descriptor::joliet(&layout, &self.label)).map_err(failed)?;
        out.write_all(&descriptor::end()).map_err(failed)?;
        for view in [&layout.primary, &layout.joliet] {
            out.write_all(&padded(view.path_table(false))).map_err(failed)?;
            out.write_all(&padded(view.path_table(true))).map_err(failed)?;
        }
        for view in [&layout.primary, &layout.joliet] {
            for index in 0..view.folders.len() {
                out.write_all(&view.directory(index, &layout.files)).map_err(failed)?;
            }
        }
        for (content, place) in self.contents.iter().zip(&layout.files) {
            copy(content, place.size, out, name, cancel, counter)?;
            let rest = place.sectors() * SECTOR as u64 - place.size;
            out.write_all(&vec![0; rest as usize]).map_err(failed)?;
        }
        Ok(())
    }
}

/// Returns what is known of a file before it has a place.
fn place_of(content: &Content) -> Result<Place> {
    use std::os::unix::fs::PermissionsExt;
    Ok(match content {
        Content::Bytes(bytes) => Place { size: bytes.len() as u64, ..Place::default() },
        Content::File(path) => {
            let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e))?;
            Place { size: meta.len(), executable: meta.permissions().mode() & 0o111 != 0, ..Place::default() }
        }
    })
}

fn copy(
    content: &Content,
    size: u64,
    out: &mut impl Write,
    name: &Path,
    cancel: &Cancel,
    counter: &Counter,
) -> Result<()> {
    let failed = |e| io_error("write", name, e);
    let path = match content {
        Content::Bytes(bytes) => {
            counter.add(size);
            return out.write_all(bytes).map_err(failed);
        }
        Content::File(path) => path,
    };
    let read = |e| io_error("read", path, e);
    let mut file = std::fs::File::open(path).map_err(read)?.take(size);
    let mut block = vec![0; BLOCK.min(size as usize).max(1)];
    let mut left = size;
    while left > 0 {
        cancel.check()?;
        let n = file.read(&mut block).map_err(read)?;
        if n == 0 {
            return Err(Error::new(Kind::Io, format!("{} became shorter while it was read", path.display())));
        }
        out.write_all(block.get(..n).unwrap_or_default()).map_err(failed)?;
        left -= n as u64;
        counter.add(n as u64);
    }
    Ok(())
}
