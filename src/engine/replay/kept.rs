//! Copies of what operations and post-processing made on this host, kept to be brought back.
//!
//! `files/<2 hex>/<digest hex>` is content, by BLAKE3. A copy or reflink is the store's own, mode 0400. A large file that
//! the file system cannot share in another way is a hard link, and then whoever changes the output in place changes the
//! store's file: so nothing is brought, nor said to be there, without its digest being known, and at most one output shares
//! a file with the store.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::content;
use super::place::Place;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;
use crate::host::{atomic, copy, dirs};
use crate::ui::secrets::Secrets;

/// How often a file is put into the store while that is being cleared.
const ATTEMPTS: u32 = 5;
/// Smaller files are copied: that costs little, and nobody's change in place harms the store.
const WORTH_LINKING: u64 = 16 << 20;
/// Larger ones are on the disk before anybody relies on what is known of them without reading them.
const WORTH_SYNCING: u64 = 1 << 20;

/// Files and folders as they were made, parents before what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub entries: Vec<Entry>,
}

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it was made, absolute.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Dir,
    Link {
        target: PathBuf,
    },
    File {
        size: u64,
        /// `blake3:HEX`.
        digest: String,
    },
}

impl Kept {
    /// Returns the same content with what is in one folder, and the folder itself, moved to another.
    pub fn under(&self, from: &Path, to: &Path) -> Kept {
        let moved = |entry: &Entry| match entry.path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => Entry { path: to.to_owned(), ..entry.clone() },
            Ok(rest) => Entry { path: to.join(rest), ..entry.clone() },
            Err(_) => entry.clone(),
        };
        Kept { entries: self.entries.iter().map(moved).collect() }
    }

    /// Returns the digests of its files' content.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File { digest, .. } => Some(digest.as_str()),
            _ => None,
        })
    }
}

