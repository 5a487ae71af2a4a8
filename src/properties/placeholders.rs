//! `{{ .Name }}` in texts.

use super::source::Source;
use crate::engine::placeholders::Placeholders;
use crate::engine::template;

/// What is around a placeholder stays as it is, and an unknown one is an error that names it.
pub(super) fn holds(data: &[u8]) {
    let values = Placeholders::default().with("HTTPIP", "{{ .Name }}").with("Name", "x");
    let text = String::from_utf8_lossy(data);
    match values.fill(&text) {
        Ok(filled) => assert!(text.contains("{{") || filled == text),
        Err(error) => assert!(error.message().contains("{{ ."), "{error}"),
    }
    let mut source = Source::new(data);
    let (mut template, mut expected) = (String::new(), String::new());
    while !source.is_empty() {
        let (written, meant) = source.pick(&[
            ("{{ .Name }}", "x"),
            ("{{.Name}}", "x"),
            ("{{- .HTTPIP -}}", "{{ .Name }}"),
            ("a{b", "a{b"),
            ("}} ", "}} "),
            ("{{ x }} ", "{{ x }} "),
            ("é", "é"),
        ]);
        template.push_str(written);
        expected.push_str(meant);
    }
    assert_eq!(values.fill(&template).unwrap(), expected, "{template:?}");
    templates(&text, &mut Source::new(data));
}

/// A whole template, with blocks, is rendered or refused with its line.
fn templates(text: &str, source: &mut Source<'_>) {
    let vars = serde_json::json!({ "name": "x", "list": [1, "é"], "deep": { "a": null } });
    let made: String = (0..12).map(|_| source.pick(BLOCKS)).collect();
    for text in [text, &made] {
        match template::render("t", text, &vars) {
            Ok(rendered) => assert!(text.contains(['{', '\r']) || rendered == *text, "{text:?}"),
            Err(error) => assert!(error.message().starts_with("t: line "), "{error}"),
        }
    }
}

const BLOCKS: &[&str] = &[
    "a",
    "{{ name }}",
    "{% if name %}",
    "{% endif %}",
    "{% for x in list %}",
    "{% endfor %}",
    "{{ x|upper }}",
    "{{ deep.a.b }}",
    "{# note",
    "#}",
    "{% raw %}",
    "{{ [1, 2][",
    "{% set y = list %}",
    "\n",
    "{{ name * 3 }}",
    "{% macro m() %}",
];
