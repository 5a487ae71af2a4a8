//! `--json`: one event a line, as `docs/events.md` describes.

use std::io::Write;
use std::time::{Duration, Instant};

use super::event::{Counter, Event, Stamped};
use super::handle::Renderer;
use super::text;

/// A piece of work whose counter is told now and then.
struct Work {
    id: u64,
    counter: Counter,
    told: Instant,
    done: u64,
}

/// Writes JSON lines.
pub struct Json<W> {
    out: W,
    work: Vec<Work>,
}

impl<W: Write + Send> Json<W> {
    /// Makes a renderer that writes to `out`.
    pub fn new(out: W) -> Json<W> {
        Json { out, work: Vec::new() }
    }

    fn write(&mut self, stamped: &Stamped) {
        // An event holds text and numbers only, so this cannot fail but for the reader going away.
        if let Ok(line) = serde_json::to_string(stamped) {
            let mut line = text::escape_json(line);
            line.push('\n');
            let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

impl<W: Write + Send> Renderer for Json<W> {
    fn event(&mut self, stamped: &Stamped) {
        match &stamped.event {
            Event::ProgressStarted { id, counter, .. } => {
                self.work.push(Work { id: *id, counter: counter.clone(), told: Instant::now(), done: 0 });
            }
            Event::ProgressFinished { id, .. } => self.work.retain(|work| work.id != *id),
            _ => {}
        }
        self.write(stamped);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let mut advanced = Vec::new();
        for work in &mut self.work {
            let done = work.counter.get();
            if done != work.done && now.duration_since(work.told) >= Duration::from_secs(1) {
                (work.told, work.done) = (now, done);
                advanced.push(Event::ProgressAdvanced { id: work.id, done });
            }
        }
        for event in advanced {
            self.write(&Stamped { time: format!("{:.3}", jiff::Timestamp::now()), event });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::event::Unit;
    use crate::ui::testing::{Buffer, play, sample};

    #[test]
    fn one_event_a_line_with_its_time_first() {
        let buffer = Buffer::default();
        play(&mut Json::new(buffer.clone()), sample());
        let text = buffer.text();
        assert_eq!(text.lines().count(), sample().len());
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(value["event"].is_string() && value["time"] == "2026-01-02T03:04:05.678Z", "{line}");
        }
        let line = text.lines().find(|line| line.contains("operation_finished")).unwrap();
        assert_eq!(
            line,
            r#"{"time":"2026-01-02T03:04:05.678Z","event":"operation_finished","build":"web","id":2,"machine":"web","kind":"run","title":"apt-get update","ok":true,"cached":false,"seconds":1.5}"#
        );
    }

    #[test]
    fn a_counter_is_told_at_most_once_a_second() {
        let buffer = Buffer::default();
        let mut json = Json::new(buffer.clone());
        let counter = Counter::default();
        let event = Event::ProgressStarted {
            build: None,
            id: 9,
            what: "hashing".into(),
            total: Some(10),
            unit: Unit::Bytes,
            counter: counter.clone(),
        };
        play(&mut json, vec![event]);
        counter.set(3);
        json.tick();
        assert_eq!(buffer.text().lines().count(), 1, "told before a second had passed");
        json.work[0].told = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        json.tick();
        json.tick();
        let text = buffer.text();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().nth(1).unwrap().ends_with(r#""event":"progress_advanced","id":9,"done":3}"#), "{text}");
    }
}
