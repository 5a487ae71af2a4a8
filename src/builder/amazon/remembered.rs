//! Credentials that were found are used by all: each of the SDK's clients, one a service and region, would look for them
//! itself, and the code of a device is good for once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;

/// How long before their end credentials are looked for again.
const MARGIN: Duration = Duration::from_secs(60);
/// How long those are used that do not say when they end: a file may be changed meanwhile.
const UNKNOWN_END: Duration = Duration::from_secs(15 * 60);

/// A provider that is asked again only when what it gave runs out. Clones share that.
#[derive(Debug, Clone)]
pub struct Remembered {
    provider: SharedCredentialsProvider,
    last: Arc<Mutex<Option<(Credentials, SystemTime)>>>,
}

impl Remembered {
    pub fn new(provider: SharedCredentialsProvider) -> Remembered {
        Remembered { provider, last: Arc::default() }
    }

    async fn credentials(&self) -> provider::Result {
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some((credentials, until)) = last.as_ref()
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let found = self.provider.provide_credentials().await?;
        let until = found.expiry().map_or(now + UNKNOWN_END, |end| end.checked_sub(MARGIN).unwrap_or(now));
        *last = Some((found.clone(), until));
        Ok(found)
    }
}

impl ProvideCredentials for Remembered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Gives other credentials each time, good for so many seconds.
    #[derive(Debug)]
    struct Counting(AtomicU64, Option<u64>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let key = self.0.fetch_add(1, Ordering::Relaxed).to_string();
            let end = self.1.map(|seconds| SystemTime::now() + Duration::from_secs(seconds));
            future::ProvideCredentials::ready(Ok(Credentials::new(key, "secret", None, end, "test")))
        }
    }

    #[tokio::test]
    async fn a_provider_is_asked_again_only_when_what_it_gave_runs_out() {
        for (good_for, asked) in [(Some(3600), "0"), (None, "0"), (Some(30), "2")] {
            let counting = SharedCredentialsProvider::new(Counting(AtomicU64::new(0), good_for));
            let remembered = Remembered::new(counting);
            let other = remembered.clone();
            remembered.provide_credentials().await.unwrap();
            other.provide_credentials().await.unwrap();
            let third = remembered.provide_credentials().await.unwrap();
            assert_eq!(third.access_key_id(), asked, "good for {good_for:?}");
        }
    }
}
