//! Pages of lists: AWS hands out opaque tokens; ours carry the key after which the next page begins.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// One page of a list and the token of the next, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_token: Option<String>,
}

/// Cuts the page that follows `token` out of `items`, which must be in ascending order of `key`.
///
/// `None` when the token was not made by [`Page`]; the caller answers its service's error for that.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    limit: usize,
) -> Option<Page<T>> {
    let after = match token {
        Some(token) => Some(decode(token)?),
        None => None,
    };
    let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let next_token = match (items.last(), rest.next()) {
        (Some(last), Some(_)) => Some(encode(&key(last))),
        _ => None,
    };
    Some(Page { items, next_token })
}

/// Makes an opaque token of a key.
pub fn encode(key: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("1:{key}"))
}

/// The key in a token; `None` when the token is not ours.
pub fn decode(token: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("1:").map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let all = ["a", "b", "c", "d", "e"];
        let first = page(all, |s| s.to_string(), None, 2).unwrap();
        assert_eq!(first.items, ["a", "b"]);
        let second = page(all, |s| s.to_string(), first.next_token.as_deref(), 2).unwrap();
        assert_eq!(second.items, ["c", "d"]);
        let third = page(all, |s| s.to_string(), second.next_token.as_deref(), 2).unwrap();
        assert_eq!((third.items, third.next_token), (vec!["e"], None));
        assert_eq!(page(all, |s| s.to_string(), Some("?"), 2), None);
    }
}
