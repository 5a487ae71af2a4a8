//! Secrets of Secrets Manager.

use serde::Deserialize;
use serde_json::Value as Json;

use super::request::{Call, Request, call, required};
use crate::builder::amazon::Client;
use crate::engine::BuildCx;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result};
use crate::ui::Ui;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GetSecret {
    secret_id: String,
    key: Option<String>,
    version_id: Option<String>,
    version_stage: Option<String>,
}

impl Request for GetSecret {
    type Answer = String;
    const NAME: &'static str = "secret";
    const FIRST: Option<&'static str> = Some("secret_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonSecretOptions");

    fn check(&self) -> Result<()> {
        required("secret_id", &self.secret_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["secretsmanager:GetSecretValue"]
    }

    fn pretended(&self) -> String {
        "pretended".to_owned()
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let request = client
            .secrets_manager()
            .get_secret_value()
            .secret_id(&self.secret_id)
            .set_version_id(self.version_id)
            .set_version_stage(self.version_stage);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(client.failed("secretsmanager:GetSecretValue", error).await),
        };
        let bytes = answer.secret_binary.map(aws_smithy_types::Blob::into_inner);
        let secret = match (answer.secret_string, bytes.map(String::from_utf8)) {
            (Some(text), _) | (None, Some(Ok(text))) => text,
            (None, Some(Err(_))) => {
                let message = format!("the secret {} is not text", self.secret_id);
                return Err(Error::new(Kind::Unsupported, message));
            }
            (None, None) => String::new(),
        };
        hide(&secret, &cx.ui);
        match self.key {
            None => Ok(secret),
            Some(key) => field(&self.secret_id, &secret, &key),
        }
    }
}

/// Registers a secret and, where it is JSON, each of its texts: a script takes it apart.
fn hide(secret: &str, ui: &Ui) {
    fn texts(json: &Json, ui: &Ui) {
        match json {
            Json::String(text) => drop(ui.secrets().add(text)),
            Json::Array(items) => items.iter().for_each(|item| texts(item, ui)),
            Json::Object(fields) => fields.values().for_each(|item| texts(item, ui)),
            _ => {}
        }
    }
    ui.secrets().add(secret);
    if let Ok(json) = serde_json::from_str(secret) {
        texts(&json, ui);
    }
}

/// Returns a field of a secret that is a JSON object.
fn field(id: &str, secret: &str, key: &str) -> Result<String> {
    let Ok(Json::Object(fields)) = serde_json::from_str::<Json>(secret) else {
        let message = format!("the secret {id} is no JSON object, so it has no field `{key}`");
        return Err(Error::new(Kind::Option, message).field("option", "key").hint("leave `key` out to get all of it"));
    };
    match fields.get(key) {
        Some(Json::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
        None => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let error =
                Error::new(Kind::Option, format!("the secret {id} has no field `{key}`")).field("option", "key");
            Err(match did_you_mean(key, &names) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

pub const CALLS: &[Call] = &[call::<GetSecret>()];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_out_of_json() {
        let secret = r#"{ "user": "web", "password": "hunter2", "port": 5432 }"#;
        assert_eq!(field("db", secret, "password").unwrap(), "hunter2");
        assert_eq!(field("db", secret, "port").unwrap(), "5432");
        let error = field("db", secret, "pasword").unwrap_err();
        assert_eq!(error.hints(), ["did you mean `password`?"]);
        assert!(!error.to_string().contains("hunter2"));
        let error = field("db", "hunter2", "password").unwrap_err();
        assert_eq!(error.message(), "the secret db is no JSON object, so it has no field `password`");
    }

    #[test]
    fn every_text_in_it_is_masked() {
        let ui = Ui::silent();
        hide(r#"{ "a": { "b": ["hunter2"] } }"#, &ui);
        assert_eq!(ui.secrets().mask("x hunter2"), "x ********");
        hide("plain secret", &ui);
        assert!(ui.secrets().occurs_in(b"plain secret"));
    }
}
