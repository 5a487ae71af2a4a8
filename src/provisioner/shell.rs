//! `vm:shell`: scripts, from files or inline, with Packer's options.
//!
//! A script costs one round trip: it goes in on standard input of the command that writes it to a private file, runs
//! it, and removes it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::execute_command::{self, Places};
use super::result::CommandResult;
use super::run;
use super::wrap::{self, Wrapped};
use crate::engine::operation::digest;
use crate::engine::options::{self, Env};
use crate::engine::{Answer, Operation, OperationOptions, Seconds, Session, Value, quote};
use crate::error::{Error, Kind, Result};

/// How long the connection may take to drop after a script that is expected to drop it has ended.
const DROP_GRACE: Duration = Duration::from_secs(2);

/// Options of `vm:shell`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShellOptions {
    /// Lines that make one script.
    pub inline: Vec<String>,
    /// A script file on this host.
    pub script: Option<String>,
    /// Script files on this host, run in order, each an operation of its own.
    pub scripts: Vec<String>,
    /// Environment variables: a table, or a list of `"NAME=value"`.
    pub env: Env,
    /// The same by Packer's name; `env` wins.
    pub environment_vars: Env,
    /// Whether it runs as root, by sudo where the user is not root.
    pub sudo: bool,
    /// Packer's template of the command that runs a script: `{{ .Vars }} sudo -S -E sh {{ .Path }}`. Without it the
    /// script is run by the interpreter its first line names, and its environment shows in no process list.
    pub execute_command: Option<String>,
    /// What runs inline lines; `/bin/sh -e` by default.
    pub inline_shebang: Option<String>,
    /// The folder on the machine scripts are put in; `/tmp` by default.
    pub remote_folder: Option<String>,
    /// The script's name there; an unguessable one by default.
    pub remote_file: Option<String>,
    /// The script's full path on the machine, in place of the two above.
    pub remote_path: Option<String>,
    /// The accepted exit statuses; the default is 0 alone.
    pub valid_exit_codes: Option<Vec<i32>>,
    /// Whether an error is raised for a status that is not accepted; true unless said otherwise.
    pub check: Option<bool>,
    /// Whether the connection may drop while it runs: that counts as done, and the next operation connects anew.
    pub expect_disconnect: bool,
    /// How long reaching the machine may take before the script starts, as after a reboot.
    pub start_retry_timeout: Option<Seconds>,
    /// How long to wait after the script.
    pub pause_after: Option<Seconds>,
    /// Whether the script stays on the machine.
    pub skip_clean: bool,
    /// Whether the script is sent as it is; otherwise its CRLF line ends become LF.
    pub binary: bool,
    /// Whether its output is captured without being shown.
    pub quiet: bool,
}

impl ShellOptions {
    /// Options for one piece of inline text, as in `vm:shell "apt-get update"`.
    pub fn text(text: impl Into<String>) -> ShellOptions {
        ShellOptions { inline: vec![text.into()], ..ShellOptions::default() }
    }

    /// Names what the short forms of `vm:shell` leave out: one text, a list of lines, or lines among options.
    pub fn long_form(value: Value) -> Value {
        options::long_form(value, "inline")
    }

    /// Takes what `vm:shell` was given: one text, a list of lines, or a table of options.
    pub fn from_value(value: Value) -> Result<ShellOptions> {
        options::decode_short("vm:shell", value, "inline")
    }

    fn valid(&self) -> &[i32] {
        self.valid_exit_codes.as_deref().unwrap_or(&[0])
    }

    fn validate(&self) -> Result<()> {
        let wrong = |message: &str, hint: &str| {
            Err(Error::new(Kind::Option, format!("vm:shell: {message}")).hint(hint.to_owned()))
        };
        let given = [!self.inline.is_empty(), self.script.is_some(), !self.scripts.is_empty()];
        match given.iter().filter(|is| **is).count() {
            0 => {
                return wrong(
                    "there is nothing to run",
                    "give `inline` (lines), `script` (a file) or `scripts` (files)",
                );
            }
            1 => {}
            _ => {
                return wrong("`inline`, `script` and `scripts` exclude each other", "call vm:shell once for each");
            }
        }
        if self.sudo && self.execute_command.is_some() {
            return wrong("`sudo` and `execute_command` exclude each other", "put sudo into the execute_command");
        }
        if self.inline_shebang.is_some() && self.inline.is_empty() {
            return wrong("`inline_shebang` is for `inline` only", "put the #! line into the script file");
        }
        if let Some(template) = &self.execute_command {
            execute_command::render(template, &Places { path: "x", env_file: "x", env: &Env::default() })?;
        }
        Ok(())
    }

