//! Every option struct a script can fill in, with the LuaLS class that documents it: the annotation test compares them.

use super::{build, flow, host, machine, vars};
use crate::console::boot_command::StepTable;
use crate::engine::CaptureSpec;
use crate::engine::options::fields;
use crate::{artifact, builder, console, provisioner};

/// Lists class and option names.
pub fn classes() -> Vec<(&'static str, &'static [&'static str])> {
    let mut classes = vec![
        ("rimg.BuildOptions", fields::<build::BuildOptions>()),
        ("rimg.ParallelOptions", fields::<flow::ParallelOptions>()),
        ("rimg.RetryOptions", fields::<flow::RetryOptions>()),
        ("rimg.VarOptions", fields::<vars::VarOptions>()),
        ("rimg.SecretOptions", fields::<vars::SecretOptions>()),
        ("rimg.ShutdownOptions", fields::<machine::ShutdownOptions>()),
        ("rimg.FinishOptions", fields::<CaptureSpec>()),
        ("rimg.ExpectOptions", fields::<console::expect::ExpectOptions>()),
        ("rimg.RunOptions", fields::<provisioner::run::RunOptions>()),
        ("rimg.ShellOptions", fields::<provisioner::shell::ShellOptions>()),
        ("rimg.WriteOptions", fields::<provisioner::write::WriteOptions>()),
        ("rimg.ReadOptions", fields::<provisioner::write::ReadOptions>()),
        ("rimg.ChecksumOptions", fields::<artifact::checksum::ChecksumOptions>()),
        ("rimg.CompressOptions", fields::<artifact::compress::CompressOptions>()),
        ("rimg.UploadOptions", fields::<provisioner::upload::UploadOptions>()),
        ("rimg.DownloadOptions", fields::<provisioner::download::DownloadOptions>()),
        ("rimg.RebootOptions", fields::<provisioner::power::RebootOptions>()),
        ("rimg.TypeOptions", fields::<provisioner::typing::TypeOptions>()),
        ("rimg.BootStep", fields::<StepTable>()),
        ("rimg.BreakpointOptions", fields::<provisioner::breakpoint::BreakpointOptions>()),
        ("rimg.ConvertOptions", fields::<artifact::convert::ConvertOptions>()),
        ("rimg.VagrantOptions", fields::<artifact::vagrant::VagrantOptions>()),
        ("rimg.ManifestOptions", fields::<artifact::manifest::ManifestOptions>()),
        ("rimg.ArtifactOptions", fields::<artifact::files::FilesOptions>()),
    ];
    classes.extend(host::classes());
    classes.extend(builder::REGISTRY.iter().map(|entry| (entry.class, (entry.fields)())));
    classes
}
