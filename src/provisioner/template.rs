//! `vm:template`: a file of this host, rendered, on the machine.

use std::sync::Arc;

use super::write::{self, WriteOptions};
use crate::engine::operation::digest;
use crate::engine::{Operation, Session, template};
use crate::error::{Error, Kind, Result};

/// Renders the template file `src` with `vars` and writes it to `to`. A variable that is not there is an error.
pub async fn template(
    session: &Arc<Session>,
    src: &str,
    to: &str,
    vars: &serde_json::Value,
    options: &WriteOptions,
) -> Result<()> {
    write::check_path("vm:template", to)?;
    options.check(to)?;
    let bytes = session.cx().read_file(src).await.map_err(|e| e.within("vm:template"))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::new(Kind::Option, format!("vm:template: {src} is not UTF-8 text")).caused_by(e))?;
    let rendered = template::render(src, &text, vars)?;
    let request = serde_json::json!({ "path": to, "content": digest(rendered.as_bytes()), "options": options });
    let operation = Operation::new("template", format!("{src} -> {to}"), request);
    let file = Arc::new(write::File { path: to.to_owned(), content: rendered.into_bytes(), options: options.clone() });
    session.perform(operation, move |session| write::put(session, file.clone())).await
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
        let text = std::fs::read_to_string(bench.path("machine/disk/site.conf")).unwrap();
        assert_eq!(text, "server <web>;\nlisten 80;\nlisten 443;\n");
    }

    #[tokio::test]
    async fn what_cannot_be_rendered_fails_before_anything_is_asked() {
        let bench = Bench::pretended();
        bench.script("a.conf", b"x\n{{ nam }}\n");
        let options = WriteOptions::default();
        let error = template(&bench.session, "a.conf", "a", &vars(), &options).await.unwrap_err();
        assert!(error.message().contains("a.conf: line 2"), "{error}");
        let error = template(&bench.session, "gone.conf", "a", &vars(), &options).await.unwrap_err();
        assert!(error.message().contains(&bench.path("script/gone.conf")), "{error}");
    }
}
