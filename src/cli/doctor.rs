//! `rimg doctor`: what this host can build, and what is missing.

use std::io::IsTerminal;

use serde::Serialize;

use super::args::DoctorArgs;
use super::dispatch::Exit;
use super::{out, probes};
use crate::error::{Error, Kind, Result};
use crate::ui::style::Style;
use crate::ui::text;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// It works, but less well than it could.
    Warning,
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: String,
    pub status: Status,
    /// What was found: a version, a path, an amount.
    pub detail: String,
    /// What it is good for.
    pub needed_for: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A builder, and whether it can work here.
#[derive(Debug, Clone, Serialize)]
pub struct Ability {
    pub builder: &'static str,
    pub makes: &'static str,
    pub available: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Everything that `rimg doctor` says.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub can_build: Vec<Ability>,
    pub programs: Vec<Check>,
    pub host: Vec<Check>,
}

impl Report {
    /// Returns whether any image can be built on this host.
    fn can_build_images(&self) -> bool {
        self.can_build.iter().any(|ability| ability.available && ability.makes.contains("image"))
    }
}

/// Looks at this host.
pub fn doctor(args: &DoctorArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Host, "cannot start looking").caused_by(e))?;
    let report = runtime.block_on(probes::look());
    if args.json {
        out::print_json(&report)?;
    } else {
        let no_color = args.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = if std::io::stdout().is_terminal() { Style::terminal(no_color) } else { Style::PLAIN };
        out::print(&describe(&report, style))?;
    }
    Ok(if report.can_build_images() { Exit::Done } else { Exit::Failed })
}

fn describe(report: &Report, style: Style) -> String {
    let mut lines = vec![format!("rimg {}", report.version), String::new(), style.bold("Can build")];
    let width = report.can_build.iter().map(|ability| ability.builder.len()).max().unwrap_or(0);
    for ability in &report.can_build {
        let word = if ability.available { style.good("yes    ") } else { style.bad("no     ") };
        let reason = ability.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        lines.push(format!("  {word}  {}  {}{reason}", text::pad(ability.builder, width), ability.makes));
    }
    for (title, checks) in [("Programs", &report.programs), ("Host", &report.host)] {
        lines.push(String::new());
        lines.push(style.bold(title));
        let width = checks.iter().map(|check| text::width(&check.name)).max().unwrap_or(0);
        for check in checks {
            let word = match check.status {
                Status::Ok => style.good("ok     "),
                Status::Warning => style.warning("note   "),
                Status::Missing => style.bad("missing"),
            };
            let detail = match (check.status, check.detail.is_empty()) {
                (Status::Missing, true) => format!("needed for {}", check.needed_for),
                _ => text::sanitize(&check.detail),
            };
            lines.push(format!("  {word}  {}  {detail}", text::pad(&check.name, width)));
            if let Some(hint) = &check.hint {
                lines.push(format!("           {}  {}", " ".repeat(width), style.dim(&text::sanitize(hint))));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_and_what_to_do() {
        let check = |name: &str, status, detail: &str, hint: Option<&str>| Check {
            name: name.into(),
            status,
            detail: detail.into(),
            needed_for: "rimg.qemu",
            hint: hint.map(str::to_owned),
        };
        let mut report = Report {
            version: "0.1.0",
            can_build: vec![
                Ability { builder: "qemu", makes: "disk images", available: false, reason: Some("no QEMU".into()) },
                Ability { builder: "host", makes: "changes over SSH", available: true, reason: None },
            ],
            programs: vec![
                check("qemu-img", Status::Ok, "7.2.0", None),
                check("vagrant", Status::Missing, "", Some("apt-get install vagrant")),
            ],
            host: vec![check("memory", Status::Warning, "1 GiB", None)],
        };
        let expected = "\
rimg 0.1.0

Can build
  no       qemu  disk images (no QEMU)
  yes      host  changes over SSH

Programs
  ok       qemu-img  7.2.0
  missing  vagrant   needed for rimg.qemu
                     apt-get install vagrant

Host
  note     memory  1 GiB
";
        assert_eq!(describe(&report, Style::PLAIN), expected);
        assert!(!report.can_build_images());
        report.can_build[0].available = true;
        assert!(report.can_build_images());
    }
}
