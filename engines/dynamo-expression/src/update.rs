//! Updates: SET, REMOVE, ADD, DELETE. Source: "Update expressions".

use crate::{
    AttributeValue, Invalid, Item, Path, Scope,
    lexer::{Lexer, Token},
    operand::Operand,
    path::{Step, check_together},
};

const KIND: &str = "UpdateExpression";
pub(crate) const FUNCTIONS: [&str; 2] = ["if_not_exists", "list_append"];

/// What changes in an item; all of it sees the item as it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Update {
    pub set: Vec<(Path, Value)>,
    pub remove: Vec<Path>,
    pub add: Vec<(Path, AttributeValue)>,
    pub delete: Vec<(Path, AttributeValue)>,
}

/// What SET assigns.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Operand(Operand),
    IfNotExists(Path, Box<Value>),
    ListAppend(Box<Value>, Box<Value>),
    Plus(Box<Value>, Box<Value>),
    Minus(Box<Value>, Box<Value>),
}

impl Update {
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Update, Invalid> {
        let mut lexer = Lexer::new(KIND, text)?;
        let mut update = Update::default();
        let mut seen: Vec<String> = Vec::new();
        while let Token::Word(word) = lexer.peek() {
            let clause = word.to_ascii_uppercase();
            if !["SET", "REMOVE", "ADD", "DELETE"].contains(&clause.as_str()) {
                return Err(lexer.unexpected(KIND));
            }
            if seen.contains(&clause) {
                return Err(Invalid::new(format!(
                    "Invalid {KIND}: The \"{clause}\" section can only be used once in an update expression;"
                )));
            }
            lexer.next(KIND)?;
            loop {
                update.action(&clause, &mut lexer, scope)?;
                if !lexer.accept(KIND, ",")? {
                    break;
                }
            }
            seen.push(clause);
        }
        if lexer.peek() != Token::End || seen.is_empty() {
            return Err(lexer.unexpected(KIND));
        }
        check_together(KIND, &update.paths().collect::<Vec<_>>())?;
        Ok(update)
    }

    fn action(&mut self, clause: &str, lexer: &mut Lexer<'_>, scope: &Scope<'_>) -> Result<(), Invalid> {
        let path = Path::parse(lexer, scope, KIND)?;
        match clause {
            "SET" => {
                lexer.expect(KIND, "=")?;
                self.set.push((path, value(lexer, scope)?));
            }
            "REMOVE" => self.remove.push(path),
            "ADD" => self.add.push((path, literal(lexer, scope, "ADD", &["N", "SS", "NS", "BS"])?)),
            _ => self.delete.push((path, literal(lexer, scope, "DELETE", &["SS", "NS", "BS"])?)),
        }
        Ok(())
    }

    /// Every path that is changed.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let set = self.set.iter().map(|(path, _)| path);
        set.chain(&self.remove)
            .chain(self.add.iter().map(|(path, _)| path))
            .chain(self.delete.iter().map(|(path, _)| path))
    }

    /// The item after the update.
    pub fn apply(&self, item: &Item) -> Result<Item, Invalid> {
        let mut next = item.clone();
        let mut assigned = Vec::new();
        for (path, value) in &self.set {
            assigned.push((path, value.of(item)?));
        }
        for (path, value) in assigned {
            put(&mut next, path, value)?;
        }
        for (path, value) in &self.add {
            let sum = match path.get(item) {
                Some(there) => added(there, value)?,
                None => value.clone(),
            };
            put(&mut next, path, sum)?;
        }
        for (path, value) in &self.delete {
            match path.get(item) {
                Some(there) => match without(there, value)? {
                    Some(left) => put(&mut next, path, left)?,
                    None => remove(&mut next, path)?,
                },
                None => check_parent(&next, path)?,
            }
        }
        // Later elements first, so that removing one does not move another.
        let mut removed: Vec<&Path> = self.remove.iter().collect();
        removed.sort_by(|a, b| index_order(b, a));
        for path in removed {
            remove(&mut next, path)?;
        }
        Ok(next)
    }
}

fn index_order(a: &Path, b: &Path) -> std::cmp::Ordering {
    let key = |path: &Path| {
        path.steps
            .iter()
            .map(|step| if let Step::Index(index) = step { *index } else { 0 })
            .collect::<Vec<_>>()
    };
    key(a).cmp(&key(b))
}

