//! Parameters of Systems Manager.

use aws_sdk_ssm::types::{ParameterType, ResourceTypeForTagging, Tag};
use serde::Deserialize;

use super::convert::list;
use super::request::{Call, Request, call, required};
use crate::builder::amazon::error::code;
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::{Client, wrong};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GetParameter {
    name: String,
    decrypt: Option<bool>,
}

impl Request for GetParameter {
    type Answer = String;
    const NAME: &'static str = "parameter";
    const FIRST: Option<&'static str> = Some("name");
    const CLASS: Option<&'static str> = Some("rimg.AmazonParameterOptions");

    fn check(&self) -> Result<()> {
        required("name", &self.name)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ssm:GetParameter"]
    }

    fn pretended(&self) -> String {
        // What AWS publishes are ids of images, mostly.
        let is_public = self.name.starts_with("/aws/service/");
        if is_public { super::images::PRETENDED.to_owned() } else { "pretended".to_owned() }
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let decrypts = self.decrypt.unwrap_or(true);
        match client.ssm().get_parameter().name(self.name).with_decryption(decrypts).send().await {
            Ok(answer) => {
                let parameter = answer.parameter;
                let is_secret = parameter.as_ref().is_some_and(|it| it.r#type == Some(ParameterType::SecureString));
                let value = parameter.and_then(|it| it.value).unwrap_or_default();
                if is_secret && decrypts {
                    cx.ui.secrets().add(&value);
                }
                Ok(value)
            }
            Err(error) => Err(client.failed("ssm:GetParameter", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PutParameter {
    name: String,
    value: String,
    r#type: Option<String>,
    overwrite: Option<bool>,
    description: Option<String>,
    tags: Tags,
}

impl PutParameter {
    fn overwrites(&self) -> bool {
        self.overwrite.unwrap_or(true)
    }

    fn kind(&self) -> Result<ParameterType> {
        match self.r#type.as_deref() {
            None | Some("String") => Ok(ParameterType::String),
            Some("StringList") => Ok(ParameterType::StringList),
            Some("SecureString") => Ok(ParameterType::SecureString),
            Some(other) => {
                Err(wrong("type", format_args!("{other:?} is none: \"String\", \"StringList\" or \"SecureString\"")))
            }
        }
    }

    fn tags(&self) -> Result<Vec<Tag>> {
        let made = self.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        made.collect::<Result<_, _>>().map_err(|e| Error::new(Kind::Internal, "a tag that cannot be").caused_by(e))
    }
}

impl Request for PutParameter {
    type Answer = ();
    const NAME: &'static str = "put_parameter";
    const FIRST: Option<&'static str> = Some("name");
    const CLASS: Option<&'static str> = Some("rimg.AmazonPutParameterOptions");

    fn check(&self) -> Result<()> {
        required("name", &self.name)?;
        required("value", &self.value)?;
        self.kind()?;
        tags::check("tags", &self.tags)
    }

    fn actions(&self) -> Vec<&'static str> {
        match self.tags.is_empty() {
            true => vec!["ssm:PutParameter"],
            false => vec!["ssm:PutParameter", "ssm:AddTagsToResource"],
        }
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<()> {
        let (ssm, kind, tags) = (client.ssm(), self.kind()?, self.tags()?);
        if kind == ParameterType::SecureString {
            cx.ui.secrets().add(&self.value);
        }
        let put = |overwrite: bool, tags: Vec<Tag>| {
            ssm.put_parameter()
                .name(&self.name)
                .value(&self.value)
                .r#type(kind.clone())
                .set_description(self.description.clone())
                .set_tags(list(tags))
                .overwrite(overwrite)
                .send()
        };
        // AWS takes tags for a new parameter alone.
        let is_new = !tags.is_empty();
        match put(!is_new && self.overwrites(), tags.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if is_new && self.overwrites() && code(&error) == Some("ParameterAlreadyExists") => {}
            Err(error) => return Err(client.failed("ssm:PutParameter", error).await),
        }
        if let Err(error) = put(true, Vec::new()).await {
            return Err(client.failed("ssm:PutParameter", error).await);
        }
        let request = ssm.add_tags_to_resource().resource_type(ResourceTypeForTagging::Parameter);
        match request.resource_id(&self.name).set_tags(Some(tags)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ssm:AddTagsToResource", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteParameter {
    name: String,
}

impl Request for DeleteParameter {
    type Answer = ();
    const NAME: &'static str = "delete_parameter";
    const FIRST: Option<&'static str> = Some("name");

    fn check(&self) -> Result<()> {
        required("name", &self.name)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ssm:DeleteParameter"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        match client.ssm().delete_parameter().name(self.name).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ssm:DeleteParameter", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[call::<GetParameter>(), call::<PutParameter>(), call::<DeleteParameter>()];
