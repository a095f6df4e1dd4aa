//! Words what is wrong with a value, as AWS's service framework does: all violations in one message, each with the value
//! and its path (`requestItems.table.member.1.member.putRequest.item`: first letters small, list positions from 1).
//!
//! The sentences, the brackets of lists and maps and the paths are those that DynamoDB, Lambda, CloudFormation and IAM
//! were seen to answer. AWS lists violations in no particular order; here it is the contract's.

use tidemill_api::{Fault, Kind, Protocol, Schema, ServiceMeta, TimeFormat, Validation};

use super::{length_fits, number_fits, string_fits};
use crate::{Dynamic, pattern, text};

/// How many violations are written out; all are counted.
const SHOWN: usize = 20;
/// How many characters of a refused value are echoed.
const ECHOED: usize = 4096;

/// What differs between services in the wording.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// `ValidationException`, or `ValidationError` of the query services.
    pub code: &'static str,
    /// The constraints of a list's members end with `Member must not be null`, as in Lambda's answers.
    pub members_not_null: bool,
}

impl Dialect {
    pub fn of(service: &ServiceMeta) -> Dialect {
        Dialect {
            code: match service.validation {
                Validation::CoralQuery => "ValidationError",
                Validation::Coral | Validation::Service => "ValidationException",
            },
            members_not_null: service.protocols.first() == Some(&Protocol::RestJson),
        }
    }
}

/// The fault for a value that breaks constraints; `None` when it breaks none.
pub fn explain(value: &Dynamic, dialect: Dialect) -> Option<Fault> {
    let mut report = Report { dialect, path: String::new(), shown: Vec::new(), count: 0 };
    report.inside(value);
    if report.count == 0 {
        return None;
    }
    let errors = if report.count == 1 { "error" } else { "errors" };
    let sentences = report.shown.join("; ");
    Some(Fault::new(dialect.code, format!("{} validation {errors} detected: {sentences}", report.count)))
}

struct Report {
    dialect: Dialect,
    path: String,
    shown: Vec<String>,
    count: usize,
}

