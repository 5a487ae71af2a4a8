//! An instance that a build works on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Image, Instance, InstanceStateName};
use tokio::sync::{OnceCell, watch};
use tokio_util::task::TaskTracker;

use super::Client;
use super::calls::console_output;
use super::capture;
use super::image_options::ImageOptions;
use super::run_options::RunOptions;
use super::session_manager;
use super::surrogate::SurrogateOptions;
use super::watch::{Watch, state_of};
use super::windows_password::{self, Decrypter};
use crate::communicator::ssh::{self, SshOptions, Target, TemporaryKey};
use crate::engine::machine::Shutdown;
use crate::engine::shown_output::ShownOutput;
use crate::engine::{Access, Artifact, BuildCx, CaptureSpec, Command, Communicator, Health, Machine, ResourceId};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Unit;

/// How long a stop may take where it is not said.
const STOP_LIMIT: Duration = Duration::from_secs(10 * 60);
/// How long an instance may take from its start to an address.
const START_LIMIT: Duration = Duration::from_secs(10 * 60);
/// How much of the console is shown when an instance does not come up.
const CONSOLE_LINES: usize = 20;

/// An instance, and all that its image will be made with.
pub struct AmazonMachine {
    /// The builder's name.
    pub kind: &'static str,
    pub client: Client,
    pub run: RunOptions,
    pub image: ImageOptions,
    /// What the image is made of, where it is not the instance's own disks.
    pub surrogate: Option<SurrogateOptions>,
    /// The image that it was started from.
    pub source: Image,
    pub ssh: SshOptions,
    pub key: Option<TemporaryKey>,
    /// What decrypts the password of Windows, where that logs in.
    pub decrypter: Option<Decrypter>,
    pub password: OnceCell<Option<String>>,
    pub watch: Arc<Watch>,
    pub resource: ResourceId,
    /// What was made for it, and what it goes on with where it is kept.
    pub belongings: Vec<ResourceId>,
    pub tasks: TaskTracker,
    pub target: OnceCell<Target>,
    pub cx: BuildCx,
}

impl AmazonMachine {
    /// Waits until it runs and returns what AWS says of it then.
    async fn running(&self) -> Result<Instance> {
        let mut seen = self.watch.seen.subscribe();
        let runs = |instance: &Option<Instance>| {
            instance.as_ref().is_some_and(|instance| state_of(instance) == Some(InstanceStateName::Running))
        };
        let _progress = self.cx.ui.progress(format!("waiting for {} to run", self.watch.id), None, Unit::Spinner);
        let waited = tokio::time::timeout(START_LIMIT, seen.wait_for(runs)).await;
        let too_long = || Error::new(Kind::Timeout, format!("{} does not run after {START_LIMIT:?}", self.watch.id));
        let instance = waited.map_err(|_| too_long())?.map(|instance| instance.clone());
        instance.ok().flatten().ok_or_else(|| Error::new(Kind::Internal, "nobody watches the instance any more"))
    }

    async fn find_target(&self) -> Result<Target> {
        let instance = self.running().await?;
        let (host, port) = match (&self.ssh.ssh_host, self.run.ssh_interface.as_deref()) {
            (Some(host), _) => (host.clone(), self.ssh.port()),
            (None, Some("session_manager")) => {
                let port = session_manager::tunnel(
                    &self.client,
                    &self.run,
                    &self.watch,
                    self.ssh.port(),
                    &self.tasks,
                    &self.cx,
                )
                .await?;
                ("127.0.0.1".to_owned(), port)
            }
            (None, interface) => (address(&instance, interface)?, self.ssh.port()),
        };
        let mut ssh = self.ssh.clone();
        if let Some(Some(password)) = self.password.get() {
            ssh.ssh_password = Some(password.clone());
        }
        let target = Target::new(&ssh, host, port, &self.cx).await?.booting();
        Ok(match &self.key {
            Some(key) => target.with_key(key),
            None => target,
        })
    }

    /// Waits for the password of Windows; none where another way leads in.
    async fn windows_password(&self) -> Result<Option<String>> {
        let Some(decrypter) = &self.decrypter else { return Ok(None) };
        self.running().await?;
        let limit = self.run.windows_password_timeout.map(|limit| limit.0);
        let patience = self.client.patience(limit, windows_password::LIMIT);
        decrypter.password(&self.client, &self.watch.id, patience, &self.cx).await.map(Some)
    }

    /// Adds the end of the console to an error of an instance that cannot be reached.
    async fn with_console(&self, error: Error) -> Error {
        let output = console_output(&self.client, &self.watch.id).await.unwrap_or_default();
        match console_end(&output) {
            Some(text) => error.field("console", text.clone()).hint(format!("its console ends with:\n{text}")),
            None => error.hint(format!(
                "does a security group let this host in, is there a way to its subnet, and is {} a user of the image?",
                self.ssh.ssh_username.as_deref().unwrap_or("ssh_username")
            )),
        }
    }
}

/// Returns the last lines of a console; none where it says nothing.
fn console_end(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(CONSOLE_LINES);
    let end = lines.get(from..)?.join("\n");
    (!end.is_empty()).then_some(end)
}

