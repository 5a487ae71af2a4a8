//! `rimg.git`: which commit the script is of.

use std::path::Path;
use std::process::Stdio;

use mlua::{Lua, Table};
use tokio::process::Command;

use super::current::current;
use crate::error::{Error, Kind, Result};
use crate::host::process::{self, Output};
use crate::script::error::lua_error;

const OF: &str = "rimg.git";

/// What a working copy is at.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    commit: Option<String>,
    branch: Option<String>,
    tag: Option<String>,
    dirty: bool,
}

/// Runs `rimg.git()`; nil when the script's folder is not in a repository, or git is not installed.
pub async fn git(lua: Lua, (): ()) -> mlua::Result<Option<Table>> {
    let cx = current(&lua, OF)?;
    if process::which("git").is_none() {
        cx.ui.debug(format!("{OF}: git is not installed"));
        return Ok(None);
    }
    let Some(state) = state_of(&cx.settings.script_dir).await.map_err(lua_error)? else { return Ok(None) };
    let table = lua.create_table()?;
    table.raw_set("short", state.commit.as_deref().and_then(|commit| commit.get(..7)))?;
    table.raw_set("commit", state.commit)?;
    table.raw_set("branch", state.branch)?;
    table.raw_set("tag", state.tag)?;
    table.raw_set("dirty", state.dirty)?;
    Ok(Some(table))
}

/// Reading only, and without the locks that would get in the way of the user's own git.
async fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null());
    command.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
    process::output(&mut command).await.map_err(|e| e.within(OF))
}

async fn state_of(dir: &Path) -> Result<Option<State>> {
    let status = run(dir, &["status", "--porcelain=v2", "--branch", "--untracked-files=no"]).await?;
    if !status.status.success() {
        let said = String::from_utf8_lossy(&status.stderr).trim().to_owned();
        if said.contains("not a git repository") || said.contains("must be run in a work tree") {
            return Ok(None);
        }
        let error = Error::new(Kind::Host, format!("{OF}: git failed: {said}"));
        return Err(match said.contains("dubious ownership") {
            true => error.hint("the repository belongs to another user: git config --global --add safe.directory DIR"),
            false => error,
        });
    }
    let mut state = parse(&String::from_utf8_lossy(&status.stdout));
    if state.commit.is_some() {
        let tag = run(dir, &["describe", "--tags", "--exact-match", "HEAD"]).await?;
        let name = String::from_utf8_lossy(&tag.stdout).trim().to_owned();
        state.tag = (tag.status.success() && !name.is_empty()).then_some(name);
    }
    Ok(Some(state))
}

/// Reads what `git status --porcelain=v2 --branch` says.
pub(crate) fn parse(status: &str) -> State {
    let mut state = State::default();
    for line in status.lines() {
        if let Some(commit) = line.strip_prefix("# branch.oid ") {
            state.commit = Some(commit.to_owned()).filter(|commit| commit != "(initial)");
        } else if let Some(branch) = line.strip_prefix("# branch.head ") {
            state.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
        } else if !line.starts_with('#') && !line.is_empty() {
            state.dirty = true;
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    #[test]
    fn reads_the_states_there_are() {
        let initial = parse("# branch.oid (initial)\n# branch.head main\n");
        assert_eq!(initial, State { branch: Some("main".into()), ..State::default() });
        let detached = parse("# branch.oid abc\n# branch.head (detached)\n1 .M N... 100644 100644 100644 a b f\n");
        assert_eq!(detached, State { commit: Some("abc".into()), dirty: true, ..State::default() });
    }

    #[test]
    fn tells_commit_branch_tag_and_changes() {
        if process::which("git").is_none() {
            assert!(std::env::var_os("CI").is_none(), "git is missing");
            return;
        }
        let world = World::new(|lua, rimg| rimg.set("git", lua.create_async_function(git)?));
        world.ok("assert(rimg.git() == nil)");
        let sh = |script: &str| {
            let done = std::process::Command::new("sh")
                .args(["-ec", script])
                .current_dir(world.script_dir())
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        sh("git init -q -b trunk .");
        world.ok("local g = rimg.git(); assert(g.commit == nil and g.branch == 'trunk' and not g.dirty)");
        sh(
            "echo 1 > f; git add f; git -c user.name=t -c user.email=t@example.org commit -qm one; git tag v1; touch new",
        );
        world.ok(r#"
            local g = rimg.git()
            assert(#g.commit == 40 and g.short == g.commit:sub(1, 7) and g.branch == "trunk")
            assert(g.tag == "v1" and g.dirty == false)
        "#);
        sh("echo 2 > f");
        world.ok("assert(rimg.git().dirty)");
    }
}
