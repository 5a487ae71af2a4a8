//! Taking checkpoints of a machine, and when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::cx::BuildCx;
use super::operation::Operation;
use super::replay::checkpoints::{Begun, Meta};
use super::replay::history::{History, Step};
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::host::blocking;
use crate::ui::units;

/// How long the end of a build waits for a checkpoint that is being written, which a busy host may put off; and how long
/// when the run is cancelled.
const LAST_WRITING: Duration = Duration::from_secs(45);
const CANCELLED_WRITING: Duration = Duration::from_secs(3);

impl Session {
    /// `vm:checkpoint`: keeps the machine as it is now, so that a later run goes on from here at most.
    pub async fn checkpoint(self: &Arc<Self>, name: &str) -> Result<()> {
        let operation = Operation::new("checkpoint", name, serde_json::json!({ "name": name })).only_reads();
        self.perform(operation, |_| async { Ok(()) }).await?;
        self.save_here(Some(name.to_owned())).await;
        Ok(())
    }

    /// Keeps the machine as it is before others go on from it.
    pub async fn checkpoint_for_forks(self: &Arc<Self>, names: &[String]) -> Result<()> {
        if !self.is_pretended() {
            let (history, _) = self.forkable()?;
            let lane = BuildCx::current().map(|cx| cx.lane).unwrap_or_default();
            if history.is_branch(&lane) {
                let message =
                    format!("{}: fork: other branches of rimg.parallel may be working on this machine", self.name());
                return Err(Error::new(Kind::Script, message).hint("fork it before rimg.parallel, or after"));
            }
        }
        let title = names.join(", ");
        let operation = Operation::new("fork", title, serde_json::json!({ "names": names })).only_reads();
        self.perform(operation, |_| async { Ok(()) }).await?;
        self.save_here(None).await;
        if let Some(history) = &self.history {
            history.written().await;
        }
        Ok(())
    }

    async fn save_here(self: &Arc<Self>, name: Option<String>) {
        if let Some(history) = self.history.as_ref().filter(|history| history.is_live()) {
            let cx = BuildCx::current().unwrap_or_else(|| self.cx.clone());
            self.save(history, name, None, &cx).await;
        }
    }

    /// Takes a checkpoint of the machine as it is after its last step. That one cannot be taken is no reason to fail: it is
    /// said once. `alone` is let go of when it is written.
    pub(super) async fn save(
        self: &Arc<Self>,
        history: &Arc<History>,
        name: Option<String>,
        alone: Option<std::fs::File>,
        cx: &BuildCx,
    ) {
        history.written().await;
        let Some(step) = history.settled() else {
            if name.is_some() {
                cx.ui.warn("no checkpoint is taken while other operations on the machine are going on");
            }
            return;
        };
        if !history.saves() || history.run.checkpoints.exists(&step.record.id, history.builder) {
            return;
        }
        if let Err(error) = self.try_save(history, &step, name, alone).await
            && !cx.scope.is_cancelled()
        {
            give_up(history, &error, cx);
        }
    }

    async fn try_save(
        &self,
        history: &Arc<History>,
        step: &Step,
        name: Option<String>,
        alone: Option<std::fs::File>,
    ) -> Result<()> {
        let machine = self.live()?;
        let Some(checkpoints) = machine.checkpoints() else {
            history.stop_saving();
            return Ok(());
        };
        let started = Instant::now();
        let (run, id) = (history.run.clone(), step.record.id.clone());
        let begun = Arc::new(blocking::run(move |_| run.checkpoints.begin(&id)).await?);
        history.keep(begun.clone());
        let saving = checkpoints.save(begun.folder(), &self.cx).await?;
        let paused = saving.paused.as_secs_f64();
        let written = CancellationToken::new();
        history.saving(written.clone());
        let meta = Meta {
            id: step.record.id.clone(),
            parent: history.parent(),
            builder: history.builder.to_owned(),
            state: serde_json::Value::Null,
            name,
            title: step.record.named(),
            size: 0,
            cost: 0.0,
            at: jiff::Timestamp::now().as_second(),
            script: history.owner.script.clone(),
            build: history.owner.build.clone(),
        };
        let (history, cx) = (history.clone(), self.cx.clone());
        let done = written.clone().drop_guard();
        let task = tokio::spawn(async move {
            let (_done, _alone) = (done, alone);
            let ended = async {
                let saved = saving.rest.await?;
                let cost = started.elapsed().as_secs_f64();
                let delay = saved.delayed.as_secs_f64();
                let meta = Meta { state: saved.state, cost, ..meta };
                let held = commit(&history, begun, meta).await?;
                cx.ui.debug(format!(
                    "checkpoint after {}: the machine stood still for {paused:.3} s, lost {delay:.3} s in all, {} written in {cost:.2} s",
                    held.meta().title,
                    units::size(held.meta().size)
                ));
                history.saved(cost, delay, held);
                Ok::<_, Error>(())
            };
            if let Err(error) = ended.await {
                give_up(&history, &error, &cx);
            }
        });
        let (abort, run) = (task.abort_handle(), self.cx.scope.outermost().clone());
        self.cx.resources.enter_memory("checkpoint", step.record.id.clone(), move || async move {
            // A build that fails soon after it goes on from it the next time, also where its failure cancels others.
            let cancelled = async {
                run.cancelled().await;
                tokio::time::sleep(CANCELLED_WRITING).await;
            };
            tokio::select! {
                () = written.cancelled() => {}
                () = tokio::time::sleep(LAST_WRITING) => {}
                () = cancelled => {}
            }
            abort.abort();
            written.cancelled().await;
            Ok(())
        });
        Ok(())
    }
}

/// Says once that no checkpoints can be taken, and takes none from now on.
fn give_up(history: &History, error: &Error, cx: &BuildCx) {
    if history.saves() && !cx.scope.is_cancelled() {
        history.stop_saving();
        cx.ui.warn(format!("no checkpoints of this machine any more: {error}"));
    }
}

async fn commit(history: &Arc<History>, begun: Arc<Begun>, meta: Meta) -> Result<super::replay::checkpoints::Held> {
    let run = history.run.clone();
    history.forget(&begun);
    let begun = Arc::try_unwrap(begun)
        .map_err(|_| Error::new(Kind::Internal, "a checkpoint was completed while it was in use"))?;
    blocking::run(move |_| run.checkpoints.commit(begun, &meta)).await
}
