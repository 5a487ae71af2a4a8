//! The inside of a machine for tests: a folder is its disk, another its memory, its commands run in a real shell here.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::engine::{Command, Communicator, ExitStatus, FileMeta, OutputSink, Sink, Source};
use crate::error::{Error, Kind, Result};
use crate::host::process::Process;
use crate::ui::event::Counter;

/// A system that runs.
pub struct Guest {
    /// Its disk, where commands begin, and their home.
    disk: PathBuf,
    /// Its memory, `$MEMORY`: empty after each boot but for the number of the boot.
    memory: PathBuf,
    /// A file on this host to which all that reaches the guest is added, a line each.
    log: Option<PathBuf>,
    commands: Mutex<Vec<String>>,
    connections: AtomicUsize,
    drop_after: AtomicBool,
    reboot_on: Mutex<Option<String>>,
}

impl Guest {
    /// Makes a guest with these folders, which are there, and boots it.
    pub fn boot(disk: PathBuf, memory: PathBuf, log: Option<PathBuf>) -> Guest {
        let guest = Guest::resume(disk, memory, log);
        guest.reboot();
        guest
    }

    /// Makes a guest that goes on with what is in its memory.
    pub fn resume(disk: PathBuf, memory: PathBuf, log: Option<PathBuf>) -> Guest {
        Guest {
            disk,
            memory,
            log,
            commands: Mutex::default(),
            connections: AtomicUsize::new(0),
            drop_after: AtomicBool::new(false),
            reboot_on: Mutex::default(),
        }
    }

    pub fn disk(&self) -> &Path {
        &self.disk
    }

    pub fn memory(&self) -> &Path {
        &self.memory
    }

    /// Makes a connection.
    pub fn connect(self: &Arc<Self>) -> Arc<dyn Communicator> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Arc::new(Shell { guest: self.clone(), gone: watch::channel(false).0 })
    }

    /// Returns the command lines that reached it.
    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Makes the next command drop its connection when it ends, and the guest boot anew.
    pub fn reboot_after_next(&self) {
        self.drop_after.store(true, Ordering::SeqCst);
    }

    /// Makes the next command that contains `text` do the same.
    pub fn reboot_on(&self, text: &str) {
        *self.reboot_on.lock().unwrap() = Some(text.to_owned());
    }

    fn reboot(&self) {
        for entry in std::fs::read_dir(&self.memory).unwrap() {
            crate::host::atomic::remove(&entry.unwrap().path());
        }
        // The kernel's own boot id cannot change under a test.
        std::fs::write(self.memory.join("boot_id"), format!("{}\n", uuid::Uuid::new_v4())).unwrap();
    }

    /// Adds a line to the log.
    pub fn note(&self, line: &str) {
        note(self.log.as_deref(), line);
    }

    fn at(&self, path: &str) -> PathBuf {
        self.disk.join(path.trim_start_matches("~/"))
    }
}

/// Adds a line to a log, where there is one.
pub fn note(log: Option<&Path>, line: &str) {
    if let Some(log) = log {
        let mut file = std::fs::File::options().append(true).create(true).open(log).unwrap();
        let line = format!("{}\n", line.replace('\n', "\\n"));
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
}

struct Shell {
    guest: Arc<Guest>,
    gone: watch::Sender<bool>,
}

/// Names the path as it was asked for: where the machine's disk is on this host is nothing that it knows.
fn io(path: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |e| crate::error::io_error("use", path, e)
}

#[async_trait]
impl Communicator for Shell {
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus> {
        let guest = &self.guest;
        let line = command.line.to_shell();
        guest.note(&format!("run {line}"));
        guest.commands.lock().unwrap().push(line.clone());
        let reboots = guest.reboot_on.lock().unwrap().as_ref().is_some_and(|text| line.contains(text.as_str()));
        guest.drop_after.fetch_or(reboots, Ordering::SeqCst);
        let line = line.replace("/proc/sys/kernel/random/boot_id", "\"$MEMORY/boot_id\"");
        let path = format!("{}/bin:{}", guest.disk.display(), std::env::var("PATH").unwrap());
        let mut shell = tokio::process::Command::new("/bin/sh");
        shell.args(["-c", &line]).current_dir(&guest.disk).env_clear();
        shell.env("PATH", path).env("HOME", &guest.disk).env("MEMORY", &guest.memory).env("LC_ALL", "C");
        shell.envs(command.env.iter().map(|(name, value)| (name, value)));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut shell)?;
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
        let status = process.wait().await.map_err(io("the machine"))?;
        // A script reboots it so: `vm:reboot { command = "touch $MEMORY/reboot" }`.
        if guest.drop_after.swap(false, Ordering::SeqCst) || guest.memory.join("reboot").exists() {
            guest.reboot();
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
        self.guest.note(&format!("upload {to}"));
        let (name, to) = (to, self.guest.at(to));
        let (bytes, own_mode) = match what {
            Source::File(path) => {
                let mode = std::fs::metadata(path).map_err(io(name))?.permissions().mode() & 0o7777;
                (std::fs::read(path).map_err(io(name))?, mode)
            }
            Source::Bytes(bytes) => (bytes.to_vec(), 0o644),
            Source::Tree(path) => {
                super::layers::copy(path, &to)?;
                return Ok(0);
            }
        };
        // It takes the place of what is there, as a whole, as the real ones do.
        let beside = to.with_extension("rimg-upload");
        std::fs::write(&beside, &bytes).map_err(io(name))?;
        let mode = std::fs::Permissions::from_mode(meta.mode.unwrap_or(own_mode));
        std::fs::set_permissions(&beside, mode).map_err(io(name))?;
        std::fs::rename(&beside, &to).map_err(io(name))?;
        counter.add(bytes.len() as u64);
        Ok(bytes.len() as u64)
    }

    async fn download(&self, from: &str, to: Sink<'_>, _: &Counter) -> Result<u64> {
        self.guest.note(&format!("download {from}"));
        let (name, from) = (from, self.guest.at(from));
        match to {
            Sink::Tree(to) => super::layers::copy(&from, to).map(|()| 0),
            Sink::File(to) => {
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent).map_err(io(name))?;
                }
                std::fs::copy(&from, to).map_err(io(name))
            }
            Sink::Bytes(to) => {
                *to = std::fs::read(&from).map_err(io(name))?;
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
