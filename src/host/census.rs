//! The processes of this host: which of them are a run's, whether one is still the one it was, and ending them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::owner::MARK;

/// How long processes have between SIGTERM and SIGKILL, and after that until they are said to stay.
const GRACE: Duration = Duration::from_secs(3);
const LAST_WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A process, as its kernel tells it from every other of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// When it was started, in clock ticks after the boot (`/proc/PID/stat`, field 22).
    pub started: u64,
}

/// What `/proc/PID/stat` says of a process; see proc_pid_stat(5).
#[derive(Debug, Clone, Copy)]
struct Stat {
    identity: Identity,
    group: u32,
    session: u32,
    is_zombie: bool,
}

/// A process that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub identity: Identity,
    pub group: u32,
    pub session: u32,
    /// The run that it says it belongs to.
    pub mark: Option<String>,
    pub name: String,
}

impl Identity {
    /// Returns what tells a running process from every other.
    pub fn of(pid: u32) -> Option<Identity> {
        stat(pid).filter(|stat| !stat.is_zombie).map(|stat| stat.identity)
    }

    /// Tells whether the process is still there, and still the same.
    pub fn is_alive(&self) -> bool {
        Identity::of(self.pid) == Some(*self)
    }
}

/// Returns what tells this boot of the host from every other; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let after = text.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(text.get(after + 1..)?).into_owned();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        identity: Identity { pid, started: number(19)? },
        group: number(2)? as u32,
        session: number(3)? as u32,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

/// Returns the run in whose name a process was started, as far as this user may look.
fn mark(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// Returns all processes of this host but this one.
pub fn all() -> Vec<Found> {
    let Ok(folders) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = folders.flatten().filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| *pid != std::process::id());
    others
        .filter_map(|pid| {
            let stat = stat(pid).filter(|stat| !stat.is_zombie)?;
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
            let (identity, group, session) = (stat.identity, stat.group, stat.session);
            Some(Found { identity, group, session, mark: mark(pid), name })
        })
        .collect()
}

/// Returns those of a run: what bears its mark or is `known`, and what is in a process group or session that one of these
/// began (a program may empty its environment, as sudo does). What is in `spared`, or in a group of one of these, is left out.
pub fn of_run(run: &str, known: &[Identity], spared: &[Identity]) -> Vec<Found> {
    let all = all();
    let is_its = |found: &&Found| found.mark.as_deref() == Some(run) || known.contains(&found.identity);
    let spared: BTreeSet<u32> =
        all.iter().filter(|found| spared.contains(&found.identity)).map(|found| found.group).collect();
    let led: BTreeSet<u32> = all
        .iter()
        .filter(is_its)
        .flat_map(|found| {
            // Only of groups whose leader was the run's: a group of the user's shell is not.
            let leads = |id: u32| {
                let leader = all.iter().find(|other| other.identity.pid == id);
                leader.map_or(id == found.identity.pid, |leader| is_its(&leader))
            };
            [found.group, found.session].into_iter().filter(move |id| leads(*id)).collect::<Vec<_>>()
        })
        .collect();
    let belongs = |found: &Found| match &found.mark {
        Some(mark) => mark == run,
        None => led.contains(&found.group) || led.contains(&found.session),
    };
    let belongs = |found: &Found| (known.contains(&found.identity) || belongs(found)) && !spared.contains(&found.group);
    all.iter().filter(|found| belongs(found)).cloned().collect()
}

/// Ends processes: asks them, kills them after a grace, waits until they are gone, and those that `find` finds on the way,
/// too. Returns what stays. Blocking.
pub fn end(find: impl Fn() -> Vec<Found>) -> Vec<Found> {
    let begun = Instant::now();
    let mut asked: BTreeSet<Identity> = BTreeSet::new();
    loop {
        let left = find();
        if left.is_empty() || begun.elapsed() > GRACE + LAST_WAIT {
            return left;
        }
        let kill = begun.elapsed() > GRACE;
        for found in &left {
            if kill || asked.insert(found.identity) {
                signal(found.identity, if kill { Signal::KILL } else { Signal::TERM });
            }
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Sends a signal to a process, if it is still the same.
fn signal(identity: Identity, signal: Signal) {
    if identity.is_alive()
        && let Some(pid) = Pid::from_raw(identity.pid.cast_signed())
    {
        let _ = rustix::process::kill_process(pid, signal);
        // One that is stopped must go on to hear it.
        let _ = rustix::process::kill_process(pid, Signal::CONT);
    }
}