/// Returns the address by which an instance is reached: the one that is wanted, else the public one, else the private one.
fn address(instance: &Instance, interface: Option<&str>) -> Result<String> {
    let of = |wanted: &str| match wanted {
        "public_ip" => instance.public_ip_address(),
        "private_ip" => instance.private_ip_address(),
        "public_dns" => instance.public_dns_name(),
        "private_dns" => instance.private_dns_name(),
        "ipv6" => instance.ipv6_address().or_else(|| {
            let interfaces = instance.network_interfaces().iter().flat_map(|interface| interface.ipv6_addresses());
            interfaces.filter_map(|address| address.ipv6_address()).next()
        }),
        _ => None,
    };
    let found = match interface {
        Some(wanted) => of(wanted),
        None => of("public_ip").or_else(|| of("private_ip")),
    };
    found.filter(|address| !address.is_empty()).map(str::to_owned).ok_or_else(|| {
        let id = instance.instance_id().unwrap_or_default();
        let wanted = interface.unwrap_or("public_ip");
        Error::new(Kind::Connect, format!("{id} has no {wanted}"))
            .hint("associate_public_ip_address = true, or ssh_interface = \"private_ip\" with a way to the subnet")
    })
}

#[async_trait]
impl Machine for AmazonMachine {
    fn name(&self) -> &str {
        "amazon"
    }

    fn id(&self) -> String {
        self.watch.id.clone()
    }

    fn address(&self) -> Option<(String, u16)> {
        self.target.get().map(|target| (target.host.clone(), target.port))
    }

    fn user(&self) -> Option<String> {
        self.ssh.ssh_username.clone()
    }

    async fn connect(&self, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        self.password.get_or_try_init(|| self.windows_password()).await?;
        let begun = Instant::now();
        let target = self.target.get_or_try_init(|| self.find_target()).await?;
        let left = self.ssh.timeout().saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
        let connected = match ssh::wait(target, left, cx).await {
            Ok(connected) => connected,
            Err(error) => return Err(self.with_console(error).await),
        };
        // A lost connection is often the first sign of a lost instance.
        let (watch, connection) = (self.watch.clone(), Arc::downgrade(&connected));
        self.tasks.spawn(async move {
            let Some(connection) = connection.upgrade() else { return };
            tokio::select! {
                () = watch.stop.cancelled() => {}
                () = connection.closed() => watch.look.notify_one(),
            }
        });
        Ok(connected)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.watch.health.subscribe()
    }

    async fn shutdown(&self, request: Shutdown<'_>, cx: &BuildCx) -> Result<()> {
        if self.run.is_spot() && request.command.is_none() && !self.run.disable_stop_instance {
            // AWS stops no such instance. Making the image of it shuts its system down, and starts it again.
            return Ok(());
        }
        self.watch.going_off.store(true, Ordering::Release);
        if let (Some(command), Some(communicator)) = (request.command, &request.communicator) {
            let mut output = ShownOutput::new(&cx.ui, self.name());
            match communicator.exec(&Command::shell(command), &mut output).await {
                Err(error) if !matches!(error.kind(), Kind::Connect | Kind::Network) => return Err(error),
                _ => {}
            }
        } else if !self.run.disable_stop_instance {
            match self.client.ec2.stop_instances().instance_ids(&self.watch.id).send().await {
                Err(e) => return Err(self.client.failed("ec2:StopInstances", e).await),
                Ok(_) => self.watch.look.notify_one(),
            }
        }
        let limit = request.timeout.unwrap_or(STOP_LIMIT);
        let mut health = self.watch.health.subscribe();
        let _progress = cx.ui.progress(format!("waiting for {} to stop", self.watch.id), None, Unit::Spinner);
        let ended = tokio::time::timeout(limit, health.wait_for(|health| *health != Health::Running)).await;
        match ended {
            Err(_) => Err(Error::new(Kind::Timeout, format!("{} did not stop within {limit:?}", self.watch.id))
                .hint("shutdown_timeout of vm:finish is how long it may take")),
            Ok(Err(_)) => Err(Error::new(Kind::Internal, "nobody watches the instance any more")),
            Ok(Ok(health)) => match &*health {
                Health::Dead(why) => {
                    Err(Error::new(Kind::Machine, format!("there is nothing to make an image of: {why}")))
                }
                _ => Ok(()),
            },
        }
    }

    async fn capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
        capture::capture(self, spec, cx).await
    }

    async fn keep(&self, why: &str) -> Result<()> {
        for resource in self.belongings.iter().chain([&self.resource]) {
            self.cx.resources.keep(*resource, why).await?;
        }
        self.watch.stop.cancel();
        Ok(())
    }

    fn access(&self) -> Result<Option<Access>> {
        self.target.get().map(Target::access).transpose()
    }

    fn resource(&self) -> Option<ResourceId> {
        Some(self.resource)
    }

    async fn destroy(&self) -> Result<()> {
        self.watch.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.cx.resources.release(self.resource).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_address_counts_then_the_public_one() {
        let both = Instance::builder().public_ip_address("203.0.113.1").private_ip_address("10.0.0.1").build();
        assert_eq!(address(&both, None).unwrap(), "203.0.113.1");
        assert_eq!(address(&both, Some("private_ip")).unwrap(), "10.0.0.1");
        let private = Instance::builder().private_ip_address("10.0.0.1").public_dns_name("").build();
        assert_eq!(address(&private, None).unwrap(), "10.0.0.1");
        assert!(address(&private, Some("public_dns")).unwrap_err().message().contains("public_dns"));
    }

    #[test]
    fn the_end_of_the_console_is_shown() {
        let text: String = (1..=30).map(|n| format!("line {n}\r\n\r\n")).collect();
        let end = console_end(&text).unwrap();
        assert!(end.starts_with("line 11\n") && end.ends_with("line 30"), "{end}");
        assert_eq!(console_end(""), None);
    }
}
