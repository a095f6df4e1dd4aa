//! Query strings as signatures see them: decoded pairs, a missing `=` meaning an empty value, `+` meaning a space.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The pairs of a raw query string in their order, still encoded. Empty pieces (`a&&b`) are passed over.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// The first value of the parameter `name`, decoded. Bytes that are not UTF-8 are replaced.
pub(crate) fn value(query: &str, name: &str) -> Option<String> {
    let (_, value) = pairs(query).find(|(key, _)| decode(key).as_ref() == name.as_bytes())?;
    Some(String::from_utf8_lossy(&decode(value)).into_owned())
}

/// Percent-decoded bytes of a name or value.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).into();
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        assert_eq!(value("a=1&X%2DB=c%20d+e", "X-B").as_deref(), Some("c d e"));
        assert_eq!(value("acl", "acl").as_deref(), Some(""));
        assert_eq!(value("&&a=%ff", "a").as_deref(), Some("\u{fffd}"));
        assert_eq!(value("", "a"), None);
    }
}
