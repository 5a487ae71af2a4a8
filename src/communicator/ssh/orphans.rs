//! Commands that go on when nobody waits for them any more.
//!
//! A client that closes a channel takes the command's output away and no more: one that writes nothing does not notice.
//! OpenSSH signals the commands of a login on request, but not those of root, nor what a login runs by sudo. So what a
//! closed channel has left is looked for over the connection that it was one of: a child of the same server process whose
//! output nobody reads any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::ChannelMsg;
use russh::client::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use tokio_util::task::TaskTracker;

use super::attempt::Client;
use crate::engine::quote;

/// How long looking for them and ending them may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How often, and after which pause, a refused channel is asked for again.
const REOPEN: (u32, Duration) = (40, Duration::from_millis(25));

/// Finds the session that this shell is in and the server that is its parent, and goes on as root: whose files these are.
const FIND: &str = r#"reap=$1;[ -r /proc/self/stat ]||exit 0
stat(){ read -r s 2>/dev/null <"/proc/$1/stat"||return 1;s=${s##*) };set -- $s;p=$2;g=$3;i=$4;}
stat $$&&own=$i&&stat "$own"||exit 0
[ "$(id -u)" = 0 ]&&exec sh -c "$reap" rimg "$p" "$own"
exec sudo -n sh -c "$reap" rimg "$p" "$own" 2>/dev/null"#;

/// Ends the sessions that children of the server `$1` lead and whose standard output or error is a pipe without a reader,
/// all but the session `$2`: by SIGTERM, and after a second by SIGKILL.
const REAP: &str = r#"server=$1;own=$2
stat(){ read -r s 2>/dev/null <"/proc/$1/stat"||return 1;s=${s##*) };set -- $s;p=$2;g=$3;i=$4;}
look(){ lost=;read=$(ls -l /proc/[0-9]*/fd 2>/dev/null|grep '^lr.*pipe:')
for d in /proc/[0-9]*;do n=${d#/proc/};stat "$n"||continue
[ "$p" = "$server" ]&&[ "$i" = "$n" ]&&[ "$n" != "$own" ]||continue
for f in 1 2;do l=$(readlink "$d/fd/$f" 2>/dev/null)||continue
case $l in pipe:*)case $read in *"$l"*);;*)lost="$lost $n";break;;esac;;esac;done;done;[ -n "$lost" ];}
each(){ r=1;for d in /proc/[0-9]*;do stat "${d#/proc/}"||continue
for n in $lost;do [ "$i" = "$n" ]&&kill "-$1" "-$g" 2>/dev/null&&r=0;done;done;return $r;}
look||{ sleep .3 2>/dev/null||sleep 1;look||exit 0;}
each TERM
for t in 1 2 3 4 5;do sleep .2 2>/dev/null||sleep 1;each 0||exit 0;done
each KILL;true"#;

/// Ends what closed channels of one connection leave on the machine.
#[derive(Clone)]
pub(super) struct Orphans {
    handle: Arc<Handle<Client>>,
    tasks: TaskTracker,
    /// How many looks were asked for, and how many of these one that is over has stood for.
    asked: Arc<AtomicU64>,
    done: Arc<tokio::sync::Mutex<u64>>,
}

impl Orphans {
    pub(super) fn new(handle: Arc<Handle<Client>>) -> Orphans {
        Orphans { handle, tasks: TaskTracker::new(), asked: Arc::default(), done: Arc::default() }
    }

    /// Closes the channel of a command that nobody waits for and ends the command, behind the scenes: whoever drops its
    /// future cannot wait. [`Orphans::ended`] does.
    pub(super) fn abandon(&self, channel: ChannelWriteHalf<Msg>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let orphans = self.clone();
        self.tasks.spawn_on(
            async move {
                let work = async {
                    let _ = channel.signal(Sig::TERM).await;
                    let _ = channel.close().await;
                    drop(channel);
                    orphans.look().await;
                };
                let done = tokio::time::timeout(LIMIT, work).await;
                tracing::debug!(in_time = done.is_ok(), "looked for what a command has left");
            },
            &runtime,
        );
    }

    /// Waits until all that was abandoned has ended.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Looks once; several that ask at the same time are served by one look.
    async fn look(&self) {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done = self.done.lock().await;
        if *done >= mine {
            return;
        }
        let seen = self.asked.load(Ordering::Acquire);
        self.reap().await;
        *done = seen;
    }

    async fn reap(&self) {
        let mut refusals = 0;
        let mut channel = loop {
            match self.handle.channel_open_session().await {
                Ok(channel) => break channel,
                Err(russh::Error::ChannelOpenFailure(_)) if refusals < REOPEN.0 => {
                    refusals += 1;
                    tokio::time::sleep(REOPEN.1).await;
                }
                Err(_) => return,
            }
        };
        if channel.exec(true, quote::join(&["sh", "-c", FIND, "rimg", REAP])).await.is_err() {
            return;
        }
        while !matches!(channel.wait().await, Some(ChannelMsg::Close) | None) {}
    }
}
