//! `rimg.exec`: a command on this host, in a process group of its own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mlua::{Lua, Table};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::current::current;
use crate::communicator::linger::Linger;
use crate::engine::options::{Blob, EnvChanges};
use crate::engine::{BuildCx, OutputSink, Resource, ResourceId, Resources, Seconds};
use crate::error::{Error, Kind, Result};
use crate::host::process::{self, Process};
use crate::provisioner::output::{Capture, Captured};
use crate::script::error::{argument_error, lua_error};
use crate::script::value::{bytes, decode_table, wrong_type};
use crate::ui::Ui;
use crate::ui::event::Unit;

const OF: &str = "rimg.exec";
/// How long a command that ran out of time has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// Options of `rimg.exec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecOptions {
    /// The folder to run it in, relative to the script's; default the script's.
    pub cwd: Option<PathBuf>,
    /// Variables added to the environment, as a table or a list of `"NAME=value"`; `false` takes one away.
    pub env: EnvChanges,
    /// What it reads from its standard input; default nothing.
    pub input: Option<Blob>,
    /// Whether a status that is not accepted is an error; default true.
    pub check: Option<bool>,
    /// The statuses that are accepted; default 0 alone.
    pub valid_exit_codes: Vec<i32>,
    /// How long it may take; default without limit.
    pub timeout: Option<Seconds>,
    /// Whether its output is captured without being shown; default false.
    pub quiet: bool,
    /// What output and errors call it; default the command itself, shortened.
    pub title: Option<String>,
}

struct Finished {
    status: i32,
    signal: Option<String>,
    captured: Captured,
}

/// Runs `rimg.exec(command, options)`.
pub async fn exec(lua: Lua, (command, options): (mlua::Value, mlua::Value)) -> mlua::Result<Table> {
    let argv = argv(&command)?;
    let options: ExecOptions = decode_table(OF, &options)?;
    let cx = current(&lua, OF)?;
    let title = options.title.clone().unwrap_or_else(|| title(&command, &argv));
    let finished = if cx.settings.is_live() {
        super::current::acts(&lua);
        run(&cx, &title, argv, &options).await.map_err(lua_error)?
    } else {
        Finished { status: 0, signal: None, captured: Captured::default() }
    };
    let accepted = match options.valid_exit_codes.as_slice() {
        // What is not run cannot fail.
        _ if !cx.settings.is_live() => true,
        [] => finished.status == 0,
        codes => codes.contains(&finished.status),
    };
    if !accepted && options.check.unwrap_or(true) {
        return Err(lua_error(refused(&title, finished)));
    }
    let captured = finished.captured;
    let result = lua.create_table()?;
    result.raw_set("status", finished.status)?;
    result.raw_set("signal", finished.signal.as_deref())?;
    result.raw_set("truncated", captured.truncated())?;
    result.raw_set("stdout", lua.create_string(captured.stdout.bytes)?)?;
    result.raw_set("stderr", lua.create_string(captured.stderr.bytes)?)?;
    result.raw_set("ok", accepted)?;
    Ok(result)
}

/// A string is for the shell, a list is a program and its arguments.
fn argv(command: &mlua::Value) -> mlua::Result<Vec<OsString>> {
    match command {
        mlua::Value::String(text) if text.as_bytes().iter().all(u8::is_ascii_whitespace) => {
            Err(argument_error(OF, "the command is empty"))
        }
        mlua::Value::String(text) => {
            Ok(vec!["/bin/sh".into(), "-c".into(), OsString::from_vec(text.as_bytes().to_vec())])
        }
        mlua::Value::Table(list) => {
            let length = list.raw_len();
            let count = list.pairs::<mlua::Value, mlua::Value>().count();
            if length == 0 || count != length {
                let message = "the command: expected a string, or a list of a program and its arguments";
                let error = Error::new(Kind::Option, format!("{OF}: {message}"));
                return Err(lua_error(
                    error.hint("options go in a second table: rimg.exec({ \"ls\" }, { cwd = \"/\" })"),
                ));
            }
            let item = |n: usize| {
                let value: mlua::Value = list.raw_get(n)?;
                bytes(OF, &format!("the command's part {n}"), &value).map(OsString::from_vec)
            };
            (1..=length).map(item).collect()
        }
        other => Err(wrong_type(OF, "the command", "a string or a list of strings", other)),
    }
}

