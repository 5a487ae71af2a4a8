//! The memory that a machine goes on with.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::migration;
use super::{memory, state};
use crate::builder::qemu::emulator::Emulator;
use crate::error::{Context, Error, Kind, Result};
use crate::host::blocking;

/// A checkpoint's memory, to be loaded before the processors run.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub path: PathBuf,
    pub memory: state::Memory,
}

impl Incoming {
    /// Loads it into a QEMU that waits for it.
    pub async fn load(&self, emulator: &mut Emulator) -> Result<()> {
        let cannot = "cannot make a socket for a machine's memory";
        let (ours, theirs) = UnixStream::pair().context(Kind::Host, cannot)?;
        let qmp = emulator.qmp.clone();
        migration::prepare(&qmp, false).await?;
        qmp.pass(migration::DESCRIPTOR, &theirs).await?;
        drop(theirs);
        let (path, memory) = (self.path.clone(), self.memory.clone());
        let loads = blocking::run(move |cancel| memory::load(&path, &memory, ours, cancel));
        let takes = async {
            tokio::select! {
                taken = migration::take(&qmp) => taken,
                _ = emulator.wait() => {
                    Err(Error::new(Kind::Machine, format!("QEMU does not take the checkpoint: {}", emulator.said())))
                }
            }
        };
        let (loaded, taken) = tokio::join!(loads, takes);
        // A file that is damaged, or gone, is why QEMU does not take it.
        match (loaded, taken) {
            (Err(error), _) if error.kind() != Kind::Machine => Err(error),
            (_, Err(error)) | (Err(error), Ok(())) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
        }
    }
}
