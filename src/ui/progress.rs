//! Pieces of work with a counter, followed by looking at the counter now and then.

use std::time::{Duration, Instant};

use super::event::{Counter, Event, Unit};
use super::style::Style;
use super::{text, units};

/// What ends sooner is not shown.
pub const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// One piece of work that is going on.
#[derive(Debug)]
pub struct Active {
    pub id: u64,
    pub build: Option<String>,
    pub what: String,
    pub total: Option<u64>,
    pub unit: Unit,
    pub counter: Counter,
    pub started: Instant,
    /// Units a second, smoothed; `None` until there are two samples.
    rate: Option<f64>,
    last: (Instant, u64),
}

impl Active {
    /// Begins to follow the work of a `ProgressStarted` event.
    pub fn new(event: &Event) -> Option<Active> {
        let Event::ProgressStarted { build, id, what, total, unit, counter } = event else { return None };
        let now = Instant::now();
        Some(Active {
            id: *id,
            build: build.clone(),
            what: text::sanitize(what),
            total: *total,
            unit: *unit,
            counter: counter.clone(),
            started: now,
            rate: None,
            last: (now, 0),
        })
    }

    /// Returns whether it has lasted long enough to be worth a person's look.
    pub fn is_long(&self, now: Instant) -> bool {
        now.duration_since(self.started) >= SHOWN_AFTER
    }

    /// Looks at the counter.
    pub fn sample(&mut self, now: Instant) {
        let (then, before) = self.last;
        let elapsed = now.duration_since(then).as_secs_f64();
        if elapsed < 0.25 {
            return;
        }
        let done = self.counter.get();
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let current = done.saturating_sub(before) as f64 / elapsed;
        // About three seconds' memory: steady enough to read, quick enough to notice a stall.
        let weight = 1.0 - (-elapsed / 3.0).exp();
        self.rate = Some(self.rate.map_or(current, |rate| rate + weight * (current - rate)));
        self.last = (now, done);
    }

    /// Returns the part that is done, between 0 and 1.
    fn fraction(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
        Some((self.counter.get() as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// Returns `45%  230 MiB of 512 MiB  31.0 MiB/s  9 s left`, with what is known of it.
    pub fn numbers(&self, now: Instant) -> String {
        let done = self.counter.get();
        let mut parts = Vec::new();
        if let Some(fraction) = self.fraction() {
            parts.push(format!("{:3.0}%", (fraction * 100.0).floor()));
        }
        let count = |n: u64| match self.unit {
            Unit::Bytes => units::size(n),
            _ => n.to_string(),
        };
        match (self.unit, self.total) {
            (Unit::Bytes, Some(total)) => parts.push(format!("{} of {}", count(done), count(total))),
            (Unit::Bytes, None) => parts.push(count(done)),
            (Unit::Files, Some(total)) => parts.push(format!("{done} of {total} files")),
            (Unit::Files, None) => parts.push(format!("{done} files")),
            (Unit::Percent | Unit::Spinner, _) => {}
        }
        if self.unit == Unit::Bytes
            && let Some(rate) = self.rate
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are never negative")]
            parts.push(format!("{}/s", units::size(rate as u64)));
        }
        match (self.left(), self.unit) {
            (Some(left), _) => parts.push(format!("{} left", units::whole_seconds(left))),
            (None, _) => parts.push(units::whole_seconds(now.duration_since(self.started).as_secs_f64())),
        }
        parts.join("  ")
    }

    /// Returns the one number that says most, for where there is no room for [`Active::numbers`].
    pub fn short_number(&self, now: Instant) -> String {
        match self.fraction() {
            Some(fraction) => format!("{:.0}%", (fraction * 100.0).floor()),
            None => units::whole_seconds(now.duration_since(self.started).as_secs_f64()),
        }
    }

    /// Estimates the seconds that are left from the current rate.
    fn left(&self) -> Option<f64> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = self.total?.checked_sub(self.counter.get())? as f64 / rate;
        (left < 360_000.0).then_some(left)
    }

    /// Returns a bar of `columns`, or nothing when the end is unknown.
    pub fn bar(&self, columns: usize, style: Style) -> Option<String> {
        let fraction = self.fraction()?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "tiny"
        )]
        let filled = ((columns as f64 * fraction).floor() as usize).min(columns);
        let (full, empty) = if style.unicode { ("━", "─") } else { ("=", "-") };
        Some(format!("{}{}", style.good(&full.repeat(filled)), style.dim(&empty.repeat(columns - filled))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(total: Option<u64>, unit: Unit, counter: &Counter) -> Active {
        Active::new(&Event::ProgressStarted {
            build: Some("web".into()),
            id: 1,
            what: "downloading".into(),
            total,
            unit,
            counter: counter.clone(),
        })
        .unwrap()
    }

    #[test]
    fn shows_part_amount_rate_and_time_left() {
        let counter = Counter::default();
        let mut work = active(Some(100 << 20), Unit::Bytes, &counter);
        let start = work.started;
        assert!(!work.is_long(start + Duration::from_millis(999)));
        counter.set(20 << 20);
        work.sample(start + Duration::from_secs(2));
        assert_eq!(work.numbers(start + Duration::from_secs(2)), " 20%  20.0 MiB of 100 MiB  10.0 MiB/s  8 s left");
        assert_eq!(work.bar(10, Style::PLAIN).unwrap(), "==--------");
        // A stall is noticed: the rate falls, the time left grows.
        work.sample(start + Duration::from_secs(12));
        assert!(work.left().unwrap() > 60.0);
    }

    #[test]
    fn says_only_what_is_known() {
        let counter = Counter::default();
        counter.set(7);
        let now = |work: &Active| work.started + Duration::from_secs(3);
        let files = active(None, Unit::Files, &counter);
        assert_eq!(files.numbers(now(&files)), "7 files  3 s");
        let spinner = active(None, Unit::Spinner, &counter);
        assert_eq!(spinner.numbers(now(&spinner)), "3 s");
        assert_eq!(spinner.bar(10, Style::PLAIN), None);
        let empty = active(Some(0), Unit::Bytes, &counter);
        assert_eq!(empty.bar(10, Style::PLAIN), None);
    }
}
