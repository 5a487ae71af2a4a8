//! rimg builds machine images from Lua scripts. The house, innermost first; a module uses only those above it.

/// The one error type: kind, message, source, hints.
pub mod error;
/// This host: processes, private folders, files that appear whole.
pub mod host;
/// Events, and the renderers that show them.
pub mod ui;

/// The contracts: builds, scopes, resources, operations, machines, communicators, artifacts.
pub mod engine;

/// How commands and files reach a machine: SSH, local.
pub mod communicator;
/// What is done at a machine's console: typing, and reading the screen and the serial line.
pub mod console;
/// What a machine boots from: downloads and their cache, an HTTP server, images of media, the cloud-init seed.
pub mod media;

/// Post-processing: checksum, compress, convert, Vagrant box, manifest.
pub mod artifact;
/// One folder a builder, and the registry of all of them.
pub mod builder;
/// The native provisioners: shell, files, facts, reboot.
pub mod provisioner;

/// Lua: the only code that knows mlua.
pub mod script;

/// One file a subcommand.
pub mod cli;

/// What must hold for any input.
#[cfg(any(test, fuzzing))]
pub mod properties;
#[cfg(test)]
mod walls;
