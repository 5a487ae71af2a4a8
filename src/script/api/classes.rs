//! Every option struct a script can fill in, with the LuaLS class that documents it: the annotation test compares them.

use serde::de::DeserializeOwned;

use super::{build, flow, host, machine, vars};
use crate::console::boot_command::StepTable;
use crate::engine::options::fields;
use crate::engine::{CaptureSpec, OperationOptions};
use crate::{artifact, builder, console, provisioner};

/// Lists the options of an operation: its own and every operation's.
fn operation<T: DeserializeOwned>() -> &'static [&'static str] {
    // Once, for the annotation test.
    [fields::<OperationOptions>(), fields::<T>()].concat().leak()
}

/// Lists class and option names.
pub fn classes() -> Vec<(&'static str, &'static [&'static str])> {
    let mut classes = vec![
        ("rimg.BuildOptions", fields::<build::BuildOptions>()),
        ("rimg.ParallelOptions", fields::<flow::ParallelOptions>()),
        ("rimg.RetryOptions", fields::<flow::RetryOptions>()),
        ("rimg.VarOptions", fields::<vars::VarOptions>()),
        ("rimg.SecretOptions", fields::<vars::SecretOptions>()),
        ("rimg.ShutdownOptions", operation::<machine::ShutdownOptions>()),
        ("rimg.FinishOptions", fields::<CaptureSpec>()),
        ("rimg.ExpectOptions", operation::<console::expect::ExpectOptions>()),
        ("rimg.OperationOptions", fields::<OperationOptions>()),
        ("rimg.RunOptions", operation::<provisioner::run::RunOptions>()),
        ("rimg.ShellOptions", operation::<provisioner::shell::ShellOptions>()),
        ("rimg.WriteOptions", operation::<provisioner::write::WriteOptions>()),
        ("rimg.ReadOptions", operation::<provisioner::write::ReadOptions>()),
        ("rimg.ChecksumOptions", fields::<artifact::checksum::ChecksumOptions>()),
        ("rimg.CompressOptions", fields::<artifact::compress::CompressOptions>()),
        ("rimg.UploadOptions", operation::<provisioner::upload::UploadOptions>()),
        ("rimg.DownloadOptions", operation::<provisioner::download::DownloadOptions>()),
        ("rimg.RebootOptions", operation::<provisioner::power::RebootOptions>()),
        ("rimg.TypeOptions", operation::<provisioner::typing::TypeOptions>()),
        ("rimg.BootStep", fields::<StepTable>()),
        ("rimg.BreakpointOptions", operation::<provisioner::breakpoint::BreakpointOptions>()),
        ("rimg.ConvertOptions", fields::<artifact::convert::ConvertOptions>()),
        ("rimg.VagrantOptions", fields::<artifact::vagrant::VagrantOptions>()),
        ("rimg.ManifestOptions", fields::<artifact::manifest::ManifestOptions>()),
        ("rimg.ArtifactOptions", fields::<artifact::files::FilesOptions>()),
    ];
    classes.extend(host::classes());
    #[cfg(feature = "amazon")]
    classes.extend(super::amazon::classes());
    classes.extend(builder::REGISTRY.iter().map(|entry| (entry.class, (entry.fields)())));
    classes
}
