//! Finding the record of an operation, and saying why there is none that can be used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::explain;
use super::history::{History, Place};
use super::record::{Outcome, Record};
use crate::engine::operation::{Answer, Operation};
use crate::engine::{BuildCx, OperationOptions};
use crate::error::{Error, Kind, Result};
use crate::host::blocking;
use crate::ui::units;

/// An operation whose record is wanted.
pub struct Wanted<'a> {
    pub place: &'a Place,
    pub kind: &'static str,
    /// Without secrets.
    pub request: &'a serde_json::Value,
    pub options: &'a OperationOptions,
}

/// A record that can be used, and the result it gives.
pub struct Found<T> {
    pub record: Record,
    pub result: Result<T>,
}

impl History {
    /// Finds the record of an operation and brings back what it made on this host; else says why it must be done.
    pub async fn find<T: Answer>(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        operation: &Operation,
        cx: &BuildCx,
    ) -> Result<Found<T>, String> {
        if let Some(step) = cx.steps.iter().find(|step| self.run.begins_at(step)) {
            self.stop_replaying(format!("--from {step}"));
        }
        if let Some(why) = self.stopped() {
            return Err(why);
        }
        if wanted.options.cache == Some(false) {
            return Err("`cache = false`".into());
        }
        let (history, place) = (self.clone(), wanted.place.clone());
        let candidates =
            blocking::run(move |_| Ok(history.run.records.find(&place.before.id, &place.key, &history.owner)));
        let candidates = candidates.await.map_err(|e| e.to_string())?;
        let mut why = None;
        for record in candidates {
            match self.usable::<T>(record, &wanted, operation, cx).await {
                Ok(found) => {
                    if found.record.kind == "checkpoint" && self.run.begins_at(&found.record.title) {
                        self.stop_replaying(format!("--from {}", found.record.title));
                    }
                    return Ok(found);
                }
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        match why {
            Some(why) => Err(why),
            None => Err(self.missing(&wanted).await),
        }
    }

    /// Says how an operation differs from what was done in its place.
    pub async fn missing(self: &Arc<Self>, wanted: &Wanted<'_>) -> String {
        if !self.run.choices.explain {
            return String::new();
        }
        let (history, after) = (self.clone(), wanted.place.before.id.clone());
        let own = blocking::run(move |_| Ok(history.run.records.own(&after, &history.owner))).await;
        match own.unwrap_or_default().first() {
            Some(last) => explain::difference(last, wanted.kind, wanted.request, &self.run.volatile()),
            None => "no run has come here before".to_owned(),
        }
    }

    /// Says why an operation is not replayed, where that is asked for.
    pub fn explain(&self, operation: &Operation, why: &str, cx: &BuildCx) {
        let title = if operation.title.is_empty() { String::new() } else { format!(" `{}`", operation.title) };
        self.run.explain(&format!("{}{title}", operation.kind), why, cx);
    }

    async fn usable<T: Answer>(
        self: &Arc<Self>,
        record: Record,
        wanted: &Wanted<'_>,
        operation: &Operation,
        cx: &BuildCx,
    ) -> Result<Found<T>, String> {
        if !self.run.may_use(record.at) {
            return Err("--fresh".into());
        }
        let age = jiff::Timestamp::now().as_millisecond().saturating_sub(record.at);
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        if let Some(most) = wanted.options.max_age
            && age > most.0
        {
            let age = units::seconds(age.as_secs_f64());
            return Err(format!("it was done {age} ago, and `max_age` is {:?}", most.0));
        }
        let Some(result) = self.run.opened(record.outcome.clone()).and_then(Outcome::decode::<T>) else {
            self.run.records.remove(&record);
            return Err("its record cannot be read by this version of rimg, or with this user's key".into());
        };
        // Where a folder of scripts was moved, what they made moved with it.
        let from = Path::new(&record.script).parent().map(Path::to_owned).unwrap_or_default();
        let to = cx.settings.script_dir.clone();
        let result = result.map(|done| done.moved(&from, &to)).map_err(|error| error.field("cached", true));
        let places = result.as_ref().map(|done| done.outputs(operation)).unwrap_or_default();
        let (failed, history) = (result.is_err(), self.clone());
        let force = operation.kind != "finish" || cx.settings.force;
        let checked = blocking::run(move |cancel| {
            if failed && !history.run.records.goes_on(&record.id) {
                return Ok((record, Some("it failed in the last run".to_owned())));
            }
            if let Some(outputs) = &record.outputs {
                let pairs = record.places.iter().zip(&places);
                let outputs = pairs.fold(outputs.clone(), |outputs, (from, to)| outputs.under(from, to));
                if !history.run.bring(&outputs, force, cancel)? {
                    return Ok((record, Some("what it made on this host is not kept any more".to_owned())));
                }
            }
            history.run.records.touch(&record);
            Ok((record, None))
        });
        match checked.await {
            Ok((record, None)) => Ok(Found { record, result }),
            Ok((_, Some(why))) => Err(why),
            Err(error) if error.kind() == Kind::Exists => Err(in_the_way(&error)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// An output that is there and is another: the operation is done, and says so itself.
fn in_the_way(error: &Error) -> String {
    format!("what it made cannot be put in its place: {error}")
}
