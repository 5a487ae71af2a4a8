//! Who is asking, and where one may ask.

use serde::{Deserialize, Serialize};

use super::request::{Call, Request, call};
use crate::builder::amazon::{Client, regions};
use crate::engine::BuildCx;
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CallerIdentity {}

#[derive(Serialize)]
struct Identity {
    account: String,
    arn: String,
    user_id: String,
}

impl Request for CallerIdentity {
    type Answer = Identity;
    const NAME: &'static str = "caller_identity";

    fn actions(&self) -> Vec<&'static str> {
        // Nobody can be refused to know who he is.
        Vec::new()
    }

    fn pretended(&self) -> Identity {
        Identity {
            account: "123456789012".into(),
            arn: "arn:aws:iam::123456789012:user/pretended".into(),
            user_id: "AIDAPRETENDED".into(),
        }
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Identity> {
        let answer = match client.sts().get_caller_identity().send().await {
            Ok(answer) => answer,
            Err(error) => return Err(client.failed("sts:GetCallerIdentity", error).await),
        };
        Ok(Identity {
            account: answer.account.unwrap_or_default(),
            arn: answer.arn.unwrap_or_default(),
            user_id: answer.user_id.unwrap_or_default(),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Regions {
    /// Whether those are listed, too, that the account would have to opt in to.
    all: bool,
}

impl Request for Regions {
    type Answer = Vec<String>;
    const NAME: &'static str = "regions";
    const CLASS: Option<&'static str> = Some("rimg.AmazonRegionsOptions");

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeRegions"]
    }

    fn pretended(&self) -> Vec<String> {
        vec!["eu-central-1".into(), "us-east-1".into()]
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<String>> {
        regions::names(client, self.all).await
    }
}

pub const CALLS: &[Call] = &[call::<CallerIdentity>(), call::<Regions>()];
