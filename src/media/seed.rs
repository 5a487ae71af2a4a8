//! The cloud-init seed: a small ISO image labelled `cidata` that the NoCloud data source reads at first boot.

use std::path::{Path, PathBuf};

use super::iso::{Content, Volume};
use crate::error::{Context, Kind, Result};

/// What cloud-init is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seed {
    pub user_data: Vec<u8>,
    pub meta_data: Vec<u8>,
    pub network_config: Option<Vec<u8>>,
}

impl Seed {
    /// Writes the seed as an ISO image, whole or not at all. Blocking.
    pub fn write(&self, to: &Path) -> Result<PathBuf> {
        let mut volume = Volume::new("cidata")?;
        volume.add("user-data", Content::Bytes(self.user_data.clone()))?;
        volume.add("meta-data", Content::Bytes(self.meta_data.clone()))?;
        if let Some(network_config) = &self.network_config {
            volume.add("network-config", Content::Bytes(network_config.clone()))?;
        }
        volume.write(to)
    }
}

/// Renders a table as the YAML cloud-init reads; user data gets the `#cloud-config` line that names its kind.
pub fn yaml(table: &serde_json::Value, header: Option<&str>) -> Result<Vec<u8>> {
    let body = serde_yaml_ng::to_string(table).context(Kind::Option, "cannot write this table as YAML")?;
    Ok(match header {
        Some(header) => format!("{header}\n{body}"),
        None => body,
    }
    .into_bytes())
}

/// Reads a `#cloud-config` document back; none when it is of another kind (a script, MIME) or not a YAML mapping.
pub fn parse_cloud_config(text: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    if first.trim_end() != "#cloud-config" {
        return None;
    }
    match serde_yaml_ng::from_str(text).ok()? {
        serde_json::Value::Object(map) => Some(map),
        serde_json::Value::Null => Some(serde_json::Map::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_cloud_config_and_come_back() {
        let table = serde_json::json!({
            "users": [{ "name": "rimg", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": true }],
            "runcmd": [["sh", "-c", "echo \"#x: y\" > /etc/on"]],
            "octal": "0644",
            "empty": "",
            "yes": "yes",
        });
        let text = String::from_utf8(yaml(&table, Some("#cloud-config")).unwrap()).unwrap();
        assert!(text.starts_with("#cloud-config\n"), "{text}");
        assert_eq!(serde_json::Value::Object(parse_cloud_config(&text).unwrap()), table);
        assert!(parse_cloud_config("#!/bin/sh\necho").is_none());
        assert!(parse_cloud_config("#cloud-config\n- a").is_none());
        assert_eq!(parse_cloud_config("#cloud-config\n").map(|m| m.len()), Some(0));
    }
}
