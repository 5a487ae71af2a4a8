//! A run's folder until its journal has a first line. Such a run has made nothing else yet.

use std::path::Path;
use std::time::Duration;

use super::run::LOCK;
use crate::host::atomic;
use crate::host::census::Identity;
use crate::host::lock::Lock;

const PREFIX: &str = ".new-";
/// A run's folder is made in an instant.
const BIRTH: Duration = Duration::from_secs(60);

/// Names the folder of a run that is being begun: after its process, too, which may end before it holds the folder's lock.
pub fn name(run: &str, process: Option<Identity>) -> String {
    match process {
        Some(Identity { pid, started }) => format!("{PREFIX}{run}-{pid}-{started}"),
        None => format!("{PREFIX}{run}"),
    }
}

/// Tells whether a folder of that name is one.
pub fn is(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Removes the folder unless somebody is about to use it.
pub fn remove(folder: &Path) {
    let lock = folder.join(LOCK);
    let held = Lock::exclusive(&lock);
    if held.is_some() || (!lock.exists() && is_abandoned(folder)) {
        atomic::remove(folder);
    }
}

fn is_abandoned(folder: &Path) -> bool {
    let process = folder.file_name().and_then(|name| process(name.to_str()?));
    let age = || std::fs::metadata(folder).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
    process.is_some_and(|process| !process.is_alive()) || age().is_some_and(|age| age > BIRTH)
}

/// Returns the process that a folder of that name is of, if the name says so.
fn process(name: &str) -> Option<Identity> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-').skip(1);
    Some(Identity { pid: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_process_that_is_gone_goes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Identity::of(std::process::id()).unwrap();
        let gone = Identity { started: ours.started + 1, ..ours };
        for (process, stays) in [(Some(ours), true), (Some(gone), false), (None, true)] {
            let folder = dir.path().join(name("0123456789ab", process));
            std::fs::create_dir(&folder).unwrap();
            remove(&folder);
            assert_eq!(folder.exists(), stays, "{process:?}");
            std::fs::write(folder.join(LOCK), "").ok();
            remove(&folder);
            assert!(!folder.exists(), "nobody holds its lock");
        }
        assert!(is(&name("r", None)) && !is("0123456789ab"));
    }
}