/// Returns the command in one short line.
fn title(command: &mlua::Value, argv: &[OsString]) -> String {
    let text = match command {
        mlua::Value::String(text) => text.to_string_lossy(),
        _ => argv.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" "),
    };
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default();
    let more = lines.next().is_some() || first.chars().count() > 100;
    let short: String = first.chars().take(100).collect();
    if more { format!("{short} …") } else { short }
}

async fn run(cx: &BuildCx, title: &str, argv: Vec<OsString>, options: &ExecOptions) -> Result<Finished> {
    let cwd = cx.settings.resolve(options.cwd.as_deref().unwrap_or("".as_ref()));
    if !cwd.is_dir() {
        let message = format!("{OF}: option `cwd`: {} is not a folder", cwd.display());
        return Err(Error::new(Kind::Option, message));
    }
    let mut argv = argv.into_iter();
    let mut command = Command::new(argv.next().unwrap_or_default());
    command.args(argv).current_dir(&cwd).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if options.input.is_some() { Stdio::piped() } else { Stdio::null() });
    for (name, value) in &options.env.0 {
        match value {
            None => command.env_remove(name),
            Some(value) => command.env(name, value),
        };
    }
    let _progress = cx.ui.progress(title, None, Unit::Spinner);
    let entered = Entered::new(&cx.resources, title).await?;
    let mut process = Process::spawn(&mut command).map_err(|e| e.within(OF))?;
    entered.started(process.id());
    let capture = Mutex::new(Capture::new(cx.ui.clone(), "localhost", options.quiet));
    let work = attend(&mut process, options.input.as_ref(), &capture, &cx.ui);
    let status = match options.timeout {
        None => Some(work.await),
        Some(limit) => tokio::time::timeout(limit.0, work).await.ok(),
    };
    let captured = capture.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    let Some(status) = status else {
        process.end(GRACE).await;
        let limit = options.timeout.map(|limit| limit.0).unwrap_or_default();
        return Err(Error::new(Kind::Timeout, format!("{OF}: `{title}` took longer than {limit:?}"))
            .field("stdout", captured.stdout.into_text())
            .field("stderr", captured.stderr.into_text()));
    };
    let status =
        status.map_err(|e| Error::new(Kind::Host, format!("{OF}: `{title}`: lost its output")).caused_by(e))?;
    Ok(Finished {
        status: status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1),
        signal: status.signal().map(process::signal_name),
        captured,
    })
}

/// Feeds and drains the process until it has ended and its pipes are closed or silent.
async fn attend(
    process: &mut Process,
    input: Option<&Blob>,
    capture: &Mutex<Capture>,
    ui: &Ui,
) -> std::io::Result<ExitStatus> {
    let child = process.child();
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = CancellationToken::new();
    let feed = async {
        if let (Some(mut stdin), Some(Blob(input))) = (stdin, input) {
            tokio::select! {
                // A program need not read all it is given.
                _ = stdin.write_all(input) => {}
                () = ended.cancelled() => {}
            }
        }
    };
    let wait = async {
        let status = process.wait().await;
        ended.cancel();
        status
    };
    let take = |feed: fn(&mut Capture, &[u8])| {
        move |bytes: &[u8]| feed(&mut capture.lock().unwrap_or_else(PoisonError::into_inner), bytes)
    };
    let (stdout, stderr) = (take(Capture::stdout), take(Capture::stderr));
    let (status, (), out, err) =
        tokio::join!(wait, feed, drain(out, stdout, ui, &ended), drain(err, stderr, ui, &ended));
    out?;
    err?;
    status
}

