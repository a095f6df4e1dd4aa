//! Conditions and filters. Source: "Condition and filter expressions, operators, and functions".

use std::cmp::Ordering;

use crate::{
    AttributeValue, Invalid, Item, Path, Scope,
    lexer::{Lexer, Token},
    operand::Operand,
};

/// Operators and functions in one expression.
const MOST_OPERATORS: usize = 300;
const MOST_IN: usize = 100;
/// Nesting of parentheses and NOTs.
const MOST_DEPTH: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Comparison, Operand, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    Type(Path, String),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Parses a condition. `kind` is `ConditionExpression` or `FilterExpression`.
    pub fn parse(kind: &str, text: &str, scope: &Scope<'_>) -> Result<Condition, Invalid> {
        let mut parser = Parser { lexer: Lexer::new(kind, text)?, scope, kind, operators: 0, depth: 0 };
        let condition = parser.or()?;
        if parser.lexer.peek() != Token::End {
            return Err(parser.lexer.unexpected(kind));
        }
        Ok(condition)
    }

    /// Whether it holds for an item; `Item::new()` stands for one that is not there.
    pub fn holds(&self, item: &Item) -> bool {
        match self {
            Condition::And(a, b) => a.holds(item) && b.holds(item),
            Condition::Or(a, b) => a.holds(item) || b.holds(item),
            Condition::Not(inner) => !inner.holds(item),
            Condition::Compare(comparison, a, b) => {
                compare(*comparison, a.of(item).as_deref(), b.of(item).as_deref())
            }
            Condition::Between(value, low, high) => {
                let value = value.of(item);
                compare(Comparison::GreaterOrEqual, value.as_deref(), low.of(item).as_deref())
                    && compare(Comparison::LessOrEqual, value.as_deref(), high.of(item).as_deref())
            }
            Condition::In(value, list) => {
                let value = value.of(item);
                value.is_some() && list.iter().any(|one| one.of(item) == value)
            }
            Condition::Exists(path) => path.get(item).is_some(),
            Condition::NotExists(path) => path.get(item).is_none(),
            Condition::Type(path, name) => path.get(item).is_some_and(|value| value.type_name() == name),
            Condition::BeginsWith(value, prefix) => {
                match (value.of(item).as_deref(), prefix.of(item).as_deref()) {
                    (Some(AttributeValue::S(text)), Some(AttributeValue::S(prefix))) => {
                        text.starts_with(prefix.as_str())
                    }
                    (Some(AttributeValue::B(bytes)), Some(AttributeValue::B(prefix))) => {
                        bytes.starts_with(prefix)
                    }
                    _ => false,
                }
            }
            Condition::Contains(value, wanted) => {
                match (value.of(item).as_deref(), wanted.of(item).as_deref()) {
                    (Some(value), Some(wanted)) => contains(value, wanted),
                    _ => false,
                }
            }
        }
    }

    /// The attributes it looks at, by root name.
    pub fn roots(&self) -> Vec<&str> {
        let mut roots = Vec::new();
        self.collect_roots(&mut roots);
        roots
    }

    fn collect_roots<'a>(&'a self, roots: &mut Vec<&'a str>) {
        let mut of = |operand: &'a Operand| {
            if let Operand::Path(path) | Operand::Size(path) = operand {
                roots.push(&path.root);
            }
        };
        match self {
            Condition::And(a, b) | Condition::Or(a, b) => {
                a.collect_roots(roots);
                b.collect_roots(roots);
            }
            Condition::Not(inner) => inner.collect_roots(roots),
            Condition::Compare(_, a, b) | Condition::BeginsWith(a, b) | Condition::Contains(a, b) => {
                of(a);
                of(b);
            }
            Condition::Between(a, b, c) => {
                of(a);
                of(b);
                of(c);
            }
            Condition::In(value, list) => {
                of(value);
                list.iter().for_each(of);
            }
            Condition::Exists(path) | Condition::NotExists(path) | Condition::Type(path, _) => {
                roots.push(&path.root)
            }
        }
    }
}

fn compare(comparison: Comparison, a: Option<&AttributeValue>, b: Option<&AttributeValue>) -> bool {
    // What is not there differs from everything, and compares with nothing.
    let (Some(a), Some(b)) = (a, b) else { return comparison == Comparison::NotEqual };
    match comparison {
        Comparison::Equal => a == b,
        Comparison::NotEqual => a != b,
        _ => order(a, b).is_some_and(|order| match comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        }),
    }
}