    /// Returns what one script's key depends on, its content aside.
    fn common(&self) -> ShellOptions {
        ShellOptions { inline: Vec::new(), script: None, scripts: Vec::new(), ..self.clone() }
    }
}

/// One script, ready to be sent.
struct Script {
    title: String,
    bytes: Vec<u8>,
    /// The words in front of the script's path; none means that the file is executed itself.
    interpreter: Option<Vec<String>>,
}

impl Script {
    fn new(title: String, bytes: Vec<u8>, binary: bool) -> Script {
        let bytes = if binary { bytes } else { unix_lines(bytes) };
        let interpreter = interpreter(&bytes);
        Script { title, bytes, interpreter }
    }
}

/// Runs scripts on the machine, in order; the result is the last one's. Every file is read before anything runs.
pub async fn shell(session: &Arc<Session>, options: ShellOptions) -> Result<CommandResult> {
    options.validate()?;
    let scripts = load(session, &options).await?;
    let (options, mut current) = (Arc::new(options), OperationOptions::current());
    let mut last = None;
    for script in scripts {
        last = Some(current.clone().enter(one(session, script, &options)).await?);
        current = current.after_first();
    }
    Ok(last.unwrap_or_else(|| CommandResult::done(&Operation::new("shell", "", ()))))
}

async fn load(session: &Session, options: &ShellOptions) -> Result<Vec<Script>> {
    if !options.inline.is_empty() {
        let lines = options.inline.join("\n");
        let shebang = options.inline_shebang.as_deref().unwrap_or("/bin/sh -e");
        let text = format!("#!{}\n{lines}\n", shebang.trim_start_matches("#!"));
        return Ok(vec![Script::new(lines, text.into_bytes(), options.binary)]);
    }
    let mut scripts = Vec::new();
    for path in options.script.iter().chain(&options.scripts) {
        let bytes = session.cx().read_file(path).await.map_err(|e| {
            e.within("vm:shell").hint("paths of a script's options start at the folder of the Lua script")
        })?;
        scripts.push(Script::new(path.clone(), bytes, options.binary));
    }
    Ok(scripts)
}

/// Says what is asked for; where the script comes from changes nothing, and its environment holds the build's name.
fn operation(session: &Session, script: &Script, options: &ShellOptions) -> Operation {
    let request = serde_json::json!({
        "content": digest(&script.bytes),
        "options": options.common(),
        "build": &*session.cx().build,
    });
    Operation::new("shell", &script.title, request).limits_itself()
}

async fn one(session: &Arc<Session>, script: Script, options: &Arc<ShellOptions>) -> Result<CommandResult> {
    let operation = operation(session, &script, options);
    let asked = Arc::new((script, options.clone()));
    let result = session
        .perform(operation, move |session| {
            let asked = asked.clone();
            async move {
                let (script, options) = &*asked;
                let result = execute(&session, script, options).await?;
                attempt::pause(&context(&session), "after the script", options.pause_after).await;
                Ok(result)
            }
        })
        .await?;
    // Here and not in the action alone: a replay does not run that.
    if result.disconnected {
        session.forget_notes();
    }
    Ok(result)
}

async fn execute(session: &Session, script: &Script, options: &ShellOptions) -> Result<CommandResult> {
    if options.start_retry_timeout.is_some() {
        attempt::limited(options.start_retry_timeout, session.communicator())
            .await
            .map_err(|e| e.within("the machine did not take commands again"))?;
    }
    let communicator = session.communicator().await?;
    let wrapped = wrapped(session, script, options)?;
    let file = match wrapped.args.first() {
        Some(path) if !options.skip_clean => path,
        _ => "",
    };
    let kill = wrap::kill(wrapped.mark.as_deref().unwrap_or_default(), file, options.sudo);
    let limit = OperationOptions::current().timeout.map(|time| (time, &kill));
    let ended = run::execute(session, &wrapped.command(), limit, options.quiet, options.valid()).await;
    let result = match ended {
        Err(error) if options.expect_disconnect && matches!(error.kind(), Kind::Connect | Kind::Network) => {
            session.disconnect().await;
            session.forget_notes();
            return Ok(CommandResult { ok: true, disconnected: true, ..CommandResult::default() });
        }
        ended => ended?,
    };
    if options.expect_disconnect && tokio::time::timeout(DROP_GRACE, communicator.closed()).await.is_ok() {
        session.disconnect().await;
        session.forget_notes();
        return Ok(CommandResult { ok: true, disconnected: true, ..result });
    }
    if options.check == Some(false) { Ok(result) } else { result.accepted(options.valid()) }
}

