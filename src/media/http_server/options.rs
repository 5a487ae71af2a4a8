//! The `http_…` options that every builder with an installer shares.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::Deserialize;

use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking;
use crate::media::inline::InlineFiles;
use crate::media::medium::{Medium, Rule};

/// What is served over HTTP to a machine that is being installed. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpServerOptions {
    /// A folder whose files are served. Links in it are followed.
    pub http_directory: Option<PathBuf>,
    /// Contents by their paths, `["/preseed.cfg"] = "…"`, with placeholders filled in; they come before the folder's
    /// files. Also functions of the request `{ method, path, query, headers, body, address }` that return a string, a
    /// table `{ status, headers, body }`, or nil (there is no such file).
    pub http_content: InlineFiles,
    /// The lowest port to serve on. Default 8000.
    pub http_port_min: Option<u16>,
    /// The highest port to serve on. Default 9000.
    pub http_port_max: Option<u16>,
    /// The address to serve on. Default: this host only, unless the machine's network has to reach it from elsewhere.
    pub http_bind_address: Option<IpAddr>,
}

impl HttpServerOptions {
    /// Tells whether anything is to be served.
    pub fn is_given(&self) -> bool {
        self.http_directory.is_some() || !self.http_content.is_empty()
    }

    /// Returns the lowest and the highest port.
    pub fn ports(&self) -> (u16, u16) {
        (self.http_port_min.unwrap_or(8000), self.http_port_max.unwrap_or(9000))
    }

    /// Returns the address to serve on.
    pub fn address(&self) -> IpAddr {
        self.http_bind_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Returns the digests of the folder's files by their paths, those behind links as well.
    pub async fn digests(&self, cx: &BuildCx) -> Result<serde_json::Value> {
        let Some(directory) = &self.http_directory else { return Ok(serde_json::Value::Null) };
        let (dir, pattern) = (cx.settings.script_dir.clone(), format!("{}/", directory.display()));
        let medium = blocking::run(move |cancel| {
            let mut medium = Medium::default();
            medium.add_files("http_directory", &[pattern], Rule::Tree, &dir, cancel)?;
            Ok(medium)
        });
        medium.await?.digests(cx).await
    }

    /// Checks that contents have no other placeholders than those of `values`, whose values may be empty yet.
    pub fn check_placeholders(&self, values: &Placeholders) -> Result<()> {
        self.http_content.check_placeholders("http_content", values)
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        self.http_content.by_path("http_content")?;
        let (min, max) = self.ports();
        if min == 0 {
            return Err(Error::new(Kind::Option, "option `http_port_min`: expected a port from 1 on, found 0"));
        }
        if min > max {
            let or_default = |option: Option<u16>| if option.is_some() { "" } else { ", the default" };
            let message = format!(
                "option `http_port_min`: {min}{} is above `http_port_max`, {max}{}",
                or_default(self.http_port_min),
                or_default(self.http_port_max)
            );
            return Err(Error::new(Kind::Option, message));
        }
        if let Some(directory) = &self.http_directory {
            let path = cx.settings.resolve(directory);
            let within = |e: Error| e.within("option `http_directory`");
            let meta = std::fs::metadata(&path).map_err(|e| within(io_error("read", &path, e)))?;
            if !meta.is_dir() {
                let message = format!("{} is not a folder", path.display());
                return Err(within(Error::new(Kind::Option, message)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Value;
    use crate::engine::options::decode;
    use crate::media::testing::cx;

    fn validated(entries: &[(&str, Value)]) -> Result<()> {
        let map = Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect());
        let (_dir, cx) = cx();
        std::fs::write(cx.settings.script_dir.join("file"), "").unwrap();
        decode::<HttpServerOptions>("rimg.qemu", map)?.validate(&cx)
    }

    #[test]
    fn mistakes_are_found_before_anything_starts() {
        let message = |entries: &[(&str, Value)]| validated(entries).unwrap_err().message().to_owned();
        let text = |text: &str| Value::Str(text.into());
        assert!(validated(&[("http_directory", text("."))]).is_ok());
        let missing = message(&[("http_directory", text("nowhere"))]);
        assert!(missing.starts_with("option `http_directory`: cannot read /") && missing.ends_with("/nowhere"));
        assert!(message(&[("http_directory", text("file"))]).ends_with("/file is not a folder"));
        assert_eq!(
            message(&[("http_port_min", Value::Int(9500))]),
            "option `http_port_min`: 9500 is above `http_port_max`, 9000, the default"
        );
        assert!(message(&[("http_port_min", Value::Int(0))]).contains("found 0"));
        assert!(message(&[("http_bind_address", text("here"))]).contains("option `http_bind_address`"));
        assert!(message(&[("http_content", Value::Map(vec![("/../x".into(), text(""))]))]).contains("`..`"));
    }
}
