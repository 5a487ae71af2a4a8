use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{BootOptions, Pace, Typist, run};
use crate::engine::options::{Callback, decode};
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Console, KeyEvent, Mode, ScreenText, Value, testing};
use crate::error::Result;

/// A console that notes which keys went down and came up, and when.
#[derive(Default)]
struct Keys {
    pressed: Mutex<Vec<(KeyEvent, Instant)>>,
    calls: Mutex<usize>,
    seen: AtomicU64,
}

#[async_trait]
impl Console for Keys {
    async fn press(&self, events: &[KeyEvent]) -> Result<()> {
        *self.calls.lock().unwrap() += 1;
        self.pressed.lock().unwrap().extend(events.iter().map(|event| (*event, Instant::now())));
        Ok(())
    }

    async fn screenshot(&self, to: &Path) -> Result<()> {
        crate::host::atomic::write(to, b"a picture").map(drop)
    }

    async fn screen_text(&self) -> Result<ScreenText> {
        Ok(ScreenText { rows: vec!["boot:".into()] })
    }

    fn serial_since(&self, from: u64) -> Result<(Vec<u8>, u64)> {
        Ok((Vec::new(), from))
    }

    fn serial_seen(&self) -> &AtomicU64 {
        &self.seen
    }

    fn serial_tail(&self, _: usize) -> Vec<String> {
        Vec::new()
    }
}

impl Keys {
    /// Returns the usages of the keys that went down, in order.
    fn down(&self) -> Vec<u8> {
        self.pressed.lock().unwrap().iter().filter(|(event, _)| event.down).map(|(event, _)| event.key.0).collect()
    }
}

