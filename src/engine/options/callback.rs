//! Functions among the options: values that are known only when they are needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Any, Value};
use crate::error::Result;

/// The answer of a function, on its way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// A function of the script's that an option holds. Clones are the same function.
#[derive(Clone)]
pub struct Callback(Arc<dyn Fn(Value) -> Answering + Send + Sync>);

impl Callback {
    /// Makes a callback of what calls the function with one argument.
    pub fn new(call: impl Fn(Value) -> Answering + Send + Sync + 'static) -> Callback {
        Callback(Arc::new(call))
    }

    /// Calls the function and waits for its one result. Dropping the future cancels the call.
    pub async fn call(&self, argument: Value) -> Result<Value> {
        (self.0)(argument).await
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("function")
    }
}

impl PartialEq for Callback {
    fn eq(&self, other: &Callback) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<'de> serde::Deserialize<'de> for Callback {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)?.0 {
            Value::Function(function) => Ok(function),
            other => Err(serde::de::Error::custom(format!("expected a function, found {}", other.describe()))),
        }
    }
}

/// A text, or a function that returns it when it is needed.
#[derive(Debug, Clone, PartialEq)]
pub enum TextOrFunction {
    Text(String),
    Function(Callback),
}

impl<'de> serde::Deserialize<'de> for TextOrFunction {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)?.0 {
            Value::Str(text) => Ok(TextOrFunction::Text(text)),
            Value::Function(function) => Ok(TextOrFunction::Function(function)),
            other => {
                let message = format!("expected a string or a function that returns one, found {}", other.describe());
                Err(serde::de::Error::custom(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        texts: Vec<TextOrFunction>,
        text: Option<String>,
    }

    #[tokio::test]
    async fn a_function_passes_through_options_and_can_be_called() {
        let double = Callback::new(|value| Box::pin(async move { Ok(Value::List(vec![value.clone(), value])) }));
        let list = Value::List(vec![Value::Str("a".into()), Value::Function(double.clone())]);
        let options: Options = decode("x", Value::Map(vec![("texts".into(), list)])).unwrap();
        let [TextOrFunction::Text(text), TextOrFunction::Function(function)] = options.texts.as_slice() else {
            panic!("{options:?}")
        };
        assert_eq!((text.as_str(), function), ("a", &double));
        let twice = function.call(Value::Int(2)).await.unwrap();
        assert_eq!(twice, Value::List(vec![Value::Int(2), Value::Int(2)]));

        let error = decode::<Options>("x", Value::Map(vec![("text".into(), Value::Function(double))])).unwrap_err();
        assert_eq!(error.message(), "x: option `text`: expected a string, found a function");
        let error = decode::<Options>("x", Value::Map(vec![("texts".into(), Value::List(vec![Value::Int(1)]))]));
        assert!(error.unwrap_err().message().contains("expected a string or a function"));
    }
}
