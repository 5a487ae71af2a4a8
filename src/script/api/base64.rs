//! `rimg.base64`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use mlua::{Lua, LuaString, Table};

use super::names::Names;
use crate::error::{Error, Kind};
use crate::script::error::lua_error;
use crate::script::value::bytes;

/// Takes what is written in the wild: with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Makes the table of `rimg.base64`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.base64")?.function("decode", decode)?.function("encode", encode)?.done()
}

fn encode(_: &Lua, value: mlua::Value) -> mlua::Result<String> {
    Ok(STANDARD.encode(bytes("rimg.base64.encode", "value", &value)?))
}

fn decode(lua: &Lua, text: mlua::Value) -> mlua::Result<LuaString> {
    let text = bytes("rimg.base64.decode", "text", &text)?;
    let plain = text.into_iter().filter(|byte| !byte.is_ascii_whitespace());
    let plain = plain.map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    });
    let decoded = LENIENT
        .decode(plain.collect::<Vec<_>>())
        .map_err(|e| lua_error(Error::new(Kind::Script, "rimg.base64.decode: the text is not base64").caused_by(e)))?;
    lua.create_string(decoded)
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;

    #[test]
    fn there_and_back() {
        let world = World::new(|lua, rimg| rimg.set("base64", super::module(lua)?));
        world.ok(r#"
            assert(rimg.base64.encode("\0\255?x") == "AP8/eA==")
            for _, text in ipairs { "AP8/eA==", "AP8/eA", "AP8_eA", " AP8/\n eA== \n" } do
                assert(rimg.base64.decode(text) == "\0\255?x", text)
            end
        "#);
        let error = world.err("return rimg.base64.decode('a*b')");
        assert!(error.to_string().starts_with("rimg.base64.decode: the text is not base64: "), "{error}");
    }
}
