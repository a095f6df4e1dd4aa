//! Input templates with a bound: a short template that names a long part of the event many times would fill the memory.

use serde_json::Value;
use tidemill_input_transformer::{PipeContext, PipeTemplate};
use tidemill_platform::Fault;

/// What the events of a batch may become, in bytes. No target takes as much.
const MOST_BYTES: usize = 16 << 20;
/// Up to so many placeholders an event is not measured first.
const FEW: usize = 16;

pub struct Template {
    parsed: PipeTemplate,
    placeholders: usize,
}

impl Template {
    /// Reads `InputTemplate` of a block of parameters; an empty one is none.
    pub fn parse(block: &str, text: Option<&str>) -> Result<Option<Template>, Fault> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let parsed = PipeTemplate::parse(text);
        let parsed = parsed
            .map_err(|error| Fault::validation(format!("Invalid InputTemplate in {block}: {error}")))?;
        Ok(Some(Template { parsed, placeholders: text.matches('<').count() }))
    }

    /// The text of each event; a fault when they are too long together.
    pub fn apply<'e>(
        &self,
        events: impl Iterator<Item = &'e Value>,
        context: &PipeContext<'_>,
    ) -> Result<Vec<String>, Fault> {
        let too_long =
            || Fault::validation(format!("The transformed events are longer than {MOST_BYTES} bytes."));
        let (mut texts, mut bytes) = (Vec::new(), 0_usize);
        for event in events {
            if self.placeholders > FEW && event.to_string().len() > MOST_BYTES / self.placeholders {
                return Err(too_long());
            }
            let text = self.parsed.apply(event, context);
            bytes += text.len();
            if bytes > MOST_BYTES {
                return Err(too_long());
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_do_not_fill_the_memory() {
        let context = PipeContext {
            pipe_arn: "",
            pipe_name: "p",
            source_arn: "",
            enrichment_arn: None,
            target_arn: "",
            ingestion_time: "",
        };
        let event = json!({"body": "x".repeat(1 << 20)});
        let of = |text: &str, count: usize| {
            let template = Template::parse("TargetParameters", Some(text)).unwrap().unwrap();
            template.apply(std::iter::repeat_n(&event, count), &context).map(|texts| texts.len())
        };
        assert_eq!(of("<$.body>", 3).ok(), Some(3));
        assert!(of("<$.body>", 20).is_err());
        assert!(of(&format!("[{}1]", "<$.body>,".repeat(100)), 1).is_err());
        assert!(Template::parse("TargetParameters", Some("{")).is_err());
        assert!(Template::parse("TargetParameters", Some("")).unwrap().is_none());
    }
}
