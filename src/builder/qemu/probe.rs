//! Finds out whether an accelerator really runs a guest here, with a boot sector of our own.
//!
//! A host's KVM may open and still be useless: QEMU aborts when it sets the processor up, or the guest stops in its
//! first instructions, or crawls because each of them is emulated. All of that shows in a second or two with 512 bytes
//! of code that go from real mode to long mode and say so, and costs no boot of the user's system.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

use super::arguments::escaped;
use crate::engine::{BuildCx, Resource};
use crate::error::{Result, io_error};
use crate::host::process::Process;

/// See `probe.S`, which says how it is made.
const BOOT_SECTOR: &[u8; 512] = include_bytes!("probe.bin");
const PASSED: &str = "rimg-ok";
/// Emulation (TCG) needs 0.2 s for it on a slow host; an accelerator that needs this long is none.
const LIMIT: Duration = Duration::from_secs(3);
/// How long a machine without a boot sector must live to be believed.
const ALIVE: Duration = Duration::from_millis(700);

/// Tries `accelerator` with a processor model; returns why it does not work, or none when it does.
pub async fn try_out(
    binary: &Path,
    architecture: &str,
    accelerator: &str,
    cpu_model: &str,
    cx: &BuildCx,
) -> Result<Option<String>> {
    let dir = cx.private_dir("probe")?;
    let (sector, log) = (dir.join("sector"), dir.join("log"));
    tokio::fs::write(&sector, BOOT_SECTOR).await.map_err(|e| io_error("write", &sector, e))?;
    let pc = matches!(architecture, "x86_64" | "i686");
    let mut command = Command::new(binary);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-m", "64"]);
    command.args(["-machine", if pc { "pc" } else { "virt" }, "-accel", accelerator, "-cpu", cpu_model]);
    if pc {
        command.arg("-drive").arg(format!("file={},format=raw,if=ide,snapshot=on", escaped(&sector)));
        command.arg("-chardev").arg(format!("file,id=said,path={}", escaped(&log)));
        command.args(["-device", "isa-debugcon,iobase=0x402,chardev=said"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());

    let slot: Arc<Mutex<Option<Process>>> = Arc::default();
    let in_registry = slot.clone();
    let what = Resource::process("process", "qemu (trying an accelerator)");
    let entered = cx.resources.enter(what, move || async move {
        if let Some(mut process) = in_registry.lock().await.take() {
            process.end(Duration::from_secs(1)).await;
        }
        Ok(())
    });
    let resource = entered.await?;
    let verdict = match Process::spawn(&mut command) {
        Ok(process) => watch(slot.lock().await.insert(process), pc.then_some(log.as_path())).await,
        Err(error) => Err(error),
    };
    cx.resources.release(resource).await?;
    tokio::fs::remove_dir_all(&dir).await.map_err(|e| io_error("remove", &dir, e))?;
    verdict
}

async fn watch(process: &mut Process, log: Option<&Path>) -> Result<Option<String>> {
    let stderr = process.child().stderr.take();
    let passes = async {
        let Some(log) = log else { return tokio::time::sleep(ALIVE).await };
        while !tokio::fs::read(log).await.is_ok_and(|said| String::from_utf8_lossy(&said).contains(PASSED)) {
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    let status = tokio::select! {
        biased;
        status = process.wait() => status,
        passed = tokio::time::timeout(LIMIT, passes) => {
            return Ok(match passed {
                Ok(()) => None,
                Err(_) => Some(format!("a guest of 512 bytes did not get through its start within {} s", LIMIT.as_secs())),
            });
        }
    };
    let mut words = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut words).await;
    }
    let words = String::from_utf8_lossy(&words);
    let first = words.lines().map(|line| line.trim_start_matches("qemu-system-x86_64: ")).find(|line| !line.is_empty());
    let ended = status.map_or_else(|e| e.to_string(), |status| status.to_string());
    Ok(Some(match first {
        Some(line) => format!("QEMU ends at once ({line})"),
        None => format!("QEMU ends at once ({ended})"),
    }))
}
