//! An instance profile for one instance, with a role that may do what a policy says.

use aws_sdk_iam::types::Tag;
use serde_json::{Value as Json, json};

use super::error::{is_duplicate, is_not_found};
use super::made::{Made, Sort};
use super::run_options::RunOptions;
use super::{Client, wrong};
use crate::engine::{BuildCx, ResourceId};
use crate::error::{Context, Kind, Result};

/// What a policy is called in a role that has only one.
const POLICY: &str = "rimg";
/// The version of the policy language where a policy does not say.
const LANGUAGE: &str = "2012-10-17";

/// Returns the policy as AWS reads it: a script may write its names as Packer's templates do.
pub fn document(options: &RunOptions) -> Result<Option<Json>> {
    const OPTION: &str = "temporary_iam_instance_profile_policy_document";
    let Some(given) = &options.temporary_iam_instance_profile_policy_document else { return Ok(None) };
    let Json::Object(given) = Json::from(&given.0) else {
        return Err(wrong(OPTION, "expected a table with a `Statement`"));
    };
    let mut policy: serde_json::Map<String, Json> =
        given.into_iter().map(|(name, value)| (capital(&name), value)).collect();
    policy.entry("Version").or_insert_with(|| LANGUAGE.into());
    let statements = match policy.remove("Statement") {
        Some(Json::Array(statements)) if !statements.is_empty() => statements,
        Some(statement @ Json::Object(_)) => vec![statement],
        _ => {
            return Err(wrong(
                OPTION,
                "needs a `Statement`: { Effect = \"Allow\", Action = { \"s3:GetObject\" }, Resource = \"*\" }",
            ));
        }
    };
    let named = statements.into_iter().map(|statement| match statement {
        Json::Object(fields) => Json::Object(fields.into_iter().map(|(name, value)| (capital(&name), value)).collect()),
        other => other,
    });
    policy.insert("Statement".into(), named.collect());
    Ok(Some(Json::Object(policy)))
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Makes a role with the policy and the profile that carries it; returns the profile's name and what it is as a resource.
pub async fn make(client: &Client, options: &RunOptions, policy: &Json, cx: &BuildCx) -> Result<(String, ResourceId)> {
    let made = Made::enter(client, Sort::Profile, cx).await?;
    let name = made.thing.mark.clone();
    let tags = made.tags(&options.run_tags, cx);
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    let tags = tags.collect::<Result<Vec<_>, _>>().context(Kind::Internal, "a tag without a name")?;
    let trust = json!({
        "Version": LANGUAGE,
        "Statement": [{ "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" }],
    });
    let iam = client.iam();
    let role =
        iam.create_role().role_name(&name).assume_role_policy_document(trust.to_string()).set_tags(Some(tags.clone()));
    match role.send().await {
        Err(e) if !is_duplicate(&e) => return Err(client.failed("iam:CreateRole", e).await),
        _ => {}
    }
    let put = iam.put_role_policy().role_name(&name).policy_name(POLICY).policy_document(policy.to_string());
    if let Err(e) = put.send().await {
        return Err(client.failed("iam:PutRolePolicy", e).await);
    }
    match iam.create_instance_profile().instance_profile_name(&name).set_tags(Some(tags)).send().await {
        Err(e) if !is_duplicate(&e) => return Err(client.failed("iam:CreateInstanceProfile", e).await),
        _ => {}
    }
    let added = iam.add_role_to_instance_profile().instance_profile_name(&name).role_name(&name);
    match added.send().await {
        // It holds one role, and has it since the request was sent first.
        Err(e) if super::error::code(&e) != Some("LimitExceeded") => {
            Err(client.failed("iam:AddRoleToInstanceProfile", e).await)
        }
        _ => Ok((name, made.resource)),
    }
}

/// Removes role and profile of a name; with `dry_run`, only looks. Tells whether any was there.
pub async fn remove(client: &Client, name: &str, dry_run: bool) -> Result<bool> {
    let iam = client.iam();
    if dry_run {
        return match iam.get_role().role_name(name).send().await {
            Ok(_) => Ok(true),
            Err(e) if is_not_found(&e) => Ok(false),
            Err(e) => Err(client.failed("iam:GetRole", e).await),
        };
    }
    let mut there = false;
    match iam.remove_role_from_instance_profile().instance_profile_name(name).role_name(name).send().await {
        Err(e) if !is_not_found(&e) => return Err(client.failed("iam:RemoveRoleFromInstanceProfile", e).await),
        removed => there |= removed.is_ok(),
    }
    match iam.delete_instance_profile().instance_profile_name(name).send().await {
        Err(e) if !is_not_found(&e) => return Err(client.failed("iam:DeleteInstanceProfile", e).await),
        removed => there |= removed.is_ok(),
    }
    match iam.delete_role_policy().role_name(name).policy_name(POLICY).send().await {
        Err(e) if !is_not_found(&e) => return Err(client.failed("iam:DeleteRolePolicy", e).await),
        removed => there |= removed.is_ok(),
    }
    match iam.delete_role().role_name(name).send().await {
        Err(e) if !is_not_found(&e) => Err(client.failed("iam:DeleteRole", e).await),
        removed => Ok(there | removed.is_ok()),
    }
}
