//! Values in paths, queries and headers: found by their member, and lists in one header taken apart and put together.

use http::HeaderMap;
use indexmap::IndexMap;
use tidemill_api::{At, Kind, Member, ReadError, TimeFormat};

use crate::{Incoming, text};

/// The decoded parameters of a query string.
pub(super) type Query<'a> = Vec<text::Pair<'a>>;

/// A member's value in the message: one text, several, or several by key.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) text: String,
    pub(super) values: std::vec::IntoIter<String>,
    pub(super) entries: std::vec::IntoIter<(String, Vec<String>)>,
}

impl Bound {
    fn one(text: String) -> Bound {
        Bound { text, ..Bound::default() }
    }

    fn many(values: Vec<String>) -> Bound {
        Bound { values: values.into_iter(), ..Bound::default() }
    }

    fn map(entries: Vec<(String, Vec<String>)>) -> Bound {
        Bound { entries: entries.into_iter(), ..Bound::default() }
    }

    /// Where the message holds a member that is not in its body; `None` when it does not.
    pub(super) fn find(
        member: &Member,
        incoming: &Incoming,
        query: &Query,
    ) -> Result<Option<Bound>, ReadError> {
        match member.at {
            At::Uri => label(member, incoming),
            At::Query => Ok(parameter(member, query)),
            At::Header => header(member, incoming.headers),
            At::Headers => Ok(prefixed(member, incoming.headers)),
            At::Body | At::StatusCode => Ok(None),
        }
    }
}

fn label(member: &Member, incoming: &Incoming) -> Result<Option<Bound>, ReadError> {
    let Some((_, raw)) = incoming.labels.iter().find(|(name, _)| *name == member.wire) else {
        return Ok(None);
    };
    Ok(Some(Bound::one(text::percent_decoded(raw, false)?.into_owned())))
}

fn parameter(member: &Member, query: &Query) -> Option<Bound> {
    if member.schema().kind == Kind::Map {
        let mut entries: IndexMap<String, Vec<String>> = IndexMap::new();
        for (name, value) in query {
            entries.entry(name.to_string()).or_default().push(value.to_string());
        }
        let entries: Vec<_> = entries.into_iter().collect();
        return (!entries.is_empty()).then(|| Bound::map(entries));
    }
    let mut values = query.iter().filter(|(name, _)| name == member.wire).map(|(_, value)| value.to_string());
    if member.schema().kind == Kind::List {
        let values: Vec<String> = values.collect();
        return (!values.is_empty()).then(|| Bound::many(values));
    }
    values.next().map(Bound::one)
}

fn header(member: &Member, headers: &HeaderMap) -> Result<Option<Bound>, ReadError> {
    let mut lines = Vec::new();
    for value in headers.get_all(member.wire) {
        lines.push(
            std::str::from_utf8(value.as_bytes()).map_err(|_| ReadError::new("A header is not UTF-8"))?,
        );
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let whole = lines.join(", ");
    if member.schema().kind == Kind::List {
        let dates = member.schema().members.first().is_some_and(|part| {
            let format = part.time_format().unwrap_or(TimeFormat::Rfc822);
            part.schema().kind == Kind::Timestamp && format == TimeFormat::Rfc822
        });
        return Ok(Some(Bound::many(split(&whole, dates))));
    }
    if member.json_value {
        let bytes = text::parse_base64(&whole)?;
        let text = String::from_utf8(bytes.into()).map_err(|_| ReadError::new("A header is not UTF-8"))?;
        return Ok(Some(Bound::one(text)));
    }
    Ok(Some(Bound::one(whole)))
}

fn prefixed(member: &Member, headers: &HeaderMap) -> Option<Bound> {
    let prefix = member.wire.to_ascii_lowercase();
    let entries = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(&prefix)?;
        Some((key.to_string(), vec![String::from_utf8_lossy(value.as_bytes()).into_owned()]))
    });
    let entries: Vec<_> = entries.collect();
    (!entries.is_empty()).then(|| Bound::map(entries))
}

/// The elements of a list in one header. A date holds a comma of its own; texts with commas stand in quotes.
fn split(line: &str, dates: bool) -> Vec<String> {
    let mut elements = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let comma = rest.match_indices(',').nth(usize::from(dates));
                let end = comma.map_or(rest.len(), |(at, _)| at);
                (rest.get(..end).unwrap_or_default().trim().to_string(), rest.get(end..).unwrap_or_default())
            }
        };
        elements.push(element);
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    elements
}

/// A quoted text behind its opening quote, and what follows the closing one.
fn unquote(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, text.get(at + 1..).unwrap_or_default()),
            '\\' => out.extend(chars.next().map(|(_, escaped)| escaped)),
            other => out.push(other),
        }
    }
    (out, "")
}

/// A list as one header prints it.
pub(super) fn joined(elements: impl Iterator<Item = String>) -> String {
    elements.collect::<Vec<_>>().join(", ")
}

/// A text as an element of such a list.
pub(super) fn quoted(text: &str) -> String {
    if !text.contains([',', '"']) {
        return text.to_string();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::{quoted, split};

    #[test]
    fn lists_in_a_header_come_apart() {
        for (line, dates, elements) in [
            ("a, b,c", false, vec!["a", "b", "c"]),
            (r#""b,c", "\"def\"", a"#, false, vec!["b,c", "\"def\"", "a"]),
            (
                "Mon, 16 Dec 2019 23:48:18 GMT, Tue, 17 Dec 2019 23:48:18 GMT",
                true,
                vec!["Mon, 16 Dec 2019 23:48:18 GMT", "Tue, 17 Dec 2019 23:48:18 GMT"],
            ),
            ("", false, vec![]),
            ("\"open", false, vec!["open"]),
        ] {
            assert_eq!(split(line, dates), elements);
        }
        assert_eq!(quoted("b,c"), "\"b,c\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
