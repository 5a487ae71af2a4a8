//! How long tasks of this host had to wait for a processor.

/// Returns the seconds in which at least one task waited for a processor, since the host began to count (Linux's pressure
/// stall information, Documentation/accounting/psi.rst); none where it does not.
pub fn waited() -> Option<f64> {
    parse(&std::fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// Reads the total, in microseconds, of the line `some avg10=… avg60=… avg300=… total=…`.
fn parse(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let total: f64 = line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()?;
    Some(total / 1e6)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_what_the_kernel_writes() {
        let text = "some avg10=12.79 avg60=28.58 avg300=10.39 total=2500000\nfull avg10=0.00 total=7\n";
        assert_eq!(super::parse(text), Some(2.5));
        assert_eq!(super::parse("full total=1"), None);
    }
}
