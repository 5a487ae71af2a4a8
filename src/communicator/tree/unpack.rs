//! A tar stream into a folder.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

use super::super::pipe::PipeReader;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::{self, Pending};
use crate::host::sparse::HoleWriter;
use crate::ui::event::Counter;

/// What came out of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of file content, holes included.
    pub bytes: u64,
    /// What is no file, folder or link.
    pub special: Vec<PathBuf>,
}

/// Unpacks the pipe beside `target` and moves the result into it when the end was said. Nothing lands outside,
/// whatever the stream says. Blocking.
pub fn unpack(pipe: &mut PipeReader, target: &Path, counter: &Counter) -> Result<Received> {
    let pending = Pending::beside(target)?;
    std::fs::create_dir(pending.path()).map_err(|e| io_error("create folder", pending.path(), e))?;
    let received = unpack_into(&mut *pipe, pending.path(), counter)?;
    pipe.finish().map_err(|e| io_error("receive into", target, e))?;
    place(pending)?;
    Ok(received)
}

/// Unpacks a stream into a folder. Nothing lands outside, whatever the stream says.
pub(crate) fn unpack_into(stream: impl Read, dir: &Path, counter: &Counter) -> Result<Received> {
    let failed = |e: io::Error| io_error("unpack into", dir, e);
    let mut archive = Archive::new(stream);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    let mut received = Received::default();
    let mut folders = Vec::new();
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        if path.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(hostile(&path, "its name leads outside"));
        }
        let kind = entry.header().entry_type();
        match kind {
            // Last and deepest first, so that a read-only folder does not refuse its own content.
            EntryType::Directory => {
                folders.push((path, entry.header().mode().unwrap_or(0o755), time_of(entry.header())));
                continue;
            }
            EntryType::GNUSparse => {
                received.bytes += unpack_sparse(&mut entry, dir, &path, counter)?;
            }
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                if !entry.unpack_in(dir).map_err(failed)? {
                    return Err(hostile(&path, "its name leads outside"));
                }
                received.bytes += size;
                counter.add(size);
            }
            EntryType::Symlink | EntryType::Link => {
                if !entry.unpack_in(dir).map_err(failed)? {
                    return Err(hostile(&path, "it links outside"));
                }
            }
            _ => received.special.push(path),
        }
    }
    folders.sort_by(|a, b| b.0.cmp(&a.0));
    for (path, mode, time) in folders {
        finish_folder(dir, &path, mode, time)?;
    }
    Ok(received)
}

/// Makes the folders of a path below `dir`, unless something in their way is not a real folder.
fn folders_below<'a>(dir: &Path, parts: impl Iterator<Item = Component<'a>>, path: &Path) -> Result<PathBuf> {
    let mut below = dir.to_owned();
    for part in parts.filter(|c| matches!(c, Component::Normal(_))) {
        below.push(part);
        match std::fs::symlink_metadata(&below) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(hostile(path, "a part of it is not a folder")),
            Err(_) => std::fs::create_dir(&below).map_err(|e| io_error("create folder", &below, e))?,
        }
    }
    Ok(below)
}

fn time_of(header: &tar::Header) -> std::time::SystemTime {
    let seconds = header.mtime().unwrap_or(0).min(i32::MAX as u64);
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// Writes a sparse file with its holes; the library would fill them.
fn unpack_sparse(entry: &mut tar::Entry<'_, impl Read>, dir: &Path, path: &Path, counter: &Counter) -> Result<u64> {
    let Some(name) = path.file_name() else { return Err(hostile(path, "it has no name")) };
    let full = folders_below(dir, path.parent().unwrap_or(Path::new("")).components(), path)?.join(name);
    let failed = |e| io_error("write", &full, e);
    if std::fs::symlink_metadata(&full).is_ok_and(|meta| !meta.is_dir()) {
        std::fs::remove_file(&full).map_err(failed)?;
    }
    let file = std::fs::File::create_new(&full).map_err(failed)?;
    let (mode, time) = (entry.header().mode().unwrap_or(0o644) & 0o777, time_of(entry.header()));
    let size = copy_with_holes(entry, file, counter).map_err(failed)?;
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    std::fs::File::open(&full).and_then(|file| file.set_modified(time)).map_err(failed)?;
    Ok(size)
}

/// Copies a stream to an empty file, and leaves holes where there are only zeros.
pub fn copy_with_holes(stream: &mut impl Read, file: std::fs::File, counter: &Counter) -> io::Result<u64> {
    let mut writer = HoleWriter::new(file);
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        // Filled to the end, so that the file's blocks are whole in it.
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match stream.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if filled == 0 {
            writer.finish()?;
            return Ok(total);
        }
        writer.write_all(buffer.get(..filled).unwrap_or_default())?;
        total += filled as u64;
        counter.add(filled as u64);
    }
}

