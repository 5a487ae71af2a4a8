//! Random scripts, edited at random: a run with a cache gives what a run without one gives.

mod generate;
mod program;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::world::{Ran, World, files};
use crate::script::Outcome;
use generate::{Author, Random};
use program::{Program, Shape};

/// How many scripts, each of which is edited and compared several times; `PROPTEST_CASES` says another number,
/// `REPLAY_SEED` which one.
const CASES: u64 = 30;
/// How often each is edited.
const EDITS: usize = 6;
/// How long to look for a smaller script that fails too.
const SHRINKING: Duration = Duration::from_secs(20);

/// One run in a case.
#[derive(Debug, Clone)]
struct Turn {
    /// What is different from the turn before.
    edit: String,
    program: Program,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// A run, whose results are those of one without a cache.
    Run,
    /// A run that is cancelled at that operation.
    Cancel(usize),
    /// A file of the cache is damaged; then a run.
    Damage(u64),
}

fn case(seed: u64) -> Vec<Turn> {
    let mut author = Author::new(seed);
    let mut program = author.program();
    let mut turns = vec![Turn { edit: "the first".into(), program: program.clone(), action: Action::Run }];
    for _ in 0..EDITS {
        let mut edit = author.edit(&mut program);
        if author.random.chance(4) {
            edit = format!("{edit}; {}", author.edit(&mut program));
        }
        let action = match author.random.below(8) {
            0 => Action::Cancel(1 + author.random.below(9)),
            1 => Action::Damage(author.random.next()),
            _ => Action::Run,
        };
        turns.push(Turn { edit, program: program.clone(), action });
    }
    turns
}

/// All that a run leaves, for comparison.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    outcome: Outcome,
    results: serde_json::Value,
    images: BTreeMap<String, String>,
}

fn left(world: &World, ran: &Ran) -> Left {
    let results = std::fs::read_to_string(world.path("results.json")).unwrap_or_default();
    let mut images = if world.path("out").exists() { world.tree("out") } else { BTreeMap::new() };
    let archives: Vec<String> = images.keys().filter(|name| name.ends_with(".tar")).cloned().collect();
    for name in archives {
        images.remove(&name);
        images.extend(unpacked(&world.path("out").join(&name)).into_iter().map(|(k, v)| (format!("{name}/{k}"), v)));
    }
    Left { outcome: ran.outcome, results: serde_json::from_str(&results).unwrap_or_default(), images }
}

/// Returns what an image holds: mode and content or target of each thing.
fn unpacked(image: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(std::fs::File::open(image).unwrap());
    let mut all = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let target = entry.link_name().unwrap().map(|target| format!("-> {}", target.display()));
        let mode = entry.header().mode().unwrap();
        let kind = entry.header().entry_type();
        let name = entry.path().unwrap().display().to_string();
        all.insert(name, format!("{kind:?} {mode:o} {}", target.unwrap_or(text)));
    }
    all
}

fn run(world: &World, program: &Program, cancel_at: Option<usize>) -> (Ran, Left) {
    program.write_files(world);
    for output in ["out", "got", "results.json"] {
        world.remove(output);
    }
    let ran = world.run_until(&program.lua(), cancel_at, |options| {
        options.vars = vec![("v".to_owned(), program.variable.to_string())];
    });
    let left = left(world, &ran);
    (ran, left)
}

/// Plays a case; what is not as it should be is the error.
fn play(turns: &[Turn]) -> Result<(), String> {
    let world = World::new();
    for (number, turn) in turns.iter().enumerate() {
        let wrong = |what: &str, ran: &Ran| Err(format!("turn {number} ({}): {what}\n{ran}", turn.edit));
        match turn.action {
            Action::Cancel(at) => {
                let (ran, _) = run(&world, &turn.program, Some(at));
                if ran.outcome == Outcome::ScriptError {
                    return wrong("it was to be cancelled", &ran);
                }
                continue;
            }
            Action::Damage(seed) => damage(&world, seed),
            Action::Run => {}
        }
        let (ran, got) = run(&world, &turn.program, None);
        let (fresh, wanted) = run(&World::new(), &turn.program, None);
        if wanted.outcome == Outcome::ScriptError || (wanted.outcome == Outcome::Done) == turn.program.fails() {
            return wrong("the script itself is wrong", &fresh);
        }
        if got != wanted {
            return wrong(&format!("{}\n--- fresh\n{fresh}--- with the cache", difference(&got, &wanted)), &ran);
        }
        // Where there are several builds, the fresh run replays what one of them has done for the others, too.
        if turn.program.shape == Shape::Single && ran.count("run", "") > fresh.count("run", "") {
            return wrong(&format!("more was done than without a cache\n--- fresh\n{fresh}---"), &ran);
        }
        // What failed last is tried again each time.
        if wanted.outcome == Outcome::Done && !turn.program.never_rests() {
            let (again, same) = run(&world, &turn.program, None);
            if same != wanted {
                return wrong(&format!("again: {}", difference(&same, &wanted)), &again);
            }
            if !again.live.is_empty() {
                return wrong("something was done although nothing had changed", &again);
            }
        }
    }
    Ok(())
}

