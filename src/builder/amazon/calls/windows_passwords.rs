//! The password of a Windows instance's Administrator.

use std::path::PathBuf;

use serde::Deserialize;

use super::request::{Call, Request, call, required};
use crate::builder::amazon::windows_password::{Decrypter, LIMIT};
use crate::builder::amazon::{Client, wrong};
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WindowsPassword {
    instance_id: String,
    private_key_file: Option<PathBuf>,
    private_key_passphrase: Option<String>,
    timeout: Option<Seconds>,
}

impl Request for WindowsPassword {
    type Answer = String;
    const NAME: &'static str = "windows_password";
    const FIRST: Option<&'static str> = Some("instance_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonWindowsPasswordOptions");

    fn check(&self) -> Result<()> {
        required("instance_id", &self.instance_id)?;
        match self.private_key_file {
            Some(_) => Ok(()),
            None => Err(wrong("private_key_file", "is required: AWS has the password encrypted for the key pair")),
        }
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:GetPasswordData"]
    }

    fn pretended(&self) -> String {
        "pretended".to_owned()
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let passphrase = self.private_key_passphrase.as_deref();
        if let Some(passphrase) = passphrase {
            cx.ui.secrets().add(passphrase);
        }
        let file = self.private_key_file.unwrap_or_default();
        let names = ("private_key_file", "private_key_passphrase");
        let decrypter = Decrypter::read(&file, passphrase, names, cx).await?;
        let patience = client.patience(self.timeout.map(|limit| limit.0), LIMIT);
        decrypter.password(client, &self.instance_id, patience, cx).await
    }
}

pub const CALLS: &[Call] = &[call::<WindowsPassword>()];
