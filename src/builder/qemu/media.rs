//! What a machine is given to boot from and to read: the installation medium, media made for it, what is served to it.

use std::path::{Path, PathBuf};

use super::builder::QemuBuilder;
use super::checkpoint::{self, Medium, State};
use super::network;
use crate::engine::BuildCx;
use crate::engine::options::Value;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;
use crate::media::{HttpServer, HttpServerOptions};

/// The host's address in QEMU's user network, where the HTTP server is found.
const USER_NETWORK_HOST: &str = "10.0.2.2";

/// The names that stand for a public key of the login.
const KEY_NAMES: [&str; 2] = ["SSHPublicKey", "EncodedSSHPublicKey"];

/// The cloud-init seed's file.
pub const SEED: &str = "seed.iso";
/// The file of the CD that is made for the machine.
pub const CD: &str = "cd.iso";

/// One machine's media.
pub struct Media {
    /// The installation medium first, where there is one.
    pub cdroms: Vec<PathBuf>,
    pub boots_cd: bool,
    pub floppy: Option<PathBuf>,
    /// Serves until it is dropped.
    pub server: Option<HttpServer>,
    /// What is known of the machine before it starts.
    pub values: Placeholders,
}

/// Makes and serves what the options say; what is made goes to `dir`. `medium` is the one to boot from.
pub async fn prepare(
    builder: &QemuBuilder,
    medium: Option<PathBuf>,
    public_key: Option<&str>,
    dir: &Path,
    cx: &BuildCx,
) -> Result<Media> {
    let mut http = builder.http.clone();
    let mut host = USER_NETWORK_HOST.to_owned();
    if let Some(bridge) = builder.options.network.net_bridge.as_deref().filter(|_| http.is_given()) {
        let address = network::bridge_address(bridge).await?;
        host = address.to_string();
        http.http_bind_address.get_or_insert(address);
    }
    let mut values = Placeholders::default()
        .with("Name", builder.options.machine.vm_name(cx))
        .with("HTTPIP", host)
        .with("HTTPDir", builder.http.http_directory.as_ref().map_or(String::new(), |dir| dir.display().to_string()));
    if let Some(key) = public_key {
        let [plain, encoded] = KEY_NAMES;
        values = values.with(plain, key).with(encoded, percent_encoded(key));
    }
    let boots_cd = medium.is_some();
    let mut cdroms: Vec<PathBuf> = medium.into_iter().collect();
    // The media may hold the server's port, so it starts first.
    let server = HttpServer::start(&http, &values, cx).await?;
    if let Some(server) = &server {
        values = server.placeholders().clone();
    }
    if builder.cd.is_given() {
        let path = dir.join(CD);
        builder.cd.write(&path, &values, cx).await?;
        cdroms.push(path);
    }
    let mut floppy = None;
    if builder.floppy.is_given() {
        let path = dir.join("floppy.img");
        builder.floppy.write(&path, &values, cx).await?;
        floppy = Some(path);
    }
    Ok(Media { cdroms, boots_cd, floppy, server, values })
}

/// Finds and serves again what a machine had at a checkpoint in `folder`.
pub async fn again(builder: &QemuBuilder, state: &State, folder: &Path, dir: &Path, cx: &BuildCx) -> Result<Media> {
    let [plain, encoded] = KEY_NAMES;
    let names = ["Name", "HTTPIP", "HTTPDir", "HTTPPort", plain, encoded];
    let known = |name| state.values.get(name).map(|value| (name, value));
    let values = names.into_iter().filter_map(known);
    let values = values.fold(Placeholders::default(), |values, (name, value)| values.with(name, value));
    let cdroms = state.cdroms.iter().map(|medium| match medium {
        Medium::Kept(name) => folder.join(name),
        Medium::Elsewhere(path) => path.clone(),
    });
    let floppy = match state.floppy {
        true => Some(checkpoint::floppy(folder, dir).await?),
        false => None,
    };
    let server = serve_again(builder, &values, state.values.get("HTTPPort"), cx).await?;
    Ok(Media { cdroms: cdroms.collect(), boots_cd: state.boots_cd, floppy, server, values })
}

/// Serves on the port that the guest knows, or where that is taken on another one.
async fn serve_again(
    builder: &QemuBuilder,
    values: &Placeholders,
    port: Option<&String>,
    cx: &BuildCx,
) -> Result<Option<HttpServer>> {
    let mut http = builder.http.clone();
    if let Some(bridge) = builder.options.network.net_bridge.as_deref().filter(|_| http.is_given()) {
        let address = network::bridge_address(bridge).await?;
        http.http_bind_address.get_or_insert(address);
    }
    if let Some(port) = port.and_then(|port| port.parse().ok()) {
        let same = HttpServerOptions { http_port_min: Some(port), http_port_max: Some(port), ..http.clone() };
        match HttpServer::start(&same, values, cx).await {
            Ok(server) => return Ok(server),
            Err(error) => tracing::debug!(%error, port, "not on the same port again"),
        }
    }
    HttpServer::start(&http, values, cx).await
}

/// Returns the placeholders that there are going to be, with empty values, so that others are found before anything starts.
pub fn placeholders(builder: &QemuBuilder) -> Placeholders {
    let [plain, encoded] = KEY_NAMES;
    let names = ["Name", "HTTPIP", "HTTPDir", plain, encoded].into_iter();
    let names = names.chain(builder.http.is_given().then_some("HTTPPort"));
    names.fold(Placeholders::default(), |values, name| values.with(name, ""))
}

/// Tells whether the options can pass a public key on: they name its placeholder, or a function may.
pub fn can_pass_key(options: &Value) -> bool {
    match options {
        Value::Str(text) => KEY_NAMES.iter().any(|name| text.contains(name)),
        Value::Function(_) => true,
        Value::List(items) => items.iter().any(can_pass_key),
        Value::Map(entries) => entries.iter().any(|(_, value)| can_pass_key(value)),
        _ => false,
    }
}

/// Encodes a text for a URL or a kernel's command line, where spaces end a word (RFC 3986, section 2.1).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_passed_wherever_their_placeholder_stands() {
        let nested = |text: &str| {
            let list = Value::List(vec![Value::Str("<enter>".into()), Value::Str(text.into())]);
            Value::Map(vec![("x".into(), list)])
        };
        assert!(can_pass_key(&nested("key={{ .EncodedSSHPublicKey }}")) && can_pass_key(&nested("{{.SSHPublicKey}}")));
        assert!(!can_pass_key(&nested("url={{ .HTTPIP }}")));
        assert_eq!(percent_encoded("ssh-ed25519 A+/= a"), "ssh-ed25519%20A%2B%2F%3D%20a");
    }
}
