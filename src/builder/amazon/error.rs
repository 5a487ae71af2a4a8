//! What AWS refuses, and what to do about it.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::{Error, Kind};

pub type SdkError<E> = aws_smithy_runtime_api::client::result::SdkError<E, HttpResponse>;

/// What the SDK's errors have in common.
pub trait Failure: ProvideErrorMetadata + StdError + Send + Sync + 'static {}
impl<E: ProvideErrorMetadata + StdError + Send + Sync + 'static> Failure for E {}

/// What to do without credentials.
pub const NO_CREDENTIALS: &str = "give access_key and secret_key, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a \
                                  profile (`aws configure`, `aws sso login`), or run on an instance that has a role";

/// How it begins that credentials were found, and are not taken for others.
pub const NO_ROLE: &str = "cannot take the role ";
pub const NO_SESSION: &str = "cannot begin a session with mfa_code: ";

/// The beginning of what AWS has to say only to those who may decode it.
const ENCODED: &str = "Encoded authorization failure message: ";

/// Returns AWS's code of a failure: `InvalidAMIID.NotFound`.
pub fn code<E: Failure>(failure: &SdkError<E>) -> Option<&str> {
    failure.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Tells whether what was to be made is there: a request whose answer was lost is sent again.
pub fn is_duplicate<E: Failure>(failure: &SdkError<E>) -> bool {
    code(failure).is_some_and(|code| {
        code.ends_with(".Duplicate") || code.ends_with(".AlreadyExistsException") || code == "EntityAlreadyExists"
    })
}

/// Tells whether what was asked for is not there.
pub fn is_not_found<E: Failure>(failure: &SdkError<E>) -> bool {
    code(failure).is_some_and(|code| {
        code.ends_with(".NotFound")
            || code.ends_with(".NotFoundException")
            || code.ends_with(".Unavailable")
            || matches!(code, "NoSuchEntity" | "ParameterNotFound" | "DoesNotExistException")
    })
}

/// Tells whether another type of instance, or another zone, may do.
pub fn is_no_capacity<E: Failure>(failure: &SdkError<E>) -> bool {
    code(failure).is_some_and(means_no_capacity)
}

/// Tells whether a code of AWS says that it has no room.
pub fn means_no_capacity(code: &str) -> bool {
    matches!(
        code,
        "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientReservedInstanceCapacity"
            | "InsufficientCapacity"
            | "SpotMaxPriceTooLow"
            | "MaxSpotInstanceCountExceeded"
            | "UnfulfillableCapacity"
            | "Unsupported"
    )
}

/// Returns the encoded part of a refusal.
pub fn encoded<E: Failure>(failure: &SdkError<E>) -> Option<String> {
    let message = failure.as_service_error()?.message()?;
    message.split_once(ENCODED).map(|(_, encoded)| encoded.trim().to_owned())
}

/// Says a failure in AWS's own words, where it has any.
pub fn words<E: Failure>(failure: &SdkError<E>) -> String {
    let service = failure.as_service_error();
    match service.and_then(|service| Some((service.message()?, service.code()?))) {
        Some((message, code)) => format!("{} ({code})", message.trim_end_matches([' ', '.'])),
        None => chain(failure),
    }
}

/// Makes an error of a failed request; `action` is what a policy calls it.
pub fn of<E: Failure>(action: &'static str, region: &str, failure: SdkError<E>) -> Error {
    if let Some(service) = failure.as_service_error() {
        let code = service.code().unwrap_or("an error without a code").to_owned();
        let message = service.message().unwrap_or_default().to_owned();
        return refused(action, region, &code, &message);
    }
    if let Some(credentials) = cause::<CredentialsError>(&failure) {
        return without(credentials);
    }
    let kind = match failure {
        SdkError::TimeoutError(_) => Kind::Timeout,
        SdkError::ConstructionFailure(_) => Kind::Option,
        _ => Kind::Network,
    };
    let why = chain(&failure);
    Error::new(kind, format!("{action} in {region} has failed: {why}")).field("action", action)
}

/// Makes an error of credentials that cannot be had.
pub fn of_credentials(error: CredentialsError) -> Error {
    without(&error)
}

fn without(error: &CredentialsError) -> Error {
    let why = chain(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            Error::new(Kind::Auth, "no credentials for AWS").hint(NO_CREDENTIALS)
        }
        _ if why.starts_with(NO_ROLE) => Error::new(Kind::Auth, why)
            .hint("its trust policy says who may take it, and `aws sts get-caller-identity` who you are")
            .hint("it may want an external id (assume_role.external_id) or a device's code (mfa_code), which is good for once"),
        _ if why.starts_with(NO_SESSION) => {
            Error::new(Kind::Auth, why).hint("a code is good for once: wait for the next one that the device shows")
        }
        // The last of the chain is the metadata service, which most hosts have not.
        _ if why.contains("IMDS") => Error::new(Kind::Auth, "no credentials for AWS").hint(NO_CREDENTIALS),
        CredentialsError::ProviderTimedOut(_) => Error::new(Kind::Timeout, format!("no credentials for AWS: {why}"))
            .hint("what gives them did not answer: a process, the metadata service, the sign-in service"),
        CredentialsError::InvalidConfiguration(_) => {
            Error::new(Kind::Auth, format!("the configuration of AWS is wrong: {why}"))
                .hint("see ~/.aws/config and ~/.aws/credentials, or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE")
        }
        _ if why.contains("sso") || why.contains("SSO") => {
            Error::new(Kind::Auth, format!("no credentials for AWS: {why}")).hint("sign in again: aws sso login")
        }
        _ => Error::new(Kind::Auth, format!("no credentials for AWS: {why}")).hint(NO_CREDENTIALS),
    }
}

