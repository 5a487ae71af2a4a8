//! The profiles of AWS's shared configuration: which there are, and where they were looked for.

use std::path::PathBuf;

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use super::access::AccessOptions;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result};

/// Checks that a profile is there, which `by` names: the SDK only says that there are no credentials.
pub async fn require(name: &str, by: &str, access: &AccessOptions, files: &EnvConfigFiles) -> Result<()> {
    // What is wrong with a file, the SDK says itself.
    let Ok(found) = aws_config::profile::load(&Fs::real(), &Env::real(), files, None).await else { return Ok(()) };
    if found.get_profile(name).is_some() {
        return Ok(());
    }
    let credentials = access.shared_credentials_file.clone();
    let paths = [
        place("AWS_CONFIG_FILE", "config"),
        credentials.unwrap_or_else(|| place("AWS_SHARED_CREDENTIALS_FILE", "credentials")),
    ];
    let shown = paths.map(|path| match path.exists() {
        true => path.display().to_string(),
        false => format!("{} (which is not there)", path.display()),
    });
    let mut names: Vec<&str> = found.profiles().collect();
    names.sort_unstable();
    let message = format!("{by}: there is no profile {name:?} in {}", shown.join(" and "));
    let error = Error::new(Kind::Auth, message).field("profile", name);
    Err(match did_you_mean(name, &names) {
        Some(hint) => error.hint(hint),
        None if names.is_empty() => error.hint("`aws configure --profile NAME` makes one"),
        None => error.hint(format!("there are: {}", names.join(", "))),
    })
}

fn place(variable: &str, name: &str) -> PathBuf {
    let given = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    given.unwrap_or_else(|| etcetera::home_dir().unwrap_or_default().join(".aws").join(name))
}
