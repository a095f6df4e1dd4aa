//! Scalars as text: moments in the three formats of the contracts, numbers, base64, percent-encoding.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::fmt::{rfc2822, strtime, temporal};
use percent_encoding::percent_decode;
use tidemill_api::{Bytes, ReadError, TimeFormat, Timestamp};

/// Prints a moment. Fractions of a second appear only where there are some, milliseconds at most; HTTP dates have none.
pub fn timestamp(moment: Timestamp, format: TimeFormat) -> String {
    match format {
        TimeFormat::UnixTimestamp => seconds(moment),
        TimeFormat::Iso8601 => instant(moment).map(|at| at.to_string()).unwrap_or_default(),
        TimeFormat::Rfc822 => instant(moment)
            .and_then(|at| strtime::format("%a, %d %b %Y %H:%M:%S GMT", at).ok())
            .unwrap_or_default(),
    }
}

fn instant(moment: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(moment.millis()).ok()
}

/// `1400000000` or `1400000000.123`, exact.
fn seconds(moment: Timestamp) -> String {
    let millis = moment.millis();
    let (sign, whole, rest) =
        (if millis < 0 { "-" } else { "" }, millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
}

/// Reads a moment in whichever of the three formats it is written.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, ReadError> {
    let text = text.trim();
    let bad =
        || ReadError::new(format!("'{}' can not be converted to milliseconds since epoch", shown(text)));
    let first = text.bytes().next().ok_or_else(bad)?;
    if first.is_ascii_alphabetic() {
        let zoned = rfc2822::DateTimeParser::new().parse_timestamp(text).map_err(|_| bad())?;
        return Ok(Timestamp(zoned.as_millisecond()));
    }
    if text.bytes().skip(1).any(|byte| byte == b'-' || byte == b':') && text.contains(['T', 't', ' ']) {
        let at = temporal::DateTimeParser::new().parse_timestamp(text).map_err(|_| bad())?;
        return Ok(Timestamp(at.as_millisecond()));
    }
    let seconds: f64 = text.parse().map_err(|_| bad())?;
    timestamp_of_seconds(seconds).ok_or_else(bad)
}

/// A moment from seconds with a fraction; `None` outside of the years 0 to 9999.
pub fn timestamp_of_seconds(seconds: f64) -> Option<Timestamp> {
    (-62_167_219_200.0..253_402_300_800.0)
        .contains(&seconds)
        .then(|| Timestamp((seconds * 1000.0).round() as i64))
}

/// Prints a double as JSON, XML and queries do: `1.5`, `1.0`, `NaN`, `Infinity`, `-Infinity`.
pub fn push_double(out: &mut Vec<u8>, value: f64) {
    match special(value) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes()),
    }
}

/// [`push_double`] with a float's own shortest digits.
pub fn push_float(out: &mut Vec<u8>, value: f32) {
    match special(f64::from(value)) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes()),
    }
}

/// The word for a number that has no digits.
pub fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Reads a number that may be one of the three words; Rust's own further spellings (`inf`, `nan`) are refused.
pub fn parse_double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        }
        _ => None,
    }
}

/// `true` or `false`.
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

pub fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    let room = bytes.len().div_ceil(3) * 4;
    out.resize(start + room, 0);
    // The buffer has exactly the encoded length, so there is nothing to fail on.
    let written = STANDARD.encode_slice(bytes, out.get_mut(start..).unwrap_or_default()).unwrap_or(0);
    out.truncate(start + written);
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes padded base64; the sentences are those DynamoDB was seen to answer, its spelling included.
pub fn parse_base64(text: &str) -> Result<Bytes, ReadError> {
    use base64::DecodeError;
    let reason = match STANDARD.decode(text) {
        Ok(bytes) => return Ok(bytes.into()),
        Err(_) if !text.len().is_multiple_of(4) => {
            format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len())
        }
        Err(DecodeError::InvalidByte(_, byte)) => {
            format!("Invalid Base64 character: '{}'", char::from(byte))
        }
        Err(_) => "Invalid last non-pad Base64 character dectected".to_string(),
    };
    Err(ReadError::new(format!("'{}' can not be converted to a Blob: {reason}", shown(text))))
}

