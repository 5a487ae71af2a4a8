//! `rimg vendor add`: fetched into a private folder, looked through, then renamed into place.

use std::path::{Component, Path, PathBuf};

use reqwest::Url;

use super::super::args::{OutputArgs, VendorAddArgs};
use super::super::dispatch::Exit;
use super::super::{alone, download, out};
use super::{archive, git};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::{self, Pending};
use crate::media::checksum::Checksum;
use crate::media::http;
use crate::script::vendored::{self, Entry, FOLDER, Lock};

/// What archives' names end in.
const ARCHIVES: &[&str] =
    &[".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.lz4", ".zip"];

/// Fetches a module and notes it in the lock.
pub fn add(folder: &Path, args: VendorAddArgs) -> Result<Exit> {
    check_name(&args.name)?;
    if let Some(path) = &args.path
        && (path.is_empty() || Path::new(path).components().any(|part| !matches!(part, Component::Normal(_))))
    {
        return Err(Error::new(Kind::Usage, format!("--path: {path:?} is not a folder in the module"))
            .hint("a relative path without .., such as lua or src/lua"));
    }
    let is_archive = is_archive(&args.url);
    let checksum = match (&args.checksum, is_archive) {
        (Some(text), _) => Checksum::parse(text).map_err(|e| download::usage(e.within("--checksum")))?,
        (None, false) => Checksum::None,
        (None, true) => {
            return Err(Error::new(Kind::Usage, "--checksum: is required for an archive")
                .hint("--checksum sha256:…, or file:URL of the publisher's checksum file")
                .hint("--checksum none takes it unchecked; the lock keeps what it was"));
        }
    };
    if is_archive && args.rev.is_some() {
        return Err(
            Error::new(Kind::Usage, "--rev: an archive has no revisions").hint("name the archive of that revision")
        );
    }
    let mut lock = Lock::read(folder)?;
    let target = folder.join(&args.name);
    let there = std::fs::symlink_metadata(&target).is_ok();
    if there && !args.force {
        let known = lock.modules.get(&args.name).map(|entry| format!(", from {}", entry.url)).unwrap_or_default();
        return Err(Error::new(Kind::Exists, format!("there is a module {} already{known}", args.name))
            .hint("--force replaces it, with what was changed in it"));
    }
    let made_here = !folder.exists();
    let result = alone::run("rimg vendor", &OutputArgs::default(), async |cx| {
        let pending = Pending::beside(&target)?;
        let entry = match is_archive {
            true => archive::fetch(&args, &checksum, &pending, cx).await?,
            false => git::fetch(&args, &checksum, &pending, cx).await?,
        };
        put(pending, entry, &args, cx)
    });
    let entry = result.inspect_err(|_| {
        if made_here {
            // Only where it is empty.
            let _ = std::fs::remove_dir(folder);
        }
    });
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) if error.kind() == Kind::Cancelled => return Ok(Exit::Cancelled),
        Err(error) => return Err(error),
    };
    let what = entry.commit.clone().or(entry.checksum.clone()).unwrap_or_default();
    let count = entry.files.len();
    lock.modules.insert(args.name.clone(), entry);
    lock.write(folder)?;
    out::print(&format!("{FOLDER}/{}: {count} files of {what}\n", args.name))?;
    Ok(Exit::Done)
}

/// Takes the wanted folder out of what came, looks through it, and puts it in place.
fn put(pending: Pending, mut entry: Entry, args: &VendorAddArgs, cx: &BuildCx) -> Result<Entry> {
    let root = match &args.path {
        Some(path) => pending.path().join(path),
        None => pending.path().to_owned(),
    };
    // A link in the way could lead anywhere.
    let real = root.canonicalize().ok().filter(|real| pending.path().canonicalize().is_ok_and(|p| real.starts_with(p)));
    if real.is_none_or(|real| !real.is_dir()) {
        let path = args.path.as_deref().unwrap_or("");
        return Err(Error::new(Kind::Usage, format!("--path: there is no folder {path} in it")));
    }
    entry.url = shown_url(&args.url, cx);
    entry.path.clone_from(&args.path);
    entry.files = vendored::files(&root)?;
    entry.digest = vendored::digest(&entry.files);
    let lua = |path: &String| path.ends_with(".lua");
    if !entry.files.keys().any(lua) {
        return Err(Error::new(Kind::Usage, "there is no Lua file in it").hint("is that the module's address?"));
    }
    let name = &args.name;
    if !["init.lua".to_owned(), format!("{name}.lua")].iter().any(|file| entry.files.contains_key(file)) {
        cx.ui.warn(format!(
            "it has neither init.lua nor {name}.lua: require \"{name}\" will not find it, only the modules in it \
             (require \"{name}.…\"). --path DIR takes a folder of it"
        ));
    }
    let place = |pending: Pending| match std::fs::symlink_metadata(pending.target()).is_ok() {
        true => pending.replace(),
        false => pending.commit(),
    };
    if args.path.is_none() {
        place(pending)?;
        return Ok(entry);
    }
    let part = Pending::beside(pending.target())?;
    std::fs::rename(&root, part.path()).map_err(|e| io_error("rename", &root, e))?;
    place(part)?;
    Ok(entry)
}

