//! A machine's memory on its way to a file and back: compressed and digested in one pass.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::mpsc;

use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;
use crate::host::{atomic, disk};

use super::state::Memory;

const LEVEL: i32 = 1;
/// How far back repetitions are looked for, as a power of two: pages of a memory are alike far from each other.
const WINDOW: u32 = 26;
const CHUNK: usize = 1 << 20;
/// How many MiB wait to be compressed, at most.
pub const AHEAD: u16 = 1024;
/// A low priority (setpriority(2)): a tenth of what others have of a processor, so that it comes to an end on a busy host, too.
const LOW: i32 = 10;
/// How much is decompressed at once, and how many times as much ahead of the machine.
const PIECE: usize = 128 << 10;
const PIECES_AHEAD: usize = 64;

/// Digests what passes through.
struct Digesting<T> {
    inner: T,
    hasher: blake3::Hasher,
    size: u64,
}

impl<T> Digesting<T> {
    fn new(inner: T) -> Digesting<T> {
        Digesting { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    fn digest(&self) -> String {
        format!("blake3:{}", self.hasher.finalize().to_hex())
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.saw(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.saw(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// What is left free of the disk: the guest goes on writing to the same one meanwhile, and fails where it cannot.
const RESERVE: u64 = 64 << 20;

/// Writes what comes to a new file, up to its end. What comes is read to its end in any case, also when it cannot be written
/// or nobody wants it any more: a QEMU whose background snapshot breaks off leaves pages of its guest locked, and hangs
/// when its own main thread touches one (7.2). Blocking.
///
/// It is taken as fast as it comes, so that the guest is soon rid of QEMU's snapshot, and compressed when the guest leaves a
/// processor idle.
pub fn store(from: impl Read, to: &Path, cancel: &Cancel) -> Result<Memory> {
    std::thread::scope(|scope| {
        let (passes, chunks) = mpsc::sync_channel(AHEAD.into());
        let compresses = scope.spawn(move || {
            // A thread of its own: what is lowered stays so. Where it is refused, the guest has to share.
            let _ = rustix::process::setpriority_process(None, LOW);
            // What is of no use goes at once: the guest may need the room.
            compress(&chunks, to, cancel).inspect_err(|_| atomic::remove(to))
        });
        let raw = read(from, &passes);
        drop(passes);
        let memory =
            compresses.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "compressing was broken off")));
        let (raw, memory) = (raw?, memory?);
        Ok(Memory { raw, ..memory })
    })
}

/// Reads to the end, whether or not anybody takes it, and returns the number of bytes.
fn read(mut from: impl Read, passes: &mpsc::SyncSender<Vec<u8>>) -> Result<u64> {
    let mut raw = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = from.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        match read.map_err(|e| Error::new(Kind::Machine, "cannot read the machine's memory").caused_by(e))? {
            0 => return Ok(raw),
            read => raw += read as u64,
        }
        let _ = passes.send(chunk);
    }
}

fn compress(chunks: &mpsc::Receiver<Vec<u8>>, to: &Path, cancel: &Cancel) -> Result<Memory> {
    let fault = |e| io_error("write", to, e);
    let mut writer = compressing(to).map_err(fault)?;
    for chunk in chunks {
        cancel.check()?;
        leave_room(to)?;
        writer.write_all(&chunk).map_err(fault)?;
    }
    let file = writer.finish().map_err(fault)?.into_inner().map_err(|e| fault(e.into_error()))?;
    Ok(Memory { digest: file.digest(), size: file.size, raw: 0 })
}

/// Refuses to fill the disk.
fn leave_room(to: &Path) -> Result<()> {
    match disk::free(to) {
        Some(free) if free < RESERVE => Err(Error::new(
            Kind::Io,
            format!("cannot write {}: {free} bytes are free there, and the guest may need them", to.display()),
        )),
        _ => Ok(()),
    }
}

/// Makes a file to compress into.
fn compressing(to: &Path) -> io::Result<zstd::Encoder<'static, BufWriter<Digesting<File>>>> {
    let file = BufWriter::with_capacity(CHUNK, Digesting::new(File::create(to)?));
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(WINDOW)?;
    Ok(encoder)
}

/// Reads a file into the machine, and tells whether it is what was stored: only then may the machine go on. Blocking.
pub fn load(from: &Path, memory: &Memory, mut into: impl Write + Send, cancel: &Cancel) -> Result<()> {
    let fault = |e| io_error("read", from, e);
    let mut file = Digesting::new(File::open(from).map_err(fault)?);
    // The machine takes one piece while the next is decompressed.
    let loaded = std::thread::scope(|scope| {
        let (passes, pieces) = mpsc::sync_channel::<Vec<u8>>(PIECES_AHEAD);
        let writes = scope.spawn(move || pieces.iter().try_for_each(|piece| into.write_all(&piece)));
        let decoded = decode(&mut file, &passes, cancel);
        drop(passes);
        let written = writes.join().unwrap_or_else(|_| Err(io::Error::other("writing was broken off")));
        decoded.and(written)
    });
    // Whatever it was that went wrong: damage is the cause to name. What follows the end is damage, too.
    io::copy(&mut file, &mut io::sink()).map_err(fault)?;
    if file.size != memory.size || file.digest() != memory.digest {
        let message = format!("the memory of a checkpoint is damaged: {} is not what was written", from.display());
        return Err(Error::new(Kind::Checksum, message));
    }
    loaded.map_err(|e| Error::new(Kind::Machine, "QEMU did not take the memory").caused_by(e))
}

/// Decompresses up to the end, or until nobody takes it any more.
fn decode(file: &mut impl Read, passes: &mpsc::SyncSender<Vec<u8>>, cancel: &Cancel) -> io::Result<()> {
    let mut decoder = zstd::Decoder::new(file)?;
    loop {
        cancel.check_io()?;
        let mut piece = vec![0; PIECE];
        let read = decoder.read(&mut piece)?;
        piece.truncate(read);
        if read == 0 || passes.send(piece).is_err() {
            return Ok(());
        }
    }
}