/// What of a refused value is echoed: all of it unless it is long.
pub fn shown(text: &str) -> &str {
    match text.char_indices().nth(1000) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Undoes percent-encoding; `plus` also turns `+` into a space, as in queries and forms.
pub fn percent_decoded(text: &str, plus: bool) -> Result<Cow<'_, str>, ReadError> {
    let bad = |_| ReadError::new("The request holds text that is not UTF-8");
    if plus && text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map_err(bad)?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode(text.as_bytes()).decode_utf8().map_err(bad)
}

/// A decoded name and its decoded value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs of a query string or form, decoded, in the order they stand. A name without `=` has an empty value.
pub fn form_pairs(text: &str) -> Result<Vec<Pair<'_>>, ReadError> {
    let mut pairs = Vec::new();
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        pairs.push((percent_decoded(name, true)?, percent_decoded(value, true)?));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_three_formats_and_read_back() {
        for (millis, unix, iso, http) in [
            (1_398_796_238_000, "1398796238", "2014-04-29T18:30:38Z", "Tue, 29 Apr 2014 18:30:38 GMT"),
            (1_398_796_238_120, "1398796238.12", "2014-04-29T18:30:38.12Z", "Tue, 29 Apr 2014 18:30:38 GMT"),
            (0, "0", "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-1500, "-1.5", "1969-12-31T23:59:58.5Z", "Wed, 31 Dec 1969 23:59:58 GMT"),
        ] {
            let moment = Timestamp(millis);
            assert_eq!(timestamp(moment, TimeFormat::UnixTimestamp), unix);
            assert_eq!(timestamp(moment, TimeFormat::Iso8601), iso);
            assert_eq!(timestamp(moment, TimeFormat::Rfc822), http);
            assert_eq!(parse_timestamp(unix), Ok(moment));
            assert_eq!(parse_timestamp(iso), Ok(moment));
        }
        assert_eq!(parse_timestamp("Tue, 29 Apr 2014 18:30:38 GMT"), Ok(Timestamp(1_398_796_238_000)));
        assert_eq!(parse_timestamp("2014-04-29T20:30:38+02:00"), Ok(Timestamp(1_398_796_238_000)));
        assert_eq!(parse_timestamp("1e9"), Ok(Timestamp(1_000_000_000_000)));
        for bad in ["", "x", "1e99", "NaN", "2014-13-01T00:00:00Z", "Tue"] {
            assert!(parse_timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_base64_is_refused_in_dynamodbs_words() {
        for (text, sentence) in [
            (
                "23456",
                "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5",
            ),
            ("=+/=", "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"),
            (
                "+/+=",
                "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
            ),
        ] {
            assert_eq!(parse_base64(text).map_err(|e| e.message), Err(sentence.to_string()));
        }
        assert_eq!(parse_base64("Zm9v"), Ok(Bytes::from_static(b"foo")));
    }

    #[test]
    fn numbers_without_digits_have_words() {
        for (value, text) in [(1.0, "1.0"), (0.1, "0.1"), (f64::INFINITY, "Infinity"), (-2.5, "-2.5")] {
            let mut out = Vec::new();
            push_double(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), text);
            assert_eq!(parse_double(text), Some(value));
        }
        assert_eq!(parse_double("inf"), None);
        assert_eq!(parse_double("1e400"), None);
    }

    #[test]
    fn forms_are_decoded() {
        let pairs = form_pairs("a=1+2&b=%C3%A9&c&&d=x=y")
            .map(|pairs| pairs.into_iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>());
        assert_eq!(pairs, Ok(vec!["a:1 2".into(), "b:é".into(), "c:".into(), "d:x=y".into()]));
        assert!(form_pairs("a=%FF").is_err());
    }
}
