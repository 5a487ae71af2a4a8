//! The page that lists a folder without an `index.html`.

use std::fmt::Write as _;
use std::path::PathBuf;

use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::{self, Answer};

/// Characters of a name that a link must not have as they are.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns a name as it stands in a link.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// Returns the page of a folder, folders first.
pub(super) async fn of(folder: PathBuf, is_root: bool) -> std::io::Result<Answer> {
    let page = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let is_file = !std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
            names.push((is_file, entry.file_name().to_string_lossy().into_owned()));
        }
        names.sort();
        let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>\n");
        if !is_root {
            page.push_str("<a href=\"../\">../</a>\n");
        }
        for (is_file, name) in names {
            let slash = if is_file { "" } else { "/" };
            let _ = writeln!(page, "<a href=\"./{}{slash}\">{}{slash}</a>", encoded(&name), escaped(&name));
        }
        page.push_str("</pre>\n");
        Ok(page)
    });
    let page = page.await.map_err(std::io::Error::other)??;
    Ok(answer::typed(StatusCode::OK, "text/html; charset=utf-8", page))
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
