//! What requests and answers have in common: lists, times.

use aws_sdk_ec2::primitives::DateTime;
use aws_smithy_types::date_time::Format;

use crate::builder::amazon::wrong;
use crate::error::Result;

/// How many things a page of a list has: as many as AWS gives, since each page is a request.
pub const PAGE: i32 = 1000;

/// Returns a list as the SDK wants it: none where it says nothing.
pub fn list<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// Returns the size of the pages of a list: things that are asked for by their ids come in one, and AWS wants no size then.
pub fn page_size(ids: &[String]) -> Option<i32> {
    ids.is_empty().then_some(PAGE)
}

/// Returns a time as scripts have it: `2027-01-01T00:00:00Z`.
pub fn time(time: Option<&DateTime>) -> Option<String> {
    time?.fmt(Format::DateTime).ok()
}

/// Reads a time of an option.
pub fn parse_time(option: &'static str, text: &str) -> Result<DateTime> {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(DateTime::from_secs(time.as_second())),
        Err(_) => Err(wrong(option, format_args!("{text:?} is no time such as \"2027-01-01T00:00:00Z\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        let read = parse_time("at", "2027-01-01T02:00:00+02:00").unwrap();
        assert_eq!(time(Some(&read)).as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!(
            parse_time("at", "tomorrow").unwrap_err().message(),
            "option `at`: \"tomorrow\" is no time such as \"2027-01-01T00:00:00Z\""
        );
    }
}
