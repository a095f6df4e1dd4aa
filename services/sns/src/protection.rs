//! Data protection policies: messages with sensitive data are denied, masked, or written down. Identifiers that cannot be
//! found here, and destinations that are not there, are refused by name when the policy is put.
//! Source: the SNS developer guide, "Message data protection".

use serde_json::{Map, Value, json};
use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, doors::LogLine};

use crate::{
    Sns,
    api::{
        AuthorizationErrorException, GetDataProtectionPolicyInput, GetDataProtectionPolicyResponse,
        PutDataProtectionPolicyInput,
    },
    identifiers::Identifier,
    message::Message,
    notification,
    state::{Topic, TopicRow, invalid},
};

const LONGEST: usize = 30_720;
const VERSION: &str = "2021-06-01";
const MANAGED: &str = "arn:aws:dataprotection::aws:data-identifier/";
const LOG_PREFIX: &str = "/aws/vendedlogs/";
const MOST_CUSTOM: usize = 10;

/// A policy, ready to be applied.
#[derive(Debug)]
pub struct Protection {
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    is_inbound: bool,
    /// ARNs of publishers; `*` for all.
    principals: Vec<String>,
    identifiers: Vec<Identifier>,
    operation: Operation,
}

#[derive(Debug)]
enum Operation {
    Deny,
    /// The character in the place of each that is hidden.
    Mask(char),
    Redact,
    Audit {
        rate: u64,
        findings: Option<String>,
        no_findings: Option<String>,
    },
}

/// Checks a policy; `None` for the empty text.
pub fn checked(text: &str) -> Result<Option<String>, Fault> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    Protection::read(text)?;
    Ok(Some(text.into()))
}

fn wrong(why: impl std::fmt::Display) -> Fault {
    invalid(format!("DataProtectionPolicy Reason: {why}"))
}

impl Protection {
    /// What holds for a topic.
    pub fn of(row: &TopicRow) -> Option<std::sync::Arc<Protection>> {
        Protection::read(row.settings.data_protection.as_deref()?).ok().map(std::sync::Arc::new)
    }

    fn read(text: &str) -> Result<Protection, Fault> {
        if text.len() > LONGEST {
            return Err(wrong("The policy is longer than 30720 characters"));
        }
        let given: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| wrong("The policy is not a JSON object"))?;
        only(&given, &["Name", "Description", "Version", "Statement", "Configuration"])?;
        if given.get("Name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(wrong("Policy Name is required"));
        }
        if given.get("Version").and_then(Value::as_str) != Some(VERSION) {
            return Err(wrong(format!("Policy Version must be {VERSION}")));
        }
        let custom = custom(given.get("Configuration"))?;
        let statements = given.get("Statement").and_then(Value::as_array).filter(|all| !all.is_empty());
        let statements = statements.ok_or_else(|| wrong("Policy Statement is required"))?;
        let statements: Vec<Statement> =
            statements.iter().map(|one| statement(one, &custom)).collect::<Result<_, _>>()?;
        let audits = statements.iter().filter(|one| matches!(one.operation, Operation::Audit { .. }));
        if audits.count() > 1 {
            return Err(wrong("Only one statement can have the Audit operation"));
        }
        Ok(Protection { statements })
    }

    /// A message on its way in, as it may come in.
    pub fn inbound(&self, cx: &Cx, topic: &TopicRow, message: Message) -> Result<Message, Fault> {
        let caller = &cx.request().principal.arn;
        let (before, mut message) = (message.clone(), message);
        for one in self.statements.iter().filter(|one| one.is_inbound && one.holds_for(caller)) {
            match &one.operation {
                Operation::Audit { rate, findings, no_findings } => {
                    if cx.random().below(100) < *rate {
                        one.audit(cx, topic, &before, findings.as_deref(), no_findings.as_deref());
                    }
                }
                Operation::Deny if one.is_in(&before) => {
                    return Err(AuthorizationErrorException::new(format!(
                        "User: {caller} is not authorized to perform: SNS:Publish on resource: {} with an explicit deny in a data protection policy",
                        topic.arn
                    ))
                    .into());
                }
                _ => one.hide(&mut message),
            }
        }
        Ok(message)
    }

    /// A message on its way out; `None` when it may not go.
    fn outbound(&self, message: &Message) -> Option<Message> {
        let mut hidden = message.clone();
        for one in self.statements.iter().filter(|one| !one.is_inbound) {
            match one.operation {
                Operation::Deny if one.is_in(message) => return None,
                _ => one.hide(&mut hidden),
            }
        }
        Some(hidden)
    }
}

