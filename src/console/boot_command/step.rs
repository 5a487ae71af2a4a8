//! The steps of a boot command.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::typist::check;
use crate::console::expect::{ExpectOptions, Expectation, Place};
use crate::engine::options::{Any, Callback, TextOrFunction, decode};
use crate::engine::{Seconds, Value, placeholders};
use crate::error::{Error, Kind, Result};

/// A step that is a table: one of `type`, `wait`, `expect` and `screenshot`, and what belongs to it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepTable {
    /// Keys to type, or a function that returns them: for a keyboard layout of their own.
    pub r#type: Option<TextOrFunction>,
    /// The layout of the keyboard that the guest believes it has, for this step.
    pub keyboard_layout: Option<String>,
    /// How long to wait.
    pub wait: Option<Seconds>,
    /// Regular expressions; the step is over when one of them appears on the screen or the serial console.
    pub expect: Vec<String>,
    /// How long to wait for it; 60 seconds unless said otherwise.
    pub timeout: Option<Seconds>,
    /// Where it is looked for: `screen`, `serial` or `any`; the default is `any`.
    pub source: Place,
    /// Whether the patterns are literal text; false unless said otherwise.
    pub plain: bool,
    /// Whether the serial console is looked at from its beginning; otherwise from behind the last match.
    pub from_start: bool,
    /// Patterns that end the wait with an error as soon as one of them appears.
    pub fail: Vec<String>,
    /// The PNG file that the screen is written to, relative to the Lua script.
    pub screenshot: Option<PathBuf>,
}

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    Type { text: TextOrFunction, layout: Option<String> },
    Wait(Seconds),
    Expect(Vec<String>, ExpectOptions),
    Screenshot(PathBuf),
}

impl Step {
    /// Checks what can be known before anything starts; `layout` is the keyboard's unless the step has one of its own.
    pub fn check(&self, layout: &str) -> Result<()> {
        match self {
            Step::Type { text: TextOrFunction::Text(text), layout: own } => {
                check(&placeholders::masked(text), Some(own.as_deref().unwrap_or(layout)))
            }
            Step::Type { text: TextOrFunction::Function(_), layout: own } => {
                check("", Some(own.as_deref().unwrap_or(layout)))
            }
            Step::Expect(patterns, options) => Expectation::new(patterns, options).map(drop),
            Step::Screenshot(path) if path.as_os_str().is_empty() => {
                Err(Error::new(Kind::Option, "the screenshot's path is empty"))
            }
            Step::Wait(_) | Step::Screenshot(_) => Ok(()),
        }
    }

    fn of_value(value: Value) -> Result<Step, String> {
        match value {
            Value::Str(text) => Ok(Step::of_text(TextOrFunction::Text(text))),
            Value::Function(function) => Ok(Step::of_text(TextOrFunction::Function(function))),
            Value::Map(_) => {
                let table = decode::<StepTable>("", value).map_err(|error| {
                    let message = error.message().trim_start_matches(": ").to_owned();
                    error.hints().first().map(|hint| format!("{message} ({hint})")).unwrap_or(message)
                })?;
                Step::of_table(table)
            }
            _ => Err("expected keys to type, a function that returns them, or a table such as { expect = \"login:\" }"
                .into()),
        }
    }

    fn of_text(text: TextOrFunction) -> Step {
        Step::Type { text, layout: None }
    }

    fn of_table(table: StepTable) -> Result<Step, String> {
        let StepTable { r#type, keyboard_layout, wait, expect, timeout, source, plain, from_start, fail, screenshot } =
            table;
        let given = [
            ("type", r#type.is_some()),
            ("wait", wait.is_some()),
            ("expect", !expect.is_empty()),
            ("screenshot", screenshot.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
        let &[what] = given.as_slice() else {
            return Err("expected exactly one of `type`, `wait`, `expect` and `screenshot`".into());
        };
        let extras = [
            ("keyboard_layout", "type", keyboard_layout.is_some()),
            ("timeout", "expect", timeout.is_some()),
            ("source", "expect", source != Place::Any),
            ("plain", "expect", plain),
            ("from_start", "expect", from_start),
            ("fail", "expect", !fail.is_empty()),
        ];
        if let Some((name, of, _)) = extras.into_iter().find(|(_, of, given)| *given && *of != what) {
            return Err(format!("`{name}` belongs to `{of}`, not to `{what}`"));
        }
        if let Some(text) = r#type {
            return Ok(Step::Type { text, layout: keyboard_layout });
        }
        if let Some(wait) = wait {
            return Ok(Step::Wait(wait));
        }
        match screenshot {
            Some(path) => Ok(Step::Screenshot(path)),
            None => Ok(Step::Expect(expect, ExpectOptions { timeout, source, plain, from_start, fail })),
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Step, D::Error> {
        Step::of_value(Any::deserialize(deserializer)?.0).map_err(D::Error::custom)
    }
}

/// An entry of `boot_steps`: a step and what to say of it, `{ "<enter>", "start the installer" }`.
#[derive(Debug, Clone)]
pub struct DescribedStep {
    pub step: Step,
    pub description: Option<String>,
}

impl<'de> Deserialize<'de> for DescribedStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DescribedStep, D::Error> {
        let wrong =
            || D::Error::custom("expected a command and its description: { \"<enter>\", \"start the installer\" }");
        let Value::List(items) = Any::deserialize(deserializer)?.0 else { return Err(wrong()) };
        let mut items = items.into_iter();
        let (command, description, None) = (items.next().ok_or_else(wrong)?, items.next(), items.next()) else {
            return Err(wrong());
        };
        let description = match description {
            None => None,
            Some(Value::Str(text)) => Some(text),
            Some(_) => return Err(wrong()),
        };
        Ok(DescribedStep { step: Step::of_value(command).map_err(D::Error::custom)?, description })
    }
}

/// Calls a function among the steps with the placeholders' values; nil types nothing.
pub async fn text_of(function: &Callback, values: &placeholders::Placeholders) -> Result<String> {
    match function.call(values.to_value()).await? {
        Value::Str(text) => Ok(text),
        Value::Nil => Ok(String::new()),
        _ => Err(Error::new(Kind::Option, "the function returned something else than the keys to type, or nil")),
    }
}
