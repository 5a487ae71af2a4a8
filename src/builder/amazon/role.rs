//! Roles, and sessions with a second factor: credentials that are had with others.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_sts::types::{Credentials as Given, PolicyDescriptorType, Tag};

use super::access::{AccessOptions, AssumeRole};
use super::error::{self, NO_ROLE, NO_SESSION};
use crate::error::Result;

/// Credentials that STS gives for others, again when they run out. The code of a device is good for once: a session that was
/// begun with one ends with its credentials.
#[derive(Clone)]
pub struct Role {
    sts: aws_sdk_sts::Client,
    role: Option<AssumeRole>,
    mfa: Option<Mfa>,
}

#[derive(Clone)]
struct Mfa {
    serial: String,
    code: String,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role").field("arn", &self.role.as_ref().map(|role| &role.role_arn)).finish_non_exhaustive()
    }
}

impl Role {
    /// Returns what the options ask for beyond the credentials of `config`; none mostly.
    pub async fn of(access: &AccessOptions, config: &SdkConfig) -> Result<Option<Role>> {
        if access.assume_role.is_none() && access.mfa_code.is_none() {
            return Ok(None);
        }
        let sts = aws_sdk_sts::Client::new(config);
        let mfa = match &access.mfa_code {
            None => None,
            Some(code) => {
                let serial = match &access.mfa_serial {
                    Some(serial) => serial.clone(),
                    None => own_device(&sts, config).await?,
                };
                Some(Mfa { serial, code: code.clone() })
            }
        };
        Ok(Some(Role { sts, role: access.assume_role.clone(), mfa }))
    }

    async fn credentials(&self) -> provider::Result {
        let (given, from) = match &self.role {
            Some(role) => (self.assume(role).await?, "AssumeRole"),
            None => (self.session().await?, "GetSessionToken"),
        };
        let given = given.ok_or_else(|| CredentialsError::unhandled("STS answered without credentials"))?;
        let until = SystemTime::try_from(given.expiration).ok();
        Ok(Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), until, from))
    }

    async fn assume(&self, role: &AssumeRole) -> Result<Option<Given>, CredentialsError> {
        let tags = role.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>().map_err(CredentialsError::invalid_configuration)?;
        let arns =
            role.policy_arns.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect::<Vec<_>>();
        let request = self
            .sts
            .assume_role()
            .role_arn(&role.role_arn)
            .role_session_name(role.session_name.as_deref().unwrap_or("rimg"))
            .set_external_id(role.external_id.clone())
            .set_duration_seconds(role.duration_seconds)
            .set_policy(role.policy.clone())
            .set_policy_arns((!arns.is_empty()).then_some(arns))
            .set_tags((!tags.is_empty()).then_some(tags))
            .set_transitive_tag_keys((!role.transitive_tag_keys.is_empty()).then(|| role.transitive_tag_keys.clone()))
            .set_serial_number(self.mfa.as_ref().map(|mfa| mfa.serial.clone()))
            .set_token_code(self.mfa.as_ref().map(|mfa| mfa.code.clone()));
        let refused = |e| CredentialsError::provider_error(format!("{NO_ROLE}{}: {}", role.role_arn, error::words(&e)));
        request.send().await.map(|answer| answer.credentials).map_err(refused)
    }

    async fn session(&self) -> Result<Option<Given>, CredentialsError> {
        let request = self
            .sts
            .get_session_token()
            .set_serial_number(self.mfa.as_ref().map(|mfa| mfa.serial.clone()))
            .set_token_code(self.mfa.as_ref().map(|mfa| mfa.code.clone()));
        let refused = |e| CredentialsError::provider_error(format!("{NO_SESSION}{}", error::words(&e)));
        request.send().await.map(|answer| answer.credentials).map_err(refused)
    }
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Returns the virtual device that bears a user's own name, as the console names it.
async fn own_device(sts: &aws_sdk_sts::Client, config: &SdkConfig) -> Result<String> {
    let region = config.region().map(|region| region.to_string()).unwrap_or_default();
    let answer = sts.get_caller_identity().send().await;
    let answer = answer.map_err(|e| error::of("sts:GetCallerIdentity", &region, e))?;
    Ok(answer.arn.unwrap_or_default().replacen(":user/", ":mfa/", 1))
}
