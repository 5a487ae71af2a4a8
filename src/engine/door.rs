//! The door: every operation on a machine goes through it, and is replayed there or done.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use super::cx::BuildCx;
use super::limits::{watch_health, within_limit};
use super::operation::{Answer, Operation};
use super::operation_options::{OperationOptions, repeated};
use super::replay::history::{History, Place, Redo, Step};
use super::replay::lookup::{Found, Wanted};
use super::replay::record::{Outcome, Record};
use super::session::Session;
use super::shown::Shown;
use crate::error::{Error, Kind, Result};
use crate::host::blocking;

impl Session {
    /// Does one operation: shows it; gives its recorded result back where it was done before and nothing that it depends on
    /// has changed; else does it, ends it when the machine dies, the scope is cancelled or its time is up, makes as many
    /// attempts as its [`OperationOptions`] say, and writes down what came of it. Puts machine and operation into the
    /// error. On a pretended machine the action is not run.
    ///
    /// The action owns what it needs: it may be done again, on another machine, long after this returned.
    pub async fn perform<T, Fut>(
        self: &Arc<Self>,
        operation: Operation,
        action: impl Fn(Arc<Session>) -> Fut + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Answer + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.perform_after(operation, || Ok(()), action).await
    }

    /// The same, with a check of what can be known beforehand, made before anything live.
    pub(super) async fn perform_after<T, Fut>(
        self: &Arc<Self>,
        operation: Operation,
        check: impl Fn() -> Result<()>,
        action: impl Fn(Arc<Session>) -> Fut + Send + Sync + 'static,
    ) -> Result<T>
    where
        T: Answer + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        if self.has_ended() && operation.kind != "finish" {
            return Err(self.describe(
                &operation,
                Error::new(Kind::Machine, "the machine has been shut down or finished")
                    .hint("do everything that needs the machine before vm:shutdown() and vm:finish()"),
            ));
        }
        let cx = BuildCx::current().unwrap_or_else(|| self.cx.clone());
        let shown = Shown::begin(&cx, &self.cx.build, self.name(), operation.kind, &operation.title);
        let (result, cached) = if self.is_pretended() {
            (Ok(T::done(&operation)), false)
        } else {
            let options = OperationOptions::current();
            match &self.history {
                None => (Box::pin(self.do_without_records(&cx, &operation, &options, &action)).await, false),
                Some(history) => Box::pin(self.pass(&cx, history, &operation, options, &check, Arc::new(action))).await,
            }
        };
        shown.end(result.is_ok(), cached);
        result.map_err(|error| self.describe(&operation, error))
    }

    /// Does the action, as often as the person at the terminal says.
    async fn do_without_records<T, Fut>(
        self: &Arc<Self>,
        cx: &BuildCx,
        operation: &Operation,
        options: &OperationOptions,
        action: &(impl Fn(Arc<Session>) -> Fut + Send + Sync),
    ) -> Result<T>
    where
        T: Answer,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        loop {
            match self.act(cx, operation, options, action).await {
                Err(error) if self.tries_again(operation, &error, None, cx).await? => {}
                result => return result,
            }
        }
    }

    /// Does the action, within all that limits it.
    async fn act<T, Fut>(
        self: &Arc<Self>,
        cx: &BuildCx,
        operation: &Operation,
        options: &OperationOptions,
        action: &(impl Fn(Arc<Session>) -> Fut + Send + Sync),
    ) -> Result<T>
    where
        T: Answer,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let machine = self.live()?;
        let limit = match operation.limits_itself {
            true => None,
            false => options.timeout.map(|limit| limit.0).or(operation.timeout),
        };
        // Actions are large futures, and a script may have hundreds of them in flight.
        let attempts = async {
            options.pause(operation.kind, cx).await;
            repeated(cx, options.max_retries, || within_limit(limit, Box::pin(action(self.clone())))).await
        };
        let watched = watch_health(machine.health(), operation.survives_death, attempts);
        cx.scope.run(watched).await
    }

    /// Replays an operation or does it; tells which.
    async fn pass<T, Fut, A>(
        self: &Arc<Self>,
        cx: &BuildCx,
        history: &Arc<History>,
        operation: &Operation,
        options: OperationOptions,
        check: &impl Fn() -> Result<()>,
        action: Arc<A>,
    ) -> (Result<T>, bool)
    where
        T: Answer + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
        A: Fn(Arc<Session>) -> Fut + Send + Sync + 'static,
    {
        let redo = redo(operation, &options, &action);
        let request = history.run.hide(&operation.request, cx);
        if operation.is_aside || self.is_unrecorded() {
            let done = async {
                self.wake(history, cx).await?;
                // Never said to be done: who was let in may have done anything.
                let place = history.place(&cx.lane, operation.kind, &request);
                let _unknown = history.begin(&place);
                self.act(cx, operation, &options, &*action).await
            };
            return (done.await, false);
        }
        if !history.is_live() {
            // While the machine is woken the steps must not become more.
            let asleep = history.waking.lock().await;
            if !history.is_live() {
                let place = history.place(&cx.lane, operation.kind, &request);
                let wanted = Wanted { place: &place, kind: operation.kind, request: &request, options: &options };
                match history.find::<T>(wanted, operation, cx).await {
                    Ok(Found { record, result }) => {
                        history.run.count_replayed(record.seconds);
                        history.replayed(&place, Step { record: Arc::new(record), redo });
                        return (result, true);
                    }
                    Err(why) => history.explain(operation, &why, cx),
                }
            }
            drop(asleep);
            let woken = match check() {
                Ok(()) => self.wake(history, cx).await,
                Err(error) => Err(error),
            };
            if let Err(error) = woken {
                return (Err(error), false);
            }
        }
        let place = history.place(&cx.lane, operation.kind, &request);
        let (doing, result, seconds) = loop {
            let doing = history.begin(&place);
            let started = Instant::now();
            let result = self.act(cx, operation, &options, &*action).await;
            if cx.scope.is_cancelled() || result.as_ref().is_err_and(|error| error.kind() == Kind::Cancelled) {
                return (result, false);
            }
            let Err(error) = &result else { break (doing, result, started.elapsed().as_secs_f64()) };
            // With other operations going on, nobody could say what the machine is to return to.
            let history = history.is_alone().then_some(history);
            match self.tries_again(operation, error, history, cx).await {
                Ok(true) => doing.taken_back(),
                Ok(false) => break (doing, result, started.elapsed().as_secs_f64()),
                Err(error) => return (Err(error), false),
            }
        };
        history.run.count_performed();
        let failed = result.is_err();
        match record(history, &place, operation, request, &result, seconds, cx).await {
            Ok(record) => {
                doing.done(Step { record: Arc::new(record), redo }, seconds);
                if !failed && !self.has_ended() && !operation.survives_death && history.is_worth_saving() {
                    self.save(history, None, None, cx).await;
                }
            }
            Err(error) => {
                let what = "what was done cannot be written down; nothing after it will be replayed";
                cx.ui.warn(format!("{what}: {error}"));
            }
        }
        (result, false)
    }

    /// Names the machine and the operation.
    pub(super) fn title_of(&self, operation: &Operation) -> String {
        match operation.title.as_str() {
            "" => format!("{}: {}", self.name(), operation.kind),
            title => format!("{}: {} `{title}`", self.name(), operation.kind),
        }
    }

    pub(super) fn describe(&self, operation: &Operation, error: Error) -> Error {
        error
            .within(self.title_of(operation))
            .field("machine", self.name().to_owned())
            .field("operation", operation.kind)
    }
}

