//! Archives and compressed files, written in one pass over their content.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

use super::bgzf::Bgzf;
use super::bz2::Bz2;
use super::deflate::Gzip;
use super::output::{Output, stream_error};
use super::xz::Xz;
use super::zip::Zip;
use crate::engine::artifact::ArtifactFile;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;
use crate::ui::event::Counter;

const CHUNK: usize = 256 * 1024;

/// What a compressed file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Tar,
    TarGz,
    TarZst,
    TarXz,
    TarBz2,
    TarLz4,
    Zip,
    /// One file, compressed.
    Gz,
    /// One file, compressed.
    Zst,
    /// One file, compressed.
    Xz,
    /// One file, compressed.
    Bz2,
    /// One file, compressed.
    Lz4,
    /// One file, compressed in gzip members that a reader can jump to.
    Bgzf,
}

impl Format {
    /// Every format with the ways users write it; the first is its extension. Longer ones come first.
    pub const NAMES: [(Format, &'static [&'static str]); 13] = [
        (Format::TarGz, &["tar.gz", "tgz"]),
        (Format::TarZst, &["tar.zst", "tzst"]),
        (Format::TarXz, &["tar.xz", "txz"]),
        (Format::TarBz2, &["tar.bz2", "tbz2"]),
        (Format::TarLz4, &["tar.lz4"]),
        (Format::Tar, &["tar"]),
        (Format::Zip, &["zip"]),
        (Format::Gz, &["gz"]),
        (Format::Zst, &["zst"]),
        (Format::Xz, &["xz"]),
        (Format::Bz2, &["bz2"]),
        (Format::Lz4, &["lz4"]),
        (Format::Bgzf, &["bgzf", "bgz"]),
    ];

    /// Returns the format of that name, with or without a dot before it.
    pub fn parse(name: &str) -> Result<Format> {
        let plain = name.trim_start_matches('.');
        let found = Self::NAMES.into_iter().find(|(_, names)| names.contains(&plain));
        found.map(|(format, _)| format).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().filter_map(|(_, names)| names.first().copied()).collect();
            Error::new(Kind::Option, format!("{name:?} is not a format of archives; there are {}", names.join(", ")))
        })
    }

    /// Returns the format that a file's name ends in.
    pub fn of_name(name: &str) -> Option<Format> {
        let ends = |suffix: &&&str| name.strip_suffix(**suffix).is_some_and(|rest| rest.ends_with('.'));
        Self::NAMES.into_iter().find(|(_, names)| names.iter().find(ends).is_some()).map(|(format, _)| format)
    }

    /// Returns the extension of its files, without a dot.
    pub fn extension(self) -> &'static str {
        Self::NAMES.iter().find(|(format, _)| *format == self).and_then(|(_, names)| names.first()).unwrap_or(&"")
    }

    /// Tells whether it holds one file only, without its name.
    pub fn is_single(self) -> bool {
        matches!(self, Format::Gz | Format::Zst | Format::Xz | Format::Bz2 | Format::Lz4 | Format::Bgzf)
    }

    /// Returns the levels it knows and the one it takes by itself.
    pub fn levels(self) -> (std::ops::RangeInclusive<i32>, i32) {
        match self {
            Format::Tar => (0..=9, 0),
            Format::TarZst | Format::Zst => (1..=22, 3),
            Format::TarBz2 | Format::Bz2 => (1..=9, 9),
            Format::TarLz4 | Format::Lz4 => (1..=1, 1),
            Format::TarGz | Format::Gz | Format::Zip | Format::Bgzf | Format::TarXz | Format::Xz => (0..=9, 6),
        }
    }
}

/// Where the bytes of an archived file come from.
#[derive(Debug, Clone)]
pub enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// One file of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its path in the archive, with forward slashes.
    pub name: String,
    pub content: Content,
}

impl Entry {
    /// Returns how many bytes it has now.
    pub fn size(&self) -> Result<u64> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::File(path) => {
                let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e))?;
                if meta.is_dir() {
                    return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", path.display())));
                }
                Ok(meta.len())
            }
        }
    }
}

/// What all of the work shares.
pub struct Work<'a> {
    pub cancel: &'a Cancel,
    /// Counts bytes of input.
    pub counter: &'a Counter,
}

/// Writes `entries` to `output` and puts it in its place. Blocking.
pub fn pack(
    entries: &[Entry],
    format: Format,
    level: i32,
    mut output: Output,
    work: &Work<'_>,
) -> Result<ArtifactFile> {
    let target = output.target().to_owned();
    let written = write(entries, format, level, &mut output, work);
    written.map_err(|e| stream_error("write", &target, e))?;
    output.finish()
}

