//! Document paths: `a.b[3].#c`.

use std::fmt;

use crate::{
    AttributeValue, Invalid, Item, Scope,
    lexer::{Lexer, Token},
    reserved::is_reserved,
    value::MOST_DEPTH,
};

/// A place in an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub root: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Index(usize),
}

impl Path {
    pub(crate) fn parse(lexer: &mut Lexer<'_>, scope: &Scope<'_>, kind: &str) -> Result<Path, Invalid> {
        let root = name(lexer, scope, kind)?;
        let mut steps = Vec::new();
        loop {
            if lexer.accept(kind, ".")? {
                steps.push(Step::Field(name(lexer, scope, kind)?));
            } else if lexer.accept(kind, "[")? {
                let Token::Index(digits) = lexer.peek() else { return Err(lexer.unexpected(kind)) };
                let index = digits.parse::<u32>().map_err(|_| {
                    Invalid::new(format!(
                        "Invalid {kind}: List index is not within the allowable range; index: [{digits}]"
                    ))
                })?;
                lexer.next(kind)?;
                lexer.expect(kind, "]")?;
                steps.push(Step::Index(index as usize));
            } else {
                break;
            }
            if steps.len() > MOST_DEPTH {
                return Err(Invalid::new(format!(
                    "Invalid {kind}: The document path has too many nesting elements; nesting level: {}",
                    steps.len() + 1
                )));
            }
        }
        Ok(Path { root, steps })
    }

    /// The value at this place.
    pub fn get<'a>(&self, item: &'a Item) -> Option<&'a AttributeValue> {
        let mut value = item.get(&self.root)?;
        for step in &self.steps {
            value = match (step, value) {
                (Step::Field(name), AttributeValue::M(map)) => map.get(name)?,
                (Step::Index(index), AttributeValue::L(list)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Whether one is part of the other, or both are the same.
    pub fn overlaps(&self, other: &Path) -> bool {
        let shared = self.steps.len().min(other.steps.len());
        self.root == other.root && self.steps[..shared] == other.steps[..shared]
    }

    /// Whether one takes as a map what the other takes as a list.
    pub fn conflicts(&self, other: &Path) -> bool {
        if self.root != other.root {
            return false;
        }
        let differing = self.steps.iter().zip(&other.steps).find(|(a, b)| a != b);
        matches!(differing, Some((Step::Field(_), Step::Index(_)) | (Step::Index(_), Step::Field(_))))
    }

    /// As refusals print it: `[a, b, [3]]`.
    pub fn listed(&self) -> String {
        let steps = self.steps.iter().map(|step| match step {
            Step::Field(name) => format!(", {name}"),
            Step::Index(index) => format!(", [{index}]"),
        });
        format!("[{}{}]", self.root, steps.collect::<String>())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for step in &self.steps {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn name(lexer: &mut Lexer<'_>, scope: &Scope<'_>, kind: &str) -> Result<String, Invalid> {
    match lexer.peek() {
        Token::Word(word) if is_reserved(word) => Err(Invalid::new(format!(
            "Invalid {kind}: Attribute name is a reserved keyword; reserved keyword: {word}"
        ))),
        Token::Word(word) => {
            lexer.next(kind)?;
            Ok(word.to_string())
        }
        Token::Name(placeholder) => {
            lexer.next(kind)?;
            scope.name(kind, placeholder)
        }
        _ => Err(lexer.unexpected(kind)),
    }
}

/// Refuses paths that cannot be used together: overlapping or conflicting ones.
pub(crate) fn check_together(kind: &str, paths: &[&Path]) -> Result<(), Invalid> {
    for (at, one) in paths.iter().enumerate() {
        for other in &paths[..at] {
            if other.overlaps(one) {
                return Err(Invalid::new(format!(
                    "Invalid {kind}: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: {}, path two: {}",
                    other.listed(),
                    one.listed()
                )));
            }
            if other.conflicts(one) {
                return Err(Invalid::new(format!(
                    "Invalid {kind}: Two document paths conflict with each other; must remove or rewrite one of these paths; path one: {}, path two: {}",
                    other.listed(),
                    one.listed()
                )));
            }
        }
    }
    Ok(())
}
