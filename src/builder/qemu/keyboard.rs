//! The guest's keyboard: keys by QMP, at the pace at which the guest takes them.
//!
//! QEMU's keyboards hold a few keys and drop what is more without a word, and so does a PC's firmware with the keys that no
//! program has asked for. Both can be looked at without the guest noticing, so keys wait for room instead of for a clock:
//!
//! - the keyboard controller of a PC (i8042) says in its status register whether a byte waits to be read. The keyboard behind
//!   it holds 16 bytes (`hw/input/ps2.c`); a few keys go out at a time, and the next when all bytes are read.
//! - a PC's BIOS puts keys into a ring of 16 words in its data area. As long as keys arrive there, the next go out when the
//!   program has taken them: a boot loader that looks at the keyboard once in a while loses none.
//! - a USB keyboard (a queue of 16, read by the guest every 8 to 10 ms: `hw/input/hid.c`) and a virtio keyboard cannot be looked
//!   at: keys go out more slowly than systems read, and where firmware reads, when the one before is in its ring.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::qmp::Qmp;
use crate::console::BootOptions;
use crate::engine::{Key, KeyEvent};
use crate::error::{Error, Kind, Result};

/// At most this much of the PS/2 keyboard's queue is filled at a time: half of it.
const BATCH: usize = 8;
/// How long a byte may lie in the controller until the guest is believed not to read it.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long keys may lie in the BIOS's ring while there is room for more.
const DRAIN_LIMIT: Duration = Duration::from_millis(300);
/// How long they may lie there when there is none.
const ROOM_LIMIT: Duration = Duration::from_secs(10);
/// How long a key may take from a USB keyboard into the BIOS's ring.
const ARRIVAL_LIMIT: Duration = Duration::from_millis(600);
/// The pace where nothing can be looked at, for one event.
const BLIND: Duration = Duration::from_millis(20);

/// What types on a machine's keyboard; one at a time.
pub struct Keyboard {
    state: Mutex<State>,
    /// The layout that the guest believes it has, where the options name one.
    pub layout: Option<String>,
}

#[derive(Default)]
struct State {
    /// Keys that an interrupted caller pressed and would have released.
    stuck: BTreeSet<Key>,
    warned: bool,
}

impl Keyboard {
    /// Makes the keyboard of a machine with these options.
    pub fn new(options: &BootOptions) -> Keyboard {
        Keyboard { state: Mutex::default(), layout: options.keyboard_layout.clone() }
    }

    /// Sends key events in order, and returns when the guest has taken the last one. `warn` is told once if it does not.
    pub async fn press(&self, qmp: &Qmp, events: &[KeyEvent], warn: impl Fn(String)) -> Result<()> {
        for event in events {
            code(event.key)?;
        }
        let mut state = self.state.lock().await;
        let release: Vec<KeyEvent> = state.stuck.iter().map(|key| KeyEvent { key: *key, down: false }).collect();
        let events = [release.as_slice(), events].concat();
        let mut pressing = Pressing { down: std::mem::take(&mut state.stuck), events: &events, sent: 0, state };
        let mut guest = Guest::of(qmp).await?;
        guest.taken().await?;
        while let Some(batch) = guest.batch(events.get(pressing.sent..).unwrap_or_default()) {
            guest.send(batch).await?;
            pressing.sent += batch.len();
            pressing.note(batch);
            guest.taken().await?;
        }
        if let Some(trouble) = guest.trouble
            && !std::mem::replace(&mut pressing.state.warned, true)
        {
            warn(format!("{trouble}; keys may have been lost"));
        }
        Ok(())
    }
}

/// A call in progress; when it is cut short, the keys that it would have released are noted down for the next one.
struct Pressing<'a> {
    state: MutexGuard<'a, State>,
    events: &'a [KeyEvent],
    sent: usize,
    down: BTreeSet<Key>,
}

