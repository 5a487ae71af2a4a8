//! How a machine is logged in to.

use std::sync::Arc;

use crate::engine::{BuildCx, Communicator};
use crate::error::{Error, Kind, Result};

/// What is needed to log in to one machine.
pub struct Login {}

impl Login {
    pub fn user(&self) -> Option<String> {
        Some(super::cloud_init::DEFAULT_USER.into())
    }

    /// Waits until the machine takes commands on a port of 127.0.0.1.
    pub async fn connect(&self, _port: u16, _cx: &BuildCx) -> Result<Arc<dyn Communicator>> {
        Err(Error::new(Kind::Unsupported, "no SSH yet"))
    }

    /// Removes the temporary key from the guest.
    pub async fn take_back(&self, _communicator: &dyn Communicator) {}
}
