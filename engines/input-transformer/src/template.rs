//! Templates: JSON with `<placeholders>`, in strings or as values. A value placeholder becomes JSON (a string with its
//! quotes). In a string, a string is put in as it is, without escaping, and an object or array as its JSON without
//! quotes; both are what EventBridge documents. Whatever is not a placeholder is kept as it is written, so several
//! quoted lines stay several lines.

use serde_json::Value;
use serde_json::de::Deserializer;
use std::fmt;

/// The longest template, in bytes (`TransformerInput`).
const LONGEST: usize = 8192;

/// A template or a map of paths that AWS refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The template with its placeholders replaced by null is not JSON; its text and the place.
    NotJson {
        text: String,
        line: usize,
        column: usize,
    },
    UnknownPlaceholder(String),
    TooLong,
    TooManyPaths,
    ReservedName(String),
    BadPath {
        name: String,
        path: String,
    },
}

impl TemplateError {
    /// The sentence for a target.
    pub fn for_target(&self, target_id: &str) -> String {
        match &self.kind {
            Kind::NotJson { text, line, column } => format!(
                "Invalid InputTemplate for target {target_id} : [Source: (String)\"{text}\"; line: {line}, column: \
                 {column}]"
            ),
            Kind::UnknownPlaceholder(name) => {
                format!("InputTemplate for target {target_id} contains invalid placeholder {name}.")
            }
            Kind::TooLong => format!("InputTemplate for target {target_id} is longer than {LONGEST} bytes."),
            Kind::TooManyPaths => format!("InputPathsMap for target {target_id} has more than 100 entries."),
            Kind::ReservedName(name) => {
                format!("InputPathsMap for target {target_id} contains {name}: keys cannot start with AWS.")
            }
            Kind::BadPath { name, path } => {
                format!("InputPathsMap for target {target_id} contains invalid JSONPath {path} for {name}.")
            }
        }
    }

    pub(crate) fn unknown(name: &str) -> Self {
        Self { kind: Kind::UnknownPlaceholder(name.to_owned()) }
    }

    pub(crate) fn reserved(name: &str) -> Self {
        Self { kind: Kind::ReservedName(name.to_owned()) }
    }

    pub(crate) fn too_many_paths() -> Self {
        Self { kind: Kind::TooManyPaths }
    }

    pub(crate) fn bad_path(name: &str, path: &str) -> Self {
        Self { kind: Kind::BadPath { name: name.to_owned(), path: path.to_owned() } }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_target(""))
    }
}

impl std::error::Error for TemplateError {}

/// A parsed template whose placeholders lead to `P`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template<P> {
    pieces: Vec<Piece<P>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece<P> {
    Text(String),
    Placeholder { source: P, in_string: bool },
}

impl<P> Template<P> {
    /// Parses a template; `resolve` says what a placeholder's name leads to.
    pub(crate) fn parse(
        template: &str,
        resolve: impl Fn(&str) -> Result<P, TemplateError>,
    ) -> Result<Self, TemplateError> {
        if template.len() > LONGEST {
            return Err(TemplateError { kind: Kind::TooLong });
        }
        let mut pieces = Vec::new();
        let mut skeleton = String::new();
        let mut strings = Strings::default();
        let mut rest = template;
        while let Some((before, name, after)) = next_placeholder(rest) {
            strings.pass(before);
            skeleton.push_str(before);
            skeleton.push_str("null");
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Placeholder { source: resolve(name)?, in_string: strings.inside });
            strings.placeholder |= strings.inside;
            rest = after;
        }
        strings.pass(rest);
        skeleton.push_str(rest);
        pieces.push(Piece::Text(rest.to_owned()));
        check(&skeleton, strings.key_with_placeholder)?;
        Ok(Self { pieces })
    }

    /// The template with its placeholders filled. `look_up` gives a placeholder's value; what is missing is an empty
    /// string.
    pub(crate) fn fill(&self, look_up: impl Fn(&P) -> Option<Value>) -> String {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder { source, in_string: true } => {
                    filled.push_str(&look_up(source).map(in_string).unwrap_or_default());
                }
                Piece::Placeholder { source, in_string: false } => {
                    filled.push_str(
                        &look_up(source).map_or_else(|| "\"\"".to_owned(), |value| value.to_string()),
                    );
                }
            }
        }
        filled
    }
}

fn in_string(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Array(_) | Value::Object(_) => value.to_string().replace(['"', '\\'], ""),
        other => other.to_string(),
    }
}

/// The text before the first placeholder, its name, and the text behind it. A `<` without a `>` on its line is text.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('<')?;
        let behind = text.get(open + 1..)?;
        match behind.find(['>', '\n']) {
            Some(close) if behind.as_bytes().get(close) == Some(&b'>') => {
                return Some((text.get(..open)?, behind.get(..close)?, behind.get(close + 1..)?));
            }
            _ => from = open + 1,
        }
    }
}

/// Follows the template's strings, to know whether a placeholder stands in one.
#[derive(Default)]
struct Strings {
    inside: bool,
    escaped: bool,
    /// Whether the current string, or the last one while only space has followed it, has a placeholder.
    placeholder: bool,
    key_with_placeholder: bool,
}

impl Strings {
    fn pass(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                _ if self.escaped => self.escaped = false,
                '\\' if self.inside => self.escaped = true,
                '"' => {
                    self.inside = !self.inside;
                    self.placeholder &= !self.inside;
                }
                _ if self.inside || letter.is_ascii_whitespace() => {}
                ':' => {
                    self.key_with_placeholder |= self.placeholder;
                    self.placeholder = false;
                }
                _ => self.placeholder = false,
            }
        }
    }
}

/// Whether the template is a sequence of JSON values, at least one; a placeholder cannot be an object's key.
fn check(skeleton: &str, key_with_placeholder: bool) -> Result<(), TemplateError> {
    let not_json =
        |line, column| Err(TemplateError { kind: Kind::NotJson { text: skeleton.to_owned(), line, column } });
    let mut values = Deserializer::from_str(skeleton).into_iter::<Value>();
    let mut any = false;
    for value in &mut values {
        match value {
            Ok(_) => any = true,
            Err(error) => return not_json(error.line(), error.column()),
        }
    }
    if any && !key_with_placeholder { Ok(()) } else { not_json(1, 1) }
}