/// Strings, numbers and binaries have an order, each among themselves.
pub fn order(a: &AttributeValue, b: &AttributeValue) -> Option<Ordering> {
    match (a, b) {
        (AttributeValue::S(a), AttributeValue::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (AttributeValue::N(a), AttributeValue::N(b)) => Some(a.cmp(b)),
        (AttributeValue::B(a), AttributeValue::B(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn contains(value: &AttributeValue, wanted: &AttributeValue) -> bool {
    match (value, wanted) {
        (AttributeValue::S(text), AttributeValue::S(part)) => text.contains(part.as_str()),
        (AttributeValue::B(bytes), AttributeValue::B(part)) => {
            part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
        }
        (AttributeValue::Ss(set), AttributeValue::S(one)) => set.contains(one),
        (AttributeValue::Ns(set), AttributeValue::N(one)) => set.contains(one),
        (AttributeValue::Bs(set), AttributeValue::B(one)) => set.contains(one),
        (AttributeValue::L(list), one) => list.contains(one),
        _ => false,
    }
}

struct Parser<'a, 's> {
    lexer: Lexer<'a>,
    scope: &'a Scope<'s>,
    kind: &'a str,
    operators: usize,
    depth: usize,
}

impl Parser<'_, '_> {
    fn or(&mut self) -> Result<Condition, Invalid> {
        let mut left = self.and()?;
        while self.lexer.at_word("OR") {
            self.count()?;
            self.lexer.next(self.kind)?;
            left = Condition::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Condition, Invalid> {
        let mut left = self.not()?;
        while self.lexer.at_word("AND") {
            self.count()?;
            self.lexer.next(self.kind)?;
            left = Condition::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Condition, Invalid> {
        if !self.lexer.at_word("NOT") {
            return self.primary();
        }
        self.count()?;
        self.lexer.next(self.kind)?;
        self.deeper(|parser| Ok(Condition::Not(Box::new(parser.not()?))))
    }

    fn primary(&mut self) -> Result<Condition, Invalid> {
        if self.lexer.accept(self.kind, "(")? {
            // What a parenthesis holds may be a condition or an operand; operands in parentheses are not taken.
            let inner = self.deeper(Self::or)?;
            self.lexer.expect(self.kind, ")")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn deeper(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Condition, Invalid>,
    ) -> Result<Condition, Invalid> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Invalid::new(format!(
                "Invalid {}: The expression has too many nesting levels",
                self.kind
            )));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn comparison(&mut self) -> Result<Condition, Invalid> {
        let left = match self.operand_or_function()? {
            Parsed::Condition(condition) => return Ok(condition),
            Parsed::Operand(operand) => operand,
        };
        self.count()?;
        let kind = self.kind;
        if self.lexer.at_word("BETWEEN") {
            self.lexer.next(kind)?;
            let low = self.operand()?;
            if !self.lexer.at_word("AND") {
                return Err(self.lexer.unexpected(kind));
            }
            self.lexer.next(kind)?;
            let high = self.operand()?;
            self.check_between(&low, &high)?;
            self.check_operand("BETWEEN", &left, &["S", "N", "B"])?;
            return Ok(Condition::Between(left, low, high));
        }
        if self.lexer.at_word("IN") {
            self.lexer.next(kind)?;
            self.lexer.expect(kind, "(")?;
            let mut list = vec![self.operand()?];
            while self.lexer.accept(kind, ",")? {
                list.push(self.operand()?);
            }
            self.lexer.expect(kind, ")")?;
            if list.len() > MOST_IN {
                return Err(Invalid::new(format!(
                    "Invalid {kind}: The IN operator is provided with too many operands; number of operands: {}",
                    list.len()
                )));
            }
            return Ok(Condition::In(left, list));
        }
        let (comparison, sign) = match self.lexer.peek() {
            Token::Sign("=") => (Comparison::Equal, "="),
            Token::Sign("<>") => (Comparison::NotEqual, "<>"),
            Token::Sign("<") => (Comparison::Less, "<"),
            Token::Sign("<=") => (Comparison::LessOrEqual, "<="),
            Token::Sign(">") => (Comparison::Greater, ">"),
            Token::Sign(">=") => (Comparison::GreaterOrEqual, ">="),
            _ => return Err(self.lexer.unexpected(kind)),
        };
        self.lexer.next(kind)?;
        let right = self.operand()?;
        if let (Operand::Path(a), Operand::Path(b)) = (&left, &right)
            && a == b
        {
            return Err(Invalid::new(format!(
                "Invalid {kind}: The first operand must be distinct from the remaining operands for this operator or function; operator: {sign}, first operand: {}",
                a.listed()
            )));
        }
        if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            self.check_operand(sign, &left, &["S", "N", "B"])?;
            self.check_operand(sign, &right, &["S", "N", "B"])?;
        }
        Ok(Condition::Compare(comparison, left, right))
    }

    fn check_between(&self, low: &Operand, high: &Operand) -> Result<(), Invalid> {
        self.check_operand("BETWEEN", low, &["S", "N", "B"])?;
        self.check_operand("BETWEEN", high, &["S", "N", "B"])?;
        let (Operand::Value(a), Operand::Value(b)) = (low, high) else { return Ok(()) };
        match order(a, b) {
            None => Err(Invalid::new(format!(
                "Invalid {}: The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {{{}:{}}}, upper bound operand: AttributeValue: {{{}:{}}}",
                self.kind,
                a.type_name(),
                shown(a),
                b.type_name(),
                shown(b)
            ))),
            Some(Ordering::Greater) => Err(Invalid::new(format!(
                "Invalid {}: The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {{{}:{}}}, upper bound operand: AttributeValue: {{{}:{}}}",
                self.kind,
                a.type_name(),
                shown(a),
                b.type_name(),
                shown(b)
            ))),
            Some(_) => Ok(()),
        }
    }

    fn check_operand(&self, operator: &str, operand: &Operand, allowed: &[&str]) -> Result<(), Invalid> {
        match operand.known_type() {
            Some(name) if !allowed.contains(&name) => Err(Invalid::new(format!(
                "Invalid {}: Incorrect operand type for operator or function; operator or function: {operator}, operand type: {name}",
                self.kind
            ))),
            _ => Ok(()),
        }
    }

    fn operand(&mut self) -> Result<Operand, Invalid> {
        match self.operand_or_function()? {
            Parsed::Operand(operand) => Ok(operand),
            Parsed::Condition(_) => Err(Invalid::new(format!(
                "Invalid {}: The function is not allowed to be used this way in an expression",
                self.kind
            ))),
        }
    }

    fn operand_or_function(&mut self) -> Result<Parsed, Invalid> {
        let kind = self.kind;
        let Token::Word(word) = self.lexer.peek() else {
            return Ok(Parsed::Operand(Operand::parse(&mut self.lexer, self.scope, kind)?));
        };
        const FUNCTIONS: [&str; 6] =
            ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size"];
        if !FUNCTIONS.contains(&word) {
            let operand = if crate::update::FUNCTIONS.contains(&word) {
                None
            } else {
                Some(Operand::parse(&mut self.lexer, self.scope, kind)?)
            };
            return match operand {
                Some(_) if self.lexer.at_sign("(") => {
                    Err(Invalid::new(format!("Invalid {kind}: Invalid function name; function: {word}")))
                }
                Some(operand) => Ok(Parsed::Operand(operand)),
                None => Err(Invalid::new(format!(
                    "Invalid {kind}: The function is not allowed in a condition expression; function: {word}"
                ))),
            };
        }
        self.lexer.next(kind)?;
        self.lexer.expect(kind, "(")?;
        self.count()?;
        let mut operands = vec![self.operand()?];
        while self.lexer.accept(kind, ",")? {
            operands.push(self.operand()?);
        }
        self.lexer.expect(kind, ")")?;
        self.function(word, operands)
    }

    fn function(&self, word: &str, operands: Vec<Operand>) -> Result<Parsed, Invalid> {
        let kind = self.kind;
        let wanted = if matches!(word, "attribute_exists" | "attribute_not_exists" | "size") { 1 } else { 2 };
        if operands.len() != wanted {
            return Err(Invalid::new(format!(
                "Invalid {kind}: Incorrect number of operands for operator or function; operator or function: {word}, number of operands: {}",
                operands.len()
            )));
        }
        let mut operands = operands.into_iter();
        let (Some(first), second) = (operands.next(), operands.next()) else {
            return Err(Invalid::new(format!("Invalid {kind}: Syntax error")));
        };
        let path = |operand: Operand| match operand {
            Operand::Path(path) => Ok(path),
            _ => Err(Invalid::new(format!(
                "Invalid {kind}: Operator or function requires a document path; operator or function: {word}"
            ))),
        };
        Ok(match (word, second) {
            ("attribute_exists", _) => Parsed::Condition(Condition::Exists(path(first)?)),
            ("attribute_not_exists", _) => Parsed::Condition(Condition::NotExists(path(first)?)),
            ("size", _) => Parsed::Operand(Operand::Size(path(first)?)),
            ("attribute_type", Some(Operand::Value(AttributeValue::S(name)))) => {
                if !["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"].contains(&name.as_str()) {
                    return Err(Invalid::new(format!(
                        "Invalid {kind}: Invalid attribute type name found; type: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
                    )));
                }
                Parsed::Condition(Condition::Type(path(first)?, name))
            }
            ("attribute_type", second) => {
                let name = second.and_then(|operand| operand.known_type()).unwrap_or("M");
                return Err(Invalid::new(format!(
                    "Invalid {kind}: Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {name}"
                )));
            }
            ("begins_with", Some(prefix)) => {
                self.check_operand("begins_with", &first, &["S", "B"])?;
                self.check_operand("begins_with", &prefix, &["S", "B"])?;
                Parsed::Condition(Condition::BeginsWith(first, prefix))
            }
            (_, Some(wanted)) => Parsed::Condition(Condition::Contains(first, wanted)),
            (_, None) => return Err(Invalid::new(format!("Invalid {kind}: Syntax error"))),
        })
    }

    fn count(&mut self) -> Result<(), Invalid> {
        self.operators += 1;
        if self.operators > MOST_OPERATORS {
            return Err(Invalid::new(format!(
                "Invalid {}: The expression contains too many operators or functions",
                self.kind
            )));
        }
        Ok(())
    }
}

/// A value as refusals print it.
fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => text.clone(),
        AttributeValue::N(number) => number.to_string(),
        other => other.type_name().to_string(),
    }
}

enum Parsed {
    Operand(Operand),
    Condition(Condition),
}
