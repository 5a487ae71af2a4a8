//! `vm:type`: keys on the machine's keyboard.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::console;
use crate::console::boot_command::{Pace, Typist, check};
use crate::engine::{Operation, Seconds, Session};
use crate::error::{Error, Result};

/// The options of `vm:type`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TypeOptions {
    /// The layout of the keyboard that the guest believes it has; the builder's `keyboard_layout` unless said otherwise.
    pub keyboard_layout: Option<String>,
    /// How long to wait after each key that goes down or comes up; unless said otherwise, as long as the guest takes.
    pub key_interval: Option<Seconds>,
}

/// Types `text`, in a boot command's notation.
pub async fn type_text(session: &Arc<Session>, text: &str, options: &TypeOptions) -> Result<()> {
    let machine = session.machine();
    let console = machine.as_ref().and_then(|machine| machine.console());
    let layout = options.keyboard_layout.as_deref().or(console.and_then(|console| console.keyboard_layout()));
    check(text, layout).map_err(|e: Error| e.within("vm:type"))?;
    let request = serde_json::json!({ "text": text, "options": options });
    let operation = Operation::new("type", text, request);
    let asked = Arc::new((text.to_owned(), options.clone()));
    session
        .perform(operation, move |session| {
            let asked = asked.clone();
            async move {
                let (text, options) = &*asked;
                let machine = session.live()?;
                let console = console::of(&*machine)?;
                let layout = options.keyboard_layout.as_deref().or(console.keyboard_layout());
                let pace = Pace { key_interval: options.key_interval.map(|seconds| seconds.0), group_interval: None };
                Typist::new(console, pace).type_text(text, layout.unwrap_or("us")).await
            }
        })
        .await
}
