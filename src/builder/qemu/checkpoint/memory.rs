//! A machine's memory on its way to a file and back: compressed and digested in one pass.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;

use super::state::Memory;

const LEVEL: i32 = 1;
const CHUNK: usize = 1 << 20;

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
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.saw(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.saw(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Writes what comes to a new file, up to its end. What comes is read to its end in any case, also when it cannot be written
/// or nobody wants it any more: a QEMU whose background snapshot breaks off leaves pages of its guest locked, and hangs
/// when its own main thread touches one (7.2). Blocking.
pub fn store(mut from: impl Read, to: &Path, cancel: &Cancel) -> Result<Memory> {
    let fault = |e| io_error("write", to, e);
    let mut writer = compressing(to).map_err(fault);
    let mut chunk = vec![0; CHUNK];
    let mut raw = 0;
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::new(Kind::Machine, "cannot read the machine's memory").caused_by(e)),
        };
        raw += read as u64;
        writer = writer.and_then(|mut writer| {
            cancel.check()?;
            writer.write_all(chunk.get(..read).unwrap_or_default()).map_err(fault)?;
            Ok(writer)
        });
    }
    let file = writer?.finish().map_err(fault)?.into_inner().map_err(|e| fault(e.into_error()))?;
    Ok(Memory { digest: file.digest(), size: file.size, raw })
}

/// Makes a file to compress into.
fn compressing(to: &Path) -> std::io::Result<zstd::Encoder<'static, BufWriter<Digesting<File>>>> {
    zstd::Encoder::new(BufWriter::with_capacity(CHUNK, Digesting::new(File::create(to)?)), LEVEL)
}

/// Reads a file into the machine, and tells whether it is what was stored: only then may the machine go on. Blocking.
pub fn load(from: &Path, memory: &Memory, mut into: impl Write, cancel: &Cancel) -> Result<()> {
    let fault = |e| io_error("read", from, e);
    let mut file = Digesting::new(File::open(from).map_err(fault)?);
    let loaded = (|| {
        let mut decoder = zstd::Decoder::new(&mut file)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            cancel.check_io()?;
            match decoder.read(&mut chunk)? {
                0 => return Ok(()),
                read => into.write_all(chunk.get(..read).unwrap_or_default())?,
            }
        }
    })();
    drop(into);
    // Whatever it was that went wrong: damage is the cause to name. What follows the end is damage, too.
    std::io::copy(&mut file, &mut std::io::sink()).map_err(fault)?;
    if file.size != memory.size || file.digest() != memory.digest {
        let message = format!("the memory of a checkpoint is damaged: {} is not what was written", from.display());
        return Err(Error::new(Kind::Checksum, message));
    }
    loaded.map_err(|e: std::io::Error| Error::new(Kind::Machine, "QEMU did not take the memory").caused_by(e))
}
