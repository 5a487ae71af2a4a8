//! Types a boot command.

use std::time::Duration;

use super::BootOptions;
use super::options::Named;
use super::step::{Step, text_of};
use super::typist::Typist;
use crate::console::expect::{Expectation, expect};
use crate::engine::options::TextOrFunction;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Console};
use crate::error::{Result, io_error};
use crate::ui::event::Unit;

/// Waits, types and expects as the options say, with `{{ .HTTPIP }}` and its like filled in from `values`.
pub async fn run(options: &BootOptions, console: &dyn Console, values: &Placeholders, cx: &BuildCx) -> Result<()> {
    if options.is_empty() {
        return Ok(());
    }
    wait(options.wait(), cx).await;
    let mut typist = Typist::new(console, options.pace());
    for named in options.steps() {
        if let Some(description) = named.description {
            cx.ui.info(description);
        }
        take(&named, &mut typist, options.layout(), console, values, cx).await.map_err(|e| e.within(&named.name))?;
    }
    let held = typist.held();
    if !held.is_empty() {
        let off: Vec<String> = held.iter().map(|name| format!("<{name}Off>")).collect();
        cx.ui.warn(format!("the boot command leaves keys pressed: {}; it lacks {}", held.join(", "), off.join("")));
    }
    Ok(())
}

async fn take(
    named: &Named<'_>,
    typist: &mut Typist<'_>,
    layout: &str,
    console: &dyn Console,
    values: &Placeholders,
    cx: &BuildCx,
) -> Result<()> {
    match named.step {
        Step::Type { text, layout: own } => {
            let text = match text {
                TextOrFunction::Text(text) => text.clone(),
                TextOrFunction::Function(function) => text_of(function, values).await?,
            };
            let _progress = cx.ui.progress(format!("typing {}", named.name), None, Unit::Spinner);
            typist.type_text(&values.fill(&text)?, own.as_deref().unwrap_or(layout)).await
        }
        Step::Wait(duration) => {
            wait(duration.0, cx).await;
            Ok(())
        }
        Step::Expect(patterns, options) => expect(console, &Expectation::new(patterns, options)?, cx).await.map(drop),
        Step::Screenshot(path) => {
            let path = cx.settings.resolve(path);
            if let Some(folder) = path.parent() {
                tokio::fs::create_dir_all(folder).await.map_err(|e| io_error("create folder", folder, e))?;
            }
            console.screenshot(&path).await
        }
    }
}

async fn wait(duration: Duration, cx: &BuildCx) {
    if duration.is_zero() {
        return;
    }
    let _progress = cx.ui.progress(format!("waiting {} s for the guest", duration.as_secs_f64()), None, Unit::Spinner);
    tokio::time::sleep(duration).await;
}
