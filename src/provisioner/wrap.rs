//! Commands in surroundings: an environment, a folder, another user; and nothing secret in a process list.
//!
//! Arguments of a process can be read by every user of a machine. So the environment, rendered command templates and
//! scripts reach the machine on standard input: a header of shell code, a line that ends it, then the command's own
//! input. `read` takes a pipe byte by byte, so the header is taken off exactly.

use crate::engine::{Command, Line, quote};

/// Shell code that reads the header and evaluates it; `%` is the line that ends it.
const READ_HEADER: &str = r#"h=;while IFS= read -r l;do [ "$l" = % ]&&break;h="$h$l
";done;eval "$h";unset h l
"#;

/// Shell code that goes on as root: at once, or by sudo, which must not ask.
const AS_ROOT: &str = r#"[ "$(id -u)" = 0 ]&&exec sh -c "$@";exec sudo -n -- sh -c "$@""#;

/// A shell program with arguments that is sent with a header on standard input.
#[derive(Debug, Clone, Default)]
pub struct Wrapped {
    /// POSIX shell code; its arguments are `$1`, `$2`, …
    pub program: String,
    pub args: Vec<String>,
    /// Shell code that runs before the program and is seen by nobody else.
    pub header: String,
    /// Standard input of the program.
    pub stdin: Vec<u8>,
    pub cwd: Option<String>,
    pub sudo: bool,
}

impl Wrapped {
    /// Returns the command to give to a communicator.
    pub fn command(&self) -> Command {
        let mut program = String::new();
        let mut stdin = Vec::new();
        if !self.header.is_empty() {
            let end = format!("#{}", uuid::Uuid::new_v4().simple());
            program.push_str(&READ_HEADER.replace('%', &quote::word(&end)));
            stdin.extend_from_slice(self.header.as_bytes());
            stdin.extend_from_slice(format!("\n{end}\n").as_bytes());
        }
        if let Some(cwd) = &self.cwd {
            program.push_str(&format!("cd -- {}||exit 126\n", quote::word(cwd)));
        }
        program.push_str(&self.program);
        stdin.extend_from_slice(&self.stdin);
        let mut argv = vec!["sh".to_owned(), "-c".to_owned()];
        if self.sudo {
            argv.extend([AS_ROOT.to_owned(), "rimg".to_owned()]);
        }
        argv.extend([program, "rimg".to_owned()]);
        argv.extend(self.args.iter().cloned());
        Command { line: Line::Argv(argv), env: Vec::new(), stdin: Some(stdin) }
    }
}

/// Returns program and arguments that run `line`: a shell line in the user's own shell, as sshd would, else in `sh`.
pub fn of_line(line: &Line) -> (String, Vec<String>) {
    match line {
        Line::Argv(argv) => (r#"exec "$@""#.to_owned(), argv.clone()),
        Line::Shell(line) => {
            let program = r#"case "${SHELL-}" in */bash|*/zsh|*/ksh|*/dash|*/ash|*/fish)s=$SHELL;;*)s=sh;;esac
exec "$s" -c "$1""#;
            (program.to_owned(), vec![line.clone()])
        }
    }
}
