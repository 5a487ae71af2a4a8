//! How long a guest's processors had to wait for one of the host's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::builder::qemu::qmp::Qmp;
use crate::builder::qemu::supervisor::{Shared, lock};

/// The threads of a guest's processors, and how long they had waited when this began.
pub struct Delay {
    process: u32,
    threads: BTreeSet<u64>,
    before: Duration,
}

impl Delay {
    /// Begins to count; none where QEMU or the host does not tell.
    pub async fn begin(shared: &Shared, qmp: &Qmp) -> Option<Delay> {
        let process = (*lock(&shared.process_id))?;
        let answer = qmp.execute("query-cpus-fast", Value::Null).await.ok()?;
        // Emulated by one thread, all processors have the same.
        let threads = answer.as_array()?.iter().filter_map(|cpu| cpu.get("thread-id")?.as_u64()).collect();
        let mut delay = Delay { process, threads, before: Duration::ZERO };
        delay.before = delay.waited()?;
        Some(delay)
    }

    /// Returns how long they have waited since then, all together: where work goes on on one of them, it waited as long.
    pub fn so_far(&self) -> Option<Duration> {
        Some(self.waited()?.saturating_sub(self.before))
    }

    fn waited(&self) -> Option<Duration> {
        self.threads.iter().map(|thread| waited(self.process, *thread)).sum()
    }
}

/// Returns how long a thread that could have run has waited for a processor (Linux's Documentation/scheduler/sched-stats.rst).
fn waited(process: u32, thread: u64) -> Option<Duration> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?)
}

/// Reads the second of: nanoseconds on a processor, nanoseconds of waiting for one, number of time slices.
fn parse(text: &str) -> Option<Duration> {
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(parse("17044521 2500000000 31\n"), Some(Duration::from_millis(2500)));
        assert_eq!(parse("17044521"), None);
    }

    #[test]
    fn a_thread_that_more_threads_than_processors_compete_with_waits() {
        let Ok(before) = std::fs::read_to_string("/proc/thread-self/schedstat") else { return };
        let spins = || {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(300) {
                std::hint::spin_loop();
            }
        };
        let count = 4 * std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(spins);
            }
            spins();
        });
        let after = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        assert!(parse(&after).unwrap() > parse(&before).unwrap() + Duration::from_millis(20));
    }
}
