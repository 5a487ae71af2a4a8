//! Folders as tar streams: packed here, unpacked here without trusting the other side.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, HeaderMode};

use super::pipe::{PipeReader, PipeWriter};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::{self, Pending};
use crate::ui::event::Counter;

/// Packs the contents of `dir` into the pipe, sorted, and returns the bytes of file content. Blocking.
///
/// The folder itself is left out, so that unpacking never changes the mode of an existing target such as `/tmp`.
pub fn pack(dir: &Path, pipe: PipeWriter, counter: &Counter) -> Result<u64> {
    let mut builder = Builder::new(pipe);
    builder.follow_symlinks(false);
    builder.mode(HeaderMode::Complete);
    // Small tars (busybox) do not know the sparse extension.
    builder.sparse(false);
    let mut packed = 0;
    pack_folder(dir, Path::new(""), &mut builder, &mut packed, counter)?;
    builder
        .into_inner()
        .and_then(|mut pipe| io::Write::flush(&mut pipe))
        .map_err(|e| io_error("send the folder", dir, e))?;
    Ok(packed)
}

fn pack_folder(
    dir: &Path,
    name: &Path,
    builder: &mut Builder<PipeWriter>,
    packed: &mut u64,
    counter: &Counter,
) -> Result<()> {
    let read = |e| io_error("read the folder", dir, e);
    let mut entries = std::fs::read_dir(dir).map_err(read)?.collect::<io::Result<Vec<_>>>().map_err(read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = name.join(entry.file_name());
        let kind = entry.file_type().map_err(|e| io_error("read", &path, e))?;
        let send = |e| io_error("send", &path, e);
        if kind.is_dir() {
            builder.append_dir(&name, &path).map_err(send)?;
            pack_folder(&path, &name, builder, packed, counter)?;
        } else if kind.is_file() {
            let mut file = std::fs::File::open(&path).map_err(send)?;
            let size = file.metadata().map_err(send)?.len();
            builder.append_file(&name, &mut file).map_err(send)?;
            *packed += size;
            counter.add(size);
        } else if kind.is_symlink() {
            builder.append_path_with_name(&path, &name).map_err(send)?;
        } else {
            // Sockets, pipes and devices mean nothing on another machine.
            tracing::debug!(path = %path.display(), "left out of the upload: not a file, folder or link");
        }
    }
    Ok(())
}

/// Unpacks the pipe beside `target` and moves the result into it when the end was said; returns the bytes of file
/// content. Nothing lands outside, whatever the stream says. Blocking.
pub fn unpack(pipe: &mut PipeReader, target: &Path, counter: &Counter) -> Result<u64> {
    let pending = Pending::beside(target)?;
    std::fs::create_dir(pending.path()).map_err(|e| io_error("create folder", pending.path(), e))?;
    let received = unpack_into(&mut *pipe, pending.path(), counter)?;
    pipe.finish().map_err(|e| io_error("receive into", target, e))?;
    place(pending)?;
    Ok(received)
}

fn unpack_into(stream: impl Read, dir: &Path, counter: &Counter) -> Result<u64> {
    let failed = |e: io::Error| io_error("unpack into", dir, e);
    let mut archive = Archive::new(stream);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    let mut received = 0;
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
                folders.push((path, entry.header().mode().unwrap_or(0o755), entry.header().mtime().unwrap_or(0)));
                continue;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let size = entry.size();
                if !entry.unpack_in(dir).map_err(failed)? {
                    return Err(hostile(&path, "its name leads outside"));
                }
                received += size;
                counter.add(size);
            }
            EntryType::Symlink | EntryType::Link => {
                if !entry.unpack_in(dir).map_err(failed)? {
                    return Err(hostile(&path, "it links outside"));
                }
            }
            _ => tracing::debug!(path = %path.display(), ?kind, "left out of the download"),
        }
    }
    folders.sort_by(|a, b| b.0.cmp(&a.0));
    for (path, mode, mtime) in folders {
        finish_folder(dir, &path, mode, mtime)?;
    }
    Ok(received)
}

/// Makes a folder with its mode and time, unless something in its way is not a real folder below `dir`.
fn finish_folder(dir: &Path, path: &Path, mode: u32, mtime: u64) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let full = dir.join(path);
    let mut below = dir.to_owned();
    for part in path.components().filter(|c| matches!(c, Component::Normal(_))) {
        below.push(part);
        match std::fs::symlink_metadata(&below) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(hostile(path, "a part of it is not a folder")),
            Err(_) => std::fs::create_dir(&below).map_err(|e| io_error("create folder", &below, e))?,
        }
    }
    let failed = |e| io_error("set the mode of", &full, e);
    // The owner must be able to move it into place.
    let mode = if full == dir { 0o755 } else { mode & 0o777 };
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime.min(i32::MAX as u64));
    let folder = std::fs::File::open(&full).map_err(failed)?;
    folder.set_modified(time).map_err(failed)
}

/// Moves an unpacked folder to its target: by one rename where nothing is there, else entry by entry.
fn place(pending: Pending) -> Result<PathBuf> {
    if std::fs::symlink_metadata(pending.target()).is_err() {
        return pending.commit();
    }
    merge(pending.path(), pending.target())?;
    Ok(pending.target().to_owned())
}

fn merge(from: &Path, into: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).map_err(|e| io_error("read the folder", from, e))? {
        let entry = entry.map_err(|e| io_error("read the folder", from, e))?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let folder = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if folder(&source) && folder(&target) {
            merge(&source, &target)?;
            continue;
        }
        if folder(&source) {
            atomic::remove(&target);
        }
        std::fs::rename(&source, &target).map_err(|e| io_error("rename into place", &target, e))?;
    }
    Ok(())
}

fn hostile(path: &Path, why: &str) -> Error {
    Error::new(Kind::Connect, format!("the machine sent a file that is not taken: {} ({why})", path.display()))
        .hint("its tar is broken, or the machine is not to be trusted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(unpack_into(&tar[..], dir.path(), &Counter::default()).unwrap(), 1);
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