impl Topic {
    /// A message as the topic's subscriptions may see it; `None` when they may not.
    pub fn outbound(&self, message: &Message) -> Option<Message> {
        let protection = self.protection.read().clone();
        protection.map_or_else(|| Some(message.clone()), |protection| protection.outbound(message))
    }
}

impl Statement {
    fn holds_for(&self, principal: &str) -> bool {
        self.principals.iter().any(|one| one == "*" || one == principal)
    }

    fn is_in(&self, message: &Message) -> bool {
        message.all_texts().any(|text| self.identifiers.iter().any(|one| !one.find(text).is_empty()))
    }

    fn hide(&self, message: &mut Message) {
        for text in message.texts_mut() {
            for identifier in &self.identifiers {
                for at in identifier.find(text).into_iter().rev() {
                    let hidden = match self.operation {
                        Operation::Mask(character) => {
                            text.get(at.clone()).unwrap_or_default().chars().map(|_| character).collect()
                        }
                        Operation::Redact => String::new(),
                        Operation::Deny | Operation::Audit { .. } => continue,
                    };
                    text.replace_range(at, &hidden);
                }
            }
        }
    }

    fn audit(
        &self,
        cx: &Cx,
        topic: &TopicRow,
        message: &Message,
        findings: Option<&str>,
        no_findings: Option<&str>,
    ) {
        let found: Vec<Value> = self.identifiers.iter().filter_map(|one| finding(one, message)).collect();
        let Some(group) = (if found.is_empty() { no_findings } else { findings }) else { return };
        let line = json!({
            "messageId": cx.request_id(),
            "auditTimestamp": notification::printed(cx.now()),
            "callerPrincipal": cx.request().principal.arn,
            "resourceArn": topic.arn,
            "dataIdentifiers": found,
        });
        if let Some(logs) = cx.platform().doors.logs.get() {
            let line = LogLine { at: cx.now(), message: line.to_string() };
            logs.write(&topic.account, &topic.region, group, &cx.random().uuid(), vec![line]);
        }
    }
}

fn finding(identifier: &Identifier, message: &Message) -> Option<Value> {
    let places: Vec<Value> = message
        .all_texts()
        .flat_map(|text| identifier.find(text))
        .map(|at| json!({"start": at.start, "end": at.end}))
        .collect();
    let found = json!({"name": identifier.name, "count": places.len(), "locations": places});
    (!places.is_empty()).then_some(found)
}

fn only(given: &Map<String, Value>, known: &[&str]) -> Result<(), Fault> {
    match given.keys().find(|name| !known.contains(&name.as_str())) {
        Some(other) => Err(wrong(format!("Unexpected element {other}"))),
        None => Ok(()),
    }
}

/// Data identifiers of one's own.
fn custom(configuration: Option<&Value>) -> Result<Vec<Identifier>, Fault> {
    let Some(given) = configuration else { return Ok(Vec::new()) };
    let given = given.as_object().ok_or_else(|| wrong("Configuration must be an object"))?;
    only(given, &["CustomDataIdentifier"])?;
    let all = given.get("CustomDataIdentifier").and_then(Value::as_array);
    let all = all.filter(|all| all.len() <= MOST_CUSTOM);
    let all = all.ok_or_else(|| wrong("CustomDataIdentifier must be a list of up to 10"))?;
    let read = |one: &Value| {
        let of = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = Some(of("Name")).filter(|name| !name.is_empty() && name.len() <= 128)?;
        Identifier::custom(name, of("Regex"))
    };
    all.iter()
        .map(|one| read(one).ok_or_else(|| wrong("A CustomDataIdentifier needs a Name and a valid Regex")))
        .collect()
}

