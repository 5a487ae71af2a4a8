//! Checkpoints of QEMU machines, below the engine: taken, gone on from, refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rimg::engine::options::Value;
use rimg::engine::{Builder, Checkpoint, Command, Communicator, Machine, OutputSink};
use rimg::error::Error;

use crate::support::build::TestBuild;
use crate::support::image::guest;

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

#[derive(Default)]
struct Said(Vec<u8>);

impl OutputSink for Said {
    fn stdout(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn stderr(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// A machine with a connection.
struct Guest {
    machine: Arc<dyn Machine>,
    ssh: Arc<dyn Communicator>,
}

impl Guest {
    async fn of(machine: Arc<dyn Machine>, build: &TestBuild) -> Guest {
        let ssh = machine.connect(&build.cx).await.expect("a connection");
        Guest { machine, ssh }
    }

    async fn run(&self, line: &str) -> String {
        let mut said = Said::default();
        let status = self.ssh.exec(&Command::shell(line), &mut said).await.expect("a command");
        let said = String::from_utf8_lossy(&said.0).trim_end().to_owned();
        assert_eq!(status.code(), 0, "{line}: {said}");
        said
    }
}

struct Bench {
    dir: tempfile::TempDir,
    build: TestBuild,
    entries: Vec<(&'static str, Value)>,
}

impl Bench {
    fn new(more: &[(&'static str, Value)]) -> Option<Bench> {
        let image = guest()?;
        let dir = tempfile::tempdir().expect("a folder");
        let build = TestBuild::new(dir.path());
        let mut entries = vec![
            ("source_image", text(&image.display().to_string())),
            ("accelerator", text("tcg")),
            ("memory", text("512M")),
            ("ssh_username", text("vagrant")),
            ("ssh_password", text("vagrant")),
        ];
        entries.retain(|(name, _)| !more.iter().any(|(given, _)| given == name));
        entries.extend(more.iter().cloned());
        Some(Bench { dir, build, entries })
    }

    fn builder(&self) -> Arc<dyn Builder> {
        let entries = self.entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let builder = rimg::builder::qemu::decode(Value::Map(entries)).expect("options");
        builder.validate(&self.build.cx).expect("valid");
        builder
    }

    async fn boot(&self) -> Guest {
        let machine = self.builder().launch(&self.build.cx, None).await.expect("a machine");
        Guest::of(machine, &self.build).await
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join("checkpoints").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    async fn save(&self, guest: &Guest, name: &str) -> Checkpoint {
        let folder = self.folder(name);
        let began = Instant::now();
        let saving =
            guest.machine.checkpoints().expect("checkpoints").save(&folder, &self.build.cx).await.expect("an instant");
        let paused = saving.paused;
        let saved = saving.rest.await.expect("a checkpoint");
        measured(&format!("{name}: paused {paused:?}, done after {:?}", began.elapsed()));
        Checkpoint { folder, state: saved.state }
    }

    async fn resume(&self, checkpoint: &Checkpoint) -> Result<Guest, Error> {
        let began = Instant::now();
        let machine = self.builder().launch(&self.build.cx, Some(checkpoint)).await?;
        let launched = began.elapsed();
        let guest = Guest::of(machine, &self.build).await;
        measured(&format!("launched after {launched:?}, connected after {:?}", began.elapsed()));
        Ok(guest)
    }
}

#[expect(clippy::print_stderr, reason = "figures are for people")]
fn measured(what: &str) {
    eprintln!("measured: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thin() {
    let Some(bench) = Bench::new(&[]) else { return };
    let first = bench.boot().await;
    first.run("echo before >before").await;
    let checkpoint = bench.save(&first, "one").await;
    first.run("echo after >after; test -e before").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    first.machine.destroy().await.expect("removed");
    let second = bench.resume(&checkpoint).await.expect("a machine");
    assert_eq!(second.run("cat before; test ! -e after").await, "before");
    measured(&second.run("date; sudo dmesg | tail -5").await);
    let third = bench.save(&second, "two").await;
    let (a, b) = tokio::join!(bench.resume(&third), bench.resume(&checkpoint));
    let (a, b) = (a.expect("a"), b.expect("b"));
    assert_eq!(a.run("cat before; test ! -e after; echo a >mine").await, "before");
    assert_eq!(b.run("cat before; test ! -e after; test ! -e mine; echo b >mine").await, "before");
    bench.build.clean().await;
}
