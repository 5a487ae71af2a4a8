//! The frame of a call: its options, what it answers, and how both come from and go to a script.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::builder::amazon::{Client, wrong};
use crate::engine::options::{decode, fields, long_form};
use crate::engine::{BuildCx, Value};
use crate::error::{Error, Kind, Result};

/// One thing that AWS can be asked; the struct holds its options.
pub trait Request: DeserializeOwned + Send + 'static {
    type Answer: Serialize;

    /// `images` is `aws:images{…}`.
    const NAME: &'static str;
    /// The option that may stand before the table: `aws:image("ami-1")`.
    const FIRST: Option<&'static str> = None;
    /// The LuaLS class of its options, where there are others than the first.
    const CLASS: Option<&'static str> = None;

    /// Checks what can be told without asking anybody.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the actions that a policy must allow.
    fn actions(&self) -> Vec<&'static str>;

    /// Returns what is answered where nobody may be asked (`rimg check`).
    fn pretended(&self) -> Self::Answer;

    /// Asks AWS.
    fn ask(self, client: &Client, cx: &BuildCx) -> impl Future<Output = Result<Self::Answer>> + Send;
}

/// What asks AWS, once it is called.
pub type Asking = Box<dyn FnOnce(Client, BuildCx) -> Pin<Box<dyn Future<Output = Result<Json>> + Send>> + Send>;

/// A request whose options are checked.
pub struct Prepared {
    pub actions: Vec<&'static str>,
    pub pretended: Json,
    pub ask: Asking,
}

/// One method of a client.
pub struct Call {
    pub name: &'static str,
    pub first: Option<&'static str>,
    pub class: Option<&'static str>,
    /// Lists the names of its options.
    pub fields: fn() -> &'static [&'static str],
    prepare: fn(&str, Value) -> Result<Prepared>,
}

/// Returns the entry of a request in a table of calls.
pub const fn call<R: Request>() -> Call {
    Call { name: R::NAME, first: R::FIRST, class: R::CLASS, fields: fields::<R>, prepare: prepare::<R> }
}

impl Call {
    /// Takes what a script gave, `aws:tag("ami-1", { tags = … })`, and checks it. No side effects.
    pub fn prepare(&self, first: Value, second: Value) -> Result<Prepared> {
        let of = format!("aws:{}", self.name);
        let options = self.options(first, second).map_err(|e| e.within(&of))?;
        (self.prepare)(&of, options)
    }

    /// Makes one table of the option that may stand before it, and the table.
    fn options(&self, first: Value, second: Value) -> Result<Value> {
        let (first, name) = match self.first {
            Some(name) => (long_form(first, name), name),
            None => (first, "its options"),
        };
        let (mut entries, more) = match (first, second) {
            (first, Value::Nil) => return Ok(first),
            (Value::Nil, second) => return Ok(second),
            (Value::Map(entries), Value::Map(more)) => (entries, more),
            (Value::Map(_), other) => {
                return Err(wrong_type(format!(
                    "expected a table of options after {name}, found {}",
                    other.describe()
                )));
            }
            (other, _) => return Err(wrong_type(format!("expected {name}, found {}", other.describe()))),
        };
        if let Some((twice, _)) = more.iter().find(|(name, _)| entries.iter().any(|(other, _)| other == name)) {
            return Err(wrong_type(format!("option `{twice}` is given twice")));
        }
        entries.extend(more);
        Ok(Value::Map(entries))
    }
}

fn wrong_type(message: String) -> Error {
    Error::new(Kind::Option, message)
}

fn prepare<R: Request>(of: &str, options: Value) -> Result<Prepared> {
    let request: R = decode(of, options)?;
    request.check().map_err(|e| e.within(of))?;
    let of = of.to_owned();
    Ok(Prepared {
        actions: request.actions(),
        pretended: json(&request.pretended())?,
        ask: Box::new(move |client, cx| {
            Box::pin(async move {
                let answer = request.ask(&client, &cx).await.map_err(|e| e.within(&of))?;
                json(&answer)
            })
        }),
    })
}