fn cx() -> (tempfile::TempDir, BuildCx) {
    testing::surroundings(Mode::Live, crate::ui::Ui::silent())
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn decoded(entries: &[(&str, Value)]) -> Result<BootOptions> {
    decode("rimg.x", map(entries))
}

fn known() -> Placeholders {
    Placeholders::default().with("HTTPIP", "10.0.2.2")
}

fn valid(options: &BootOptions) -> Result<()> {
    options.validate(&cx().1)?;
    options.check_placeholders(&known())
}

/// Returns the error that the options are refused with, and its hints.
fn refused(entries: &[(&str, Value)]) -> String {
    let error = decoded(entries).and_then(|options| valid(&options)).unwrap_err();
    format!("{} {:?}", error.message(), error.hints())
}

fn commands(items: &[Value]) -> (&'static str, Value) {
    ("boot_command", Value::List(items.to_vec()))
}

#[tokio::test]
async fn steps_are_taken_in_order() {
    let (dir, build) = cx();
    let function = Callback::new(|values| {
        let Value::Map(entries) = values else { panic!("{values:?}") };
        let [(name, Value::Str(value))] = entries.as_slice() else { panic!("{entries:?}") };
        let answer = format!("{name}={value}");
        Box::pin(async move { Ok(Value::Str(answer)) })
    });
    let nothing = Callback::new(|_| Box::pin(async { Ok(Value::Nil) }));
    let options = decoded(&[commands(&[
        map(&[("expect", text("^boot:")), ("source", text("screen"))]),
        text("a{{ .HTTPIP }}"),
        Value::Function(function),
        Value::Function(nothing),
        map(&[("wait", text("20ms"))]),
        map(&[("type", text("z")), ("keyboard_layout", text("de"))]),
        map(&[("screenshot", text("shots/x.png"))]),
    ])])
    .unwrap();
    valid(&options).unwrap();
    let (keys, started) = (Keys::default(), Instant::now());
    run(&options, &keys, &known(), &build).await.unwrap();
    let [a, h, zero, one, two, dot, equal] = [0x04, 0x0b, 0x27, 0x1e, 0x1f, 0x37, 0x2e];
    let address = [one, zero, dot, zero, dot, two, dot, two];
    // HTTPIP= in capitals, each with shift.
    let capitals = [h, 0x17, 0x17, 0x13, 0x0c, 0x13].map(|key| [0xe1, key]).concat();
    assert_eq!(keys.down(), [[a].as_slice(), &address, &capitals, &[equal], &address, &[0x1c]].concat());
    assert!(started.elapsed() >= Duration::from_millis(20) && started.elapsed() < Duration::from_secs(5));
    assert!(dir.path().join("script/shots/x.png").exists());
}

#[tokio::test]
async fn the_first_wait_is_packers_unless_something_else_is_waited_for() {
    let wait = |entries: &[(&str, Value)]| decoded(entries).unwrap().wait().as_millis();
    let command = commands(&[text("a")]);
    assert_eq!(wait(&[]), 0);
    assert_eq!(wait(std::slice::from_ref(&command)), 10_000);
    assert_eq!(wait(&[command.clone(), ("boot_wait", text("-1s"))]), 0);
    assert_eq!(wait(&[command.clone(), ("boot_wait", Value::Int(-1))]), 0);
    assert_eq!(wait(&[command.clone(), ("boot_wait", text("1m"))]), 60_000);
    assert_eq!(wait(&[command.clone(), ("boot_wait", Value::Float(0.5))]), 500);
    assert_eq!(wait(&[commands(&[map(&[("expect", text("x"))])])]), 0);
    let error = decoded(&[("boot_wait", text("soon"))]).unwrap_err();
    assert!(error.message().contains("`boot_wait`: expected a duration"), "{error}");
}

#[tokio::test]
async fn intervals_slow_typing_down() {
    let keys = Keys::default();
    let pace = Pace { key_interval: Some(Duration::from_millis(10)), group_interval: Some(Duration::from_millis(50)) };
    Typist::new(&keys, pace).type_text("ab<wait20ms>c", "us").await.unwrap();
    let times: Vec<Instant> = keys.pressed.lock().unwrap().iter().map(|(_, time)| *time).collect();
    let gaps: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(gaps.len(), 5);
    assert!(gaps.iter().all(|gap| *gap >= 10) && gaps[3] >= 80, "{gaps:?}");
    assert_eq!(*keys.calls.lock().unwrap(), 6);
    let keys = Keys::default();
    Typist::new(&keys, Pace::default()).type_text("ab<wait1ms>c", "us").await.unwrap();
    assert_eq!(*keys.calls.lock().unwrap(), 2, "the console sets the pace");
}

#[test]
fn mistakes_are_found_before_anything_starts() {
    let wrong = refused(&[commands(&[text("ok"), text("url={{ .HTTPIP }} <entr>")])]);
    assert!(wrong.contains("option `boot_command[2]`: column 19: there is no key `<entr>`"), "{wrong}");
    assert!(wrong.contains("did you mean `<enter>`?"), "{wrong}");
    let wrong = refused(&[commands(&[text("{{ .HTTPIp }}")])]);
    assert!(wrong.contains("boot_command[1]") && wrong.contains("did you mean `HTTPIP`?"), "{wrong}");
    let wrong = refused(&[commands(&[text("naïve")])]);
    assert!(wrong.contains("column 3: the keyboard layout `us` has no key for 'ï'"), "{wrong}");
    let wrong = refused(&[commands(&[text("a")]), ("keyboard_layout", text("dee"))]);
    assert!(wrong.contains("option `keyboard_layout`") && wrong.contains("did you mean `de`?"), "{wrong}");
    let wrong = refused(&[commands(&[map(&[("expect", text("("))])])]);
    assert!(wrong.contains("boot_command[1]") && wrong.contains("no regular expression"), "{wrong}");
    let wrong = refused(&[commands(&[map(&[("expekt", text("x"))])])]);
    assert!(wrong.contains("boot_command[1]") && wrong.contains("did you mean `expect`?"), "{wrong}");
    let wrong = refused(&[commands(&[map(&[("expect", text("x")), ("wait", Value::Int(1))])])]);
    assert!(wrong.contains("exactly one of"), "{wrong}");
    let wrong = refused(&[commands(&[map(&[("wait", Value::Int(1)), ("timeout", Value::Int(1))])])]);
    assert!(wrong.contains("`timeout` belongs to `expect`, not to `wait`"), "{wrong}");
    let wrong = refused(&[commands(&[Value::Int(1)])]);
    assert!(wrong.contains("boot_command[1]") && wrong.contains("expected keys to type"), "{wrong}");
}

#[tokio::test]
async fn boot_steps_are_pairs_and_say_what_they_do() {
    let (_dir, build) = cx();
    let pair = |items: &[Value]| Value::List(items.to_vec());
    let steps = |items: &[Value]| ("boot_steps", Value::List(items.to_vec()));
    let options = decoded(&[
        steps(&[pair(&[text("a"), text("the first key")]), pair(&[map(&[("wait", Value::Int(0))])])]),
        ("boot_wait", Value::Int(0)),
    ])
    .unwrap();
    valid(&options).unwrap();
    let keys = Keys::default();
    run(&options, &keys, &known(), &build).await.unwrap();
    assert_eq!(keys.down(), [0x04]);
    let both = refused(&[steps(&[pair(&[text("a")])]), commands(&[text("a")])]);
    assert!(both.contains("option `boot_steps`: `boot_command` is given, too"), "{both}");
    let wrong = refused(&[steps(&[pair(&[text("<entr>"), text("go")])])]);
    assert!(wrong.contains("boot_steps[1]"), "{wrong}");
    for bad in [text("a"), pair(&[]), pair(&[text("a"), Value::Int(1)]), pair(&[text("a"), text("b"), text("c")])] {
        let wrong = refused(&[steps(&[bad])]);
        assert!(wrong.contains("expected a command and its description"), "{wrong}");
    }
}
