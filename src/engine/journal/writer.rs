//! Appending to a journal: lines of many tasks in one write, one sync for all who wait.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Line;
use crate::error::{Error, Kind, Result, io_error};

/// The file of a journal. Lines get there in the order in which they were given.
pub struct Writer {
    path: PathBuf,
    queue: Mutex<Queue>,
    file: Mutex<File>,
    /// Up to which line the file is on disk.
    synced: AtomicU64,
    /// Held by the one task that waits for the disk on behalf of all.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    lines: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Makes the writer of a file that is at its end.
    pub fn new(path: PathBuf, file: File) -> Writer {
        Writer {
            path,
            queue: Mutex::default(),
            file: Mutex::new(file),
            synced: AtomicU64::new(0),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    fn push(&self, line: &Line) -> u64 {
        let bytes = line.to_bytes();
        let mut queue = lock(&self.queue);
        queue.bytes.extend(bytes);
        queue.lines += 1;
        queue.lines
    }

    /// Writes what is queued, without waiting for the disk; returns up to which line it has.
    fn drain(&self, file: &mut File) -> Result<u64> {
        let (bytes, lines) = {
            let mut queue = lock(&self.queue);
            (std::mem::take(&mut queue.bytes), queue.lines)
        };
        file.write_all(&bytes).map_err(|e| self.failed(e))?;
        Ok(lines)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        io_error("write the journal", &self.path, error)
            .hint("nothing is made that is not written down first: make room on that disk, or set RIMG_STATE_DIR")
    }

    /// Appends a line that may be lost in a power failure, though not in a crash of this process. Does not block for long.
    pub fn append(&self, line: &Line) {
        self.push(line);
        // Whoever has the file at this moment looks again after letting go of it.
        while !lock(&self.queue).bytes.is_empty() {
            let Ok(mut file) = self.file.try_lock() else { return };
            if let Err(error) = self.drain(&mut file) {
                tracing::warn!(%error, "a line of the journal is lost");
                return;
            }
        }
    }

    /// Appends a line that is on disk when this returns. Blocking.
    pub fn append_synced(&self, line: &Line) -> Result<()> {
        let number = self.push(line);
        self.sync_up_to(number)
    }

    fn sync_up_to(&self, number: u64) -> Result<()> {
        if self.synced.load(Ordering::Acquire) >= number {
            return Ok(());
        }
        let done = {
            let mut file = lock(&self.file);
            self.drain(&mut file).and_then(|lines| {
                file.sync_data().map_err(|e| self.failed(e))?;
                self.synced.fetch_max(lines, Ordering::AcqRel);
                Ok(())
            })
        };
        // What `append` left to whoever had the file.
        if let Ok(mut file) = self.file.try_lock() {
            let _ = self.drain(&mut file);
        }
        done
    }

    /// The same for tasks: while one waits for the disk, lines of others gather, which then share the next wait.
    pub async fn append_shared(self: &Arc<Self>, line: &Line) -> Result<()> {
        let number = self.push(line);
        let _turn = self.turn.lock().await;
        if self.synced.load(Ordering::Acquire) >= number {
            return Ok(());
        }
        let writer = self.clone();
        match tokio::task::spawn_blocking(move || writer.sync_up_to(number)).await {
            Ok(result) => result,
            Err(e) => Err(Error::new(Kind::Internal, "writing the journal was interrupted").caused_by(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn lines_of_many_tasks_are_whole_and_share_their_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let writer = Arc::new(Writer::new(path.clone(), File::create(&path).unwrap()));
        let tasks: Vec<_> = (0..200)
            .map(|id| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    writer.append_shared(&Line::Gone { id: 2 * id }).await.unwrap();
                    let there = Line::all(&std::fs::read(&writer.path).unwrap());
                    assert!(there.contains(&Line::Gone { id: 2 * id }));
                    writer.append(&Line::Gone { id: 2 * id + 1 });
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut ids: Vec<u64> = Line::all(&std::fs::read(&path).unwrap())
            .into_iter()
            .map(|line| match line {
                Line::Gone { id } => id,
                other => panic!("{other:?}"),
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..400).collect::<Vec<_>>());
    }
}
