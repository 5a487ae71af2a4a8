//! Taking a checkpoint of a machine that runs.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::delay::Delay;
use super::layers::Layers;
use super::state::{FLOPPY, KeptLogin, MEMORY, Medium, Memory, SERIAL, State};
use super::{memory, migration};
use crate::builder::qemu::firmware::VARS;
use crate::builder::qemu::machine::QemuMachine;
use crate::builder::qemu::qmp::Qmp;
use crate::builder::qemu::supervisor::{Shared, lock};
use crate::engine::{BuildCx, Checkpoints, Saved, Saving};
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::host::blocking;

#[async_trait]
impl Checkpoints for QemuMachine {
    async fn save(&self, folder: &Path, cx: &BuildCx) -> Result<Saving> {
        let save = Save {
            shared: self.shared.clone(),
            login: self.login.as_ref().map(|login| login.keep(cx)).transpose()?,
            folder: std::path::absolute(folder).map_err(|e| io_error("resolve", folder, e))?,
            cx: cx.clone(),
        };
        let turn = self.shared.saving.clone().lock_owned().await;
        let cancel = CancellationToken::new();
        let (tell, instant) = oneshot::channel();
        let stop = cancel.clone();
        // Whatever becomes of the caller, a guest that was stopped goes on, and a stream that was begun ends.
        let task = self.shared.tasks.spawn(async move { save.run(turn, tell, stop).await });
        let cancels = cancel.drop_guard();
        match instant.await {
            Ok(paused) => Ok(Saving {
                paused,
                rest: Box::pin(async move {
                    let _cancels = cancels;
                    ended(task).await
                }),
            }),
            Err(_) => match ended(task).await {
                Ok(_) => Err(Error::new(Kind::Internal, "a checkpoint was made without an instant")),
                Err(error) => Err(error),
            },
        }
    }
}

async fn ended(task: JoinHandle<Result<Saved>>) -> Result<Saved> {
    task.await.context(Kind::Internal, "saving a checkpoint was broken off")?
}

/// The time that the guest stands still, and who waits to hear of it.
struct Pause {
    began: Instant,
    tell: Option<oneshot::Sender<Duration>>,
    length: Duration,
}

impl Pause {
    /// The guest runs again. The caller may be gone.
    fn is_over(&mut self) {
        if let Some(tell) = self.tell.take() {
            self.length = self.began.elapsed();
            let _ = tell.send(self.length);
        }
    }
}

/// Lets the guest run, where it stands still only for a checkpoint.
async fn goes_on(qmp: &Qmp) -> Result<()> {
    match qmp.status().await?.as_str() {
        "paused" | "postmigrate" | "finish-migrate" => qmp.execute("cont", Value::Null).await.map(drop),
        _ => Ok(()),
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "saving the checkpoint was cancelled")
}

async fn stored(stream: Stream) -> Result<Memory> {
    stream.await.context(Kind::Internal, "storing a machine's memory was broken off")?
}

/// One checkpoint in the making.
struct Save {
    shared: Arc<Shared>,
    login: Option<KeptLogin>,
    folder: PathBuf,
    cx: BuildCx,
}

/// The machine's memory on its way to the file.
type Stream = AbortOnDropHandle<Result<Memory>>;

