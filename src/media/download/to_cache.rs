//! One file from one server to its place: known already, or transferred, checked and noted.

use std::path::PathBuf;

use super::part::Part;
use super::receive::{Received, Transfer};
use super::remote::Remote;
use super::wanted::{Failure, Wanted, mismatch};
use crate::engine::BuildCx;
use crate::error::{Error, Kind};
use crate::host::digest::Algorithm;
use crate::host::{atomic, blocking};
use crate::media::cache::{self, Note, Slot, Validator};
use crate::ui::event::Unit;

/// What the content must be.
pub type Expected = (Algorithm, String);

/// Returns the place that a download has.
pub fn slot(remote: &Remote, wanted: &Wanted, expected: Option<&Expected>, cx: &BuildCx) -> Slot {
    let cache_dir = &cx.settings.cache_dir;
    let name = PathBuf::from(remote.file_name());
    let extension = wanted.extension.as_deref().or_else(|| name.extension().and_then(|e| e.to_str()));
    match (&wanted.target_path, expected) {
        (Some(target), _) => Slot::of_target(cache_dir, &cx.settings.resolve(target)),
        (None, Some((algorithm, hex))) => Slot::of_digest(cache_dir, *algorithm, hex, extension),
        (None, None) => Slot::of_url(cache_dir, &remote.id(), extension),
    }
}

/// Returns the path of the file, downloaded if it is not there.
pub async fn to_cache(
    remote: &Remote,
    wanted: &Wanted,
    expected: Option<&Expected>,
    cx: &BuildCx,
) -> Result<PathBuf, Failure> {
    let slot = slot(remote, wanted, expected, cx);
    let here = Failure::Here;
    let lock = slot.lock(&cx.ui).await.map_err(here)?;
    let note = slot.note();
    if let Some(expected) = expected
        && is_there(&slot, note.as_ref(), remote, expected, cx).await.map_err(here)?
    {
        return Ok(slot.path);
    }
    if !slot.is_cached() {
        prepare_target(&slot, note.as_ref(), cx).map_err(here)?;
    }
    let part = Part::new(&slot, lock, expected.is_some());
    match transfer(remote, &slot, part, expected, note.as_ref(), cx).await {
        Err(Failure::There(error)) if note.is_some() && expected.is_none() && is_outage(&error) => {
            cx.ui.warn(format!("{error}; using {} as it was downloaded before", slot.path.display()));
        }
        result => result?,
    }
    Ok(slot.path)
}

/// Tells whether the content is in its place, or can be had from another place of the cache.
async fn is_there(
    slot: &Slot,
    note: Option<&Note>,
    remote: &Remote,
    (algorithm, hex): &Expected,
    cx: &BuildCx,
) -> Result<bool, Error> {
    let cache_dir = &cx.settings.cache_dir;
    if note.is_some_and(|note| note.has(*algorithm, hex)) {
        return Ok(true);
    }
    // A file without a valid note: touched by someone, or the note was lost.
    if note.is_none() && slot.path.is_file() {
        if cache::digest_of(&slot.path, *algorithm, cache_dir, &cx.ui).await? == *hex {
            slot.write_note(&remote.shown(), vec![(algorithm.to_string(), hex.clone())], Validator::default())?;
            return Ok(true);
        }
        if slot.is_cached() {
            slot.clear();
        }
    }
    if slot.is_cached() {
        return Ok(slot.adopt(*algorithm, hex));
    }
    let Some(known) = slot.elsewhere(*algorithm, hex) else { return Ok(false) };
    prepare_target(slot, note, cx)?;
    let _shown = cx.ui.progress(format!("Copying {} from the cache", remote.file_name()), None, Unit::Spinner);
    let to = slot.clone();
    let copied = blocking::run(move |_| {
        let part = to.part();
        std::fs::copy(&known, &part).map_err(|e| crate::error::io_error("copy to", &part, e)).map(|_| ())
    });
    copied.await?;
    slot.keep(&remote.shown(), vec![(algorithm.to_string(), hex.clone())], Validator::default())?;
    Ok(true)
}

/// Makes the folder of a file outside the cache; what is there and is not ours is not replaced unasked.
fn prepare_target(slot: &Slot, note: Option<&Note>, cx: &BuildCx) -> Result<(), Error> {
    if note.is_none() {
        atomic::refuse_existing(&slot.path, cx.settings.force && !slot.path.is_dir())
            .map_err(|e| e.within("the download's target, which is not what it should be,"))?;
    }
    match slot.path.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|e| crate::error::io_error("create folder", folder, e)),
        None => Ok(()),
    }
}

/// Tells whether a server is out of reach, rather than of another opinion.
fn is_outage(error: &Error) -> bool {
    let status = error.get("status").and_then(serde_json::Value::as_u64);
    error.kind() == Kind::Network && status.is_none_or(|status| status >= 500)
}

/// Downloads to the place; `known` is the note of what is there.
async fn transfer(
    remote: &Remote,
    slot: &Slot,
    mut part: Part,
    expected: Option<&Expected>,
    known: Option<&Note>,
    cx: &BuildCx,
) -> Result<(), Failure> {
    let algorithm = expected.map_or(Algorithm::Sha256, |(algorithm, _)| *algorithm);
    let checked = expected.is_some();
    let mut fresh = false;
    loop {
        let keep = part.keep();
        let (url, ui) = (remote.id(), cx.ui.clone());
        let open = blocking::run(move |cancel| part.open(algorithm, fresh, checked, &url, &ui, cancel));
        let open = open.await.map_err(Failure::Here)?;
        let begun = (open.done, open.origin.as_ref().map(|origin| origin.validator.clone()).unwrap_or_default());
        let (tx, rx) = tokio::sync::mpsc::channel(64);
        let folder = slot.part().parent().map(PathBuf::from).unwrap_or_default();
        let transfer = Transfer::new(remote, folder, known, checked, begun, keep, cx);
        let writing = blocking::run(move |_| open.write(rx));
        let (received, written) = tokio::join!(transfer.run(tx), writing);
        // The writer's failure is why the receiver could go no further.
        let (written, found) = written.map_err(Failure::Here)?;
        part = written;
        let Received::Whole { validator, pieced, encoding } = received? else {
            part.discard();
            return Ok(());
        };
        match expected {
            Some((algorithm, expected)) if found != *expected => {
                part.discard();
                // Pieces of two versions, or a part that was damaged: once more, in one piece.
                if pieced && !fresh {
                    cx.ui.warn(format!("The pieces of {} do not fit together; downloading all of it", remote.shown()));
                    fresh = true;
                    continue;
                }
                let error = mismatch(&remote.shown(), *algorithm, expected, &found);
                return Err(Failure::There(match encoding {
                    Some(encoding) => {
                        error.hint(format!("the server sent it encoded as {encoding}, which was not asked for"))
                    }
                    None => error,
                }));
            }
            _ => {}
        }
        let noted = slot.keep(&remote.shown(), vec![(algorithm.to_string(), found)], validator);
        return noted.map_err(Failure::Here);
    }
}