fn check_name(name: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let wrong = match name {
        "rimg" | "std" => Some("it is rimg's own"),
        name if name.is_empty() || !name.chars().all(word) || name.starts_with('-') => {
            Some("letters, digits, _ and - are what it may have")
        }
        _ => None,
    };
    wrong.map_or(Ok(()), |why| {
        Err(Error::new(Kind::Usage, format!("{name:?} cannot be a module's name: {why}"))
            .hint("it is what scripts say: require \"NAME\""))
    })
}

/// Tells an archive from a repository by what its name ends in.
fn is_archive(url: &str) -> bool {
    let path = Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_else(|_| url.to_owned());
    // GitHub's and GitLab's addresses have more behind it.
    path.split('/').any(|part| {
        let part = part.to_ascii_lowercase();
        ARCHIVES.iter().any(|end| part.ends_with(end) || format!(".{part}") == *end)
    }) && !path.ends_with(".git")
}

/// Returns the address without what must not be in a file that is kept.
fn shown_url(url: &str, cx: &BuildCx) -> String {
    match Url::parse(url) {
        Ok(url) => {
            http::hide_url(&url, cx.ui.secrets());
            let mut plain = http::hidden(&url);
            // `git@host` is no secret, a token in its place is.
            if plain.password().is_some() || plain.scheme().starts_with("http") {
                let _ = (plain.set_username(""), plain.set_password(None));
            }
            if url.scheme() == "ssh" && url.password().is_none() {
                let _ = plain.set_username(url.username());
            }
            plain.into()
        }
        Err(_) => url.to_owned(),
    }
}

/// Makes a private folder beside the module for what is needed on the way.
pub fn scratch(pending: &Pending) -> Result<Pending> {
    let beside = Pending::beside(&pending.target().with_extension("fetched"))?;
    std::fs::create_dir(beside.path()).map_err(|e| io_error("create folder", beside.path(), e))?;
    Ok(beside)
}

/// Moves the content of the one folder that an archive has at its top up to where it belongs.
pub fn without_top(from: &Path, pending: &Pending) -> Result<()> {
    let failed = |e| io_error("read the folder", from, e);
    let entries: Vec<PathBuf> = std::fs::read_dir(from)
        .map_err(failed)?
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    let source = match entries.as_slice() {
        [only] if std::fs::symlink_metadata(only).is_ok_and(|meta| meta.is_dir()) => only.clone(),
        _ => from.to_owned(),
    };
    atomic::remove(pending.path());
    std::fs::rename(&source, pending.path()).map_err(|e| io_error("rename", &source, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_repositories() {
        for url in [
            "https://example.org/a-1.0.tar.gz",
            "https://example.org/a.zip?token=x",
            "https://codeload.example.org/o/r/tar.gz/refs/tags/v1",
            "m.tgz",
            "../up/m.tar.zst",
            "file:///srv/m.tar",
        ] {
            assert!(is_archive(url), "{url}");
        }
        for url in [
            "https://example.org/o/r",
            "git@example.org:o/r.git",
            "../r",
            "https://example.org/o/r.tar.git",
            "/srv/git",
        ] {
            assert!(!is_archive(url), "{url}");
        }
    }

    #[test]
    fn names_are_what_require_takes() {
        for name in ["roles", "my-roles", "_x", "a1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "std", "rimg", "a.b", "../x", "a/b", "-x", ".git", "lock.json"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
