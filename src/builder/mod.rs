//! The registry of builders: a new one is a folder here and a line in [`REGISTRY`].

#[cfg(feature = "amazon")]
pub mod amazon;
#[cfg(test)]
pub mod folder;
pub mod host;
pub mod localhost;
pub mod qemu;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::engine::journal::collector::Collectors;
use crate::engine::{Artifact, BuildCx, Builder, Value};
use crate::error::Result;

/// Removes an artifact, given the options of the machine that it was made of.
pub type DestroyArtifact = fn(Value, Artifact) -> BoxFuture<'static, Result<()>>;

/// Copies an artifact to the regions of these names, given the options of the machine that it was made of.
pub type CopyArtifact = fn(Value, Vec<String>, Artifact, BuildCx) -> BoxFuture<'static, Result<Artifact>>;

/// One builder: the name scripts call it by, its options, and how to make one from a decoded option table.
pub struct Entry {
    /// `qemu` is `rimg.qemu{…}`; a dot nests, as in `amazon.ebs`.
    pub name: &'static str,
    /// The LuaLS class of its option table, `rimg.QemuOptions`.
    pub class: &'static str,
    /// Lists the names of its options.
    pub fields: fn() -> &'static [&'static str],
    /// Turns the options that a machine was made with into those that boot an artifact of this builder again (the
    /// source replaced, credentials and hardware kept); none when its artifacts cannot be booted.
    pub boot_options: Option<fn(Value, &Artifact) -> Result<Value>>,
    /// Removes an artifact of a machine with these options; none where its files are all there is of it.
    pub destroy_artifact: Option<DestroyArtifact>,
    /// Copies an artifact of a machine with these options to further regions; none where it is in no region.
    pub copy_artifact: Option<CopyArtifact>,
    /// Decodes the options. No side effects.
    pub decode: fn(Value) -> Result<Arc<dyn Builder>>,
}

/// Every builder there is.
pub const REGISTRY: &[Entry] = &[
    Entry {
        name: "qemu",
        class: "rimg.QemuOptions",
        fields: qemu::field_names,
        boot_options: Some(qemu::boot_options),
        destroy_artifact: None,
        copy_artifact: None,
        decode: qemu::decode,
    },
    host::ENTRY,
    localhost::ENTRY,
    #[cfg(feature = "amazon")]
    amazon::EBS,
    #[cfg(feature = "amazon")]
    amazon::SURROGATE,
    #[cfg(feature = "amazon")]
    amazon::CHROOT,
    #[cfg(test)]
    folder::ENTRY,
];

/// What finds and removes what builders made elsewhere than on this host, by the name that their traces have for it.
pub const COLLECTORS: Collectors<'static> = &[
    #[cfg(feature = "amazon")]
    (amazon::COLLECTOR, &amazon::Amazon),
    #[cfg(feature = "amazon")]
    (amazon::MOUNTS_COLLECTOR, &amazon::Mounts),
];
