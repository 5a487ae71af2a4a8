//! `rimg download`: the cached, checked downloader by itself.

use std::path::PathBuf;

use serde::Serialize;

use super::args::{DownloadArgs, OutputArgs};
use super::dispatch::Exit;
use super::{alone, out};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::digest::Algorithm;
use crate::media::cache;
use crate::media::checksum::Checksum;
use crate::media::download::Wanted;

#[derive(Serialize)]
struct Answer {
    path: PathBuf,
    size: u64,
    digest: String,
}

/// Downloads what the command line names and prints where it is.
pub fn download(args: DownloadArgs) -> Result<Exit> {
    let checksum = Checksum::parse(&args.checksum).map_err(|e| usage(e.within("--checksum")))?;
    let wanted = Wanted { target_path: args.to, ..Wanted::new(args.urls, checksum) };
    let shown = OutputArgs { no_color: args.no_color, debug: args.debug, ..OutputArgs::default() };
    let result = alone::run("rimg download", &shown, async |cx| fetch(&wanted, cx).await);
    let answer = match result {
        Ok(answer) => answer,
        Err(error) if error.kind() == Kind::Cancelled => return Ok(Exit::Cancelled),
        Err(error) if matches!(error.kind(), Kind::Option | Kind::Unsupported) => return Err(usage(error)),
        Err(error) => return Err(error),
    };
    match args.json {
        true => out::print_json(&answer)?,
        false => out::print(&format!("{}\n", answer.path.display()))?,
    }
    Ok(Exit::Done)
}

async fn fetch(wanted: &Wanted, cx: &BuildCx) -> Result<Answer> {
    wanted.validate(cx)?;
    let path = wanted.fetch(cx).await?;
    let size = std::fs::metadata(&path).map_err(|e| io_error("read", &path, e))?.len();
    let (algorithm, hex) = match &wanted.checksum {
        Checksum::Digest(algorithm, hex) => (*algorithm, hex.clone()),
        // For whoever wants to give it the next time.
        _ => (Algorithm::Sha256, cache::known_digest(&path, Algorithm::Sha256, &cx.settings.cache_dir, &cx.ui).await?),
    };
    if wanted.checksum == Checksum::None {
        cx.ui.info(format!("Not checked; its checksum is {algorithm}:{hex}"));
    }
    Ok(Answer { path, size, digest: format!("{algorithm}:{hex}") })
}

/// Says that the command line is what is wrong.
pub(super) fn usage(error: Error) -> Error {
    let mut usage = Error::new(Kind::Usage, error.message());
    for hint in error.hints() {
        usage = usage.hint(hint);
    }
    usage
}
