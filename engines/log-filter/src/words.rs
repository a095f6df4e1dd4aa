//! Words and phrases: `ERROR`, `"two words"`, `-without`, `?either ?or`. Matching is case-sensitive and by substring.

use crate::{Invalid, cursor::Cursor};

#[derive(Debug, Clone, Default)]
pub struct Words {
    all: Vec<String>,
    none: Vec<String>,
    any: Vec<String>,
}

impl Words {
    pub fn read(pattern: &str) -> Result<Words, Invalid> {
        let mut words = Words::default();
        let mut cursor = Cursor::new(pattern);
        loop {
            cursor.skip_whitespace();
            let list = match cursor.peek() {
                None => return Ok(words),
                Some('-') => &mut words.none,
                Some('?') => &mut words.any,
                Some(_) => &mut words.all,
            };
            if matches!(cursor.peek(), Some('-' | '?')) {
                cursor.next();
            }
            list.push(word(&mut cursor)?);
        }
    }

    /// Optional words count only where nothing else is asked for.
    pub fn match_text(&self, message: &str) -> bool {
        let has = |word: &String| message.contains(word.as_str());
        let optional = self.any.is_empty() || !self.all.is_empty() || !self.none.is_empty();
        self.all.iter().all(has) && !self.none.iter().any(has) && (optional || self.any.iter().any(has))
    }
}

fn word(cursor: &mut Cursor<'_>) -> Result<String, Invalid> {
    if cursor.peek() == Some('"') {
        cursor.next();
        // `" "` is the guide's way to say "everything".
        return cursor.quoted('"').map(|text| if text.trim().is_empty() { String::new() } else { text });
    }
    let word = cursor.take_while(|c, _| !c.is_whitespace());
    match word.is_empty() || word.contains('"') {
        true => Err(Invalid("Invalid filter pattern".into())),
        false => Ok(word.into()),
    }
}
