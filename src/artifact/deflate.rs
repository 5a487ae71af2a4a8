//! Deflate on all cores, as one stream.
//!
//! The input is cut into blocks. Each is compressed on its own, primed with the 32 KiB before it so that nothing is
//! lost in ratio, and ended on a byte boundary; put one after the other they are one valid deflate stream. What comes
//! out depends only on the input and the level, not on the number of cores.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Input of one block. Larger ones win nothing (measured), smaller ones spend too much on priming.
const BLOCK: usize = 512 * 1024;
/// How far back deflate can refer.
const WINDOW: usize = 32 * 1024;

struct Job {
    /// The priming bytes, then the block.
    input: Vec<u8>,
    primed: usize,
    last: bool,
    output: Vec<u8>,
    reply: mpsc::Sender<io::Result<Done>>,
}

struct Done {
    input: Vec<u8>,
    output: Vec<u8>,
    crc: crc32fast::Hasher,
}

/// Compresses what is written to it into `inner`, on all cores. [`Deflate::finish`] ends the stream.
pub struct Deflate<W: Write> {
    inner: W,
    jobs: Option<mpsc::Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// Answers in the order of the blocks.
    waiting: VecDeque<mpsc::Receiver<io::Result<Done>>>,
    input: Vec<u8>,
    primed: usize,
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    crc: crc32fast::Hasher,
    total: u64,
    written: u64,
}

/// What a finished stream was.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// CRC-32 of the input.
    pub crc: u32,
    /// Bytes of the input.
    pub total: u64,
    /// Bytes of the compressed stream.
    pub compressed: u64,
}

