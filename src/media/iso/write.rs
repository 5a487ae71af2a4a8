//! The order of an image's parts, and their writing.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::bytes::{SECTOR, padded};
use super::descriptor;
use super::layout::Layout;
use super::volume::{Content, Volume};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;

impl Volume {
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
        for (content, &size) in self.contents.iter().zip(&sizes) {
            copy(content, size, out, name)?;
        }
        Ok(())
    }
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
