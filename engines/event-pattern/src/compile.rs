//! From a pattern's JSON to conjunctions. The sentences are Event Ruler's (JsonRuleCompiler), which EventBridge and SNS
//! pass on; so is the order of checks, on which the reported line and column depend.

use crate::address::{Address, Network};
use crate::condition::{Condition, Literal, Word};
use crate::error::PatternError;
use crate::number::Number;
use crate::operator::read_operator;
use crate::pattern::{Conjunction, Field, Limits};
use crate::source::{Source, Token};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bounds on what is kept, far above what fits into a pattern of EventBridge's size.
const LONGEST_PATH: usize = 4096;
const MOST_FIELDS: usize = 1000;

/// Names that may not be fields inside `$or`.
const RESERVED_IN_OR: [&str; 23] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
];

/// A conjunction in the making. A field named twice keeps its last conditions, as in Event Ruler.
type Fields = BTreeMap<Arc<str>, Arc<[Condition]>>;

pub(crate) fn compile(text: &str, limits: Limits) -> Result<Vec<Conjunction>, PatternError> {
    if text.len() > limits.bytes {
        return Err(PatternError::new(format!("Event pattern is longer than {} bytes", limits.bytes)));
    }
    let mut compiler = Compiler { source: Source::new(text), limits, path: Vec::new(), depth: 0 };
    if compiler.source.next()? != Token::StartObject {
        return Err(compiler.source.error("Filter is not an object"));
    }
    let mut rules = Vec::new();
    compiler.object(&mut rules, false)?;
    Ok(rules.into_iter().map(finish).collect())
}

fn finish(fields: Fields) -> Conjunction {
    fields.into_iter().map(|(path, conditions)| Field { path, conditions }).collect()
}

struct Compiler<'s> {
    source: Source<'s>,
    limits: Limits,
    path: Vec<String>,
    depth: usize,
}

impl Compiler<'_> {
    fn object(&mut self, rules: &mut Vec<Fields>, inside_or: bool) -> Result<(), PatternError> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(self.source.error("Event pattern is nested too deeply"));
        }
        let mut empty = true;
        while self.source.next()? != Token::EndObject {
            empty = false;
            let name = self.source.text()?;
            if name == "$or" {
                self.or(rules)?;
                continue;
            }
            if inside_or && (RESERVED_IN_OR.contains(&&*name) || name == "ip-address-not-in-range") {
                let sentence = format!("{name} is Ruler reserved fieldName which cannot be used inside $or.");
                return Err(self.source.error(sentence));
            }
            self.field(name, rules, inside_or)?;
        }
        self.depth -= 1;
        if empty { Err(self.source.error("Empty objects are not allowed")) } else { Ok(()) }
    }

    fn field(&mut self, name: String, rules: &mut Vec<Fields>, inside_or: bool) -> Result<(), PatternError> {
        match self.source.next()? {
            Token::StartObject => {
                self.path.push(name);
                self.object(rules, inside_or)?;
                self.path.pop();
                Ok(())
            }
            Token::StartArray => self.conditions(&name, rules),
            _ => Err(self.source.error(format!("\"{name}\" must be an object or an array"))),
        }
    }

    fn or(&mut self, rules: &mut Vec<Fields>) -> Result<(), PatternError> {
        if self.source.next()? != Token::StartArray {
            return Err(self.source.error("It must be an Array followed with $or."));
        }
        let mut before = std::mem::take(rules);
        if before.is_empty() {
            before.push(Fields::new());
        }
        let mut alternatives = 0;
        loop {
            match self.source.next()? {
                Token::EndArray => break,
                Token::StartObject => {}
                _ => {
                    return Err(self
                        .source
                        .error("Only JSON object is allowed in array of $or relationship."));
                }
            }
            alternatives += 1;
            let mut branch = before.clone();
            self.object(&mut branch, true)?;
            rules.append(&mut branch);
            if rules.len() > self.limits.combinations {
                let most = self.limits.combinations;
                return Err(self
                    .source
                    .error(format!("The $or relationships have more than {most} combinations.")));
            }
        }
        if alternatives < 2 {
            return Err(self.source.error("There must have at least 2 Objects in $or relationship."));
        }
        Ok(())
    }

    fn conditions(&mut self, name: &str, rules: &mut Vec<Fields>) -> Result<(), PatternError> {
        let mut conditions = Vec::new();
        loop {
            let token = self.source.next()?;
            if token == Token::EndArray {
                break;
            }
            conditions.push(self.condition(token)?);
        }
        if conditions.is_empty() {
            return Err(self.source.error("Empty arrays are not allowed"));
        }
        let path = self.joined_path(name);
        if path.len() > LONGEST_PATH {
            return Err(self.source.error("A field's path is too long"));
        }
        let conditions: Arc<[Condition]> = conditions.into();
        if rules.is_empty() {
            rules.push(Fields::new());
        }
        for rule in rules {
            rule.insert(Arc::clone(&path), Arc::clone(&conditions));
            if rule.len() > MOST_FIELDS {
                return Err(self.source.error("Event pattern has too many fields"));
            }
        }
        Ok(())
    }

    fn condition(&mut self, token: Token) -> Result<Condition, PatternError> {
        Ok(match token {
            Token::StartObject => read_operator(&mut self.source)?,
            Token::Text => text_condition(self.source.text()?),
            Token::Number => {
                let text = self.source.text()?;
                let number =
                    Number::parse(&text).ok_or_else(|| self.source.error("Malformed numeric value"))?;
                Condition::Equals(Literal::Number(number, text.into()))
            }
            Token::True => Condition::Equals(Literal::Word(Word::True)),
            Token::False => Condition::Equals(Literal::Word(Word::False)),
            Token::Null => Condition::Equals(Literal::Word(Word::Null)),
            _ => return Err(self.source.error("Match value must be String, number, true, false, or null")),
        })
    }

    /// The names down to here, joined by dots.
    fn joined_path(&self, name: &str) -> Arc<str> {
        let mut path = String::new();
        for step in &self.path {
            path.push_str(step);
            path.push('.');
        }
        path.push_str(name);
        path.into()
    }
}

fn text_condition(text: String) -> Condition {
    match Address::parse(&text) {
        Some(address) => Condition::Address(Network::single(address), text.into()),
        None => Condition::Equals(Literal::Text(text.into())),
    }
}
