//! What may be said of any operation: whether it is done here, when, how long, how often, and what its failure means.

use std::future::Future;
use std::time::Duration;

use serde::Deserialize;

use super::cx::BuildCx;
use super::options::{Any, Seconds, Value};
use super::schedule::Selection;
use crate::error::{Error, Kind, Result};
use crate::ui::event::Unit;

/// The first pause between two attempts; it doubles up to [`LAST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LAST_DELAY: Duration = Duration::from_secs(15);

/// The options that every operation has besides its own. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperationOptions {
    /// Globs of the names of builds in which it is done; default: all.
    pub only: Vec<String>,
    /// Globs of the names of builds in which it is not done.
    pub except: Vec<String>,
    /// Other values of its options, by the name of the build.
    #[serde(rename = "override")]
    pub by_build: Option<Any>,
    /// Whether its failure is a warning, and the failure its result.
    pub continue_on_error: bool,
    /// How long to wait before it; default 0.
    pub pause_before: Option<Seconds>,
    /// How long one attempt may take; default: no limit.
    pub timeout: Option<Seconds>,
    /// How many more attempts a failed one is followed by; default 0.
    pub max_retries: u32,
    /// Whether a recorded result of it may stand for doing it; false: it is done anew in every run.
    pub cache: Option<bool>,
    /// How old such a record may be; default: any age.
    pub max_age: Option<Seconds>,
}

/// What came of an operation with such options.
#[derive(Debug)]
pub enum Outcome<T> {
    Done(T),
    /// It is not for this build.
    Skipped,
    /// It failed, and that is no reason to stop.
    Failed(Error),
}

tokio::task_local! {
    static CURRENT: OperationOptions;
}

impl OperationOptions {
    /// Returns the options of the operation that is being done.
    pub fn current() -> OperationOptions {
        CURRENT.try_with(OperationOptions::clone).unwrap_or_default()
    }

    /// Does `work` with these options as the current ones: the door limits and repeats its operations by them. What they
    /// do not say of records holds as it did outside.
    pub async fn enter<F: Future>(mut self, work: F) -> F::Output {
        let outer = OperationOptions::current();
        self.cache = self.cache.or(outer.cache);
        self.max_age = self.max_age.or(outer.max_age);
        // What is done in an operation is a large future, and scopes lie within each other.
        CURRENT.scope(self, Box::pin(work)).await
    }

    /// Replaces options by what `override` has for a build; `of` is whose options they are.
    pub fn overridden(of: &str, value: Value, build: &str) -> Result<Value> {
        let Value::Map(mut entries) = value else { return Ok(value) };
        let Some(at) = entries.iter().position(|(name, _)| name == "override") else { return Ok(Value::Map(entries)) };
        let (_, builds) = entries.remove(at);
        let wrong = |what: &str, found: &Value| {
            Error::new(
                Kind::Option,
                format!("{of}: option `override{what}`: expected a table, found {}", found.describe()),
            )
            .hint("override = { [\"the build's name\"] = { option = value } }")
        };
        let Value::Map(builds) = builds else { return Err(wrong("", &builds)) };
        for (name, options) in builds {
            let Value::Map(options) = options else { return Err(wrong(&format!(".{name}"), &options)) };
            if name == build {
                entries.retain(|(name, _)| !options.iter().any(|(other, _)| other == name));
                entries.extend(options);
            }
        }
        Ok(Value::Map(entries))
    }

    /// Tells whether it is to be done in a build; `of` is whose options these are.
    pub fn includes(&self, of: &str, build: &str) -> Result<bool> {
        let selection = Selection::named(("option `only`", &self.only), ("option `except`", &self.except));
        selection.map(|selection| selection.includes(build)).map_err(|e| e.within(of))
    }

    /// Returns the same for what follows the first of several operations that a script asked for as one.
    #[must_use]
    pub fn after_first(self) -> OperationOptions {
        OperationOptions { pause_before: None, ..self }
    }

