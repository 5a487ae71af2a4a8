//! Who asks, where and in which region: AWS' environment variables and its files of profiles, as its own tools read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result, io_error};

/// What the environment and the profile say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Key, secret and session token; without them the object is asked for as anybody may.
    pub keys: Option<Keys>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

/// A key pair of AWS.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

type Section = BTreeMap<String, String>;

impl Access {
    /// Reads this process' environment, and the profile it names.
    pub fn find() -> Result<Access> {
        Access::from(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(env: &dyn Fn(&str) -> Option<String>) -> Result<Access> {
        let home = env("HOME").map(PathBuf::from).unwrap_or_default();
        let file = |variable: &str, name: &str| match env(variable) {
            Some(path) => (PathBuf::from(path), true),
            None => (home.join(".aws").join(name), false),
        };
        let chosen = env("AWS_PROFILE").or_else(|| env("AWS_DEFAULT_PROFILE"));
        let profile = chosen.as_deref().unwrap_or("default");
        let (config, credentials) =
            (file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
        let in_config = section(&config.0, config.1, &[&format!("profile {profile}"), profile])?;
        let in_credentials = section(&credentials.0, credentials.1, &[profile])?;
        if chosen.is_some() && in_config.is_none() && in_credentials.is_none() {
            let message = format!("AWS_PROFILE: there is no profile {profile:?}");
            return Err(Error::new(Kind::Option, message).hint(format!(
                "looked into {} and {}",
                config.0.display(),
                credentials.0.display()
            )));
        }
        let (in_config, in_credentials) = (in_config.unwrap_or_default(), in_credentials.unwrap_or_default());
        // The file of credentials goes before the other one, the environment before both.
        let keys_of = |get: &dyn Fn(&str) -> Option<String>| {
            let (id, secret) = (get("aws_access_key_id")?, get("aws_secret_access_key")?);
            Some(Keys { id, secret, token: get("aws_session_token") })
        };
        let keys = keys_of(&|name| env(&name.to_ascii_uppercase()))
            .or_else(|| keys_of(&|name| in_credentials.get(name).cloned()))
            .or_else(|| keys_of(&|name| in_config.get(name).cloned()));
        let either = |name: &str| in_config.get(name).or_else(|| in_credentials.get(name)).cloned();
        Ok(Access {
            keys,
            region: env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION")).or_else(|| either("region")),
            endpoint: env("AWS_ENDPOINT_URL_S3").or_else(|| env("AWS_ENDPOINT_URL")).or_else(|| either("endpoint_url")),
        })
    }
}

/// Reads the first section of those names from a file; a file that nobody named may be missing.
fn section(path: &Path, named: bool, sections: &[&str]) -> Result<Option<Section>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut all = parse(&text);
            Ok(sections.iter().find_map(|name| all.remove(*name)))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => Ok(None),
        Err(e) => Err(io_error("read", path, e).hint("AWS' environment variables name this file")),
    }
}

/// Takes a file of profiles apart: sections in brackets, `name = value`, comments after `#` and `;`. What is indented
/// belongs to a nested table, none of which is needed here.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Section> {
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) || line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            sections.entry(name.clone()).or_default();
            current = Some(name);
        } else if let (Some((name, value)), Some(section)) = (line.split_once('='), &current) {
            let value = value.split(" #").next().unwrap_or(value).trim();
            if let Some(section) = sections.get_mut(section) {
                section.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(dir: &Path, vars: &[(&str, &str)]) -> Result<Access> {
        let home = dir.display().to_string();
        Access::from(&|name| {
            let given = vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            given.or_else(|| (name == "HOME").then(|| home.clone()))
        })
    }

    #[test]
    fn environment_before_profiles_and_profiles_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(".aws").join(name), text).unwrap();
        write(
            "credentials",
            "[default]\naws_access_key_id = A\naws_secret_access_key=a=+/\n# x\n[ci]\naws_access_key_id=C\naws_secret_access_key=c\naws_session_token=t\n",
        );
        write(
            "config",
            "[default]\nregion = eu-west-1 # near\ns3 =\n  region = nested\n[profile ci]\nendpoint_url = http://x:1\n",
        );
        let keys = |id: &str, secret: &str, token: Option<&str>| {
            Some(Keys { id: id.into(), secret: secret.into(), token: token.map(str::to_owned) })
        };
        let found = access(dir.path(), &[]).unwrap();
        assert_eq!(found, Access { keys: keys("A", "a=+/", None), region: Some("eu-west-1".into()), endpoint: None });
        let found = access(dir.path(), &[("AWS_PROFILE", "ci"), ("AWS_REGION", "r")]).unwrap();
        let expected =
            Access { keys: keys("C", "c", Some("t")), region: Some("r".into()), endpoint: Some("http://x:1".into()) };
        assert_eq!(found, expected);
        let env = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_ENDPOINT_URL", "http://y")];
        let found = access(dir.path(), &env).unwrap();
        assert_eq!((found.keys, found.endpoint), (keys("E", "e", None), Some("http://y".into())));
        assert!(access(dir.path(), &[("AWS_PROFILE", "no")]).unwrap_err().message().contains("\"no\""));
        assert!(access(dir.path(), &[("AWS_CONFIG_FILE", "/no/such")]).is_err());
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(access(empty.path(), &[]).unwrap(), Access::default());
        let shown = format!("{:?}", keys("E", "hunter2", Some("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(text in "[\\[\\]=# \\n\\ta-z;]{0,200}") {
            let _ = parse(&text);
        }
    }
}
