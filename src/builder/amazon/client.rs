//! The connection to AWS: the SDK with its whole chain of credentials, its retries, and rimg's HTTP client.

use std::sync::Arc;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::{RetryConfig, RetryMode};
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

use super::access::{AccessOptions, Polling};
use super::error;
use super::http::Http;
use super::profiles;
use super::remembered::Remembered;
use super::retry::NoRoom;
use super::role::Role;
use crate::error::{Error, Kind, Result};

/// How often a request is sent in all, where it fails in passing.
const ATTEMPTS: u32 = 10;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// AWS in one region, as somebody. Clones are cheap.
#[derive(Clone)]
pub struct Client {
    pub region: Arc<str>,
    pub ec2: aws_sdk_ec2::Client,
    pub polling: Polling,
    config: SdkConfig,
    access: Arc<AccessOptions>,
}

impl Client {
    /// Finds out who rimg is and where. The first that has credentials counts: the options; the environment; the profile, with
    /// SSO, roles and processes; a web identity; the container; the instance.
    pub async fn connect(access: &AccessOptions) -> Result<Client> {
        if let Some(profile) = &access.profile {
            profiles::require(profile, "option `profile`", access, &files(access)).await?;
        }
        let http = Http::new(access.insecure_skip_tls_verify)?;
        let region = region(access, &http).await?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http.clone())
            .region(region.clone())
            .retry_config(retries(access, std::env::var("AWS_RETRY_MODE").ok().as_deref()))
            // Answers are read whole, under a limit of their own.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .profile_files(files(access));
        if let Some(profile) = &access.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &access.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = credentials(loader, access, &http, &region).await.load().await;
        let config = match Role::of(access, &config).await? {
            None => config,
            Some(role) => config.into_builder().credentials_provider(SharedCredentialsProvider::new(role)).build(),
        };
        let config = remembering(config);
        if !access.skip_credential_validation {
            present(&config, access).await?;
        }
        Ok(Client::of(config, Arc::new(access.clone()), &region))
    }

    fn of(config: SdkConfig, access: Arc<AccessOptions>, region: &Region) -> Client {
        let mut ec2 = aws_sdk_ec2::config::Builder::from(&config).retry_classifier(NoRoom);
        if let Some(url) = &access.custom_endpoint_ec2 {
            ec2 = ec2.endpoint_url(url);
        }
        let ec2 = aws_sdk_ec2::Client::from_conf(ec2.build());
        Client { region: region.as_ref().into(), ec2, polling: access.aws_polling, config, access }
    }

    /// Returns the same account in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Client {
        if *self.region == *region {
            return self.clone();
        }
        let region = Region::new(region.to_owned());
        let config = self.config.clone().into_builder().region(region.clone()).build();
        Client::of(config, self.access.clone(), &region)
    }

    pub fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.config)
    }

    pub fn ssm(&self) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.config)
    }

    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }

    pub fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }

    /// Returns what requests are signed with now.
    pub async fn credentials(&self) -> Result<Credentials> {
        present(&self.config, &self.access).await
    }

    /// Returns the address of all services, where it is not AWS's own.
    pub fn endpoint(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    /// Returns the options it was made with.
    pub fn access(&self) -> &AccessOptions {
        &self.access
    }

    /// Makes an error of a failed request; `action` is what a policy calls it: `ec2:RunInstances`.
    pub async fn failed<E: error::Failure>(&self, action: &'static str, failure: error::SdkError<E>) -> Error {
        let encoded = error::encoded(&failure).filter(|_| self.access.decode_authorization_messages);
        let failed = error::of(action, &self.region, failure);
        let Some(encoded) = encoded else { return failed };
        let decoded = self.sts().decode_authorization_message().encoded_message(encoded).send().await;
        match decoded.ok().and_then(|answer| answer.decoded_message) {
            Some(text) => failed.hint(format!("decoded: {text}")),
            None => failed,
        }
    }
}

/// Returns the files of the shared configuration; none of the options' own where it is the usual ones.
fn files(access: &AccessOptions) -> EnvConfigFiles {
    match &access.shared_credentials_file {
        None => EnvConfigFiles::default(),
        Some(path) => EnvConfigFiles::builder()
            .include_default_config_file(true)
            .with_file(EnvConfigFileKind::Credentials, path)
            .build(),
    }
}