/// Makes a folder with its mode and time.
fn finish_folder(dir: &Path, path: &Path, mode: u32, time: std::time::SystemTime) -> Result<()> {
    let full = folders_below(dir, path.components(), path)?;
    let failed = |e| io_error("set the mode of", &full, e);
    // The owner must be able to move it into place.
    let mode = if full == dir { 0o755 } else { mode & 0o777 };
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    let folder = std::fs::File::open(&full).map_err(failed)?;
    folder.set_modified(time).map_err(failed)
}

/// Moves an unpacked folder to its target: by one rename where nothing is there, else entry by entry.
pub fn place(pending: Pending) -> Result<PathBuf> {
    if std::fs::symlink_metadata(pending.target()).is_err() {
        return pending.commit();
    }
    merge(pending.path(), pending.target())?;
    Ok(pending.target().to_owned())
}

fn merge(from: &Path, into: &Path) -> Result<()> {
    // Only its content is wanted, and it may have come without leave to move that.
    let _ = std::fs::set_permissions(from, std::fs::Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(from).map_err(|e| io_error("read the folder", from, e))? {
        let entry = entry.map_err(|e| io_error("read the folder", from, e))?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let folder = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if folder(&source) && folder(&target) {
            merge(&source, &target)?;
            continue;
        }
        let failed = |e| io_error("rename into place", &target, e);
        if !folder(&source) {
            std::fs::rename(&source, &target).map_err(failed)?;
            continue;
        }
        atomic::remove(&target);
        // A folder that cannot be written cannot be moved by its owner either.
        let mode = std::fs::metadata(&source).map_err(failed)?.permissions();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(mode.mode() | 0o700)).map_err(failed)?;
        std::fs::rename(&source, &target).map_err(failed)?;
        std::fs::set_permissions(&target, mode).map_err(failed)?;
    }
    Ok(())
}

fn hostile(path: &Path, why: &str) -> Error {
    Error::new(Kind::Io, format!("the machine sent a file that is not taken: {} ({why})", path.display()))
        .hint("its tar is broken, or the machine is not to be trusted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tar::Builder;

    fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            header.set_size(if is_link { 0 } else { content.len() as u64 });
            if is_link {
                header.set_link_name_literal(content).unwrap();
            }
            // `set_path` refuses what a hostile machine would send.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, if is_link { &[][..] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn nothing_lands_outside() {
        let attacks: &[&[(&str, EntryType, &str)]] = &[
            &[("../evil", EntryType::Regular, "x")],
            &[("/tmp/rimg-evil-absolute", EntryType::Regular, "x")],
            &[("a/../../evil", EntryType::Regular, "x")],
            &[("out", EntryType::Symlink, ".."), ("out/evil", EntryType::Regular, "x")],
            &[("out", EntryType::Symlink, ".."), ("out/evil/", EntryType::Directory, "")],
            &[("stolen", EntryType::Link, "../secret")],
        ];
        for attack in attacks {
            let outer = tempfile::tempdir().unwrap();
            std::fs::write(outer.path().join("secret"), "s").unwrap();
            let dir = outer.path().join("in");
            std::fs::create_dir(&dir).unwrap();
            let result = unpack_into(&tar_of(attack)[..], &dir, &Counter::default());
            assert!(result.is_err(), "{attack:?}");
            let mut left: Vec<_> = std::fs::read_dir(outer.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["in", "secret"], "{attack:?}");
            assert!(!dir.join("stolen").exists());
        }
        assert!(!Path::new("/tmp/rimg-evil-absolute").exists());
    }

    #[test]
    fn links_that_point_anywhere_are_kept_as_links() {
        let dir = tempfile::tempdir().unwrap();
        let tar =
            tar_of(&[("etc/alternatives/vi", EntryType::Symlink, "/usr/bin/vim"), ("f", EntryType::Regular, "f")]);
        assert_eq!(unpack_into(&tar[..], dir.path(), &Counter::default()).unwrap().bytes, 1);
        assert_eq!(std::fs::read_link(dir.path().join("etc/alternatives/vi")).unwrap(), Path::new("/usr/bin/vim"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let dir = tempfile::tempdir().unwrap();
            let _ = unpack_into(&bytes[..], dir.path(), &Counter::default());
        }
    }
}
