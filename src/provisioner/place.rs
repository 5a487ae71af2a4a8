//! Content put at its target with another owner, or as another user: whole or not at all.

use crate::communicator::scripts;
use crate::engine::Session;
use crate::error::Result;

use super::run;
use super::wrap::Wrapped;

/// Puts a file in place, from standard input or from where it was staged. Arguments: target, owner, mode, staged file,
/// mode of a new file, size (of what comes on standard input), a name for the time being.
///
/// Missing folders are made. A file that is there keeps its owner and mode unless they are given, and a link to one
/// stays a link; a device or pipe is written to as it is.
const PLACE: &str = concat!(
    "t=$1\n",
    crate::communicator::scripts::resolve!(),
    r#"[ -d "$d" ]||(umask 022;mkdir -p -- "$d")||exit 1
if [ -e "$t" ]&&[ ! -f "$t" ];then if [ -n "$4" ];then cat -- "$4" >"$t";else cat >"$t";fi;exit;fi
p=$d/$7
trap 'rm -f -- "$p"' EXIT;trap 'exit 1' HUP INT TERM PIPE
old=;mode=$3
if [ -f "$t" ];then
old=$(stat -c %u:%g -- "$t" 2>/dev/null||stat -f %u:%g -- "$t")||exit 1
[ -n "$mode" ]||mode=$(stat -c %a -- "$t" 2>/dev/null||stat -f %Mp%Lp -- "$t")||exit 1;fi
umask 077
if [ -n "$4" ];then cp -- "$4" "$p"||exit 1;else cat >"$p"||exit 1
n=$(wc -c <"$p")||exit 1
[ "$n" -eq "$6" ]||{ echo "$n of $6 bytes arrived" >&2;exit 1;};fi
[ -z "$old" ]||chown -- "$old" "$p"||exit 1
[ -z "$2" ]||chown -- "$2" "$p"||exit 1
chmod -- "${mode:-$5}" "$p"||exit 1
mv -f -- "$p" "$t" 2>/dev/null||cat -- "$p" >"$t""#
);

/// What something that is put in place is to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Placement {
    /// `user`, `user:group` or `:group`, as chown takes it; none keeps what is there.
    pub owner: Option<String>,
    /// Permission bits in octal; none keeps what is there.
    pub mode: Option<String>,
    /// Permission bits of a new file.
    pub new_mode: String,
    pub sudo: bool,
}

impl Placement {
    fn file(&self, target: &str, staged: &str, content: &[u8]) -> Wrapped {
        let args = [
            &scripts::operand(target),
            self.owner.as_deref().unwrap_or_default(),
            self.mode.as_deref().unwrap_or_default(),
            staged,
            &self.new_mode,
            &content.len().to_string(),
            &name(),
        ];
        Wrapped {
            program: PLACE.into(),
            args: args.map(str::to_owned).into(),
            stdin: content.to_vec(),
            sudo: self.sudo,
            ..Wrapped::default()
        }
    }

    /// Writes bytes to a file.
    pub(super) async fn bytes(&self, session: &Session, content: &[u8], target: &str) -> Result<()> {
        run::ask(session, &self.file(target, "", content)).await.map(drop)
    }

    /// Makes the file at the target of the staged one.
    pub(super) async fn staged_file(&self, session: &Session, staged: &str, target: &str) -> Result<()> {
        run::ask(session, &self.file(target, staged, &[])).await.map(drop)
    }

    /// Puts the content of the staged folder into the target.
    pub(super) async fn staged_tree(&self, session: &Session, staged: &str, target: &str) -> Result<()> {
        let owner = match (&self.owner, self.sudo) {
            (Some(owner), _) => owner.as_str(),
            (None, true) => "0:0",
            (None, false) => "",
        };
        let program = format!("if [ -n \"$6\" ];then chown -R -- \"$6\" \"$5\"||exit 1;fi\n{}", scripts::RECEIVE_TREE);
        let args = [&scripts::operand(target), &name(), "-", "-", staged, owner];
        let wrapped = Wrapped { program, args: args.map(str::to_owned).into(), sudo: self.sudo, ..Wrapped::default() };
        run::ask(session, &wrapped).await.map(drop)
    }
}

fn name() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!(".rimg-{}", id.get(..16).unwrap_or(&id))
}

/// A private folder on the machine where something waits for being put in place.
pub(super) struct Stage(String);

impl Stage {
    /// Thinks of one. Attempts at one transfer share it.
    pub(super) fn new() -> Stage {
        Stage(format!("/tmp/rimg-{}", uuid::Uuid::new_v4().simple()))
    }

    /// Returns the path of what is staged.
    pub(super) fn item(&self) -> String {
        format!("{}/x", self.0)
    }

    /// Makes it, empty, and returns the number of the user that it belongs to.
    pub(super) async fn make(&self, session: &Session) -> Result<String> {
        let program = r#"rm -rf -- "$1";umask 077;mkdir -- "$1"&&id -u"#.into();
        let make = Wrapped { program, args: vec![self.0.clone()], ..Wrapped::default() };
        Ok(run::ask(session, &make).await?.stdout.trim().to_owned())
    }

    /// Removes it: what is staged would end up in the image.
    pub(super) async fn remove(&self, session: &Session, sudo: bool) -> Result<()> {
        let program = r#"rm -rf -- "$1""#.into();
        let remove = Wrapped { program, args: vec![self.0.clone()], sudo, ..Wrapped::default() };
        run::ask(session, &remove).await.map(drop)
    }
}
