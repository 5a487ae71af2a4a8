//! What `rimg.amazon.client{…}` can be asked: one file a sort of thing, each ending in a flat table of calls.

use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::Client;
use crate::engine::options::{decode, fields, long_form};
use crate::engine::{BuildCx, Value};
use crate::error::Result;

type Answered = Pin<Box<dyn Future<Output = Result<Json>> + Send>>;

/// One method of a client: what scripts call it, its options, and how it is done.
pub struct Call {
    /// `images` is `aws:images{…}`.
    pub name: &'static str,
    /// The option that may stand before the table: `aws:image("ami-1")`.
    pub first: Option<&'static str>,
    /// The LuaLS class of its option table, `rimg.AmazonImagesOptions`.
    pub class: &'static str,
    /// Lists the names of its options.
    pub fields: fn() -> &'static [&'static str],
    /// What is answered where the world may not be touched.
    pub pretended: fn() -> Json,
    /// The actions that a policy must allow.
    pub actions: &'static [&'static str],
    /// Asks AWS. `of` names the call in errors about its options.
    pub run: fn(Client, Value, BuildCx) -> Result<Answered>,
}
