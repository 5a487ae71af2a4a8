//! How a machine is logged in to: with what the script gives, else with a temporary key, planted through cloud-init or
//! handed to the installer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::builder::QemuBuilder;
use super::checkpoint::KeptLogin;
use super::cloud_init::{self, Plant};
use super::network;
use crate::communicator::ssh::keys::{HostKeyPair, TemporaryKeyOptions, clear_authorized_keys, clear_seed};
use crate::communicator::ssh::{self, SshOptions, Target, TemporaryKey, UseConfig};
use crate::engine::placeholders::Placeholders;
use crate::engine::{Access, BuildCx, Communicator, Seconds};
use crate::error::{Error, Kind, Result};
use crate::media::seed::Seed;
use crate::ui::event::Unit;

/// The user that is made in the guest when the script names none and gives no credentials.
const DEFAULT_USER: &str = "rimg";

/// How long an installation may take when nobody says: it is watched, so waiting in vain is rare.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(3600);

/// What is needed to log in to one machine.
pub struct Login {
    target: Target,
    timeout: Duration,
    /// The comment that finds the planted key in the guest's `authorized_keys`.
    planted: Option<String>,
    /// Whether the guest's host key was planted.
    planted_host_key: bool,
    /// Whether the guest's address has to be found out.
    sought: bool,
    /// Whether the planted key is removed in the end.
    clears: bool,
    /// The key that was made for the machine, once it is used.
    key: Option<TemporaryKey>,
    password: Option<String>,
}

/// Tells whether commands reach the machine.
fn has_communicator(builder: &QemuBuilder) -> bool {
    builder.options.machine.has_communicator().unwrap_or(true)
}

/// Tells whether the script says how to log in.
fn has_credentials(options: &SshOptions) -> bool {
    options.ssh_password.is_some()
        || options.ssh_private_key_file.is_some()
        || options.ssh_agent_auth
        || options.ssh_use_config != UseConfig::No
}

/// Returns the SSH options with the user filled in that a planted key is for.
fn completed(builder: &QemuBuilder) -> SshOptions {
    let mut options = builder.ssh.clone();
    let network = &builder.options.network;
    if network.forwards() {
        options.ssh_host = None;
    }
    if plants(builder) {
        options.ssh_username.get_or_insert_with(|| DEFAULT_USER.to_owned());
    }
    if builder.installs() {
        options.ssh_timeout.get_or_insert(Seconds(INSTALL_TIMEOUT));
    }
    options
}

/// Tells whether a login is planted through cloud-init: the script says no way in, and the image is one that has a
/// system on it already. What an installer is given is for the script to say.
fn plants(builder: &QemuBuilder) -> bool {
    !has_credentials(&builder.ssh) && !builder.installs() && has_communicator(builder)
}

/// Tells whether the machine is given a seed.
pub fn has_seed(builder: &QemuBuilder) -> bool {
    plants(builder) || builder.options.machine.has_seed()
}

/// Returns what a guest can tell of how it is logged in to: the user, the password, whether commands have a terminal, and the
/// key that it is given to let in, as far as that is not made anew each time.
pub async fn identity(builder: &QemuBuilder, cx: &BuildCx) -> Result<serde_json::Value> {
    if !has_communicator(builder) {
        return Ok(serde_json::Value::Null);
    }
    let options = completed(builder);
    options.hide_secrets(cx);
    let passes_key = builder.can_pass_key && has_credentials(&builder.ssh);
    let login = if passes_key { prepared(builder, cx).await? } else { None };
    Ok(serde_json::json!({
        "ssh_username": options.ssh_username,
        // One that the guest would refuse is not to go unnoticed because nobody asks the guest.
        "ssh_password": options.ssh_password.as_ref().map(|password| cx.keyed_digest(password.as_bytes())),
        "ssh_pty": options.ssh_pty,
        "public_key": login.and_then(|login| login.public_key()),
        "plants_key": plants(builder),
        "temporary_key_pair_type": builder.temporary_key.temporary_key_pair_type,
        "temporary_key_pair_bits": builder.temporary_key.temporary_key_pair_bits,
    }))
}

/// Checks how a QEMU machine is to be logged in to; returns warnings.
pub fn validate(builder: &QemuBuilder, cx: &BuildCx) -> Result<Vec<String>> {
    if !has_communicator(builder) {
        return Ok(Vec::new());
    }
    builder.temporary_key.kind()?;
    completed(builder).validate(cx)?;
    reachable(builder)?;
    if !has_credentials(&builder.ssh) && builder.installs() && !builder.can_pass_key {
        return Err(Error::new(Kind::Option, "no way to log in to what is installed: no credentials are given")
            .hint("give `ssh_password` or `ssh_private_key_file`, matching what the installer is told to set up")
            .hint(
                "or let it install a temporary key: `{{ .SSHPublicKey }}` in http_content, cd_content or user_data",
            ));
    }
    let mut warnings = if has_credentials(&builder.ssh) { unused(&builder.temporary_key) } else { Vec::new() };
    if builder.ssh.ssh_host.is_some() && builder.options.network.forwards() {
        warnings.push("ssh_host is not used: the machine is reached through a port of 127.0.0.1".into());
    }
    Ok(warnings)
}

