//! `$.a.b[0]['with.dot'][*]`: where in a JSON log event a value stands.

use serde_json::Value;

use crate::{Invalid, cursor::Cursor};

#[derive(Debug, Clone)]
pub struct Selector {
    steps: Vec<Step>,
    /// As it was written.
    text: String,
}

#[derive(Debug, Clone)]
enum Step {
    Member(String),
    Element(usize),
    /// Any member or element; at most one in a selector.
    Any,
}

impl Selector {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Selector, Invalid> {
        cursor.skip_whitespace();
        let begins = cursor.rest();
        cursor.expect("$")?;
        let mut steps = Vec::new();
        while let Some(step) = Step::read(cursor)? {
            steps.push(step);
        }
        let wildcards = steps.iter().filter(|step| matches!(step, Step::Any)).count();
        if steps.is_empty() {
            return Err(cursor.wrong("a property ($.name)"));
        }
        if wildcards > 1 {
            return Err(Invalid("a property selector has at most one wildcard".into()));
        }
        let text = begins[..begins.len() - cursor.rest().len()].to_string();
        Ok(Selector { steps, text })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn has_wildcard(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Any))
    }

    /// Whether any value the selector points at is one that `see` wants.
    pub fn any<'v>(&self, event: &'v Value, see: &mut dyn FnMut(&'v Value) -> bool) -> bool {
        walk(&self.steps, event, see)
    }

    /// The first value the selector points at.
    pub fn first<'v>(&self, event: &'v Value) -> Option<&'v Value> {
        let mut found = None;
        self.any(event, &mut |value| {
            found = Some(value);
            true
        });
        found
    }
}

/// As deep as the selector is long.
fn walk<'v>(steps: &[Step], value: &'v Value, see: &mut dyn FnMut(&'v Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return see(value) };
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => {
            members.get(name).is_some_and(|value| walk(rest, value, see))
        }
        (Step::Element(number), Value::Array(elements)) => {
            elements.get(*number).is_some_and(|value| walk(rest, value, see))
        }
        (Step::Any, Value::Array(elements)) => elements.iter().any(|value| walk(rest, value, see)),
        (Step::Any, Value::Object(members)) => members.values().any(|value| walk(rest, value, see)),
        _ => false,
    }
}

impl Step {
    fn read(cursor: &mut Cursor<'_>) -> Result<Option<Step>, Invalid> {
        match cursor.peek() {
            Some('.') => {
                cursor.next();
                match cursor.peek() {
                    // `$.['name']` is the guide's way to write it.
                    Some('[') => Step::bracketed(cursor).map(Some),
                    Some('*') => {
                        cursor.next();
                        Ok(Some(Step::Any))
                    }
                    _ => Step::member(cursor).map(Some),
                }
            }
            Some('[') => Step::bracketed(cursor).map(Some),
            _ => Ok(None),
        }
    }

    fn member(cursor: &mut Cursor<'_>) -> Result<Step, Invalid> {
        let name =
            cursor.take_while(|c, _| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '#' | ':' | '/'));
        if name.is_empty() { Err(cursor.wrong("a property's name")) } else { Ok(Step::Member(name.into())) }
    }

    fn bracketed(cursor: &mut Cursor<'_>) -> Result<Step, Invalid> {
        cursor.expect("[")?;
        cursor.skip_whitespace();
        let step = match cursor.peek() {
            Some(quote @ ('\'' | '"')) => {
                cursor.next();
                Step::Member(cursor.quoted(quote)?)
            }
            Some('*') => {
                cursor.next();
                Step::Any
            }
            _ => {
                let digits = cursor.take_while(|c, _| c.is_ascii_digit());
                Step::Element(digits.parse().map_err(|_| cursor.wrong("an element's number"))?)
            }
        };
        cursor.expect("]")?;
        Ok(step)
    }
}
