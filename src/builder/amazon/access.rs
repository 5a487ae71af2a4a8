//! Who rimg is to AWS, and where: the options that every builder and client of Amazon takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

/// The options of access.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessOptions {
    /// Where images are built; default: `AWS_REGION`, else the profile's.
    pub region: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    /// The session's token, where the two keys are temporary.
    pub token: Option<String>,
    /// A profile of the shared configuration; default: `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// The credentials file in place of `~/.aws/credentials`.
    pub shared_credentials_file: Option<PathBuf>,
    /// A role that is taken with these credentials.
    pub assume_role: Option<AssumeRole>,
    /// What the device shows now.
    pub mfa_code: Option<String>,
    /// The device's ARN or serial number; default: the virtual device of the user's own name.
    pub mfa_serial: Option<String>,
    /// Where EC2 is asked.
    pub custom_endpoint_ec2: Option<String>,
    /// Where every service is asked.
    pub endpoint_url: Option<String>,
    /// Whether any certificate is taken for the other side's.
    pub insecure_skip_tls_verify: bool,
    /// How often a request that fails in passing is sent again; default 9.
    pub max_retries: Option<u32>,
    /// Whether the metadata service of an instance is left out of the search for credentials.
    pub skip_metadata_api_check: bool,
    /// Whether credentials are not looked for before the first request needs them.
    pub skip_credential_validation: bool,
    /// Whether the encoded part of a refusal is decoded, which is a request of its own.
    pub decode_authorization_messages: bool,
    pub aws_polling: Polling,
}

/// A role and how it is taken.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssumeRole {
    pub role_arn: String,
    pub session_name: Option<String>,
    pub external_id: Option<String>,
    /// How long the role's credentials are good for; default an hour.
    pub duration_seconds: Option<i32>,
    /// A policy, as JSON, that the role's own is narrowed to.
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    pub tags: BTreeMap<String, String>,
    pub transitive_tag_keys: Vec<String>,
}

/// How it is waited for what AWS takes its time for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Polling {
    /// The time between two looks; default 5 s.
    pub delay_seconds: Option<Seconds>,
    /// How many looks are taken before it is given up.
    pub max_attempts: Option<u32>,
}

impl Polling {
    /// Returns the time between two looks.
    pub fn delay(&self) -> Duration {
        self.delay_seconds.map_or(Duration::from_secs(5), |seconds| seconds.0)
    }

    /// Returns how long is waited at most, where `usual` is long enough for what is waited for.
    pub fn limit(&self, usual: Duration) -> Duration {
        self.max_attempts.map_or(usual, |attempts| self.delay() * attempts)
    }
}

impl AccessOptions {
    /// Checks what can be told without asking anybody, and registers the secrets.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        self.hide_secrets(cx);
        match (&self.access_key, &self.secret_key) {
            (Some(_), None) => return Err(wrong("secret_key", "is required beside `access_key`")),
            (None, Some(_)) => return Err(wrong("access_key", "is required beside `secret_key`")),
            (None, None) if self.token.is_some() => {
                return Err(wrong("token", "belongs to temporary keys: give `access_key` and `secret_key`, too"));
            }
            (Some(_), Some(_)) if self.profile.is_some() => {
                return Err(wrong("profile", "names credentials, and `access_key` gives others"));
            }
            _ => {}
        }
        if self.assume_role.as_ref().is_some_and(|role| !role.role_arn.starts_with("arn:")) {
            return Err(wrong("assume_role.role_arn", "is the ARN of a role: \"arn:aws:iam::123456789012:role/name\""));
        }
        for (option, url) in [("custom_endpoint_ec2", &self.custom_endpoint_ec2), ("endpoint_url", &self.endpoint_url)]
        {
            if url.as_ref().is_some_and(|url| reqwest::Url::parse(url).is_err()) {
                return Err(wrong(option, "is not a whole URL: \"https://ec2.example.org\""));
            }
        }
        if self.aws_polling.max_attempts == Some(0) {
            return Err(wrong("aws_polling.max_attempts", "is at least 1"));
        }
        Ok(())
    }

    /// Registers what must not be seen in any output.
    pub fn hide_secrets(&self, cx: &BuildCx) {
        for secret in [&self.secret_key, &self.token, &self.mfa_code].into_iter().flatten() {
            cx.ui.secrets().add(secret);
        }
    }

    /// Returns the region that is known without asking anybody.
    pub fn pretended_region(&self) -> String {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        let region = self.region.clone().or_else(|| variables.filter_map(|name| std::env::var(name).ok()).next());
        region.filter(|region| !region.is_empty()).unwrap_or_else(|| "us-east-1".to_owned())
    }

    /// Returns the options with another region, as a copy there needs them.
    #[must_use]
    pub fn in_region(&self, region: &str) -> AccessOptions {
        AccessOptions { region: Some(region.to_owned()), ..self.clone() }
    }
}