impl Pressing<'_> {
    fn note(&mut self, batch: &[KeyEvent]) {
        for event in batch {
            match event.down {
                true => self.down.insert(event.key),
                false => self.down.remove(&event.key),
            };
        }
    }
}

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        let rest = self.events.get(self.sent..).unwrap_or_default();
        let stuck = rest.iter().filter(|event| !event.down && self.down.contains(&event.key)).map(|event| event.key);
        self.state.stuck = stuck.collect();
    }
}

/// Returns the events that fit into a PS/2 keyboard at once.
fn batch(events: &[KeyEvent]) -> Option<&[KeyEvent]> {
    let mut bytes = 0;
    let fitting = events.iter().take_while(|event| {
        bytes += length(**event);
        bytes <= BATCH
    });
    let count = fitting.count().max(1);
    events.get(..count)
}

/// Returns how many bytes an event is in scan code set 2, the longest of the sets.
fn length(event: KeyEvent) -> usize {
    match (event.key.0, event.down) {
        (0x48, _) => 8,
        (0x46, true) => 4,
        (0x46, false) => 6,
        (0x49..=0x52 | 0x54 | 0x58 | 0x65 | 0xe3..=0xe4 | 0xe6..=0xe7, down) => 3 - usize::from(down),
        (_, down) => 2 - usize::from(down),
    }
}

/// What a guest does with its keys, as far as that can be seen.
struct Guest<'a> {
    qmp: &'a Qmp,
    /// Whether there is a controller of a PC to look at.
    controller: bool,
    /// Whether there is a keyboard that cannot be looked at.
    blind: bool,
    /// The guest did not read in time: it is not waited for until it reads again.
    asleep: bool,
    /// Whether the keys of a keyboard that cannot be looked at arrive in the BIOS's ring; none while that is not known.
    firmware: Option<bool>,
    /// How many did not.
    missed: u32,
    /// What the BIOS's ring held when nobody took it: left over from before the system started, or given up.
    stale: Option<Ring>,
    trouble: Option<&'static str>,
}

