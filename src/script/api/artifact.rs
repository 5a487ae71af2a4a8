//! The artifact object, and `rimg.artifact`.

use mlua::{AnyUserData, Lua, Table, UserData, UserDataFields, UserDataMethods, UserDataRef, Value};

use crate::artifact;
use crate::builder;
use crate::engine::post_processing::{Particulars, Step, post_process};
use crate::engine::shown::Shown;
use crate::engine::{Artifact, BuildCx, Value as Data};
use crate::error::{Error, Kind, Result};
use crate::script::error::IntoLuaResult;
use crate::script::runtime::unknown_name;
use crate::script::state;
use crate::script::value::{self, VALUE_METHOD};

/// What a build leaves, in a script's hands.
#[derive(Clone)]
pub struct ArtifactHandle {
    pub artifact: Artifact,
    /// The builder and the options of the machine it was captured from, for booting it again.
    pub origin: Option<Origin>,
}

/// How the machine that an artifact comes from was made.
#[derive(Clone)]
pub struct Origin {
    pub builder: &'static builder::Entry,
    pub options: Data,
}

const NAMES: &[&str] = &[
    "id", "kind", "builder", "build", "files", "metadata", "path", "checksum", "compress", "convert", "vagrant",
    "manifest", "boot", "copy_to", "destroy",
];

impl ArtifactHandle {
    /// The same machine's next artifact.
    fn next(&self, artifact: Artifact) -> ArtifactHandle {
        ArtifactHandle { artifact, origin: self.origin.clone() }
    }
}

/// Where post-processing happens: the build that asks for it.
fn surroundings(lua: &Lua) -> mlua::Result<BuildCx> {
    let state = state::of(lua)?;
    state.begin_work();
    Ok(state.current())
}

fn arguments(args: Value) -> Data {
    match args {
        Value::Nil => Data::Map(Vec::new()),
        other => value::from_lua(&other),
    }
}

/// Registers a post-processing method: decode, work, announce. `$particulars` says what is particular about its replay.
macro_rules! post_processor {
    ($methods:ident, $name:literal, $decode:expr, $work:path) => {
        post_processor!($methods, $name, $decode, $work, |_: &_, _: &_, _: &_| Particulars::default());
    };
    ($methods:ident, $name:literal, $decode:expr, $work:path, $particulars:expr) => {
        $methods.add_async_method($name, async |lua, handle, args: Value| {
            let handle: ArtifactHandle = handle.clone();
            let given = arguments(args);
            let asked = serde_json::Value::from(&given);
            let options = $decode(given).into_lua_result()?;
            let cx = surroundings(&lua)?;
            let step = Step {
                kind: $name,
                of: &handle.artifact,
                removes_input: asked.get("keep_input_artifact") == Some(&false.into()),
                options: asked,
                particulars: $particulars(&handle.artifact, &options, &cx),
            };
            let work = Box::pin($work(&handle.artifact, options, &cx));
            let artifact = post_process(step, &cx, work).await.into_lua_result()?;
            Ok(handle.next(artifact))
        });
    };
}

impl UserData for ArtifactHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("id", |_, this| Ok(this.artifact.id.clone()));
        fields.add_field_method_get("kind", |_, this| Ok(this.artifact.kind.clone()));
        fields.add_field_method_get("builder", |_, this| Ok(this.artifact.builder.clone()));
        fields.add_field_method_get("build", |_, this| Ok(this.artifact.build.clone()));
        // A function of the prelude's: the test it calls is on the stack that an error shows.
        fields.add_field_function_get("boot", |lua, _| state::flow(lua, "boot"));
        fields.add_field_method_get("path", |_, this| {
            Ok(this.artifact.image_path().map(|path| path.display().to_string()))
        });
        fields.add_field_method_get("files", |lua, this| {
            let json = serde_json::to_value(&this.artifact.files).map_err(mlua::Error::external)?;
            value::json_to_lua(lua, &json)
        });
        fields.add_field_method_get("metadata", |lua, this| {
            let json = serde_json::to_value(&this.artifact.metadata).map_err(mlua::Error::external)?;
            value::json_to_lua(lua, &json)
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        post_processor!(
            methods,
            "checksum",
            artifact::checksum::ChecksumOptions::from_value,
            artifact::checksum::checksum
        );
        post_processor!(
            methods,
            "compress",
            artifact::compress::CompressOptions::from_value,
            artifact::compress::compress
        );
        post_processor!(methods, "convert", artifact::convert::ConvertOptions::from_value, artifact::convert::convert);
        post_processor!(
            methods,
            "vagrant",
            artifact::vagrant::VagrantOptions::from_value,
            artifact::vagrant::vagrant,
            |_: &Artifact, options: &artifact::vagrant::VagrantOptions, cx: &BuildCx| {
                let reads = options.vagrantfile_template.iter().chain(&options.include);
                Particulars { reads: reads.map(|path| cx.settings.resolve(path)).collect(), ..Particulars::default() }
            }
        );
        post_processor!(
            methods,
            "manifest",
            artifact::manifest::ManifestOptions::from_value,
            artifact::manifest::manifest,
            |made: &Artifact, options: &artifact::manifest::ManifestOptions, cx: &BuildCx| {
                let adds_to = artifact::manifest::place(made, options, cx).ok();
                Particulars { adds_to, ..Particulars::default() }
            }
        );
        methods.add_async_method("destroy", async |lua, handle, ()| {
            let (handle, cx): (ArtifactHandle, _) = (handle.clone(), surroundings(&lua)?);
            if let Some(Origin { builder, options }) = handle.origin
                && let Some(destroy) = builder.destroy_artifact.filter(|_| cx.settings.is_live())
            {
                destroy(options, handle.artifact.clone()).await.into_lua_result()?;
            }
            artifact::files::destroy(&handle.artifact, &cx).await.into_lua_result()
        });
        methods.add_async_method("copy_to", async |lua, handle, (regions, over): (Value, Value)| {
            let (handle, cx): (ArtifactHandle, _) = (handle.clone(), surroundings(&lua)?);
            let copied = copy_to(&handle, &value::from_lua(&regions), arguments(over), &cx).await.into_lua_result()?;
            Ok(handle.next(copied))
        });
        methods.add_meta_method(VALUE_METHOD, |lua, this, ()| {
            let json = serde_json::to_value(&this.artifact).map_err(mlua::Error::external)?;
            value::json_to_lua(lua, &json)
        });
        methods.add_meta_method("__tostring", |_, this, ()| {
            let what = this.artifact.image_path().map_or(this.artifact.id.clone(), |path| path.display().to_string());
            Ok(format!("{} {what}", this.artifact.kind))
        });
        methods.add_meta_method("__index", |_, _, name: String| -> mlua::Result<Value> {
            let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
            Err(unknown_name("an artifact", &name, &names))
        });
    }
}

