//! What must hold for any input: one property a parser or writer, tested with random bytes by the unit tests and searched
//! for counterexamples by the fuzz targets in `tests/fuzz`. Compiled for those two only.
//!
//! A property takes bytes and panics when it does not hold. It reads them twice over: as the input itself, and as the
//! choices by which a valid input is made up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a property fails by panicking")]

mod answers;
mod archive;
mod boot_command;
mod checksum;
mod content_range;
mod fat;
mod fat_reader;
mod http;
mod iso;
mod iso_reader;
mod journal;
mod options;
mod placeholders;
mod qmp;
mod records;
mod scp;
mod screen;
mod source;
mod ssh_files;
mod terminal;
#[cfg(test)]
mod tests;

/// A property: its name, which is its fuzz target's, and what checks it.
pub type Property = (&'static str, fn(&[u8]));

/// Every property there is.
pub const ALL: &[Property] = &[
    ("answers", answers::holds),
    ("archive", archive::holds),
    ("boot_command", boot_command::holds),
    ("checksum", checksum::holds),
    ("content_range", content_range::holds),
    ("fat", fat::holds),
    ("http", http::holds),
    ("iso", iso::holds),
    ("journal", journal::holds),
    ("options", options::holds),
    ("placeholders", placeholders::holds),
    ("qmp", qmp::holds),
    ("records", records::holds),
    ("scp", scp::holds),
    ("screen", screen::holds),
    ("ssh_files", ssh_files::holds),
    ("terminal", terminal::holds),
];

/// Checks the property of this name.
pub fn check(name: &str, data: &[u8]) {
    let (_, holds) = ALL.iter().find(|(known, _)| *known == name).expect("a property of this name");
    holds(data);
}
