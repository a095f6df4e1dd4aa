//! What a function that was waited for says of its batch. Source: "Partial batch failure" of pipes in the EventBridge user
//! guide; the identifiers are those of the source's events.

use serde_json::Value;

use crate::{
    calls::Answer,
    sending::{Outgoing, Sent},
};

/// An answer without a list of failures is success; a list that
/// names an event which is not in the batch fails the whole batch.
pub fn read(answer: &Answer, events: &[Outgoing], in_order: bool) -> Sent {
    if answer.failed {
        return Sent::Failed { reason: String::from_utf8_lossy(&answer.payload).into_owned() };
    }
    let malformed =
        || Sent::Failed { reason: "the answer reports batch item failures that are not in the batch".into() };
    let failures = match serde_json::from_slice::<Value>(&answer.payload) {
        Ok(Value::Object(mut answer)) => match answer.remove("batchItemFailures") {
            None | Some(Value::Null) => return Sent::All,
            Some(Value::Array(failures)) => failures,
            Some(_) => return malformed(),
        },
        _ => return Sent::All,
    };
    let mut failed = std::collections::BTreeSet::new();
    for failure in &failures {
        let id = failure.get("itemIdentifier").and_then(Value::as_str).filter(|id| !id.is_empty());
        match id.and_then(|id| events.iter().position(|event| event.origin.as_deref() == Some(id))) {
            Some(at) => drop(failed.insert(at)),
            None => return malformed(),
        }
    }
    let Some(first) = failed.first().copied() else { return Sent::All };
    if in_order {
        failed.extend(first..events.len());
    }
    let ids = failed.iter().filter_map(|at| events.get(*at)?.origin.clone()).collect();
    Sent::Except { failed: ids, reason: "reported as a batch item failure".into() }
}

#[cfg(test)]
mod tests {
    use tidemill_platform::Trace;

    use super::*;

    fn events() -> Vec<Outgoing> {
        let one = |id: &str| Outgoing {
            origin: Some(id.into()),
            event: Value::Null,
            text: String::new(),
            trace: Trace::default(),
        };
        ["a", "b", "c"].map(one).into()
    }

    #[test]
    fn answers_say_which_events_failed() {
        let failed = |answer: &str, in_order| {
            let answer = Answer { payload: answer.into(), failed: false };
            match read(&answer, &events(), in_order) {
                Sent::All => "none".to_string(),
                Sent::Except { failed, .. } => failed.concat(),
                other => format!("{other:?}").chars().take(6).collect(),
            }
        };
        for (answer, expected, expected_in_order) in [
            ("null", "none", "none"),
            ("{}", "none", "none"),
            ("[1]", "none", "none"),
            (r#"{"batchItemFailures":[]}"#, "none", "none"),
            (r#"{"batchItemFailures":null}"#, "none", "none"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, "b", "bc"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}"#, "ac", "abc"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#, "Failed", "Failed"),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, "Failed", "Failed"),
            (r#"{"batchItemFailures":"b"}"#, "Failed", "Failed"),
        ] {
            assert_eq!(failed(answer, false), expected, "{answer}");
            assert_eq!(failed(answer, true), expected_in_order, "{answer} in order");
        }
    }
}