/// Refuses a way to the machine where none is gone.
fn reachable(builder: &QemuBuilder) -> Result<()> {
    let options = &builder.ssh;
    if !builder.options.network.forwards() {
        return Ok(());
    }
    let bastions = &options.bastions;
    let ways = [
        ("ssh_use_config", options.ssh_use_config != UseConfig::No),
        ("ssh_bastion_host", bastions.ssh_bastion_host.is_some()),
        ("ssh_bastions", bastions.ssh_bastions.as_ref().is_some_and(|list| !list.is_empty())),
        ("ssh_proxy_host", options.proxy.ssh_proxy_host.is_some()),
    ];
    let Some((option, _)) = ways.iter().find(|(_, given)| *given) else { return Ok(()) };
    let message =
        format!("option `{option}`: the machine is reached through a port of 127.0.0.1, with nothing in between");
    Err(Error::new(Kind::Option, message)
        .field("option", *option)
        .hint("`net_bridge` gives the machine an address of its own on a network of this host's"))
}

fn unused(options: &TemporaryKeyOptions) -> Vec<String> {
    [
        ("temporary_key_pair_type", options.temporary_key_pair_type.is_some()),
        ("temporary_key_pair_bits", options.temporary_key_pair_bits.is_some()),
        ("ssh_clear_authorized_keys", options.ssh_clear_authorized_keys.is_some()),
    ]
    .iter()
    .filter(|(_, given)| *given)
    .map(|(option, _)| format!("{option} is not used: with the credentials given, no temporary key is made"))
    .collect()
}

/// Prepares the login of one machine; with it comes the temporary key, where one is needed.
pub async fn login(builder: &QemuBuilder, cx: &BuildCx) -> Result<(Option<Login>, Option<TemporaryKey>)> {
    let Some(mut login) = prepared(builder, cx).await? else { return Ok((None, None)) };
    if has_credentials(&builder.ssh) {
        return Ok((Some(login), None));
    }
    let comment = format!("rimg-temporary-{}", uuid::Uuid::new_v4().simple());
    let key = TemporaryKey::generate_kind(builder.temporary_key.kind()?, &comment).await?;
    cx.ui.secrets().add(&key.to_openssh()?);
    if builder.installs() {
        login.use_key(&key, comment);
    }
    Ok((Some(login), Some(key)))
}

/// Prepares the login as the options say it.
async fn prepared(builder: &QemuBuilder, cx: &BuildCx) -> Result<Option<Login>> {
    if !has_communicator(builder) {
        return Ok(None);
    }
    let ssh = completed(builder);
    let host = ssh.ssh_host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
    let target = Target::new(&ssh, host, ssh.port(), cx).await?;
    let target = if builder.installs() { target.installing() } else { target.booting() };
    // A guest on a bridge has an address that nobody chose.
    let sought = builder.options.network.net_bridge.is_some() && ssh.ssh_host.is_none();
    Ok(Some(Login {
        target,
        timeout: ssh.timeout(),
        planted: None,
        planted_host_key: false,
        sought,
        clears: builder.temporary_key.clears(),
        key: None,
        password: ssh.ssh_password.clone(),
    }))
}

/// Makes the cloud-init seed, where one is needed, and tells the login what it plants.
pub async fn seed(
    builder: &QemuBuilder,
    login: Option<&mut Login>,
    key: Option<TemporaryKey>,
    values: &Placeholders,
    cx: &BuildCx,
) -> Result<Option<Seed>> {
    let options = &builder.options.machine;
    let planting = plants(builder);
    if !has_seed(builder) {
        return Ok(None);
    }
    let Some(login) = login.filter(|_| !builder.installs()) else {
        return cloud_init::as_given(options, values, cx).await.map(Some);
    };
    let host_key = HostKeyPair::generate("rimg")?;
    cx.ui.secrets().add(&host_key.private_openssh);
    let user = login.target.user.clone();
    let plant = Plant {
        login: key.as_ref().map(|key| (user.as_str(), key.authorized_key.as_str())),
        host_key: (&host_key.private_openssh, &host_key.public_openssh),
    };
    let (seed, planted) = cloud_init::compose(options, &plant, cx).await?;
    if planting && !planted.login {
        return Err(Error::new(
            Kind::Option,
            "no way to log in: no credentials are given, and a key cannot be added to this user_data",
        )
        .hint("give `ssh_password` or `ssh_private_key_file`, matching what user_data sets up")
        .hint("a key is added to user_data that is a table, or text that starts with #cloud-config"));
    }
    if let Some(key) = key.filter(|_| planted.login) {
        let comment = key.authorized_key.rsplit(' ').next().unwrap_or_default().to_owned();
        login.use_key(&key, comment);
    }
    if planted.host_key {
        login.planted_host_key = true;
        login.target = login.target.clone().expect_host_key(&host_key.public);
    }
    Ok(Some(seed))
}

