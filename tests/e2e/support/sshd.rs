//! A real OpenSSH server on loopback, with keys and a configuration of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rimg::host::process::which;

use super::library::skip;

/// A running sshd; dropping it ends the server and the connections it forked for.
pub struct Sshd {
    pub port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
    program: PathBuf,
}

/// Returns the path of a program that may be where only root's `PATH` leads, or says that the test is skipped.
pub fn program(name: &str) -> Option<PathBuf> {
    let system = Path::new("/usr/sbin").join(name);
    let found = which(name).or_else(|| system.is_file().then_some(system));
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Returns a port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn keygen(path: &Path, args: &[&str]) {
    let status = Command::new("ssh-keygen").args(["-q", "-f"]).arg(path).args(args).status().unwrap();
    assert!(status.success());
}

impl Sshd {
    /// Starts a server with `extra` lines in its configuration; none when sshd is not installed.
    pub fn start(extra: &str) -> Option<Sshd> {
        Sshd::start_with(&["-t", "ed25519"], extra)
    }

    /// Starts a server with a host key made with these arguments of ssh-keygen.
    pub fn start_with(host_key: &[&str], extra: &str) -> Option<Sshd> {
        let program = program("sshd")?;
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("host_key"), &[host_key, &["-N", ""]].concat());
        keygen(&dir.path().join("user_key"), &["-t", "ed25519", "-N", "", "-C", "e2e-user"]);
        std::fs::copy(dir.path().join("user_key.pub"), dir.path().join("authorized_keys")).unwrap();
        let port = free_port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // The first line of a keyword wins, but a second subsystem of one name is an error.
        let sftp = if extra.contains("Subsystem") { "" } else { "Subsystem sftp internal-sftp\n" };
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\nMaxStartups 1000\n{sftp}{extra}\n",
            path("host_key"),
            path("authorized_keys"),
        );
        std::fs::write(dir.path().join("sshd_config"), config).unwrap();
        // Where sshd was never started as a service, its privilege separation folder is missing.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut sshd = Sshd { port, dir, child: None, program };
        sshd.boot();
        Some(sshd)
    }

    /// Starts the server (again) on its port.
    pub fn boot(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new(&self.program)
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(self.dir.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen: {}", self.log());
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "sshd ended: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends the server and every connection it serves.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.hang_up_from(child.id());
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Ends the processes that serve connections, and leaves the server listening.
    pub fn hang_up(&self) {
        self.hang_up_from(self.child.as_ref().unwrap().id());
    }

    fn hang_up_from(&self, parent: u32) {
        for child in children(parent) {
            // The monitor and the unprivileged process beside it; commands are left to find out.
            for grandchild in children(child).into_iter().filter(|&pid| is_sshd(pid)) {
                kill(grandchild);
            }
            kill(child);
        }
    }

    /// Stops the processes that serve connections, as a machine that hangs; they are ended with the server.
    pub fn freeze(&self) {
        for child in children(self.child.as_ref().unwrap().id()) {
            for pid in children(child).into_iter().filter(|&pid| is_sshd(pid)).chain([child]) {
                signal(pid, rustix::process::Signal::STOP);
            }
        }
    }

    /// Returns the path of a file in the server's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns how many connections the server serves.
    pub fn connections(&self) -> usize {
        self.child.as_ref().map_or(0, |child| children(child.id()).len())
    }

    /// Makes a new host key; the next `boot` uses it.
    pub fn change_host_key(&self) {
        let key = self.dir.path().join("host_key");
        std::fs::remove_file(&key).unwrap();
        keygen(&key, &["-t", "ed25519", "-N", ""]);
    }

    /// Lets another public key in.
    pub fn authorize(&self, line: &str) {
        let path = self.dir.path().join("authorized_keys");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    pub fn user_key(&self) -> PathBuf {
        self.dir.path().join("user_key")
    }

    /// Returns the public host key as `ssh-keygen` wrote it.
    pub fn host_key(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("host_key.pub")).unwrap()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        let _ = std::fs::File::open(self.dir.path().join("log")).and_then(|mut f| f.read_to_string(&mut text));
        text
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the process ids whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name in parentheses may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        if parent == Some(pid) {
            found.push(id);
        }
    }
    found
}

fn is_sshd(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("sshd"))
}

fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
