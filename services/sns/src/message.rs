//! A message as it was published, checked. Source: the SNS API reference, "Publish", and the developer guide, "Amazon SNS
//! message attributes".

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidemill_event_pattern::Attribute as Filtered;
use tidemill_platform::Fault;

use crate::{
    api::{InvalidParameterValueException, MessageAttributeValue},
    notification::base64,
    state::invalid,
};

/// Bytes of a message with its attributes.
pub const MOST_BYTES: usize = 262_144;
const LONGEST_SUBJECT: usize = 100;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub text: String,
    /// Texts by protocol, of a message of JSON structure.
    texts: BTreeMap<String, String>,
    pub subject: Option<String>,
    pub attributes: BTreeMap<String, Attribute>,
    pub group: Option<String>,
    pub dedup: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    pub value: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Content {
    Text(String),
    Binary(Bytes),
}

/// What a publisher gave.
pub struct Given {
    pub message: String,
    pub subject: Option<String>,
    pub structure: Option<String>,
    pub attributes: Option<BTreeMap<String, MessageAttributeValue>>,
    pub group: Option<String>,
    pub dedup: Option<String>,
}

impl Message {
    /// Checks what was given against everything but the topic.
    pub fn read(given: Given) -> Result<Message, Fault> {
        if given.message.is_empty() {
            return Err(invalid("Empty message"));
        }
        if let Some(subject) = &given.subject {
            check_subject(subject)?;
        }
        let attributes: BTreeMap<String, Attribute> = given
            .attributes
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), attribute(&name, value)?)))
            .collect::<Result<_, Fault>>()?;
        let mut message = Message {
            text: given.message,
            texts: BTreeMap::new(),
            subject: given.subject,
            attributes,
            group: given.group,
            dedup: given.dedup,
        };
        if message.size() > MOST_BYTES {
            return Err(invalid("Message too long"));
        }
        match given.structure.as_deref() {
            None | Some("") => {}
            Some("json") => message.structure()?,
            Some(_) => return Err(invalid("MessageStructure")),
        }
        Ok(message)
    }

    fn structure(&mut self) -> Result<(), Fault> {
        let parsed: Map<String, Value> = serde_json::from_str(&self.text)
            .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
        let texts = parsed.into_iter().filter_map(|(protocol, text)| match text {
            Value::String(text) => Some((protocol, text)),
            _ => None,
        });
        self.texts = texts.collect();
        let default = self.texts.get("default");
        let default =
            default.ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))?;
        self.text = default.clone();
        Ok(())
    }

    /// What endpoints of a protocol get.
    pub fn text_for(&self, protocol: &str) -> &str {
        self.texts.get(protocol).unwrap_or(&self.text)
    }

    /// The texts, all of them, to be looked at and changed.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.text).chain(self.texts.values_mut())
    }

    /// Likewise, to be looked at, the default but once.
    pub fn all_texts(&self) -> impl Iterator<Item = &str> {
        let others = self.texts.iter().filter(|(protocol, _)| *protocol != "default").map(|(_, text)| text);
        std::iter::once(&self.text).chain(others).map(String::as_str)
    }

    /// Bytes that count.
    pub fn size(&self) -> usize {
        let of = |(name, value): (&String, &Attribute)| {
            name.len()
                + value.data_type.len()
                + match &value.value {
                    Content::Text(text) => text.len(),
                    Content::Binary(bytes) => bytes.len(),
                }
        };
        self.text.len() + self.attributes.iter().map(of).sum::<usize>()
    }

    /// The attributes as filter policies see them.
    pub fn filtered(&self) -> impl Iterator<Item = (&str, Filtered<'_>)> {
        self.attributes.iter().map(|(name, attribute)| {
            let seen = match &attribute.value {
                Content::Binary(_) => Filtered::Binary,
                Content::Text(text) if attribute.data_type == "String.Array" => Filtered::StringArray(text),
                Content::Text(text) if attribute.data_type.starts_with("Number") => Filtered::Number(text),
                Content::Text(text) => Filtered::String(text),
            };
            (name.as_str(), seen)
        })
    }
}

impl Attribute {
    /// The value in documents: text as it is, bytes in base64.
    pub fn printed(&self) -> Cow<'_, str> {
        match &self.value {
            Content::Text(text) => Cow::Borrowed(text),
            Content::Binary(bytes) => Cow::Owned(base64(bytes)),
        }
    }
}

fn check_subject(subject: &str) -> Result<(), Fault> {
    let is_good = (1..=LONGEST_SUBJECT).contains(&subject.chars().count())
        && !subject.starts_with(char::is_whitespace)
        && !subject.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(invalid("Subject")) }
}

fn attribute(name: &str, given: MessageAttributeValue) -> Result<Attribute, Fault> {
    let wrong = |sentence: String| Fault::from(InvalidParameterValueException::new(sentence));
    check_name(name)?;
    let base = given.data_type.split('.').next().unwrap_or_default();
    if given.data_type.is_empty() {
        return Err(wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        )));
    }
    if !matches!(base, "String" | "Number" | "Binary") || given.data_type.len() > 256 {
        return Err(wrong(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
        )));
    }
    let empty = || {
        wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{}'.",
            given.data_type
        ))
    };
    let wanted = if base == "Binary" { "Binary" } else { "String" };
    let is_other = if base == "Binary" { given.string_value.is_some() } else { given.binary_value.is_some() };
    if is_other {
        return Err(wrong(format!(
            "The message attribute '{name}' with type '{}' must use field '{wanted}'.",
            given.data_type
        )));
    }
    let value = if base == "Binary" {
        Content::Binary(given.binary_value.clone().filter(|bytes| !bytes.is_empty()).ok_or_else(empty)?)
    } else {
        Content::Text(given.string_value.clone().filter(|text| !text.is_empty()).ok_or_else(empty)?)
    };
    if let (Content::Text(text), "Number") = (&value, base)
        && text.trim().parse::<f64>().is_err()
    {
        return Err(wrong(format!("Could not cast message attribute '{name}' value to number.")));
    }
    Ok(Attribute { data_type: given.data_type, value })
}

/// Names that SNS itself gives a meaning to.
const RESERVED: &[&str] = &["AWS.SNS.SMS.", "AWS.SNS.MOBILE.", "AWS.MM.SMS."];

fn check_name(name: &str) -> Result<(), Fault> {
    let wrong = |sentence: &str| Err(InvalidParameterValueException::new(sentence).into());
    let lower = name.to_ascii_lowercase();
    let is_good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    if name.len() > 256 {
        return wrong("Length of message attribute name must be less than 256 bytes.");
    }
    if name.starts_with('.') {
        return wrong("Invalid message attribute name starting with character '.' was found.");
    }
    if name.ends_with('.') {
        return wrong("Invalid message attribute name ending with character '.' was found.");
    }
    if let Some(other) = name.chars().find(|character| !is_good(*character)) {
        return wrong(&format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(other)
        ));
    }
    if name.contains("..") {
        return wrong("Message attribute name can not have successive '.' character.");
    }
    let is_reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    if name.is_empty() || (is_reserved && !RESERVED.iter().any(|known| name.starts_with(known))) {
        return wrong("Message attribute name can not start with 'AWS.' or 'Amazon.' prefix.");
    }
    Ok(())
}
