//! Packer's `execute_command`: a template with `{{ .Path }}`, `{{ .Vars }}` and `{{ .EnvVarFile }}`.

use crate::engine::options::Env;
use crate::error::{Error, Kind, Result};

/// What the placeholders stand for.
pub struct Places<'a> {
    /// The script on the machine.
    pub path: &'a str,
    /// A file that exports the environment.
    pub env_file: &'a str,
    pub env: &'a Env,
}

/// Tells whether the template uses `{{ .EnvVarFile }}`.
pub fn wants_env_file(template: &str) -> bool {
    template.contains(".EnvVarFile")
}

/// Renders the template; a placeholder that does not exist is an error that names those that do.
pub fn render(template: &str, places: &Places<'_>) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let (name, tail) = after.split_once("}}").ok_or_else(|| wrong(template, "a `{{` without its `}}`"))?;
        match name.trim_matches('-').trim() {
            ".Path" => text.push_str(places.path),
            ".EnvVarFile" => text.push_str(places.env_file),
            ".Vars" => text.push_str(&assignments(places.env)),
            other => return Err(wrong(template, &format!("the placeholder {{{{ {other} }}}}"))),
        }
        rest = tail;
    }
    text.push_str(rest);
    if !template.contains(".Path") {
        return Err(Error::new(Kind::Option, format!("vm:shell: option `execute_command`: {template:?} runs nothing"))
            .hint("it must contain {{ .Path }}, which is the script on the machine"));
    }
    Ok(text)
}

/// Returns `A='1' B='2' `, in front of a command.
fn assignments(env: &Env) -> String {
    // What is taken away cannot be said in front of a command.
    let given = env.0.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    given.map(|(name, value)| format!("{name}='{}' ", value.replace('\'', r"'\''"))).collect()
}

fn wrong(template: &str, what: &str) -> Error {
    Error::new(Kind::Option, format!("vm:shell: option `execute_command`: {what} in {template:?} means nothing"))
        .hint("the placeholders are {{ .Path }}, {{ .Vars }} and {{ .EnvVarFile }}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rendered(template: &str) -> Result<String> {
        let env = Env(vec![("A".into(), Some("it's".into())), ("B".into(), Some(String::new()))]);
        render(template, &Places { path: "/tmp/x.sh", env_file: "/tmp/x.env", env: &env })
    }

    #[test]
    fn renders_what_packer_templates_say() {
        let text = rendered("echo 'v' | {{ .Vars }}sudo -S -E sh '{{.Path}}'").unwrap();
        assert_eq!(text, r"echo 'v' | A='it'\''s' B='' sudo -S -E sh '/tmp/x.sh'");
        assert_eq!(rendered(". {{.EnvVarFile}} && {{.Path}}").unwrap(), ". /tmp/x.env && /tmp/x.sh");
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        let error = rendered("{{ .Pth }}").unwrap_err();
        assert!(error.message().contains("{{ .Pth }}"), "{error}");
        assert!(rendered("sh {{ .Path").is_err());
        assert!(rendered("sh").unwrap_err().message().contains("runs nothing"));
    }

    proptest! {
        #[test]
        fn never_panics(template in "[{}. A-Za-z-]{0,30}") {
            let _ = rendered(&template);
        }
    }
}
