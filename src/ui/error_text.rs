//! An error as people read it: what, where, why, what to do.

use super::event::ErrorReport;
use super::style::Style;
use super::text::sanitize;

/// How much of a failed command's standard error is repeated.
const STDERR_LINES: usize = 10;
/// How much of a text in an error's fields is reported.
const FIELD: usize = 64 << 10;

/// Returns the lines of an error; `heading` stands in front of the message, as in `error in build web`.
pub fn lines(heading: &str, error: &ErrorReport, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let mut message = error.message.lines().map(sanitize);
    lines.push(format!("{} {}", style.bad(&format!("{heading}:")), style.bold(&message.next().unwrap_or_default())));
    lines.extend(message.map(|line| format!("  {line}")));
    if let Some(location) = &error.location {
        lines.push(format!("  {} {}", style.dim("-->"), sanitize(location)));
    }
    if let Some(excerpt) = &error.excerpt {
        lines.extend(excerpt.lines().map(|line| format!("  {}", sanitize(line))));
    }
    if let Some(serde_json::Value::String(stderr)) = error.fields.get("stderr") {
        let stderr = stderr.trim();
        if !stderr.is_empty() && !error.message.contains(stderr) {
            let all: Vec<&str> = stderr.lines().collect();
            let skipped = all.len().saturating_sub(STDERR_LINES);
            lines.push(match skipped {
                0 => style.dim("  standard error:"),
                _ => style.dim(&format!("  the last {STDERR_LINES} lines of standard error:")),
            });
            lines.extend(all.into_iter().skip(skipped).map(|line| format!("    {}", sanitize(line))));
        }
    }
    if !error.traceback.is_empty() {
        lines.push(style.dim("  traceback:"));
        lines.extend(error.traceback.iter().map(|frame| format!("    {}", sanitize(frame.trim()))));
    }
    for hint in &error.hints {
        let mut hint = hint.lines().map(sanitize);
        lines.push(format!("  {} {}", style.good("hint:"), hint.next().unwrap_or_default()));
        lines.extend(hint.map(|line| format!("        {line}")));
    }
    lines
}

/// Returns an [`ErrorReport`] of an error that has no place in a script.
pub fn report(error: &crate::error::Error) -> ErrorReport {
    ErrorReport {
        kind: error.kind().as_str().to_owned(),
        message: error.full_message(),
        hints: error.hints().to_vec(),
        location: None,
        excerpt: None,
        traceback: Vec::new(),
        fields: fields(error),
    }
}

/// Returns an error's fields for a report: of a long text, such as a command's output, only its end.
pub fn fields(error: &crate::error::Error) -> serde_json::Map<String, serde_json::Value> {
    let field = |(name, value): (&&'static str, &serde_json::Value)| {
        let value = match value {
            serde_json::Value::String(text) if text.len() > FIELD => {
                let end = (text.len() - FIELD..).find_map(|at| text.get(at..)).unwrap_or_default();
                format!("({} bytes before) … {end}", text.len() - end.len()).into()
            }
            value => value.clone(),
        };
        ((*name).to_owned(), value)
    };
    error.fields().iter().map(field).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::ui) fn sample() -> ErrorReport {
        let stderr: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        ErrorReport {
            kind: "command".into(),
            message: "web: `apt-get update` ended with status 100".into(),
            hints: vec!["look at the guest's network".into()],
            location: Some("build.lua:12".into()),
            excerpt: Some("11 | local vm = start()\n12 | vm:run \"apt-get update\"\n   | ^".into()),
            traceback: vec!["build.lua:12: in function <build.lua:10>".into()],
            fields: serde_json::Map::from_iter([("stderr".to_owned(), stderr.into())]),
        }
    }

    #[test]
    fn says_what_where_why_and_what_to_do() {
        let expected = "\
error in build web: web: `apt-get update` ended with status 100
  --> build.lua:12
  11 | local vm = start()
  12 | vm:run \"apt-get update\"
     | ^
  the last 10 lines of standard error:
    line 3
    line 4
    line 5
    line 6
    line 7
    line 8
    line 9
    line 10
    line 11
    line 12
  traceback:
    build.lua:12: in function <build.lua:10>
  hint: look at the guest's network";
        assert_eq!(lines("error in build web", &sample(), Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn a_guest_cannot_paint_the_terminal_through_an_error() {
        let mut error = sample();
        error.message = "found \x1b[2Jnothing".into();
        let shown = lines("error", &error, Style::PLAIN).join("\n");
        assert!(shown.starts_with("error: found nothing\n") && !shown.contains('\x1b'), "{shown:?}");
    }
}