async fn drain(
    pipe: Option<impl AsyncRead + Unpin>,
    take: impl Fn(&[u8]),
    ui: &Ui,
    ended: &CancellationToken,
) -> std::io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; 64 * 1024];
    let mut linger = Linger::default();
    while !linger.is_over() {
        if ended.is_cancelled() {
            linger.begin();
        }
        let read = tokio::select! {
            biased;
            read = pipe.read(&mut chunk) => read?,
            () = linger.silence() => 0,
            () = ended.cancelled(), if !ended.is_cancelled() => continue,
        };
        if read == 0 {
            break;
        }
        linger.took(read);
        take(chunk.get(..read).unwrap_or_default());
        ui.room().await;
    }
    Ok(())
}

/// The process's entry among the build's resources, struck out when the process is gone.
struct Entered {
    resources: Resources,
    id: ResourceId,
    group: std::sync::Arc<std::sync::OnceLock<u32>>,
}

impl Entered {
    async fn new(resources: &Resources, title: &str) -> Result<Entered> {
        let group = std::sync::Arc::new(std::sync::OnceLock::<u32>::new());
        let started = group.clone();
        let entered = resources.enter(Resource::process("process", title), move || async move {
            let pid = started.get().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            Ok(())
        });
        Ok(Entered { resources: resources.clone(), id: entered.await?, group })
    }