impl Guest<'_> {
    /// Finds out which keyboards the machine has.
    async fn of(qmp: &Qmp) -> Result<Guest<'_>> {
        let (mut controller, mut blind) = (false, false);
        for part in ["unattached", "peripheral", "peripheral-anon"] {
            // A machine without such devices may lack the folder for them.
            let Ok(listed) = qmp.execute("qom-list", json!({ "path": format!("/machine/{part}") })).await else {
                continue;
            };
            for device in listed.as_array().into_iter().flatten() {
                let device = device.get("type").and_then(Value::as_str).unwrap_or_default();
                controller |= device == "child<i8042>";
                blind |= device.starts_with("child<usb-kbd") || device.starts_with("child<virtio-keyboard");
            }
        }
        if !controller && !blind {
            return Err(Error::new(Kind::Unsupported, "this machine has no keyboard")
                .hint("give it one: `qemuargs = { { \"-device\", \"qemu-xhci\" }, { \"-device\", \"usb-kbd\" } }`"));
        }
        Ok(Guest { qmp, controller, blind, asleep: false, firmware: None, missed: 0, stale: None, trouble: None })
    }

    /// Returns the events to send next: as many as the keyboard holds, or one where it cannot be looked at.
    fn batch<'e>(&self, events: &'e [KeyEvent]) -> Option<&'e [KeyEvent]> {
        if self.blind { events.get(..1) } else { batch(events) }
    }

    async fn send(&mut self, events: &[KeyEvent]) -> Result<()> {
        let strokes = self.blind && events.iter().any(|event| event.down && event.key.0 < 0xe0);
        let before = if strokes && self.listens() { Some(self.ring().await?) } else { None };
        let mut list = Vec::new();
        for event in events {
            let key = json!({ "type": "qcode", "data": code(event.key)? });
            list.push(json!({ "type": "key", "data": { "down": event.down, "key": key } }));
        }
        self.qmp.execute("input-send-event", json!({ "events": list })).await?;
        if self.blind || self.asleep {
            // A USB keyboard takes a key of the extended set for two.
            let steps: usize = events.iter().map(|event| length(KeyEvent { down: true, ..*event }).min(2)).sum();
            tokio::time::sleep(BLIND * u32::try_from(steps).unwrap_or(1)).await;
        }
        match before {
            Some(before) => self.arrived(before).await,
            None => Ok(()),
        }
    }

    /// Tells whether keys of a keyboard that cannot be looked at may arrive in the BIOS's ring.
    fn listens(&self) -> bool {
        self.controller && self.firmware != Some(false)
    }

    /// Waits until a key arrives in the BIOS's ring, which had `before`: firmware reads a USB keyboard at its clock's pace, 18 times a second.
    async fn arrived(&mut self, before: Ring) -> Result<()> {
        let (started, mut looks) = (Instant::now(), 0);
        while self.ring().await?.tail == before.tail {
            if started.elapsed() > ARRIVAL_LIMIT {
                self.missed += 1;
                if self.missed > 1 && self.firmware.is_none() {
                    self.firmware = Some(false);
                }
                return Ok(());
            }
            pause(&mut looks).await;
        }
        self.firmware = Some(true);
        Ok(())
    }

    /// Waits until the guest has taken all keys, as far as that can be seen; not forever.
    async fn taken(&mut self) -> Result<()> {
        if !self.controller {
            return Ok(());
        }
        let started = Instant::now();
        let mut looks = 0;
        while self.unread().await? {
            if self.asleep || started.elapsed() > READ_LIMIT {
                self.asleep = true;
                self.trouble = Some("the guest does not read its keyboard");
                return Ok(());
            }
            pause(&mut looks).await;
        }
        self.asleep = false;
        let (started, first) = (Instant::now(), self.ring().await?);
        let mut ring = first;
        while ring.waiting() > 0 && self.stale != Some(ring) {
            let full = ring.waiting() + BATCH >= Ring::KEYS;
            if started.elapsed() > if full { ROOM_LIMIT } else { DRAIN_LIMIT } {
                if full {
                    self.trouble = Some("nothing in the guest takes the keys from its firmware");
                }
                self.stale = (full || ring == first).then_some(ring);
                break;
            }
            pause(&mut looks).await;
            ring = self.ring().await?;
        }
        Ok(())
    }

    /// Tells whether a byte lies in the keyboard controller: bit 0 of its status, port 0x64. Reading that changes nothing.
    async fn unread(&self) -> Result<bool> {
        let said = self.monitor("i /b 0x64").await?;
        let status = said.split_once('=').and_then(|(_, value)| number(value));
        Ok(status.is_some_and(|status| status & 1 == 1))
    }

    /// Reads the state of the BIOS's keyboard ring: the words at 0040:001A.
    async fn ring(&self) -> Result<Ring> {
        let said = self.monitor("xp /2hx 0x41a").await?;
        let mut words = said.split_once(':').map_or("", |(_, words)| words).split_whitespace().filter_map(number);
        Ok(Ring { head: words.next().unwrap_or(0), tail: words.next().unwrap_or(0) })
    }

    async fn monitor(&self, line: &str) -> Result<String> {
        let said = self.qmp.execute("human-monitor-command", json!({ "command-line": line })).await?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }
}

/// Where the BIOS's ring of keys begins and ends, as offsets into its data area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ring {
    head: u32,
    tail: u32,
}

impl Ring {
    const START: u32 = 0x1e;
    const END: u32 = 0x3e;
    /// One place stays free.
    const KEYS: usize = 15;

    /// Returns how many keys wait; 0 where the memory holds something else.
    fn waiting(self) -> usize {
        let valid = |at: u32| (Ring::START..Ring::END).contains(&at) && at.is_multiple_of(2);
        if !valid(self.head) || !valid(self.tail) {
            return 0;
        }
        let size = Ring::END - Ring::START;
        ((self.tail + size - self.head) % size / 2) as usize
    }
}