/// Finds the region: the option, the environment, the profile, and the instance that this is.
async fn region(access: &AccessOptions, http: &Http) -> Result<Region> {
    if let Some(region) = &access.region {
        return Ok(Region::new(region.clone()));
    }
    let provider = ProviderConfig::without_region().with_http_client(http.clone());
    let mut profile = ProfileFileRegionProvider::builder().configure(&provider);
    if let Some(name) = &access.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    let instance = ImdsRegionProvider::builder().configure(&provider).build();
    let found = match access.skip_metadata_api_check {
        true => chain.region().await,
        false => chain.or_else(instance).region().await,
    };
    found.ok_or_else(|| {
        Error::new(Kind::Option, "option `region` is required: neither AWS_REGION nor a profile names one")
            .field("option", "region")
            .hint("region = \"eu-central-1\"")
    })
}

/// Adds the credentials that the options give: keys, a profile, or the chain without the metadata service.
async fn credentials(loader: ConfigLoader, access: &AccessOptions, http: &Http, region: &Region) -> ConfigLoader {
    if let (Some(key), Some(secret)) = (&access.access_key, &access.secret_key) {
        let given = Credentials::new(key, secret, access.token.clone(), None, "the options");
        return loader.credentials_provider(given);
    }
    // The SDK's own chain asks the environment first, also where a profile is named.
    if !access.skip_metadata_api_check && access.profile.is_none() {
        return loader;
    }
    let provider = ProviderConfig::without_region().with_http_client(http.clone()).with_region(Some(region.clone()));
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&provider).profile_files(files(access));
    if let Some(name) = &access.profile {
        profile = profile.profile_name(name);
    }
    let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&provider).build();
    let container = EcsCredentialsProvider::builder().configure(&provider).build();
    let environment = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new());
    let chain = match access.profile {
        // A profile that is named counts more than what happens to be in the environment.
        Some(_) => CredentialsProviderChain::first_try("Profile", profile.build()),
        None => environment
            .or_else("Profile", profile.build())
            .or_else("WebIdentityToken", web_identity)
            .or_else("EcsContainer", container),
    };
    loader.credentials_provider(chain)
}

/// Says how requests are sent again. A build is one of many that share an account's rates: in the SDK's adaptive mode those
/// that follow a throttled request wait, too, unless `mode` (`AWS_RETRY_MODE`) says `standard`.
fn retries(access: &AccessOptions, mode: Option<&str>) -> RetryConfig {
    let attempts = access.max_retries.map_or(ATTEMPTS, |retries| retries.saturating_add(1));
    let config = match mode.and_then(|mode| mode.parse().ok()) {
        Some(RetryMode::Standard) => RetryConfig::standard(),
        _ => RetryConfig::adaptive(),
    };
    config.with_max_attempts(attempts).with_max_backoff(LONGEST_PAUSE)
}

/// Lets all clients use what was found once.
fn remembering(config: SdkConfig) -> SdkConfig {
    let Some(provider) = config.credentials_provider() else { return config };
    // What was cached may be the credentials that a role is taken with.
    let cache = aws_config::identity::IdentityCache::lazy().build();
    let provider = SharedCredentialsProvider::new(Remembered::new(provider));
    config.into_builder().credentials_provider(provider).identity_cache(cache).build()
}

/// Finds credentials now: without any, the first request would only say so much later.
async fn present(config: &SdkConfig, access: &AccessOptions) -> Result<Credentials> {
    let missing = || Error::new(Kind::Auth, "no credentials for AWS").hint(error::NO_CREDENTIALS);
    let provider = config.credentials_provider().ok_or_else(missing)?;
    let failure = match provider.provide_credentials().await {
        Ok(found) => return Ok(found),
        Err(failure) => failure,
    };
    // The SDK goes on to look elsewhere where there is no such profile.
    if let Some(profile) = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty())
        && access.profile.is_none()
    {
        profiles::require(&profile, "AWS_PROFILE", access, &files(access)).await?;
    }
    Err(error::of_credentials(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_adaptive_unless_the_environment_says_otherwise() {
        let access = AccessOptions { max_retries: Some(2), ..AccessOptions::default() };
        assert_eq!(retries(&access, None).max_attempts(), 3);
        for (mode, expected) in [
            (None, RetryMode::Adaptive),
            (Some("adaptive"), RetryMode::Adaptive),
            (Some("nonsense"), RetryMode::Adaptive),
            (Some("standard"), RetryMode::Standard),
        ] {
            assert_eq!(retries(&access, mode).mode(), expected, "{mode:?}");
        }
    }
}
