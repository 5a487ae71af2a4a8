//! Takes an existing machine into use.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;

use super::machine::HostMachine;
use super::options::HostOptions;
use crate::builder::Entry;
use crate::communicator::ssh::{SshOptions, Target};
use crate::engine::options::{OptionTable, fields};
use crate::engine::{BuildCx, Builder, Checkpoint, Machine};
use crate::error::{Error, Kind, Result};

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    name: "host",
    class: "rimg.HostOptions",
    fields: || {
        static FIELDS: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| [fields::<HostOptions>(), &SshOptions::names()].concat());
        &FIELDS
    },
    boot_options: None,
    destroy_artifact: None,
    copy_artifact: None,
    decode: |value| {
        let mut table = OptionTable::new("rimg.host", value)?;
        Ok(Arc::new(HostBuilder { ssh: SshOptions::take(&mut table)?, options: table.rest()? }))
    },
};

/// The builder of existing machines: it makes nothing, and removes nothing.
pub struct HostBuilder {
    options: HostOptions,
    ssh: SshOptions,
}

#[async_trait]
impl Builder for HostBuilder {
    fn kind(&self) -> &'static str {
        "host"
    }

    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        self.host()?;
        self.ssh.validate(cx)?;
        Ok(Vec::new())
    }

    async fn launch(&self, cx: &BuildCx, _from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        let host = self.host()?;
        let target = Target::new(&self.ssh, host, self.ssh.port(), cx).await?;
        let name = self.options.name.clone().unwrap_or_else(|| host.to_owned());
        Ok(Arc::new(HostMachine::new(name, target, self.ssh.timeout())))
    }
}

impl HostBuilder {
    fn host(&self) -> Result<&str> {
        let host = self.ssh.ssh_host.as_deref().unwrap_or_default();
        if host.is_empty() {
            return Err(Error::new(Kind::Option, "option `ssh_host` is required: the machine's name or address")
                .field("option", "ssh_host")
                .hint("for this very machine there is rimg.localhost{}"));
        }
        Ok(host)
    }
}
