//! Digests of files: several of them in one read, each on a thread of its own.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, mpsc};

use digest::Digest as _;

use super::blocking::Cancel;
use crate::error::{Error, Kind, Result, io_error};

/// Small enough to stay in a core's cache between the read and the hash, large enough to make the hand-over cheap.
const CHUNK: usize = 256 * 1024;
/// Chunks on their way to each thread.
const AHEAD: usize = 8;
/// Files below this are not worth a thread.
const SMALL: u64 = 4 << 20;

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Blake3,
}

impl Algorithm {
    /// Every algorithm, in the order they are listed to users.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha224,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
        Algorithm::Blake3,
    ];

    /// Returns its name, as in `sha256:…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha224 => "sha224",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
            Algorithm::Blake3 => "blake3",
        }
    }

    /// Returns the algorithm of that name; case and a dash (`SHA-256`) do not matter.
    pub fn parse(name: &str) -> Option<Algorithm> {
        let plain: String = name.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == plain)
    }

    /// Returns the algorithm that a hexadecimal digest of that many digits must be of.
    pub fn by_hex_length(digits: usize) -> Option<Algorithm> {
        // BLAKE3's are as long as SHA-256's, and have to be named.
        Self::ALL.into_iter().find(|a| *a != Algorithm::Blake3 && a.hex_length() == digits)
    }

    /// Returns how many hexadecimal digits its digests have.
    pub fn hex_length(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha1 => 40,
            Algorithm::Sha224 => 56,
            Algorithm::Sha256 | Algorithm::Blake3 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A digest in the making.
#[derive(Clone)]
pub enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Makes a hasher that has read nothing.
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Md5 => Hasher::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Algorithm::Sha224 => Hasher::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
            Algorithm::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    /// Reads more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Md5(h) => h.update(bytes),
            Hasher::Sha1(h) => h.update(bytes),
            Hasher::Sha224(h) => h.update(bytes),
            Hasher::Sha256(h) => h.update(bytes),
            Hasher::Sha384(h) => h.update(bytes),
            Hasher::Sha512(h) => h.update(bytes),
            Hasher::Blake3(h) => {
                h.update(bytes);
            }
        }
    }

    /// Returns the digest in lower-case hexadecimal.
    pub fn finish(self) -> String {
        match self {
            Hasher::Md5(h) => hex::encode(h.finalize()),
            Hasher::Sha1(h) => hex::encode(h.finalize()),
            Hasher::Sha224(h) => hex::encode(h.finalize()),
            Hasher::Sha256(h) => hex::encode(h.finalize()),
            Hasher::Sha384(h) => hex::encode(h.finalize()),
            Hasher::Sha512(h) => hex::encode(h.finalize()),
            Hasher::Blake3(h) => h.finalize().to_hex().to_string(),
        }
    }
}

/// Returns the digest of some bytes in lower-case hexadecimal.
pub fn of_bytes(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Reads a file once and returns its digests, in the order asked for; `advance` hears of each block of bytes read.
/// Blocking.
pub fn of_file(path: &Path, algorithms: &[Algorithm], cancel: &Cancel, advance: &dyn Fn(u64)) -> Result<Vec<String>> {
    let failed = |e| io_error("read", path, e);
    let mut file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", path.display())));
    }
    let mut hashers: Vec<Hasher> = algorithms.iter().copied().map(Hasher::new).collect();
    if hashers.len() > 1 && meta.len() >= SMALL {
        return side_by_side(&mut file, hashers, cancel, advance).map_err(failed);
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        cancel.check()?;
        let n = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        let bytes = chunk.get(..n).unwrap_or_default();
        hashers.iter_mut().for_each(|hasher| hasher.update(bytes));
        advance(n as u64);
    }
    Ok(hashers.into_iter().map(Hasher::finish).collect())
}

/// A block of a file that goes back to its reader when the last hasher is done with it.
struct Chunk {
    bytes: Vec<u8>,
    len: usize,
    home: mpsc::Sender<Vec<u8>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // The reader may be done already.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

fn side_by_side(
    file: &mut File,
    hashers: Vec<Hasher>,
    cancel: &Cancel,
    advance: &dyn Fn(u64),
) -> std::io::Result<Vec<String>> {
    let (home, empty) = mpsc::channel();
    for _ in 0..AHEAD {
        let _ = home.send(vec![0; CHUNK]);
    }
    std::thread::scope(|scope| {
        let mut inputs = Vec::new();
        let mut threads = Vec::new();
        for mut hasher in hashers {
            let (tx, rx) = mpsc::channel::<Arc<Chunk>>();
            inputs.push(tx);
            threads.push(scope.spawn(move || {
                for chunk in rx {
                    hasher.update(chunk.bytes.get(..chunk.len).unwrap_or_default());
                }
                hasher.finish()
            }));
        }
        loop {
            cancel.check_io()?;
            // A fixed number of blocks goes round, so the slowest hasher sets the pace.
            let mut bytes = empty.recv().map_err(std::io::Error::other)?;
            let len = match file.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {
                    let _ = home.send(bytes);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let chunk = Arc::new(Chunk { bytes, len, home: home.clone() });
            for input in &inputs {
                let _ = input.send(chunk.clone());
            }
            advance(len as u64);
        }
        drop(inputs);
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| std::io::Error::other("a hashing thread ended early")))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_of_abc() {
        let known = [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ];
        for (algorithm, hex) in known {
            assert_eq!(of_bytes(algorithm, b"abc"), hex, "{algorithm}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(of_bytes(algorithm, b"").len(), algorithm.hex_length());
            assert_eq!(Algorithm::parse(&algorithm.as_str().to_uppercase()), Some(algorithm));
        }
        assert_eq!(Algorithm::parse("SHA-512"), Some(Algorithm::Sha512));
    }

    #[test]
    fn side_by_side_agrees_with_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let bytes: Vec<u8> = (0..(SMALL + 12_345)).map(|n| ((n * n) >> 7) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let seen = std::cell::Cell::new(0);
        let digests = of_file(&path, &Algorithm::ALL, &Cancel::default(), &|n| seen.set(seen.get() + n)).unwrap();
        let expected: Vec<String> = Algorithm::ALL.iter().map(|a| of_bytes(*a, &bytes)).collect();
        assert_eq!(digests, expected);
        assert_eq!(seen.get(), bytes.len() as u64);
    }
}
