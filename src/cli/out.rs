//! Standard output, whose reader may go away.

use std::io::{ErrorKind, Write};

use crate::error::{Error, Kind, Result};

/// Writes text to standard output; a reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Io, "cannot write to standard output").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as indented JSON to standard output.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Kind::Internal, "cannot write the answer as JSON").caused_by(e))?;
    text.push('\n');
    print(&text)
}
