//! Post-processing as an operation: shown, timed, its artifact announced.

use std::future::Future;
use std::time::Instant;

use crate::engine::{Artifact, BuildCx};
use crate::error::Result;
use crate::ui::Event;

/// Does one post-processing step of an artifact.
pub async fn post_process(
    kind: &'static str,
    of: &Artifact,
    cx: &BuildCx,
    work: impl Future<Output = Result<Artifact>>,
) -> Result<Artifact> {
    let (id, build, started) = (cx.ui.next_id(), cx.build.to_string(), Instant::now());
    let title = of.image_path().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
    cx.ui.emit(Event::OperationStarted {
        build: build.clone(),
        id,
        step: cx.step,
        machine: String::new(),
        kind,
        title: title.clone(),
    });
    let result = work.await;
    let seconds = started.elapsed().as_secs_f64();
    cx.ui.emit(Event::OperationFinished {
        build,
        id,
        machine: String::new(),
        kind,
        title: title.clone(),
        ok: result.is_ok(),
        cached: false,
        seconds,
    });
    if let Ok(artifact) = &result
        && artifact != of
        && cx.settings.is_live()
    {
        cx.ui.emit(artifact.event());
    }
    result.map_err(|error| error.within(format_args!("{kind} of {title}")))
}
