//! `rimg.download`: the cached, checked downloader.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use mlua::{Lua, LuaString};
use serde::Deserialize;

use super::current::current;
use super::fs::copy_whole;
use crate::error::{Error, Kind};
use crate::host::{atomic, blocking};
use crate::media::checksum::Checksum;
use crate::media::download::Wanted;
use crate::script::error::lua_error;
use crate::script::value::decode_table;

const OF: &str = "rimg.download";

/// Options of `rimg.download`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadOptions {
    /// What to download: http, https, s3, `file:`, or a path relative to the script's folder; this or `urls`.
    pub url: Option<String>,
    /// Several places to get it from, tried in order.
    pub urls: Vec<String>,
    /// What it must be: `sha256:HEX`, a bare digest, `file:URL` of a checksum file, or `none`; required.
    pub checksum: Option<String>,
    /// Where a copy goes, relative to the script's folder; default none: the cached file itself is returned.
    pub to: Option<PathBuf>,
}

/// Runs `rimg.download(options)` and returns the file's path.
pub async fn download(lua: Lua, options: mlua::Value) -> mlua::Result<LuaString> {
    let options: DownloadOptions = decode_table(OF, &options)?;
    let cx = current(&lua, OF)?;
    let wrong = |message: &str| lua_error(Error::new(Kind::Option, format!("{OF}: {message}")));
    let urls = match (options.url.filter(|url| !url.is_empty()), options.urls) {
        (Some(_), urls) if !urls.is_empty() => return Err(wrong("only one of `url` and `urls` can be given")),
        (Some(url), _) => vec![url],
        (None, urls) if urls.is_empty() => return Err(wrong("option `url`: is required")),
        (None, urls) => urls,
    };
    let checksum = Checksum::required(OF, "checksum", options.checksum.as_deref()).map_err(lua_error)?;
    super::current::acts(&lua);
    let found = Wanted::new(urls, checksum).fetch(&cx).await.map_err(|e| lua_error(e.within(OF)))?;
    let Some(to) = options.to else { return lua.create_string(found.as_os_str().as_bytes()) };
    let to = cx.settings.resolve(to);
    if cx.settings.is_live() {
        let (from, to) = (found, to.clone());
        let copied = blocking::run(move |cancel| {
            // What is there may be the very same; the copy replaces it whole either way.
            if to.is_dir() {
                atomic::refuse_existing(&to, false)?;
            }
            copy_whole(&from, &to, cancel, &|_| {})
        });
        copied.await.map_err(|e| lua_error(e.within(OF)))?;
    }
    lua.create_string(to.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn world() -> World {
        let world = World::new(|lua, rimg| rimg.set("download", lua.create_async_function(download)?));
        std::fs::write(world.script_dir().join("a"), "abc").unwrap();
        world
    }

    #[test]
    fn a_local_file_is_checked_and_copied() {
        let world = world();
        world.ok(r#"
            local sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            assert(rimg.download { url = "a", checksum = sha256 }:match("/script/a$"))
            assert(rimg.download { url = "a", checksum = "none", to = "d/b" }:match("/script/d/b$"))
        "#);
        assert_eq!(std::fs::read_to_string(world.script_dir().join("d/b")).unwrap(), "abc");
        let error = world.err("rimg.download { url = 'a', checksum = 'md5:00000000000000000000000000000000' }");
        assert_eq!(error.kind(), Kind::Checksum);
    }

    #[test]
    fn wrong_input_is_named() {
        let world = world();
        assert_eq!(world.err("rimg.download {}").message(), "rimg.download: option `url`: is required");
        assert!(world.err("rimg.download { url = 'a' }").message().contains("option `checksum`: is required"));
        assert_eq!(world.err("rimg.download { ulr = 'a' }").hints(), ["did you mean `url`?"]);
        assert!(world.err("rimg.download 'a'").message().contains("expected a table of options"));
    }
}
