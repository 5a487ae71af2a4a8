//! The last lines of a growing file that a guest writes to: its serial console, its firmware's messages.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Result, io_error};

const KEPT: usize = 200;
/// A line longer than this is cut; a guest can write anything.
const MAX_LINE: usize = 1000;
/// How much is read at once; what a guest writes faster than that is skipped to its end.
const MAX_READ: u64 = 1 << 20;

/// Returns up to a mebibyte of a growing file from an offset on, and the offset behind it. A file that became shorter is another
/// one, and read from its beginning; one that is not there is empty.
pub fn piece(path: &Path, from: u64) -> Result<(Vec<u8>, u64)> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
        Err(error) => return Err(io_error("read", path, error)),
    };
    let mut bytes = Vec::new();
    let mut read = || {
        let length = file.metadata()?.len();
        let from = if length < from { 0 } else { from };
        if length > from {
            file.seek(SeekFrom::Start(from))?;
            (&mut file).take(MAX_READ).read_to_end(&mut bytes)?;
        }
        Ok(from)
    };
    let from = read().map_err(|error| io_error("read", path, error))?;
    let next = from + bytes.len() as u64;
    Ok((bytes, next))
}

/// Follows a file and keeps its last lines, without escape sequences and control characters.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
    lines: VecDeque<String>,
}

impl Tail {
    pub fn new(path: PathBuf) -> Tail {
        Tail { path, offset: 0, partial: Vec::new(), lines: VecDeque::new() }
    }

    /// Reads what is new and returns it as lines; the last may be unfinished and then comes again when it is whole.
    /// A file that is not there is empty.
    pub fn poll(&mut self) -> Vec<String> {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return Vec::new() };
        let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
        if length < self.offset {
            self.offset = 0;
            self.partial.clear();
        }
        self.offset = self.offset.max(length.saturating_sub(MAX_READ));
        if length == self.offset || file.seek(SeekFrom::Start(self.offset)).is_err() {
            return Vec::new();
        }
        let mut bytes = Vec::new();
        if file.take(MAX_READ).read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        self.offset += bytes.len() as u64;
        self.take(&bytes)
    }

    /// Takes the next bytes, and returns what is new as `poll` does.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut new = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = clean(&std::mem::take(&mut self.partial));
                if !line.is_empty() {
                    self.lines.push_back(line.clone());
                    new.push(line);
                }
            } else if self.partial.len() < MAX_LINE {
                self.partial.push(byte);
            }
        }
        while self.lines.len() > KEPT {
            self.lines.pop_front();
        }
        let unfinished = clean(&self.partial);
        if !unfinished.is_empty() {
            new.push(unfinished);
        }
        new
    }

    /// Returns the last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> Vec<String> {
        let unfinished = Some(clean(&self.partial)).filter(|line| !line.is_empty());
        let all: Vec<String> = self.lines.iter().cloned().chain(unfinished).collect();
        all.get(all.len().saturating_sub(count)..).unwrap_or_default().to_vec()
    }
}

/// Takes terminal control out of a line: escape sequences, carriage returns, other control characters.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut cleaned = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
                }
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                Some(_) => {
                    chars.next();
                }
                None => {}
            },
            '\t' => cleaned.push(' '),
            c if c.is_control() => {}
            c => cleaned.push(c),
        }
    }
    cleaned.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn follows_a_file_as_it_grows_and_starts_over_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        let mut tail = Tail::new(path.clone());
        assert!(tail.poll().is_empty());
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"\x1b[0;32mone\x1b[0m\r\n\r\ntw").unwrap();
        assert_eq!(tail.poll(), ["one", "tw"]);
        file.write_all(b"o\nlogin: ").unwrap();
        assert_eq!(tail.poll(), ["two", "login:"]);
        assert!(tail.poll().is_empty());
        assert_eq!(tail.last(2), ["two", "login:"]);
        assert_eq!(tail.last(9), ["one", "two", "login:"]);
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.poll(), ["new"]);
    }

    proptest! {
        #[test]
        fn lines_hold_no_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut tail = Tail::new("x".into());
            for line in tail.take(&bytes) {
                prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            }
        }
    }
}