fn statement(given: &Value, custom: &[Identifier]) -> Result<Statement, Fault> {
    let given = given.as_object().ok_or_else(|| wrong("A Statement must be an object"))?;
    only(given, &["Sid", "DataDirection", "Principal", "DataIdentifier", "Operation"])?;
    let is_inbound = match given.get("DataDirection").and_then(Value::as_str) {
        Some("Inbound") => true,
        Some("Outbound") => false,
        _ => return Err(wrong("Statement DataDirection must be either Inbound or Outbound")),
    };
    let principals = texts(given, "Principal")?;
    if !is_inbound && !principals.iter().any(|one| one == "*") {
        return Err(Fault::not_implemented("a data protection statement for single outbound principals"));
    }
    let identifiers = texts(given, "DataIdentifier")?;
    let identifiers = identifiers.iter().map(|name| identifier(name, custom)).collect::<Result<_, _>>()?;
    let operation = given.get("Operation").and_then(Value::as_object).filter(|all| all.len() == 1);
    let operation = operation.ok_or_else(|| wrong("A Statement must have exactly one Operation"))?;
    let operation = operation.iter().next().map(|(name, value)| operation_of(name, value, is_inbound));
    let operation = operation.unwrap_or_else(|| Err(wrong("Statement Operation is required")))?;
    Ok(Statement { is_inbound, principals, identifiers, operation })
}

fn texts(given: &Map<String, Value>, name: &str) -> Result<Vec<String>, Fault> {
    let all = given.get(name).and_then(Value::as_array);
    let all: Option<Vec<String>> =
        all.and_then(|all| all.iter().map(|one| one.as_str().map(str::to_string)).collect());
    all.filter(|all| !all.is_empty())
        .ok_or_else(|| wrong(format!("Statement {name} must be a list of strings")))
}

fn identifier(name: &str, custom: &[Identifier]) -> Result<Identifier, Fault> {
    if let Some(known) = custom.iter().find(|known| known.name == name) {
        return Ok(known.clone());
    }
    let managed =
        name.strip_prefix(MANAGED).ok_or_else(|| wrong(format!("{name} is not a data identifier")))?;
    Identifier::managed(name, managed)
        .ok_or_else(|| Fault::not_implemented(format!("the data identifier {managed}")))
}

fn operation_of(name: &str, value: &Value, is_inbound: bool) -> Result<Operation, Fault> {
    let given = value.as_object().ok_or_else(|| wrong(format!("{name} must be an object")))?;
    match name {
        "Deny" => only(given, &[]).map(|()| Operation::Deny),
        "Deidentify" => deidentify(given),
        "Audit" if is_inbound => audit(given),
        "Audit" => Err(wrong("The Audit operation is for inbound messages")),
        _ => Err(wrong(format!("Unexpected operation {name}"))),
    }
}

fn deidentify(given: &Map<String, Value>) -> Result<Operation, Fault> {
    only(given, &["MaskConfig", "RedactConfig"])?;
    match (given.get("MaskConfig"), given.get("RedactConfig")) {
        (Some(mask), None) => {
            let text = mask.get("MaskWithCharacter").map_or(Some("#"), Value::as_str).unwrap_or_default();
            let mut characters = text.chars();
            let one = characters.next().filter(|one| one.is_ascii_graphic() || *one == ' ');
            let one = one.filter(|_| characters.next().is_none());
            one.map(Operation::Mask).ok_or_else(|| wrong("MaskWithCharacter must be one ASCII character"))
        }
        (None, Some(_)) => Ok(Operation::Redact),
        _ => Err(wrong("Deidentify must have either MaskConfig or RedactConfig")),
    }
}

fn audit(given: &Map<String, Value>) -> Result<Operation, Fault> {
    only(given, &["SampleRate", "FindingsDestination", "NoFindingsDestination"])?;
    let rate = match given.get("SampleRate") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    let rate = rate.filter(|rate| *rate <= 99);
    let rate = rate.ok_or_else(|| wrong("SampleRate must be an integer between 0 and 99"))?;
    let findings = destination(given.get("FindingsDestination"))?;
    let no_findings = destination(given.get("NoFindingsDestination"))?;
    if findings.is_none() && no_findings.is_none() {
        return Err(wrong("Audit needs a FindingsDestination or a NoFindingsDestination"));
    }
    Ok(Operation::Audit { rate, findings, no_findings })
}

