//! What a machine's cloud-init seed says: the user's documents, with a login and a host key planted where that is
//! possible without changing what the user means.

use serde_json::{Map, Value, json};

use super::options::QemuOptions;
use super::source::Document;
use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::{Error, Kind, Result, io_error};
use crate::media::seed::{self, Seed};

/// What is to be planted: rimg's temporary key for a user, and a host key that is then known in advance.
pub struct Plant<'a> {
    /// The user, and `ssh-ed25519 AAAA… comment`; none when the script says how to log in.
    pub login: Option<(&'a str, &'a str)>,
    /// OpenSSH private key and public key line.
    pub host_key: (&'a str, &'a str),
}

/// What was planted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    pub login: bool,
    pub host_key: bool,
}

/// Puts a seed together.
pub async fn compose(options: &QemuOptions, plant: &Plant<'_>, cx: &BuildCx) -> Result<(Seed, Planted)> {
    let mut planted = Planted::default();
    let user_data = match &options.user_data {
        None => merged(Map::new(), plant, &mut planted)?,
        Some(Document::Table(Value::Object(table))) => merged(table.clone(), plant, &mut planted)?,
        Some(document) => {
            let bytes = bytes_of("user_data", document, cx).await?;
            match std::str::from_utf8(&bytes).ok().and_then(seed::parse_cloud_config) {
                Some(table) if plant.login.is_some() => merged(table, plant, &mut planted)?,
                // A script or a MIME archive is the user's own affair, to the byte; and so is text that needs nothing.
                _ => bytes,
            }
        }
    };
    // A new id for every machine: cloud-init does its first-boot work again on an image that has been through it.
    let id = format!("rimg-{}", uuid::Uuid::new_v4());
    let meta_data = match &options.meta_data {
        None => seed::yaml(&json!({ "instance-id": id }), None)?,
        Some(Document::Table(Value::Object(table))) => {
            let mut table = table.clone();
            table.entry("instance-id").or_insert_with(|| json!(id));
            seed::yaml(&Value::Object(table), None)?
        }
        Some(document) => bytes_of("meta_data", document, cx).await?,
    };
    let network_config = match &options.network_config {
        None => None,
        Some(document) => Some(bytes_of("network_config", document, cx).await?),
    };
    Ok((Seed { user_data, meta_data, network_config }, planted))
}

/// Puts a seed together of the user's documents alone, for an installer: what it sets up for itself is not what it
/// installs. Placeholders in them are filled in.
pub async fn as_given(options: &QemuOptions, values: &Placeholders, cx: &BuildCx) -> Result<Seed> {
    let read = async |option: &str, document: &Option<Document>| match document {
        None => Ok(None),
        Some(document) => {
            let header = (option == "user_data").then_some("#cloud-config");
            let bytes = match document {
                Document::Table(table) => seed::yaml(table, header)?,
                other => bytes_of(option, other, cx).await?,
            };
            Ok::<_, Error>(Some(match String::from_utf8(bytes) {
                Ok(text) => values.fill_known(&text).into_bytes(),
                Err(binary) => binary.into_bytes(),
            }))
        }
    };
    let id = format!("rimg-{}", uuid::Uuid::new_v4());
    let meta_data = match read("meta_data", &options.meta_data).await? {
        Some(meta_data) => meta_data,
        None => seed::yaml(&json!({ "instance-id": id }), None)?,
    };
    let user_data = read("user_data", &options.user_data).await?.unwrap_or_else(|| b"#cloud-config\n".to_vec());
    Ok(Seed { user_data, meta_data, network_config: read("network_config", &options.network_config).await? })
}

async fn bytes_of(option: &str, document: &Document, cx: &BuildCx) -> Result<Vec<u8>> {
    match document {
        Document::Table(table) => seed::yaml(table, None),
        Document::Text(text) => Ok(text.clone().into_bytes()),
        Document::File(path) => {
            let path = cx.settings.resolve(path);
            tokio::fs::read(&path)
                .await
                .map_err(|e| io_error("read", &path, e).within(format_args!("option `{option}`")))
        }
    }
}

