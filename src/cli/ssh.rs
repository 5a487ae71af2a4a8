//! `rimg ssh`: a shell in a machine that is up.

use std::path::Path;

use super::args::SshArgs;
use crate::communicator::ssh::{self, Target};
use crate::engine::access::Access;
use crate::engine::journal::runs;
use crate::engine::quote;
use crate::error::{Error, Kind, Result};
use crate::host::census::Identity;
use crate::host::dirs;

/// A machine that a person can get into.
struct Way {
    run: String,
    build: String,
    machine: String,
    /// The journal's number of it: what was made later has a higher one.
    id: u64,
    access: Access,
}

/// Opens a shell, or runs a command, and returns the exit code to end with.
pub fn ssh(args: SshArgs) -> Result<u8> {
    let state_dir = dirs::state()?;
    let way = choose(&args.name, ways(&state_dir)?)?;
    let target = Target::from_access(&way.access).map_err(|e| e.within(&args.name))?;
    let command = match args.command.as_slice() {
        [] => None,
        [line] => Some(line.clone()),
        words => Some(quote::join(words)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Host, "cannot start the threads of a connection").caused_by(e))?;
    let status = runtime.block_on(async {
        let connection = ssh::open(&target).await?;
        let status = connection.interact(command.as_deref()).await;
        connection.close().await;
        status
    });
    let status = status.map_err(|e| e.within(format_args!("{} ({})", args.name, way.machine)))?;
    Ok(u8::try_from(status.code()).unwrap_or(u8::MAX))
}

/// Returns the ways into the machines that are up, the last made last.
fn ways(state_dir: &Path) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for run in runs::all(state_dir)? {
        let Some(story) = run.story() else { continue };
        for (id, thing) in story.things {
            let is_up = thing.processes.is_empty() || thing.processes.iter().any(Identity::is_alive);
            let access = thing.way.filter(|_| is_up).and_then(|way| Access::unsealed(&way, state_dir));
            ways.extend(access.map(|access| Way {
                run: run.id.clone(),
                build: thing.build,
                machine: thing.name,
                id,
                access,
            }));
        }
    }
    ways.sort_by_key(|way| way.id);
    Ok(ways)
}

/// Finds the machine that is meant: by its build, with its run before it where there are several.
fn choose(name: &str, ways: Vec<Way>) -> Result<Way> {
    let listed = |ways: &[&Way]| {
        let mut names: Vec<_> = ways.iter().map(|way| format!("{}/{}", way.run, way.build)).collect();
        names.dedup();
        names.join(", ")
    };
    let (run, build) = name.split_once('/').unwrap_or(("", name));
    let found: Vec<&Way> = ways.iter().filter(|way| way.build == build && way.run.starts_with(run)).collect();
    let Some(last) = found.last() else {
        let error = Error::new(Kind::Usage, format!("no machine of a build {name} is up that can be logged in to"));
        let all: Vec<&Way> = ways.iter().collect();
        return Err(match all.as_slice() {
            [] => error.hint("none is up; `rimg run --on-error=keep` keeps the machine of a build that fails"),
            all => error.hint(format!("those that are up: {}", listed(all))),
        });
    };
    if found.iter().any(|way| way.run != last.run) {
        let error = Error::new(Kind::Usage, format!("several runs have a build {name}: say which"));
        return Err(error.hint(format!("one of: {}", listed(&found))));
    }
    let (run, id) = (last.run.clone(), last.id);
    let chosen = ways.into_iter().find(|way| way.run == run && way.id == id);
    chosen.ok_or_else(|| Error::new(Kind::Internal, "the machine is lost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(run: &str, build: &str, id: u64) -> Way {
        let access = Access { communicator: "ssh".into(), details: serde_json::json!({}) };
        Way { run: run.into(), build: build.into(), machine: "qemu".into(), id, access }
    }

    #[test]
    fn a_name_is_a_builds_or_a_runs_and_a_builds() {
        let ways = || vec![way("aaa1", "web", 1), way("aaa1", "web", 2), way("bbb2", "web", 3), way("bbb2", "db", 4)];
        assert_eq!(choose("db", ways()).unwrap().id, 4);
        assert_eq!(choose("aaa1/web", ways()).unwrap().id, 2, "the machine made last");
        assert_eq!(choose("b/web", ways()).unwrap().id, 3);
        let error = choose("web", ways()).err().unwrap();
        assert_eq!(error.hints(), ["one of: aaa1/web, bbb2/web"]);
        let error = choose("wep", ways()).err().unwrap();
        assert_eq!(error.hints(), ["those that are up: aaa1/web, bbb2/web, bbb2/db"]);
        assert!(choose("web", Vec::new()).err().unwrap().hints()[0].contains("none is up"));
    }
}
