//! A machine for unit tests: its commands run in a real shell on this host, its connection can be dropped.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::engine::machine::Shutdown;
use crate::engine::{
    Artifact, BuildCx, CaptureSpec, Command, Communicator, ExitStatus, FileMeta, Health, Line, Machine, Mode,
    OutputSink, Session, Sink, Source, testing,
};
use crate::error::{Error, Kind, Result};
use crate::host::process::Process;
use crate::ui::event::Counter;
use crate::ui::{Event, Renderer, Stamped, Ui, UiThread};

/// A session with all that a test wants to look at.
pub struct Bench {
    pub session: Arc<Session>,
    pub dir: tempfile::TempDir,
    seen: Arc<Mutex<Vec<String>>>,
    state: Arc<State>,
    ui: UiThread,
}

#[derive(Default)]
struct State {
    commands: Mutex<Vec<String>>,
    connections: AtomicUsize,
    boots: AtomicUsize,
    drop_after: AtomicBool,
    reboot_on: Mutex<Option<String>>,
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Renderer for Lines {
    fn event(&mut self, stamped: &Stamped) {
        let line = match &stamped.event {
            Event::Output { stream, line, .. } => format!("{stream:?}: {line}").to_lowercase(),
            Event::Message { text, .. } => format!("message: {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Bench {
    #[expect(clippy::new_without_default, reason = "a test's bench is always made on purpose")]
    pub fn new() -> Bench {
        Bench::make(Mode::Live)
    }

    pub fn pretended() -> Bench {
        Bench::make(Mode::Check)
    }

    fn make(mode: Mode) -> Bench {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (ui, ui_thread) = Ui::start(vec![Box::new(Lines(seen.clone()))]);
        let (dir, cx) = testing::surroundings(mode, ui);
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let state = Arc::new(State::default());
        let machine = Arc::new(FakeMachine {
            state: state.clone(),
            health: watch::channel(Health::Running).0,
            home: dir.path().join("home"),
        });
        let session = match mode {
            Mode::Live => Session::new(machine, cx),
            _ => Session::pretended("vm", cx),
        };
        Bench { session, dir, seen, state, ui: ui_thread }
    }

    /// Returns a path in the test's folder.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Puts a program of the test's own in front of the machine's.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join("home/bin").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes the machine's user an ordinary one whose sudo works as the real one does: it must be asked with `-n --`,
    /// and clears the environment.
    pub fn unprivileged(&self) {
        self.program("id", "#!/bin/sh\n[ -n \"$AS_ROOT\" ]&&echo 0||echo 1000\n");
        self.program(
            "sudo",
            "#!/bin/sh\n[ \"$1 $2\" = '-n --' ]||{ echo 'sudo: a password is required' >&2;exit 1;}\nshift 2\n\
             exec env -i PATH=\"$PATH\" AS_ROOT=1 \"$@\"\n",
        );
    }

    /// Writes a file beside the script and returns its name.
    pub fn script(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.dir.path().join("script").join(name), bytes).unwrap();
        name.to_owned()
    }

    /// Returns the output lines and messages seen so far.
    pub fn output(&self) -> Vec<String> {
        self.ui.flush();
        self.seen.lock().unwrap().clone()
    }

    /// Returns the command lines that reached the machine.
    pub fn commands(&self) -> Vec<String> {
        self.state.commands.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Makes the next command drop its connection when it ends, and the machine boot anew.
    pub fn reboot_after_next(&self) {
        self.state.drop_after.store(true, Ordering::SeqCst);
    }

    /// Makes the next command that contains `text` do the same.
    pub fn reboot_on(&self, text: &str) {
        *self.state.reboot_on.lock().unwrap() = Some(text.to_owned());
    }
}

struct FakeMachine {
    state: Arc<State>,
    health: watch::Sender<Health>,
    home: std::path::PathBuf,
}

#[async_trait]
impl Machine for FakeMachine {
    fn name(&self) -> &str {
        "vm"
    }
    fn id(&self) -> String {
        "1".into()
    }
    async fn connect(&self, _: &BuildCx) -> Result<Arc<dyn Communicator>> {
        self.state.connections.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Shell { state: self.state.clone(), home: self.home.clone(), gone: watch::channel(false).0 }))
    }
    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
    async fn shutdown(&self, _: Shutdown<'_>, _: &BuildCx) -> Result<()> {
        Ok(())
    }
    async fn capture(&self, _: &CaptureSpec, _: &BuildCx) -> Result<Artifact> {
        Err(Error::new(Kind::Unsupported, "no"))
    }
    async fn destroy(&self) -> Result<()> {
        Ok(())
    }
}

struct Shell {
    state: Arc<State>,
    home: std::path::PathBuf,
    gone: watch::Sender<bool>,
}

impl Shell {
    fn at(&self, path: &str) -> std::path::PathBuf {
        self.home.join(path.trim_start_matches("~/"))
    }
}

fn io(e: std::io::Error) -> Error {
    Error::new(Kind::Io, "fake").caused_by(e)
}

#[async_trait]
impl Communicator for Shell {
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus> {
        let line = match &command.line {
            Line::Shell(line) => line.clone(),
            argv => argv.to_shell(),
        };
        self.state.commands.lock().unwrap().push(line.clone());
        let reboots = self.state.reboot_on.lock().unwrap().as_ref().is_some_and(|text| line.contains(text.as_str()));
        self.state.drop_after.fetch_or(reboots, Ordering::SeqCst);
        // The kernel's boot id cannot change under a test; the machine has its own.
        let boot = self.state.boots.load(Ordering::SeqCst);
        let mut child = tokio::process::Command::new("/bin/sh");
        let line = line.replace("/proc/sys/kernel/random/boot_id", "\"$FAKE_BOOT_FILE\"");
        let boot_file = self.home.join(".boot");
        std::fs::write(&boot_file, format!("boot-{boot}\n")).map_err(io)?;
        let path = format!("{}/bin:{}", self.home.display(), std::env::var("PATH").unwrap());
        child
            .env("PATH", path)
            .args(["-c", &line])
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("FAKE_BOOT_FILE", &boot_file);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut child)?;
        let mut stdin = process.child().stdin.take().unwrap();
        let mut stdout = process.child().stdout.take().unwrap();
        let mut stderr = process.child().stderr.take().unwrap();
        let input = command.stdin.clone().unwrap_or_default();
        let write = async move {
            let _ = stdin.write_all(&input).await;
        };
        let read = async {
            let (mut a, mut b) = (vec![0; 4096], vec![0; 4096]);
            let (mut open_a, mut open_b) = (true, true);
            while open_a || open_b {
                tokio::select! {
                    biased;
                    n = stdout.read(&mut a), if open_a => match n.unwrap_or(0) { 0 => open_a = false, n => out.stdout(&a[..n]) },
                    n = stderr.read(&mut b), if open_b => match n.unwrap_or(0) { 0 => open_b = false, n => out.stderr(&b[..n]) },
                }
            }
        };
        tokio::join!(write, read);
        let status = process.wait().await.map_err(io)?;
        if self.state.drop_after.swap(false, Ordering::SeqCst) {
            self.state.boots.fetch_add(1, Ordering::SeqCst);
            self.gone.send_replace(true);
            return Err(Error::new(Kind::Connect, "the connection dropped"));
        }
        Ok(match status.code() {
            Some(code) => ExitStatus::Code(code),
            None => ExitStatus::Signal("TERM".into()),
        })
    }

    async fn upload(&self, what: Source<'_>, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        use std::os::unix::fs::PermissionsExt;
        let to = self.at(to);
        let bytes = match what {
            Source::File(path) => std::fs::read(path).map_err(io)?,
            Source::Bytes(bytes) => bytes.to_vec(),
            Source::Tree(path) => {
                let status = std::process::Command::new("cp").arg("-a").arg(path.join(".")).arg(to).status();
                assert!(status.unwrap().success());
                return Ok(0);
            }
        };
        std::fs::write(&to, &bytes).map_err(io)?;
        let mode = meta.mode.unwrap_or(0o644);
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)).map_err(io)?;
        counter.add(bytes.len() as u64);
        Ok(bytes.len() as u64)
    }

    async fn download(&self, from: &str, to: Sink<'_>, _: &Counter) -> Result<u64> {
        let from = self.at(from);
        let copy = |to: &Path| std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
        match to {
            Sink::Tree(to) => {
                std::fs::create_dir_all(to).map_err(io)?;
                assert!(copy(to).unwrap().success());
                Ok(0)
            }
            Sink::File(to) => std::fs::copy(&from, to).map_err(io),
            Sink::Bytes(to) => {
                *to = std::fs::read(&from).map_err(io)?;
                Ok(to.len() as u64)
            }
        }
    }

    async fn close(&self) {
        self.gone.send_replace(true);
    }

    async fn closed(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }
}