/// The log group that lines go to.
fn destination(given: Option<&Value>) -> Result<Option<String>, Fault> {
    let Some(given) = given else { return Ok(None) };
    let given = given.as_object().ok_or_else(|| wrong("A destination must be an object"))?;
    if let Some(other) = given.keys().find(|name| ["Firehose", "S3"].contains(&name.as_str())) {
        return Err(Fault::not_implemented(format!("the audit destination {other}")));
    }
    only(given, &["CloudWatchLogs"])?;
    let group = given.get("CloudWatchLogs").and_then(|logs| logs.get("LogGroup")).and_then(Value::as_str);
    let group = group.filter(|group| group.starts_with(LOG_PREFIX));
    let group = group.ok_or_else(|| wrong(format!("LogGroup must begin with {LOG_PREFIX}")))?;
    Ok(Some(group.into()))
}

pub async fn put_data_protection_policy(
    sns: &Sns,
    _: &Cx,
    input: PutDataProtectionPolicyInput,
) -> Result<Unit, Fault> {
    let topic = sns.topic(&input.resource_arn)?;
    let policy = checked(&input.data_protection_policy)?;
    sns.change(&topic, |row| {
        row.settings.data_protection = policy;
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// The policy, or nothing.
pub async fn get_data_protection_policy(
    sns: &Sns,
    _: &Cx,
    input: GetDataProtectionPolicyInput,
) -> Result<GetDataProtectionPolicyResponse, Fault> {
    let topic = sns.topic(&input.resource_arn)?;
    let policy = topic.row().settings.data_protection.clone().unwrap_or_default();
    Ok(GetDataProtectionPolicyResponse { data_protection_policy: Some(policy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(direction: &str, identifier: &str, operation: &str) -> String {
        format!(
            r#"{{"Name":"n","Version":"2021-06-01","Statement":[{{"DataDirection":"{direction}","Principal":["*"],"DataIdentifier":["{identifier}"],"Operation":{operation}}}]}}"#
        )
    }

    fn email(direction: &str, operation: &str) -> String {
        policy(direction, &format!("{MANAGED}EmailAddress"), operation)
    }

    fn outbound(operation: &str, text: &str) -> Option<String> {
        let mut message = Message::default();
        message.text = text.into();
        Some(Protection::read(&email("Outbound", operation)).unwrap().outbound(&message)?.text)
    }

    #[test]
    fn data_is_hidden_or_kept_back() {
        let text = "to a@b.example, from é c@d.example!";
        assert_eq!(
            outbound(r#"{"Deidentify":{"MaskConfig":{"MaskWithCharacter":"*"}}}"#, text).unwrap(),
            "to ***********, from é ***********!"
        );
        assert_eq!(outbound(r#"{"Deidentify":{"RedactConfig":{}}}"#, text).unwrap(), "to , from é !");
        assert_eq!(outbound(r#"{"Deny":{}}"#, text), None);
        assert_eq!(outbound(r#"{"Deny":{}}"#, "nothing").unwrap(), "nothing");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let code = |text: &str| Protection::read(text).unwrap_err().code().to_string();
        let bad = [
            "{",
            "{}",
            &email("Sideways", r#"{"Deny":{}}"#),
            &email("Inbound", "{}"),
            &email("Inbound", r#"{"Fly":{}}"#),
            &email("Inbound", r#"{"Audit":{"SampleRate":"100"}}"#),
            &email("Inbound", r#"{"Deidentify":{}}"#),
            &policy("Inbound", "x", r#"{"Deny":{}}"#),
        ];
        for text in bad {
            assert_eq!(code(text), "InvalidParameter", "{text}");
        }
        for text in [
            policy("Inbound", &format!("{MANAGED}Name"), r#"{"Deny":{}}"#),
            email("Inbound", r#"{"Audit":{"SampleRate":"99","FindingsDestination":{"S3":{"Bucket":"b"}}}}"#),
        ] {
            assert_eq!(code(&text), "NotImplemented", "{text}");
        }
    }
}
