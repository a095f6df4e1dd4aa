//! Moments as signatures write them: `20150830T123600Z`, and the HTTP `Date` header where a client sends only that.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::Offset};

/// A moment of whole seconds that prints in ISO 8601 basic format, as the string to sign wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AmzDate(Timestamp);

static HTTP_DATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();

impl AmzDate {
    /// The moment `seconds` after 1970-01-01T00:00:00Z; what lies outside the years −9999 to 9999 becomes 1970.
    pub fn from_secs(seconds: i64) -> AmzDate {
        AmzDate(Timestamp::from_second(seconds).unwrap_or_default())
    }

    /// Reads `yyyyMMdd'T'HHmmss'Z'` and nothing else.
    pub fn parse(text: &str) -> Option<AmzDate> {
        let digits = text.as_bytes();
        if digits.len() != 16 || digits.get(8) != Some(&b'T') || digits.get(15) != Some(&b'Z') {
            return None;
        }
        let number = |range| -> Option<i16> {
            let part: &str = text.get(range)?;
            if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
        };
        let small = |range| number(range).and_then(|value| i8::try_from(value).ok());
        let (year, month, day) = (number(0..4)?, small(4..6)?, small(6..8)?);
        let (hour, minute, second) = (small(9..11)?, small(11..13)?, small(13..15)?);
        let civil = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        Offset::UTC.to_timestamp(civil).ok().map(AmzDate)
    }

    /// Reads the basic format or an HTTP date (`Sun, 30 Aug 2015 12:36:00 GMT`), as S3 accepts in the Date header.
    pub fn parse_header(text: &str) -> Option<AmzDate> {
        AmzDate::parse(text).or_else(|| {
            let moment = HTTP_DATE.parse_timestamp(text).ok()?;
            Some(AmzDate::from_secs(moment.as_second()))
        })
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn secs(self) -> i64 {
        self.0.as_second()
    }

    /// The day of the credential scope, `20150830`.
    pub fn day(self) -> String {
        let civil = Offset::UTC.to_datetime(self.0);
        format!("{:04}{:02}{:02}", civil.year(), civil.month(), civil.day())
    }

    /// `2015-08-30T12:36:00Z`, as S3's errors print a moment.
    pub fn extended(self) -> String {
        let civil = Offset::UTC.to_datetime(self.0);
        let (year, month, day) = (civil.year(), civil.month(), civil.day());
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }
}

impl fmt::Display for AmzDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = Offset::UTC.to_datetime(self.0);
        write!(out, "{:04}{:02}{:02}T", civil.year(), civil.month(), civil.day())?;
        write!(out, "{:02}{:02}{:02}Z", civil.hour(), civil.minute(), civil.second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_moment_are_read() {
        let basic = AmzDate::parse("20150830T123600Z").unwrap();
        assert_eq!(basic.secs(), 1_440_938_160);
        assert_eq!(AmzDate::parse_header("Sun, 30 Aug 2015 12:36:00 GMT"), Some(basic));
        assert_eq!(basic.to_string(), "20150830T123600Z");
        assert_eq!(basic.day(), "20150830");
        assert_eq!(basic.extended(), "2015-08-30T12:36:00Z");
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "",
            "20150830T123600",
            "2015-08-30T12:36:00Z",
            "20151330T123600Z",
            "2015083 T123600Z",
            "+0150830T123600Z",
            "20150830T1236é0Z",
        ];
        for text in wrong {
            assert_eq!(AmzDate::parse(text), None, "{text}");
        }
        assert_eq!(AmzDate::parse_header("yesterday"), None);
    }
}
