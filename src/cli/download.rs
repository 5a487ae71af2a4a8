//! `rimg download`: the cached, checked downloader by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::args::{DownloadArgs, OutputArgs};
use super::dispatch::Exit;
use super::output::{self, Show};
use super::{logging, out, signals};
use crate::engine::journal::Journal;
use crate::engine::{BuildCx, Mode, Resources, Scope, Settings};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::digest::Algorithm;
use crate::host::dirs;
use crate::media::cache;
use crate::media::checksum::Checksum;
use crate::media::download::Wanted;
use crate::ui::Ui;

/// How long work on other threads may take to notice the end.
const LAST_WORK: Duration = Duration::from_secs(2);

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
    let (ui, thread) = output::start(&shown, Show::Beside)?;
    logging::start(&ui, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Host, "cannot start the threads of a download").caused_by(e))?;
    let scope = Scope::new();
    let journal = Journal::of_this_process("rimg download", &dirs::cache()?, &dirs::state()?);
    let cx = surroundings(&ui, &scope, &journal)?;
    let result = {
        let _entered = runtime.enter();
        let signals = signals::listen(scope.clone(), ui)?;
        let result = runtime.block_on(scope.run(fetch(&wanted, &cx)));
        signals.abort();
        result
    };
    runtime.shutdown_timeout(LAST_WORK);
    journal.close();
    thread.join();
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

/// Makes the surroundings that a download in a script has from its run.
fn surroundings(ui: &Ui, scope: &Scope, journal: &Arc<Journal>) -> Result<BuildCx> {
    let here = std::env::current_dir().map_err(|e| io_error("find", ".", e))?;
    let cache_dir = dirs::cache()?;
    let settings = Settings {
        mode: Mode::Live,
        force: false,
        on_error: Default::default(),
        debug: false,
        script_dir: here,
        work_dir: journal.work_dir().to_owned(),
        abort: Default::default(),
        cache_dir,
        state_dir: dirs::state()?,
    };
    Ok(BuildCx {
        build: "".into(),
        scope: scope.clone(),
        resources: Resources::of("", Some(journal), ui),
        machines: Default::default(),
        ui: ui.clone(),
        settings: Arc::new(settings),
        step: None,
        steps: Default::default(),
        lane: Default::default(),
        replay: None,
    })
}

/// Says that the command line is what is wrong.
fn usage(error: Error) -> Error {
    let mut usage = Error::new(Kind::Usage, error.message());
    for hint in error.hints() {
        usage = usage.hint(hint);
    }
    usage
}
