//! Universal targets: any operation of the platform's services, named `arn:aws:scheduler:::aws-sdk:<service>:<action>`.
//! Source: "Using universal targets" in the EventBridge Scheduler user guide.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use tidemill_api::{Kind, Schema};
use tidemill_platform::{Cx, Fault, Platform, Service};
use tidemill_wire::{
    Dynamic,
    validate::{self, Dialect},
    value::ValueReader,
};

const PREFIX: &str = "arn:aws:scheduler:::aws-sdk:";

/// Actions that only read begin so; AWS refuses them.
const READING: &[&str] = &[
    "get",
    "describe",
    "list",
    "poll",
    "receive",
    "search",
    "scan",
    "query",
    "select",
    "read",
    "lookup",
    "discover",
    "validate",
    "batchGet",
    "batchDescribe",
    "batchRead",
    "transactGet",
];

/// Services whose name in the SDKs differs from ours.
const NAMES: &[(&str, &str)] = &[("eventbridge", "events"), ("sfn", "states"), ("cloudwatchlogs", "logs")];

/// An operation by the names a schedule gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    service: String,
    action: String,
}

impl Call {
    /// What a target's ARN names; `None` when it is no universal one.
    pub fn named(arn: &str) -> Option<Call> {
        let (service, action) = arn.strip_prefix(PREFIX)?.split_once(':')?;
        Some(Call { service: service.into(), action: action.into() })
    }

    /// Whether a schedule may call it.
    pub fn check(&self, platform: &Platform) -> Result<(), Fault> {
        if READING.iter().any(|prefix| self.begins_with(prefix)) {
            return Err(Fault::validation(format!("{} API is not supported", self.action)));
        }
        self.find(platform).map(drop)
    }

    /// Begins with this word: what follows it is a new one.
    fn begins_with(&self, word: &str) -> bool {
        self.action.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|next: char| next.is_lowercase()))
    }

    fn find(&self, platform: &Platform) -> Result<(Arc<Service>, usize), Fault> {
        let named = NAMES.iter().find(|(theirs, _)| *theirs == self.service);
        let name = named.map_or(self.service.as_str(), |(_, ours)| ours);
        let lacking =
            || Fault::not_implemented(format!("the universal target {}:{}", self.service, self.action));
        let service = platform.doors.service(name).ok_or_else(lacking)?;
        let at = service.meta.operations.iter().position(|known| same_word(known.name, &self.action));
        match at.filter(|at| service.implements(*at)) {
            Some(at) => Ok((service, at)),
            None => Err(lacking()),
        }
    }

    /// Calls the operation with this input.
    pub async fn run(&self, cx: &Cx, input: &str) -> Result<(), Fault> {
        let (service, at) = self.find(cx.platform())?;
        let schema = service.meta.operations[at].input;
        let given: Value = serde_json::from_str(input)
            .map_err(|_| Fault::validation("JSON syntax error in input for the target"))?;
        let given = adapted(schema, given)?;
        let refused = |error: tidemill_api::ReadError| Fault::validation(error.message);
        let read = Dynamic::read(schema, &mut ValueReader::new(&given)).map_err(refused)?;
        if let Some(fault) = validate::explain(&read, Dialect::of(service.meta)) {
            return Err(fault);
        }
        let call = service.read(at, &mut ValueReader::new(&given));
        let call = call.ok_or_else(|| Fault::not_implemented(&self.action))?.map_err(refused)?;
        call.run(cx.clone()).await.map(drop)
    }
}

/// Names are the same but for the case of the first letter, as inputs write `LogGroupName` for `logGroupName`.
fn same_word(a: &str, b: &str) -> bool {
    let rest = |text: &str| text.chars().skip(1).collect::<String>();
    a.get(..1).is_some_and(|first| b.get(..1).is_some_and(|other| first.eq_ignore_ascii_case(other)))
        && rest(a) == rest(b)
}

/// The input as the operation's shapes write it: members under their own names, blobs (which schedules give as text) in
/// base64. Members that the operation does not know are refused.
fn adapted(schema: &'static Schema, value: Value) -> Result<Value, Fault> {
    Ok(match (schema.kind, value) {
        (Kind::Structure | Kind::Union, Value::Object(given)) => {
            let mut members = Map::new();
            for (name, value) in given {
                let member = schema.members.iter().find(|member| same_word(member.name, &name));
                let unknown = || Fault::validation(format!("Unknown parameter in input: {name}"));
                let member = member.ok_or_else(unknown)?;
                members.insert(member.name.into(), adapted(member.schema(), value)?);
            }
            Value::Object(members)
        }
        (Kind::List, Value::Array(given)) => match schema.members.first() {
            Some(member) => {
                let elements = given.into_iter().map(|one| adapted(member.schema(), one));
                Value::Array(elements.collect::<Result<_, _>>()?)
            }
            None => Value::Array(given),
        },
        (Kind::Map, Value::Object(given)) => match schema.members.get(1) {
            Some(member) => {
                let entries = given.into_iter().map(|(name, one)| Ok((name, adapted(member.schema(), one)?)));
                Value::Object(entries.collect::<Result<_, Fault>>()?)
            }
            None => Value::Object(given),
        },
        (Kind::Blob, Value::String(text)) => Value::String(BASE64_STANDARD.encode(text)),
        (_, other) => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_arns() {
        let call = Call::named("arn:aws:scheduler:::aws-sdk:sqs:sendMessage").expect("a call");
        assert_eq!((call.service.as_str(), call.action.as_str()), ("sqs", "sendMessage"));
        assert_eq!(Call::named("arn:aws:sqs:us-east-1:000000000000:jobs"), None);
        assert_eq!(Call::named("arn:aws:scheduler:::aws-sdk:sqs"), None);
        assert!(same_word("SendMessage", "sendMessage") && !same_word("SendMessage", "sendmessage"));
    }

    #[test]
    fn actions_that_read_are_told_by_their_first_word() {
        let call = |action: &str| Call { service: "x".into(), action: action.into() };
        assert!(call("getQueueUrl").begins_with("get") && call("batchGetItem").begins_with("batchGet"));
        assert!(!call("listenTo").begins_with("list") && !call("putItem").begins_with("get"));
    }
}
