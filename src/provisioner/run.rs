//! `vm:run`: one command.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::output::Capture;
use super::result::CommandResult;
use super::wrap::{self, Wrapped};
use crate::engine::options::{Blob, Env};
use crate::engine::{Command, Line, Operation, OperationOptions, Seconds, Session};
use crate::error::{Error, Kind, Result};

/// How long ending a command whose time is up may take.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Options of `vm:run`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Whether a status that is not accepted raises an error; true unless said otherwise.
    pub check: Option<bool>,
    /// The accepted exit statuses; the default is 0 alone.
    pub valid_exit_codes: Option<Vec<i32>>,
    /// Environment variables; they do not show in the machine's process list.
    pub env: Env,
    /// Text for the command's standard input, which is empty without it.
    pub input: Option<Blob>,
    /// The folder it runs in; the default is the user's home.
    pub cwd: Option<String>,
    /// Whether it runs as root, by sudo where the user is not root.
    pub sudo: bool,
    /// Whether its output is captured without being shown.
    pub quiet: bool,
}

impl RunOptions {
    /// Returns the accepted exit statuses.
    fn valid(&self) -> &[i32] {
        self.valid_exit_codes.as_deref().unwrap_or(&[0])
    }

    /// Returns the command, and the one that ends it when its time is up.
    fn command(&self, line: &Line, limited: bool) -> (Command, Option<Wrapped>) {
        let stdin = self.input.as_ref().map(|input| input.0.clone());
        if self.env.is_empty() && self.cwd.is_none() && !self.sudo && !limited {
            return (Command { line: line.clone(), env: Vec::new(), stdin }, None);
        }
        let mark = limited.then(wrap::mark);
        let (program, args) = wrap::of_line(line, mark.is_some());
        let kill = mark.as_ref().map(|mark| wrap::kill(mark, "", self.sudo));
        let wrapped = Wrapped {
            program,
            args,
            header: self.env.exports(),
            stdin: stdin.unwrap_or_default(),
            cwd: self.cwd.clone(),
            sudo: self.sudo,
            mark,
        };
        (wrapped.command(), kill)
    }
}

/// Runs a command on the machine, shows its output as it comes and returns all of it.
pub async fn run(session: &Arc<Session>, line: Line, options: RunOptions) -> Result<CommandResult> {
    let empty = match &line {
        Line::Shell(text) => text.trim().is_empty(),
        Line::Argv(argv) => argv.first().is_none_or(String::is_empty),
    };
    if empty {
        return Err(Error::new(Kind::Option, "vm:run: the command is empty"));
    }
    if line.to_shell().contains('\0') {
        return Err(Error::new(Kind::Option, "vm:run: the command contains a NUL byte, which no command can hold"));
    }
    let request = serde_json::json!({
        "line": match &line { Line::Shell(text) => serde_json::json!(text), Line::Argv(argv) => serde_json::json!(argv) },
        "options": options,
    });
    let operation = Operation::new("run", line.to_shell(), request).limits_itself();
    let asked = Arc::new((line, options));
    session
        .perform(operation, move |session| {
            let asked = asked.clone();
            async move {
                let (line, options) = &*asked;
                let timeout = OperationOptions::current().timeout;
                let (command, kill) = options.command(line, timeout.is_some());
                let limit = timeout.zip(kill.as_ref());
                let result = execute(&session, &command, limit, options.quiet, options.valid()).await?;
                if options.check == Some(false) { Ok(result) } else { result.accepted(options.valid()) }
            }
        })
        .await
}

/// Runs a command inside an operation; its connection, made first if need be, does not count against the limit. At
/// the limit the command that comes with it ends what still runs.
pub(super) async fn execute(
    session: &Session,
    command: &Command,
    limit: Option<(Seconds, &Wrapped)>,
    quiet: bool,
    valid: &[i32],
) -> Result<CommandResult> {
    let communicator = session.communicator().await?;
    let mut capture = Capture::new(context(session).ui, session.name(), quiet);
    let status = attempt::limited(limit.map(|(time, _)| time), communicator.exec(command, &mut capture)).await;
    // What was said before the end is shown even when the end was not seen.
    let captured = capture.finish();
    if let (Err(error), Some((_, kill))) = (&status, limit)
        && error.kind() == Kind::Timeout
    {
        let mut nowhere = Capture::new(crate::ui::Ui::silent(), "", true);
        let kill = kill.command();
        let killed = tokio::time::timeout(KILL_LIMIT, communicator.exec(&kill, &mut nowhere)).await;
        tracing::debug!(?killed, "ended a command whose time was up");
    }
    Ok(CommandResult::new(&status?, captured, valid))
}

