//! `rimg.step`, `rimg.timeout`, `rimg.parallel`, `rimg.retry`: the native half; the other half is `lua/prelude.lua`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mlua::{Function, Lua, MultiValue, Table, UserData, Value};
use serde::Deserialize;

use crate::engine::operation_options::may_be_passed_over;
use crate::engine::{BuildCx, OperationOptions, Seconds};
use crate::error::{Error, Kind};
use crate::script::error::{argument_error, find, lua_error};
use crate::script::{state, value};
use crate::ui::Event;

/// The options of `rimg.parallel(items, fn, options)`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParallelOptions {
    /// How many calls may run at once; the default is all of them.
    pub limit: Option<u32>,
}

/// The options of `rimg.retry(options, fn)`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryOptions {
    /// How often the function is called at most; 3 unless said otherwise.
    pub attempts: Option<u32>,
    /// How long to wait before the second call; 1 s unless said otherwise.
    pub backoff: Option<Seconds>,
    /// What each further wait is multiplied with; 2 unless said otherwise.
    pub factor: Option<f64>,
    /// The longest wait; 1 min unless said otherwise.
    pub max_backoff: Option<Seconds>,
    /// The kinds of error worth another call (or a function of the error that says so); the default is all.
    pub on: Option<Vec<String>>,
}

struct RetryPlan(RetryOptions);

impl UserData for RetryPlan {
    fn add_fields<F: mlua::UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("attempts", |_, plan| Ok(plan.0.attempts.unwrap_or(3)));
    }
}

impl RetryPlan {
    /// Returns the wait after the given attempt, which counts from 1.
    fn wait(&self, attempt: u32) -> Duration {
        let first = self.0.backoff.map_or(Duration::from_secs(1), |s| s.0);
        let longest = self.0.max_backoff.map_or(Duration::from_secs(60), |s| s.0).max(first);
        let factor = self.0.factor.unwrap_or(2.0);
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = first.as_secs_f64() * factor.powi(exponent);
        Duration::try_from_secs_f64(seconds.clamp(0.0, longest.as_secs_f64())).unwrap_or(longest)
    }
}

fn retry_plan(lua: &Lua, options: Value) -> mlua::Result<mlua::AnyUserData> {
    let options: RetryOptions = value::decode_table("rimg.retry", &options)?;
    if options.attempts == Some(0) {
        return Err(argument_error("rimg.retry", "option `attempts`: expected 1 or more, found 0"));
    }
    if options.factor.is_some_and(|f| !f.is_finite() || f < 0.0) {
        return Err(argument_error("rimg.retry", "option `factor`: expected a positive number"));
    }
    lua.create_userdata(RetryPlan(options))
}

fn may_retry(lua: &Lua, (plan, error): (mlua::UserDataRef<RetryPlan>, Value)) -> mlua::Result<bool> {
    if !state::of(lua)?.settings.is_live() {
        // A pretended machine answers the same every time.
        return Ok(false);
    }
    let kind = match &error {
        Value::Error(error) => find(error).map_or(Kind::Script, Error::kind).as_str().to_owned(),
        Value::Table(table) => table.get::<Option<String>>("kind")?.unwrap_or_else(|| "script".into()),
        _ => "script".to_owned(),
    };
    if kind == Kind::Cancelled.as_str() {
        return Ok(false);
    }
    Ok(plan.0.on.as_ref().is_none_or(|kinds| kinds.contains(&kind)))
}

