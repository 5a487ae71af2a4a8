//! A download that is not whole yet: written and hashed piece by piece, and taken up again by a later run.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::error::{Result, io_error};
use crate::host::atomic;
use crate::host::blocking::Cancel;
use crate::host::digest::{Algorithm, Hasher};
use crate::media::cache::{Slot, Validator};
use crate::ui::Ui;
use crate::ui::event::Unit;

/// A part with fewer bytes is not worth being kept.
const WORTH_KEEPING: u64 = 64 << 10;

/// What a part is the beginning of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub url: String,
    pub validator: Validator,
    /// This boot of the host: after a crash, what was written before it may not be what it was.
    boot: String,
}

impl Origin {
    pub fn new(url: String, validator: Validator) -> Origin {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Origin { url, validator, boot: boot.trim().to_owned() }
    }
}

/// What came from the server.
pub enum Piece {
    Data(Bytes),
    /// What came so far is of no use; now comes the beginning of this.
    Begin(Origin),
}

/// A part, and the right to work on it. It is held by the thread that writes, so that nobody else begins while that one
/// still runs. Whether the file stays when the value goes is in `keep`.
pub struct Part {
    pub path: PathBuf,
    note: PathBuf,
    keep: Arc<AtomicBool>,
    _lock: File,
}

/// A part that is open for writing.
pub struct Open {
    part: Part,
    file: File,
    hasher: Hasher,
    algorithm: Algorithm,
    /// Bytes that are there.
    pub done: u64,
    /// What they are the beginning of, as far as that is known.
    pub origin: Option<Origin>,
}

impl Part {
    /// Takes the part of a place that is locked.
    pub fn new(slot: &Slot, lock: File, keep: bool) -> Part {
        Part { path: slot.part(), note: slot.part_note(), keep: Arc::new(AtomicBool::new(keep)), _lock: lock }
    }

    /// Returns the switch that says whether the file outlives the value.
    pub fn keep(&self) -> Arc<AtomicBool> {
        self.keep.clone()
    }

    /// Says that the file is of no use to anybody.
    pub fn discard(&self) {
        self.keep.store(false, Ordering::Relaxed);
    }

    /// Opens the file. With `checked`, what an earlier run left is read and kept: the digest of the whole will tell
    /// whether it was right. Without, it is kept if it is the beginning of what `url` had. Blocking.
    pub fn open(
        self,
        algorithm: Algorithm,
        fresh: bool,
        checked: bool,
        url: &str,
        ui: &Ui,
        cancel: &Cancel,
    ) -> Result<Open> {
        let origin = read_origin(&self.note).filter(|origin| {
            origin.url == url
                && origin.validator.for_range().is_some()
                && Origin::new(String::new(), Validator::default()).boot == origin.boot
        });
        let usable = !fresh && (checked || origin.is_some());
        let failed = |e| io_error("write", &self.path, e);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(!usable).open(&self.path).map_err(failed)?;
        let mut hasher = Hasher::new(algorithm);
        let there = file.metadata().map_err(failed)?.len();
        let mut done = 0;
        if there > 0 {
            let shown = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ui.info(format!("Going on with a download that was broken off after {}", crate::ui::units::size(there)));
            let progress = ui.progress(format!("Reading {shown}"), Some(there), Unit::Bytes);
            let mut buffer = vec![0; 256 << 10];
            loop {
                cancel.check()?;
                let n = std::io::Read::read(&mut file, &mut buffer).map_err(failed)?;
                if n == 0 {
                    break;
                }
                hasher.update(buffer.get(..n).unwrap_or_default());
                done += n as u64;
                progress.add(n as u64);
            }
        }
        file.seek(SeekFrom::Start(done)).map_err(failed)?;
        let origin = origin.filter(|_| done > 0);
        Ok(Open { part: self, file, hasher, algorithm, done, origin })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let worth = std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= WORTH_KEEPING);
        if !(self.keep.load(Ordering::Relaxed) && worth) {
            atomic::remove(&self.path);
            atomic::remove(&self.note);
        }
    }
}

impl Open {
    /// Writes and hashes what is received; returns the part and its digest once the sender is gone. Blocking.
    pub fn write(mut self, mut pieces: mpsc::Receiver<Piece>) -> Result<(Part, String)> {
        let result = self.take(&mut pieces);
        if let Err(error) = result {
            // A disk that is full is not made fuller.
            self.part.discard();
            return Err(error);
        }
        Ok((self.part, self.hasher.finish()))
    }

    fn take(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> Result<()> {
        let failed = |e| io_error("write", &self.part.path, e);
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Data(bytes) => {
                    self.file.write_all(&bytes).map_err(failed)?;
                    self.hasher.update(&bytes);
                }
                Piece::Begin(origin) => {
                    self.file.set_len(0).map_err(failed)?;
                    self.file.rewind().map_err(failed)?;
                    self.hasher = Hasher::new(self.algorithm);
                    // Only time is lost without the note.
                    let text = serde_json::to_vec_pretty(&origin).unwrap_or_default();
                    let _ = atomic::write(&self.part.note, &text);
                }
            }
        }
        Ok(())
    }
}

fn read_origin(note: &Path) -> Option<Origin> {
    serde_json::from_slice(&std::fs::read(note).ok()?).ok()
}
