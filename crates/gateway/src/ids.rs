//! Request ids in the shapes AWS's services give them, and the Date header. Randomness and time come from the
//! platform; whose ids look how, `directory.rs` says.

use std::cell::RefCell;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use tidemill_platform::{Clock, Random};

/// How a service's request ids look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdStyle {
    Uuid,
    /// DynamoDB: 52 capitals and digits.
    Long,
    /// S3: 16 capitals and digits, with a second id in `x-amz-id-2`.
    Short,
}

impl IdStyle {
    pub(crate) fn make(self, random: &Random) -> String {
        match self {
            IdStyle::Uuid => random.uuid(),
            IdStyle::Long => alphanumeric(&random.bytes::<52>()),
            IdStyle::Short => alphanumeric(&random.bytes::<16>()),
        }
    }
}

/// S3's extended request id: 76 characters of base64.
pub(crate) fn extended_id(random: &Random) -> String {
    BASE64_STANDARD.encode(random.bytes::<56>())
}

/// A bias of a few parts in a hundred towards some letters does no harm to an id.
fn alphanumeric(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 36)])).collect()
}

/// Seconds since 1970 as the clock on the wall has it. Clients hold signatures and the Date header against their own
/// clock, so neither follows `tidemill clock advance`.
pub(crate) fn wall_s(clock: &Clock) -> i64 {
    clock.now().millis().saturating_sub(clock.offset_ms()).div_euclid(1000)
}

thread_local! {
    static DATE: RefCell<(i64, HeaderValue)> = const { RefCell::new((i64::MIN, HeaderValue::from_static(""))) };
}

/// The Date header's value, printed once a second and thread.
pub(crate) fn date(now_s: i64) -> HeaderValue {
    DATE.with_borrow_mut(|(at_s, value)| {
        if *at_s != now_s {
            *value = print_date(now_s);
            *at_s = now_s;
        }
        value.clone()
    })
}

fn print_date(now_s: i64) -> HeaderValue {
    let moment = jiff::Timestamp::from_second(now_s).unwrap_or_default();
    let text = moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_services_shape() {
        let random = Random::seeded(1);
        let capital = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        assert_eq!(IdStyle::Uuid.make(&random).len(), 36);
        for (style, length) in [(IdStyle::Long, 52), (IdStyle::Short, 16)] {
            let id = style.make(&random);
            assert!(id.len() == length && id.bytes().all(capital), "{id}");
        }
        assert_eq!(extended_id(&random).len(), 76);
    }

    #[test]
    fn the_date_is_http_s() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
