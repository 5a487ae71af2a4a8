//! The cache of records, checkpoints and kept files: killed writers, runs beside prunes, damage, a full disk, real runs.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rimg::engine::replay::checkpoints::{Held, Meta, Store};
use rimg::engine::replay::kept::{Files, Kept};
use rimg::engine::replay::key::Key;
use rimg::engine::replay::record::{Outcome, ROOT, Record};
use rimg::engine::replay::records::{Owner, Records};
use rimg::engine::replay::space;
use rimg::error::{Kind, Result};
use rimg::host::blocking::Cancel;
use rimg::ui::secrets::Secrets;
use serde_json::Value;

use crate::support::image::guest;
use crate::support::library::skip;
use crate::support::rimg::{Run, Sandbox};

const BUILDER: &str = "qemu";

/// What a run does to the cache, without the run.
struct Writer {
    cache: PathBuf,
    records: Records,
    store: Store,
    files: Files,
}

fn owner() -> Owner {
    Owner { script: "/s.lua".into(), build: "web".into() }
}

impl Writer {
    fn new(cache: &Path) -> Writer {
        let folder = cache.join("replay");
        Writer {
            cache: cache.to_owned(),
            records: Records::new(folder.join("records")),
            store: Store::new(folder.join("checkpoints")),
            files: Files::new(folder.join("files")),
        }
    }

    fn digests(&self) -> PathBuf {
        self.cache.join("digests")
    }

    /// Commits a checkpoint whose memory is its id, over and over.
    fn checkpoint(&self, id: &str, parent: Option<&str>) -> Result<Held> {
        let begun = self.store.begin(id)?;
        let memory = begun.folder().join("memory");
        std::fs::write(&memory, id.repeat(10_000)).map_err(|e| rimg::error::io_error("write", memory, e))?;
        let meta = Meta {
            id: id.into(),
            parent: parent.map(str::to_owned),
            builder: BUILDER.into(),
            state: Value::Null,
            name: Some("warm".into()),
            title: "run `x`".into(),
            size: 0,
            cost: 0.5,
            at: 1,
            script: "/s.lua".into(),
            build: "web".into(),
        };
        self.store.commit(begun, &meta)
    }

    fn keep(&self, path: &Path) -> Result<Kept> {
        self.files.keep(&[path.to_owned()], &self.digests(), &Secrets::default(), &Cancel::default())
    }

    fn record(&self, id: &str, after: &str, outputs: Option<Kept>) -> Result<()> {
        self.records.write(&Record {
            id: id.into(),
            after: after.into(),
            key: Key::ROOT.next("run", &Value::from(id)).to_string(),
            kind: "run".into(),
            title: "x".into(),
            request: Value::Null,
            outcome: Outcome::Done(Value::Null),
            places: Vec::new(),
            outputs,
            seconds: 1.0,
            at: 1,
            script: "/s.lua".into(),
            build: "web".into(),
        })
    }

    /// Fails unless all that seems to be there can be used.
    #[track_caller]
    fn assert_consistent(&self) -> usize {
        let mut whole = 0;
        for id in names(&self.cache.join("replay/checkpoints")) {
            let seems = self.store.exists(&id, BUILDER);
            let held = self.store.hold(&id, BUILDER);
            assert_eq!(seems, held.is_some(), "{id}");
            if let Some(held) = held {
                assert_intact(&held);
                whole += 1;
            }
        }
        for chain in names(&self.cache.join("replay/records")) {
            for record in self.records.own(&chain, &owner()) {
                let outputs = record.outputs.unwrap_or_default();
                outputs.entries.iter().for_each(|entry| drop(std::fs::remove_file(&entry.path)));
                assert!(self.files.has(&outputs, &self.digests()), "{} has lost its files", record.id);
                self.files.bring(&outputs, false, &self.digests(), &Cancel::default()).unwrap();
                whole += 1;
            }
        }
        whole
    }
}

#[track_caller]
fn assert_intact(held: &Held) {
    let memory = std::fs::read_to_string(held.checkpoint().folder.join("memory")).unwrap();
    assert!(memory == held.meta().id.repeat(10_000), "{} is not what it was", held.meta().id);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

/// Returns this test binary as a process that does one thing to a cache: [`helper`].
fn helping(what: &str, cache: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["cache::helper", "--exact", "--nocapture", "--test-threads=1"]);
    command.env("RIMG_TEST_HELPER", what).env("RIMG_TEST_CACHE", cache).stdin(Stdio::null());
    command
}

