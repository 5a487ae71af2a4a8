//! Post-processing goes through a door of its own: a step whose artifact and options are those of a record is replayed.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::artifact::Artifact;
use super::cx::BuildCx;
use super::replay::content;
use super::replay::key::Key;
use super::replay::record::{Outcome, Record};
use super::replay::run::Replay;
use super::replay::{explain, records::Owner};
use super::shown::Shown;
use crate::error::{Error, Kind, Result};
use crate::host::{atomic, blocking};

/// One step of post-processing.
pub struct Step<'a> {
    /// `compress`, `vagrant`, …
    pub kind: &'static str,
    pub of: &'a Artifact,
    /// Its options, as the script gave them.
    pub options: serde_json::Value,
    /// Whether the artifact's own files are removed afterwards.
    pub removes_input: bool,
    pub particulars: Particulars,
}

/// What is particular about the replay of a step.
#[derive(Debug, Clone, Default)]
pub struct Particulars {
    /// The files on this host, besides the artifact's own, that it reads.
    pub reads: Vec<PathBuf>,
    /// What it adds to beside others: it is only replayed while that is there.
    pub adds_to: Option<PathBuf>,
}

/// Where a step stands: what it is made of.
struct Place {
    after: String,
    key: Key,
    request: serde_json::Value,
}

/// Does one step by `work`, or gives back what came of the same step before.
pub async fn post_process(
    step: Step<'_>,
    cx: &BuildCx,
    work: impl Future<Output = Result<Artifact>>,
) -> Result<Artifact> {
    let title = step.of.image_path().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
    let shown = Shown::begin(cx, &cx.build, "", step.kind, &title);
    let (result, cached) = match cx.replay.clone().filter(|_| cx.settings.is_live()) {
        None => (cx.scope.run(work).await, false),
        Some(run) => {
            cx.scope.run(pass(&step, &run, cx, work)).await.map_or_else(|e| (Err(e), false), |(a, c)| (Ok(a), c))
        }
    };
    shown.end(result.is_ok(), cached);
    if let Ok(artifact) = &result
        && artifact != step.of
        && cx.settings.is_live()
    {
        cx.ui.emit(artifact.event());
    }
    result.map_err(|error| goes_on(error, &step, cx).within(format_args!("{} of {title}", step.kind)))
}

/// Says what is left when a step fails, and how to go on from there.
fn goes_on(error: Error, step: &Step<'_>, cx: &BuildCx) -> Error {
    let is_a_mistake = matches!(error.kind(), Kind::Script | Kind::Cancelled | Kind::Exists);
    match step.of.image_path().filter(|path| !is_a_mistake && cx.settings.is_live() && path.exists()) {
        Some(path) if cx.replay.is_some() => error.hint(format!(
            "{} is as it was: run the script again, and what was done is not done again",
            path.display()
        )),
        Some(path) => error.hint(format!("{} is as it was", path.display())),
        None => error,
    }
}

async fn pass(
    step: &Step<'_>,
    run: &Arc<Replay>,
    cx: &BuildCx,
    work: impl Future<Output = Result<Artifact>>,
) -> Result<(Artifact, bool)> {
    let place = place(step, run, cx).await?;
    let owner = run.owner(&cx.build);
    match find(step, run, &place, &owner, cx).await? {
        Ok((record, artifact)) => {
            run.count_replayed(record.seconds);
            if step.removes_input {
                let files: Vec<PathBuf> = step.of.files.iter().map(|file| file.path.clone()).collect();
                let kept: Vec<PathBuf> = artifact.files.iter().map(|file| file.path.clone()).collect();
                blocking::run(move |_| {
                    files.iter().filter(|file| !kept.contains(file)).for_each(|file| atomic::remove(file));
                    Ok(())
                })
                .await?;
            }
            return Ok((artifact, true));
        }
        Err(why) => run.explain(step.kind, &why, cx),
    }
    let started = Instant::now();
    let artifact = work.await?;
    run.count_performed();
    let recorded = record(step, run, place, &owner, &artifact, started.elapsed().as_secs_f64(), cx).await;
    if let Err(error) = recorded {
        cx.ui.warn(format!("what came of {} cannot be kept, so that it will be done again: {error}", step.kind));
    }
    Ok((artifact, false))
}

