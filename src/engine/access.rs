//! How a person gets into a machine from elsewhere: written down by the run that made it, read by `rimg ssh`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;
use super::replay::seal::{self, Purpose};
use super::replay::secret;
use crate::error::{Context, Kind, Result};

/// The field of a way that only this user can read.
const SEALED: &str = "sealed";

/// The way into a machine, as its communicator understands it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Access {
    /// Which communicator: `ssh`.
    pub communicator: String,
    /// Where, as whom and with what, secrets included.
    pub details: serde_json::Value,
}

impl Access {
    /// Returns the way into a machine as the journal has it: where, as whom, and the rest sealed.
    pub(super) fn sealed(&self, machine: &dyn Machine, state_dir: &Path) -> Result<Value> {
        let plain = serde_json::to_vec(self).context(Kind::Internal, "cannot write down how to get into a machine")?;
        let sealed = seal::seal(&secret::local_key(state_dir)?, Purpose::Access, &plain)?;
        let (host, port) = machine.address().unzip();
        Ok(serde_json::json!({ "host": host, "port": port, "user": machine.user(), SEALED: sealed }))
    }

    /// Returns a way without what is sealed, and whether there was anything.
    pub fn shown(way: &Value) -> (Value, bool) {
        let mut shown = way.clone();
        let sealed = shown.as_object_mut().and_then(|fields| fields.remove(SEALED));
        (shown, sealed.is_some())
    }

    /// Reads what was sealed; none where this user cannot, or there is nothing to get in with.
    pub fn unsealed(way: &Value, state_dir: &Path) -> Option<Access> {
        let key = secret::local_key(state_dir).ok()?;
        let plain = seal::open(&key, Purpose::Access, way.get(SEALED)?.as_str()?)?;
        serde_json::from_slice(&plain).ok()
    }
}
