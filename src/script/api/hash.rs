//! `rimg.hash`: digests of strings and files, in lower-case hexadecimal.

use mlua::{Lua, Table};

use super::current::current;
use super::names::Names;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, io_error};
use crate::host::blocking;
use crate::host::digest::{self, Algorithm};
use crate::script::error::lua_error;
use crate::script::value::{bytes, path, string};
use crate::ui::event::Unit;

/// Makes the table of `rimg.hash`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    let mut names = Names::new(lua, "rimg.hash")?.async_function("file", file)?;
    for algorithm in Algorithm::ALL {
        names = names.function(algorithm.as_str(), move |_, value: mlua::Value| {
            let bytes = bytes(&format!("rimg.hash.{algorithm}"), "value", &value)?;
            Ok(digest::of_bytes(algorithm, &bytes))
        })?;
    }
    names.done()
}

async fn file(lua: Lua, (file, name): (mlua::Value, mlua::Value)) -> mlua::Result<String> {
    let of = "rimg.hash.file";
    let cx = current(&lua, of)?;
    let file = cx.settings.resolve(path(of, "path", &file)?);
    let algorithm = match &name {
        mlua::Value::Nil => Algorithm::Sha256,
        name => algorithm(of, &string(of, "algorithm", name)?).map_err(lua_error)?,
    };
    let digests = blocking::run(move |cancel| {
        let meta = std::fs::metadata(&file).map_err(|e| io_error("read", &file, e))?;
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        let progress = cx.ui.progress(format!("{algorithm} of {name}"), Some(meta.len()), Unit::Bytes);
        digest::of_file(&file, &[algorithm], cancel, &|n| progress.add(n))
    });
    digests.await.map(|digests| digests.concat()).map_err(|e| lua_error(e.within(of)))
}

fn algorithm(of: &str, name: &str) -> crate::error::Result<Algorithm> {
    Algorithm::parse(name).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::as_str);
        let error = Error::new(Kind::Option, format!("{of}: algorithm: {name:?} is not one of {}", names.join(", ")));
        match did_you_mean(name, &names) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use crate::error::Kind;

    fn world() -> World {
        World::new(|lua, rimg| rimg.set("hash", super::module(lua)?))
    }

    #[test]
    fn digests_of_strings_and_files_agree() {
        let world = world();
        std::fs::write(world.script_dir().join("a"), "abc").unwrap();
        world.ok(r#"
            assert(rimg.hash.md5("abc") == "900150983cd24fb0d6963f7d28e17f72")
            assert(rimg.hash.sha1("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
            local sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            assert(rimg.hash.sha256("abc") == sha256 and rimg.hash.file("a") == sha256)
            assert(rimg.hash.file("a", "BLAKE3") == rimg.hash.blake3("abc"))
            assert(rimg.hash.file("a", "sha512") == rimg.hash.sha512("abc"))
            assert(#rimg.hash.sha512("\0\255") == 128)
        "#);
    }

    #[test]
    fn wrong_input_is_named() {
        let world = world();
        let error = world.err("rimg.hash.file('nothing')");
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.message().contains(&world.script_dir().join("nothing").display().to_string()), "{error}");
        assert_eq!(world.err("rimg.hash.file('.', 'sha265')").hints(), ["did you mean `sha256`?"]);
        assert_eq!(
            world.err("rimg.hash.sha256({})").message(),
            "rimg.hash.sha256: value: expected a string, found a table"
        );
    }
}
