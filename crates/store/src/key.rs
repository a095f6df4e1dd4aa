//! Keys as bytes whose order is the keys' own. Tuples order by their parts, first to last.

/// A key or a part of one.
pub trait Key: Sized {
    /// Appends the bytes. No encoding is a prefix of another of the same type.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads back what [`Key::encode`] wrote and moves behind it; `None` when the bytes are something else.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

impl Key for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<u64> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(u64::from_be_bytes(*head))
    }
}

impl Key for Vec<u8> {
    /// A zero byte is written as `00 FF`; `00 00` ends the bytes, so that shorter ones come first.
    fn encode(&self, out: &mut Vec<u8>) {
        for byte in self {
            out.push(*byte);
            if *byte == 0 {
                out.push(0xFF);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if *byte == 0 {
                let (mark, rest) = bytes.split_first()?;
                *bytes = rest;
                if *mark == 0 {
                    return Some(out);
                }
            }
            out.push(*byte);
        }
    }
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        for byte in self.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xFF);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }

    fn decode(bytes: &mut &[u8]) -> Option<String> {
        String::from_utf8(Vec::<u8>::decode(bytes)?).ok()
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Option<(A, B)> {
        Some((A::decode(bytes)?, B::decode(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }

    fn decode(bytes: &mut &[u8]) -> Option<(A, B, C)> {
        Some((A::decode(bytes)?, B::decode(bytes)?, C::decode(bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn the_order_of_bytes_is_the_order_of_keys(
            a in (proptest::collection::vec(0_u8..4, 0..5), any::<u64>()),
            b in (proptest::collection::vec(0_u8..4, 0..5), any::<u64>()),
        ) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            prop_assert_eq!(Key::decode(&mut &bytes(&a)[..]), Some(a));
        }

        #[test]
        fn strings_come_back(text in ".{0,20}") {
            prop_assert_eq!(String::decode(&mut &bytes(&text)[..]), Some(text));
        }
    }
}
