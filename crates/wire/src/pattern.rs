//! The regular expressions of contracts. They are Java's, so they are translated; each is compiled once, when a value is
//! first held against it, and must match the value whole.
//!
//! A pattern that cannot be compiled is not enforced: refusing what AWS accepts would be worse.

use std::sync::LazyLock;

use fancy_regex::{Regex, RegexBuilder};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tidemill_api::Schema;

/// Steps a pattern that looks around may take back before it is given up: a bound on what a value can cost.
const BACKTRACK_LIMIT: usize = 100_000;
/// Bytes a compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// Compiled patterns by the address of their schema, which is static.
static COMPILED: LazyLock<RwLock<FxHashMap<usize, Option<&'static Regex>>>> = LazyLock::new(Default::default);

/// Whether a text matches the schema's pattern; true where there is none or it cannot be judged.
pub fn matches(schema: &'static Schema, text: &str) -> bool {
    let Some(pattern) = schema.pattern else { return true };
    let key = std::ptr::from_ref(schema).addr();
    let known = COMPILED.read().get(&key).copied();
    let regex = known.unwrap_or_else(|| {
        // As many are kept for good as there are schemas with patterns.
        let compiled = compile(pattern).ok().map(|regex| &*Box::leak(Box::new(regex)));
        *COMPILED.write().entry(key).or_insert(compiled)
    });
    regex.is_none_or(|regex| regex.is_match(text).unwrap_or(true))
}

/// Compiles a pattern of a contract, anchored at both ends.
pub fn compile(pattern: &str) -> Result<Regex, Box<fancy_regex::Error>> {
    RegexBuilder::new(&format!(r"\A(?:{})\z", translate(pattern)))
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(SIZE_LIMIT)
        .build()
        .map_err(Box::new)
}

/// Java's syntax in ours: `\w`, `\d` and `\s` are ASCII; `\uD800\uDC00` is one character; brackets inside a class may
/// stand unescaped.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let starting = std::mem::take(&mut class_start);
        match c {
            '\\' => escape(&mut out, &mut chars, in_class),
            '[' if !in_class => {
                in_class = true;
                class_start = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            '[' => out.push_str("\\["),
            ']' if in_class && starting => out.push_str("\\]"),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class && chars.peek() == Some(&c) => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out
}

fn escape(out: &mut String, chars: &mut std::iter::Peekable<std::str::Chars>, in_class: bool) {
    let Some(c) = chars.next() else { return out.push_str("\\\\") };
    let ascii = match c {
        'w' => "0-9A-Za-z_",
        'd' => "0-9",
        's' => " \\t\\n\\x0B\\f\\r",
        'W' => return out.push_str("[^0-9A-Za-z_]"),
        'D' => return out.push_str("[^0-9]"),
        'S' => return out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
        'u' => return unicode(out, chars),
        // Java escapes whatever is no letter or digit; our syntax does not know all of those.
        other if !other.is_alphanumeric() && !is_meta(other) => return out.push(other),
        other => {
            out.push('\\');
            return out.push(other);
        }
    };
    if in_class {
        out.push_str(ascii);
    } else {
        out.push_str(&format!("[{ascii}]"));
    }
}

fn is_meta(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// `\uXXXX`; a pair of surrogates is the character it stands for, one alone is none and vanishes.
fn unicode(out: &mut String, chars: &mut std::iter::Peekable<std::str::Chars>) {
    let unit = hex4(chars);
    let code = match unit {
        0xD800..0xDC00 => {
            let mut ahead = chars.clone();
            let follows = ahead.next() == Some('\\') && ahead.next() == Some('u');
            let low = if follows { hex4(&mut ahead) } else { 0 };
            if !(0xDC00..0xE000).contains(&low) {
                return;
            }
            *chars = ahead;
            0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        }
        other => other,
    };
    if char::from_u32(code).is_some() {
        out.push_str(&format!("\\x{{{code:X}}}"));
    }
}

fn hex4(chars: &mut std::iter::Peekable<std::str::Chars>) -> u32 {
    let mut value = 0;
    for _ in 0..4 {
        value = value * 16 + chars.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn javas_patterns_match_whole_values() {
        for (pattern, yes, no) in [
            ("[a-zA-Z0-9_.-]+", "a.b-c", "a b"),
            (r"[\w+=,.@-]+", "me@x", "é"),
            (r"a|b", "a", "ab"),
            (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "x😀\n", "\u{1}"),
            (r"(?!aws:)[a-z:]+", "tag", "aws:x"),
            (r"[^\s]+", "x", "a b"),
            (r"[[a]+", "[a", "b"),
            (r"arn:\S+", "arn:x", "arn: "),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(yes).ok(), Some(true), "{pattern} {yes}");
            assert_eq!(regex.is_match(no).ok(), Some(false), "{pattern} {no}");
        }
    }
}
