//! How a machine is logged in to: with what the script gives, else with a key that is planted through cloud-init.

use std::sync::Arc;
use std::time::Duration;

use super::cloud_init::{self, Plant};
use super::options::QemuOptions;
use crate::communicator::ssh::keys::HostKeyPair;
use crate::communicator::ssh::{self, SshOptions, Target, TemporaryKey};
use crate::engine::{BuildCx, Command, Communicator, OutputSink};
use crate::error::{Error, Kind, Result};
use crate::media::seed::Seed;

/// The user that is made in the guest when the script names none and gives no credentials.
const DEFAULT_USER: &str = "rimg";

/// Removing the temporary key may not hold up a shutdown.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(10);

/// What is needed to log in to one machine.
pub struct Login {
    target: Target,
    timeout: Duration,
    /// The comment that finds the planted key in the guest's `authorized_keys`.
    planted: Option<String>,
}

/// Tells whether the script says how to log in.
fn has_credentials(options: &SshOptions) -> bool {
    options.ssh_password.is_some() || options.ssh_private_key_file.is_some() || options.ssh_agent_auth
}

/// Returns the SSH options with the user filled in that a planted key is for.
fn completed(options: &SshOptions) -> SshOptions {
    let mut options = options.clone();
    if !has_credentials(&options) {
        options.ssh_username.get_or_insert_with(|| DEFAULT_USER.to_owned());
    }
    options
}

/// Checks the SSH options of a QEMU machine; returns warnings.
pub fn validate(options: &SshOptions, cx: &BuildCx) -> Result<Vec<String>> {
    completed(options).validate(cx)?;
    Ok(match &options.ssh_host {
        Some(_) => vec!["ssh_host is not used: the machine is reached through a port of 127.0.0.1".into()],
        None => Vec::new(),
    })
}

/// Prepares the login of one machine, and the seed that makes it possible where one is needed.
pub async fn prepare(options: &QemuOptions, ssh: &SshOptions, cx: &BuildCx) -> Result<(Login, Option<Seed>)> {
    let planting = !has_credentials(ssh);
    let ssh = completed(ssh);
    let target = Target::new(&ssh, "127.0.0.1", ssh.port(), cx).await?.booting();
    let timeout = ssh.timeout();
    if !planting && !options.has_seed() {
        return Ok((Login { target, timeout, planted: None }, None));
    }
    let comment = format!("rimg-temporary-{}", uuid::Uuid::new_v4().simple());
    let key = TemporaryKey::generate(&comment)?;
    let host_key = HostKeyPair::generate("rimg")?;
    let user = target.user.clone();
    let plant = Plant {
        login: planting.then_some((user.as_str(), key.authorized_key.as_str())),
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
    let target = if planted.login { target.with_key(&key) } else { target };
    let target = if planted.host_key { target.expect_host_key(&host_key.public) } else { target };
    Ok((Login { target, timeout, planted: planted.login.then_some(comment) }, Some(seed)))
}

impl Login {
    pub fn user(&self) -> &str {
        &self.target.user
    }

    /// Waits until the machine takes commands on a port of 127.0.0.1.
    pub async fn connect(&self, port: u16, cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        let mut target = self.target.clone();
        target.port = port;
        let connection = ssh::wait(&target, self.timeout, cx).await;
        connection.map_err(|error| match (&self.planted, error.kind()) {
            (Some(_), Kind::Auth) => {
                error.hint("no credentials are given, so a key was planted through cloud-init: does the image have it?")
            }
            _ => error,
        })
    }

    /// Removes the temporary key from the guest, so that the image does not keep it. Only tidying: whoever finds the
    /// key in an image has nothing that fits it.
    pub async fn take_back(&self, communicator: &dyn Communicator) {
        let Some(comment) = &self.planted else { return };
        let file = "\"$HOME/.ssh/authorized_keys\"";
        let command = Command::shell(format!("test ! -f {file} || sed -i '/{comment}/d' {file}"));
        let mut nowhere = Nowhere;
        let removed = tokio::time::timeout(TAKE_BACK_LIMIT, communicator.exec(&command, &mut nowhere)).await;
        tracing::debug!(?removed, "the temporary key was taken back");
    }
}

struct Nowhere;

impl OutputSink for Nowhere {
    fn stdout(&mut self, _: &[u8]) {}
    fn stderr(&mut self, _: &[u8]) {}
}
