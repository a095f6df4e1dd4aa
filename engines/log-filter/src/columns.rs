//! `[ip, ..., status = 4* || status = 500, bytes > 1000]`: columns of space-delimited log events. What stands between
//! brackets or double quotes in an event is one column; the last column named takes what is left of the line.

use std::collections::BTreeMap;

use crate::{Invalid, comparison::Comparison, cursor::Cursor, logic::Logic};

/// Columns before and, where there is an ellipsis, after it.
#[derive(Debug, Clone)]
pub struct Columns {
    first: Vec<Column>,
    /// Aligned to the end of the line.
    last: Option<Vec<Column>>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    condition: Option<Logic<Comparison>>,
}

impl Columns {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Columns, Invalid> {
        cursor.expect("[")?;
        let mut columns = Columns { first: Vec::new(), last: None };
        loop {
            if cursor.eat("...") {
                if columns.last.replace(Vec::new()).is_some() {
                    return Err(Invalid("a filter pattern has at most one ellipsis (...)".into()));
                }
            } else {
                let list = columns.last.as_mut().unwrap_or(&mut columns.first);
                list.push(Column::read(cursor)?);
            }
            if cursor.eat("]") {
                return Ok(columns);
            }
            cursor.expect(",")?;
        }
    }

    pub fn match_text(&self, message: &str) -> bool {
        self.aligned(message).is_some_and(|aligned| aligned.iter().all(|(column, text)| column.holds(text)))
    }

    /// The columns' texts by `$name`.
    pub fn extract(&self, message: &str) -> BTreeMap<String, String> {
        let aligned = self.aligned(message).unwrap_or_default();
        aligned.into_iter().map(|(column, text)| (format!("${}", column.name), text.to_string())).collect()
    }

    /// Each column with its text; `None` when the line has too few.
    fn aligned<'a>(&'a self, message: &'a str) -> Option<Vec<(&'a Column, &'a str)>> {
        let words = split(message);
        let last = self.last.as_deref().unwrap_or_default();
        if words.len() < self.first.len() + last.len() {
            return None;
        }
        let mut aligned: Vec<_> =
            self.first.iter().zip(&words).map(|(column, word)| (column, word.text)).collect();
        if self.last.is_none() && words.len() > self.first.len() {
            let (column, _) = aligned.pop()?;
            let word = &words[self.first.len() - 1];
            aligned.push((column, message[word.begins..].trim_end()));
        }
        let from = words.len() - last.len();
        aligned.extend(last.iter().zip(&words[from..]).map(|(column, word)| (column, word.text)));
        Some(aligned)
    }
}

impl Column {
    fn read(cursor: &mut Cursor<'_>) -> Result<Column, Invalid> {
        let name = read_name(cursor)?;
        cursor.skip_whitespace();
        if matches!(cursor.peek(), Some(',' | ']')) {
            return Ok(Column { name, condition: None });
        }
        // The name was read already for the first condition and is written again in the others.
        let mut is_first = true;
        let condition = Logic::read(cursor, &mut |cursor| {
            if !std::mem::take(&mut is_first) {
                let again = read_name(cursor)?;
                if !again.eq_ignore_ascii_case(&name) {
                    return Err(Invalid(format!("'{again}' stands in the conditions of column '{name}'")));
                }
            }
            Comparison::read(cursor)
        })?;
        Ok(Column { name, condition: Some(condition) })
    }

    fn holds(&self, text: &str) -> bool {
        let mut compares = |comparison: &Comparison| comparison.match_text(text);
        self.condition.as_ref().is_none_or(|condition| condition.holds(&mut compares))
    }
}

fn read_name(cursor: &mut Cursor<'_>) -> Result<String, Invalid> {
    cursor.skip_whitespace();
    let name = cursor.take_while(|c, _| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if name.is_empty() { Err(cursor.wrong("a column's name")) } else { Ok(name.into()) }
}

struct Word<'a> {
    /// Without its brackets or quotes.
    text: &'a str,
    begins: usize,
}

fn split(message: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        at += message[at..].len() - message[at..].trim_start().len();
        let rest = &message[at..];
        let Some(first) = rest.chars().next() else { return words };
        let closing = match first {
            '[' => rest.find(']'),
            '"' => rest[1..].find('"').map(|end| end + 1),
            _ => None,
        };
        let (text, length) = match closing {
            Some(end) => (&rest[1..end], end + 1),
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        words.push(Word { text, begins: at });
        at += length;
    }
}