/// Adds what is planted to a cloud-config, beside what is in it.
fn merged(mut config: Map<String, Value>, plant: &Plant<'_>, planted: &mut Planted) -> Result<Vec<u8>> {
    if let Some((user, key)) = plant.login {
        add_login(&mut config, user, key)?;
        planted.login = true;
    }
    if !config.contains_key("ssh_keys") {
        let (private, public) = plant.host_key;
        config.insert("ssh_keys".into(), json!({ "ed25519_private": private, "ed25519_public": public }));
        planted.host_key = true;
    }
    seed::yaml(&Value::Object(config), Some("#cloud-config"))
}

fn add_login(config: &mut Map<String, Value>, name: &str, key: &str) -> Result<()> {
    let users = config.entry("users").or_insert_with(|| json!(["default"]));
    let Value::Array(users) = users else {
        return Err(Error::new(Kind::Option, "option `user_data`: `users` must be a list to add a login to")
            .hint("give ssh_password or ssh_private_key_file, and nothing is added"));
    };
    let same = |user: &&mut Value| user.get("name").and_then(Value::as_str) == Some(name);
    match users.iter_mut().find(same).and_then(Value::as_object_mut) {
        Some(user) => {
            // Both spellings are cloud-init's.
            let old = user.remove("ssh-authorized-keys").or_else(|| user.remove("ssh_authorized_keys"));
            let mut keys = match old {
                Some(Value::Array(keys)) => keys,
                Some(Value::String(key)) => vec![json!(key)],
                _ => Vec::new(),
            };
            keys.push(json!(key));
            user.insert("ssh_authorized_keys".into(), Value::Array(keys));
        }
        None if name == "root" => users.push(json!({ "name": name, "ssh_authorized_keys": [key] })),
        None => users.push(json!({
            "name": name,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": true,
            "ssh_authorized_keys": [key],
        })),
    }
    if name == "root" {
        config.insert("disable_root".into(), json!(false));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA rimg";
    const PLANT: Plant<'_> = Plant { login: Some(("rimg", KEY)), host_key: ("PRIVATE\nKEY\n", "ssh-ed25519 BBBB") };

    fn merge(config: Value) -> (Value, Planted) {
        let mut planted = Planted::default();
        let Value::Object(config) = config else { panic!() };
        let bytes = merged(config, &PLANT, &mut planted).unwrap();
        let parsed = seed::parse_cloud_config(std::str::from_utf8(&bytes).unwrap()).unwrap();
        (Value::Object(parsed), planted)
    }

    #[test]
    fn a_login_stands_beside_what_the_user_wants() {
        let (config, planted) = merge(json!({ "packages": ["nginx"] }));
        assert_eq!(planted, Planted { login: true, host_key: true });
        assert_eq!(config["packages"], json!(["nginx"]));
        assert_eq!(config["users"][0], "default");
        assert_eq!(config["users"][1]["name"], "rimg");
        assert_eq!(config["ssh_keys"]["ed25519_private"], "PRIVATE\nKEY\n");
    }

    #[test]
    fn a_user_of_that_name_gets_one_more_key() {
        let (config, planted) = merge(json!({
            "users": [{ "name": "rimg", "shell": "/bin/zsh", "ssh_authorized_keys": ["ssh-rsa X"] }],
            "ssh_keys": { "rsa_private": "x" },
        }));
        assert_eq!(planted, Planted { login: true, host_key: false });
        let user = &config["users"][0];
        assert_eq!((&user["shell"], &user["ssh_authorized_keys"][1]), (&json!("/bin/zsh"), &json!(KEY)));
        assert_eq!(config["users"].as_array().unwrap().len(), 1);
        assert_eq!(config["ssh_keys"], json!({ "rsa_private": "x" }));
    }
}
