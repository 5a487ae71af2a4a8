//! What a machine's cloud-init seed says: the user's documents, with a login for rimg planted where there is none.

use serde_json::{Map, Value, json};

use super::options::QemuOptions;
use super::source::Document;
use crate::engine::BuildCx;
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::media::seed::{self, Seed};

/// The user that is made in the guest when the script names none.
pub const DEFAULT_USER: &str = "rimg";

/// A login to be planted: rimg's temporary key for a user, and a host key that is then known in advance.
pub struct Plant<'a> {
    pub user: &'a str,
    /// `ssh-ed25519 AAAA… comment`.
    pub public_key: &'a str,
    /// OpenSSH private key and public key line.
    pub host_key: (&'a str, &'a str),
}

/// What became of a wish to plant a login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    pub user_key: bool,
    pub host_key: bool,
}

/// Puts a seed together.
pub async fn compose(options: &QemuOptions, plant: Option<&Plant<'_>>, cx: &BuildCx) -> Result<(Seed, Planted)> {
    let mut planted = Planted::default();
    let user_data = match (&options.user_data, plant) {
        (None, None) => b"#cloud-config\n{}\n".to_vec(),
        (None, Some(plant)) => merged(Map::new(), plant, &mut planted)?,
        (Some(Document::Table(Value::Object(table))), Some(plant)) => merged(table.clone(), plant, &mut planted)?,
        (Some(Document::Table(table)), _) => seed::yaml(table, Some("#cloud-config"))?,
        (Some(document), plant) => {
            let bytes = bytes_of("user_data", document, cx).await?;
            let parsed = std::str::from_utf8(&bytes).ok().and_then(seed::parse_cloud_config);
            match (plant, parsed) {
                (Some(plant), Some(table)) => merged(table, plant, &mut planted)?,
                // A script or a MIME archive is the user's own affair, to the byte.
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

/// Adds the login to a cloud-config, beside what is in it.
fn merged(mut config: Map<String, Value>, plant: &Plant<'_>, planted: &mut Planted) -> Result<Vec<u8>> {
    let users = config.entry("users").or_insert_with(|| json!(["default"]));
    let Value::Array(users) = users else {
        return Err(Error::new(Kind::Option, "option `user_data`: `users` must be a list to add a login to")
            .hint("give ssh_password or ssh_private_key_file, and nothing is added"));
    };
    let same = |user: &&mut Value| user.get("name").and_then(Value::as_str) == Some(plant.user);
    match users.iter_mut().find(same).and_then(Value::as_object_mut) {
        Some(user) => {
            for name in ["ssh_authorized_keys", "ssh-authorized-keys"] {
                if let Some(Value::Array(keys)) = user.get_mut(name) {
                    keys.push(json!(plant.public_key));
                    planted.user_key = true;
                }
            }
            if !planted.user_key {
                user.insert("ssh_authorized_keys".into(), json!([plant.public_key]));
            }
        }
        None if plant.user == "root" => {
            users.push(json!({ "name": "root", "lock_passwd": false, "ssh_authorized_keys": [plant.public_key] }));
        }
        None => users.push(json!({
            "name": plant.user,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": true,
            "ssh_authorized_keys": [plant.public_key],
        })),
    }
    planted.user_key = true;
    if plant.user == "root" {
        config.insert("disable_root".into(), json!(false));
    }
    if !config.contains_key("ssh_keys") {
        let (private, public) = plant.host_key;
        config.insert("ssh_keys".into(), json!({ "ed25519_private": private, "ed25519_public": public }));
        planted.host_key = true;
    }
    seed::yaml(&Value::Object(config), Some("#cloud-config")).context(Kind::Option, "option `user_data`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANT: Plant<'_> =
        Plant { user: "rimg", public_key: "ssh-ed25519 AAAA rimg", host_key: ("PRIVATE\nKEY\n", "ssh-ed25519 BBBB") };

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
        assert_eq!(planted, Planted { user_key: true, host_key: true });
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
        assert_eq!(planted, Planted { user_key: true, host_key: false });
        let user = &config["users"][0];
        assert_eq!((&user["shell"], &user["ssh_authorized_keys"][1]), (&json!("/bin/zsh"), &json!(PLANT.public_key)));
        assert_eq!(config["users"].as_array().unwrap().len(), 1);
        assert_eq!(config["ssh_keys"], json!({ "rsa_private": "x" }));
    }
}
