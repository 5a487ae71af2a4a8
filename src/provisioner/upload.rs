//! `vm:upload`: files and trees of this host onto the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::{self, context};
use super::place::{Placement, Stage};
use super::write::{absolute, check_path, ownership};
use crate::communicator::tree;
use crate::engine::operation::digest;
use crate::engine::options::FileMode;
use crate::engine::replay::content;
use crate::engine::{BuildCx, Communicator, FileMeta, Operation, OperationOptions, Session, Source};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking;
use crate::ui::event::{Counter, Unit};

/// Options of `vm:upload`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadOptions {
    /// A file's permission bits as an octal string; the default is the file's own. Trees keep theirs.
    pub mode: Option<FileMode>,
    /// The owner, `user` or `user:group`, as chown takes it; of a tree, of all that is in it.
    pub owner: Option<String>,
    /// The group, in place of one in `owner`.
    pub group: Option<String>,
    /// Whether it is put in place as root, by sudo where the user is not root; missing folders are made.
    pub sudo: bool,
    /// Whether the source is only made in the course of the build: `rimg check` does not look for it.
    pub generated: bool,
}

/// An upload that attempts are made at.
struct Job {
    /// The source as the script names it, and where it is.
    src: String,
    local: PathBuf,
    is_tree: bool,
    target: String,
    /// The source's own permission bits.
    mode: u32,
    /// What the attempts have in common.
    transfer: u64,
    stage: Stage,
    options: UploadOptions,
    /// The digest of what is asked to be sent, where operations are known by it.
    content: Option<String>,
    /// The content of a small file, read once: what is sent is what was asked for, also when it is sent again after the
    /// script has changed the file.
    held: Option<Vec<u8>>,
}

/// How large a file may be that is held, in bytes.
const HELD: u64 = 1 << 20;

/// Uploads several files and folders into one folder, each under its own name, and returns the bytes sent.
pub async fn upload_all(session: &Arc<Session>, sources: &[String], dst: &str, options: &UploadOptions) -> Result<u64> {
    if sources.is_empty() {
        return Err(Error::new(Kind::Option, "vm:upload: the list of sources is empty"));
    }
    // With one that ends without a slash, each file would take the place of the one before.
    if !dst.ends_with('/') {
        return Err(Error::new(Kind::Option, format!("vm:upload: {dst:?} is no folder for several sources"))
            .hint(format!("end the target with a slash: {:?}", format!("{dst}/"))));
    }
    for src in sources {
        source(session, src, options).await?;
    }
    let (mut sent, mut current) = (0, OperationOptions::current());
    for src in sources {
        sent += current.clone().enter(upload(session, src, dst, options)).await?;
        current = current.after_first();
    }
    Ok(sent)
}

/// Looks at a source; none when it is still to be made.
async fn source(session: &Session, src: &str, options: &UploadOptions) -> Result<Option<std::fs::Metadata>> {
    let local = session.cx().settings.resolve(src);
    match tokio::fs::metadata(&local).await {
        Ok(meta) => Ok(Some(meta)),
        Err(_) if options.generated && session.is_pretended() => Ok(None),
        Err(e) => {
            let error = io_error("upload", &local, e);
            Err(error.hint("paths of a script's options start at the folder of the Lua script"))
        }
    }
}

/// Uploads a file or a folder and returns the bytes sent.
///
/// As in Packer (and rsync): the contents of `src/` go into the folder `dst`, the folder `src` itself goes into it as
/// `dst/src`. A file goes to the path `dst`, or into the folder where that ends with a slash.
pub async fn upload(session: &Arc<Session>, src: &str, dst: &str, options: &UploadOptions) -> Result<u64> {
    let (operation, job) = plan(session, src, dst, options, session.replays()).await?;
    carry_out(session, operation, job).await
}

async fn carry_out(session: &Arc<Session>, operation: Operation, job: Job) -> Result<u64> {
    let job = Arc::new(job);
    session
        .perform(operation, move |session| {
            let job = job.clone();
            async move { job.attempt(&session).await }
        })
        .await
}

