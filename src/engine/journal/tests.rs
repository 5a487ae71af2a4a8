use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::collect::{Fate, Item, Wanted, collect};
use super::collector::Collector;
use super::{Journal, runs};
use crate::engine::{Resource, Resources};
use crate::error::{Error, Kind, Result};
use crate::host::owner::{MARK, Owner};
use crate::ui::Ui;

struct World {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

/// What is in a cloud; it can be out of reach.
#[derive(Default)]
struct Cloud {
    there: Mutex<Vec<Value>>,
    away: Mutex<bool>,
}

#[async_trait]
impl Collector for Cloud {
    async fn collect(&self, what: &Value, dry_run: bool) -> Result<bool> {
        if *self.away.lock().unwrap() {
            return Err(Error::new(Kind::Network, "the cloud does not answer"));
        }
        let mut there = self.there.lock().unwrap();
        let found = there.contains(what);
        if !dry_run {
            there.retain(|other| other != what);
        }
        Ok(found)
    }
}

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().unwrap(), cloud: Cloud::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self) -> (Arc<Journal>, Resources) {
        let journal = Journal::new("build.lua", &self.path("cache"), &self.path("state"));
        let resources = Resources::of("web", Some(&journal), &Ui::silent());
        (journal, resources)
    }

    async fn gc(&self, names: &[&str], dry_run: bool) -> Result<Vec<Item>> {
        let wanted = Wanted { names: names.iter().map(|name| (*name).to_owned()).collect(), dry_run };
        collect((&self.path("state"), &self.path("cache")), &wanted, &[("cloud", &self.cloud)], &mut |_| {}).await
    }

    fn runs(&self) -> usize {
        runs::all(&self.path("state")).unwrap().len()
    }
}

async fn enter(resources: &Resources, resource: Resource) -> crate::engine::ResourceId {
    resources.enter(resource, || async { Ok(()) }).await.unwrap()
}

fn fates(items: &[Item]) -> Vec<(Fate, &str)> {
    items.iter().map(|item| (item.fate.clone(), item.kind.as_str())).collect()
}

fn file(path: &Path) -> &Path {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "x").unwrap();
    path
}

#[tokio::test]
async fn a_run_that_leaves_nothing_leaves_no_journal() {
    let world = World::new();
    let (journal, resources) = world.run();
    assert_eq!(world.runs(), 0, "nothing is made for a run that makes nothing");
    let id = enter(&resources, Resource::path("file", world.path("a"))).await;
    assert_eq!(world.runs(), 1);
    assert!(world.gc(&[], false).await.unwrap().is_empty(), "a live run is left alone");
    assert!(journal.left_over().is_empty());
    resources.release(id).await.unwrap();
    journal.close();
    assert_eq!(world.runs(), 0);
    drop(journal);
}

#[tokio::test]
async fn a_first_unfinished_file_in_the_runs_own_folders_is_found() {
    let world = World::new();
    let (journal, resources) = world.run();
    journal.before_file(&world.path("state")).unwrap();
    let half = world.path(&format!("state/.replay.key.rimg-{}-01234567", journal.run()));
    file(&half);
    drop((journal, resources));
    assert_eq!(fates(&world.gc(&[], false).await.unwrap()), [(Fate::Removed, "unfinished file")]);
    assert!(!half.exists());
}

#[tokio::test]
async fn what_a_dead_run_left_is_removed_and_what_is_out_of_reach_stays() {
    let world = World::new();
    let (journal, resources) = world.run();
    let outside = world.path("outside/file");
    enter(&resources, Resource::path("file", &outside)).await;
    file(&outside);
    let tag = json!({ "tag": "rimg-1" });
    enter(&resources, Resource::elsewhere("instance", "i-1", "cloud", tag.clone())).await;
    world.cloud.there.lock().unwrap().push(tag);
    let never = enter(&resources, Resource::path("file", world.path("never"))).await;
    file(&journal.work_dir().join("layer/disk"));
    journal.before_file(&world.path("out")).unwrap();
    let half = world.path(&format!("out/.image.rimg-{}-01234567", journal.run()));
    file(&half);
    let old = world.path(&format!("out/.box.rimg-{}-89abcdef", journal.run()));
    journal.before_aside(&old, &world.path("out/box")).unwrap();
    file(&old);
    let mut sleeper = std::process::Command::new("sleep").arg("600").env(MARK, journal.run()).spawn().unwrap();
    let gone = enter(&resources, Resource::path("file", world.path("gone"))).await;
    resources.forget(gone);
    let _ = never;
    assert_eq!(world.gc(&[], false).await.unwrap().len(), 0);
    assert!(world.gc(&["web"], false).await.unwrap_err().message().contains("going on"));
    drop((journal, resources));

    let would = world.gc(&[], true).await.unwrap();
    assert!(would.iter().all(|item| matches!(item.fate, Fate::WouldRemove | Fate::WouldRestore)), "{would:?}");
    assert!(outside.exists() && half.exists() && sleeper.try_wait().unwrap().is_none());
    *world.cloud.away.lock().unwrap() = true;
    let reaper = std::thread::spawn(move || sleeper.wait());
    let items = world.gc(&[], false).await.unwrap();
    let _ = reaper.join();
    assert_eq!(
        fates(&items),
        [
            (Fate::Removed, "process"),
            (Fate::Stays, "instance"),
            (Fate::Removed, "file"),
            (Fate::Restored, "output"),
            (Fate::Removed, "unfinished file"),
            (Fate::Removed, "folder"),
        ],
        "{items:?}"
    );
    assert_eq!(would.len(), items.len(), "{would:?}");
    assert!(items[1].why.as_ref().unwrap().contains("does not answer"));
    assert!(!outside.exists() && !half.exists() && world.path("out/box").exists());
    assert_eq!(runs::left_over(&world.path("state")).len(), 1);

    *world.cloud.away.lock().unwrap() = false;
    assert_eq!(fates(&world.gc(&[], false).await.unwrap()), [(Fate::Removed, "instance")]);
    assert_eq!(world.runs(), 0);
    assert!(world.gc(&["web"], false).await.unwrap_err().message().contains("no run has left"));
}

