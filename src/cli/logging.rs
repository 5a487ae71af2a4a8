//! The program's own log: `RIMG_LOG` is a tracing filter, the lines go to `--log-file` or to standard error.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::{Context, Error, Kind, Result, io_error};
use crate::ui::Ui;

/// What is logged to a file when nobody says what.
const FILE_DEFAULT: &str = "warn,rimg=debug";

/// Returns `RIMG_LOG`, where it is set.
pub fn filter() -> Option<String> {
    std::env::var("RIMG_LOG").ok().filter(|filter| !filter.trim().is_empty())
}

/// Starts logging, if anybody asked for it.
pub fn start(ui: &Ui, log_file: Option<&Path>) -> Result<()> {
    let filter = match (filter(), log_file) {
        (Some(filter), _) => filter,
        (None, Some(_)) => FILE_DEFAULT.to_owned(),
        (None, None) => return Ok(()),
    };
    let filter = EnvFilter::builder()
        .parse(&filter)
        .with_context(Kind::Usage, || format!("RIMG_LOG: {filter:?} is not a filter"))
        .map_err(|e| e.hint("examples: RIMG_LOG=debug, RIMG_LOG=warn,rimg=trace"))?;
    let file = match log_file {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Some(Arc::new(file.map_err(|e| io_error("open the log file", path, e))?))
        }
        None => None,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Masked { ui: ui.clone(), file })
        .try_init()
        .map_err(|e| Error::new(Kind::Internal, format!("cannot start logging: {e}")))
}

/// Writes whole records, with the run's secrets masked.
struct Masked {
    ui: Ui,
    file: Option<Arc<File>>,
}

impl<'a> MakeWriter<'a> for Masked {
    type Writer = Record<'a>;

    fn make_writer(&'a self) -> Record<'a> {
        Record { target: self, text: Vec::new() }
    }
}

/// One record; written when it is complete, since a secret may come in pieces.
struct Record<'a> {
    target: &'a Masked,
    text: Vec<u8>,
}

impl Write for Record<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let text = self.target.ui.secrets().mask(&String::from_utf8_lossy(&self.text));
        let _ = match &self.target.file {
            Some(file) => (&**file).write_all(text.as_bytes()),
            None => std::io::stderr().lock().write_all(text.as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_masked_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let ui = Ui::silent();
        ui.secrets().add("hunter2");
        let masked = Masked { ui, file: Some(Arc::new(File::create(&path).unwrap())) };
        let mut record = masked.make_writer();
        record.write_all(b"password is hun").unwrap();
        record.write_all(b"ter2\n").unwrap();
        drop(record);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "password is ********\n");
    }
}