fn value(lexer: &mut Lexer<'_>, scope: &Scope<'_>) -> Result<Value, Invalid> {
    let left = term(lexer, scope)?;
    let plus = lexer.at_sign("+");
    if !plus && !lexer.at_sign("-") {
        return Ok(left);
    }
    lexer.next(KIND)?;
    let right = term(lexer, scope)?;
    for side in [&left, &right] {
        if let Value::Operand(Operand::Value(value)) = side
            && !matches!(value, AttributeValue::N(_))
        {
            let sign = if plus { "+" } else { "-" };
            return Err(Invalid::new(format!(
                "Invalid {KIND}: Incorrect operand type for operator or function; operator or function: {sign}, operand type: {}",
                value.type_name()
            )));
        }
    }
    Ok(if plus {
        Value::Plus(Box::new(left), Box::new(right))
    } else {
        Value::Minus(Box::new(left), Box::new(right))
    })
}

fn term(lexer: &mut Lexer<'_>, scope: &Scope<'_>) -> Result<Value, Invalid> {
    let Token::Word(word) = lexer.peek() else {
        if lexer.accept(KIND, "(")? {
            let inner = term(lexer, scope)?;
            lexer.expect(KIND, ")")?;
            return Ok(inner);
        }
        return Ok(Value::Operand(Operand::parse(lexer, scope, KIND)?));
    };
    if !FUNCTIONS.contains(&word) {
        let operand = Operand::parse(lexer, scope, KIND)?;
        if lexer.at_sign("(") {
            return Err(Invalid::new(format!("Invalid {KIND}: Invalid function name; function: {word}")));
        }
        return Ok(Value::Operand(operand));
    }
    lexer.next(KIND)?;
    lexer.expect(KIND, "(")?;
    let first = term(lexer, scope)?;
    if !lexer.accept(KIND, ",")? {
        return Err(Invalid::new(format!(
            "Invalid {KIND}: Incorrect number of operands for operator or function; operator or function: {word}, number of operands: 1"
        )));
    }
    let second = term(lexer, scope)?;
    lexer.expect(KIND, ")")?;
    match (word, first) {
        ("if_not_exists", Value::Operand(Operand::Path(path))) => {
            Ok(Value::IfNotExists(path, Box::new(second)))
        }
        ("if_not_exists", _) => Err(Invalid::new(format!(
            "Invalid {KIND}: Operator or function requires a document path; operator or function: if_not_exists"
        ))),
        (_, first) => {
            for side in [&first, &second] {
                if let Value::Operand(Operand::Value(value)) = side
                    && !matches!(value, AttributeValue::L(_))
                {
                    return Err(Invalid::new(format!(
                        "Invalid {KIND}: Incorrect operand type for operator or function; operator or function: list_append, operand type: {}",
                        value.type_name()
                    )));
                }
            }
            Ok(Value::ListAppend(Box::new(first), Box::new(second)))
        }
    }
}

/// ADD and DELETE take values only.
fn literal(
    lexer: &mut Lexer<'_>,
    scope: &Scope<'_>,
    operator: &str,
    allowed: &[&str],
) -> Result<AttributeValue, Invalid> {
    let Token::Value(placeholder) = lexer.peek() else { return Err(lexer.unexpected(KIND)) };
    lexer.next(KIND)?;
    let value = scope.value(KIND, placeholder)?;
    if allowed.contains(&value.type_name()) {
        return Ok(value);
    }
    let long = match value.type_name() {
        "S" => "STRING",
        "N" => "NUMBER",
        "B" => "BINARY",
        "L" => "LIST",
        "M" => "MAP",
        "NULL" => "NULL",
        "BOOL" => "BOOLEAN",
        other => other,
    };
    Err(Invalid::new(format!(
        "Invalid {KIND}: Incorrect operand type for operator or function; operator: {operator}, operand type: {long}, typeSet: ALLOWED_FOR_{operator}_OPERAND"
    )))
}

impl Value {
    fn of(&self, item: &Item) -> Result<AttributeValue, Invalid> {
        match self {
            Value::Operand(operand) => operand.of(item).map(|value| value.into_owned()).ok_or_else(|| {
                Invalid::new("The provided expression refers to an attribute that does not exist in the item")
            }),
            Value::IfNotExists(path, other) => path.get(item).cloned().map_or_else(|| other.of(item), Ok),
            Value::ListAppend(a, b) => match (a.of(item)?, b.of(item)?) {
                (AttributeValue::L(mut a), AttributeValue::L(b)) => {
                    a.extend(b);
                    Ok(AttributeValue::L(a))
                }
                _ => Err(wrong_type()),
            },
            Value::Plus(a, b) => match (a.of(item)?, b.of(item)?) {
                (AttributeValue::N(a), AttributeValue::N(b)) => a.add(&b).map(AttributeValue::N),
                _ => Err(wrong_type()),
            },
            Value::Minus(a, b) => match (a.of(item)?, b.of(item)?) {
                (AttributeValue::N(a), AttributeValue::N(b)) => a.subtract(&b).map(AttributeValue::N),
                _ => Err(wrong_type()),
            },
        }
    }
}

