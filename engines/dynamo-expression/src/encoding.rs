//! Items as compact bytes, for storage. The first byte is the version of the form.

use bytes::Bytes;

use crate::{AttributeValue, Item, Number};

const VERSION: u8 = 1;
/// Deeper than anything that was ever written.
const MOST_DEPTH: usize = 64;

/// The bytes of an item.
pub fn encode(item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(VERSION);
    write_map(item, &mut out);
    out
}

/// The item of some bytes; `None` when they are not of this form.
pub fn decode(bytes: &[u8]) -> Option<Item> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let item = read_map(&mut rest, MOST_DEPTH)?;
    rest.is_empty().then_some(item)
}

fn write_map(map: &Item, out: &mut Vec<u8>) {
    write_length(map.len(), out);
    for (name, value) in map {
        write_bytes(name.as_bytes(), out);
        write_value(value, out);
    }
}

fn write_value(value: &AttributeValue, out: &mut Vec<u8>) {
    match value {
        AttributeValue::S(text) => {
            out.push(1);
            write_bytes(text.as_bytes(), out);
        }
        AttributeValue::N(number) => {
            out.push(2);
            write_number(number, out);
        }
        AttributeValue::B(bytes) => {
            out.push(3);
            write_bytes(bytes, out);
        }
        AttributeValue::Bool(false) => out.push(4),
        AttributeValue::Bool(true) => out.push(5),
        AttributeValue::Null => out.push(6),
        AttributeValue::Ss(set) => {
            out.push(7);
            write_length(set.len(), out);
            set.iter().for_each(|text| write_bytes(text.as_bytes(), out));
        }
        AttributeValue::Ns(set) => {
            out.push(8);
            write_length(set.len(), out);
            set.iter().for_each(|number| write_number(number, out));
        }
        AttributeValue::Bs(set) => {
            out.push(9);
            write_length(set.len(), out);
            set.iter().for_each(|bytes| write_bytes(bytes, out));
        }
        AttributeValue::L(list) => {
            out.push(10);
            write_length(list.len(), out);
            list.iter().for_each(|value| write_value(value, out));
        }
        AttributeValue::M(map) => {
            out.push(11);
            write_map(map, out);
        }
    }
}

fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    let (negative, exponent, coefficient) = number.parts();
    out.push(u8::from(negative));
    out.extend_from_slice(&(exponent as i16).to_be_bytes());
    let bytes = coefficient.to_be_bytes();
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    write_bytes(&bytes[leading..], out);
}

fn read_map(rest: &mut &[u8], depth: usize) -> Option<Item> {
    let length = read_length(rest)?;
    let mut map = Item::new();
    for _ in 0..length {
        let name = read_text(rest)?;
        map.insert(name, read_value(rest, depth.checked_sub(1)?)?);
    }
    Some(map)
}

fn read_value(rest: &mut &[u8], depth: usize) -> Option<AttributeValue> {
    Some(match take(rest, 1)?[0] {
        1 => AttributeValue::S(read_text(rest)?),
        2 => AttributeValue::N(read_number(rest)?),
        3 => AttributeValue::B(Bytes::copy_from_slice(read_bytes(rest)?)),
        4 => AttributeValue::Bool(false),
        5 => AttributeValue::Bool(true),
        6 => AttributeValue::Null,
        7 => AttributeValue::Ss(read_list(rest, read_text)?),
        8 => AttributeValue::Ns(read_list(rest, read_number)?),
        9 => AttributeValue::Bs(read_list(rest, |rest| read_bytes(rest).map(Bytes::copy_from_slice))?),
        10 => {
            let inner = depth.checked_sub(1)?;
            AttributeValue::L(read_list(rest, |rest| read_value(rest, inner))?)
        }
        11 => AttributeValue::M(read_map(rest, depth)?),
        _ => return None,
    })
}

fn read_list<T>(rest: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let length = read_length(rest)?;
    // Each element takes a byte at least, so a lying length cannot reserve more than there is.
    let mut list = Vec::with_capacity(length.min(rest.len()));
    for _ in 0..length {
        list.push(read(rest)?);
    }
    Some(list)
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = take(rest, 1)?[0];
        length |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(rest)?;
    take(rest, length)
}

fn read_text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(read_bytes(rest)?).ok().map(str::to_string)
}

fn read_number(rest: &mut &[u8]) -> Option<Number> {
    let negative = take(rest, 1)?[0] == 1;
    let exponent = i16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    let bytes = read_bytes(rest)?;
    let mut whole = [0; 16];
    whole.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Number::from_parts(negative, i32::from(exponent), u128::from_be_bytes(whole))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = AttributeValue> {
        let leaf = prop_oneof![
            ".{0,12}".prop_map(AttributeValue::S),
            any::<i64>().prop_map(|n| AttributeValue::N(Number::parse(&n.to_string()).unwrap())),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null),
            proptest::collection::vec(any::<u8>(), 0..9).prop_map(|b| AttributeValue::B(b.into())),
            proptest::collection::btree_set("[a-z]{1,4}", 1..4)
                .prop_map(|s| AttributeValue::Ss(s.into_iter().collect())),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn items_come_back(item in proptest::collection::btree_map("[a-z]{1,6}", value(), 0..6)) {
            prop_assert_eq!(decode(&encode(&item)), Some(item));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
