//! `vm:write` and `vm:read`: small files, without a file on this host.

use serde::{Deserialize, Serialize};

use super::result::CommandResult;
use super::run;
use super::wrap::Wrapped;
use crate::engine::operation::digest;
use crate::engine::options::FileMode;
use crate::engine::{Answer, FileMeta, Operation, Session, Sink, Source};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// How much `vm:read` takes: content that becomes a Lua string.
const READ_LIMIT: u64 = 64 << 20;

/// Options of `vm:write` and `vm:template`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// Permission bits as an octal string; a new file's default is `"0644"`.
    pub mode: Option<FileMode>,
    /// The owner, `user` or `user:group`, as chown takes it.
    pub owner: Option<String>,
    /// Whether it is written as root, by sudo where the user is not root; missing folders are made. A file that is
    /// there keeps owner and mode unless they are given.
    pub sudo: bool,
}

impl WriteOptions {
    /// Returns shell code that gives the file `$1` its owner (`$2`) and mode (`$3`).
    pub(super) fn finish(&self) -> String {
        let owner = if self.owner.is_some() { "&&chown -- \"$2\" \"$1\"" } else { "" };
        let mode = if self.mode.is_some() { "&&chmod -- \"$3\" \"$1\"" } else { "" };
        format!("{owner}{mode}")
    }

    pub(super) fn args(&self, to: &str) -> Vec<String> {
        vec![to.to_owned(), self.owner.clone().unwrap_or_default(), self.mode.map(FileMode::octal).unwrap_or_default()]
    }

    /// Tells whether more than the communicator's own upload is needed.
    pub(super) fn needs_shell(&self) -> bool {
        self.sudo || self.owner.is_some()
    }
}

/// Options of `vm:read`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// Whether it is read as root, by sudo where the user is not root.
    pub sudo: bool,
}

/// Writes bytes to a file on the machine.
pub async fn write(session: &Session, path: &str, content: &[u8], options: &WriteOptions) -> Result<()> {
    check_path("vm:write", path)?;
    let request = serde_json::json!({ "path": path, "content": digest(content), "options": options });
    let operation = Operation::new("write", path, request);
    session.perform(operation, || put(session, path, content, options)).await
}

/// Writes bytes inside an operation.
pub(super) async fn put(session: &Session, path: &str, content: &[u8], options: &WriteOptions) -> Result<()> {
    if options.needs_shell() {
        let path = absolute(session, path).await?;
        // The mode is in force before the content is there: it may be a secret.
        let umask = if options.mode.is_some() { "umask 077;" } else { "" };
        let make = r#"d=$(dirname -- "$1")&&(umask 022;mkdir -p -- "$d")&&"#;
        let program = format!(r#"{make}({umask}cat >"$1"){}"#, options.finish());
        let wrapped = Wrapped {
            program,
            args: options.args(&path),
            stdin: content.to_vec(),
            sudo: options.sudo,
            ..Wrapped::default()
        };
        run::ask(session, &wrapped).await?;
        return Ok(());
    }
    let meta = FileMeta { mode: options.mode.map(|m| m.0) };
    session.communicator().await?.upload(Source::Bytes(content), path, meta, &Counter::default()).await?;
    Ok(())
}

/// A file's bytes, as an operation's result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Content, D::Error> {
        use base64::Engine;
        let text = String::deserialize(deserializer)?;
        base64::engine::general_purpose::STANDARD.decode(text).map(Content).map_err(serde::de::Error::custom)
    }
}

impl Answer for Content {
    fn done(_: &Operation) -> Self {
        Content::default()
    }
}