fn wrong_type() -> Invalid {
    Invalid::new("An operand in the update expression has an incorrect data type")
}

fn bad_path() -> Invalid {
    Invalid::new("The document path provided in the update expression is invalid for update")
}

fn added(there: &AttributeValue, more: &AttributeValue) -> Result<AttributeValue, Invalid> {
    fn union<T: Clone + PartialEq>(a: &[T], b: &[T]) -> Vec<T> {
        let fresh = b.iter().filter(|one| !a.contains(one)).cloned();
        a.iter().cloned().chain(fresh).collect()
    }
    match (there, more) {
        (AttributeValue::N(a), AttributeValue::N(b)) => a.add(b).map(AttributeValue::N),
        (AttributeValue::Ss(a), AttributeValue::Ss(b)) => Ok(AttributeValue::Ss(union(a, b))),
        (AttributeValue::Ns(a), AttributeValue::Ns(b)) => Ok(AttributeValue::Ns(union(a, b))),
        (AttributeValue::Bs(a), AttributeValue::Bs(b)) => Ok(AttributeValue::Bs(union(a, b))),
        _ => Err(wrong_type()),
    }
}

/// The set without some elements; `None` when nothing is left.
fn without(there: &AttributeValue, less: &AttributeValue) -> Result<Option<AttributeValue>, Invalid> {
    fn difference<T: Clone + PartialEq>(a: &[T], b: &[T]) -> Option<Vec<T>> {
        let left: Vec<T> = a.iter().filter(|one| !b.contains(one)).cloned().collect();
        (!left.is_empty()).then_some(left)
    }
    match (there, less) {
        (AttributeValue::Ss(a), AttributeValue::Ss(b)) => Ok(difference(a, b).map(AttributeValue::Ss)),
        (AttributeValue::Ns(a), AttributeValue::Ns(b)) => Ok(difference(a, b).map(AttributeValue::Ns)),
        (AttributeValue::Bs(a), AttributeValue::Bs(b)) => Ok(difference(a, b).map(AttributeValue::Bs)),
        _ => Err(wrong_type()),
    }
}

/// The value that holds the last step.
fn parent<'a>(
    item: &'a mut Item,
    path: &'a Path,
) -> Result<Option<(&'a mut AttributeValue, &'a Step)>, Invalid> {
    let Some((last, between)) = path.steps.split_last() else { return Ok(None) };
    let mut value = item.get_mut(&path.root).ok_or_else(bad_path)?;
    for step in between {
        value = match (step, value) {
            (Step::Field(name), AttributeValue::M(map)) => map.get_mut(name).ok_or_else(bad_path)?,
            (Step::Index(index), AttributeValue::L(list)) => list.get_mut(*index).ok_or_else(bad_path)?,
            _ => return Err(bad_path()),
        };
    }
    Ok(Some((value, last)))
}

fn check_parent(item: &Item, path: &Path) -> Result<(), Invalid> {
    let mut copy = item.clone();
    parent(&mut copy, path).map(drop)
}

fn put(item: &mut Item, path: &Path, value: AttributeValue) -> Result<(), Invalid> {
    match parent(item, path)? {
        None => drop(item.insert(path.root.clone(), value)),
        Some((AttributeValue::M(map), Step::Field(name))) => drop(map.insert(name.clone(), value)),
        Some((AttributeValue::L(list), Step::Index(index))) => match list.get_mut(*index) {
            Some(place) => *place = value,
            // Beyond the end means at the end.
            None => list.push(value),
        },
        Some(_) => return Err(bad_path()),
    }
    Ok(())
}

fn remove(item: &mut Item, path: &Path) -> Result<(), Invalid> {
    match parent(item, path)? {
        None => drop(item.remove(&path.root)),
        Some((AttributeValue::M(map), Step::Field(name))) => drop(map.remove(name)),
        Some((AttributeValue::L(list), Step::Index(index))) => {
            if *index < list.len() {
                list.remove(*index);
            }
        }
        Some(_) => return Err(bad_path()),
    }
    Ok(())
}
