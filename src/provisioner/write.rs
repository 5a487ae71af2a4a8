//! `vm:write` and `vm:read`: small files, without a file on this host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt;
use super::place::Placement;
use super::result::CommandResult;
use super::run;
use super::wrap::Wrapped;
use crate::engine::communicator::too_large;
use crate::engine::operation::digest;
use crate::engine::options::FileMode;
use crate::engine::{Answer, FileMeta, Operation, Session, Sink, Source};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// Options of `vm:write` and `vm:template`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// Permission bits as an octal string; a new file's default is `"0644"`.
    pub mode: Option<FileMode>,
    /// The owner, `user` or `user:group`, as chown takes it.
    pub owner: Option<String>,
    /// The group, in place of one in `owner`.
    pub group: Option<String>,
    /// Whether it is written as root, by sudo where the user is not root; missing folders are made. A file that is
    /// there keeps owner and mode unless they are given.
    pub sudo: bool,
}

impl WriteOptions {
    /// Checks what can be known beforehand.
    pub(super) fn check(&self, path: &str) -> Result<()> {
        if path.ends_with('/') {
            return Err(Error::new(Kind::Option, format!("{path} names a folder, not a file"))
                .hint("say the file's name: there is no source to take one from"));
        }
        self.placement().map(drop)
    }

    fn placement(&self) -> Result<Placement> {
        Ok(Placement {
            owner: ownership("vm:write", self.owner.as_deref(), self.group.as_deref())?,
            mode: self.mode.map(FileMode::octal),
            new_mode: "644".into(),
            sudo: self.sudo,
        })
    }

    /// Tells whether more than the communicator's own upload is needed.
    fn needs_shell(&self) -> bool {
        self.sudo || self.owner.is_some() || self.group.is_some()
    }
}

/// Joins owner and group to what chown takes.
pub(super) fn ownership(of: &str, owner: Option<&str>, group: Option<&str>) -> Result<Option<String>> {
    for (name, value) in [("owner", owner), ("group", group)] {
        let part = value.unwrap_or("x");
        if part.is_empty() || part.contains(['\0', '\n']) || (name == "group" && part.contains(':')) {
            return Err(Error::new(Kind::Option, format!("{of}: option `{name}`: {part:?} is no name"))
                .field("option", name)
                .hint("expected a name or a number"));
        }
    }
    match (owner, group) {
        (Some(owner), Some(_)) if owner.contains(':') => {
            Err(Error::new(Kind::Option, format!("{of}: option `group`: `owner` names one already"))
                .field("option", "group"))
        }
        (owner, Some(group)) => Ok(Some(format!("{}:{group}", owner.unwrap_or_default()))),
        (owner, None) => Ok(owner.map(str::to_owned)),
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
pub async fn write(session: &Arc<Session>, path: &str, content: &[u8], options: &WriteOptions) -> Result<()> {
    check_path("vm:write", path)?;
    options.check(path)?;
    let request = serde_json::json!({ "path": path, "content": digest(content), "options": options });
    let operation = Operation::new("write", path, request);
    let file = Arc::new(File { path: path.to_owned(), content: content.to_vec(), options: options.clone() });
    session.perform(operation, move |session| put(session, file.clone())).await
}

/// A file to be written.
pub(super) struct File {
    pub path: String,
    pub content: Vec<u8>,
    pub options: WriteOptions,
}

/// Writes bytes inside an operation.
pub(super) async fn put(session: Arc<Session>, file: Arc<File>) -> Result<()> {
    let (session, File { path, content, options }) = (&*session, &*file);
    let placement = options.placement()?;
    let transfer = Some(uuid::Uuid::new_v4().as_u64_pair().0);
    attempt::reconnecting(session, |communicator| {
        let placement = &placement;
        async move {
            if options.needs_shell() {
                return placement.bytes(session, content, &absolute(session, path).await?).await;
            }
            let meta = FileMeta { mode: options.mode.map(|m| m.0), transfer };
            communicator.upload(Source::Bytes(content), path, meta, &Counter::default()).await.map(drop)
        }
    })
    .await
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
pub async fn read(session: &Arc<Session>, path: &str, options: &ReadOptions) -> Result<Vec<u8>> {
    check_path("vm:read", path)?;
    let operation = Operation::new("read", path, serde_json::json!({ "path": path, "options": options }));
    let asked = Arc::new((path.to_owned(), options.clone()));
    let content: Content = session
        .perform(operation.only_reads(), move |session| {
            let asked = asked.clone();
            async move { get(&session, &asked.0, &asked.1).await }
        })
        .await?;
    Ok(content.0)
}

/// Reads bytes inside an operation.
async fn get(session: &Session, path: &str, options: &ReadOptions) -> Result<Content> {
    attempt::reconnecting(session, |communicator| async move {
        if options.sudo {
            return read_as_root(session, &absolute(session, path).await?).await;
        }
        let mut bytes = Vec::new();
        communicator.download(path, Sink::Bytes(&mut bytes), &Counter::default()).await?;
        Ok(Content(bytes))
    })
    .await
}

/// Base64 keeps the bytes whole through a capture that is text.
async fn read_as_root(session: &Session, path: &str) -> Result<Content> {
    use base64::Engine;
    let wrapped =
        Wrapped { program: r#"base64 <"$1""#.into(), args: vec![path.to_owned()], sudo: true, ..Wrapped::default() };
    let result: CommandResult = run::ask(session, &wrapped).await?;
    if result.truncated {
        return Err(too_large(path));
    }
    let text: String = result.stdout.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes
        .map(Content)
        .map_err(|e| Error::new(Kind::Command, "base64 on the machine answered something else").caused_by(e))
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
        assert_eq!(mode(&bench.path("machine/disk/plain")), 0o600);
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
        let options = WriteOptions { sudo: true, mode: Some(FileMode(0o640)), owner: Some("1:2".into()), group: None };
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