fn wrapped(session: &Session, script: &Script, options: &ShellOptions) -> Result<Wrapped> {
    let build = Env(vec![("PACKER_BUILD_NAME".to_owned(), Some(session.cx().build.to_string()))]);
    let env = build.and(&options.environment_vars).and(&options.env);
    let path = remote_path(options);
    let mut wrapped = Wrapped {
        header: env.exports(),
        stdin: script.bytes.clone(),
        sudo: options.sudo,
        args: vec![path.clone()],
        mark: Some(wrap::mark()),
        ..Wrapped::default()
    };
    // A given name may be there from the last attempt; an unguessable one must not be there at all.
    let replace = if options.remote_path.is_some() || options.remote_file.is_some() { r#"rm -f -- "$1";"# } else { "" };
    let clean = if options.skip_clean { "" } else { r#"rm -f -- "$1";"# };
    let write = |umask: &str| format!(r#"(umask {umask};{replace}set -C;exec cat >"$1")||exit 126"#);
    wrapped.program = match &options.execute_command {
        None => {
            let start = match &script.interpreter {
                Some(words) => quote::join(words),
                None => r#"chmod 700 -- "$1";"#.to_owned(),
            };
            let trap = if options.skip_clean { "" } else { "trap 'rm -f -- \"$1\";exit 143' HUP INT TERM\n" };
            format!("{}\n{trap}{start} \"$1\"\ns=$?;{clean}exit $s", write("077"))
        }
        Some(template) => {
            let env_file = format!("{path}.env");
            let line = execute_command::render(template, &Places { path: &path, env_file: &env_file, env: &env })?;
            wrapped.header.push_str(&format!("c={}\n", quote::word(&line)));
            let (make_env, clean_env) = if execute_command::wants_env_file(template) {
                wrapped.header.push_str(&format!("e={}\n", quote::word(&env.exports())));
                wrapped.args.push(env_file);
                (r#"(umask 077;printf %s "$e" >"$2")||exit 126;"#, r#"rm -f -- "$2";"#)
            } else {
                ("", "")
            };
            // Readable for all: such a template may run the script as somebody else.
            let write = write("022");
            format!("{write}\nchmod 755 -- \"$1\";{make_env}(eval \"$c\")\ns=$?;{clean}{clean_env}exit $s")
        }
    };
    Ok(wrapped)
}

fn remote_path(options: &ShellOptions) -> String {
    if let Some(path) = &options.remote_path {
        return path.clone();
    }
    let folder = options.remote_folder.as_deref().unwrap_or("/tmp").trim_end_matches('/');
    match &options.remote_file {
        Some(file) => format!("{folder}/{file}"),
        None => format!("{folder}/rimg-{}.sh", uuid::Uuid::new_v4().simple()),
    }
}

/// Turns CRLF line ends into LF.
fn unix_lines(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.contains(&b'\r') {
        return bytes;
    }
    let mut unix = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        if !(*byte == b'\r' && rest.peek() == Some(&&b'\n')) {
            unix.push(*byte);
        }
    }
    unix
}

/// Returns what the script's first line says runs it, so that it runs from a file system mounted noexec too: the
/// interpreter and, as one word, the rest, as the kernel takes it. A script without such a line is for `sh`; none means
/// a program of its own.
fn interpreter(bytes: &[u8]) -> Option<Vec<String>> {
    let Some(rest) = bytes.strip_prefix(b"#!") else {
        let head = bytes.get(..512).unwrap_or(bytes);
        return (!head.contains(&0)).then(|| vec!["sh".to_owned()]);
    };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).ok()?.trim();
    if line.is_empty() {
        return Some(vec!["sh".to_owned()]);
    }
    let (program, argument) = line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""));
    let argument = argument.trim();
    let mut words = vec![program.to_owned()];
    words.extend((!argument.is_empty()).then(|| argument.to_owned()));
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    fn inline(lines: &[&str]) -> ShellOptions {
        ShellOptions { inline: lines.iter().map(|l| (*l).to_owned()).collect(), ..ShellOptions::default() }
    }

    fn left_over() -> usize {
        let names = std::fs::read_dir("/tmp").unwrap().flatten().map(|e| e.file_name());
        names.filter(|n| n.to_string_lossy().ends_with(&format!("left-{}.sh", std::process::id()))).count()
    }

    #[tokio::test]
    async fn inline_lines_are_one_script_in_one_round_trip() {
        let bench = Bench::new();
        let result =
            shell(&bench.session, inline(&["a=1", "echo $a$0 | sed s,/tmp/rimg-.*,ok,", "cat"])).await.unwrap();
        assert_eq!(result.stdout, "1ok\n");
        assert_eq!((bench.commands().len(), bench.connections()), (1, 1));
        let error = shell(&bench.session, inline(&["false", "echo not reached"])).await.unwrap_err();
        assert_eq!(error.get("status"), Some(&1.into()));
        assert_eq!(error.get("stdout"), Some(&"".into()));
    }

    #[tokio::test]
    async fn environment_and_shebang_arrive_literally() {
        let bench = Bench::new();
        let canary = "a'b\"c $HOME `id` $(id) \\ \n#x\n end\n";
        let mut options = inline(&[r#"printf '%s|%s|%s' "$CANARY" "$OTHER" "$PACKER_BUILD_NAME"; [[ a == a ]]"#]);
        options.inline_shebang = Some("/usr/bin/env bash".into());
        options.env = Env(vec![("CANARY".into(), Some(canary.into()))]);
        options.environment_vars =
            Env(vec![("OTHER".into(), Some("o".into())), ("CANARY".into(), Some("loses".into()))]);
        let result = shell(&bench.session, options).await.unwrap();
        assert_eq!(result.stdout, format!("{canary}|o|test"));
        assert!(!bench.commands()[0].contains("`id`"));
    }

    #[tokio::test]
    async fn script_files_run_in_order_with_unix_lines_and_are_removed() {
        let bench = Bench::new();
        bench.script("one.sh", b"#!/bin/sh\r\necho one\r\nls $0 >/dev/null && echo there\r\n");
        bench.script("two", b"echo two\n");
        let mut options = ShellOptions {
            scripts: vec!["one.sh".into(), "two".into()],
            remote_file: Some(format!("left-{}.sh", std::process::id())),
            ..ShellOptions::default()
        };
        assert_eq!(shell(&bench.session, options.clone()).await.unwrap().stdout, "two\n");
        assert_eq!(bench.output(), ["stdout: one", "stdout: there", "stdout: two"]);
        assert_eq!(left_over(), 0);
        options.skip_clean = true;
        shell(&bench.session, options.clone()).await.unwrap();
        assert_eq!(left_over(), 1);
        options.skip_clean = false;
        shell(&bench.session, options).await.unwrap();
        assert_eq!(left_over(), 0);
    }

    #[tokio::test]
    async fn a_missing_file_is_named_in_full_before_anything_runs() {
        let bench = Bench::new();
        bench.script("one.sh", b"echo one\n");
        let options = ShellOptions { scripts: vec!["one.sh".into(), "gone.sh".into()], ..ShellOptions::default() };
        let error = shell(&bench.session, options.clone()).await.unwrap_err();
        assert!(error.message().contains(&bench.path("script/gone.sh")), "{error}");
        assert!(bench.commands().is_empty());
        assert!(shell(&Bench::pretended().session, options).await.is_err());
    }

    #[tokio::test]
    async fn execute_command_is_packers() {
        let bench = Bench::new();
        let mut options = inline(&[r#"echo "$A|$B""#]);
        options.env = Env(vec![("A".into(), Some("it's".into())), ("B".into(), Some("$x `y`".into()))]);
        for template in [
            "{{ .Vars }} env -u SOME sh -e '{{ .Path }}'",
            "{{.Vars}} {{.Path}}",
            "env -i sh -c '. {{.EnvVarFile}}; {{.Path}}'",
        ] {
            options.execute_command = Some(template.into());
            assert_eq!(shell(&bench.session, options.clone()).await.unwrap().stdout, "it's|$x `y`\n", "{template}");
        }
        assert!(!bench.commands().concat().contains("`y`"), "the environment is in a command line");
        options.execute_command = Some("sh {{ .Pat }}".into());
        assert!(shell(&bench.session, options).await.unwrap_err().message().contains(".Pat"));
        assert_eq!(bench.commands().len(), 3);
    }

    #[tokio::test]
    async fn exit_codes_and_what_excludes_each_other() {
        let bench = Bench::new();
        let mut options = inline(&["exit 7"]);
        options.valid_exit_codes = Some(vec![0, 7]);
        assert_eq!(shell(&bench.session, options.clone()).await.unwrap().status, 7);
        options.valid_exit_codes = Some(vec![1, 2]);
        let message = shell(&bench.session, options.clone()).await.unwrap_err().message().to_owned();
        assert!(message.contains("exited with status 7 (accepted: 1, 2)"), "{message}");
        options.script = Some("x".into());
        assert!(shell(&bench.session, options).await.unwrap_err().message().contains("exclude each other"));
        assert!(shell(&bench.session, ShellOptions::default()).await.unwrap_err().message().contains("nothing to run"));
    }

    #[tokio::test]
    async fn a_dropped_connection_is_an_error_unless_expected() {
        let bench = Bench::new();
        bench.reboot_after_next();
        let error = shell(&bench.session, inline(&["echo down"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connect);
        bench.reboot_after_next();
        let options = ShellOptions { expect_disconnect: true, ..inline(&["echo down"]) };
        let result = shell(&bench.session, options).await.unwrap();
        assert!(result.ok && result.disconnected);
        assert_eq!(shell(&bench.session, inline(&["echo up"])).await.unwrap().stdout, "up\n");
        assert_eq!(bench.connections(), 3);
    }

    #[tokio::test]
    async fn a_pause_before_several_scripts_is_made_once() {
        let bench = Bench::new();
        for name in ["one", "two"] {
            bench.script(name, b"date +%s%3N");
        }
        let begun = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let (pause, start) = (Some(Seconds(Duration::from_millis(1500))), begun());
        let paused = OperationOptions { pause_before: pause, ..OperationOptions::default() };
        let scripts = vec!["one".into(), "two".into()];
        let work = shell(&bench.session, ShellOptions { scripts, ..ShellOptions::default() });
        paused.enter(work).await.unwrap();
        let at: Vec<u128> =
            bench.output().iter().map(|line| line.strip_prefix("stdout: ").unwrap().parse().unwrap()).collect();
        assert!(at[0] - start >= 1500 && at[1] - at[0] < 1500, "{start} {at:?}");
    }

    #[tokio::test]
    async fn a_request_holds_all_that_the_script_gets_and_nothing_else() {
        let bench = Bench::new();
        bench.script("a.sh", b"echo a");
        bench.script("b.sh", b"echo a");
        let request = async |options: ShellOptions| {
            let script = load(&bench.session, &options).await.unwrap().remove(0);
            operation(&bench.session, &script, &options).request.to_string()
        };
        let of = |path: &str| ShellOptions { script: Some(path.into()), ..ShellOptions::default() };
        let base = request(of("a.sh")).await;
        assert_eq!(request(of("b.sh")).await, base);
        assert!(!base.contains(&bench.path("")), "{base}");
        let env = |value: &str| Env(vec![("A".into(), Some(value.into()))]);
        let mut seen = vec![base];
        for other in [
            ShellOptions { env: env("1"), ..of("a.sh") },
            ShellOptions { env: env("2"), ..of("a.sh") },
            ShellOptions { environment_vars: env("1"), ..of("a.sh") },
            ShellOptions { execute_command: Some("sh {{ .Path }}".into()), ..of("a.sh") },
            ShellOptions { remote_folder: Some("/opt".into()), ..of("a.sh") },
            ShellOptions { sudo: true, ..of("a.sh") },
            ShellOptions::text("echo b"),
        ] {
            seen.push(request(other).await);
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "{seen:#?}");
    }

    #[test]
    fn takes_a_text_a_list_or_a_table() {
        let line = || Value::Str("echo".into());
        assert_eq!(ShellOptions::from_value(line()).unwrap().inline, ["echo"]);
        assert_eq!(ShellOptions::from_value(Value::List(vec![line(), line()])).unwrap().inline, ["echo", "echo"]);
        let mixed = Value::Map(vec![("1".into(), line()), ("sudo".into(), Value::Bool(true))]);
        let mixed = ShellOptions::from_value(mixed).unwrap();
        assert_eq!((mixed.inline, mixed.sudo), (vec!["echo".to_owned()], true));
        let table = Value::Map(vec![("skript".into(), line())]);
        assert_eq!(ShellOptions::from_value(table).unwrap_err().hints(), ["did you mean `script`?"]);
        assert!(ShellOptions::from_value(Value::Int(3)).is_err());
    }

    #[test]
    fn an_interpreter_is_read_as_the_kernel_does() {
        let of = |text: &str| interpreter(text.as_bytes()).map(|w| w.join("|"));
        assert_eq!(of("#!/bin/sh -e -x\nx"), Some("/bin/sh|-e -x".into()));
        assert_eq!(of("#! /usr/bin/env python3\n"), Some("/usr/bin/env|python3".into()));
        assert_eq!(of("echo"), Some("sh".into()));
        assert_eq!(of(""), Some("sh".into()));
        assert_eq!(of("\x7fELF\0\0"), None);
    }

    #[test]
    fn only_crlf_becomes_lf() {
        assert_eq!(unix_lines(b"a\r\nb\rc\r\r\n".to_vec()), b"a\nb\rc\r\n");
    }
}