/// Returns the bytes of a file on the machine.
pub async fn read(session: &Session, path: &str, options: &ReadOptions) -> Result<Vec<u8>> {
    check_path("vm:read", path)?;
    let operation = Operation::new("read", path, serde_json::json!({ "path": path, "options": options }));
    let content: Content = session
        .perform(operation, || async {
            if options.sudo {
                return read_as_root(session, &absolute(session, path).await?).await;
            }
            let mut bytes = Vec::new();
            session.communicator().await?.download(path, Sink::Bytes(&mut bytes), &Counter::default()).await?;
            Ok(Content(bytes))
        })
        .await?;
    if content.0.len() as u64 > READ_LIMIT {
        return Err(too_large(session, path));
    }
    Ok(content.0)
}

/// Base64 keeps the bytes whole through a capture that is text.
async fn read_as_root(session: &Session, path: &str) -> Result<Content> {
    use base64::Engine;
    let wrapped =
        Wrapped { program: r#"base64 <"$1""#.into(), args: vec![path.to_owned()], sudo: true, ..Wrapped::default() };
    let result: CommandResult = run::ask(session, &wrapped).await?;
    if result.truncated {
        return Err(too_large(session, path));
    }
    let text: String = result.stdout.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes
        .map(Content)
        .map_err(|e| Error::new(Kind::Command, "base64 on the machine answered something else").caused_by(e))
}

fn too_large(session: &Session, path: &str) -> Error {
    Error::new(Kind::Unsupported, format!("{}: {path} is too large for vm:read", session.name()))
        .hint("use vm:download, which goes to a file")
}

/// Refuses a path that cannot name a file.
pub(super) fn check_path(of: &str, path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::new(Kind::Option, format!("{of}: {path:?} is not a path on the machine")));
    }
    Ok(())
}

/// Makes `~/x` an absolute path for a shell program, where a quoted `~` is only a character and root has another home.
pub(super) async fn absolute(session: &Session, path: &str) -> Result<String> {
    const NOTE: &str = "home";
    let rest = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => return Ok(path.to_owned()),
    };
    let home = match session.noted(NOTE).as_ref().and_then(|note| note.as_str()) {
        Some(home) => home.to_owned(),
        None => {
            let wrapped = Wrapped { program: r#"printf %s "$HOME""#.into(), ..Wrapped::default() };
            let home = run::ask(session, &wrapped).await?.stdout;
            session.note(NOTE, home.clone().into());
            home
        }
    };
    Ok(format!("{}{rest}", home.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &str) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn writes_and_reads_any_bytes() {
        let bench = Bench::new();
        let bytes: Vec<u8> = (0..=255).collect();
        let options = WriteOptions { mode: Some(FileMode(0o600)), ..WriteOptions::default() };
        write(&bench.session, "~/plain", &bytes, &options).await.unwrap();
        assert_eq!(mode(&bench.path("home/plain")), 0o600);
        assert_eq!(read(&bench.session, "plain", &ReadOptions::default()).await.unwrap(), bytes);
        let error = read(&bench.session, "gone", &ReadOptions::default()).await.unwrap_err();
        assert!(error.message().contains("vm: read `gone`"), "{error}");
        assert!(write(&bench.session, "", b"", &options).await.is_err());
    }

    #[tokio::test]
    async fn as_root_it_makes_folders_and_keeps_what_is_there() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let bench = Bench::new();
        let bytes: Vec<u8> = (0..=255).rev().collect();
        let path = bench.path("a b/c'd/file");
        let options = WriteOptions { sudo: true, mode: Some(FileMode(0o640)), owner: Some("1:2".into()) };
        write(&bench.session, &path, &bytes, &options).await.unwrap();
        assert_eq!(mode(&path), 0o640);
        write(&bench.session, &path, b"new", &WriteOptions { sudo: true, ..WriteOptions::default() }).await.unwrap();
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((mode(&path), meta.uid(), meta.gid(), meta.len()), (0o640, 1, 2, 3));
        write(&bench.session, &path, &bytes, &options).await.unwrap();
        assert_eq!(read(&bench.session, &path, &ReadOptions { sudo: true }).await.unwrap(), bytes);
    }
}