async fn retry_wait(lua: Lua, (plan, attempt, error): (mlua::UserDataRef<RetryPlan>, u32, String)) -> mlua::Result<()> {
    let cx = state::of(&lua)?.current();
    let (wait, attempts) = (plan.wait(attempt), plan.0.attempts.unwrap_or(3));
    drop(plan);
    let first_line = error.lines().next().unwrap_or_default().to_owned();
    cx.ui.warn(format!("attempt {attempt} of {attempts} failed, again in {wait:.1?}: {first_line}"));
    if cx.settings.is_live() {
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

async fn step(lua: Lua, (name, trampoline, args): (String, Function, MultiValue)) -> mlua::Result<MultiValue> {
    let state = state::of(&lua)?;
    let cx = state.current();
    let (build, id, started) = (cx.build.to_string(), cx.ui.next_id(), Instant::now());
    cx.ui.emit(Event::StepStarted { build: build.clone(), id, parent: cx.step, name: name.clone() });
    let mut steps = cx.steps.as_ref().clone();
    steps.push(name.clone());
    let inner = BuildCx { step: Some(id), steps: steps.into(), ..cx.clone() };
    let results = inner.enter(trampoline.call_async::<MultiValue>(args)).await;
    let ok = matches!(&results, Ok(values) if matches!(values.front(), Some(Value::Boolean(true))));
    cx.ui.emit(Event::StepFinished { build, id, name, ok, seconds: started.elapsed().as_secs_f64() });
    results
}

async fn timeout(lua: Lua, (limit, trampoline, args): (Value, Function, MultiValue)) -> mlua::Result<MultiValue> {
    let limit = duration("rimg.timeout", &limit)?;
    let cx = state::of(&lua)?.current().nested();
    match tokio::time::timeout(limit, cx.enter(trampoline.call_async::<MultiValue>(args))).await {
        Ok(results) => results,
        Err(_) => Err(lua_error(
            Error::new(Kind::Timeout, format!("rimg.timeout: not done within {limit:?}"))
                .hint("what was going on has been cancelled; give it more time or find out what it waits for"),
        )),
    }
}

async fn sleep(lua: Lua, length: Value) -> mlua::Result<()> {
    let length = duration("rimg.sleep", &length)?;
    if state::of(&lua)?.settings.is_live() {
        tokio::time::sleep(length).await;
    }
    Ok(())
}

/// Takes a duration argument.
pub fn duration(of: &str, limit: &Value) -> mlua::Result<Duration> {
    #[derive(Deserialize)]
    struct Only {
        duration: Seconds,
    }
    let table = crate::engine::Value::Map(vec![("duration".into(), value::from_lua(limit))]);
    crate::engine::options::decode::<Only>(of, table).map(|only| only.duration.0).map_err(lua_error)
}

/// Calls `work(1)` … `work(count)` side by side; the first error cancels the others and is given back.
async fn parallel(
    lua: Lua,
    (count, options, trampoline, work): (i64, Value, Function, Function),
) -> mlua::Result<MultiValue> {
    let options: ParallelOptions = value::decode_table("rimg.parallel", &options)?;
    let limit = options.limit.map_or(usize::MAX, |n| n.max(1) as usize);
    let cx = state::of(&lua)?.current();
    let fork = cx.ui.next_id();
    let mut waiting = 1..=count;
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < limit {
            let Some(index) = waiting.next() else { break };
            let cx = BuildCx { lane: cx.lane.branch(fork, &index.to_string()), ..cx.clone() };
            running.push(cx.enter(trampoline.call_async::<MultiValue>((work.clone(), index))));
        }
        let Some(results) = running.next().await else { break };
        let results = results?;
        if !matches!(results.front(), Some(Value::Boolean(true))) {
            return Ok(results);
        }
    }
    Ok(MultiValue::from_iter([Value::Boolean(true)]))
}

/// Orders the keys of a table: numbers by size, then everything else by its text.
fn key_less(_: &Lua, (a, b): (Value, Value)) -> mlua::Result<bool> {
    let rank = |value: &Value| match value {
        Value::Integer(_) | Value::Number(_) => 0,
        Value::String(_) => 1,
        _ => 2,
    };
    Ok(match (&a, &b) {
        (Value::Integer(a), Value::Integer(b)) => a < b,
        (Value::String(a), Value::String(b)) => *a.as_bytes() < *b.as_bytes(),
        _ if rank(&a) != rank(&b) => rank(&a) < rank(&b),
        _ => match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => a < b,
            _ => a.to_pointer() < b.to_pointer(),
        },
    })
}

/// Names a function that was given no name: as its source line calls it, else where it is defined.
fn function_name(lua: &Lua, function: Value) -> mlua::Result<String> {
    let Value::Function(function) = function else { return Ok("provisioner".into()) };
    let info = function.info();
    let (Some(source), Some(line)) = (info.short_src, info.line_defined) else { return Ok("provisioner".into()) };
    let state = state::of(lua)?;
    let sources = state.sources.borrow();
    let text = sources.get(&source).and_then(|text| text.lines().nth(line.saturating_sub(1)));
    Ok(text.and_then(defined_name).map_or_else(|| format!("{source}:{line}"), str::to_owned))
}

/// Finds the name in `local function NAME(` and `NAME = function(`.
fn defined_name(line: &str) -> Option<&str> {
    let is_name = |c: char| c.is_alphanumeric() || "_.:".contains(c);
    let (before, after) = line.split_once("function")?;
    let name = match after.trim_start().split_once('(') {
        Some(("", _)) => before.trim_end().strip_suffix('=')?.trim_end().rsplit(|c| !is_name(c)).next()?,
        Some((name, _)) => name.trim_end(),
        None => return None,
    };
    let short = name.rsplit(['.', ':']).next()?;
    (!short.is_empty() && name.chars().all(is_name)).then_some(short)
}

