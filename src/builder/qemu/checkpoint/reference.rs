//! Files elsewhere that a checkpoint depends on: the image under its disks, the medium in its drive.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::qemu::disk::Source;
use crate::builder::qemu::hardware::Hardware;
use crate::engine::BuildCx;
use crate::engine::replay::content;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::qemu_img;

/// A file as it was when the machine was started on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    path: PathBuf,
    stamp: [i128; 6],
}

/// A file with its content's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digested {
    pub path: PathBuf,
    pub digest: String,
}

impl Reference {
    fn new(path: &Path) -> Result<Reference> {
        let fault = |e| io_error("read", path, e);
        let path = std::path::absolute(path).map_err(fault)?;
        let meta = std::fs::metadata(&path).map_err(fault)?;
        let stamp = [
            meta.dev().into(),
            meta.ino().into(),
            meta.len().into(),
            meta.mtime().into(),
            meta.mtime_nsec().into(),
            meta.ctime().into(),
        ];
        Ok(Reference { path, stamp })
    }

    /// Returns what a new machine depends on: the image that its disk is an overlay of, with what that is an overlay of, and
    /// the medium.
    pub async fn of(source: Option<&Source>, medium: Option<&Path>, options: &Hardware) -> Result<Vec<Reference>> {
        let mut found: Vec<Reference> = medium.map(Reference::new).transpose()?.into_iter().collect();
        let Some(source) = source.filter(|_| options.disks.use_backing_file.unwrap_or(true)) else { return Ok(found) };
        found.push(Reference::new(&source.path)?);
        for path in qemu_img::below(&source.info).await? {
            found.push(Reference::new(&path)?);
        }
        Ok(found)
    }

    /// Returns its digest, unless it is not the file any more that the machine was started on.
    pub async fn digest(&self, cx: &BuildCx) -> Result<Digested> {
        let digest = content::file(&self.path, cx).await?;
        if Reference::new(&self.path)? != *self {
            let message = format!("{} was changed while a machine depended on it", self.path.display());
            return Err(Error::new(Kind::Checksum, message));
        }
        Ok(Digested { path: self.path.clone(), digest })
    }
}

impl Digested {
    /// Checks that the file is still what it was.
    pub async fn check(&self, cx: &BuildCx) -> Result<Reference> {
        let path = &self.path;
        let found = content::file(path, cx).await.map_err(|e| e.within("a checkpoint's disk depends on a file"))?;
        if found != self.digest {
            let message = format!(
                "{} is not what it was when the checkpoint on it was made: expected {}, found {found}",
                path.display(),
                self.digest
            );
            return Err(Error::new(Kind::Checksum, message));
        }
        Reference::new(path)
    }
}
