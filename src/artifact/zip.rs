//! Zip files written as a stream: sizes follow each file's data, so that nothing is read twice or kept in memory.
//!
//! Written here because a single disk image has to be compressed on all cores, and a finished deflate stream is not
//! something a general library takes.

use std::io::{self, Write};

use super::deflate::Deflate;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
/// The sizes follow the data; names are UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
const DEFLATED: u16 = 8;
const VERSION: u16 = 20;
const VERSION64: u16 = 45;
const UNIX: u16 = 3 << 8;
/// Files from here on are announced with 64-bit sizes; the margin is for data that grows.
const LARGE: u64 = 0xf000_0000;

struct Entry {
    name: String,
    mode: u32,
    stamp: (u16, u16),
    crc: u32,
    compressed: u64,
    total: u64,
    offset: u64,
}

/// A zip file in the making.
pub struct Zip<W: Write> {
    inner: Counted<W>,
    level: u32,
    entries: Vec<Entry>,
}

impl<W: Write> Zip<W> {
    pub fn new(inner: W, level: u32) -> Zip<W> {
        Zip { inner: Counted { inner, written: 0 }, level, entries: Vec::new() }
    }

    /// Adds a file; `fill` writes its content, expected to be `size` bytes.
    pub fn add(
        &mut self,
        name: &str,
        mode: u32,
        modified: jiff::Timestamp,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let offset = self.inner.written;
        let stamp = dos_time(modified);
        let large = size >= LARGE;
        let mut header = Fields::default();
        header.u32(LOCAL).u16(if large { VERSION64 } else { VERSION }).u16(FLAGS).u16(DEFLATED);
        header.u16(stamp.0).u16(stamp.1).u32(0);
        let unknown = if large { u32::MAX } else { 0 };
        header.u32(unknown).u32(unknown).u16(length(name)?).u16(if large { 20 } else { 0 }).bytes(name.as_bytes());
        if large {
            header.u16(1).u16(16).u64(0).u64(0);
        }
        self.inner.write_all(&header.0)?;
        let mut deflate = Deflate::new(&mut self.inner, self.level)?;
        fill(&mut deflate)?;
        let summary = deflate.finish()?;
        let mut descriptor = Fields::default();
        descriptor.u32(DESCRIPTOR).u32(summary.crc);
        if large {
            descriptor.u64(summary.compressed).u64(summary.total);
        } else {
            descriptor.u32(narrow(summary.compressed)?).u32(narrow(summary.total)?);
        }
        self.inner.write_all(&descriptor.0)?;
        self.entries.push(Entry {
            name: name.to_owned(),
            mode,
            stamp,
            crc: summary.crc,
            compressed: summary.compressed,
            total: summary.total,
            offset,
        });
        Ok(())
    }

    /// Writes the directory that ends the file.
    pub fn finish(mut self) -> io::Result<()> {
        let start = self.inner.written;
        let mut directory = Fields::default();
        for entry in &self.entries {
            let mut extra = Fields::default();
            let mut or_extra = |value: u64| match u32::try_from(value) {
                Ok(value) if value < u32::MAX => value,
                _ => {
                    extra.u64(value);
                    u32::MAX
                }
            };
            // The order in which the extra field holds them.
            let (total, compressed, offset) =
                (or_extra(entry.total), or_extra(entry.compressed), or_extra(entry.offset));
            let version = if entry.total >= LARGE || !extra.0.is_empty() { VERSION64 } else { VERSION };
            directory.u32(CENTRAL).u16(UNIX | version).u16(version).u16(FLAGS).u16(DEFLATED);
            directory.u16(entry.stamp.0).u16(entry.stamp.1).u32(entry.crc).u32(compressed).u32(total);
            let extra_length = if extra.0.is_empty() { 0 } else { extra.0.len() + 4 };
            directory.u16(length(&entry.name)?).u16(u16::try_from(extra_length).map_err(io::Error::other)?);
            directory.u16(0).u16(0).u16(0).u32(entry.mode << 16).u32(offset).bytes(entry.name.as_bytes());
            if !extra.0.is_empty() {
                directory.u16(1).u16(u16::try_from(extra.0.len()).map_err(io::Error::other)?).bytes(&extra.0);
            }
        }
        let (size, count) = (directory.0.len() as u64, self.entries.len() as u64);
        if start >= u64::from(u32::MAX) || size >= u64::from(u32::MAX) || count >= u64::from(u16::MAX) {
            directory.u32(END64).u64(44).u16(UNIX | VERSION64).u16(VERSION64).u32(0).u32(0);
            directory.u64(count).u64(count).u64(size).u64(start);
            directory.u32(LOCATOR64).u32(0).u64(start + size).u32(1);
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        directory.u32(END).u16(0).u16(0).u16(count).u16(count);
        directory.u32(u32::try_from(size).unwrap_or(u32::MAX)).u32(u32::try_from(start).unwrap_or(u32::MAX)).u16(0);
        self.inner.write_all(&directory.0)
    }
}

fn length(name: &str) -> io::Result<u16> {
    u16::try_from(name.len()).map_err(|_| io::Error::other("a file name is too long for a zip file"))
}

fn narrow(size: u64) -> io::Result<u32> {
    u32::try_from(size).map_err(|_| io::Error::other("a file grew past 4 GiB while it was read"))
}

/// Returns time and date as FAT has them, in UTC: two seconds fine, from 1980 on.
fn dos_time(modified: jiff::Timestamp) -> (u16, u16) {
    let at = modified.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let part = |n: i8| u16::from(n.unsigned_abs());
    let Some(years) = u16::try_from(at.year() - 1980).ok().filter(|years| *years < 128) else { return (0, 0x21) };
    let time = part(at.hour()) << 11 | part(at.minute()) << 5 | (part(at.second()) / 2);
    (time, years << 9 | part(at.month()) << 5 | part(at.day()))
}

/// Little-endian fields one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

struct Counted<W: Write> {
    inner: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
