//! Keys as bytes whose order is DynamoDB's: strings and binaries by their bytes, numbers by value.

use bytes::Bytes;

use crate::{AttributeValue, Number, number::count_digits};

/// Appends a key attribute so that the order of the bytes is the order of the values. Only S, N and B can be keys;
/// others are left out.
pub fn encode(value: &AttributeValue, out: &mut Vec<u8>) {
    match value {
        AttributeValue::S(text) => out.extend_from_slice(text.as_bytes()),
        AttributeValue::B(bytes) => out.extend_from_slice(bytes),
        AttributeValue::N(number) => encode_number(number, out),
        _ => {}
    }
}

/// Sign, magnitude, digits: 0x80 for zero, above it the positive, below it the negative with all bytes turned.
fn encode_number(number: &Number, out: &mut Vec<u8>) {
    let (negative, _, coefficient) = number.parts();
    if number.is_zero() {
        out.push(0x80);
        return;
    }
    let mut bytes = vec![0xC0];
    bytes.extend_from_slice(&u16::try_from(number.magnitude() + 1000).unwrap_or(0).to_be_bytes());
    let stretched = coefficient * 10_u128.pow(38 - count_digits(coefficient));
    bytes.extend_from_slice(&stretched.to_be_bytes());
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    out.extend_from_slice(&bytes);
}

/// The smallest key that is greater than all keys with this prefix; `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut next = prefix[..=end].to_vec();
    next[end] += 1;
    Some(next)
}

/// A binary value of a key.
pub fn bytes_of(value: &AttributeValue) -> Bytes {
    let mut out = Vec::new();
    encode(value, &mut out);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_of_bytes_is_the_order_of_numbers(a in "-?[0-9]{1,12}(\\.[0-9]{1,8})?(E-?[0-9]{1,2})?", b in "-?[0-9]{1,12}(\\.[0-9]{1,8})?(E-?[0-9]{1,2})?") {
            let (a, b) = (Number::parse(&a).unwrap(), Number::parse(&b).unwrap());
            let (x, y) = (bytes_of(&AttributeValue::N(a)), bytes_of(&AttributeValue::N(b)));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }

    #[test]
    fn prefixes_end_where_the_next_begins() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xFF]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xFF]), None);
    }
}
