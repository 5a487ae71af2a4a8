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
    /// A word that nobody else has, by which [`kill`] finds it.
    pub mark: Option<String>,
}

/// Ends what carries the mark `$m`: the process groups of all commands that have it among their words, but this one's.
/// What does not end in a second is killed; then the file `$f`, which it would have removed, is.
const KILL: &str = r#"g(){ G=;read -r s 2>/dev/null <"$1/stat"||return 1;s=${s##*) };set -- $s;G=$3;}
g /proc/$$;own=$G
all(){ for c in $(grep -l -- "$m" /proc/[0-9]*/cmdline 2>/dev/null);do
g "${c%/cmdline}"&&[ "$G" != "$own" ]&&[ "$G" -gt 1 ]&&kill -"$1" -"$G" 2>/dev/null;done;}
all TERM;sleep 1;all KILL
[ -z "$f" ]||rm -f -- "$f";true"#;

/// Returns a mark.
pub fn mark() -> String {
    format!("rimg-{}", uuid::Uuid::new_v4().simple())
}

/// Returns the command that ends a marked one: a server tells a command only that its connection is gone, and one that
/// writes nothing does not notice.
pub fn kill(mark: &str, file: &str, sudo: bool) -> Wrapped {
    let header = format!("m={}\nf={}\n", quote::word(mark), quote::word(file));
    Wrapped { program: KILL.to_owned(), header, sudo, ..Wrapped::default() }
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
        argv.extend([program, self.mark.clone().unwrap_or_else(|| "rimg".to_owned())]);
        argv.extend(self.args.iter().cloned());
        Command { line: Line::Argv(argv), env: Vec::new(), stdin: Some(stdin) }
    }
}

/// Returns program and arguments that run `line`: a shell line in the user's own shell, as sshd would, else in `sh`.
/// With `stay`, the program's own shell stays as its parent, and keeps the mark.
pub fn of_line(line: &Line, stay: bool) -> (String, Vec<String>) {
    let exec = if stay { "" } else { "exec " };
    // Without something after it, a shell replaces itself all the same.
    let end = if stay { "\nexit $?" } else { "" };
    match line {
        Line::Argv(argv) => (format!(r#"{exec}"$@"{end}"#), argv.clone()),
        Line::Shell(line) => {
            let choose = r#"case "${SHELL-}" in */bash|*/zsh|*/ksh|*/dash|*/ash|*/fish)s=$SHELL;;*)s=sh;;esac"#;
            (format!("{choose}\n{exec}\"$s\" -c \"$1\"{end}"), vec![line.clone()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Blob, Env};
    use crate::provisioner::run::{RunOptions, run};
    use crate::provisioner::shell::{ShellOptions, shell};
    use crate::provisioner::testing::Bench;
    use proptest::prelude::*;

    fn environment(value: &str) -> Env {
        Env(vec![("CANARY".into(), Some(value.into()))])
    }

    #[tokio::test]
    async fn sudo_is_used_only_where_the_user_is_not_root_and_the_environment_goes_through_it() {
        let bench = Bench::new();
        bench.unprivileged();
        let options = RunOptions {
            sudo: true,
            env: environment("a'b"),
            input: Some(Blob(b"input".to_vec())),
            cwd: Some("/".into()),
            ..RunOptions::default()
        };
        let line = Line::Shell(r#"echo "$AS_ROOT $CANARY $PWD";cat"#.into());
        assert_eq!(run(&bench.session, line.clone(), options).await.unwrap().stdout, "1 a'b /\ninput");
        let script = ShellOptions { sudo: true, env: environment("$x"), ..ShellOptions::text("echo $AS_ROOT $CANARY") };
        assert_eq!(shell(&bench.session, script).await.unwrap().stdout, "1 $x\n");
        assert_eq!(run(&bench.session, line, RunOptions::default()).await.unwrap().stdout.split(' ').next(), Some(""));
    }

    #[tokio::test]
    async fn a_sudo_that_asks_is_explained() {
        let bench = Bench::new();
        bench.unprivileged();
        bench.program("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2;exit 1\n");
        let options = ShellOptions { sudo: true, ..ShellOptions::text("true") };
        let error = shell(&bench.session, options).await.unwrap_err();
        assert!(error.hints().concat().contains("NOPASSWD"), "{error} {:?}", error.hints());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_value_and_any_input_arrive(value in "[^\0]{0,40}", input in proptest::collection::vec(any::<u8>(), 0..60)) {
            let wrapped = Wrapped {
                program: r#"printf %s "$CANARY";printf '|';cat"#.into(),
                header: environment(&value).exports(),
                stdin: input.clone(),
                ..Wrapped::default()
            };
            let command = wrapped.command();
            let mut child = std::process::Command::new("sh");
            child.args(["-c", &command.line.to_shell()]).stdin(std::process::Stdio::piped());
            let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), &command.stdin.unwrap()).unwrap();
            let output = child.wait_with_output().unwrap();
            let expected = [value.as_bytes(), b"|", &input].concat();
            prop_assert_eq!(output.stdout, expected);
        }
    }
}
