//! A guest's clock after it has gone on from a checkpoint: it stands where it stood then. And its random numbers, which
//! would be those of every other machine that goes on from there.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::builder::qemu::connect::Login;
use crate::engine::{BuildCx, Command, Communicator, OutputSink, quote};

/// A guest that does not answer must not hold up what is to be done on it.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a guest takes to begin a first command, as a part of what it took to let rimg in: 0.4 on hosts of every speed.
/// Emulated, a guest that has just gone on is slow, since its code is translated anew.
const PART_OF_LOGIN: f64 = 0.4;
/// What that is at most: a login may have waited for something else.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// A guest that was told a time that is wrong by more is told it again.
const TOLERANCE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 4;

/// Sets the guest's clock once, at the first connection.
pub struct Clock {
    is_behind: Mutex<bool>,
}

/// Sets the clock to `now`, in hundredths of seconds since 1970, and what has passed since it began: a guest that has just
/// gone on is slow. Where the kernel does not hear of a new generation id, it is made to draw new random numbers
/// (RNDRESEEDCRNG) in the same turn. A password for sudo is on the standard input. It says at once that it has begun, and the guest's time
/// when it could not set it.
const SCRIPT: &str = r#"
uptime='read up rest </proc/uptime && up=$(( ${up%.*} * 100 + 1${up#*.} - 100 )) || up=0'
reseed='[ -e /sys/bus/acpi/drivers/vmgenid ] || {
  echo "$seed" >/dev/urandom
  perl -e "open(F, q(>), q(/dev/random)) && ioctl(F, 0x5207, 0)" ||
    python3 -c "import fcntl; fcntl.ioctl(open(\"/dev/random\", \"w\"), 0x5207)"
}'
set_clock="{ $reseed; } & $uptime"'; t=$(( now + up - began ))
date -u -s "@$(( t / 100 )).$(( t / 10 % 10 ))$(( t % 10 ))" || date -u -s "@$(( t / 100 ))"
is_set=$?; wait; ( exit $is_set )'
echo
{
eval "$uptime"; began=$up
if [ "$user" = root ]; then eval "$set_clock"
else
  set_clock="now=$now; began=$began; seed=$seed; $set_clock"
  sudo -n sh -c "$set_clock" || sudo -S -p '' sh -c "$set_clock" || eval "$set_clock"
fi
} >/dev/null 2>&1 || { date +%s; exit 1; }
"#;

impl Clock {
    /// Makes one; `is_behind` says whether the guest has been away.
    pub fn new(is_behind: bool) -> Clock {
        Clock { is_behind: Mutex::new(is_behind) }
    }

    /// Sets the guest's clock, unless that was done; `login_time` is what the connection took. Where it cannot be set, people
    /// are told.
    pub async fn set(&self, communicator: &dyn Communicator, login: &Login, login_time: Duration, cx: &BuildCx) {
        let mut is_behind = self.is_behind.lock().await;
        if !std::mem::replace(&mut *is_behind, false) {
            return;
        }
        let mut expected = login_time.mul_f64(PART_OF_LOGIN).min(LONGEST_DELAY);
        for number in 1..=ATTEMPTS {
            let Attempt { is_set, delay, guest } = attempt(communicator, login, expected).await;
            tracing::debug!(is_set, ?expected, ?delay, "the guest's clock");
            if !is_set && number == 1 {
                warn(login, guest, cx);
            }
            if !is_set || delay.abs_diff(expected) <= TOLERANCE {
                return;
            }
            // It is warm by now.
            expected = delay / 4;
        }
    }
}

fn warn(login: &Login, guest: Option<u64>, cx: &BuildCx) {
    let behind = guest.map_or_else(String::new, |guest| format!(" by {} s", now().as_secs().saturating_sub(guest)));
    cx.ui.warn(format!(
        "the guest's clock is behind{behind}, since it goes on from a checkpoint, and cannot be set: {} is neither \
         root nor may it use sudo; what helps is one of the two, or a time service in the guest",
        login.user()
    ));
}

/// How it went.
struct Attempt {
    is_set: bool,
    /// How long the guest took to begin.
    delay: Duration,
    /// The guest's time, in seconds since 1970, where it said it.
    guest: Option<u64>,
}

async fn attempt(communicator: &dyn Communicator, login: &Login, delay: Duration) -> Attempt {
    let began = Instant::now();
    let seed = uuid::Uuid::new_v4().simple();
    let user = quote::word(login.user());
    let script = format!("now={}; seed={seed}; user={user}\n{SCRIPT}", (now() + delay).as_millis() / 10);
    let mut command = Command::argv(["sh", "-c", &script]);
    command.stdin = Some(login.password().map(|password| format!("{password}\n")).unwrap_or_default().into());
    let mut heard = Heard::default();
    let ended = tokio::time::timeout(LIMIT, communicator.exec(&command, &mut heard)).await;
    Attempt {
        is_set: matches!(&ended, Ok(Ok(status)) if status.code() == 0),
        delay: heard.first.map_or(LIMIT, |first| first.duration_since(began)),
        guest: String::from_utf8_lossy(&heard.bytes).trim().parse().ok(),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Notes when it first heard something.
#[derive(Default)]
struct Heard {
    first: Option<Instant>,
    bytes: Vec<u8>,
}

impl OutputSink for Heard {
    fn stdout(&mut self, bytes: &[u8]) {
        self.first.get_or_insert_with(Instant::now);
        let room = 64_usize.saturating_sub(self.bytes.len());
        self.bytes.extend(bytes.iter().take(room));
    }

    fn stderr(&mut self, _: &[u8]) {}
}