/// Runs a shell program quietly inside an operation and returns its standard output; a non-zero status is an error.
pub(super) async fn ask(session: &Session, wrapped: &Wrapped) -> Result<CommandResult> {
    Box::pin(execute(session, &wrapped.command(), None, true, &[0])).await?.accepted(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    fn shell(line: &str) -> Line {
        Line::Shell(line.into())
    }

    #[tokio::test]
    async fn gives_back_status_and_both_streams() {
        let bench = Bench::new();
        let result = run(&bench.session, shell("echo out; echo err >&2"), RunOptions::default()).await.unwrap();
        assert_eq!((result.status, result.ok), (0, true));
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("out\n", "err\n"));
        let mut shown = bench.output();
        shown.sort();
        assert_eq!(shown, ["stderr: err", "stdout: out"]);
    }

    #[tokio::test]
    async fn a_failure_names_machine_command_status_and_last_words() {
        let bench = Bench::new();
        let line = shell("for i in 1 2 3 4 5 6 7; do echo bad $i >&2; done; exit 3");
        let error = run(&bench.session, line.clone(), RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Command);
        let message = error.message();
        assert!(message.starts_with("vm: run `for i in"), "{message}");
        assert!(message.contains("exited with status 3"), "{message}");
        assert!(message.contains("bad 3\n") && message.ends_with("bad 7") && !message.contains("bad 2"), "{message}");
        assert_eq!(error.get("status"), Some(&3.into()));
        assert!(error.get("stderr").unwrap().as_str().unwrap().starts_with("bad 1\n"));

        let unchecked = RunOptions { check: Some(false), ..RunOptions::default() };
        let result = run(&bench.session, line.clone(), unchecked).await.unwrap();
        assert_eq!((result.status, result.ok), (3, false));
        let accepted = RunOptions { valid_exit_codes: Some(vec![0, 3]), ..RunOptions::default() };
        assert!(run(&bench.session, line, accepted).await.unwrap().ok);
    }

    #[tokio::test]
    async fn values_arrive_literally_and_out_of_the_process_list() {
        let bench = Bench::new();
        let canary = "a'b\"c $HOME `id` $(id) \\ \n#x\n end\n";
        let options = RunOptions {
            env: Env(vec![("CANARY".into(), Some(canary.into()))]),
            input: Some(Blob(b"in\nput".to_vec())),
            cwd: Some("/".into()),
            ..RunOptions::default()
        };
        let line = shell(r#"printf %s "$CANARY"; echo "|$PWD|"; cat"#);
        let result = run(&bench.session, line, options.clone()).await.unwrap();
        assert_eq!(result.stdout, format!("{canary}|/|\nin\nput"));
        let argv = Line::Argv(vec!["printf".into(), "%s|".into(), canary.into(), "two words".into()]);
        let result = run(&bench.session, argv.clone(), options).await.unwrap();
        assert_eq!(result.stdout, format!("{canary}|two words|"));
        let result = run(&bench.session, argv, RunOptions::default()).await.unwrap();
        assert_eq!(result.stdout, format!("{canary}|two words|"));
        let commands = bench.commands();
        assert!(!commands[0].contains("`id`"), "the environment is in the command line: {}", commands[0]);
    }

    #[tokio::test]
    async fn a_timeout_ends_it_and_says_so() {
        let bench = Bench::new();
        let options = OperationOptions { timeout: Seconds::parse("500ms"), ..OperationOptions::default() };
        let started = std::time::Instant::now();
        let work = run(&bench.session, shell("echo before; sleep 30"), RunOptions::default());
        let error = options.enter(work).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(started.elapsed().as_secs() < 5);
        assert_eq!(bench.output(), ["stdout: before"]);
    }

    #[tokio::test]
    async fn retries_until_it_passes() {
        let bench = Bench::new();
        let file = bench.path("n");
        let line = shell(&format!("echo x >> {file}; test $(wc -l < {file}) -ge 3"));
        let twice = OperationOptions { max_retries: 1, ..OperationOptions::default() };
        let work = || run(&bench.session, line.clone(), RunOptions::default());
        assert!(twice.clone().enter(work()).await.is_err());
        assert!(twice.enter(work()).await.unwrap().ok);
    }

    #[tokio::test]
    async fn cancelling_returns_at_once() {
        let bench = Bench::new();
        let scope = bench.session.cx().scope.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            scope.cancel(Error::new(Kind::Cancelled, "stop"));
        });
        let started = std::time::Instant::now();
        let error = run(&bench.session, shell("sleep 30"), RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled);
        assert!(started.elapsed().as_secs() < 5);
    }

    #[tokio::test]
    async fn a_pretended_machine_says_done_and_a_request_has_no_input_in_it() {
        let bench = Bench::pretended();
        assert!(run(&bench.session, shell("exit 3"), RunOptions::default()).await.unwrap().ok);
        assert!(run(&bench.session, shell("  "), RunOptions::default()).await.is_err());
        let options = RunOptions { input: Some(Blob(b"hunter2".to_vec())), ..RunOptions::default() };
        let request = serde_json::to_string(&options).unwrap();
        assert!(request.contains("blake3:") && !request.contains("hunter2"), "{request}");
    }
}
