//! What the tests of renderers share: a buffer to write to, and a run to show.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::event::{ArtifactFile, Event, Level, Stamped, Stream};
use super::handle::Renderer;

/// A writer whose text can be read later.
#[derive(Clone, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Feeds events to a renderer, all at the same moment.
pub fn play(renderer: &mut dyn Renderer, events: Vec<Event>) {
    for event in events {
        renderer.event(&Stamped { time: "2026-01-02T03:04:05.678Z".into(), event });
    }
    renderer.finish();
}

/// A run of three builds: one that works, one that fails, one that is left out.
pub fn sample() -> Vec<Event> {
    let (web, db) = (|| "web".to_owned(), || "db".to_owned());
    let output = |stream, line: &str| Event::Output { build: web(), machine: web(), stream, line: line.into() };
    vec![
        Event::RunStarted { version: "0.1.0", script: "/srv/build.lua".into(), mode: "run" },
        Event::BuildStarted { build: web() },
        Event::BuildStarted { build: db() },
        Event::StepStarted { build: web(), id: 1, parent: None, name: "install".into() },
        Event::OperationStarted {
            build: web(),
            id: 2,
            step: Some(1),
            machine: web(),
            kind: "run",
            title: "apt-get update".into(),
        },
        Event::OperationStarted {
            build: db(),
            id: 3,
            step: None,
            machine: db(),
            kind: "upload",
            title: "/etc/app.conf".into(),
        },
        output(Stream::Stdout, "Get:1 http://deb \x1b[31mred\x1b[0m"),
        output(Stream::Stderr, "warned"),
        Event::OperationFinished {
            build: web(),
            id: 2,
            machine: web(),
            kind: "run",
            title: "apt-get update".into(),
            ok: true,
            cached: false,
            seconds: 1.5,
        },
        Event::OperationFinished {
            build: db(),
            id: 3,
            machine: db(),
            kind: "upload",
            title: "/etc/app.conf".into(),
            ok: true,
            cached: false,
            seconds: 0.01,
        },
        Event::StepFinished { build: web(), id: 1, name: "install".into(), ok: true, seconds: 2.0 },
        Event::Message { build: Some(db()), level: Level::Warn, text: "slow mirror".into() },
        Event::Artifact {
            build: web(),
            id: "VM".into(),
            kind: "image".into(),
            builder: "qemu".into(),
            files: vec![ArtifactFile {
                path: "/srv/out/web.qcow2".into(),
                size: 460 << 20,
                digests: vec![("sha256".into(), "abc123".into())],
            }],
        },
        Event::BuildFinished { build: web(), ok: true, seconds: 12.34, error: None },
        Event::BuildFinished { build: db(), ok: false, seconds: 3.21, error: Some(super::error_text::tests::sample()) },
        Event::BuildSkipped { build: "cache".into() },
        Event::RunFinished { ok: false, seconds: 15.0, replayed: 3, performed: 2, saved_seconds: 41.5 },
    ]
}