/// The content that is kept, of all scripts of this user.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Returns the content below `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Files {
        Files { folder: folder.into() }
    }

    /// Keeps files, links and folders with all they hold. `digests` is where digests are noted (see [`content`]).
    /// Something else than that, or a name that is no text, is [`Kind::Unsupported`].
    /// A file in which a secret is seen is known by its digest alone: it counts for as long as it stays in its place.
    pub fn keep(&self, paths: &[PathBuf], digests: &Path, secrets: &Secrets, cancel: &Cancel) -> Result<Kept> {
        let (mut kept, mut seen) = (Kept::default(), BTreeSet::new());
        for path in paths {
            let path = std::path::absolute(path).map_err(|e| io_error("resolve", path, e))?;
            self.keep_tree(&path, &mut kept, &mut seen, (digests, secrets), cancel)?;
        }
        Ok(kept)
    }

    fn keep_tree(
        &self,
        path: &Path,
        kept: &mut Kept,
        seen: &mut BTreeSet<PathBuf>,
        (digests, secrets): (&Path, &Secrets),
        cancel: &Cancel,
    ) -> Result<()> {
        cancel.check()?;
        if !seen.insert(path.to_owned()) {
            return Ok(());
        }
        let refused = |what: &str| Error::new(Kind::Unsupported, format!("cannot keep {}: {what}", path.display()));
        if path.to_str().is_none() {
            return Err(refused("its name is no text (UTF-8)"));
        }
        let meta = std::fs::symlink_metadata(path).map_err(|e| io_error("read", path, e))?;
        let mode = meta.permissions().mode() & 0o7777;
        let entry = |kind| Entry { path: path.to_owned(), mode, kind };
        if meta.is_dir() {
            kept.entries.push(entry(EntryKind::Dir));
            let fault = |e| io_error("read folder", path, e);
            let mut inside: Vec<_> =
                std::fs::read_dir(path).map_err(fault)?.collect::<std::io::Result<_>>().map_err(fault)?;
            inside.sort_by_key(std::fs::DirEntry::file_name);
            for inner in inside {
                self.keep_tree(&inner.path(), kept, seen, (digests, secrets), cancel)?;
            }
        } else if meta.is_symlink() {
            let target = std::fs::read_link(path).map_err(|e| io_error("read", path, e))?;
            if target.to_str().is_none() {
                return Err(refused("it links to a name that is no text (UTF-8)"));
            }
            kept.entries.push(entry(EntryKind::Link { target }));
        } else if meta.is_file() {
            let (size, digest) = self.keep_file(path, digests, secrets, cancel)?;
            kept.entries.push(entry(EntryKind::File { size, digest }));
        } else {
            return Err(refused("it is neither a file nor a folder nor a link"));
        }
        Ok(())
    }

    fn keep_file(&self, path: &Path, digests: &Path, secrets: &Secrets, cancel: &Cancel) -> Result<(u64, String)> {
        let look = || std::fs::metadata(path).map_err(|e| io_error("read", path, e));
        let before = look()?;
        let digest = content::known_file(path, digests, cancel)?;
        let Some(place) = self.place(&digest) else {
            return Err(Error::new(Kind::Internal, format!("{digest:?} is not a digest")));
        };
        if self.intact(&digest, before.len(), digests, cancel) {
            return Ok((before.len(), digest));
        }
        if before.len() < WORTH_LINKING {
            let content = std::fs::read(path).map_err(|e| io_error("read", path, e))?;
            if secrets.occurs_in(&content) {
                return Ok((before.len(), digest));
            }
        }
        let mut put = self.put(path, &place, &before, cancel);
        for _ in 1..ATTEMPTS {
            // `rimg cache clear` may have taken what was half there.
            if !put.as_ref().is_err_and(|error| error.kind() == Kind::Io) || cancel.is_cancelled() {
                break;
            }
            put = self.put(path, &place, &before, cancel);
        }
        let linked = put?;
        // Its name is part of what was changed last.
        if let Ok(meta) = std::fs::metadata(&place) {
            content::remember(&place, &meta, &digest, digests);
        }
        if linked {
            content::remember(path, &look()?, &digest, digests);
        }
        Ok((before.len(), digest))
    }

    /// Puts a file into its place in the store; tells whether it is a link.
    fn put(&self, path: &Path, place: &Path, before: &std::fs::Metadata, cancel: &Cancel) -> Result<bool> {
        let look = || std::fs::metadata(path).map_err(|e| io_error("read", path, e));
        if let Some(folder) = place.parent() {
            dirs::private(folder)?;
        }
        let pending = atomic::Pending::beside(place)?;
        let linked = bring_over(path, pending.path(), before.len() >= WORTH_LINKING, cancel)?;
        // A link has changed the time at which the inode changed, and nothing else.
        let after = look()?;
        if !same_content(before, &after) {
            return Err(Error::new(Kind::Io, format!("cannot keep {}: it changes while it is read", path.display()))
                .hint("something else writes to it: end that before the build does"));
        }
        if !linked {
            set_mode(pending.path(), 0o400)?;
        }
        let kept = pending.path().to_owned();
        let seen = std::fs::metadata(&kept).map_err(|e| io_error("read", &kept, e))?;
        if seen.len() >= WORTH_SYNCING {
            pending.commit()?;
        } else {
            pending.commit_unsynced()?;
        }
        Ok(linked)
    }

    /// Tells whether all content of `kept` is here, or stands unchanged in its place.
    pub fn has(&self, kept: &Kept, digests: &Path) -> bool {
        kept.entries.iter().all(|entry| match &entry.kind {
            EntryKind::File { size, digest } => {
                self.source(&entry.path, *size, digest, digests, &Cancel::default()).is_some()
            }
            _ => true,
        })
    }

    /// Brings `kept` to where it was made and returns the paths that were written. What is there and equal is left alone, in
    /// a folder also what else is in it. Something different is an error ([`Kind::Exists`]) unless `force` replaces it.
    /// Content that is gone or damaged is [`Kind::Checksum`].
    pub fn bring(&self, kept: &Kept, force: bool, digests: &Path, cancel: &Cancel) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for place in Place::of(kept) {
            cancel.check()?;
            place.bring(self, force, digests, cancel, &mut written)?;
        }
        Ok(written)
    }

    /// Returns a file with that content: the store's own, or the one in its place.
    fn source(&self, path: &Path, size: u64, digest: &str, digests: &Path, cancel: &Cancel) -> Option<PathBuf> {
        let own = self.place(digest)?;
        match self.intact(digest, size, digests, cancel) {
            true => Some(own),
            false => is_file(path, size, digest, digests, cancel).then(|| path.to_owned()),
        }
    }

    /// Makes `to`, which is not there yet, a file with the content of one that was kept.
    pub(super) fn write(
        &self,
        entry: &Entry,
        (size, digest): (u64, &str),
        to: &Path,
        digests: &Path,
        cancel: &Cancel,
    ) -> Result<()> {
        let gone = || {
            Error::new(
                Kind::Checksum,
                format!("what was kept of {} is gone from the cache, or damaged", entry.path.display()),
            )
        };
        let source = self.source(&entry.path, size, digest, digests, cancel).ok_or_else(gone)?;
        let fault = |e| io_error("read", &source, e);
        let before = std::fs::metadata(&source).map_err(fault)?;
        // Only the store's own file that no other output shares, or that has no name but this one.
        let link = size >= WORTH_LINKING && before.nlink() == 1 && source != entry.path;
        let mut linked = bring_over(&source, to, link, cancel)?;
        if linked && std::fs::metadata(to).map_err(|e| io_error("read", to, e))?.nlink() > 2 {
            // Another run has done the same at the same moment.
            atomic::remove(to);
            linked = bring_over(&source, to, false, cancel)?;
        }
        set_mode(to, entry.mode)?;
        let after = std::fs::metadata(&source).map_err(fault)?;
        if !same_content(&before, &after) {
            return Err(gone());
        }
        if linked {
            content::remember(&source, &after, digest, digests);
        }
        Ok(())
    }

    /// Tells whether the content is here and undamaged; what is damaged is removed.
    fn intact(&self, digest: &str, size: u64, digests: &Path, cancel: &Cancel) -> bool {
        let Some(place) = self.place(digest) else { return false };
        if std::fs::symlink_metadata(&place).is_err() {
            return false;
        }
        let intact = is_file(&place, size, digest, digests, cancel);
        if !intact && !cancel.is_cancelled() {
            tracing::warn!(path = %place.display(), "a kept file is damaged; dropped");
            atomic::remove(&place);
        }
        intact
    }

    /// Returns where content is kept; none for what is no digest.
    pub(super) fn place(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("blake3:")?;
        let plain = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
        plain.then(|| self.folder.join(hex.get(..2).unwrap_or(hex)).join(hex))
    }
}

