//! `{{ .Name }}` in texts.

use super::source::Source;
use crate::engine::placeholders::Placeholders;

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
}
