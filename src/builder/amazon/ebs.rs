//! `rimg.amazon.ebs{…}`: an image of an instance's disks; and, of a disk beside them, `rimg.amazon.surrogate{…}`.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use super::artifact;
use super::artifact_copy::copy_artifact;
use super::capture;
use super::image_options::ImageOptions;
use super::instance::{self, Launch};
use super::machine::AmazonMachine;
use super::network::Network;
use super::run_options::RunOptions;
use super::surrogate::SurrogateOptions;
use super::watch::Watch;
use super::windows_password::{self, Decrypter};
use super::{AccessOptions, Client, actions, key_pair, profile, session_manager, source, tags, target, wrong};
use crate::builder::Entry;
use crate::communicator::ssh::SshOptions;
use crate::communicator::ssh::keys::TemporaryKeyOptions;
use crate::engine::options::{OptionTable, fields};
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Checkpoint, Machine, Value};
use crate::error::{Error, Kind, Result};

const NAME: &str = "amazon.ebs";
const SURROGATE: &str = "amazon.surrogate";

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    name: NAME,
    class: "rimg.AmazonEbsOptions",
    fields: || {
        static FIELDS: LazyLock<Vec<&'static str>> = LazyLock::new(field_names);
        &FIELDS
    },
    boot_options: Some(boot_options),
    destroy_artifact: Some(|options, artifact| Box::pin(artifact::destroy(options, artifact))),
    copy_artifact: Some(|options, regions, artifact, cx| Box::pin(copy_artifact(options, regions, artifact, cx))),
    decode: |value| decode("rimg.amazon.ebs", value, |_| Ok(None)),
};

/// The line of the one whose image is made of a second disk.
pub const SURROGATE_ENTRY: Entry = Entry {
    name: SURROGATE,
    class: "rimg.AmazonSurrogateOptions",
    fields: || {
        static FIELDS: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| [field_names().as_slice(), fields::<SurrogateOptions>()].concat());
        &FIELDS
    },
    boot_options: Some(boot_options),
    destroy_artifact: Some(|options, artifact| Box::pin(artifact::destroy(options, artifact))),
    copy_artifact: Some(|options, regions, artifact, cx| Box::pin(copy_artifact(options, regions, artifact, cx))),
    decode: |value| decode("rimg.amazon.surrogate", value, |table| table.take().map(Some)),
};

fn field_names() -> Vec<&'static str> {
    [
        fields::<AccessOptions>(),
        fields::<RunOptions>(),
        fields::<ImageOptions>(),
        &SshOptions::names(),
        fields::<TemporaryKeyOptions>(),
    ]
    .concat()
}