/// Says what AWS refused, why, and what to do.
pub fn refused(action: &'static str, region: &str, code: &str, message: &str) -> Error {
    let text = message.split_once(ENCODED).map_or(message, |(before, _)| before).trim_end_matches([' ', '.']);
    let said = if text.is_empty() { code.to_owned() } else { format!("{text} ({code})") };
    let (kind, hint) = advice(code);
    let sentence = match kind {
        Kind::Auth if is_denied(code) => format!("AWS does not allow {action} in {region}: {said}"),
        _ => format!("{action} in {region}: {said}"),
    };
    let error = Error::new(kind, sentence).field("code", code).field("action", action);
    let error = if is_denied(code) {
        error.hint(format!(
            "the credentials need the action {action}; `rimg amazon policy SCRIPT` prints all that a script needs"
        ))
    } else {
        error
    };
    let error = match message.contains(ENCODED) {
        true => error.hint("decode_authorization_messages = true says which policy refuses it"),
        false => error,
    };
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn is_denied(code: &str) -> bool {
    matches!(code, "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "Client.UnauthorizedOperation")
}

/// Returns what sort of error a code of AWS is, and what to do.
fn advice(code: &str) -> (Kind, Option<&'static str>) {
    match code {
        _ if is_denied(code) => (Kind::Auth, None),
        "AuthFailure" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            (Kind::Auth, Some("AWS does not know this access key, or it does not belong to this partition or region"))
        }
        "SignatureDoesNotMatch" => (Kind::Auth, Some("the secret key does not belong to the access key")),
        "ExpiredToken" | "ExpiredTokenException" => {
            (Kind::Auth, Some("the credentials have run out: sign in again, or take new ones"))
        }
        "RequestExpired" => {
            (Kind::Auth, Some("this host's clock is off by more than five minutes, or the token has run out"))
        }
        "OptInRequired" => {
            (Kind::Auth, Some("subscribe to the source image's terms in the marketplace, or opt in to the region"))
        }
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "EC2ThrottledException" => (
            Kind::Network,
            Some(
                "the account sends more requests than AWS takes: raise aws_polling.delay_seconds or max_retries, or build less at once",
            ),
        ),
        _ if code.starts_with("InsufficientInstanceCapacity") || code == "InsufficientHostCapacity" => {
            (Kind::Cloud, Some("name more than one: instance_types = { … }, availability_zone = { … }"))
        }
        _ if code.ends_with("LimitExceeded") || code.ends_with("QuotaExceeded") => {
            (Kind::Cloud, Some("the account is at its limit: remove what is not used, or ask AWS for a higher quota"))
        }
        "InvalidAMIName.Duplicate" => {
            (Kind::Exists, Some("force_deregister = true replaces that image, skip_if_exists = true takes it as it is"))
        }
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => (Kind::Network, None),
        _ => (Kind::Cloud, None),
    }
}

/// Finds an error of a type among the causes of another.
fn cause<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        current = error.source();
    }
    None
}

/// Returns the innermost causes of an error as one sentence: the outer ones of the SDK say little.
fn chain(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut current = error.source();
    while let Some(error) = current {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        current = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_action_and_hides_what_is_encoded() {
        let error = refused(
            "ec2:RunInstances",
            "eu-north-1",
            "UnauthorizedOperation",
            "You are not authorized. Encoded authorization failure message: abc",
        );
        assert_eq!(error.kind(), Kind::Auth);
        assert_eq!(
            error.message(),
            "AWS does not allow ec2:RunInstances in eu-north-1: You are not authorized (UnauthorizedOperation)"
        );
        assert!(error.hints().iter().any(|hint| hint.contains("ec2:RunInstances")), "{error:?}");
    }

    #[test]
    fn codes_have_kinds() {
        for (code, kind) in [
            ("RequestLimitExceeded", Kind::Network),
            ("InstanceLimitExceeded", Kind::Cloud),
            ("InvalidAMIName.Duplicate", Kind::Exists),
            ("SignatureDoesNotMatch", Kind::Auth),
            ("InvalidAMIID.NotFound", Kind::Cloud),
        ] {
            assert_eq!(advice(code).0, kind, "{code}");
        }
    }
}