/// Returns what a step is known by: the content of all that it reads, where that is, and what is asked for.
async fn place(step: &Step<'_>, run: &Replay, cx: &BuildCx) -> Result<Place> {
    let named = |path: &PathBuf| path.strip_prefix(&cx.settings.script_dir).unwrap_or(path).display().to_string();
    let mut inputs = Vec::new();
    for file in &step.of.files {
        inputs.push(serde_json::json!([named(&file.path), content::file(&file.path, cx).await?]));
    }
    let mut reads = Vec::new();
    for path in &step.particulars.reads {
        // What is not there is for the step itself to complain of.
        let digest = content::tree(path, cx).await.unwrap_or_default();
        reads.push(serde_json::json!([named(path), digest]));
    }
    let artifact = serde_json::json!({
        "files": inputs, "id": step.of.id, "kind": step.of.kind, "builder": step.of.builder, "metadata": step.of.metadata,
    });
    let before = Key::ROOT.next("artifact", &artifact).to_string();
    let request =
        serde_json::json!({ "options": step.options, "reads": reads, "build": &*cx.build, "artifact": artifact });
    let request = run.hide(&request, cx);
    Ok(Place {
        after: format!("artifact-{}", before.get(..32).unwrap_or(&before)),
        key: Key::ROOT.next(step.kind, &request),
        request,
    })
}

async fn find(
    step: &Step<'_>,
    run: &Arc<Replay>,
    place: &Place,
    owner: &Owner,
    cx: &BuildCx,
) -> Result<Result<(Record, Artifact), String>> {
    let (kind, adds_to) = (step.kind, step.particulars.adds_to.clone());
    let (run, owner, after, key) = (run.clone(), owner.clone(), place.after.clone(), place.key);
    let (script_dir, force, request) = (cx.settings.script_dir.clone(), cx.settings.force, place.request.clone());
    blocking::run(move |cancel| {
        let mut why = None;
        for record in run.records.find(&after, &key, &owner) {
            if !run.may_use(record.at) {
                why = Some("--fresh".to_owned());
                continue;
            }
            let outcome = run.opened(record.outcome.clone()).and_then(Outcome::decode::<Artifact>);
            let (Some(Ok(artifact)), Some(outputs)) = (outcome, &record.outputs) else {
                run.records.remove(&record);
                continue;
            };
            let from = std::path::Path::new(&record.script).parent().map(PathBuf::from).unwrap_or_default();
            let (artifact, outputs) = (artifact.moved_to(&from, &script_dir), outputs.under(&from, &script_dir));
            // What others add to is not brought back without what they added.
            let is_there = adds_to.as_ref().is_none_or(|path| path.exists());
            let brought = if is_there { run.bring(&outputs, force && adds_to.is_none(), cancel) } else { Ok(false) };
            match brought {
                Ok(true) => {
                    run.records.touch(&record);
                    return Ok(Ok((record, artifact)));
                }
                Ok(false) => why = Some("what it made is not kept any more".to_owned()),
                Err(error) => why = Some(error.to_string()),
            }
        }
        Ok(Err(match why {
            Some(why) => why,
            None if !run.choices.explain => String::new(),
            None => match run.records.own(&after, &owner).into_iter().find(|last| last.kind == kind) {
                Some(last) => explain::difference(&last, kind, &request, &run.volatile()),
                None => "the artifact is another one, or was never treated so".to_owned(),
            },
        }))
    })
    .await
}

async fn record(
    step: &Step<'_>,
    run: &Arc<Replay>,
    place: Place,
    owner: &Owner,
    artifact: &Artifact,
    seconds: f64,
    cx: &BuildCx,
) -> Result<()> {
    let made: Vec<PathBuf> = artifact
        .files
        .iter()
        .map(|file| file.path.clone())
        .filter(|path| !step.of.files.iter().any(|input| input.path == *path))
        .collect();
    let value = serde_json::to_value(artifact)
        .map_err(|e| Error::new(Kind::Internal, "an artifact cannot be written down").caused_by(e))?;
    let outcome = run.outcome(Ok(value), cx)?;
    let mut record =
        Record::new(owner, &place.after, place.key, (step.kind, String::new(), place.request), outcome, seconds);
    record.places.clone_from(&made);
    let (run, ui) = (run.clone(), cx.ui.clone());
    blocking::run(move |cancel| {
        let outputs = Some(run.files.keep(&made, &run.digests, ui.secrets(), cancel)?);
        run.records.write(&Record { outputs, ..record })
    })
    .await
}