/// Looks at the source and says what is to be sent; `keyed`: by its content.
async fn plan(
    session: &Session,
    src: &str,
    dst: &str,
    options: &UploadOptions,
    keyed: bool,
) -> Result<(Operation, Job)> {
    check_path("vm:upload", dst)?;
    let local = session.cx().settings.resolve(src);
    let found = source(session, src, options).await?;
    let is_tree = found.as_ref().is_some_and(std::fs::Metadata::is_dir);
    let keyed = keyed && found.is_some();
    let is_small = found.as_ref().is_some_and(|meta| meta.is_file() && meta.len() <= HELD);
    let source_mode = found.map_or(0, |meta| meta.permissions().mode() & 0o7777);
    if is_tree && options.mode.is_some() {
        return Err(Error::new(Kind::Option, "vm:upload: option `mode`: a folder's files keep their own modes")
            .hint("set them on this host, or by vm:run(\"chmod …\") afterwards"));
    }
    ownership("vm:upload", options.owner.as_deref(), options.group.as_deref())?;
    let target = if is_tree { tree_target(src, &local, dst) } else { file_target(&local, dst) };
    // What further attempts go on with.
    let (transfer, stage) = (uuid::Uuid::new_v4().as_u64_pair().0, Stage::new());
    let (src, options) = (src.to_owned(), options.clone());
    let mut job =
        Job { src, local, is_tree, target, mode: source_mode, transfer, stage, options, content: None, held: None };
    if keyed && is_small {
        let bytes = tokio::fs::read(&job.local).await.map_err(|e| io_error("upload", &job.local, e))?;
        job.content = Some(digest(&bytes));
        job.held = Some(bytes);
    } else if keyed {
        job.content = Some(job.digest(session).await?);
    }
    // What is sent and where it goes; where it comes from changes nothing.
    let request = serde_json::json!({
        "target": job.target,
        "tree": is_tree,
        "content": job.content,
        "mode": job.held.as_ref().filter(|_| job.options.mode.is_none()).map(|_| job.mode),
        "options": job.options,
    });
    let operation = Operation::new("upload", format!("{} -> {}", job.src, job.target), request).limits_itself();
    Ok((operation, job))
}

impl Job {
    async fn attempt(&self, session: &Session) -> Result<u64> {
        let cx = context(session);
        let total = match &self.held {
            Some(bytes) => bytes.len() as u64,
            None => size(&cx, &self.src, &self.local, self.is_tree).await?,
        };
        let sent = attempt::reconnecting(session, |communicator| {
            let cx = &cx;
            async move {
                let progress = cx.ui.progress(format!("uploading {}", self.src), Some(total), Unit::Bytes);
                send(session, &*communicator, self, &progress.counter()).await
            }
        })
        .await
        .map_err(|e| match (self.is_tree, e.kind()) {
            (false, Kind::Io | Kind::Command) => e.hint("to put a file into a folder, end the target with a slash"),
            _ => e,
        })?;
        // Else the machine would have something else than its operation says, for every replay.
        if let Some(asked) = self.content.as_ref().filter(|_| self.held.is_none())
            && self.digest(session).await? != *asked
        {
            return Err(Error::new(Kind::Io, format!("{} changed while it was read", self.local.display()))
                .hint("let nothing write to it until it is uploaded, or run the build again"));
        }
        Ok(sent)
    }

    /// Returns the digest of all that is sent: the mode, too, unless another one is asked for.
    async fn digest(&self, session: &Session) -> Result<String> {
        match self.options.mode {
            Some(_) => content::file(&self.local, session.cx()).await,
            None => content::tree(&self.local, session.cx()).await,
        }
    }
}

async fn send(session: &Session, communicator: &dyn Communicator, job: &Job, counter: &Counter) -> Result<u64> {
    let options = &job.options;
    let mode = options.mode.map(|m| m.0);
    let (source, mode) = match &job.held {
        Some(bytes) => (Source::Bytes(bytes), mode.or(Some(job.mode))),
        None if job.is_tree => (Source::Tree(&job.local), mode),
        None => (Source::File(&job.local), mode),
    };
    let meta = FileMeta { mode, transfer: Some(job.transfer) };
    let owner = ownership("vm:upload", options.owner.as_deref(), options.group.as_deref())?;
    if !options.sudo && owner.is_none() {
        return attempt::limited(
            OperationOptions::current().timeout,
            communicator.upload(source, &job.target, meta, counter),
        )
        .await;
    }
    // It goes to a place of the user's own first: the user may not write to the target, and nobody is to see it there
    // with another owner.
    let placement = Placement {
        owner,
        mode: options.mode.map(FileMode::octal),
        new_mode: format!("{:o}", job.mode),
        sudo: options.sudo,
    };
    job.stage.make(session).await?;
    let placed = attempt::limited(OperationOptions::current().timeout, async {
        let inner = job.stage.item();
        let sent = communicator.upload(source, &inner, meta, counter).await?;
        let target = absolute(session, &job.target).await?;
        match job.is_tree {
            true => placement.staged_tree(session, &inner, &target).await?,
            false => placement.staged_file(session, &inner, &target).await?,
        }
        Ok(sent)
    })
    .await;
    if placed.as_ref().is_err_and(attempt::is_lost) {
        return placed;
    }
    // Also after a timeout.
    let removed = job.stage.remove(session, options.sudo).await;
    let sent = placed?;
    removed?;
    Ok(sent)
}