    /// Does `work`, unless it is not for this build; whether its failure ends anything is said here.
    pub async fn apply<T>(self, of: &str, cx: &BuildCx, work: impl Future<Output = Result<T>>) -> Result<Outcome<T>> {
        if !self.begins(of, cx)? {
            return Ok(Outcome::Skipped);
        }
        let goes_on = self.continue_on_error;
        match self.enter(work).await {
            Ok(done) => Ok(Outcome::Done(done)),
            Err(error) if goes_on && may_be_passed_over(error.kind()) => {
                cx.ui.warn(format!("{error}; going on (continue_on_error)"));
                Ok(Outcome::Failed(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Says whether it is to be done in this build.
    pub fn begins(&self, of: &str, cx: &BuildCx) -> Result<bool> {
        let included = self.includes(of, &cx.build)?;
        if !included {
            cx.ui.info(format!("Skipped: {of}, which is not for the build {}", cx.build));
        }
        Ok(included)
    }

    /// Waits as long as is to be waited before it is done; `of` is what these options are of.
    pub async fn pause(&self, of: &str, cx: &BuildCx) {
        if let Some(Seconds(time)) = self.pause_before.filter(|time| !time.0.is_zero() && cx.settings.is_live()) {
            let _shown = cx.ui.progress(format!("Pausing {time:?} before {of}"), None, Unit::Spinner);
            tokio::time::sleep(time).await;
        }
    }
}

/// Tells whether `continue_on_error` is about such errors; a wrong option or a dead machine stays what it is.
pub fn may_be_passed_over(kind: Kind) -> bool {
    !matches!(kind, Kind::Cancelled | Kind::Option | Kind::Usage | Kind::Machine | Kind::Internal)
}

/// Makes the first attempt and up to `more` others; what no further attempt can mend fails at once.
pub(super) async fn repeated<T, Fut>(cx: &BuildCx, more: u32, mut attempt: impl FnMut() -> Fut) -> Result<T>
where
    Fut: Future<Output = Result<T>>,
{
    let mut delay = FIRST_DELAY;
    for left in (0..more).rev() {
        match attempt().await {
            Err(error) if may_pass(error.kind()) => {
                cx.ui.warn(format!("{error}; trying again in {delay:?}, {left} more attempts after that"));
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(LAST_DELAY);
            }
            result => return result,
        }
    }
    attempt().await
}

fn may_pass(kind: Kind) -> bool {
    matches!(kind, Kind::Command | Kind::Timeout | Kind::Connect | Kind::Network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::decode;

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    #[test]
    fn an_override_replaces_options_in_its_build_alone() {
        let value = || {
            let web = map(&[("timeout", Value::Int(9)), ("sudo", Value::Bool(true))]);
            map(&[("timeout", Value::Int(1)), ("override", map(&[("web", web)]))])
        };
        let of = |build: &str| OperationOptions::overridden("vm:run", value(), build).unwrap();
        assert_eq!(of("web"), map(&[("timeout", Value::Int(9)), ("sudo", Value::Bool(true))]));
        assert_eq!(of("db"), map(&[("timeout", Value::Int(1))]));
        for wrong in [Value::Int(1), map(&[("db", Value::Int(1))])] {
            let error = OperationOptions::overridden("vm:run", map(&[("override", wrong)]), "web").unwrap_err();
            assert!(error.message().contains("expected a table, found the number 1"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_said_of_records_holds_for_all_inside_that_says_nothing_else() {
        let outer = OperationOptions {
            cache: Some(false),
            max_age: Some(Seconds(Duration::from_secs(60))),
            max_retries: 3,
            ..OperationOptions::default()
        };
        let inner = OperationOptions { max_age: Some(Seconds(Duration::from_secs(1))), ..OperationOptions::default() };
        let current = outer.enter(inner.enter(async { OperationOptions::current() })).await;
        assert_eq!((current.cache, current.max_age, current.max_retries), (Some(false), Seconds::parse("1s"), 0));
    }

    #[test]
    fn builds_are_chosen_by_glob() {
        let options: OperationOptions =
            decode("x", map(&[("only", Value::Str("web-*".into())), ("except", Value::Str("web-old".into()))]))
                .unwrap();
        let chosen = ["web-1", "web-old", "db"].map(|build| options.includes("vm:run", build).unwrap());
        assert_eq!(chosen, [true, false, false]);
        let wrong = OperationOptions { only: vec!["a[".into()], ..OperationOptions::default() };
        let error = wrong.includes("vm:run", "web").unwrap_err();
        assert!(error.message().starts_with("vm:run: option `only`"), "{error}");
    }
}
