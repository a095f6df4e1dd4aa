//! `{ $.level = "ERROR" && ($.status >= 500 || $.cause IS NULL) }`: conditions on log events that are JSON objects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Invalid, comparison::Comparison, cursor::Cursor, logic::Logic, selector::Selector};

/// Wildcards in all selectors of a pattern. Source: the user guide's quotas.
const MOST_WILDCARDS: usize = 3;

#[derive(Debug, Clone)]
pub struct Condition(Logic<Test>);

#[derive(Debug, Clone)]
struct Test {
    selector: Selector,
    question: Question,
}

#[derive(Debug, Clone)]
enum Question {
    Compares(Comparison),
    /// `IS NULL`, `IS TRUE`, `IS FALSE`.
    Is(Value),
    NotExists,
}

impl Condition {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Condition, Invalid> {
        cursor.expect("{")?;
        let mut wildcards = 0;
        let logic = Logic::read(cursor, &mut |cursor| {
            let test = Test::read(cursor)?;
            wildcards += usize::from(test.selector.has_wildcard());
            Ok(test)
        })?;
        cursor.expect("}")?;
        if wildcards > MOST_WILDCARDS {
            return Err(Invalid(format!(
                "a filter pattern has at most {MOST_WILDCARDS} wildcards in selectors"
            )));
        }
        Ok(Condition(logic))
    }

    pub fn match_text(&self, message: &str) -> bool {
        object(message).is_some_and(|event| self.0.holds(&mut |test| test.holds(&event)))
    }

    /// The selectors' values by the selectors.
    pub fn extract(&self, message: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let Some(event) = object(message) else { return found };
        self.0.each(&mut |test| {
            let text = match test.selector.first(&event) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => return,
            };
            found.insert(test.selector.text().to_string(), text);
        });
        found
    }
}

impl Test {
    fn read(cursor: &mut Cursor<'_>) -> Result<Test, Invalid> {
        let selector = Selector::read(cursor)?;
        let question = if cursor.eat_word("IS") {
            let words = [("NULL", Value::Null), ("TRUE", true.into()), ("FALSE", false.into())];
            let found = words.into_iter().find(|(word, _)| cursor.eat_word(word));
            Question::Is(found.ok_or_else(|| cursor.wrong("NULL, TRUE or FALSE"))?.1)
        } else if cursor.eat_word("NOT") {
            match cursor.eat_word("EXISTS") {
                true => Question::NotExists,
                false => return Err(cursor.wrong("EXISTS")),
            }
        } else {
            Question::Compares(Comparison::read(cursor)?)
        };
        Ok(Test { selector, question })
    }

    fn holds(&self, event: &Value) -> bool {
        match &self.question {
            Question::Compares(comparison) => {
                self.selector.any(event, &mut |value| comparison.match_json(value))
            }
            Question::Is(wanted) => self.selector.any(event, &mut |value| value == wanted),
            Question::NotExists => !self.selector.any(event, &mut |_| true),
        }
    }
}

fn object(message: &str) -> Option<Value> {
    let message = message.trim();
    // Most lines are no JSON at all.
    let is_object = message.starts_with('{');
    is_object.then(|| serde_json::from_str(message).ok()).flatten()
}
