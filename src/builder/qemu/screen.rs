//! The text on a guest's screen.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Mutex;

use super::console::{self, Temporary};
use super::qmp::Qmp;
use crate::console::screen::{MEMORY, Pixels, Recognizer, may_be_text, parse_ppm, text_mode};
use crate::engine::ScreenText;
use crate::error::{Context, Kind, Result};

/// Reads one machine's screen, again and again.
#[derive(Default)]
pub struct Reader(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recognizer: Recognizer,
    /// The last picture, as QEMU drew it, and its text: most of the time nothing has changed.
    last: Option<(Vec<u8>, ScreenText)>,
}

impl Reader {
    /// Returns the text the screen shows now. `dir` is a private folder; only a PC has text memory.
    pub async fn read(&self, qmp: &Qmp, dir: &Path, is_pc: bool) -> Result<ScreenText> {
        let mut state = self.0.clone().lock_owned().await;
        let drawn = console::draw(qmp, dir).await?;
        let bytes = tokio::task::spawn_blocking(move || drawn.read()).await.context(Kind::Internal, INTERRUPTED)??;
        if let Some((last, text)) = &state.last
            && *last == bytes
        {
            return Ok(text.clone());
        }
        let (width, height, _) = parse_ppm(&bytes)?;
        let memory = match is_pc && may_be_text(width as usize, height as usize) {
            true => text_memory(qmp, dir).await?,
            false => Vec::new(),
        };
        let recognized = tokio::task::spawn_blocking(move || {
            let pixels = Pixels::from_ppm(&bytes)?;
            let text = text_mode(&pixels, &memory).unwrap_or_else(|| state.recognizer.read(&pixels));
            state.last = Some((bytes, text.clone()));
            Ok(text)
        });
        recognized.await.context(Kind::Internal, INTERRUPTED)?
    }
}

const INTERRUPTED: &str = "reading the screen was interrupted";

async fn text_memory(qmp: &Qmp, dir: &Path) -> Result<Vec<u8>> {
    let file = Temporary::new(dir, "mem");
    let (address, size) = MEMORY;
    let arguments = json!({ "val": address, "size": size, "filename": file.path().display().to_string() });
    qmp.execute("pmemsave", arguments).await.map_err(|e| e.within("the screen's memory cannot be read"))?;
    file.read()
}