/// No test: what other processes do in those below.
#[test]
fn helper() {
    let (Ok(what), Some(cache)) = (std::env::var("RIMG_TEST_HELPER"), std::env::var_os("RIMG_TEST_CACHE")) else {
        return;
    };
    let writer = Writer::new(Path::new(&cache));
    match what.as_str() {
        "write" => write_for_ever(&writer),
        "use" => use_for_a_while(&writer),
        "fill" => fill(&writer),
        other => panic!("{other}"),
    }
}

/// Writes and removes as fast as it can, until it is killed.
fn write_for_ever(writer: &Writer) {
    let id = || uuid_like();
    loop {
        let (one, two) = (id(), id());
        let output = writer.cache.join(format!("../output-{one}"));
        std::fs::write(&output, one.repeat(20_000)).unwrap();
        let kept = writer.keep(&output).unwrap();
        writer.record(&one, ROOT, Some(kept)).unwrap();
        let held = writer.checkpoint(&one, None).unwrap();
        drop(writer.checkpoint(&two, Some(&one)).unwrap());
        drop(held);
        if names(&writer.cache.join("replay/checkpoints")).len() > 20 {
            for id in names(&writer.cache.join("replay/checkpoints")).into_iter().take(8) {
                writer.store.remove(&id);
            }
        }
    }
}

fn uuid_like() -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{nanos:x}-{}", std::process::id())
}

/// Holds checkpoints and brings files while others prune: what is held must stay as it is.
fn use_for_a_while(writer: &Writer) {
    let end = Instant::now() + Duration::from_secs(4);
    let (mut rounds, mut brought) = (0, 0);
    while Instant::now() < end {
        let (one, two) = (uuid_like(), format!("{}-2", uuid_like()));
        let base = writer.checkpoint(&one, None).unwrap();
        drop(writer.checkpoint(&two, Some(&one)).unwrap());
        let output = writer.cache.join(format!("../{one}"));
        std::fs::write(&output, one.repeat(1000)).unwrap();
        let kept = writer.keep(&output).unwrap();
        writer.record(&one, ROOT, Some(kept.clone())).unwrap();
        // It may have gone as soon as nobody held it; what can be held can be used.
        let held = writer.store.hold(&two, BUILDER);
        std::thread::park_timeout(Duration::from_millis(20));
        held.iter().chain([&base]).for_each(assert_intact);
        std::fs::remove_file(&output).unwrap();
        match writer.files.bring(&kept, false, &writer.digests(), &Cancel::default()) {
            Ok(_) => {
                assert!(std::fs::read_to_string(&output).unwrap() == one.repeat(1000));
                brought += 1;
            }
            Err(error) => assert_eq!(error.kind(), Kind::Checksum, "{error}"),
        }
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds} rounds, {brought} brought");
}

/// Fills a small disk: every failure is an error, and nothing half written seems to be whole.
fn fill(writer: &Writer) {
    let big = writer.cache.join("../../big");
    let error = writer.keep(&big).unwrap_err();
    assert!(error.hints().concat().contains("disk is full"), "{error} {:?}", error.hints());
    let left = names(&writer.cache.join("replay/files"));
    assert!(left.iter().all(|folder| names(&writer.cache.join("replay/files").join(folder)).is_empty()), "{left:?}");
    let mut held = Vec::new();
    let error = loop {
        match writer.checkpoint(&uuid_like(), None) {
            Ok(one) => held.push(one),
            Err(error) => break error,
        }
        assert!(held.len() < 1000, "the disk is never full");
    };
    assert_eq!(error.kind(), Kind::Io, "{error}");
    let whole = writer.assert_consistent();
    assert!(whole > 0 && whole == held.len(), "{whole} of {}", held.len());
}

#[test]
fn killed_at_any_moment_a_writer_leaves_what_can_be_used() {
    let sandbox = Sandbox::new();
    let writer = Writer::new(&sandbox.join(".cache"));
    std::fs::create_dir(sandbox.join(".cache")).unwrap();
    let mut whole = 0;
    for round in 0..20u64 {
        let mut child = helping("write", &writer.cache).stdout(Stdio::null()).spawn().unwrap();
        std::thread::park_timeout(Duration::from_millis(60 + round * 37 % 200));
        assert_eq!(child.try_wait().unwrap(), None, "it writes until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        // As a run would, at its end.
        let collect = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(space::collect(&writer.cache, None)).unwrap()
        };
        if round % 2 == 0 {
            collect();
        }
        whole += writer.assert_consistent();
        collect();
        for id in names(&writer.cache.join("replay/checkpoints")) {
            assert!(writer.store.exists(&id, BUILDER), "{id} is left over");
        }
    }
    assert!(whole > 20, "only {whole} things were ever written");
    sandbox.rimg(["cache", "ls"]).expect_code(0);
    sandbox.rimg(["cache", "clear"]).expect_code(0);
    assert_eq!(sandbox.rimg(["cache", "ls"]).expect_code(0).stdout, "The cache is empty.\n");
}

