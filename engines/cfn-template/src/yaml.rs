//! Text → JSON value. YAML 1.1 as CloudFormation reads it: short forms of intrinsic functions become their long forms,
//! dates and numbers with leading zeros stay text, aliases and merges are not allowed.
//! Source: the CloudFormation user guide, "CloudFormation template formats".

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

use crate::TemplateError;

/// The largest template, in bytes (through S3; in a request AWS takes 51,200).
const MOST_BYTES: usize = 1_000_000;
const DEEPEST: usize = 100;

/// Reads a template's text. What starts with `{` is JSON.
///
/// # Errors
/// When the text is too large, too deep or not well-formed.
pub fn read(text: &str) -> Result<Value, TemplateError> {
    if text.len() > MOST_BYTES {
        return Err(TemplateError::new("Template may not exceed 1000000 bytes in size."));
    }
    let value = if text.trim_start().starts_with('{') { json(text) } else { yaml(text) }?;
    if !value.is_object() {
        return Err(TemplateError::format("unsupported structure."));
    }
    Ok(value)
}

fn json(text: &str) -> Result<Value, TemplateError> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        TemplateError::format(format_args!("JSON not well-formed. (line {line}, column {column})"))
    })
}

fn yaml(text: &str) -> Result<Value, TemplateError> {
    let mut reader = Reader { events: Parser::new_from_str(text), depth: 0 };
    reader.document()
}

struct Reader<'a, P: Iterator<Item = Result<(Event<'a>, Span), saphyr_parser::ScanError>>> {
    events: P,
    depth: usize,
}

impl<'a, P: Iterator<Item = Result<(Event<'a>, Span), saphyr_parser::ScanError>>> Reader<'a, P> {
    fn next(&mut self) -> Result<(Event<'a>, Span), TemplateError> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(broken(error.marker().line(), error.marker().col())),
            None => Err(TemplateError::format("unsupported structure.")),
        }
    }

    fn document(&mut self) -> Result<Value, TemplateError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
                first => {
                    let value = self.value(first, span)?;
                    self.end()?;
                    return Ok(value);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), TemplateError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd | Event::Nothing => {}
                _ => return Err(broken(span.start.line(), span.start.col())),
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span) -> Result<Value, TemplateError> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                tagged(tag.as_deref(), scalar(&text, style, tag.as_deref()))
            }
            Event::SequenceStart(_, tag) => {
                let items = self.nested(span, Self::sequence)?;
                tagged(tag.as_deref(), items)
            }
            Event::MappingStart(_, tag) => {
                let members = self.nested(span, Self::mapping)?;
                tagged(tag.as_deref(), members)
            }
            Event::Alias(_) => {
                Err(TemplateError::template("YAML aliases are not allowed in CloudFormation templates"))
            }
            _ => Err(broken(span.start.line(), span.start.col())),
        }
    }

    fn nested(
        &mut self,
        span: Span,
        read: impl FnOnce(&mut Self) -> Result<Value, TemplateError>,
    ) -> Result<Value, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let line = span.start.line();
            return Err(TemplateError::format(format_args!("nested too deeply. (line {line})")));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn sequence(&mut self) -> Result<Value, TemplateError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.value(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, TemplateError> {
        let mut members = Map::new();
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(broken(at.start.line(), at.start.col())),
            };
            if key == "<<" {
                return Err(TemplateError::template(
                    "YAML merges are not allowed in CloudFormation templates",
                ));
            }
            let (event, span) = self.next()?;
            let value = self.value(event, span)?;
            if members.insert(key, value).is_some() {
                return Err(broken(at.start.line(), at.start.col()));
            }
        }
    }
}

fn broken(line: usize, column: usize) -> TemplateError {
    TemplateError::format(format_args!("YAML not well-formed. (line {line}, column {})", column + 1))
}

/// `!Sub x` is `{"Fn::Sub": "x"}`.
fn tagged(tag: Option<&Tag>, value: Value) -> Result<Value, TemplateError> {
    let Some(tag) = tag.filter(|tag| tag.handle == "!") else { return Ok(value) };
    let name = match tag.suffix.as_str() {
        "" => return Ok(value),
        "Ref" | "Condition" => tag.suffix.clone(),
        other => format!("Fn::{other}"),
    };
    let value = match value {
        Value::String(path) if name == "Fn::GetAtt" => match path.split_once('.') {
            Some((resource, attribute)) => Value::from(vec![resource, attribute]),
            None => Value::String(path),
        },
        other => other,
    };
    Ok(Value::Object(Map::from_iter([(name, value)])))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.handle != "!" && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Value::String(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.into()), Value::Number),
    }
}

/// Whole numbers and decimal fractions. What would change by being read as a number (account ids, versions like `1.10`)
/// stays text.
fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return (whole.to_string() == text).then(|| Number::from(whole));
    }
    let is_decimal = text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let value: f64 = is_decimal.then(|| text.parse().ok())??;
    Number::from_f64(value).filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_forms_become_long_ones() {
        let cases = [
            ("A: !Ref X", json!({"A": {"Ref": "X"}})),
            ("A: !GetAtt X.Arn", json!({"A": {"Fn::GetAtt": ["X", "Arn"]}})),
            ("A: !GetAtt X.Outputs.Y", json!({"A": {"Fn::GetAtt": ["X", "Outputs.Y"]}})),
            ("A: !Sub '${X}-y'", json!({"A": {"Fn::Sub": "${X}-y"}})),
            ("A: !Join ['-', [a, !Ref B]]", json!({"A": {"Fn::Join": ["-", ["a", {"Ref": "B"}]]}})),
            (
                "A: !If [C, !Ref B, !Ref 'AWS::NoValue']",
                json!({"A": {"Fn::If": ["C", {"Ref": "B"}, {"Ref": "AWS::NoValue"}]}}),
            ),
            ("A: !Not [!Condition C]", json!({"A": {"Fn::Not": [{"Condition": "C"}]}})),
        ];
        for (text, value) in cases {
            assert_eq!(read(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn scalars_are_read_as_people_mean_them() {
        let cases = [
            ("2012-10-17", json!("2012-10-17")),
            ("012345678901", json!("012345678901")),
            ("000000000000", json!("000000000000")),
            ("128", json!(128)),
            ("-1", json!(-1)),
            ("0.5", json!(0.5)),
            ("3.10", json!("3.10")),
            ("python3.11", json!("python3.11")),
            ("'5'", json!("5")),
            ("!!str 5", json!("5")),
            ("yes", json!(true)),
            ("123456789012345678901", json!("123456789012345678901")),
            ("12:30", json!("12:30")),
        ];
        for (text, value) in cases {
            assert_eq!(read(&format!("A: {text}")), Ok(json!({"A": value})), "{text}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_named_with_its_place() {
        for (text, sentence) in [
            ("A: [1", "YAML not well-formed"),
            ("A: 1\nA: 2", "YAML not well-formed. (line 2, column 1)"),
            ("{\"A\": }", "JSON not well-formed. (line 1, column 7)"),
            ("just text", "unsupported structure."),
            ("", "unsupported structure."),
            ("A: &x 1\nB: *x", "YAML aliases are not allowed in CloudFormation templates"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(sentence), "{text:?}: {error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let text = format!("A: {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&text).is_err());
        let text = format!("{{\"A\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&text).is_err());
    }
}
