//! A machine's disks at an instant: what the guest wrote so far stays as it is, and it goes on in a new layer.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::state::Disk;
use crate::builder::qemu::qmp::Qmp;
use crate::builder::qemu::supervisor::Shared;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::qemu_img;

/// New layers, made and opened, on which the guest is to go on.
pub struct Layers {
    /// Which becomes the guest's.
    next: Vec<PathBuf>,
    nodes: Vec<String>,
    /// What is kept.
    pub disks: Vec<Disk>,
}

/// Returns the name of a disk's layer in a checkpoint's folder.
fn name(number: usize) -> String {
    format!("disk{number}.qcow2")
}

impl Layers {
    /// Gives the present layers their place in `folder`, and prepares new ones on them. The guest may still run.
    pub async fn prepare(shared: &Shared, qmp: &Qmp, folder: &Path) -> Result<Layers> {
        let sizes = sizes(qmp).await?;
        let generation = shared.layers.fetch_add(1, Ordering::AcqRel) + 1;
        let mut layers = Layers { next: Vec::new(), nodes: Vec::new(), disks: Vec::new() };
        match layers.add_all(shared, qmp, folder, generation, &sizes).await {
            Ok(()) => Ok(layers),
            Err(error) => {
                layers.forget(qmp).await;
                Err(error)
            }
        }
    }

    async fn add_all(
        &mut self,
        shared: &Shared,
        qmp: &Qmp,
        folder: &Path,
        generation: u32,
        sizes: &[u64],
    ) -> Result<()> {
        for (number, present) in shared.disks().iter().enumerate() {
            let virtual_size = *sizes
                .get(number)
                .ok_or_else(|| Error::new(Kind::Machine, format!("QEMU does not know the machine's disk {number}")))?;
            let kept = folder.join(name(number));
            tokio::fs::hard_link(present, &kept).await.map_err(|e| io_error("link the disk to", &kept, e))?;
            let next = shared.dir.join(format!("disk{number}-{generation}.qcow2"));
            overlay(&shared.options.disks.qemu_img_args.create, &kept, &next, virtual_size).await?;
            let node = format!("rimg-{generation}-{number}");
            let added = qmp.execute("blockdev-add", shared.options.disks.node(&node, &next)).await;
            self.next.push(next);
            added?;
            self.nodes.push(node);
            self.disks.push(Disk { name: name(number), virtual_size });
        }
        Ok(())
    }

    /// Lets the guest, which stands still, go on in the new layers: in all of them or none.
    pub async fn switch(&self, shared: &Shared, qmp: &Qmp) -> Result<()> {
        let actions: Vec<Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, overlay)| {
                let data = json!({ "node": format!("disk{number}"), "overlay": overlay });
                json!({ "type": "blockdev-snapshot", "data": data })
            })
            .collect();
        qmp.execute("transaction", json!({ "actions": actions })).await?;
        self.next.clone_into(&mut crate::builder::qemu::supervisor::lock(&shared.disks));
        Ok(())
    }

    /// Takes back what was prepared, where the guest did not go on in it.
    pub async fn forget(&self, qmp: &Qmp) {
        for node in &self.nodes {
            let _ = qmp.execute("blockdev-del", json!({ "node-name": node })).await;
        }
        for path in &self.next {
            let _ = tokio::fs::remove_file(path).await;
        }
    }
}

/// Makes a layer at `to` on a layer of a checkpoint, which is not looked at: the guest may still write to it. `create` are
/// the user's own arguments.
pub async fn overlay(create: &[String], on: &Path, to: &Path, virtual_size: u64) -> Result<()> {
    let more = [&["-u".to_owned()], create].concat();
    crate::host::atomic::remove(to);
    qemu_img::create_overlay(on, "qcow2", to, Some(virtual_size), &more).await
}

/// Asks QEMU for the sizes of the machine's disks.
async fn sizes(qmp: &Qmp) -> Result<Vec<u64>> {
    let answer = qmp.execute("query-block", Value::Null).await?;
    let devices = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let size = |number: usize| {
        let name = format!("disk{number}");
        let device = devices.iter().find(|device| device.get("device").and_then(Value::as_str) == Some(&name))?;
        device.pointer("/inserted/image/virtual-size")?.as_u64()
    };
    Ok((0..).map_while(size).collect())
}
