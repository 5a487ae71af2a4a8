//! `rimg.amazon.client{…}` and its object, which has a method for each call of the builder's table.

use mlua::{AnyUserData, Lua, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::current::{acts, current};
use crate::builder::amazon::{AccessOptions, Client, calls};
use crate::engine::options::fields;
use crate::error::Error;
use crate::script::error::IntoLuaResult;
use crate::script::runtime::{strict, unknown_name};
use crate::script::value;

const OF: &str = "rimg.amazon.client";

/// What a client has besides its calls.
const FIELDS: &[&str] = &["region"];

/// AWS in one region, in a script's hands.
struct ClientHandle {
    region: String,
    /// None where nobody may be asked.
    client: Option<Client>,
}

impl UserData for ClientHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("region", |_, this| Ok(this.region.clone()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for call in calls::all() {
            methods.add_async_method(call.name, async move |lua, this, (first, second): (Value, Value)| {
                let client = this.client.clone();
                drop(this);
                let (first, second) = (value::from_lua(&first), value::from_lua(&second));
                let prepared = call.prepare(first, second).into_lua_result()?;
                let cx = current(&lua, call.name)?;
                cx.settings.needs.note(prepared.actions);
                let answer = match client {
                    None => prepared.pretended,
                    Some(client) => {
                        acts(&lua);
                        (prepared.ask)(client, cx).await.into_lua_result()?
                    }
                };
                value::json_to_lua(&lua, &answer)
            });
        }
        methods.add_meta_method("__tostring", |_, this, ()| Ok(format!("Amazon {}", this.region)));
        methods.add_meta_method("__index", |_, _, name: String| -> mlua::Result<Value> {
            let names: Vec<String> = names().into_iter().map(str::to_owned).collect();
            Err(unknown_name("a client of Amazon", &name, &names))
        });
    }
}

async fn client(lua: Lua, options: Value) -> mlua::Result<AnyUserData> {
    let named = |e: Error| e.within(OF);
    let access: AccessOptions = value::decode_table(OF, &options)?;
    let cx = current(&lua, OF)?;
    access.validate(&cx).map_err(named).into_lua_result()?;
    let handle = if cx.settings.is_live() {
        let client = Client::connect(&access).await.map_err(named).into_lua_result()?;
        ClientHandle { region: client.region.to_string(), client: Some(client) }
    } else {
        ClientHandle { region: access.pretended_region(), client: None }
    };
    lua.create_userdata(handle)
}

/// Adds `client` to `rimg.amazon`, which a builder may have made.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    let amazon: Table = match rimg.raw_get("amazon")? {
        Value::Table(table) => table,
        _ => lua.create_table()?,
    };
    amazon.raw_set("client", lua.create_async_function(client)?)?;
    strict(lua, &amazon, "rimg.amazon")?;
    rimg.raw_set("amazon", amazon)
}

/// Returns the names a client has.
pub fn names() -> Vec<&'static str> {
    FIELDS.iter().copied().chain(calls::all().map(|call| call.name)).collect()
}

/// Lists class and option names, for the annotation test.
pub fn classes() -> Vec<(&'static str, &'static [&'static str])> {
    let mut classes = vec![("rimg.AmazonAccess", fields::<AccessOptions>())];
    classes.extend(calls::all().filter_map(|call| Some((call.class?, (call.fields)()))));
    classes
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::engine::Mode;
    use crate::error::Kind;

    fn checked() -> World {
        World::with_mode(Mode::Check, register)
    }

    #[test]
    fn a_check_asks_nobody_and_answers_something() {
        let world = checked();
        world.ok(r#"
            local aws = rimg.amazon.client { region = "eu-central-1" }
            assert(aws.region == "eu-central-1" and tostring(aws) == "Amazon eu-central-1")
            assert(aws:caller_identity().account:match "^%d+$")
            assert(aws:image("ami-1").id == "ami-1" and aws:images()[1].state == "available")
            assert(aws:copy_image { source_region = "us-east-1", source_image_id = "ami-1", name = "x" }:match "^ami%-")
            assert(aws:tag("ami-1", { tags = { Role = "web" } }) == nil)
            assert(#aws:instances({ instance_ids = { "i-1", "i-2" } }) == 2)
            assert(aws:parameter "/aws/service/debian/release/12/latest/amd64":match "^ami%-")
        "#);
        let needed = world.cx.settings.needs.actions();
        assert!(needed.contains(&"ec2:CopyImage") && needed.contains(&"ssm:GetParameter"), "{needed:?}");
        assert!(!needed.contains(&"ec2:DeregisterImage"), "{needed:?}");
    }

    #[test]
    fn mistakes_are_named_before_anybody_is_asked() {
        let world = checked();
        for (code, message, hint) in [
            ("rimg.amazon.client { regoin = 'x' }", "option `regoin`", "did you mean `region`?"),
            ("rimg.amazon.cleint {}", "rimg.amazon has no `cleint`", "did you mean `client`?"),
            (
                "rimg.amazon.client {}:snapshosts {}",
                "a client of Amazon has no `snapshosts`",
                "did you mean `snapshots`?",
            ),
            ("rimg.amazon.client {}:images { owner = 'self' }", "aws:images: option `owner`", "did you mean `owners`?"),
        ] {
            let error = world.err(code);
            assert!(error.message().contains(message), "{error}");
            assert_eq!(error.hints().first().map(String::as_str), Some(hint), "{code}");
        }
        let error = world.err("rimg.amazon.client {}:deprecate_image('ami-1', { at = 'soon' })");
        assert_eq!(error.kind(), Kind::Option);
        assert!(error.message().starts_with("aws:deprecate_image: option `at`: \"soon\""), "{error}");
        let error = world.err("rimg.amazon.client { access_key = 'AKIA' }");
        assert!(error.message().starts_with("rimg.amazon.client: option `secret_key`: is required"), "{error}");
    }

    #[test]
    fn the_table_is_shared_with_builders() {
        let world = World::with_mode(Mode::Check, |lua, rimg| {
            let amazon = lua.create_table()?;
            amazon.set("ebs", "a builder")?;
            rimg.set("amazon", amazon)?;
            register(lua, rimg)
        });
        world.ok("assert(rimg.amazon.ebs == 'a builder' and rimg.amazon.client)");
    }
}