fn file_target(local: &Path, dst: &str) -> String {
    match local.file_name() {
        Some(name) if dst.ends_with('/') => format!("{dst}{}", name.to_string_lossy()),
        _ => dst.to_owned(),
    }
}

fn tree_target(src: &str, local: &Path, dst: &str) -> String {
    let contents = src.ends_with('/') || src.ends_with("/.") || src == ".";
    match local.file_name() {
        Some(name) if !contents => format!("{}/{}", dst.trim_end_matches('/'), name.to_string_lossy()),
        _ => match dst.trim_end_matches('/') {
            "" => "/".to_owned(),
            dst => dst.to_owned(),
        },
    }
}

/// Returns the bytes of content to send, for the counter; warns of what is not sent.
async fn size(cx: &BuildCx, src: &str, local: &Path, is_tree: bool) -> Result<u64> {
    if !is_tree {
        return tokio::fs::metadata(local).await.map(|meta| meta.len()).map_err(|e| io_error("upload", local, e));
    }
    let root = local.to_owned();
    let survey = blocking::run(move |_| tree::survey(&root)).await?;
    for path in &survey.special {
        cx.ui.warn(format!("left out of the upload of {src}: {} (no file, folder or link)", path.display()));
    }
    Ok(survey.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Seconds;
    use crate::provisioner::testing::Bench;

    #[test]
    fn a_trailing_slash_says_contents_or_folder() {
        let tree = |src: &str, dst: &str| tree_target(src, &Path::new("/s").join(src), dst);
        assert_eq!(tree("conf", "/etc/app"), "/etc/app/conf");
        assert_eq!(tree("conf", "/etc/app/"), "/etc/app/conf");
        assert_eq!(tree("conf/", "/etc/app"), "/etc/app");
        assert_eq!(tree("a/conf/.", "/etc/app/"), "/etc/app");
        assert_eq!(tree("conf/", "/"), "/");
        assert_eq!(tree("conf", "/"), "/conf");
        assert_eq!(file_target(Path::new("/s/a.txt"), "/tmp/"), "/tmp/a.txt");
        assert_eq!(file_target(Path::new("/s/a.txt"), "/tmp/b"), "/tmp/b");
    }

    #[tokio::test]
    async fn a_missing_source_is_named_in_full_and_nothing_is_asked() {
        let bench = Bench::pretended();
        let error = upload(&bench.session, "gone", "/tmp/x", &UploadOptions::default()).await.unwrap_err();
        assert!(error.message().contains(&bench.path("script/gone")), "{error}");
    }

    #[tokio::test]
    async fn a_request_holds_what_is_sent_and_something_else_is_not_sent_for_it() {
        let (bench, options) = (Bench::new(), UploadOptions::default());
        let planned = async |src: &str, options: &UploadOptions| {
            plan(&bench.session, src, "/tmp/rimg-never", options, true).await.unwrap()
        };
        let request = async |src: &str, options: &UploadOptions| planned(src, options).await.0.request;
        for name in ["one", "two", "tree/a"] {
            std::fs::create_dir_all(bench.path("script/tree")).unwrap();
            bench.script(name, b"content");
        }
        let base = request("one", &options).await;
        assert!(
            base["content"].as_str().unwrap().starts_with("blake3:") && !base.to_string().contains("one"),
            "{base}"
        );
        assert_eq!(request("two", &options).await, base);
        let path = |name: &str| bench.dir.path().join("script").join(name);
        // The mode counts where it is taken from the file.
        let fixed = UploadOptions { mode: Some(FileMode(0o644)), ..options.clone() };
        let with_mode = request("two", &fixed).await;
        std::fs::set_permissions(path("two"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(request("two", &options).await, base);
        assert_eq!(request("two", &fixed).await, with_mode);
        let tree = request("tree/", &options).await;
        bench.script("tree/a", b"other");
        assert_ne!(request("tree/", &options).await, tree);
        // It changes after the plan was made.
        let target = bench.path("machine/disk/x");
        bench.script("big", &vec![b'x'; 2 << 20]);
        for (src, changed) in [("big", "big"), ("tree/", "tree/b")] {
            let (operation, job) = plan(&bench.session, src, &target, &options, true).await.unwrap();
            bench.script(changed, b"changed");
            let error = carry_out(&bench.session, operation, job).await.unwrap_err();
            assert!(error.message().contains("changed while it was read"), "{error}");
            std::fs::remove_file(&target).unwrap_or_default();
            std::fs::create_dir_all(&target).unwrap();
            let (operation, job) = plan(&bench.session, src, &format!("{target}/"), &options, true).await.unwrap();
            carry_out(&bench.session, operation, job).await.unwrap();
        }
        // What is small is sent as it was.
        let (operation, job) = plan(&bench.session, "one", &format!("{target}/"), &options, true).await.unwrap();
        bench.script("one", b"changed");
        carry_out(&bench.session, operation, job).await.unwrap();
        assert_eq!(std::fs::read(Path::new(&target).join("one")).unwrap(), b"content");
        let (operation, _) = plan(&bench.session, "one", &target, &options, false).await.unwrap();
        assert_eq!(operation.request["content"], serde_json::Value::Null);
    }

    #[tokio::test]
    async fn a_list_goes_into_a_folder_and_only_a_check_does_without_what_is_still_to_be_made() {
        let (bench, options) = (Bench::new(), UploadOptions::default());
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        bench.script("one", b"1");
        bench.script("two", b"22");
        let there = format!("{}/", bench.path("there"));
        std::fs::create_dir_all(&there).unwrap();
        // The missing one is noticed before any is sent.
        let error = upload_all(&bench.session, &list(&["one", "gone"]), &there, &options).await.unwrap_err();
        assert!(error.message().contains(&bench.path("script/gone")), "{error}");
        assert!(!Path::new(&there).join("one").exists());
        let generated = UploadOptions { generated: true, ..UploadOptions::default() };
        upload(&bench.session, "gone", &there, &generated).await.unwrap_err();
        assert_eq!(upload_all(&bench.session, &list(&["one", "two"]), &there, &options).await.unwrap(), 3);
        assert_eq!(std::fs::read(Path::new(&there).join("two")).unwrap(), b"22");
        for (names, to) in [(&["one", "two"][..], "/tmp/x"), (&[], "/tmp/x/")] {
            let error = upload_all(&bench.session, &list(names), to, &options).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Option, "{error}");
        }
        let pretended = Bench::pretended();
        assert_eq!(upload(&pretended.session, "gone", "/tmp/x", &generated).await.unwrap(), 0);
        upload(&pretended.session, "gone", "/tmp/x", &options).await.unwrap_err();
    }

    #[tokio::test]
    async fn root_places_what_was_staged_and_nothing_is_left() {
        use std::os::unix::fs::MetadataExt;
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let bench = Bench::new();
        bench.script("one", b"new content");
        let target = bench.path("deep/er/one");
        let options = UploadOptions { sudo: true, ..UploadOptions::default() };
        assert_eq!(upload(&bench.session, "one", &target, &options.clone()).await.unwrap(), 11);
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o604)).unwrap();
        upload(&bench.session, "one", &target, &options.clone()).await.unwrap();
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o604);
        let owned = UploadOptions { mode: Some(FileMode(0o400)), owner: Some("3:4".into()), ..options.clone() };
        upload(&bench.session, "one", &target, &owned).await.unwrap();
        let meta = std::fs::metadata(&target).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o400, 3, 4));
        let tree = bench.dir.path().join("script/tree/sub");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("f"), "x").unwrap();
        let with_mode = UploadOptions { mode: Some(FileMode(0o1)), ..options.clone() };
        let error = upload(&bench.session, "tree", "/x", &with_mode).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Option);
        std::fs::create_dir_all(bench.path("place")).unwrap();
        std::fs::write(bench.path("place/kept"), "k").unwrap();
        upload(&bench.session, "tree/", &bench.path("place"), &options).await.unwrap();
        upload(&bench.session, "tree", &bench.path("place"), &options).await.unwrap();
        for path in ["place/kept", "place/sub/f", "place/tree/sub/f"] {
            assert!(Path::new(&bench.path(path)).is_file(), "{path}");
        }
        let hurried = OperationOptions { timeout: Seconds::parse("0"), ..OperationOptions::default() };
        let error = hurried.enter(upload(&bench.session, "one", &target, &options)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        for command in bench.commands().iter().filter(|c| c.contains(";mkdir -- ")) {
            let place = command.split_whitespace().last().unwrap();
            assert!(place.starts_with("/tmp/rimg-") && !Path::new(place).exists(), "{place}");
        }
    }
}