fn write(entries: &[Entry], format: Format, level: i32, out: &mut Output, work: &Work<'_>) -> io::Result<()> {
    let content = |out: &mut dyn Write| match format.is_single() {
        true => single(entries, out, work),
        false => tar(entries, out, work),
    };
    let steps = level.unsigned_abs();
    match format {
        Format::Tar => content(out),
        Format::Zip => zip(entries, steps, out, work),
        Format::TarGz | Format::Gz => {
            let mut gzip = Gzip::new(out, steps)?;
            content(&mut gzip)?;
            gzip.finish()
        }
        Format::Bgzf => {
            let mut bgzf = Bgzf::new(out, steps)?;
            content(&mut bgzf)?;
            bgzf.finish()
        }
        Format::TarZst | Format::Zst => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
            encoder.include_checksum(true)?;
            encoder.multithread(u32::try_from(cores).unwrap_or(1))?;
            content(&mut encoder)?;
            encoder.finish().map(drop)
        }
        Format::TarXz | Format::Xz => {
            let mut xz = Xz::new(out, steps, work.cancel)?;
            content(&mut xz)?;
            xz.finish()
        }
        Format::TarBz2 | Format::Bz2 => {
            let mut bz2 = Bz2::new(out, steps)?;
            content(&mut bz2)?;
            bz2.finish()
        }
        Format::TarLz4 | Format::Lz4 => {
            // On one core: it is faster than disks, and more than one frame is more than some readers take.
            let info = FrameInfo::new().block_size(BlockSize::Max4MB).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, out);
            content(&mut encoder)?;
            encoder.finish().map(drop).map_err(io::Error::from)
        }
    }
}

/// A file of the input, opened: its size is what it was then.
struct Opened<'a> {
    reader: Box<dyn Read + 'a>,
    size: u64,
    modified: jiff::Timestamp,
    path: &'a Path,
}

fn open<'a>(entry: &'a Entry, work: &'a Work<'_>) -> io::Result<Opened<'a>> {
    match &entry.content {
        Content::Bytes(bytes) => Ok(Opened {
            reader: Box::new(Watched { inner: bytes.as_slice(), work }),
            size: bytes.len() as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            path: Path::new(""),
        }),
        Content::File(path) => {
            let ours = |e| io::Error::other(io_error("read", path, e));
            let file = File::open(path).map_err(ours)?;
            let meta = file.metadata().map_err(ours)?;
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Ok(Opened {
                reader: Box::new(Watched { inner: file, work }),
                size: meta.len(),
                modified: jiff::Timestamp::try_from(modified).unwrap_or_default(),
                path,
            })
        }
    }
}

impl Opened<'_> {
    /// Writes the whole content out; an error of the input names the input.
    fn copy(&mut self, mut out: impl Write) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        let mut left = self.size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let n = match self.reader.read(chunk.get_mut(..want).unwrap_or_default()) {
                Ok(0) => {
                    let message = format!("{} became shorter while it was read", self.path.display());
                    return Err(io::Error::other(Error::new(Kind::Io, message)));
                }
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io::Error::other(stream_error("read", self.path, e))),
            };
            out.write_all(chunk.get(..n).unwrap_or_default())?;
            left -= n as u64;
        }
        Ok(())
    }
}

/// Counts what is read, and stops when nobody waits for it.
struct Watched<'a, R> {
    inner: R,
    work: &'a Work<'a>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.work.cancel.check().map_err(io::Error::other)?;
        let n = self.inner.read(buffer)?;
        self.work.counter.add(n as u64);
        Ok(n)
    }
}

fn single(entries: &[Entry], out: &mut dyn Write, work: &Work<'_>) -> io::Result<()> {
    entries.iter().try_for_each(|entry| open(entry, work)?.copy(&mut *out))
}

fn tar(entries: &[Entry], out: &mut dyn Write, work: &Work<'_>) -> io::Result<()> {
    const PADDING: [u8; 512] = [0; 512];
    let mut archive = tar::Builder::new(out);
    for entry in entries {
        let mut opened = open(entry, work)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(opened.size);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(opened.modified.as_second()).unwrap_or(0));
        header.set_uid(0);
        header.set_gid(0);
        // The builder writes the header (with its extension for long names); the content goes past it in large pieces.
        let size = opened.size;
        archive.append_data(&mut header, &entry.name, io::empty())?;
        let out = archive.get_mut();
        opened.copy(&mut *out)?;
        let rest = usize::try_from(size % 512).unwrap_or(0);
        if rest > 0 {
            out.write_all(PADDING.get(rest..).unwrap_or_default())?;
        }
    }
    archive.finish()
}

fn zip(entries: &[Entry], level: u32, output: &mut Output, work: &Work<'_>) -> io::Result<()> {
    let mut archive = Zip::new(output, level);
    for entry in entries {
        let mut opened = open(entry, work)?;
        let (modified, size) = (opened.modified, opened.size);
        archive.add(&entry.name, 0o100_644, modified, size, |out| opened.copy(out))?;
    }
    archive.finish()
}
