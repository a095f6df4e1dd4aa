//! What a function that reports batch item failures answered. Source: "Success and failure conditions" of SQS event source
//! mappings in the Lambda developer guide.

use std::collections::HashSet;

use serde_json::Value;

use super::batch::Batch;

/// The receipts of the messages that are done with. An empty answer means all of them; one that cannot be understood,
/// or that names a message which is not in the batch, none.
pub fn done(answer: &[u8], batch: &Batch) -> Vec<String> {
    let Some(failed) = failed(answer) else { return Vec::new() };
    if failed.iter().any(|id| !batch.items.iter().any(|item| item.message_id == *id)) {
        return Vec::new();
    }
    let succeeded = batch.items.iter().filter(|item| !failed.contains(&item.message_id));
    succeeded.map(|item| item.receipt.clone()).collect()
}

/// The ids of failed messages; `None` for an answer that is malformed.
fn failed(answer: &[u8]) -> Option<HashSet<String>> {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Some(HashSet::new());
    }
    let list = match serde_json::from_slice(answer).ok()? {
        Value::Null => return Some(HashSet::new()),
        Value::String(text) if text.is_empty() => return Some(HashSet::new()),
        Value::Object(mut answer) => match answer.remove("batchItemFailures") {
            None | Some(Value::Null) => return Some(HashSet::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return None,
        },
        _ => return None,
    };
    let id = |item: &Value| {
        let id = item.get("itemIdentifier")?.as_str()?;
        (!id.is_empty()).then(|| id.to_string())
    };
    list.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::batch::Item, *};

    #[test]
    fn answers_are_read_as_lambda_documents() {
        let item = |id: &str| Item {
            message_id: id.into(),
            receipt: id.into(),
            json: Vec::new(),
            trace: String::new(),
            receives: 1,
        };
        let batch = Batch { items: vec![item("a"), item("b")], bytes: 0 };
        for (answer, expected) in [
            ("", "ab"),
            ("null", "ab"),
            ("\"\"", "ab"),
            ("{}", "ab"),
            (r#"{"other":1}"#, "ab"),
            (r#"{"batchItemFailures":null}"#, "ab"),
            (r#"{"batchItemFailures":[]}"#, "ab"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, "b"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}"#, "a"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#, ""),
            ("not json", ""),
            ("[]", ""),
            ("\"done\"", ""),
            (r#"{"batchItemFailures":"a"}"#, ""),
            (r#"{"batchItemFailures":["a"]}"#, ""),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, ""),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, ""),
            (r#"{"batchItemFailures":[{"itemIdentifier":1}]}"#, ""),
            (r#"{"batchItemFailures":[{"id":"a"}]}"#, ""),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"z"}]}"#, ""),
        ] {
            assert_eq!(done(answer.as_bytes(), &batch).concat(), expected, "{answer}");
        }
    }
}
