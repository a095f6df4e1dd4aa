//! Values for parameters as people write them: `Name=value`, `Name="a value"`, `ParameterKey=Name,ParameterValue=value`,
//! several of them apart by spaces.

use anyhow::{Result, bail};

/// Reads one text of overrides. Spaces inside quotes, and before what is no `Name=`, belong to the value.
///
/// # Errors
/// A piece without `=`.
pub fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in words(text) {
        match (pair(&word), pairs.last_mut()) {
            (Some(pair), _) => pairs.push(pair),
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(&word);
            }
            (None, None) => bail!("{word:?} is no NAME=VALUE"),
        }
    }
    Ok(pairs)
}

/// Values of later pairs come in place of earlier ones of the same name.
pub fn merged(first: &[(String, String)], then: &[(String, String)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in first.iter().chain(then) {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.clone(),
            None => all.push((name.clone(), value.clone())),
        }
    }
    all
}

fn pair(word: &str) -> Option<(String, String)> {
    if let Some(rest) = word.strip_prefix("ParameterKey=") {
        let (name, value) = rest.split_once(",ParameterValue=")?;
        return Some((name.to_string(), value.to_string()));
    }
    let (name, value) = word.split_once('=')?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-:./@+".contains(c));
    is_name.then(|| (name.to_string(), value.to_string()))
}

/// Splits at spaces outside of quotes; quotes go, and a backslash keeps what follows.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => word.extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, begun) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (c, _) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_are_written() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("A=1", &[("A", "1")]),
            ("A=1 B=2", &[("A", "1"), ("B", "2")]),
            ("A=\"one two\" B='3'", &[("A", "one two"), ("B", "3")]),
            ("A=one two", &[("A", "one two")]),
            ("A=", &[("A", "")]),
            ("A=x=y", &[("A", "x=y")]),
            (r#"A={\"k\":1}"#, &[("A", r#"{"k":1}"#)]),
            ("ParameterKey=A,ParameterValue=a,b", &[("A", "a,b")]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let found = parse(text).expect("it is good");
            let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(found, *expected, "{text}");
        }
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn later_values_win() {
        let pair = |value: &str| vec![("A".to_string(), value.to_string())];
        assert_eq!(merged(&pair("1"), &pair("2")), pair("2"));
    }
}
