//! What conditions are joined by: `()` before `&&` before `||`.

use crate::{Invalid, cursor::Cursor};

/// Parentheses inside parentheses.
const MOST_NESTED: usize = 32;

#[derive(Debug, Clone)]
pub enum Logic<T> {
    One(T),
    All(Vec<Logic<T>>),
    Any(Vec<Logic<T>>),
}

impl<T> Logic<T> {
    /// Reads conditions; `one` reads a single one.
    pub fn read(
        cursor: &mut Cursor<'_>,
        one: &mut dyn FnMut(&mut Cursor<'_>) -> Result<T, Invalid>,
    ) -> Result<Logic<T>, Invalid> {
        either(cursor, one, 0)
    }

    pub fn holds(&self, one: &mut dyn FnMut(&T) -> bool) -> bool {
        match self {
            Logic::One(condition) => one(condition),
            Logic::All(list) => list.iter().all(|condition| condition.holds(one)),
            Logic::Any(list) => list.iter().any(|condition| condition.holds(one)),
        }
    }

    /// Shows every single condition.
    pub fn each<'a>(&'a self, see: &mut dyn FnMut(&'a T)) {
        match self {
            Logic::One(condition) => see(condition),
            Logic::All(list) | Logic::Any(list) => list.iter().for_each(|condition| condition.each(see)),
        }
    }
}

type ReadOne<'r, T> = &'r mut dyn FnMut(&mut Cursor<'_>) -> Result<T, Invalid>;

fn either<T>(cursor: &mut Cursor<'_>, one: ReadOne<'_, T>, depth: usize) -> Result<Logic<T>, Invalid> {
    let mut list = vec![both(cursor, one, depth)?];
    while cursor.eat("||") {
        list.push(both(cursor, one, depth)?);
    }
    Ok(if list.len() == 1 { list.remove(0) } else { Logic::Any(list) })
}

fn both<T>(cursor: &mut Cursor<'_>, one: ReadOne<'_, T>, depth: usize) -> Result<Logic<T>, Invalid> {
    let mut list = vec![single(cursor, one, depth)?];
    while cursor.eat("&&") {
        list.push(single(cursor, one, depth)?);
    }
    Ok(if list.len() == 1 { list.remove(0) } else { Logic::All(list) })
}

fn single<T>(cursor: &mut Cursor<'_>, one: ReadOne<'_, T>, depth: usize) -> Result<Logic<T>, Invalid> {
    if depth > MOST_NESTED {
        return Err(Invalid(format!("parentheses are nested deeper than {MOST_NESTED}")));
    }
    if !cursor.eat("(") {
        return one(cursor).map(Logic::One);
    }
    let inner = either(cursor, one, depth + 1)?;
    cursor.expect(")")?;
    Ok(inner)
}
