//! bzip2 on all cores: a stream for each block, one after the other, as every reader of the format takes them.

use std::io::{self, Write};

use bzip2::{Action, Compress, Compression, Status};

use super::blocks::Blocks;

/// Bytes of bzip2's block that it keeps for itself: input that fills the rest makes no second, tiny block.
const RESERVED: usize = 19;

/// Compresses what is written to it into a bzip2 file, on all cores.
pub struct Bz2<W: Write>(Blocks<W>);

impl<W: Write> Bz2<W> {
    /// Starts a file at `level`, 1 to 9: the size of a block in 100 kB.
    pub fn new(inner: W, level: u32) -> io::Result<Bz2<W>> {
        let size = usize::try_from(level.clamp(1, 9)).map_err(io::Error::other)? * 100_000 - RESERVED;
        Blocks::new(inner, size, level, stream).map(Bz2)
    }

    /// Writes all that is left.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish(&[])
    }
}

impl<W: Write> Write for Bz2<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stream(input: &[u8], level: u32, output: &mut Vec<u8>) -> io::Result<()> {
    let mut engine = Compress::new(Compression::new(level.clamp(1, 9)), 0);
    // Data that does not compress grows by one percent at most, and 600 bytes.
    output.reserve(input.len() + input.len() / 100 + 600);
    let mut rest = input;
    loop {
        let before = engine.total_in();
        let status = engine.compress_vec(rest, output, Action::Finish).map_err(io::Error::other)?;
        if status == Status::StreamEnd {
            return Ok(());
        }
        let taken = usize::try_from(engine.total_in() - before).map_err(io::Error::other)?;
        rest = rest.get(taken..).unwrap_or_default();
        output.reserve(64 * 1024);
    }
}