/// Makes what does the operation again; none where that would change nothing.
fn redo<T, Fut, A>(operation: &Operation, options: &OperationOptions, action: &Arc<A>) -> Option<Redo>
where
    T: Answer + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
    A: Fn(Arc<Session>) -> Fut + Send + Sync + 'static,
{
    if operation.only_reads {
        return None;
    }
    // What was waited for before it came about when it was done first.
    let options = OperationOptions { pause_before: None, ..options.clone() };
    let (operation, action) = (operation.clone(), action.clone());
    Some(Arc::new(move |session, cx| {
        let (operation, options, action) = (operation.clone(), options.clone(), action.clone());
        Box::pin(async move {
            let done =
                options.clone().enter(async { session.act(&cx, &operation, &options, &*action).await.map(drop) });
            cx.clone().enter(done).await
        })
    }))
}

/// Writes down what came of an operation.
async fn record<T: Answer>(
    history: &Arc<History>,
    place: &Place,
    operation: &Operation,
    request: serde_json::Value,
    result: &Result<T>,
    seconds: f64,
    cx: &BuildCx,
) -> Result<Record> {
    let run = history.run.clone();
    let value = match result {
        Ok(done) => Ok(serde_json::to_value(done).map_err(|e| {
            Error::new(Kind::Internal, format!("the result of {} cannot be written", operation.kind)).caused_by(e)
        })?),
        Err(error) => Err(error),
    };
    let outputs = result.as_ref().map(|done| done.outputs(operation)).unwrap_or_default();
    let of = (operation.kind, cx.ui.secrets().mask(&operation.title), request);
    let outcome = run.outcome(value, cx)?;
    let mut record = Record::new(&history.owner, &place.before.id, place.key, of, outcome, seconds);
    record.places.clone_from(&outputs);
    let (survivors, ui) = (history.survivors(), cx.ui.clone());
    blocking::run(move |cancel| {
        if !outputs.is_empty() {
            record.outputs = Some(run.files.keep(&outputs, &run.digests, ui.secrets(), cancel)?);
        }
        for id in survivors {
            run.records.mark(&id)?;
        }
        run.records.write(&record)?;
        Ok(record)
    })
    .await
}

impl Outcome {
    /// Returns the result that was written down; none where it is not of that type.
    pub(super) fn decode<T: Answer>(self) -> Option<Result<T>> {
        match self {
            Outcome::Done(value) => serde_json::from_value(value).ok().map(Ok),
            Outcome::Failed(failure) => Some(Err(failure.into_error())),
            Outcome::Sealed(_) => None,
        }
    }
}