    fn started(&self, id: Option<u32>) {
        if let Some(id) = id {
            let _ = self.group.set(id);
            self.resources.has_process(self.id, Some(id));
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.resources.forget(self.id);
    }
}

/// Makes the error for a status that is not accepted, with the command's last words.
fn refused(title: &str, finished: Finished) -> Error {
    let last = finished.captured.last_lines(10);
    let how = match &finished.signal {
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("ended with status {}", finished.status),
    };
    let message = match last.as_str() {
        "" => format!("{OF}: `{title}` {how}, without a word"),
        last => format!("{OF}: `{title}` {how}: {last}"),
    };
    let error = Error::new(Kind::Command, message)
        .field("status", finished.status)
        .field("stdout", finished.captured.stdout.into_text())
        .field("stderr", finished.captured.stderr.into_text());
    match &finished.signal {
        Some(signal) => error.field("signal", signal.as_str()),
        None if finished.status == 127 => error.hint("the shell did not find the program"),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::testing::World;
    use super::*;
    use crate::engine::Mode;

    fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
        rimg.set("exec", lua.create_async_function(exec)?)
    }

    fn world() -> World {
        World::new(register)
    }

    #[test]
    fn runs_shell_text_and_argv() {
        let world = world();
        world.ok(r#"
            local r = rimg.exec("echo out; echo err >&2; printf '\\377'; exit 3", { check = false })
            assert(r.status == 3 and r.ok == false and r.stdout == "out\n\255" and r.stderr == "err\n")
            assert(rimg.exec({ "printf", "%s|", "a b", "$HOME", 3 }).stdout == "a b|$HOME|3|")
            assert(rimg.exec("cat", { input = "x\0y" }).stdout == "x\0y")
            assert(rimg.exec("true", { input = ("x"):rep(1000000) }).ok)
            assert(rimg.exec("echo $A$B$C", { env = { A = 1, B = "two", C = true }, quiet = true }).stdout == "1twotrue\n")
            assert(rimg.exec("echo ${HOME-none}", { env = { HOME = false } }).stdout == "none\n")
            assert(rimg.exec("exit 4", { valid_exit_codes = { 0, 4 } }).ok)
            assert(rimg.exec("echo $A-$B", { env = { "A=1=2", "B=" } }).stdout == "1=2-\n")
            local killed = rimg.exec("kill -9 $$", { check = false })
            assert(killed.status == 137 and killed.signal == "KILL")
        "#);
        let heard = world.messages();
        assert!(heard.contains(&"stdout out".into()) && heard.contains(&"stderr err".into()), "{heard:?}");
        assert!(!heard.iter().any(|line| line.contains("1two")), "{heard:?}");
        assert!(world.cx.resources.list().is_empty());
    }

    #[test]
    fn starts_in_the_scripts_folder() {
        let world = world();
        std::fs::create_dir(world.script_dir().join("sub")).unwrap();
        let dir = world.script_dir().display().to_string();
        world.lua.globals().set("dir", dir).unwrap();
        world.ok("assert(rimg.exec('pwd').stdout == dir .. '\\n')");
        world.ok("assert(rimg.exec('pwd', { cwd = 'sub' }).stdout == dir .. '/sub\\n')");
        assert!(world.err("rimg.exec('pwd', { cwd = 'nowhere' })").message().contains("/nowhere is not a folder"));
    }

    #[test]
    fn a_failure_shows_the_last_words_and_carries_fields() {
        let world = world();
        let error = world.err("rimg.exec('echo so; for i in 1 2 3; do echo line $i >&2; done; exit 2')");
        assert_eq!(error.kind(), Kind::Command);
        assert!(error.message().ends_with("ended with status 2: line 1\nline 2\nline 3"), "{error}");
        assert_eq!(error.get("status"), Some(&2.into()));
        assert_eq!(error.get("stdout"), Some(&"so\n".into()));
        assert_eq!(world.err("rimg.exec { 'no-such-program-anywhere' }").kind(), Kind::Host);
        assert_eq!(world.err("rimg.exec('ls', { chek = false })").hints(), ["did you mean `check`?"]);
        assert!(world.err("rimg.exec { 'ls', cwd = '/' }").hints()[0].contains("second table"));
        assert!(world.err("rimg.exec('x', { env = { 'A' } })").message().contains("expected \"NAME=value\""));
        assert!(world.err("rimg.exec('x', { env = { ['A=B'] = 1 } })").message().contains("option `env`"));
        assert!(world.err("rimg.exec('x', { env = 'A=1' })").message().contains("NAME = value"));
        assert!(world.err("rimg.exec(nil)").message().contains("found nil"));
        assert!(world.err("rimg.exec {}").message().contains("expected a string, or a list"));
    }

    #[test]
    fn more_than_a_result_holds_is_counted_out_and_not_kept() {
        let world = world();
        world.ok(r#"
            local r = rimg.exec("head -c 40000000 /dev/zero; echo end >&2", { quiet = true })
            assert(r.truncated and #r.stdout == 16 * 2^20 and r.stderr == "end\n", #r.stdout)
            assert(rimg.exec("echo x").truncated == false)
        "#);
    }

    #[test]
    fn time_runs_out_and_nothing_is_left() {
        let world = world();
        let started = Instant::now();
        let error = world.err("rimg.exec('echo begun; sleep 1000 & echo $! > pid; wait', { timeout = '1s' })");
        assert_eq!((error.kind(), error.get("stdout")), (Kind::Timeout, Some(&"begun\n".into())));
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_gone(&world);
    }

    #[test]
    fn cancelling_kills_the_whole_group() {
        let world = world();
        let chunk = world.lua.load("rimg.exec('sleep 1000 & echo $! > pid; wait')");
        world.block_on(async {
            let run = chunk.exec_async();
            assert!(tokio::time::timeout(Duration::from_secs(2), run).await.is_err());
        });
        assert_gone(&world);
        assert!(world.cx.resources.list().is_empty());
    }

    /// The background process that wrote its id ends soon.
    fn assert_gone(world: &World) {
        let pid = std::fs::read_to_string(world.script_dir().join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let deadline = Instant::now() + Duration::from_secs(30);
        // A zombie that nobody reaps counts as gone.
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(Instant::now() < deadline, "still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_the_script_up() {
        let world = world();
        let started = Instant::now();
        world.ok("assert(rimg.exec('echo x; sleep 40 &').stdout == 'x\\n')");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn check_runs_nothing_but_still_reads_options() {
        let world = World::with_mode(Mode::Check, register);
        world.ok("local r = rimg.exec('touch made; exit 1'); assert(r.status == 0 and r.stdout == '' and r.ok)");
        assert!(!world.script_dir().join("made").exists());
        assert_eq!(world.err("rimg.exec('x', { cdw = '.' })").hints(), ["did you mean `cwd`?"]);
    }
}