#[test]
fn runs_and_prunes_go_on_side_by_side() {
    let sandbox = Sandbox::new();
    let cache = sandbox.join(".cache");
    std::fs::create_dir(&cache).unwrap();
    let mut users: Vec<_> = (0..2).map(|_| helping("use", &cache).stdout(Stdio::null()).spawn().unwrap()).collect();
    let mut prunes = 0;
    while users.iter_mut().any(|user| user.try_wait().unwrap().is_none()) {
        let size = ["1M", "0", "100K"][prunes % 3];
        let all = [
            vec!["cache", "prune", "--max-size", size],
            vec!["cache", "clear"],
            vec!["cache", "prune", "--unused-for", "1s"],
            vec!["cache", "ls", "--json"],
        ];
        let both: Vec<_> = all.iter().skip(prunes % 3).take(2).map(|args| sandbox.command(args).output()).collect();
        for output in both {
            Run::from(output.unwrap()).expect_code(0);
        }
        prunes += 1;
    }
    for mut user in users {
        assert!(user.wait().unwrap().success(), "what was held did not stay");
    }
    assert!(prunes > 5);
    Writer::new(&cache).assert_consistent();
}

#[test]
fn damage_is_shown_and_goes() {
    let sandbox = Sandbox::new();
    let writer = Writer::new(&sandbox.join(".cache"));
    let output = sandbox.write("out/x", "x".repeat(5000));
    let kept = writer.keep(&output).unwrap();
    writer.record("boot", ROOT, None).unwrap();
    writer.record("one", "boot", Some(kept)).unwrap();
    for (id, parent) in [("boot", None), ("one", Some("boot")), ("two", Some("boot"))] {
        drop(writer.checkpoint(id, parent).unwrap());
    }
    let text = sandbox.rimg(["cache", "ls"]).expect_code(0).stdout;
    for expected in [
        "CHECKPOINT AFTER",
        "run `x` \"warm\"",
        "/s.lua (web), qemu",
        "/s.lua (web): 2 operations",
        "in 1 file that runs made",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert!(!text.contains("unusable") && !text.contains("in use"), "{text}");
    let shown = json(&sandbox.rimg(["cache", "ls", "--json"]).expect_code(0));
    let one = shown["checkpoints"].as_array().unwrap().iter().find(|row| row["id"] == "one").unwrap();
    assert_eq!((&one["parent"], &one["usable"], &one["build"]), (&"boot".into(), &true.into(), &"web".into()));
    assert!(one["size"].as_u64().unwrap() >= 30_000 && shown["total"].as_u64() > one["size"].as_u64());
    // What is held is left, with what it is built on.
    let held = writer.store.hold("one", BUILDER).unwrap();
    let text = sandbox.rimg(["cache", "clear"]).expect_code(0).stdout;
    assert!(text.contains("In use, left:"), "{text}");
    assert_intact(&held);
    drop(held);
    assert!(writer.store.hold("one", BUILDER).is_some() && writer.store.hold("two", BUILDER).is_none());
    // Notes that cannot be read, of the one that the other is built on; a record; something that nobody knows.
    sandbox.write(".cache/replay/checkpoints/boot/meta.json", "{");
    sandbox.write(".cache/replay/records/root/0.0.torn.json", "{\"id\"");
    sandbox.write(".cache/replay/checkpoints/notes.txt", "mine");
    sandbox.write(".cache/replay/records/stray", "mine");
    let text = sandbox.rimg(["cache", "ls"]).expect_code(0).stdout;
    assert_eq!(text.matches("(unusable)").count(), 2, "{text}");
    let would = json(&sandbox.rimg(["cache", "prune", "--dry-run", "--json"]).expect_code(0));
    assert_eq!(would["removed"]["checkpoints"].as_array().unwrap().len(), 2, "{would}");
    assert!(sandbox.join(".cache/replay/checkpoints/one").exists());
    sandbox.rimg(["cache", "prune"]).expect_code(0);
    assert_eq!(names(&sandbox.join(".cache/replay/checkpoints")), ["notes.txt"]);
    assert!(!sandbox.join(".cache/replay/records/root/0.0.torn.json").exists());
    writer.assert_consistent();
}

#[test]
fn a_full_disk_leaves_a_cache_that_can_be_used() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.join("small")).unwrap();
    let noise: Vec<u8> = (0..6_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    sandbox.write("big", noise);
    let root = rustix::process::getuid().is_root();
    let unshare: &[&str] = if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let mount = "mount -t tmpfs -o size=4m tmpfs small";
    let tried = Command::new("unshare").args(unshare).args(["sh", "-c", mount]).current_dir(sandbox.path()).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skip("this host allows no mounts");
    }
    let helper = helping("fill", &sandbox.join("small/cache"));
    let (helper, rimg) = (helper.get_program().to_string_lossy(), env!("CARGO_BIN_EXE_rimg"));
    let line = format!(
        "{mount} && mkdir small/cache && \
         '{helper}' cache::helper --exact --nocapture --test-threads=1 && '{rimg}' cache ls && '{rimg}' cache clear && \
         test -z \"$(ls small/cache/replay/checkpoints)\""
    );
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", &line]).current_dir(sandbox.path()).stdin(Stdio::null());
    command.env("RIMG_TEST_HELPER", "fill").env("RIMG_TEST_CACHE", sandbox.join("small/cache"));
    command.env("RIMG_CACHE_DIR", sandbox.join("small/cache"));
    Run::of(&mut command).expect_code(0);
}

