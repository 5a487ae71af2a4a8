//! A program in a terminal of its own, typed to and read from; `script` (util-linux) holds the terminal's other side.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running program and the other side of its terminal.
pub struct Terminal {
    script: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<u8>>>,
    dir: PathBuf,
}

fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_str().expect("text").replace('\'', r"'\''"))
}

impl Terminal {
    /// Starts a command, which works in a folder of the test, in a terminal of 90 columns and 30 rows.
    pub fn start(command: &Command) -> Terminal {
        Terminal::with(command, "-")
    }

    /// Starts a command that a hangup means nothing to, as nohup does.
    pub fn start_deaf(command: &Command) -> Terminal {
        Terminal::with(command, "''")
    }

    fn with(command: &Command, hangup: &str) -> Terminal {
        let dir = command.get_current_dir().expect("a folder of the test").to_owned();
        let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let line = format!("stty cols 90 rows 30; tty >tty; trap {hangup} HUP; exec {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["-qefc", &line, "/dev/null"]).current_dir(&dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        // The shell that `script` runs the line with is $SHELL, and the program may need that, too.
        let mut child = script.env("TERM", "xterm").env("SHELL", "/bin/sh").spawn().expect("script (util-linux)");
        let mut out = child.stdout.take().expect("a pipe");
        let said = Arc::new(Mutex::new(Vec::new()));
        let shared = said.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                shared.lock().expect("no poison").extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { stdin: child.stdin.take(), script: child, said, dir }
    }

    /// Types.
    pub fn enter(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("an open terminal");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("a terminal that listens");
    }

    /// Changes the size of the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        let terminal = std::fs::read_to_string(self.dir.join("tty")).expect("the terminal's name");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let args = ["-F", terminal.trim(), "cols", &columns, "rows", &rows];
        assert!(Command::new("stty").args(args).status().expect("stty").success());
    }

    /// Closes the terminal, as its window does. The program is the session's first: it hears of it.
    pub fn close(mut self) {
        self.script.kill().and_then(|()| self.script.wait()).expect("a terminal to close");
    }

    /// Returns what was shown so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no poison")).into_owned()
    }

    fn has_ended(&mut self) -> bool {
        self.script.try_wait().expect("a child").is_some()
    }

    /// Waits until `text` was shown, after what was shown up to where the last call found something.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.has_ended();
            let shown = self.said();
            if let Some(at) = shown.find(text) {
                *self.said.lock().expect("no poison") = shown.as_bytes()[at + text.len()..].to_vec();
                return;
            }
            assert!(!ended, "it ended without {text:?}:\n{shown}");
            assert!(Instant::now() < deadline, "it does not say {text:?}:\n{shown}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Waits for the program's end and returns its exit code, and what was shown.
    #[track_caller]
    pub fn end(mut self, limit: Duration) -> (i32, String) {
        let deadline = Instant::now() + limit;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.said());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        std::thread::park_timeout(Duration::from_millis(50));
        let code = self.script.wait().expect("a child").code();
        (code.expect("an exit code"), self.said())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs in it hears a hangup.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
