//! The MD5 digests by which SDKs check what SQS understood. Source: the SQS developer guide, "Calculating the MD5
//! message digest for message attributes".

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use crate::state::Attribute;

pub fn of_text(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// The digest of message attributes, which are hashed in the order of their names; `None` when there are none.
pub fn of_attributes(attributes: &BTreeMap<String, Attribute>) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    for (name, attribute) in attributes {
        part(&mut bytes, name.as_bytes());
        part(&mut bytes, attribute.data_type.as_bytes());
        // One byte says how the value travels.
        match (&attribute.text, &attribute.binary) {
            (_, Some(binary)) => {
                bytes.push(2);
                part(&mut bytes, binary);
            }
            (text, None) => {
                bytes.push(1);
                part(&mut bytes, text.as_deref().unwrap_or_default().as_bytes());
            }
        }
    }
    Some(hex::encode(Md5::digest(&bytes)))
}

fn part(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_that_sdks_compute() {
        assert_eq!(of_text("hello"), "5d41402abc4b2a76b9719d911017c592");
        let attribute = Attribute { data_type: "String".into(), text: Some("b".into()), binary: None };
        let digest = of_attributes(&BTreeMap::from([("a".to_string(), attribute)]));
        let expected = Md5::digest(b"\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x01b");
        assert_eq!(digest, Some(hex::encode(expected)));
        assert_eq!(of_attributes(&BTreeMap::new()), None);
    }
}