/// Decodes the options of `vm:apply(options, provisioner)`, and waits as long as they say; nothing where it is not for
/// this build.
async fn operation_plan(lua: Lua, (options, name): (Value, String)) -> mlua::Result<Option<Table>> {
    let of = "vm:apply";
    let cx = state::of(&lua)?.current();
    let table = OperationOptions::overridden(of, value::from_lua(&options), &cx.build).map_err(lua_error)?;
    let options: OperationOptions = crate::engine::options::decode(of, table).map_err(lua_error)?;
    if !options.begins(&name, &cx).map_err(lua_error)? {
        return Ok(None);
    }
    let pause = async {
        options.pause(&name, &cx).await;
        Ok(())
    };
    cx.scope.run(pause).await.map_err(lua_error)?;
    let plan = lua.create_table()?;
    plan.set("timeout", options.timeout.map(|limit| limit.0.as_secs_f64()))?;
    plan.set("attempts", options.max_retries.saturating_add(1))?;
    plan.set("cache", options.cache)?;
    plan.set("max_age", options.max_age.map(|age| age.0.as_secs_f64()))?;
    plan.set("continue_on_error", options.continue_on_error)?;
    Ok(Some(plan))
}

/// Calls a function in which operations make use of records as the options of `vm:apply` say.
async fn recorded(
    _: Lua,
    (cache, max_age, trampoline, args): (Option<bool>, Option<f64>, Function, MultiValue),
) -> mlua::Result<MultiValue> {
    let max_age = max_age.and_then(|age| Duration::try_from_secs_f64(age).ok()).map(Seconds);
    let options = OperationOptions { cache, max_age, ..OperationOptions::default() };
    options.enter(trampoline.call_async::<MultiValue>(args)).await
}

/// Turns a provisioner's failure into a warning and a result; nothing where it is of the kind that ends a build.
fn pass_over(lua: &Lua, (name, error): (String, Value)) -> mlua::Result<Option<Value>> {
    let error = match &error {
        Value::Error(error) => match find(error) {
            Some(ours) => ours.clone(),
            None => Error::new(Kind::Script, error.to_string()),
        },
        other => Error::new(Kind::Script, other.to_string()?),
    };
    if !may_be_passed_over(error.kind()) {
        return Ok(None);
    }
    let warning = format!("{name}: {error}; going on (continue_on_error)");
    state::of(lua)?.current().ui.warn(warning);
    super::machine::failure(lua, &error).map(Some)
}

/// Adds the native halves to the table the prelude is given.
pub fn native(lua: &Lua, native: &Table) -> mlua::Result<()> {
    native.set("step", lua.create_async_function(step)?)?;
    native.set("timeout", lua.create_async_function(timeout)?)?;
    native.set("parallel", lua.create_async_function(parallel)?)?;
    native.set("key_less", lua.create_function(key_less)?)?;
    native.set("operation_plan", lua.create_async_function(operation_plan)?)?;
    native.set("recorded", lua.create_async_function(recorded)?)?;
    native.set("pass_over", lua.create_function(pass_over)?)?;
    native.set("retry_plan", lua.create_function(retry_plan)?)?;
    native.set("may_retry", lua.create_function(may_retry)?)?;
    native.set("retry_wait", lua.create_async_function(retry_wait)?)?;
    native.set("function_name", lua.create_function(function_name)?)?;
    Ok(())
}

/// Adds the whole functions to the `rimg` table.
pub fn register(lua: &Lua, rimg: &Table, flow: &Table) -> mlua::Result<()> {
    rimg.set("sleep", lua.create_async_function(sleep)?)?;
    for name in ["step", "timeout", "parallel", "retry"] {
        rimg.set(name, flow.get::<Function>(name)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_what_its_source_line_says() {
        assert_eq!(defined_name("local function web_server(vm)"), Some("web_server"));
        assert_eq!(defined_name("function M.install (vm)"), Some("install"));
        assert_eq!(defined_name("  local go = function(vm)"), Some("go"));
        assert_eq!(defined_name("vm:apply(function(vm)"), None);
        assert_eq!(defined_name("return {"), None);
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        let plan = RetryPlan(RetryOptions {
            backoff: Some(Seconds(Duration::from_secs(2))),
            max_backoff: Some(Seconds(Duration::from_secs(5))),
            ..RetryOptions::default()
        });
        let waits: Vec<_> = (1..5).map(|n| plan.wait(n).as_secs()).collect();
        assert_eq!(waits, [2, 4, 5, 5]);
    }
}
