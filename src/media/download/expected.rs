//! From a checksum as it was given to the digest that the content must have.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::place::Place;
use super::remote::Remote;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::digest::Algorithm;
use crate::media::checksum::{self, Checksum};
use crate::media::http;

/// A checksum file is not larger than this.
const LIMIT: usize = 16 << 20;
/// How often a checksum file is asked for, and the first pause in between; it doubles.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(400);

/// The checksum files that were read already: several mirrors share one.
#[derive(Default)]
pub struct Sums(BTreeMap<String, Vec<u8>>);

/// Resolves a checksum to the digest of what has the path `name`, on the server `remote` or else on this host.
pub async fn expected(
    checksum: &Checksum,
    remote: Option<&Remote>,
    name: &str,
    sums: &mut Sums,
    cx: &BuildCx,
) -> Result<Option<(Algorithm, String)>> {
    let file = match checksum {
        Checksum::None => return Ok(None),
        Checksum::Digest(algorithm, hex) => return Ok(Some((*algorithm, hex.clone()))),
        Checksum::File(file) => file,
    };
    let place = match (Place::parse(file, cx)?, remote) {
        // A bare name that is not here is beside what is downloaded.
        (Place::Local(path), Some(remote)) if !file.starts_with(['.', '/']) && !path.exists() => {
            remote.beside(file).map_or(Place::Local(path), Place::Remote)
        }
        (place, _) => place,
    };
    let (text, at, folder) = match &place {
        Place::Remote(remote) => {
            let path = remote.path();
            let folder = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
            let id = remote.id();
            let bytes = match sums.0.remove(&id) {
                Some(bytes) => bytes,
                None => small(remote, cx).await.map_err(|e| e.within("checksum file"))?,
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            sums.0.insert(id, bytes);
            (text, remote.shown(), folder)
        }
        Place::Local(path) => {
            let failed = |e| io_error("read checksum file", path, e);
            let file = tokio::fs::File::open(path).await.map_err(failed)?;
            let mut bytes = Vec::new();
            file.take(LIMIT as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
            if bytes.len() > LIMIT {
                return Err(too_large(&path.display().to_string()));
            }
            let folder = path.parent().map(|folder| format!("{}/", folder.display())).unwrap_or_default();
            (String::from_utf8_lossy(&bytes).into_owned(), path.display().to_string(), folder)
        }
    };
    // The names in a checksum file start at its own folder.
    let relative = name.strip_prefix(folder.as_str()).unwrap_or(name);
    let own_name = at.rsplit('/').next().unwrap_or(&at).to_owned();
    match checksum::find(&text, &own_name, relative) {
        Some(found) => Ok(Some(found)),
        None => Err(Error::new(Kind::Checksum, format!("{at} has no digest of {relative}"))
            .hint("name the right checksum file, or give the digest itself as \"sha256:…\"")),
    }
}

fn too_large(what: &str) -> Error {
    Error::new(Kind::Checksum, format!("{what} is too large for a checksum file")).hint("is it the image itself?")
}

/// Gets a small file into memory.
async fn small(remote: &Remote, cx: &BuildCx) -> Result<Vec<u8>> {
    let client = http::client()?;
    let mut failures = 0;
    loop {
        let got = async {
            let request = remote.get(&client, &cx.ui).map_err(|error| (error, false))?;
            let failed = |e| {
                let refusal = remote.failure(e);
                (refusal.error, refusal.passing)
            };
            let mut response = request.send().await.map_err(failed)?;
            if !response.status().is_success() {
                let refusal = remote.refusal(response).await;
                return Err((refusal.error, refusal.passing));
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > LIMIT {
                    return Err((too_large(&remote.shown()), false));
                }
            }
            Ok(bytes)
        };
        match got.await {
            Ok(bytes) => return Ok(bytes),
            Err((error, passing)) => {
                failures += 1;
                if failures >= ATTEMPTS || !passing {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE * 2u32.pow(failures - 1)).await;
            }
        }
    }
}
