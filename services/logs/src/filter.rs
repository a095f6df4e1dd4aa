//! Filter patterns over unstructured text: `ERROR`, `"two words"`, `-without`, `?either ?or`. Matching is
//! case-sensitive and by substring. JSON (`{…}`), space-delimited (`[…]`) and regular-expression (`%…%`) patterns are
//! refused until they are built. Source: "Filter pattern syntax" in the CloudWatch Logs user guide.

use tidemill_platform::Fault;

/// A parsed pattern; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    all: Vec<String>,
    none: Vec<String>,
    any: Vec<String>,
}

impl Filter {
    pub fn parse(pattern: &str) -> Result<Filter, Fault> {
        let pattern = pattern.trim();
        let kind = match pattern.as_bytes() {
            [b'{', ..] => "JSON filter patterns",
            [b'[', ..] => "space-delimited filter patterns",
            [b'%', ..] => "regular-expression filter patterns",
            _ => "",
        };
        if !kind.is_empty() {
            return Err(Fault::not_implemented(kind));
        }
        let mut filter = Filter::default();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (list, after) = match rest.as_bytes() {
                [b'-', ..] => (&mut filter.none, &rest[1..]),
                [b'?', ..] => (&mut filter.any, &rest[1..]),
                _ => (&mut filter.all, rest),
            };
            let (term, after) = term(after)?;
            list.push(term);
            rest = after.trim_start();
        }
        Ok(filter)
    }

    pub fn matches(&self, message: &str) -> bool {
        let has = |term: &String| message.contains(term.as_str());
        self.all.iter().all(has)
            && !self.none.iter().any(has)
            && (self.any.is_empty() || !self.all.is_empty() || self.any.iter().any(has))
    }
}

fn term(text: &str) -> Result<(String, &str), Fault> {
    let invalid = || Fault::new("InvalidParameterException", "Invalid filter pattern");
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (term, rest) = text.split_at(end);
        return if term.is_empty() || term.contains('"') {
            Err(invalid())
        } else {
            Ok((term.to_string(), rest))
        };
    };
    let mut term = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((term, &quoted[at + 1..])),
            '\\' => term.extend(chars.next().map(|(_, escaped)| escaped)),
            other => term.push(other),
        }
    }
    Err(invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_as_the_guide_says() {
        for (pattern, message, matches) in [
            ("", "anything", true),
            ("ERROR", "[ERROR] 419 failed", true),
            ("ERROR", "[error] 419 failed", false),
            ("ERROR ARGUMENTS", "ERROR 401 MISSING ARGUMENTS", true),
            ("ERROR ARGUMENTS", "ERROR 401 UNAUTHORIZED", false),
            ("?ERROR ?ARGUMENTS", "INVALID ARGUMENTS", true),
            ("?ERROR ?ARGUMENTS", "all well", false),
            ("ERROR -ARGUMENTS", "ERROR 400 BAD REQUEST", true),
            ("ERROR -ARGUMENTS", "ERROR 401 MISSING ARGUMENTS", false),
            ("\"INTERNAL SERVER\"", "[ERROR 500] INTERNAL SERVER ERROR", true),
            ("\"say \\\"hi\\\"\"", "they say \"hi\"", true),
        ] {
            assert_eq!(Filter::parse(pattern).unwrap().matches(message), matches, "{pattern} on {message}");
        }
    }

    #[test]
    fn what_is_not_built_is_refused() {
        assert_eq!(Filter::parse("{ $.level = \"ERROR\" }").unwrap_err().code(), "NotImplemented");
        assert_eq!(Filter::parse("\"open").unwrap_err().code(), "InvalidParameterException");
    }
}
