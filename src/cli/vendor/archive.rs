//! A module in an archive, downloaded and unpacked without trusting it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::super::args::VendorAddArgs;
use super::add;
use crate::communicator::tree;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking;
use crate::host::digest::Algorithm;
use crate::media::cache;
use crate::media::checksum::Checksum;
use crate::media::download::Wanted;
use crate::script::vendored::Entry;
use crate::ui::event::Counter;

/// More than any module has, and less than fills a disk.
const LIMIT: u64 = 256 << 20;

/// Downloads the archive and unpacks it to where `pending` will be renamed from.
pub async fn fetch(args: &VendorAddArgs, checksum: &Checksum, pending: &Pending, cx: &BuildCx) -> Result<Entry> {
    let wanted = Wanted::new(vec![args.url.clone()], checksum.clone());
    wanted.validate(cx)?;
    let file = wanted.fetch(cx).await?;
    // Also of one that was not checked: the lock says what it was.
    let (algorithm, hex) = match checksum {
        Checksum::Digest(algorithm, hex) => (*algorithm, hex.clone()),
        _ => (Algorithm::Sha256, cache::known_digest(&file, Algorithm::Sha256, &cx.settings.cache_dir, &cx.ui).await?),
    };
    let scratch = add::scratch(pending)?;
    let into = scratch.path().to_owned();
    blocking::run(move |_| unpack(&file, &into)).await?;
    add::without_top(scratch.path(), pending)?;
    Ok(Entry { checksum: Some(format!("{algorithm}:{hex}")), ..Entry::default() })
}

/// Unpacks an archive, by its first bytes, into a folder that is there. Nothing lands outside. Blocking.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let failed = |e| io_error("read", archive, e);
    let mut file = File::open(archive).map_err(failed)?;
    let mut start = Vec::new();
    (&mut file).take(512).read_to_end(&mut start).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let broken = |e: Error| e.within(format!("cannot unpack {}", archive.display()));
    let tar = |stream: &mut dyn Read| {
        let mut limited = stream.take(LIMIT);
        let unpacked = tree::unpack::unpack_into(&mut limited, into, &Counter::default());
        if limited.limit() == 0 { Err(too_large()) } else { unpacked.map(drop) }
    };
    let unpacked = match start.as_slice() {
        [0x1f, 0x8b, ..] => tar(&mut flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => tar(&mut zstd::stream::read::Decoder::new(file).map_err(failed)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => tar(&mut liblzma::read::XzDecoder::new_multi_decoder(file)),
        [b'B', b'Z', b'h', ..] => tar(&mut bzip2::read::MultiBzDecoder::new(file)),
        [0x04, 0x22, 0x4d, 0x18, ..] => tar(&mut lz4_flex::frame::FrameDecoder::new(file)),
        [b'P', b'K', 3, 4, ..] => zip(file, into),
        bytes if bytes.get(257..262) == Some(b"ustar") => tar(&mut file),
        _ => Err(Error::new(Kind::Unsupported, "it is neither a tar archive (plain, gz, zst, xz, bz2, lz4) nor zip")
            .hint("a page in its place? compare what the address answers")),
    };
    unpacked.map_err(broken)
}

fn zip(file: File, into: &Path) -> Result<()> {
    let failed = |e: zip::result::ZipError| Error::new(Kind::Io, "the zip archive is broken").caused_by(e);
    let mut archive = zip::ZipArchive::new(file).map_err(failed)?;
    let mut left = LIMIT;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(failed)?;
        let hostile = |why: &str| Error::new(Kind::Io, format!("{:?} is not taken: {why}", entry.name()));
        let Some(inside) = entry.enclosed_name() else { return Err(hostile("its name leads outside")) };
        if entry.is_symlink() {
            return Err(hostile("it is a link"));
        }
        let path = into.join(inside);
        if entry.is_dir() {
            std::fs::create_dir_all(&path).map_err(|e| io_error("create folder", &path, e))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| io_error("create folder", parent, e))?;
        }
        let mut out = File::create(&path).map_err(|e| io_error("write", &path, e))?;
        let copied = std::io::copy(&mut (&mut entry).take(left), &mut out).map_err(|e| io_error("write", &path, e))?;
        left -= copied;
        if left == 0 {
            return Err(too_large());
        }
    }
    Ok(())
}

fn too_large() -> Error {
    Error::new(Kind::Unsupported, format!("there are more than {} MiB in it", LIMIT >> 20))
        .hint("that is no Lua module; is it the right address?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tar_of(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            // `set_path` refuses what a hostile archive has.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn unpacked(bytes: &[u8]) -> (Result<()>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("archive"), bytes).unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        (unpack(&dir.path().join("archive"), &dir.path().join("in")), dir)
    }

    #[test]
    fn every_format_is_known_by_its_first_bytes() {
        let tar = tar_of(&[("m/init.lua", "return 1")]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&tar).unwrap();
        let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz2.write_all(&tar).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&tar).unwrap();
        for bytes in [
            gz.finish().unwrap(),
            zstd::encode_all(&tar[..], 1).unwrap(),
            xz.finish().unwrap(),
            bz2.finish().unwrap(),
            lz4.finish().unwrap(),
            zip_of(&[("m/init.lua", "return 1")]),
            tar,
        ] {
            let (result, dir) = unpacked(&bytes);
            result.unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join("in/m/init.lua")).unwrap(), "return 1");
        }
    }

    #[test]
    fn nothing_lands_outside_and_garbage_is_refused() {
        let names: &[&str] = &["../evil", "a/../../evil"];
        for name in names {
            for bytes in [tar_of(&[(name, "x")]), zip_of(&[(name, "x")])] {
                let (result, dir) = unpacked(&bytes);
                assert!(result.is_err(), "{name}");
                assert!(!dir.path().join("evil").exists());
            }
        }
        for bytes in [&b""[..], b"<html>", b"PK\x03\x04", &[0x1f, 0x8b, 1, 2, 3]] {
            assert!(unpacked(bytes).0.is_err(), "{bytes:?}");
        }
    }
}
