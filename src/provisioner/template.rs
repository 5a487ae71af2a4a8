//! `vm:template`: a file of this host, rendered, on the machine.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use super::values::digest;
use super::write::{self, WriteOptions};
use crate::engine::{Operation, Session};
use crate::error::{Context, Error, Kind, Result};

/// Renders the template file `src` with `vars` and writes it to `to`. A variable that is not there is an error.
pub async fn template(
    session: &Session,
    src: &str,
    to: &str,
    vars: &serde_json::Value,
    options: &WriteOptions,
) -> Result<()> {
    write::check_path("vm:template", to)?;
    let bytes = session.cx().read_file(src).await.map_err(|e| e.within("vm:template"))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::new(Kind::Option, format!("vm:template: {src} is not UTF-8 text")).caused_by(e))?;
    let rendered = render(src, &text, vars)?;
    let request = serde_json::json!({ "path": to, "content": digest(rendered.as_bytes()), "options": options });
    let operation = Operation::new("template", format!("{src} -> {to}"), request);
    session.perform(operation, || write::put(session, to, rendered.as_bytes(), options)).await
}

/// Renders a template; its name is what errors call it.
pub fn render(name: &str, text: &str, vars: &serde_json::Value) -> Result<String> {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    let mut environment = Environment::new();
    environment.set_syntax(syntax.context(Kind::Internal, "the template syntax is wrong")?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.render_named_str(name, text, minijinja::value::Serde(vars)).map_err(|e| {
        let line = e.line().map(|line| format!(":{line}")).unwrap_or_default();
        let detail = e.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        let error = Error::new(Kind::Option, format!("template {name}{line}: {}{detail}", e.kind()));
        match e.kind() {
            minijinja::ErrorKind::UndefinedError => {
                error.hint("give the variable in the table of variables, or a default: {{ name | default('x') }}")
            }
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    fn vars() -> serde_json::Value {
        serde_json::json!({ "name": "<web>", "ports": [80, 443] })
    }

    #[tokio::test]
    async fn renders_onto_the_machine() {
        let bench = Bench::new();
        bench.script("site.conf.html", b"server {{ name }};\n{% for p in ports %}listen {{ p }};\n{% endfor %}");
        template(&bench.session, "site.conf.html", "site.conf", &vars(), &WriteOptions::default()).await.unwrap();
        let text = std::fs::read_to_string(bench.path("home/site.conf")).unwrap();
        assert_eq!(text, "server <web>;\nlisten 80;\nlisten 443;\n");
    }

    #[test]
    fn an_undefined_variable_is_named_with_its_line() {
        let error = render("a.conf", "x\n{{ nam }}", &vars()).unwrap_err();
        assert!(error.message().starts_with("template a.conf:2: undefined value"), "{error}");
        assert!(!error.hints().is_empty());
        assert!(render("a.conf", "{% if %}", &vars()).unwrap_err().message().contains("a.conf:1"));
    }
}