/// Changes some bytes in the middle of a file where it is, as a machine that is started from it would.
fn change_in_place(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0xa5; 4096], file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn real_runs_fill_it_use_it_and_notice_what_was_changed() {
    let Some(image) = guest() else { return };
    let sandbox = Sandbox::new();
    let source = |end: &str| {
        format!(
            "local rimg = require 'rimg'\nlocal vm = rimg.qemu {{ source_image = '{}', ssh_username = 'vagrant', \
             ssh_password = 'vagrant', memory = '512M', shutdown_command = 'sudo systemctl poweroff' }}\n\
             vm:run 'echo hello >~/file'\n{end}\n",
            image.display()
        )
    };
    let build = source("vm:finish { output_directory = 'out' }");
    let counts = |run: &Run| {
        let last = run.events().pop().unwrap();
        (last["replayed"].as_u64().unwrap(), last["performed"].as_u64().unwrap())
    };
    let first = sandbox.run(&build, &["--json"]).expect_code(0);
    assert_eq!(counts(&first).0, 0);
    let shown = json(&sandbox.rimg(["cache", "ls", "--json"]).expect_code(0));
    assert!(!shown["checkpoints"].as_array().unwrap().is_empty(), "{shown}");
    assert_eq!(shown["records"].as_array().unwrap().len(), 1, "{shown}");
    let script = sandbox.join("build.lua").canonicalize().unwrap();
    assert_eq!(shown["records"][0]["script"], script.display().to_string());
    assert!(shown["files"]["count"].as_u64().unwrap() >= 1, "{shown}");

    let output = sandbox.join("out").join(names(&sandbox.join("out")).pop().unwrap());
    let size = std::fs::metadata(&output).unwrap().len();
    assert_eq!(counts(&sandbox.run(&build, &["--json"]).expect_code(0)).1, 0, "all is replayed");
    std::fs::remove_dir_all(sandbox.join("out")).unwrap();
    assert_eq!(counts(&sandbox.run(&build, &["--json"]).expect_code(0)).1, 0, "all is replayed");
    let check = |path: &Path| Command::new("qemu-img").arg("compare").arg(path).arg(path).output().unwrap();
    assert!(check(&output).status.success() && std::fs::metadata(&output).unwrap().len() == size);

    // A hard link shares its content with the cache, which must not give back what the user made of it.
    let shared = std::fs::metadata(&output).unwrap().nlink() > 1;
    let before = std::fs::read(&output).unwrap();
    change_in_place(&output);
    let refused = sandbox.run(&build, &["--json"]);
    assert_ne!(refused.code, Some(0), "an output that is another is not replaced without --force");
    let forced = sandbox.run(&build, &["--json", "--force"]).expect_code(0);
    assert_eq!(counts(&forced).1 > 0, shared, "a copy is given back, a link is made again");
    let after = std::fs::read(&output).unwrap();
    let middle = before.len() / 2;
    assert!(
        after[middle.min(after.len() - 1)..].iter().take(4096).any(|byte| *byte != 0xa5),
        "what was changed is back"
    );

    // A run that works with a checkpoint keeps it, whatever is cleared.
    let mut live = sandbox.start(&source("vm:run 'echo new'\nprint 'READY'\nrimg.sleep '60s'"), &[]);
    live.wait_for("READY", Duration::from_secs(120));
    let text = sandbox.rimg(["cache", "clear"]).expect_code(0).stdout;
    assert!(text.contains("In use, left:") && text.contains("checkpoint after"), "{text}");
    live.interrupt();
    live.end(Duration::from_secs(15)).expect_code(130);
    sandbox.rimg(["cache", "clear"]).expect_code(0);
    let left = json(&sandbox.rimg(["cache", "ls", "--json"]).expect_code(0));
    assert_eq!(left["total"], 0, "{left}");
}
