//! Letter case. Patterns that ignore case compare folded text: ASCII letters in lower case, any other letter by its
//! one-character lower case. Letters whose lower case is several characters stay as they are, as in Event Ruler.

use std::borrow::Cow;

/// `text` with its case removed; borrowed when nothing changes.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(fold_char).collect())
}

/// Whether `text` is `folded` in some letter case.
pub(crate) fn is_folded(text: &str, folded: &str) -> bool {
    if text.is_ascii() { text.eq_ignore_ascii_case(folded) } else { *fold(text) == *folded }
}

/// Whether `text` begins with `folded` in some letter case.
pub(crate) fn starts_folded(text: &str, folded: &str) -> bool {
    match text.is_ascii() {
        true => text.get(..folded.len()).is_some_and(|start| start.eq_ignore_ascii_case(folded)),
        false => fold(text).starts_with(folded),
    }
}

/// Whether `text` ends with `folded` in some letter case.
pub(crate) fn ends_folded(text: &str, folded: &str) -> bool {
    match text.is_ascii() {
        true => text
            .len()
            .checked_sub(folded.len())
            .and_then(|start| text.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(folded)),
        false => fold(text).ends_with(folded),
    }
}

fn fold_char(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folds_ascii_and_other_letters() {
        for (text, folded) in [("", ""), ("abc", "abc"), ("AbC-1", "abc-1"), ("ÄÖÜß", "äöüß"), ("İ", "İ")]
        {
            assert_eq!(fold(text), folded);
        }
    }
}