impl Report {
    /// A violation at the current path; `value` is absent where it is null.
    fn violation(&mut self, value: Option<&Dynamic>, constraint: &str) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            let printed = value.map_or("null".to_string(), |value| format!("'{}'", print(value)));
            let path = &self.path;
            self.shown
                .push(format!("Value {printed} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    fn at(&mut self, step: &str, check: impl FnOnce(&mut Report)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        check(self);
        self.path.truncate(length);
    }

    /// A value's own constraints, then its parts'.
    fn value(&mut self, value: &Dynamic) {
        for constraint in broken(value) {
            self.violation(Some(value), &constraint);
        }
        self.inside(value);
    }

    /// The constraints of a value's parts.
    fn inside(&mut self, value: &Dynamic) {
        match value {
            Dynamic::Structure(schema, members) => self.structure(schema, members),
            Dynamic::List(_, elements) => {
                if let Some(part) = elements.iter().find(|element| !broken(element).is_empty()) {
                    let listed = self.listed(part.schema());
                    self.violation(Some(value), &format!("Member must satisfy constraint: [{listed}]"));
                }
                for (index, element) in elements.iter().enumerate() {
                    self.at(&format!("{}.member", index + 1), |report| report.inside(element));
                }
            }
            Dynamic::Map(schema, entries) => self.map(value, schema, entries),
            _ => {}
        }
    }

    fn structure(&mut self, schema: &'static Schema, members: &[(usize, Dynamic)]) {
        for (index, member) in schema.members.iter().enumerate() {
            let value = members.iter().find(|(known, _)| *known == index).map(|(_, value)| value);
            self.at(&lower_first(member.name), |report| match value {
                Some(value) => report.value(value),
                None if member.required => report.violation(None, "Member must not be null"),
                None => {}
            });
        }
    }

    fn map(&mut self, map: &Dynamic, schema: &'static Schema, entries: &[(String, Dynamic)]) {
        let keys = schema.members.first().map(|part| part.schema()).filter(|keys| keys.kind == Kind::String);
        if let Some(keys) = keys.filter(|keys| entries.iter().any(|(key, _)| !string_fits(keys, key))) {
            let listed = constraints(keys).join(", ");
            self.violation(Some(map), &format!("Map keys must satisfy constraint: [{listed}]"));
        }
        if let Some((_, value)) = entries.iter().find(|(_, value)| !broken(value).is_empty()) {
            let listed = self.listed(value.schema());
            self.violation(Some(map), &format!("Map value must satisfy constraint: [{listed}]"));
        }
        for (key, value) in entries {
            self.at(&format!("{key}.member"), |report| report.inside(value));
        }
    }

    fn listed(&self, schema: &Schema) -> String {
        let mut constraints = constraints(schema);
        if self.dialect.members_not_null {
            constraints.push("Member must not be null".into());
        }
        constraints.join(", ")
    }
}

/// The sentences of the constraints that a value itself breaks.
fn broken(value: &Dynamic) -> Vec<String> {
    let schema = value.schema();
    let measured = match value {
        Dynamic::String(_, text) => {
            if string_fits(schema, text) {
                return Vec::new();
            }
            let mut broken = limits(schema, "length", text.chars().count() as f64);
            if schema.pattern.is_some() && !pattern::matches(schema, text) {
                broken.extend(pattern_sentence(schema));
            }
            if !schema.values.is_empty() && !schema.values.contains(&text.as_str()) {
                broken.push(enumeration(schema));
            }
            return broken;
        }
        Dynamic::List(_, elements) => elements.len(),
        Dynamic::Map(_, entries) => entries.len(),
        Dynamic::Blob(_, bytes) => bytes.len(),
        Dynamic::Integer(_, number) => return range(schema, f64::from(*number)),
        Dynamic::Long(_, number) => return range(schema, *number as f64),
        Dynamic::Float(_, number) => return range(schema, f64::from(*number)),
        Dynamic::Double(_, number) => return range(schema, *number),
        _ => return Vec::new(),
    };
    if length_fits(schema, measured) { Vec::new() } else { limits(schema, "length", measured as f64) }
}

fn range(schema: &Schema, number: f64) -> Vec<String> {
    if number_fits(schema, number) { Vec::new() } else { limits(schema, "value", number) }
}

/// The limits that a length or value lies beyond.
fn limits(schema: &Schema, what: &str, measured: f64) -> Vec<String> {
    let above = schema.max.filter(|max| measured > *max).map(|max| at_most(what, max));
    let below = schema.min.filter(|min| measured < *min).map(|min| at_least(what, min));
    above.into_iter().chain(below).collect()
}

/// All constraints of a shape, in the order AWS prints them inside brackets.
fn constraints(schema: &Schema) -> Vec<String> {
    let what = match schema.kind {
        Kind::Integer | Kind::Long | Kind::Float | Kind::Double => "value",
        _ => "length",
    };
    let mut all: Vec<String> = schema.max.map(|max| at_most(what, max)).into_iter().collect();
    all.extend(schema.min.map(|min| at_least(what, min)));
    all.extend(pattern_sentence(schema));
    if !schema.values.is_empty() {
        all.push(enumeration(schema));
    }
    all
}

fn at_most(what: &str, limit: f64) -> String {
    format!("Member must have {what} less than or equal to {limit}")
}

fn at_least(what: &str, limit: f64) -> String {
    format!("Member must have {what} greater than or equal to {limit}")
}

fn pattern_sentence(schema: &Schema) -> Option<String> {
    Some(format!("Member must satisfy regular expression pattern: {}", schema.pattern?))
}

fn enumeration(schema: &Schema) -> String {
    format!("Member must satisfy enum value set: [{}]", schema.values.join(", "))
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// A value as Java's `toString` prints it, cut when long; what is sensitive is hidden.
fn print(value: &Dynamic) -> String {
    let mut out = String::new();
    push(&mut out, value);
    if let Some((end, _)) = out.char_indices().nth(ECHOED) {
        out.truncate(end);
    }
    out
}

fn push(out: &mut String, value: &Dynamic) {
    if out.len() > ECHOED * 4 {
        return;
    }
    if value.schema().sensitive {
        return out.push_str("***");
    }
    match value {
        Dynamic::Structure(schema, members) => {
            out.push_str(schema.name);
            let named =
                members.iter().filter_map(|(index, value)| Some((schema.members.get(*index)?.name, value)));
            push_all(out, "(", ")", named.map(|(name, value)| (lower_first(name), value)));
        }
        Dynamic::List(_, elements) => {
            push_all(out, "[", "]", elements.iter().map(|value| (String::new(), value)))
        }
        Dynamic::Map(_, entries) => {
            push_all(out, "{", "}", entries.iter().map(|(key, value)| (key.clone(), value)));
        }
        Dynamic::String(_, text) => out.push_str(text),
        Dynamic::Boolean(_, value) => out.push_str(&value.to_string()),
        Dynamic::Integer(_, value) => out.push_str(&value.to_string()),
        Dynamic::Long(_, value) => out.push_str(&value.to_string()),
        Dynamic::Float(_, value) => out.push_str(&value.to_string()),
        Dynamic::Double(_, value) => out.push_str(&value.to_string()),
        Dynamic::Blob(_, bytes) => {
            let length = bytes.len();
            out.push_str(&format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]"));
        }
        Dynamic::Timestamp(_, moment) => out.push_str(&text::timestamp(*moment, TimeFormat::Iso8601)),
        Dynamic::Document(_, value) => out.push_str(&value.to_string()),
    }
}

fn push_all<'a>(
    out: &mut String,
    open: &str,
    close: &str,
    parts: impl Iterator<Item = (String, &'a Dynamic)>,
) {
    out.push_str(open);
    for (index, (name, value)) in parts.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        if !name.is_empty() {
            out.push_str(&name);
            out.push('=');
        }
        push(out, value);
    }
    out.push_str(close);
}
