//! The options of typing that every builder with a console shares.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::step::{DescribedStep, Step};
use super::typist::Pace;
use crate::engine::options::TextOrFunction;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Seconds};
use crate::error::{Error, Kind, Result};

/// Packer's.
const BOOT_WAIT: Duration = Duration::from_secs(10);
const LAYOUT: &str = "us";

/// What is typed when a machine starts. Names are Packer's where the thing is the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootOptions {
    /// The keys to type, and what to wait for in between.
    pub boot_command: Vec<Step>,
    /// The same as pairs of a command and its description, which is shown; in place of `boot_command`.
    pub boot_steps: Vec<DescribedStep>,
    /// How long to wait before the first key; 10 seconds unless said otherwise, and not at all before a step that is a table.
    /// A negative one means none.
    pub boot_wait: Option<BootWait>,
    /// How long to wait after each key that goes down or comes up; unless said otherwise, as long as the guest takes.
    pub boot_key_interval: Option<Seconds>,
    /// How long to wait after the keys of an element, or up to a wait in it; not at all unless said otherwise.
    pub boot_keygroup_interval: Option<Seconds>,
    /// The layout of the keyboard that the guest believes it has; `us` unless said otherwise.
    pub keyboard_layout: Option<String>,
}

/// A duration, or a negative one for none: `"10s"`, `"-1s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootWait(pub Duration);

/// A step with its name in errors and what to say of it.
pub(super) struct Named<'a> {
    pub name: String,
    pub step: &'a Step,
    pub description: Option<&'a str>,
}

impl BootOptions {
    /// Tells whether anything is to be typed.
    pub fn is_empty(&self) -> bool {
        self.boot_command.is_empty() && self.boot_steps.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, _cx: &BuildCx) -> Result<()> {
        let option = |name: &str, error: Error| error.within(format_args!("option `{name}`"));
        if !self.boot_command.is_empty() && !self.boot_steps.is_empty() {
            let error = Error::new(Kind::Option, "`boot_command` is given, too; only one of them can be");
            return Err(option("boot_steps", error));
        }
        super::typist::check("", Some(self.layout())).map_err(|e| option("keyboard_layout", e))?;
        self.steps().try_for_each(|named| named.step.check(self.layout()).map_err(|e| option(&named.name, e)))
    }

    /// Checks that texts have no other placeholders than those of `values`, whose values may be empty yet.
    pub fn check_placeholders(&self, values: &Placeholders) -> Result<()> {
        self.steps().try_for_each(|named| match named.step {
            Step::Type { text: TextOrFunction::Text(text), .. } => {
                values.fill(text).map(drop).map_err(|e| e.within(format_args!("option `{}`", named.name)))
            }
            _ => Ok(()),
        })
    }

    /// Returns the name of the keyboard's layout.
    pub fn layout(&self) -> &str {
        self.keyboard_layout.as_deref().unwrap_or(LAYOUT)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = Named<'_>> {
        let plain = self.boot_command.iter().enumerate().map(|(index, step)| Named {
            name: format!("boot_command[{}]", index + 1),
            step,
            description: None,
        });
        let described = self.boot_steps.iter().enumerate().map(|(index, described)| Named {
            name: format!("boot_steps[{}]", index + 1),
            step: &described.step,
            description: described.description.as_deref(),
        });
        plain.chain(described)
    }

    pub(super) fn wait(&self) -> Duration {
        match (self.boot_wait, self.steps().next()) {
            (Some(BootWait(wait)), _) => wait,
            // What is waited for says when to begin.
            (None, Some(Named { step: Step::Wait(_) | Step::Expect(..), .. }) | None) => Duration::ZERO,
            (None, Some(_)) => BOOT_WAIT,
        }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace {
            key_interval: self.boot_key_interval.map(|seconds| seconds.0),
            group_interval: self.boot_keygroup_interval.map(|seconds| seconds.0),
        }
    }
}

impl<'de> Deserialize<'de> for BootWait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BootWait, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = BootWait;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as \"10s\", or \"-1s\" for none")
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<BootWait, E> {
                Ok(BootWait(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<BootWait, E> {
                let wait = Duration::try_from_secs_f64(seconds.max(0.0));
                wait.map(BootWait).map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BootWait, E> {
                let (number, negative) = match text.trim().strip_prefix('-') {
                    Some(number) => (number, true),
                    None => (text, false),
                };
                let wait = Seconds::parse(number).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(BootWait(if negative { Duration::ZERO } else { wait.0 }))
            }
        }
        deserializer.deserialize_any(V)
    }
}
