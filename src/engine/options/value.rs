//! A value of an option table.

/// A value of an option table: what Lua has, without Lua.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// In the order given.
    Map(Vec<(String, Value)>),
    /// Called when its value is needed.
    Function(super::Callback),
    /// Something an option cannot hold, by its name: `thread`, `userdata`.
    Other(&'static str),
}

impl Value {
    /// Tells whether there is something in it that is no data: a function.
    pub fn has_function(&self) -> bool {
        match self {
            Value::Function(_) | Value::Other(_) => true,
            Value::List(items) => items.iter().any(Value::has_function),
            Value::Map(entries) => entries.iter().any(|(_, value)| value.has_function()),
            _ => false,
        }
    }

    /// Returns the value in words, for an error message.
    pub fn describe(&self) -> String {
        match self {
            Value::Nil => "nil".into(),
            Value::Bool(b) => format!("the boolean {b}"),
            Value::Int(i) => format!("the number {i}"),
            Value::Float(f) => format!("the number {f}"),
            Value::Str(s) if s.chars().count() <= 40 => format!("the string {s:?}"),
            Value::Str(_) => "a string".into(),
            Value::Bytes(_) => "a string that is not UTF-8".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a table".into(),
            Value::Function(_) => "a function".into(),
            Value::Other(name) => format!("a {name}"),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => {
                n.as_i64().map(Value::Int).unwrap_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)))
            }
            serde_json::Value::String(s) => Value::Str(s),
            serde_json::Value::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => Value::Map(map.into_iter().map(|(k, v)| (k, Value::from(v))).collect()),
        }
    }
}

impl From<&Value> for serde_json::Value {
    /// Returns the value as data that stands for it: of bytes their digest; a function is never the same as another.
    fn from(value: &Value) -> serde_json::Value {
        match value {
            Value::Nil => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Float(n) => (*n).into(),
            Value::Str(text) => text.as_str().into(),
            Value::Bytes(bytes) => crate::engine::operation::digest(bytes).into(),
            Value::List(items) => items.iter().map(serde_json::Value::from).collect::<Vec<_>>().into(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(name, value)| (name.clone(), value.into())).collect())
            }
            Value::Function(_) => format!("function {}", uuid::Uuid::new_v4().simple()).into(),
            Value::Other(name) => (*name).into(),
        }
    }
}
