//! xz on all cores: liblzma's own threads, each with a block of the input.
//!
//! What comes out depends only on the input and the level: the size of the blocks does, not the number of threads.

use std::io::{self, Write};

use liblzma::stream::{Action, Check, MtStreamBuilder, Status, Stream};

use crate::host::blocking::Cancel;

/// How long liblzma may wait for its threads before it is asked whether anybody still wants the output.
const PATIENCE_MS: u32 = 100;
const CHUNK: usize = 256 * 1024;

/// Compresses what is written to it into an xz file, on as many cores as memory allows.
pub struct Xz<'a, W: Write> {
    inner: W,
    stream: Stream,
    output: Vec<u8>,
    cancel: &'a Cancel,
}

impl<'a, W: Write> Xz<'a, W> {
    /// Starts a file at `level`, 0 to 9.
    pub fn new(inner: W, level: u32, cancel: &'a Cancel) -> io::Result<Xz<'a, W>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = MtStreamBuilder::new();
        builder.preset(level).check(Check::Crc64).timeout_ms(PATIENCE_MS);
        // A thread of level 9 takes more than a gigabyte; xz's own limit is a quarter of the memory, too.
        let info = rustix::system::sysinfo();
        let limit = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)) / 4;
        let most = u32::try_from(cores).unwrap_or(1);
        let threads = (1..=most).rev().find(|threads| builder.threads(*threads).memusage() <= limit).unwrap_or(1);
        let stream = builder.threads(threads).encoder()?;
        Ok(Xz { inner, stream, output: Vec::with_capacity(CHUNK), cancel })
    }

    /// Writes all that is left and the index.
    pub fn finish(mut self) -> io::Result<()> {
        while self.step(&[], Action::Finish)?.1 != Status::StreamEnd {}
        Ok(())
    }

    /// Gives the encoder input and writes what it has; returns how much it took.
    fn step(&mut self, input: &[u8], action: Action) -> io::Result<(usize, Status)> {
        self.cancel.check().map_err(io::Error::other)?;
        let before = self.stream.total_in();
        let status = self.stream.process_vec(input, &mut self.output, action)?;
        self.inner.write_all(&self.output)?;
        self.output.clear();
        Ok((usize::try_from(self.stream.total_in() - before).map_err(io::Error::other)?, status))
    }
}

impl<W: Write> Write for Xz<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        // Nothing taken would mean to the caller that nothing more ever will be.
        while taken == 0 && !bytes.is_empty() {
            taken = self.step(bytes, Action::Run)?.0;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