#[tokio::test]
async fn what_is_in_the_work_folder_goes_with_it_at_the_runs_end_unless_it_could_not_be_removed() {
    let world = World::new();
    let (journal, resources) = world.run();
    // Entered by what went on when all else had ended: nobody releases it.
    file(&journal.work_dir().join("late/disk"));
    resources.enter_path("folder", journal.work_dir().join("late")).unwrap();
    journal.close();
    assert!(!journal.work_dir().exists());
    assert_eq!(world.runs(), 0);

    let (journal, resources) = world.run();
    let what = Resource::path("machine", journal.work_dir().join("stuck"));
    file(&journal.work_dir().join("stuck/disk"));
    resources.enter(what, || async { Err(Error::new(Kind::Host, "busy")) }).await.unwrap();
    assert_eq!(resources.release_all().await.len(), 1);
    journal.close();
    assert!(journal.work_dir().exists());
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn what_is_kept_goes_only_when_it_is_named() {
    let world = World::new();
    let (journal, resources) = world.run();
    let machine = journal.work_dir().join("qemu-1");
    let other = journal.work_dir().join("other");
    let id = enter(&resources, Resource::path("machine", &machine)).await;
    file(&machine.join("disk"));
    file(&other.join("disk"));
    let spawn = || std::process::Command::new("sleep").arg("600").env(MARK, journal.run()).spawn().unwrap();
    use std::os::unix::process::CommandExt;
    let mut kept = std::process::Command::new("sleep");
    let mut kept = kept.arg("600").env(MARK, journal.run()).process_group(0).spawn().unwrap();
    let mut stray = spawn();
    resources.has_process(id, Some(kept.id()));
    resources.keep(id, "asked for").await.unwrap();
    assert!(resources.list().is_empty());
    let run = journal.run().to_owned();
    journal.close();
    drop((journal, resources));
    let reaper = std::thread::spawn(move || stray.wait());
    assert_eq!(fates(&world.gc(&[], false).await.unwrap()), [(Fate::Removed, "process"), (Fate::Removed, "folder")]);
    let _ = reaper.join();
    assert!(machine.exists() && !other.exists() && kept.try_wait().unwrap().is_none());
    assert!(world.gc(&[], false).await.unwrap().is_empty());
    assert!(runs::left_over(&world.path("state")).is_empty());
    let reaper = std::thread::spawn(move || kept.wait());
    assert_eq!(fates(&world.gc(&[&run], false).await.unwrap())[0], (Fate::Removed, "process"));
    let _ = reaper.join();
    assert!(!machine.exists());
    assert_eq!(world.runs(), 0);
}

#[tokio::test]
async fn collections_side_by_side_remove_everything_once() {
    let world = World::new();
    for _ in 0..8 {
        let (_, resources) = world.run();
        for n in 0..5 {
            let path = world.path(&format!("{}-{n}", uuid::Uuid::new_v4()));
            enter(&resources, Resource::path("file", &path)).await;
            file(&path);
        }
    }
    let (one, two) = tokio::join!(world.gc(&[], false), world.gc(&[], false));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), 40);
    assert_eq!(world.runs(), 0);
}

#[tokio::test]
async fn a_torn_journal_is_read_as_far_as_it_goes() {
    let world = World::new();
    let (journal, resources) = world.run();
    let path = world.path("file");
    enter(&resources, Resource::path("file", &path)).await;
    file(&path);
    let id = journal.run().to_owned();
    drop((journal, resources));
    let torn = world.path("state/runs").join(&id).join("journal");
    let mut text = std::fs::read(&torn).unwrap();
    text.extend(br#"{"enter":{"id":9,"kind"#);
    std::fs::write(&torn, text).unwrap();
    *world.cloud.away.lock().unwrap() = true;
    assert_eq!(fates(&world.gc(&[], false).await.unwrap()), [(Fate::Removed, "file")]);
    assert_eq!(world.runs(), 0);
}
