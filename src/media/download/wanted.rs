//! What is to be had, from wherever it can be had.

use std::path::PathBuf;

use super::expected::{Sums, expected};
use super::place::Place;
use super::to_cache::{slot, to_cache};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::digest::Algorithm;
use crate::media::cache;
use crate::media::checksum::Checksum;

/// A file to be had.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it is: paths and URLs, tried in order.
    pub urls: Vec<String>,
    pub checksum: Checksum,
    /// Where a download goes instead of the cache; relative ones start at the script's folder.
    pub target_path: Option<PathBuf>,
    /// The extension it has in the cache, in place of the URL's.
    pub extension: Option<String>,
}

/// Why something could not be had.
#[derive(Debug)]
pub enum Failure {
    /// Another mirror may do better.
    There(Error),
    /// No other mirror could do better: a full disk, a checksum file that cannot be had.
    Here(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::There(error) | Failure::Here(error) => error,
        }
    }
}

/// Returns the path of what `url` names, which has the checksum: a local file (a path, relative ones start at the
/// script's folder, or `file:`) where it is, a download in the cache.
pub async fn fetch(url: &str, checksum: &Checksum, cx: &BuildCx) -> Result<PathBuf> {
    Wanted::new(vec![url.to_owned()], checksum.clone()).fetch(cx).await
}

impl Wanted {
    /// Says what is to be had, and where from.
    pub fn new(urls: Vec<String>, checksum: Checksum) -> Wanted {
        Wanted { urls, checksum, target_path: None, extension: None }
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        let mut missing = None;
        let mut remote = false;
        for url in &self.urls {
            match Place::parse(url, cx)? {
                Place::Remote(_) => remote = true,
                Place::Local(path) => match std::fs::metadata(&path) {
                    Ok(meta) if meta.is_file() => return Ok(()),
                    Ok(_) => missing = Some(Error::new(Kind::Io, format!("{} is not a file", path.display()))),
                    Err(e) => missing = Some(io_error("read", &path, e)),
                },
            }
        }
        match (missing, &self.checksum) {
            (Some(error), _) if !remote => Err(error),
            (_, Checksum::File(file)) => Place::parse(file, cx).map(drop).map_err(|e| e.within("checksum file")),
            _ => Ok(()),
        }
    }

    /// Returns the path of the file: the first of its places that has it, with the right checksum.
    pub async fn fetch(&self, cx: &BuildCx) -> Result<PathBuf> {
        let mut failures: Vec<Error> = Vec::new();
        let mut sums = Sums::default();
        for (index, url) in self.urls.iter().enumerate() {
            match self.from(url, &mut sums, cx).await {
                Ok(path) => {
                    cache::hold(&path);
                    return Ok(path);
                }
                Err(Failure::There(error)) if index + 1 < self.urls.len() => {
                    cx.ui.warn(format!("{error}; trying the next of {} places", self.urls.len()));
                    failures.push(error);
                }
                Err(failure) => {
                    failures.push(failure.into_error());
                    break;
                }
            }
        }
        Err(all_failed(failures))
    }

    async fn from(&self, url: &str, sums: &mut Sums, cx: &BuildCx) -> Result<PathBuf, Failure> {
        match Place::parse(url, cx).map_err(Failure::There)? {
            Place::Local(path) => self.local(path, sums, cx).await.map_err(Failure::There),
            Place::Remote(remote) => {
                if !cx.settings.is_live() {
                    return Ok(slot(&remote, self, None, cx).path);
                }
                let expected = expected(&self.checksum, Some(&remote), &remote.path(), sums, cx).await;
                let expected = expected.map_err(|error| match &self.checksum {
                    // One that has a place of its own is the same for all mirrors.
                    Checksum::File(file) if file.contains("://") && error.kind() != Kind::Checksum => {
                        Failure::Here(error)
                    }
                    _ => Failure::There(error),
                })?;
                to_cache(&remote, self, expected.as_ref(), cx).await
            }
        }
    }

    async fn local(&self, path: PathBuf, sums: &mut Sums, cx: &BuildCx) -> Result<PathBuf> {
        if !cx.settings.is_live() {
            return Ok(path);
        }
        let meta = tokio::fs::metadata(&path).await.map_err(|e| io_error("read", &path, e))?;
        if !meta.is_file() {
            return Err(Error::new(Kind::Io, format!("{} is not a file", path.display())));
        }
        let name = path.to_string_lossy();
        if let Some((algorithm, expected)) = expected(&self.checksum, None, &name, sums, cx).await? {
            let found = cache::digest_of(&path, algorithm, &cx.settings.cache_dir, &cx.ui).await?;
            if found != expected {
                return Err(mismatch(&path.display().to_string(), algorithm, &expected, &found));
            }
        }
        Ok(path)
    }
}

/// Returns the one failure, or one error that has them all.
fn all_failed(mut failures: Vec<Error>) -> Error {
    let Some(last) = failures.pop() else {
        return Error::new(Kind::Option, "there is no place to get it from");
    };
    if failures.is_empty() {
        return last;
    }
    let count = failures.len() + 1;
    let listed: Vec<String> =
        failures.iter().chain([&last]).map(|error| format!("\n  {}", error.full_message())).collect();
    let message = format!("none of the {count} places has it:{}", listed.concat());
    let mut error = Error::new(last.kind(), message);
    let mut hints: Vec<&String> = failures.iter().chain([&last]).flat_map(Error::hints).collect();
    hints.dedup();
    for hint in hints {
        error = error.hint(hint);
    }
    error
}

pub fn mismatch(what: &str, algorithm: Algorithm, expected: &str, found: &str) -> Error {
    Error::new(Kind::Checksum, format!("{what} has the wrong {algorithm}: expected {expected}, found {found}"))
        .hint("the file has changed or was damaged on the way: compare with the publisher's checksum, and try again")
        .field("expected", expected)
        .field("found", found)
}
