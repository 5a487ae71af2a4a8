//! Templates (minijinja): `{{ name }}`, `{% if %}`, `{% for %}`. A name that is not there is an error, never an empty string.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

use crate::error::{Error, Kind, Result};

/// Work one rendering may do, in instructions: an endless loop in a template must not hang the run.
const FUEL: u64 = 50_000_000;

/// Renders `text` with `vars`; `name` is what an error calls the template: a path, or `rimg.template`.
pub fn render(name: &str, text: &str, vars: &serde_json::Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Files end in a newline. Newlines after blocks stay too: trimming them would glue `80{% endif %}` to the next line.
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|e| Error::new(Kind::Internal, "template syntax").caused_by(e))?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    environment.render_named_str(name, text, Serde(vars)).map_err(|error| describe(name, text, vars, &error))
}

fn describe(name: &str, text: &str, vars: &serde_json::Value, error: &minijinja::Error) -> Error {
    let line = error.line().unwrap_or(0);
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let mut message = format!("{name}: line {line}: {what}");
    if let Some(source) = line.checked_sub(1).and_then(|n| text.lines().nth(n)) {
        message.push_str(&format!(" in `{}`", source.trim()));
    }
    let ours = Error::new(Kind::Script, message).field("line", line);
    match error.kind() {
        minijinja::ErrorKind::UndefinedError => {
            let names: Vec<_> = vars.as_object().into_iter().flat_map(|vars| vars.keys()).map(String::as_str).collect();
            ours.hint(match names.as_slice() {
                [] => "no variables were given".to_owned(),
                names => format!("the variables given are: {}", names.join(", ")),
            })
            .hint("where a value may be missing, write {{ name | default('') }}")
        }
        _ => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn renders_and_keeps_the_last_newline() {
        let vars = json!({ "name": "a<b", "n": 3, "list": [1, 2] });
        assert_eq!(render("t", "x {{ name }} {{ n }}\n", &vars).unwrap(), "x a<b 3\n");
        assert_eq!(render("x.html", "{% for i in list %}{{ i }},{% endfor %}{{ name }}", &vars).unwrap(), "1,2,a<b");
        assert_eq!(render("t", "{% if n %}80{% endif %}\nx\n", &vars).unwrap(), "80\nx\n");
        assert_eq!(render("t", "{{ missing | default('d') }}", &vars).unwrap(), "d");
    }

    #[test]
    fn a_missing_name_is_an_error_with_its_line() {
        let error = render("motd", "a\nb {{ nmae }}\n", &json!({ "name": "x" })).unwrap_err();
        assert!(error.message().starts_with("motd: line 2: undefined value"), "{error}");
        assert!(error.message().contains("{{ nmae }}"), "{error}");
        assert_eq!(error.hints()[0], "the variables given are: name");
        let error = render("motd", "a\n{% if %}", &json!({})).unwrap_err();
        assert!(error.message().starts_with("motd: line 2: syntax error"), "{error}");
    }
}
