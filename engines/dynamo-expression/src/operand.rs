//! Operands of conditions and updates: paths, values, `size(path)`.

use std::borrow::Cow;

use crate::{
    AttributeValue, Invalid, Item, Number, Path, Scope,
    lexer::{Lexer, Token},
};

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Path(Path),
    Value(AttributeValue),
    Size(Path),
}

impl Operand {
    pub fn parse(lexer: &mut Lexer<'_>, scope: &Scope<'_>, kind: &str) -> Result<Operand, Invalid> {
        match lexer.peek() {
            Token::Value(placeholder) => {
                lexer.next(kind)?;
                Ok(Operand::Value(scope.value(kind, placeholder)?))
            }
            _ => Ok(Operand::Path(Path::parse(lexer, scope, kind)?)),
        }
    }

    /// What it is for an item; `None` where the item has nothing there.
    pub fn of<'a>(&'a self, item: &'a Item) -> Option<Cow<'a, AttributeValue>> {
        match self {
            Operand::Path(path) => path.get(item).map(Cow::Borrowed),
            Operand::Value(value) => Some(Cow::Borrowed(value)),
            Operand::Size(path) => size(path.get(item)?).map(|n| Cow::Owned(AttributeValue::N(n))),
        }
    }

    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Operand::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The type it has whatever the item: that of a value, N for a size.
    pub fn known_type(&self) -> Option<&'static str> {
        match self {
            Operand::Path(_) => None,
            Operand::Value(value) => Some(value.type_name()),
            Operand::Size(_) => Some("N"),
        }
    }
}

/// `size()`: bytes of strings and binaries, elements of sets, lists and maps.
fn size(value: &AttributeValue) -> Option<Number> {
    let count = match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.len(),
        AttributeValue::Ss(set) => set.len(),
        AttributeValue::Ns(set) => set.len(),
        AttributeValue::Bs(set) => set.len(),
        AttributeValue::L(list) => list.len(),
        AttributeValue::M(map) => map.len(),
        _ => return None,
    };
    Number::parse(&count.to_string()).ok()
}
