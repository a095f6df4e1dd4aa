//! Wildcards: text in which `*` stands for any run of bytes, `\*` for an asterisk and `\\` for a backslash. Matching
//! is greedy and linear for each literal part, so no pattern is slow; the complexity limit exists because AWS has one.

use std::fmt;

/// The most simultaneous partial matches one wildcard may have. AWS does not publish its own limit.
const COMPLEXITY_LIMIT: usize = 100;

/// A parsed wildcard: literal parts with `*` between them, at least one part; an empty first or last part means that
/// the wildcard begins or ends with `*`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Wildcard {
    parts: Vec<Box<[u8]>>,
    source: Box<str>,
}

impl Wildcard {
    /// Parses a wildcard; the errors are Event Ruler's sentences, positions count from the opening quote.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let bytes = source.as_bytes();
        let mut parts = vec![Vec::new()];
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let next = bytes.get(at + 1).copied();
            match byte {
                b'*' if next == Some(b'*') => {
                    return Err(format!("Consecutive wildcard characters at pos {}", at + 1));
                }
                b'*' => parts.push(Vec::new()),
                b'\\' => {
                    let Some(escaped @ (b'*' | b'\\')) = next else {
                        return Err(format!("Invalid escape character at pos {}", at + 1));
                    };
                    push(&mut parts, escaped);
                    at += 1;
                }
                other => push(&mut parts, other),
            }
            at += 1;
        }
        let parts = parts.into_iter().map(Vec::into_boxed_slice).collect();
        let wildcard = Self { parts, source: source.into() };
        if wildcard.complexity() > COMPLEXITY_LIMIT {
            return Err(
                "Rule is too complex - try using fewer wildcard characters or fewer repeating character \
                        sequences after a wildcard character"
                    .to_owned(),
            );
        }
        Ok(wildcard)
    }

    /// The literal parts, some of them possibly empty.
    pub(crate) fn parts(&self) -> &[Box<[u8]>] {
        &self.parts
    }

    /// How many `*` the wildcard has.
    pub(crate) fn stars(&self) -> usize {
        self.parts.len().saturating_sub(1)
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else { return false };
        if self.parts.len() == 1 {
            return text == &**first;
        }
        let Some(rest) = text.strip_prefix(&**first) else { return false };
        let Some(mut rest) = rest.strip_suffix(&**last) else { return false };
        for part in self.parts.get(1..self.parts.len() - 1).unwrap_or_default() {
            let Some(found) = memchr::memmem::find(rest, part) else { return false };
            rest = rest.get(found + part.len()..).unwrap_or_default();
        }
        true
    }

    /// How many positions of the wildcard some text could occupy at once: each `*`, and behind it each way in which
    /// the following literal overlaps itself.
    fn complexity(&self) -> usize {
        self.parts.iter().skip(1).map(|part| 1 + overlaps(part)).sum()
    }
}

fn push(parts: &mut [Vec<u8>], byte: u8) {
    if let Some(part) = parts.last_mut() {
        part.push(byte);
    }
}

/// The largest number of the literal's prefixes that can be in progress at the same time (its longest border chain).
fn overlaps(literal: &[u8]) -> usize {
    let mut border = vec![0usize; literal.len() + 1];
    let mut chain = vec![0usize; literal.len() + 1];
    let mut deepest = 0;
    let mut length = 0;
    for at in 0..literal.len() {
        if at > 0 {
            while length > 0 && literal[at] != literal[length] {
                length = border[length];
            }
            if literal[at] == literal[length] {
                length += 1;
            }
        }
        border[at + 1] = length;
        chain[at + 1] = chain[length] + 1;
        deepest = deepest.max(chain[at + 1]);
    }
    deepest
}

impl fmt::Debug for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::Wildcard;

    #[test]
    fn wildcards_match() {
        let cases = [
            ("*", "", true),
            ("*", "any", true),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*a", "a", false),
            ("*/lib/*", "/usr/lib/x", true),
            ("dir/*.png", "dir/a/b.png", true),
            ("dir/*.png", "dir/.jpg", false),
            ("a*b*c", "axbxbxc", true),
            ("*b*b*", "ab", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            (r"a\\*", r"a\b", true),
            ("plain", "plain", true),
        ];
        for (pattern, text, expected) in cases {
            let wildcard = Wildcard::parse(pattern).expect("a wildcard");
            assert_eq!(wildcard.matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn bad_wildcards_are_named() {
        assert_eq!(Wildcard::parse("a**"), Err("Consecutive wildcard characters at pos 2".to_owned()));
        assert_eq!(Wildcard::parse(r"a\b"), Err("Invalid escape character at pos 2".to_owned()));
        assert_eq!(Wildcard::parse(r"a\"), Err("Invalid escape character at pos 2".to_owned()));
        assert!(
            Wildcard::parse(&"*a".repeat(200)).is_err_and(|reason| reason.starts_with("Rule is too complex"))
        );
        assert!(Wildcard::parse(&format!("*{}", "a".repeat(200))).is_err());
        assert!(Wildcard::parse("*error*warn*fatal*").is_ok());
    }
}
