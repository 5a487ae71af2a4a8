use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::super::{ExpectOptions, Place};
use super::*;
use crate::engine::{KeyEvent, Mode, Seconds, testing};

/// A console whose serial line and screen a test writes.
#[derive(Default)]
struct Fake {
    serial: Mutex<Vec<u8>>,
    seen: AtomicU64,
    screen: Mutex<Option<Vec<String>>>,
    looks: AtomicUsize,
}

#[async_trait]
impl Console for Fake {
    async fn press(&self, _: &[KeyEvent]) -> Result<()> {
        Ok(())
    }

    async fn screenshot(&self, to: &Path) -> Result<()> {
        crate::host::atomic::write(to, b"a picture").map(drop)
    }

    async fn screen_text(&self) -> Result<ScreenText> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let rows = self.screen.lock().unwrap().clone();
        rows.map(|rows| ScreenText { rows }).ok_or_else(|| Error::new(Kind::Unsupported, "no screen"))
    }

    fn serial_since(&self, from: u64) -> Result<(Vec<u8>, u64)> {
        let serial = self.serial.lock().unwrap();
        let from = if from > serial.len() as u64 { 0 } else { from };
        // In pieces, so that every sequence is cut somewhere.
        let piece: Vec<u8> = serial.iter().skip(from as usize).take(3).copied().collect();
        Ok((piece.clone(), from + piece.len() as u64))
    }

    fn serial_seen(&self) -> &AtomicU64 {
        &self.seen
    }

    fn serial_tail(&self, _: usize) -> Vec<String> {
        super::super::plain_text(&self.serial.lock().unwrap()).lines().map(str::to_owned).collect()
    }
}

impl Fake {
    fn writes(&self, text: &str) {
        self.serial.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    fn shows(&self, rows: &[&str]) {
        *self.screen.lock().unwrap() = Some(rows.iter().map(|&row| row.to_owned()).collect());
    }
}

struct Bench {
    console: Arc<Fake>,
    cx: BuildCx,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let (dir, cx) = testing::surroundings(Mode::Live, crate::ui::Ui::silent());
        Bench { console: Arc::default(), cx, dir }
    }

    async fn expect(&self, patterns: &[&str], options: ExpectOptions) -> Result<Expected> {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        expect(self.console.as_ref(), &Expectation::new(&patterns, &options)?, &self.cx).await
    }
}

fn within(time: &str) -> ExpectOptions {
    ExpectOptions { timeout: Seconds::parse(time), ..ExpectOptions::default() }
}

#[tokio::test]
async fn a_screen_of_failure_ends_the_wait_at_once() {
    let bench = Bench::new();
    bench.console.shows(&["", "  Installation step failed  "]);
    let options = ExpectOptions { fail: vec!["step failed".into()], ..within("20s") };
    let error = bench.expect(&["login:"], options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Machine);
    assert!(error.message().starts_with("\"step failed\" appeared while /login:/ was waited for"), "{error}");
    assert!(error.message().contains("Installation step failed"), "{error}");
}

#[tokio::test]
async fn two_equal_prompts_are_two_matches() {
    let bench = Bench::new();
    bench.console.writes("boot\r\n\x1b[1mlogin:\x1b[0m a\r\nlogin: ");
    let first = bench.expect(&["nothing", "login: "], within("2s")).await.unwrap();
    assert_eq!((first.index, first.text.as_str(), first.source), (2, "boot\nlogin: ", ScreenOrSerial::Serial));
    let second = bench.expect(&["^login: $"], within("2s")).await.unwrap();
    assert_eq!(second.text, "a\nlogin: ");
    let error = bench.expect(&["login: "], within("100ms")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    let again = ExpectOptions { from_start: true, ..within("2s") };
    assert_eq!(bench.expect(&["login: "], again).await.unwrap().text, "boot\nlogin: ");
}

#[tokio::test]
async fn what_comes_in_pieces_is_found() {
    let bench = Bench::new();
    let console = bench.console.clone();
    let writing = tokio::spawn(async move {
        for piece in ["pass", "wo", "rd\x1b", "[0m: "] {
            tokio::time::sleep(Duration::from_millis(70)).await;
            console.writes(piece);
        }
    });
    assert_eq!(bench.expect(&["password: "], within("5s")).await.unwrap().matched, "password: ");
    writing.await.unwrap();
    // A machine that is started over writes from the beginning.
    *bench.console.serial.lock().unwrap() = b"pa: ".to_vec();
    assert_eq!(bench.expect(&["pa"], within("5s")).await.unwrap().text, "pa");
}

#[tokio::test]
async fn the_screen_is_what_it_shows_now() {
    let bench = Bench::new();
    bench.console.shows(&["GRUB", "", " Advanced options", ""]);
    for _ in 0..2 {
        let found = bench.expect(&["^ *Advanced (\\w+)$"], within("2s")).await.unwrap();
        assert_eq!((found.captures[0].as_str(), found.source), ("options", ScreenOrSerial::Screen));
        assert_eq!(found.text, "GRUB\n\n Advanced options");
    }
    let serial = ExpectOptions { source: Place::Serial, ..within("50ms") };
    assert!(bench.expect(&["GRUB"], serial).await.is_err());
    bench.console.looks.store(0, Ordering::SeqCst);
    let console = bench.console.clone();
    let changing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        console.shows(&["login:"]);
    });
    bench.expect(&["login"], within("9s")).await.unwrap();
    changing.await.unwrap();
    let looks = bench.console.looks.load(Ordering::SeqCst);
    assert!((3..14).contains(&looks), "{looks} looks at a screen that stands still");
}

#[tokio::test]
async fn the_error_shows_what_is_there_instead() {
    let bench = Bench::new();
    bench.console.shows(&["No bootable", "  device."]);
    bench.console.writes("SeaBIOS\r\n");
    let error = bench.expect(&["login", "root"], within("0.3s")).await.unwrap_err();
    let message = error.message();
    let picture = bench.dir.path().join("state/screenshots");
    let start = "/login/ or /root/ did not appear on the screen or the serial console within 0.3 s\nthe screen shows:\n    \
                 No bootable\n      device.\nthe last console lines:\n    SeaBIOS\nthe screen: ";
    assert!(message.starts_with(start), "{message}");
    let path = Path::new(message.rsplit_once(": ").unwrap().1);
    assert!(path.starts_with(picture) && path.exists(), "{message}");
    assert_eq!(error.get("screen").unwrap(), "No bootable\n  device.");
}

#[tokio::test]
async fn a_machine_without_a_screen_still_has_its_serial_console() {
    let bench = Bench::new();
    bench.console.writes("login: ");
    assert!(bench.expect(&["login"], within("2s")).await.is_ok());
    let screen = ExpectOptions { source: Place::Screen, ..within("30s") };
    assert_eq!(bench.expect(&["login"], screen).await.unwrap_err().kind(), Kind::Unsupported);
}
