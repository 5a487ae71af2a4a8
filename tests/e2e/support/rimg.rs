//! The real binary, run with folders of its own so that tests neither see nor disturb this user's.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A private folder with its own cache and state folders; removed with the value.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let dir = tempfile::Builder::new().prefix("rimg-e2e-").tempdir().expect("a temporary folder");
        Sandbox { dir }
    }

    /// Returns the folder that commands run in.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file, with its parent folders, and returns its path.
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a parent folder");
        }
        std::fs::write(&path, text).expect("a file of the test");
        path
    }

    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    /// Returns a file's text; none when there is no such file.
    pub fn read_if(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.join(path)).unwrap_or_default()
    }

    /// Returns the command without starting it: to add an environment, to stream or to send it signals.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rimg"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            // Options of whoever runs the tests are no part of them.
            if name.to_string_lossy().starts_with("RIMG_") || name == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        let temporary = self.join(".tmp");
        std::fs::create_dir_all(&temporary).expect("a folder for temporary files");
        command.env("RIMG_CACHE_DIR", self.join(".cache")).env("RIMG_STATE_DIR", self.join(".state"));
        command.env("TMPDIR", temporary);
        command
    }

    /// Runs rimg to its end.
    pub fn rimg<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.command(args))
    }

    /// Writes `source` as `build.lua` and runs it, `args` behind it; whatever came of it, nothing may be left over.
    #[track_caller]
    pub fn run(&self, source: &str, args: &[&str]) -> Run {
        self.write("build.lua", source);
        let run = self.rimg(["run", "build.lua"].iter().chain(args));
        self.assert_clean_after(&run);
        run
    }

    /// Fails the test if a process, a socket, a private folder or half an output of a run that is over is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_clean_after(&"");
    }

    /// The same, and shows the run that left it.
    #[track_caller]
    pub fn assert_clean_after(&self, run: &dyn std::fmt::Debug) {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            // What was killed a moment ago may still be on the kernel's list.
            assert!(Instant::now() < deadline, "left over: {left:#?}\n{run:?}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Returns what assert_clean would find.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            self.processes().into_iter().map(|(id, line)| format!("process {id}: {line}")).collect();
        let private = [self.join(".cache/run"), self.join(".tmp")];
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let half = entry.file_name().to_string_lossy().contains(".rimg-");
                let is_private = private.iter().any(|private| folder.starts_with(private));
                if half || is_private || kind.is_socket() {
                    left.push(format!("file {}", entry.path().display()));
                }
                if kind.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        left
    }

    /// Returns the processes that name this sandbox in their command line or work in it, with their command lines.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if line.contains(&*self.path().to_string_lossy()) || folder.starts_with(self.path()) {
                found.push((id, line.trim().to_owned()));
            }
        }
        found
    }

    /// Writes `source` as `build.lua` and starts it, to be watched and interrupted.
    pub fn start(&self, source: &str, args: &[&str]) -> Live {
        self.write("build.lua", source);
        self.watch(self.command(["run", "build.lua"].iter().chain(args)))
    }

    /// Starts a command, to be watched and interrupted.
    pub fn watch(&self, mut command: Command) -> Live {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rimg starts");
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Live { child, stdout, stderr }
    }
}

/// Reads a pipe to its end on a thread of its own.
fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let text = Arc::new(Mutex::new(Vec::new()));
    let shared = text.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            shared.lock().expect("no poison").extend_from_slice(&buffer[..count]);
        }
    });
    text
}

fn text_of(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("no poison")).into_owned()
}

/// A run that goes on; a test that fails takes it down.
pub struct Live {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Live {
    /// Waits until the run has said `text`; fails when it ends first, or takes longer than `limit`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        self.wait_until(&format!("to say {text:?}"), limit, |said| said.contains(text));
    }

    /// Waits until `condition` holds for what the run has written so far.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + limit;
        while !condition(&text_of(&self.stdout)) {
            let ended = self.child.try_wait().expect("a child");
            let (out, err) = (text_of(&self.stdout), text_of(&self.stderr));
            assert!(ended.is_none(), "rimg ended ({ended:?}) instead of {what}\n--- stdout\n{out}\n--- stderr\n{err}");
            assert!(Instant::now() < deadline, "rimg took too long {what}\n--- stdout\n{out}\n--- stderr\n{err}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits until `condition` holds for what the run has written so far; tells whether it did before the run ended.
    pub fn reaches(&mut self, limit: Duration, mut condition: impl FnMut(&str) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait().expect("a child").is_some();
            if condition(&text_of(&self.stdout)) {
                return true;
            }
            if ended || Instant::now() > deadline {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends a signal to rimg alone, not to what it started; one that has ended is fine.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        // It is not reaped before it is waited for, so that nobody else can have the id.
        let _ = rustix::process::kill_process(id, signal);
    }

    /// Waits for the end; fails when it takes longer than `limit`.
    #[track_caller]
    pub fn end(mut self, limit: Duration) -> Run {
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(10)),
                None => panic!(
                    "rimg did not end within {limit:?}\n--- stdout\n{}\n--- stderr\n{}",
                    text_of(&self.stdout),
                    text_of(&self.stderr)
                ),
            }
        };
        // The readers see the end of the pipes a moment later.
        std::thread::park_timeout(Duration::from_millis(50));
        Run { code: status.code(), stdout: text_of(&self.stdout), stderr: text_of(&self.stderr) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It cleans up after itself, as long as it is asked.
            self.interrupt();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A finished run, as text.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Run {
        Run::from(command.output().expect("rimg starts"))
    }

    /// Fails the test, showing everything the run said, unless it ended with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless each of `texts` stands in what the run wrote to standard error.
    #[track_caller]
    pub fn expect_errors(self, texts: &[&str]) -> Run {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in\n{}", self.stderr);
        }
        self
    }

    /// Returns the events of a run with `--json`; every line must be one.
    #[track_caller]
    pub fn events(&self) -> Vec<serde_json::Value> {
        let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"));
        self.stdout.lines().map(event).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