impl<W: Write> Deflate<W> {
    /// Starts a raw deflate stream at `level`, 0 (store) to 9.
    pub fn new(inner: W, level: u32) -> io::Result<Deflate<W>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Vec::new();
        for _ in 0..cores {
            let queue = queue.clone();
            let work = move || work(&queue, level);
            workers.push(std::thread::Builder::new().name("deflate".into()).spawn(work)?);
        }
        Ok(Deflate {
            inner,
            jobs: Some(jobs),
            workers,
            waiting: VecDeque::new(),
            input: Vec::with_capacity(WINDOW + BLOCK),
            primed: 0,
            spare: Vec::new(),
            crc: crc32fast::Hasher::new(),
            total: 0,
            written: 0,
        })
    }

    /// Compresses what is left and ends the stream.
    pub fn finish(mut self) -> io::Result<Summary> {
        self.complete()
    }

    fn complete(&mut self) -> io::Result<Summary> {
        self.dispatch(true)?;
        while !self.waiting.is_empty() {
            self.collect()?;
        }
        Ok(Summary { crc: self.crc.clone().finalize(), total: self.total, compressed: self.written })
    }

    /// Hands the block over and begins the next one with the end of it.
    fn dispatch(&mut self, last: bool) -> io::Result<()> {
        while self.waiting.len() > 2 * self.workers.len() {
            self.collect()?;
        }
        let (mut next, output) = self.spare.pop().unwrap_or_else(|| (Vec::with_capacity(WINDOW + BLOCK), Vec::new()));
        next.clear();
        next.extend_from_slice(self.input.get(self.input.len().saturating_sub(WINDOW)..).unwrap_or_default());
        let primed = std::mem::replace(&mut self.primed, next.len());
        let input = std::mem::replace(&mut self.input, next);
        self.total += (input.len() - primed) as u64;
        let (reply, answer) = mpsc::channel();
        let job = Job { input, primed, last, output, reply };
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("the compressing threads are gone"));
        }
        self.waiting.push_back(answer);
        Ok(())
    }

    /// Writes the oldest block out.
    fn collect(&mut self) -> io::Result<()> {
        let Some(answer) = self.waiting.pop_front() else { return Ok(()) };
        let done = answer.recv().map_err(|_| io::Error::other("a compressing thread ended early"))??;
        self.inner.write_all(&done.output)?;
        self.written += done.output.len() as u64;
        self.crc.combine(&done.crc);
        self.spare.push((done.input, done.output));
        Ok(())
    }

    fn end(&mut self) {
        self.jobs = None;
        self.waiting.clear();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl<W: Write> Write for Deflate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (self.primed + BLOCK).saturating_sub(self.input.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.input.extend_from_slice(taken);
        if self.input.len() >= self.primed + BLOCK {
            self.dispatch(false)?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Deflate<W> {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, level: u32) {
    let mut engine = Compress::new(Compression::new(level), false);
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { input, primed, last, mut output, reply }) = job else { return };
        output.clear();
        let crc = compress(&mut engine, &input, primed, last, &mut output);
        let _ = reply.send(crc.map(|crc| Done { input, output, crc }));
    }
}

fn compress(
    engine: &mut Compress,
    input: &[u8],
    primed: usize,
    last: bool,
    output: &mut Vec<u8>,
) -> io::Result<crc32fast::Hasher> {
    let (before, mut rest) = input.split_at_checked(primed).unwrap_or((&[], input));
    let mut crc = crc32fast::Hasher::new();
    crc.update(rest);
    engine.reset();
    if !before.is_empty() {
        engine.set_dictionary(before)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    // Data that does not compress grows by five bytes for each stored block.
    output.reserve(rest.len() + rest.len() / 256 + 1024);
    loop {
        let start = engine.total_in();
        let status = engine.compress_vec(rest, output, flush)?;
        let taken = usize::try_from(engine.total_in() - start).map_err(io::Error::other)?;
        rest = rest.get(taken..).unwrap_or_default();
        let room_left = output.len() < output.capacity();
        // A flush is complete when it did not fill the output; the last block when the stream says so.
        if status == Status::StreamEnd || (!last && rest.is_empty() && room_left) {
            return Ok(crc);
        }
        output.reserve(WINDOW);
    }
}

/// A gzip file of one member, compressed on all cores.
pub struct Gzip<W: Write>(Deflate<W>);

impl<W: Write> Gzip<W> {
    /// Writes the header: no name and no time, so that the same content gives the same file.
    pub fn new(mut inner: W, level: u32) -> io::Result<Gzip<W>> {
        let speed = match level {
            9 => 2,
            1 => 4,
            _ => 0,
        };
        const UNIX: u8 = 3;
        inner.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, speed, UNIX])?;
        Deflate::new(inner, level).map(Gzip)
    }

    /// Ends the stream and writes the trailer.
    pub fn finish(mut self) -> io::Result<()> {
        let summary = self.0.complete()?;
        self.0.inner.write_all(&summary.crc.to_le_bytes())?;
        // The trailer holds the length modulo 2^32.
        self.0.inner.write_all(summary.total.to_le_bytes().get(..4).unwrap_or_default())
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut gzip = Gzip::new(&mut out, level).unwrap();
        // In pieces that fit no block.
        for piece in bytes.chunks(100_003) {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap();
        out
    }

    fn sample(len: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..len)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Runs of noise, of text and of zeroes.
                match (n / 70_000) % 3 {
                    0 => (state >> 24) as u8,
                    1 => b"the quick brown fox "[n % 20],
                    _ => 0,
                }
            })
            .collect()
    }

    #[test]
    fn one_member_gives_back_what_went_in() {
        for level in [0, 1, 6, 9] {
            for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
                let bytes = sample(len);
                let packed = gzip(&bytes, level);
                let mut back = Vec::new();
                // `GzDecoder` reads one member only, and checks the trailer.
                flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut back).unwrap();
                assert!(back == bytes, "level {level}, {len} bytes");
            }
        }
    }

    #[test]
    fn blocks_refer_to_the_one_before() {
        // Noise that comes again within the window is only cheap to a block that knows what came before it.
        let noise: Vec<u8> = sample(20_000);
        let mut bytes = vec![0; BLOCK - noise.len()];
        bytes.extend_from_slice(&noise);
        let once = gzip(&bytes, 6).len();
        bytes.extend_from_slice(&noise);
        let twice = gzip(&bytes, 6).len();
        assert!(twice < once + 1000, "{once} bytes became {twice}");
    }

    #[test]
    fn an_error_of_the_output_ends_it() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut deflate = Deflate::new(Full, 6).unwrap();
        let error = deflate.write_all(&sample(64 * BLOCK)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
