//! `--log-file`: plain lines with the time, everything, errors in full.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::event::{Event, Level, Stamped};
use super::handle::Renderer;
use super::lines::{LineOptions, Lines, Times};
use super::plain::{try_write, write_lines};
use super::style::Style;
use super::{error_text, units};
use crate::error::{Result, io_error};

/// Appends to a log file.
pub struct LogFile {
    file: File,
    path: PathBuf,
    lines: Lines,
    work: Vec<(u64, String, String)>,
    /// Why lines are missing.
    failed: Option<std::io::Error>,
}

impl LogFile {
    /// Opens the file for appending, so that several runs and the program's own log may share it.
    pub fn open(path: &Path) -> Result<LogFile> {
        let file =
            File::options().create(true).append(true).open(path).map_err(|e| io_error("open the log file", path, e))?;
        let options = LineOptions {
            style: Style::PLAIN,
            times: Times::Full,
            level: Level::Debug,
            complete: true,
            aligned: false,
        };
        let path = path.to_owned();
        Ok(LogFile { file, path, lines: Lines::new(options), work: Vec::new(), failed: None })
    }
}

impl Renderer for LogFile {
    fn event(&mut self, stamped: &Stamped) {
        let mut lines = self.lines.event(stamped);
        match &stamped.event {
            Event::ProgressStarted { build, id, what, .. } => {
                let build = build.clone().unwrap_or_default();
                lines.extend(self.lines.progress(&build, &format!("{what} …")));
                self.work.push((*id, build, what.clone()));
            }
            Event::ProgressFinished { id, seconds, .. } => {
                if let Some(index) = self.work.iter().position(|(known, ..)| known == id) {
                    let (_, build, what) = self.work.swap_remove(index);
                    lines.extend(self.lines.progress(&build, &format!("{what}: {}", units::seconds(*seconds))));
                }
            }
            Event::Artifact { build, files, .. } => {
                for (file, (algorithm, hex)) in
                    files.iter().flat_map(|file| file.digests.iter().map(move |digest| (file, digest)))
                {
                    lines.extend(self.lines.progress(build, &format!("    {algorithm} {hex} {}", file.path)));
                }
            }
            _ => {}
        }
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        if let Err(error) = try_write(&mut self.file, &text) {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(&mut self) {
        if let Some(failed) = self.failed.take() {
            let error = io_error("write all lines to the log file", &self.path, failed);
            let text = error_text::lines("warning", &error_text::report(&error), Style::PLAIN).join("\n");
            write_lines(&mut std::io::stderr(), &[text]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{play, sample};

    #[test]
    fn has_the_time_and_the_whole_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for _ in 0..2 {
            play(&mut LogFile::open(&path).unwrap(), sample());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("rimg 0.1.0: run /srv/build.lua\n").count(), 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with("2")), "{text}");
        assert!(text.contains("Z db |   hint: look at the guest's network\n"), "{text}");
        assert!(text.contains("Z run failed after 15.0 s\n"), "{text}");
        assert!(text.contains("sha256 abc123 /srv/out/web.qcow2\n"), "{text}");
    }
}
