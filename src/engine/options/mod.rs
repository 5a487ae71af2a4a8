//! Option tables as data, their decoding into structs, and the types of the values in them.
//!
//! An option struct derives `serde::Deserialize` with `#[serde(default, deny_unknown_fields)]`. [`decode`] gives it the
//! table with errors that name the full path of the option, what was found, what was expected, and the nearest name for
//! an unknown one. [`fields`] lists a struct's options for the annotation test.

mod any;
mod blob;
mod bytes;
mod callback;
mod decode;
mod deserializer;
mod env;
mod env_changes;
mod error;
mod fields;
mod file_mode;
mod scalar;
mod seconds;
mod short;
mod table;
mod value;

pub use any::Any;
pub use blob::Blob;
pub use bytes::Bytes;
pub use callback::{Answering, Callback, TextOrFunction};
pub use decode::decode;
pub use env::Env;
pub use env_changes::EnvChanges;
pub use error::{OptionError, did_you_mean};
pub use fields::fields;
pub use file_mode::FileMode;
pub use scalar::Scalar;
pub use seconds::Seconds;
pub use short::{decode_short, long_form};
pub use table::OptionTable;
pub use value::Value;