impl Save {
    async fn run(
        self,
        turn: OwnedMutexGuard<()>,
        tell: oneshot::Sender<Duration>,
        cancel: CancellationToken,
    ) -> Result<Saved> {
        let qmp = self.shared.qmp()?;
        let status = qmp.status().await?;
        if status != "running" {
            return Err(Error::new(Kind::Machine, format!("no checkpoint of a machine that is {status}")));
        }
        self.link_media().await?;
        let layers = Layers::prepare(&self.shared, &qmp, &self.folder).await?;
        let background = self.prepare_background(&qmp).await;
        let stream = self.stream(&qmp).await;
        // From here on work would be lost by starting the machine over.
        self.shared.reached.store(true, Ordering::Release);

        let delay = Delay::begin(&self.shared, &qmp).await;
        let mut pause = Pause { began: Instant::now(), tell: Some(tell), length: Duration::ZERO };
        let switched = async {
            qmp.execute("stop", Value::Null).await?;
            layers.switch(&self.shared, &qmp).await
        };
        if let Err(error) = switched.await {
            goes_on(&qmp).await?;
            layers.forget(&qmp).await;
            return Err(error);
        }
        // There is an instant: the machine depends on the folder from now on, whatever becomes of the rest.
        let serial_seen = self.shared.serial_seen.load(Ordering::Acquire);
        let stream = self.finish_instant(&qmp, stream, background, &mut pause, &cancel).await?;
        // QEMU has no part in the rest, which has a low priority: the guest hardly waits for it.
        let waited = delay.and_then(|delay| delay.so_far()).unwrap_or_default();
        drop(turn);
        let memory = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            memory = stored(stream) => memory?,
        };
        self.sync().await?;
        let state = self.state(memory, layers, serial_seen).await?;
        let state = serde_json::to_value(state).context(Kind::Internal, "cannot write a checkpoint's state")?;
        Ok(Saved { state, delayed: pause.length + waited })
    }

    /// Tells whether the guest is to run on while its memory goes out, and prepares that. QEMU's background snapshot takes ten
    /// times as long as the rest (7.2: a system call for each page), on one of the processors that the guest would have: what
    /// can be taken in a fraction of a second is taken while the guest stands still.
    async fn prepare_background(&self, qmp: &Qmp) -> bool {
        let is_small = self.shared.options.machine.memory_mib() <= memory::AHEAD.into();
        if is_small || self.shared.stands_still.load(Ordering::Acquire) {
            return false;
        }
        match migration::prepare(qmp, true).await {
            Ok(()) => true,
            Err(error) => {
                self.stands_still(&error);
                false
            }
        }
    }

    /// Remembers that this machine stands still while it is saved.
    fn stands_still(&self, error: &Error) {
        self.shared.stands_still.store(true, Ordering::Release);
        self.cx.ui.debug(format!("the guest stands still while its checkpoints are saved: {error}"));
    }

    /// Keeps what belongs to the instant while the guest stands still, and takes its memory for as long as that takes. However
    /// this ends, the guest goes on.
    async fn finish_instant(
        &self,
        qmp: &Qmp,
        stream: Result<Stream>,
        background: bool,
        pause: &mut Pause,
        cancel: &CancellationToken,
    ) -> Result<Stream> {
        let taken = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                match background {
                    true => migration::run_out(qmp).await?,
                    false => migration::cancel(qmp).await?,
                }
                Err(cancelled())
            }
            taken = self.take(qmp, stream, background, pause) => taken,
        };
        let goes_on = goes_on(qmp).await;
        pause.is_over();
        taken.and_then(|stream| goes_on.map(|()| stream))
    }

    /// Takes the memory out of QEMU; the stream then stores it.
    async fn take(&self, qmp: &Qmp, stream: Result<Stream>, background: bool, pause: &mut Pause) -> Result<Stream> {
        let mut stream = stream?;
        self.copy_small().await?;
        if background {
            let begun = async {
                migration::begin(qmp).await?;
                migration::resumed(qmp).await
            };
            match begun.await {
                Ok(()) => {
                    pause.is_over();
                    migration::completed_behind(qmp).await?;
                    self.check_vars().await?;
                    return Ok(stream);
                }
                // It has not run since: this is still the instant.
                Err(error) => self.stands_still(&error),
            }
            migration::run_out(qmp).await?;
            let _ = stored(stream).await;
            stream = self.stream(qmp).await?;
        }
        migration::prepare(qmp, false).await?;
        migration::begin(qmp).await?;
        migration::completed_soon(qmp).await?;
        Ok(stream)
    }

    /// EFI's variables are not among the memory that a background snapshot holds on to: if the guest has changed them
    /// since, what was stored of them is of another instant.
    async fn check_vars(&self) -> Result<()> {
        let Some(vars) = self.shared.flash.vars() else { return Ok(()) };
        let read = async |path: PathBuf| tokio::fs::read(&path).await.map_err(|e| io_error("read", &path, e));
        if read(vars.to_owned()).await? != read(self.folder.join(VARS)).await? {
            let message = "the guest changed its EFI variables while a checkpoint was being saved";
            return Err(Error::new(Kind::Machine, message));
        }
        Ok(())
    }

    /// Sees to it that what is in the folder survives a crash of the host.
    async fn sync(&self) -> Result<()> {
        let folder = self.folder.clone();
        blocking::run(move |_| {
            let fault = |e| io_error("sync", &folder, e);
            for entry in std::fs::read_dir(&folder).map_err(fault)? {
                std::fs::File::open(entry.map_err(fault)?.path()).and_then(|file| file.sync_all()).map_err(fault)?;
            }
            std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(fault)
        })
        .await
    }

    /// Gives QEMU one end of a stream, and begins to store what comes out at the other.
    async fn stream(&self, qmp: &Qmp) -> Result<Stream> {
        let (ours, theirs) = UnixStream::pair().context(Kind::Host, "cannot make a socket for a machine's memory")?;
        qmp.pass(migration::DESCRIPTOR, &theirs).await?;
        let to = self.folder.join(MEMORY);
        // It runs by itself: a QEMU whose stream nobody reads stands still, and answers nobody.
        let stores = tokio::spawn(blocking::run(move |cancel| memory::store(ours, &to, cancel)));
        Ok(AbortOnDropHandle::new(stores))
    }

    /// Keeps what the guest can only read.
    async fn link_media(&self) -> Result<()> {
        for path in self.kept_cdroms().chain(self.shared.seed.as_deref()) {
            let to = self.folder.join(path.file_name().unwrap_or_default());
            tokio::fs::hard_link(path, &to).await.map_err(|e| io_error("link a medium to", &to, e))?;
        }
        Ok(())
    }

    /// Returns the CDs that were made for the machine: all but the medium it was installed from.
    fn kept_cdroms(&self) -> impl Iterator<Item = &Path> {
        self.shared.cdroms.iter().skip(usize::from(self.shared.boots_cd)).map(PathBuf::as_path)
    }

    /// Keeps what the guest can write to, and is small.
    async fn copy_small(&self) -> Result<()> {
        let shared = &self.shared;
        let files = [
            (shared.flash.vars(), VARS),
            (shared.floppy.as_deref(), FLOPPY),
            (Some(shared.serial_path.as_path()), SERIAL),
        ];
        for (from, name) in files {
            if let Some(from) = from {
                tokio::fs::copy(from, self.folder.join(name)).await.map_err(|e| io_error("copy", from, e))?;
            }
        }
        Ok(())
    }

    async fn state(&self, memory: Memory, layers: Layers, serial_seen: u64) -> Result<State> {
        let shared = &self.shared;
        let mut references = Vec::new();
        for reference in &shared.references {
            references.push(reference.digest(&self.cx).await?);
        }
        let elsewhere = shared.cdroms.iter().take(usize::from(shared.boots_cd));
        let elsewhere = elsewhere.map(|path| std::path::absolute(path).map(Medium::Elsewhere));
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = self.kept_cdroms().map(|path| Ok(Medium::Kept(name(path))));
        let choice = lock(&shared.choice).clone();
        Ok(State {
            version: State::version(),
            accelerator: choice.accelerator,
            cpu_model: choice.cpu_model,
            memory,
            disks: layers.disks,
            references,
            cdroms: elsewhere.chain(kept).collect::<std::io::Result<_>>().context(Kind::Io, "cannot name a medium")?,
            boots_cd: shared.boots_cd,
            floppy: shared.floppy.is_some(),
            seed: shared.seed.is_some(),
            vars: shared.flash.vars().is_some(),
            mac: shared.mac.clone(),
            values: shared.values.to_map(),
            serial_seen,
            login: self.login.clone(),
        })
    }
}