/// Prepares the login of a machine that goes on from a checkpoint: as the options say, with the key it knows.
pub async fn again(builder: &QemuBuilder, kept: Option<&KeptLogin>, cx: &BuildCx) -> Result<Option<Login>> {
    let (Some(mut login), Some(kept)) = (prepared(builder, cx).await?, kept) else { return Ok(None) };
    if let Some(sealed) = &kept.key {
        let text = cx
            .unseal(sealed)?
            .ok_or_else(|| Error::new(Kind::Io, "the checkpoint's login is sealed by another key"))?;
        cx.ui.secrets().add(&text);
        let key = TemporaryKey::from_openssh(&text)?;
        login.target = login.target.clone().with_key(&key);
        login.key = Some(key);
        login.planted.clone_from(&kept.comment);
    }
    login.planted_host_key = kept.planted_host_key;
    if let Some(line) = &kept.host_key {
        login.target = login.target.clone().expect_host_key_line(line)?;
    }
    Ok(Some(login))
}

impl Login {
    /// Returns what a later machine needs to log in that goes on from this one.
    pub fn keep(&self, cx: &BuildCx) -> Result<KeptLogin> {
        Ok(KeptLogin {
            key: self.key.as_ref().map(|key| cx.seal(&key.to_openssh()?)).transpose()?,
            comment: self.planted.clone(),
            planted_host_key: self.planted_host_key,
            host_key: self.target.host_key_line(),
        })
    }

    /// Returns the password that it logs in with.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Tells how another rimg gets in on a port; none where the address has to be found out.
    pub fn access(&self, port: u16) -> Result<Option<Access>> {
        if self.sought {
            return Ok(None);
        }
        let mut target = self.target.clone();
        target.port = port;
        target.access().map(Some)
    }

    fn use_key(&mut self, key: &TemporaryKey, comment: String) {
        self.target = self.target.clone().with_key(key);
        self.key = Some(key.clone());
        self.planted = Some(comment);
    }

    /// Returns the public half of the key it logs in with.
    pub fn public_key(&self) -> Option<String> {
        self.target.credentials.public_key()
    }

    pub fn user(&self) -> &str {
        &self.target.user
    }

    /// Returns the host that it connects to, where that is known.
    pub fn host(&self) -> Option<&str> {
        (!self.sought).then_some(self.target.host.as_str())
    }

    /// Waits until the machine takes commands on a port; `mac` is the hardware address of its network card.
    pub async fn connect(&self, port: u16, mac: &str, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        let mut target = self.target.clone();
        target.port = port;
        let started = Instant::now();
        if self.sought {
            let _progress = cx.ui.progress("looking for the guest on the bridge", None, Unit::Spinner);
            target.host = tokio::time::timeout(self.timeout, network::find_guest(mac)).await.map_err(|_| {
                let message = format!("this host has not heard of the guest on the bridge (hardware address {mac})");
                Error::new(Kind::Timeout, message)
                    .hint("does anything on the bridge give addresses (DHCP)? or give the guest's own as `ssh_host`")
            })?;
        }
        let connection = ssh::wait(&target, self.timeout.saturating_sub(started.elapsed()), cx).await;
        connection.map_err(|error| match (&self.planted, error.kind()) {
            (Some(_), Kind::Auth) => error.hint(
                "no credentials are given, so a temporary key is used, planted through cloud-init or \
                            `{{ .SSHPublicKey }}`: did the guest get it?",
            ),
            _ => error,
        })
    }

    /// Removes from the guest what was planted, so that the image does not keep it: the temporary key, and the seed as
    /// cloud-init has stored it.
    pub async fn take_back(&self, communicator: &dyn Communicator) {
        if !self.clears {
            return;
        }
        if let Some(comment) = &self.planted {
            clear_authorized_keys(communicator, comment).await;
        }
        let host_key = self.target.host_key_line().filter(|_| self.planted_host_key);
        let blob = host_key.as_deref().and_then(|line| line.split(' ').nth(1));
        let marks: Vec<&str> = self.planted.as_deref().into_iter().chain(blob).collect();
        if !marks.is_empty() {
            clear_seed(communicator, &marks).await;
        }
    }
}
