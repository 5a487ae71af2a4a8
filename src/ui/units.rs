//! Sizes, rates and durations as people read them.

/// Returns a size in binary units with three significant digits: `512 B`, `1.25 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        // 1023.5 would be shown as 1024.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Returns a duration: `0.04 s`, `3.2 s`, `2m 05s`, `1h 02m`.
pub fn seconds(seconds: f64) -> String {
    let seconds = if seconds.is_finite() && seconds > 0.0 { seconds } else { 0.0 };
    if seconds < 0.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = whole(seconds);
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    if hours > 0 { format!("{hours}h {minutes:02}m") } else { format!("{minutes}m {:02}s", whole % 60) }
}

/// Returns a duration in whole seconds, for counters that change while one looks: `7 s`, `2m 05s`.
pub fn whole_seconds(value: f64) -> String {
    if value < 59.5 { format!("{} s", whole(value)) } else { seconds(value.round()) }
}

fn whole(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let whole = seconds.round().clamp(0.0, 1e15) as u64;
    whole
}

/// Returns a span of time by its largest unit.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown: Vec<_> = [0, 1023, 1024, 1536, 1 << 20, (1 << 20) - 1, 460 << 20, 10 << 30, u64::MAX]
            .into_iter()
            .map(size)
            .collect();
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "1.00 MiB", "1.00 MiB", "460 MiB", "10.0 GiB", "16384 PiB"]
        );
    }

    #[test]
    fn durations() {
        let shown: Vec<_> =
            [f64::NAN, 0.0, 0.042, 0.996, 3.21, 59.94, 59.96, 125.0, 3599.6, 3725.0].into_iter().map(seconds).collect();
        assert_eq!(
            shown,
            ["0.00 s", "0.00 s", "0.04 s", "1.0 s", "3.2 s", "59.9 s", "1m 00s", "2m 05s", "1h 00m", "1h 02m"]
        );
        assert_eq!(whole_seconds(7.4), "7 s");
        assert_eq!(whole_seconds(59.6), "1m 00s");
    }

    #[test]
    fn spans() {
        let shown: Vec<String> = [0, 59, 60, 7199, 86_399, 86_400 * 40].map(span).to_vec();
        assert_eq!(shown, ["0 s", "59 s", "1 min", "1 h", "23 h", "40 days"]);
    }
}