/// Launches a throwaway machine from an artifact, which stays as it is; the native half of `artifact:boot`.
pub async fn boot(lua: Lua, (handle, over): (UserDataRef<ArtifactHandle>, Value)) -> mlua::Result<AnyUserData> {
    let handle: ArtifactHandle = handle.clone();
    surroundings(&lua)?;
    let (entry, options) = boot_options(&handle, arguments(over)).into_lua_result()?;
    super::builders::launch(&lua, entry, options, true).await
}

/// Finds the builder that can boot an artifact, and its options: the origin's, adapted, with the script's over them.
fn boot_options(handle: &ArtifactHandle, over: Data) -> Result<(&'static builder::Entry, Data)> {
    let entry = match &handle.origin {
        Some(origin) => Some(origin.builder),
        None => builder::REGISTRY.iter().find(|entry| entry.boot_options.is_some()),
    };
    let Some((entry, adapt)) = entry.and_then(|entry| entry.boot_options.map(|adapt| (entry, adapt))) else {
        let message = format!(
            "artifact:boot: no builder here can boot a {} made by {}",
            handle.artifact.kind, handle.artifact.builder
        );
        return Err(Error::new(Kind::Unsupported, message));
    };
    let origin = handle.origin.as_ref().map(|origin| origin.options.clone()).unwrap_or(Data::Map(Vec::new()));
    Ok((entry, overlaid(adapt(origin, &handle.artifact)?, over)))
}

/// Puts options over others of the same names.
fn overlaid(options: Data, over: Data) -> Data {
    let (Data::Map(mut options), Data::Map(over)) = (options, over) else { return Data::Map(Vec::new()) };
    options.retain(|(name, _)| !over.iter().any(|(other, _)| other == name));
    options.extend(over);
    Data::Map(options)
}

fn text(value: &Data) -> Option<String> {
    match value {
        Data::Str(text) => Some(text.clone()),
        _ => None,
    }
}

/// Copies an artifact to regions, by the options of the machine it comes from with the script's over them.
async fn copy_to(handle: &ArtifactHandle, regions: &Data, over: Data, cx: &BuildCx) -> Result<Artifact> {
    let copy = handle.origin.as_ref().and_then(|origin| Some((origin, origin.builder.copy_artifact?)));
    let Some((Origin { builder, options }, copy)) = copy else {
        let Artifact { kind, builder, .. } = &handle.artifact;
        let message = format!("artifact:copy_to: this {kind} is in no region: {builder} leaves files");
        return Err(
            Error::new(Kind::Unsupported, message).hint("images of rimg.amazon are what can be copied to regions")
        );
    };
    let regions: Option<Vec<String>> = match regions {
        Data::List(names) => names.iter().map(text).collect(),
        _ => None,
    };
    let Some(mut regions) = regions.filter(|names| !names.is_empty()) else {
        let message = "artifact:copy_to: expected the names of regions";
        return Err(Error::new(Kind::Option, message).hint("image:copy_to { \"eu-west-1\", \"us-east-1\" }"));
    };
    regions.sort();
    regions.dedup();
    let options = overlaid(options.clone(), over);
    (builder.decode)(options.clone())?;
    let shown = Shown::begin(cx, &cx.build, "", "copy_to", &regions.join(", "));
    let copied = cx.scope.run(copy(options, regions, handle.artifact.clone(), cx.clone())).await;
    shown.end(copied.is_ok(), false);
    copied
}

async fn from_files(lua: Lua, args: Value) -> mlua::Result<AnyUserData> {
    let options = artifact::files::FilesOptions::from_value(arguments(args)).into_lua_result()?;
    let cx = state::of(&lua)?.current();
    let artifact = artifact::files::files(options, &cx).await.into_lua_result()?;
    surroundings(&lua)?;
    lua.create_userdata(ArtifactHandle { artifact, origin: None })
}

/// Adds `artifact` to the `rimg` table.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    rimg.set("artifact", lua.create_async_function(from_files)?)
}

/// Returns the names an artifact has, for the annotation test.
pub fn names() -> &'static [&'static str] {
    NAMES
}
