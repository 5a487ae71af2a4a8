//! Key pairs, of which AWS has the public half.

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{KeyPairInfo, ResourceType};
use serde::{Deserialize, Serialize};

use super::convert::list;
use super::request::{Call, Request, call, required};
use crate::builder::amazon::Client;
use crate::builder::amazon::filters::Filters;
use crate::builder::amazon::tags::{self, Tags};
use crate::engine::BuildCx;
use crate::error::Result;

/// A key pair as scripts have it.
#[derive(Default, Serialize)]
struct KeyPair {
    id: String,
    name: String,
    r#type: String,
    fingerprint: String,
    tags: Tags,
}

impl From<KeyPairInfo> for KeyPair {
    fn from(pair: KeyPairInfo) -> KeyPair {
        KeyPair {
            tags: tags::from_sdk(pair.tags()),
            id: pair.key_pair_id.unwrap_or_default(),
            name: pair.key_name.unwrap_or_default(),
            r#type: pair.key_type.map(|it| it.as_str().to_owned()).unwrap_or_default(),
            fingerprint: pair.key_fingerprint.unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeyPairs {
    key_names: Vec<String>,
    filters: Filters,
}

impl Request for KeyPairs {
    type Answer = Vec<KeyPair>;
    const NAME: &'static str = "key_pairs";
    const CLASS: Option<&'static str> = Some("rimg.AmazonKeyPairsOptions");

    fn check(&self) -> Result<()> {
        self.filters.check("filters")
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeKeyPairs"]
    }

    fn pretended(&self) -> Vec<KeyPair> {
        let names = self.key_names.iter();
        names.map(|name| KeyPair { name: name.clone(), r#type: "ed25519".into(), ..KeyPair::default() }).collect()
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<KeyPair>> {
        // AWS gives all of them at once.
        let request = client.ec2.describe_key_pairs().set_key_names(list(self.key_names));
        match request.set_filters(self.filters.request()).send().await {
            Ok(answer) => Ok(answer.key_pairs.unwrap_or_default().into_iter().map(KeyPair::from).collect()),
            Err(error) => Err(client.failed("ec2:DescribeKeyPairs", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ImportKeyPair {
    key_name: String,
    public_key: String,
    tags: Tags,
}

impl Request for ImportKeyPair {
    type Answer = String;
    const NAME: &'static str = "import_key_pair";
    const CLASS: Option<&'static str> = Some("rimg.AmazonImportKeyPairOptions");

    fn check(&self) -> Result<()> {
        required("key_name", &self.key_name)?;
        required("public_key", self.public_key.trim())?;
        tags::check("tags", &self.tags)
    }

    fn actions(&self) -> Vec<&'static str> {
        match self.tags.is_empty() {
            true => vec!["ec2:ImportKeyPair"],
            false => vec!["ec2:ImportKeyPair", "ec2:CreateTags"],
        }
    }

    fn pretended(&self) -> String {
        "key-0123456789abcdef0".to_owned()
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<String> {
        let request = client
            .ec2
            .import_key_pair()
            .key_name(self.key_name)
            .public_key_material(Blob::new(self.public_key))
            .set_tag_specifications(tags::specifications(&[(ResourceType::KeyPair, &self.tags)]));
        match request.send().await {
            Ok(answer) => Ok(answer.key_pair_id.unwrap_or_default()),
            Err(error) => Err(client.failed("ec2:ImportKeyPair", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteKeyPair {
    key_name: String,
}

impl Request for DeleteKeyPair {
    type Answer = ();
    const NAME: &'static str = "delete_key_pair";
    const FIRST: Option<&'static str> = Some("key_name");

    fn check(&self) -> Result<()> {
        required("key_name", &self.key_name)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DeleteKeyPair"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ec2.delete_key_pair().key_name(self.key_name).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DeleteKeyPair", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[call::<KeyPairs>(), call::<ImportKeyPair>(), call::<DeleteKeyPair>()];
