//! A post-processor's output file: hashed while it is written, there whole or not at all.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::engine::artifact::ArtifactFile;
use crate::engine::{BuildCx, Digest, ResourceId, Resources};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::{Pending, refuse_existing};
use crate::host::digest::{Algorithm, Hasher};

/// A name beside an output to make it under, entered as a resource until it is committed or dropped.
pub struct Draft {
    pending: Option<Pending>,
    resource: ResourceId,
    resources: Resources,
    force: bool,
}

impl Draft {
    /// Picks the name; nothing is there yet.
    pub fn of(target: &Path, cx: &BuildCx) -> Result<Draft> {
        let pending = Pending::beside(target)?;
        let resource = cx.resources.enter_path("file", pending.path())?;
        Ok(Draft { pending: Some(pending), resource, resources: cx.resources.clone(), force: cx.settings.force })
    }

    /// Returns where to write.
    pub fn path(&self) -> &Path {
        self.pending.as_ref().map(Pending::path).unwrap_or(Path::new(""))
    }

    /// Puts what was written in its place, unless something else has come there meanwhile.
    pub fn commit(mut self) -> Result<PathBuf> {
        let Some(pending) = self.pending.take() else {
            return Err(Error::new(Kind::Internal, "an output was committed twice"));
        };
        refuse_existing(pending.target(), self.force)?;
        pending.commit()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        drop(self.pending.take());
        self.resources.forget(self.resource);
    }
}

enum Sink {
    Fresh {
        file: File,
        draft: Draft,
    },
    /// The output is there and may not be replaced: it counts as done if this run would write the same.
    Compare {
        existing: BufReader<File>,
    },
}

/// An output in the making. Blocking.
pub struct Output {
    target: PathBuf,
    sink: Sink,
    hasher: Hasher,
    written: u64,
    scratch: Vec<u8>,
}

impl Output {
    /// Opens `target` for writing. Where it exists and may not be overwritten, nothing is written: what would be is
    /// compared with what is there, and the first difference is an error.
    pub fn open(target: &Path, cx: &BuildCx) -> Result<Output> {
        let sink = match File::open(target) {
            Ok(existing) if !cx.settings.force => {
                if existing.metadata().is_ok_and(|meta| !meta.is_file()) {
                    refuse_existing(target, false)?;
                }
                Sink::Compare { existing: BufReader::with_capacity(256 * 1024, existing) }
            }
            _ => {
                refuse_existing(target, cx.settings.force)?;
                let draft = Draft::of(target, cx)?;
                let file = File::create_new(draft.path()).map_err(|e| io_error("create", draft.path(), e))?;
                Sink::Fresh { file, draft }
            }
        };
        Ok(Output {
            target: target.to_owned(),
            sink,
            hasher: Hasher::new(Algorithm::Sha256),
            written: 0,
            scratch: Vec::new(),
        })
    }

    /// Returns the file that the output will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Puts the output in its place and returns it with its size and SHA-256.
    pub fn finish(self) -> Result<ArtifactFile> {
        match self.sink {
            Sink::Fresh { file, draft } => {
                drop(file);
                draft.commit()?;
            }
            Sink::Compare { mut existing } => {
                let mut more = [0; 1];
                if existing.read(&mut more).map_err(|e| io_error("read", &self.target, e))? > 0 {
                    return Err(differs(&self.target));
                }
            }
        }
        let digest = Digest { algorithm: Algorithm::Sha256.to_string(), hex: self.hasher.finish() };
        Ok(ArtifactFile { path: self.target, size: self.written, digests: vec![digest] })
    }
}

fn differs(target: &Path) -> Error {
    Error::new(Kind::Exists, format!("{} exists already, and is not what this run would write", target.display()))
        .hint("remove it, choose another output, or run with --force to replace it")
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Fresh { file, .. } => file.write_all(bytes)?,
            Sink::Compare { existing } => {
                self.scratch.resize(bytes.len(), 0);
                let same = match existing.read_exact(&mut self.scratch) {
                    Ok(()) => self.scratch == bytes,
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => false,
                    Err(e) => return Err(e),
                };
                if !same {
                    return Err(io::Error::other(differs(&self.target)));
                }
            }
        }
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Turns an error of a stream into ours: one of ours that travelled in it comes out as it was.
pub fn stream_error(what: &str, path: &Path, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(ours) => ours.clone(),
        None => io_error(what, path, error),
    }
}