fn decode(
    of: &str,
    value: Value,
    surrogate: impl FnOnce(&mut OptionTable<'_>) -> Result<Option<SurrogateOptions>>,
) -> Result<Arc<dyn Builder>> {
    let mut table = OptionTable::new(of, value)?;
    let mut builder = EbsBuilder {
        surrogate: surrogate(&mut table)?,
        access: table.take()?,
        image: table.take()?,
        ssh: SshOptions::take(&mut table)?,
        temporary_key: table.take()?,
        run: table.rest()?,
    };
    if builder.run.windows_password {
        builder.temporary_key.temporary_key_pair_type.get_or_insert_with(|| "rsa".to_owned());
    }
    Ok(Arc::new(builder))
}

/// Makes instances, and images of them.
pub struct EbsBuilder {
    surrogate: Option<SurrogateOptions>,
    access: AccessOptions,
    run: RunOptions,
    image: ImageOptions,
    ssh: SshOptions,
    temporary_key: TemporaryKeyOptions,
}

/// Returns the options that start an instance of an image that was made: where the image is, with no image of its own.
fn boot_options(value: Value, artifact: &Artifact) -> Result<Value> {
    let Value::Map(mut entries) = value else { return Err(wrong("options", "expected a table")) };
    let images = artifact.metadata.get("images").and_then(|images| images.as_object());
    let given = entries.iter().find_map(|(name, value)| match value {
        Value::Str(region) if name == "region" => Some(region.clone()),
        _ => None,
    });
    let found = images.and_then(|images| match given.as_ref().and_then(|region| images.get_key_value(region)) {
        Some(found) => Some(found),
        None => images.iter().next(),
    });
    let Some((region, id)) = found.and_then(|(region, id)| Some((region.clone(), id.as_str()?.to_owned()))) else {
        return Err(Error::new(Kind::Unsupported, "this artifact has no image to boot"));
    };
    let of_source = ["source_ami", "source_ami_filter", "region"];
    let of_image = [fields::<ImageOptions>(), fields::<SurrogateOptions>()].concat();
    entries.retain(|(name, _)| !of_source.contains(&name.as_str()) && !of_image.contains(&name.as_str()));
    entries.push(("source_ami".into(), Value::Str(id)));
    entries.push(("region".into(), Value::Str(region)));
    entries.push(("skip_create_ami".into(), Value::Bool(true)));
    Ok(Value::Map(entries))
}

impl EbsBuilder {
    /// Tells whether the script says how to log in.
    fn has_credentials(&self) -> bool {
        self.ssh.ssh_private_key_file.is_some() || self.ssh.ssh_password.is_some() || self.ssh.ssh_agent_auth
    }

    /// Reads the script's own key, where the password of Windows is encrypted for that.
    async fn own_decrypter(&self, cx: &BuildCx) -> Result<Option<Decrypter>> {
        let Some(file) = self.ssh.ssh_private_key_file.as_ref().filter(|_| self.run.windows_password) else {
            return Ok(None);
        };
        let names = ("ssh_private_key_file", "ssh_private_key_passphrase");
        Decrypter::read(file, self.ssh.ssh_private_key_passphrase.as_deref(), names, cx).await.map(Some)
    }
}

#[async_trait]
impl Builder for EbsBuilder {
    fn kind(&self) -> &'static str {
        if self.surrogate.is_some() { SURROGATE } else { NAME }
    }

    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        self.access.validate(cx)?;
        self.run.validate(cx)?;
        self.image.validate()?;
        if let Some(surrogate) = self.surrogate.as_ref().filter(|_| !self.image.skip_create_ami) {
            surrogate.validate(&self.run)?;
        }
        profile::document(&self.run)?;
        self.temporary_key.kind()?;
        tags::check("run_tags", &self.run.run_tags)?;
        tags::check("run_volume_tags", &self.run.run_volume_tags)?;
        tags::check("spot_tags", &self.run.spot_tags)?;
        tags::check("fleet_tags", &self.run.fleet_tags)?;
        tags::check("tags", &self.image.tags)?;
        tags::check("snapshot_tags", &self.image.snapshot_tags)?;
        if self.ssh.ssh_username.is_none() {
            return Err(wrong("ssh_username", "is required: `admin` on Debian's images, `ubuntu`, `ec2-user`, …"));
        }
        if self.run.ssh_keypair_name.is_some() && !self.has_credentials() {
            return Err(wrong(
                "ssh_keypair_name",
                "needs `ssh_private_key_file` or an agent: AWS has the public half only",
            ));
        }
        windows_password::validate(&self.run, &self.ssh, &self.temporary_key)?;
        self.ssh.validate(cx)?;
        let actions = if self.surrogate.is_some() { actions::surrogate } else { actions::ebs };
        cx.settings.needs.note(actions(&self.run, &self.image, !self.has_credentials()));
        let mut warnings = Vec::new();
        if self.access.insecure_skip_tls_verify {
            warnings.push("insecure_skip_tls_verify: whoever answers is taken for AWS".to_owned());
        }
        Ok(warnings)
    }

    fn check_capture(&self, spec: &CaptureSpec, _cx: &BuildCx) -> Result<()> {
        capture::check(spec, &self.image)
    }

    fn pretend(&self, artifact: Artifact) -> Artifact {
        artifact::pretended(self.kind(), &self.image, &self.access.pretended_region(), artifact.build)
    }

    async fn launch(&self, cx: &BuildCx, _from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        if self.run.ssh_interface.as_deref() == Some("session_manager") && self.ssh.ssh_host.is_none() {
            session_manager::plugin()?;
        }
        let mut decrypter = self.own_decrypter(cx).await?;
        let client = Client::connect(&self.access).await?;
        target::check(&client, &self.image, self.kind(), cx).await?;
        let source = source::find(&client, self.run.source()).await?;
        let image = source.image_id().unwrap_or_default().to_owned();
        cx.ui.info(format!("From {image} ({})", source.name().unwrap_or("without a name")));
        let network = Network::find(&client, &self.run).await?;
        let mut belongings = Vec::new();
        let user_data = self.run.encoded_user_data(cx).await?;
        let profile = match profile::document(&self.run)? {
            Some(policy) => {
                let (name, made) = profile::make(&client, &self.run, &policy, cx).await?;
                belongings.push(made);
                Some(name)
            }
            None => self.run.iam_instance_profile.clone(),
        };
        let (key, key_name) = match self.has_credentials() {
            true => (None, self.run.ssh_keypair_name.clone()),
            false => {
                let (key, name) = key_pair::make(&client, &self.run, &self.temporary_key, cx).await?;
                if self.run.windows_password {
                    decrypter = Some(Decrypter::of(&key.private, "the temporary key")?);
                }
                (Some(key), Some(name))
            }
        };
        let (security_groups, made) = network.security_groups(&client, &self.run, self.ssh.port(), cx).await?;
        belongings.extend(made);
        let wanted = Launch { image: &image, key_name, security_groups, profile, user_data, places: network.places };
        let started = instance::start(&client, &self.run, &wanted, cx).await?;
        let watch = Watch::new(started.id, self.run.disable_stop_instance);
        let watcher = tokio::spawn(watch.clone().run(client.clone()));
        let stop = watch.stop.clone();
        cx.resources.enter_memory("watcher", watch.id.clone(), move || async move {
            stop.cancel();
            let _ = watcher.await;
            Ok(())
        });
        Ok(Arc::new(AmazonMachine {
            kind: self.kind(),
            surrogate: self.surrogate.clone(),
            source,
            client,
            run: self.run.clone(),
            image: self.image.clone(),
            ssh: self.ssh.clone(),
            key,
            decrypter,
            password: Default::default(),
            watch,
            resource: started.made.resource,
            belongings,
            tasks: TaskTracker::new(),
            target: Default::default(),
            cx: cx.clone(),
        }))
    }
}