fn json(answer: &impl Serialize) -> Result<Json> {
    let made = serde_json::to_value(answer);
    made.map_err(|e| Error::new(Kind::Internal, "an answer of AWS cannot be given to the script").caused_by(e))
}

/// Checks an option that must be given.
pub fn required(option: &'static str, value: &str) -> Result<()> {
    if value.is_empty() { Err(wrong(option, "is required")) } else { Ok(()) }
}

/// Checks a list that must have something in it, and no empty names.
pub fn some(option: &'static str, values: &[String]) -> Result<()> {
    match values {
        [] => Err(wrong(option, "is required")),
        _ if values.iter().any(String::is_empty) => Err(wrong(option, "has an empty string in it")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::builder::amazon::calls;

    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Thing {
        ids: Vec<String>,
        wait: Option<bool>,
    }

    impl Request for Thing {
        type Answer = String;
        const NAME: &'static str = "thing";
        const FIRST: Option<&'static str> = Some("ids");
        fn check(&self) -> Result<()> {
            some("ids", &self.ids)
        }
        fn actions(&self) -> Vec<&'static str> {
            if self.wait == Some(true) { vec!["ec2:Thing", "ec2:DescribeThings"] } else { vec!["ec2:Thing"] }
        }
        fn pretended(&self) -> String {
            self.ids.join(" ")
        }
        async fn ask(self, _: &Client, _: &BuildCx) -> Result<String> {
            Ok(self.pretended())
        }
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn text(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    #[test]
    fn an_id_may_stand_before_the_table_or_in_it() {
        let call = call::<Thing>();
        let wait = map(&[("wait", Value::Bool(true))]);
        let list = Value::List(vec![text("a"), text("b")]);
        for (first, second, expected) in [
            (text("a"), Value::Nil, "a"),
            (text("a"), wait.clone(), "a"),
            (list.clone(), wait.clone(), "a b"),
            (map(&[("ids", list.clone()), ("wait", Value::Bool(true))]), Value::Nil, "a b"),
            (map(&[("1", text("a")), ("wait", Value::Bool(true))]), Value::Nil, "a"),
        ] {
            assert_eq!(call.prepare(first, second).unwrap().pretended, expected);
        }
        assert_eq!(call.prepare(text("a"), wait.clone()).unwrap().actions, ["ec2:Thing", "ec2:DescribeThings"]);
        let twice = map(&[("ids", text("b"))]);
        for (first, second, expected) in [
            (text("a"), twice, "aws:thing: option `ids` is given twice"),
            (text("a"), Value::Int(1), "aws:thing: expected a table of options after ids, found the number 1"),
            (Value::Bool(true), wait, "aws:thing: expected ids, found the boolean true"),
            (Value::Nil, Value::Nil, "aws:thing: option `ids`: is required"),
        ] {
            assert_eq!(call.prepare(first, second).err().unwrap().message(), expected);
        }
        let unknown = call.prepare(text("a"), map(&[("wiat", Value::Bool(true))])).err().unwrap();
        assert_eq!(unknown.hints(), ["did you mean `wait`?"]);
    }

    #[test]
    fn options_that_no_class_documents_stand_first() {
        for call in calls::all().filter(|call| call.class.is_none()) {
            let first: Vec<&str> = call.first.into_iter().collect();
            assert_eq!((call.fields)(), first, "{}", call.name);
        }
    }

    #[test]
    fn names_are_there_once_and_actions_are_named_as_policies_have_them() {
        let mut names: Vec<_> = calls::all().map(|call| call.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), calls::all().count());
        for call in calls::all() {
            if let Some(first) = call.first {
                assert!((call.fields)().contains(&first), "{}", call.name);
            }
        }
    }
}