/// Tells whether there is a file with that content.
pub(super) fn is_file(path: &Path, size: u64, digest: &str, digests: &Path, cancel: &Cancel) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size)
        && content::known_file(path, digests, cancel).is_ok_and(|known| known == digest)
}

/// Makes `to` have the content of `from`, and tells whether both are now one file.
fn bring_over(from: &Path, to: &Path, may_link: bool, cancel: &Cancel) -> Result<bool> {
    if may_link {
        if copy::reflink(from, to) {
            return Ok(false);
        }
        if std::fs::hard_link(from, to).is_ok() {
            return Ok(true);
        }
    }
    copy::file(from, to, cancel).inspect_err(|_| atomic::remove(to))?;
    Ok(false)
}

/// Tells whether a file can still have the content that it had: a link or a change of its mode does not count.
fn same_content(before: &Metadata, after: &Metadata) -> bool {
    let of = |meta: &Metadata| (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    of(before) == of(after)
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let failed = |e| io_error("set the mode of", path, e);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        dir: tempfile::TempDir,
        files: Files,
        digests: PathBuf,
        secrets: Secrets,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let cache = dir.path().join("cache");
            let files = Files::new(cache.join("replay/files"));
            World { files, digests: cache.join("digests"), secrets: Secrets::default(), dir }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn keep(&self, names: &[&str]) -> Result<Kept> {
            let paths: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
            self.files.keep(&paths, &self.digests, &self.secrets, &Cancel::default())
        }

        fn bring(&self, kept: &Kept, force: bool) -> Result<Vec<PathBuf>> {
            self.files.bring(kept, force, &self.digests, &Cancel::default())
        }

        fn has(&self, kept: &Kept) -> bool {
            self.files.has(kept, &self.digests)
        }

        /// A folder with all kinds of things in it, of which `out/big` is worth a link.
        fn make(&self) {
            std::fs::create_dir_all(self.path("out/sub")).unwrap();
            std::fs::write(self.path("out/big"), vec![7; WORTH_LINKING as usize]).unwrap();
            std::fs::write(self.path("out/sub/run.sh"), "#!/bin/sh").unwrap();
            std::fs::set_permissions(self.path("out/sub/run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
            std::os::unix::fs::symlink("sub/run.sh", self.path("out/link")).unwrap();
            std::fs::set_permissions(self.path("out/sub"), PermissionsExt::from_mode(0o555)).unwrap();
        }

        fn remove(&self, name: &str) {
            let _ = std::fs::set_permissions(self.path(name).join("sub"), PermissionsExt::from_mode(0o755));
            atomic::remove(&self.path(name));
            assert!(!self.path(name).exists());
        }

        fn leaves_nothing_behind(&self) {
            let names: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
        }
    }

    fn names(kept: &Kept) -> Vec<&str> {
        kept.entries.iter().map(|e| e.path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn a_tree_comes_back_as_it_was_and_here_or_there() {
        let world = World::new();
        world.make();
        let kept = world.keep(&["out", "out/big"]).unwrap();
        assert_eq!(names(&kept), ["out", "big", "link", "sub", "run.sh"]);
        assert!(world.has(&kept));
        assert!(world.bring(&kept, false).unwrap().is_empty(), "all is in its place");
        world.remove("out");
        assert!(world.has(&kept));
        assert_eq!(world.bring(&kept, false).unwrap(), [world.path("out")]);
        assert_eq!(world.keep(&["out"]).unwrap(), kept);
        let moved = kept.under(&world.path("out"), &world.path("else/where"));
        assert_eq!(world.bring(&moved, false).unwrap(), [world.path("else/where")]);
        let again = world.keep(&["else/where"]).unwrap();
        assert_eq!(again, moved);
        assert_eq!(std::fs::read_link(world.path("else/where/link")).unwrap(), Path::new("sub/run.sh"));
        // A piece that is missing is brought; what else is in the folder stays.
        std::fs::remove_file(world.path("out/big")).unwrap();
        std::fs::write(world.path("out/more"), "the user's").unwrap();
        assert_eq!(world.bring(&kept, false).unwrap(), [world.path("out/big")]);
        assert!(world.path("out/more").exists());
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
        world.remove("out");
        world.leaves_nothing_behind();
    }

    #[test]
    fn what_is_different_is_replaced_by_force_alone() {
        let world = World::new();
        world.make();
        std::fs::write(world.path("file"), "one").unwrap();
        let kept = world.keep(&["out", "file"]).unwrap();
        for change in ["file", "out/sub/run.sh", "out/link"] {
            world.remove("out");
            world.bring(&kept, true).unwrap();
            let path = world.path(change);
            std::fs::set_permissions(world.path("out/sub"), PermissionsExt::from_mode(0o755)).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "mine").unwrap();
            std::fs::set_permissions(world.path("out/sub"), PermissionsExt::from_mode(0o555)).unwrap();
            let error = world.bring(&kept, false).unwrap_err();
            assert_eq!(error.kind(), Kind::Exists, "{error}");
            assert!(error.message().contains(change), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
            std::fs::write(world.path("out/extra"), "the user's").unwrap();
            assert_eq!(world.bring(&kept, true).unwrap(), [world.path(change)]);
            std::fs::remove_file(world.path("out/extra")).unwrap();
            assert_eq!(world.keep(&["out", "file"]).unwrap(), kept, "{change}");
        }
        // A file where a folder belongs.
        world.remove("out");
        std::fs::write(world.path("out"), "mine").unwrap();
        assert_eq!(world.bring(&kept, false).unwrap_err().kind(), Kind::Exists);
        world.bring(&kept, true).unwrap();
        assert_eq!(world.keep(&["out", "file"]).unwrap(), kept);
        world.leaves_nothing_behind();
    }

    #[test]
    fn damage_is_noticed_before_use() {
        let world = World::new();
        world.make();
        let kept = world.keep(&["out"]).unwrap();
        let EntryKind::File { digest, .. } = &kept.entries[4].kind else { panic!() };
        let place = world.files.place(digest).unwrap();
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o400);
        std::fs::set_permissions(&place, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&place, "#!/bin/XX").unwrap();
        assert!(world.has(&kept), "it stands in its place");
        assert!(!place.exists());
        world.remove("out");
        assert!(!world.has(&kept));
        assert_eq!(world.bring(&kept, true).unwrap_err().kind(), Kind::Checksum);
        assert!(!world.path("out").exists());
        world.leaves_nothing_behind();
        // And is kept anew.
        world.make();
        assert_eq!(world.keep(&["out"]).unwrap(), kept);
        world.remove("out");
        world.bring(&kept, false).unwrap();
    }

    #[test]
    fn an_output_that_the_user_changes_in_place_harms_neither_others_nor_what_comes() {
        use std::os::unix::fs::FileExt;
        let world = World::new();
        world.make();
        let kept = world.keep(&["out"]).unwrap();
        let moved = kept.under(&world.path("out"), &world.path("other"));
        world.bring(&moved, false).unwrap();
        let inode = |name: &str| std::fs::metadata(world.path(name)).unwrap().ino();
        assert_ne!(inode("out/big"), inode("other/big"), "at most one output shares the store's file");
        let file = std::fs::File::options().write(true).open(world.path("out/big")).unwrap();
        file.write_all_at(b"mine", 1000).unwrap();
        assert!(world.keep(&["other"]).unwrap() == moved);
        // The store has it still (from the other output), or knows that it has it no more.
        if world.has(&kept) {
            world.remove("out");
            world.bring(&kept, false).unwrap();
            assert_eq!(world.keep(&["out"]).unwrap(), kept);
        } else {
            assert_eq!(world.bring(&kept, true).unwrap_err().kind(), Kind::Checksum);
        }
    }

    #[test]
    fn a_file_with_a_secret_counts_in_its_place_and_is_not_copied() {
        let world = World::new();
        world.secrets.add("hunter2");
        std::fs::write(world.path("key"), "PW=hunter2").unwrap();
        std::fs::write(world.path("plain"), "nothing").unwrap();
        let kept = world.keep(&["key", "plain"]).unwrap();
        let stored: Vec<_> = kept.digests().map(|digest| world.files.place(digest).unwrap().exists()).collect();
        assert_eq!(stored, [false, true]);
        assert!(world.files.has(&kept, &world.digests));
        std::fs::remove_file(world.path("plain")).unwrap();
        assert_eq!(world.bring(&kept, false).unwrap(), [world.path("plain")]);
        std::fs::remove_file(world.path("key")).unwrap();
        assert!(!world.files.has(&kept, &world.digests), "it is made anew");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let world = World::new();
        std::fs::create_dir(world.path("out")).unwrap();
        let path = world.path("out").join(std::ffi::OsStr::from_bytes(b"\xff"));
        std::fs::write(&path, "x").unwrap();
        assert_eq!(world.keep(&["out"]).unwrap_err().kind(), Kind::Unsupported);
        std::fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(world.path("out/s")).unwrap();
        assert_eq!(world.keep(&["out"]).unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(world.keep(&["nothing"]).unwrap_err().kind(), Kind::Io);
    }
}
