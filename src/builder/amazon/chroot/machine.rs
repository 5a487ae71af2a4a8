//! A mounted volume as a machine: a chroot to work in, and in the end an image of it.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ec2::types::Image;
use tokio::sync::watch;

use super::super::capture::Capture;
use super::super::image_options::ImageOptions;
use super::super::{Client, artifact};
use super::builder::NAME;
use super::copied::Copied;
use super::here::Here;
use super::image;
use super::mounts::Tree;
use super::options::ChrootOptions;
use super::volume::{self, Root, Volume};
use crate::communicator::chroot::ChrootCommunicator;
use crate::engine::machine::Shutdown;
use crate::engine::{Artifact, BuildCx, CaptureSpec, Communicator, Health, Machine, ResourceId, quote};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Unit;

/// A volume that is mounted, and all that its image will be made with.
pub struct ChrootMachine {
    pub client: Client,
    pub here: Here,
    pub options: ChrootOptions,
    pub image: ImageOptions,
    /// The image that the volume began as.
    pub source: Option<Image>,
    pub root: Root,
    pub volume: Volume,
    pub tree: Tree,
    /// The tree among the build's resources.
    pub mounted: ResourceId,
    pub copied: Vec<Copied>,
    pub health: watch::Sender<Health>,
    pub cx: BuildCx,
}

/// Refuses to run what would shut down a system: there is none.
pub fn refuse_command() -> Error {
    Error::new(Kind::Unsupported, "a chroot has no system that a command could shut down: it is unmounted")
        .hint("run the last command by vm:run, and leave `shutdown_command` out")
}

#[async_trait]
impl Machine for ChrootMachine {
    fn name(&self) -> &str {
        "chroot"
    }

    fn id(&self) -> String {
        self.volume.id.clone()
    }

    fn user(&self) -> Option<String> {
        Some("root".to_owned())
    }

    async fn connect(&self, _: &BuildCx) -> Result<Arc<dyn Communicator>> {
        Ok(Arc::new(ChrootCommunicator::new(&self.tree.path, &self.options.command_wrapper)))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn can_power(&self) -> bool {
        false
    }

    /// Leaves the volume as its image is to have it, and takes it off this instance.
    async fn shutdown(&self, request: Shutdown<'_>, cx: &BuildCx) -> Result<()> {
        if request.command.is_some() {
            return Err(refuse_command());
        }
        let work = async {
            let chroot = ChrootCommunicator::new(&self.tree.path, &self.options.command_wrapper);
            for copied in self.copied.iter().rev() {
                copied.take_back(&chroot).await?;
            }
            let progress = cx.ui.progress(format!("unmounting {}", self.volume.id), None, Unit::Spinner);
            self.tree.unmount().await?;
            drop(progress);
            cx.resources.forget(self.mounted);
            volume::detach(&self.client, &self.volume.id, &self.here, cx).await
        };
        match request.timeout {
            None => work.await?,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let error = format!("{} was not unmounted and detached within {limit:?}", self.volume.id);
                Err(Error::new(Kind::Timeout, error).hint("shutdown_timeout of vm:finish is how long it may take"))
            })?,
        }
        self.health.send_replace(Health::Off);
        Ok(())
    }

    async fn capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
        match Capture::begin(NAME, &self.client, &self.image, spec).await? {
            None => Ok(artifact::of(NAME, Vec::new(), cx.build.to_string())),
            Some(capture) => capture.complete(image::make(self, capture.own_name(), cx).await?, cx).await,
        }
    }

    async fn keep(&self, why: &str) -> Result<()> {
        for resource in [self.volume.made.resource, self.mounted] {
            self.cx.resources.keep(resource, why).await?;
        }
        Ok(())
    }

    fn shell(&self) -> Option<String> {
        let own = ["chroot".to_owned(), self.tree.path.display().to_string()];
        let words: Vec<String> = self.options.command_wrapper.iter().cloned().chain(own).collect();
        Some(quote::join(&words))
    }

    fn resource(&self) -> Option<ResourceId> {
        Some(self.volume.made.resource)
    }

    async fn destroy(&self) -> Result<()> {
        self.cx.resources.release(self.mounted).await?;
        self.cx.resources.release(self.volume.made.resource).await
    }
}