/// Lets the guest work for a moment: not at all for the first looks, longer and longer later.
async fn pause(looks: &mut u32) {
    *looks += 1;
    match *looks {
        0..=2 => tokio::task::yield_now().await,
        3..=20 => tokio::time::sleep(Duration::from_millis(1)).await,
        _ => tokio::time::sleep(Duration::from_millis(4)).await,
    }
}

/// Reads `0x1e`.
fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// QEMU's names (QAPI's `QKeyCode`) of the keys from usage 0x1e to 0x65.
const CODES: [&str; 72] = [
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "0",
    "ret",
    "esc",
    "backspace",
    "tab",
    "spc",
    "minus",
    "equal",
    "bracket_left",
    "bracket_right",
    "backslash",
    "backslash",
    "semicolon",
    "apostrophe",
    "grave_accent",
    "comma",
    "dot",
    "slash",
    "caps_lock",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f12",
    "print",
    "scroll_lock",
    "pause",
    "insert",
    "home",
    "pgup",
    "delete",
    "end",
    "pgdn",
    "right",
    "left",
    "down",
    "up",
    "num_lock",
    "kp_divide",
    "kp_multiply",
    "kp_subtract",
    "kp_add",
    "kp_enter",
    "kp_1",
    "kp_2",
    "kp_3",
    "kp_4",
    "kp_5",
    "kp_6",
    "kp_7",
    "kp_8",
    "kp_9",
    "kp_0",
    "kp_decimal",
    "less",
    "compose",
];
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const MODIFIERS: [&str; 8] = ["ctrl", "shift", "alt", "meta_l", "ctrl_r", "shift_r", "alt_r", "meta_r"];

/// Returns QEMU's name of a key.
fn code(key: Key) -> Result<&'static str> {
    let at = |from: u8| usize::from(key.0 - from);
    let code = match key.0 {
        0x04..=0x1d => LETTERS.get(at(0x04)..=at(0x04)),
        0x1e..=0x65 => CODES.get(at(0x1e)).copied(),
        0x87 => Some("ro"),
        0x89 => Some("yen"),
        0xe0..=0xe7 => MODIFIERS.get(at(0xe0)).copied(),
        _ => None,
    };
    code.ok_or_else(|| Error::new(Kind::Unsupported, format!("QEMU's keyboard has no key of usage 0x{:02x}", key.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_qemus_names() {
        for (usage, name) in [
            (0x04, "a"),
            (0x1d, "z"),
            (0x27, "0"),
            (0x28, "ret"),
            (0x39, "caps_lock"),
            (0x45, "f12"),
            (0x52, "up"),
            (0x62, "kp_0"),
            (0x64, "less"),
            (0x65, "compose"),
            (0xe6, "alt_r"),
        ] {
            assert_eq!(code(Key(usage)).unwrap(), name);
        }
        assert!(code(Key(0)).is_err() && code(Key(0x66)).is_err() && code(Key(0xff)).is_err());
    }

    #[test]
    fn a_batch_fits_into_half_of_the_queue() {
        let stroke = |usage| [true, false].map(|down| KeyEvent { key: Key(usage), down });
        let events: Vec<KeyEvent> = [stroke(4), stroke(5), stroke(6)].concat();
        assert_eq!(batch(&events).unwrap().len(), 5);
        assert_eq!(batch(&stroke(0x48)).unwrap().len(), 1);
        assert_eq!(batch(&[stroke(0x52), stroke(0x52)].concat()).unwrap().len(), 3);
        assert!(batch(&[]).is_none());
    }

    #[test]
    fn the_bios_ring_is_counted_around_its_end() {
        let waiting = |head, tail| Ring { head, tail }.waiting();
        assert_eq!((waiting(0x1e, 0x1e), waiting(0x1e, 0x22), waiting(0x3c, 0x20)), (0, 2, 2));
        assert_eq!(waiting(0x20, 0x1e), Ring::KEYS);
        assert_eq!((waiting(0, 0), waiting(0xffff, 0x1e), waiting(0x1f, 0x21)), (0, 0, 0));
        assert_eq!((number(" 0x1e"), number("0x"), number("x")), (Some(0x1e), None, None));
    }
}