fn difference(got: &Left, wanted: &Left) -> String {
    if got.outcome != wanted.outcome {
        return format!("it ended with {:?}, not with {:?}", got.outcome, wanted.outcome);
    }
    if got.results != wanted.results {
        return format!("results\n  {}\nnot\n  {}", got.results, wanted.results);
    }
    let differs = |name: &&String| got.images.get(*name) != wanted.images.get(*name);
    let names: Vec<_> = got.images.keys().chain(wanted.images.keys()).filter(differs).collect();
    let shown = |left: &Left| {
        let each = |name: &&String| (name.to_string(), left.images.get(*name).cloned());
        names.iter().map(each).collect::<BTreeMap<_, _>>()
    };
    format!("images\n  {:?}\nnot\n  {:?}", shown(got), shown(wanted))
}

/// Truncates, changes or removes a file of the cache.
fn damage(world: &World, seed: u64) {
    let mut random = Random(seed);
    let mut all = files(&world.path("cache"));
    all.sort();
    if all.is_empty() {
        return;
    }
    let path = &all[random.below(all.len())];
    let mut bytes = std::fs::read(path).unwrap_or_default();
    match random.below(3) {
        0 => return drop(std::fs::remove_file(path)),
        1 => bytes.truncate(random.below(bytes.len().max(1))),
        _ if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        _ => {}
    }
    let _ = std::fs::write(path, bytes);
}

/// Leaves out turns and statements as long as it fails.
fn shrink(mut turns: Vec<Turn>) -> Vec<Turn> {
    let begun = Instant::now();
    let fails = |turns: &[Turn]| begun.elapsed() < SHRINKING && !turns.is_empty() && play(turns).is_err();
    let mut at = 0;
    while at < turns.len() {
        let mut fewer = turns.clone();
        fewer.remove(at);
        if fails(&fewer) {
            turns = fewer;
        } else {
            at += 1;
        }
    }
    let ids: std::collections::BTreeSet<u32> = turns.iter().flat_map(|turn| turn.program.ids()).collect();
    for id in ids {
        let mut fewer = turns.clone();
        fewer.iter_mut().for_each(|turn| turn.program.remove(id));
        if fails(&fewer) {
            turns = fewer;
        }
    }
    turns
}

fn report(seed: u64, turns: Vec<Turn>, error: &str) -> String {
    let small = shrink(turns);
    let again = play(&small).err().unwrap_or_else(|| format!("(not this time) {error}"));
    let mut text = format!("REPLAY_SEED={seed}: {again}\n");
    for (number, turn) in small.iter().enumerate() {
        let edit = if number == 0 { "" } else { &turn.edit };
        text.push_str(&format!("=== turn {number}: {edit} {:?}\n", turn.action));
        text.push_str(&format!(
            "    v = {}, host {:?}\n{}\n",
            turn.program.variable,
            turn.program.host,
            turn.program.lua()
        ));
    }
    text
}

#[test]
fn a_run_with_a_cache_gives_what_one_without_gives() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("REPLAY_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("PROPTEST_CASES").unwrap_or(CASES)).collect(),
    };
    let (next, failed) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    // Each waits for processes most of the time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let turns = case(*seed);
                    if let Err(error) = play(&turns) {
                        failed.lock().unwrap().push((*seed, turns, error));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let first_line = |error: &str| error.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
    let all: Vec<String> =
        failed.iter().map(|(seed, _, error)| format!("REPLAY_SEED={seed}: {}", first_line(error))).collect();
    if let Some((seed, turns, error)) = failed.into_iter().min_by_key(|(seed, ..)| *seed) {
        panic!("{}\n\nthe first, with less in it:\n{}", all.join("\n"), report(seed, turns, &error));
    }
}
