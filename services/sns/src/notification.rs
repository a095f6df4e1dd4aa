//! What endpoints get: the notification's JSON with its signature, as a document for queues and HTTP and as an event for
//! functions. Source: the SNS developer guide, "Amazon SNS message and JSON formats".

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_platform::{Fault, Timestamp};

use crate::{message::Message, notary::Notary};

/// A published message on its way to many subscriptions.
pub struct Notification<'a> {
    pub message: &'a Message,
    pub id: &'a str,
    pub topic_arn: &'a str,
    pub at: Timestamp,
    /// Of a FIFO topic.
    pub sequence: Option<String>,
    /// It comes from the topic's archive.
    pub is_replayed: bool,
    pub signature_version: u8,
    /// Where links lead: `http://host:port`.
    pub base_url: String,
    pub notary: &'a Notary,
    /// Signatures by the text of the message, which differs between protocols only in messages of JSON structure.
    pub signatures: OnceCell<(String, String)>,
}

/// The members of a document that its signature covers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signed<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    message_id: Cow<'a, str>,
    subject: Option<Cow<'a, str>>,
    timestamp: Cow<'a, str>,
    topic_arn: Cow<'a, str>,
    #[serde(rename = "Type")]
    kind: Cow<'a, str>,
    signature_version: Cow<'a, str>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
}

impl Signed<'_> {
    pub fn version(&self) -> u8 {
        if self.signature_version == "2" { 2 } else { 1 }
    }

    /// The text that is signed: names and values in the order of the names.
    pub fn text(&self) -> String {
        let members = [
            ("Message", Some(&self.message)),
            ("MessageId", Some(&self.message_id)),
            ("Subject", self.subject.as_ref()),
            ("SubscribeURL", self.subscribe_url.as_ref()),
            ("Timestamp", Some(&self.timestamp)),
            ("Token", self.token.as_ref()),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.kind)),
        ];
        let given = members.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.map(|(name, value)| format!("{name}\n{value}\n")).collect()
    }
}

impl Notification<'_> {
    /// The document for a queue, without a signature: it is completed when it is read.
    pub fn unsigned_document(&self, subscription_arn: &str, protocol: &str) -> String {
        self.written(subscription_arn, self.message.text_for(protocol), "")
    }

    /// The document for an HTTP endpoint.
    pub fn document(&self, subscription_arn: &str, protocol: &str) -> Result<String, Fault> {
        let text = self.message.text_for(protocol);
        let signature = self.signature(text)?;
        Ok(self.written(subscription_arn, text, &signature))
    }

    fn written(&self, subscription_arn: &str, text: &str, signature: &str) -> String {
        let mut members = vec![("Type", quoted("Notification")), ("MessageId", quoted(self.id))];
        members.extend(self.sequence.as_ref().map(|number| ("SequenceNumber", quoted(number))));
        members.push(("TopicArn", quoted(self.topic_arn)));
        members.extend(self.message.subject.as_ref().map(|subject| ("Subject", quoted(subject))));
        members.extend([
            ("Message", quoted(text)),
            ("Timestamp", quoted(&printed(self.at))),
            ("SignatureVersion", quoted(&self.signature_version.to_string())),
            ("Signature", quoted(signature)),
            ("SigningCertURL", quoted(&self.certificate_url())),
            // Nothing in it needs escaping, and a blank in the ARN's place stays as it is.
            ("UnsubscribeURL", format!("\"{}\"", self.unsubscribe_url(subscription_arn))),
        ]);
        if self.is_replayed {
            members.push(("Replayed", "true".into()));
        }
        if !self.message.attributes.is_empty() {
            members.push(("MessageAttributes", self.attributes_document()));
        }
        document(&members)
    }

    fn attributes_document(&self) -> String {
        let one = |(name, value): (&String, &crate::message::Attribute)| {
            let (kind, text) = (quoted(&value.data_type), quoted(&value.printed()));
            format!("    {} : {{\"Type\":{kind},\"Value\":{text}}}", quoted(name))
        };
        let all: Vec<String> = self.message.attributes.iter().map(one).collect();
        format!("{{\n{}\n  }}", all.join(",\n"))
    }

    /// The event a function gets.
    pub fn event(&self, subscription_arn: &str) -> Result<Value, Fault> {
        let text = self.message.text_for("lambda");
        let attributes: BTreeMap<&String, Value> = self
            .message
            .attributes
            .iter()
            .map(|(name, value)| (name, json!({"Type": value.data_type, "Value": value.printed()})))
            .collect();
        let sns = json!({
            "Type": "Notification",
            "MessageId": self.id,
            "TopicArn": self.topic_arn,
            "Subject": self.message.subject,
            "Message": text,
            "Timestamp": printed(self.at),
            "SignatureVersion": self.signature_version.to_string(),
            "Signature": self.signature(text)?,
            "SigningCertUrl": self.certificate_url(),
            "UnsubscribeUrl": self.unsubscribe_url(subscription_arn),
            "MessageAttributes": attributes,
        });
        Ok(json!({
            "Records": [{
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription_arn,
                "Sns": sns,
            }],
        }))
    }

    fn signature(&self, text: &str) -> Result<String, Fault> {
        if let Some((_, signature)) = self.signatures.get().filter(|(signed, _)| signed == text) {
            return Ok(signature.clone());
        }
        let signed = Signed {
            message: text.into(),
            message_id: self.id.into(),
            subject: self.message.subject.as_deref().map(Cow::from),
            timestamp: printed(self.at).into(),
            topic_arn: self.topic_arn.into(),
            kind: "Notification".into(),
            signature_version: "".into(),
            subscribe_url: None,
            token: None,
        };
        let signature = self.notary.signature(self.signature_version, &signed.text())?;
        let _ = self.signatures.set((text.into(), signature.clone()));
        Ok(signature)
    }

    fn certificate_url(&self) -> String {
        certificate_url(&self.base_url, self.notary)
    }

    pub fn unsubscribe_url(&self, subscription_arn: &str) -> String {
        format!("{}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}", self.base_url)
    }
}

/// What an endpoint is asked when it is subscribed (`SubscriptionConfirmation`) or taken off (`UnsubscribeConfirmation`).
pub struct Asking<'a> {
    pub kind: &'a str,
    pub id: &'a str,
    pub topic_arn: &'a str,
    pub token: &'a str,
    pub at: Timestamp,
    pub signature_version: u8,
    pub base_url: &'a str,
}

impl Asking<'_> {
    /// Where the answer yes leads.
    pub fn url(&self) -> String {
        format!(
            "{}/?Action=ConfirmSubscription&TopicArn={}&Token={}",
            self.base_url, self.topic_arn, self.token
        )
    }

    pub fn document(&self, subscription_arn: &str, notary: &Notary) -> Result<String, Fault> {
        let text = if self.kind == "SubscriptionConfirmation" {
            format!(
                "You have chosen to subscribe to the topic {}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
                self.topic_arn
            )
        } else {
            format!(
                "You have chosen to deactivate subscription {subscription_arn}.\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
            )
        };
        let url = self.url();
        let at = printed(self.at);
        let signed = Signed {
            message: text.as_str().into(),
            message_id: self.id.into(),
            subject: None,
            timestamp: at.as_str().into(),
            topic_arn: self.topic_arn.into(),
            kind: self.kind.into(),
            signature_version: "".into(),
            subscribe_url: Some(url.as_str().into()),
            token: Some(self.token.into()),
        };
        let signature = notary.signature(self.signature_version, &signed.text())?;
        Ok(document(&[
            ("Type", quoted(self.kind)),
            ("MessageId", quoted(self.id)),
            ("Token", quoted(self.token)),
            ("TopicArn", quoted(self.topic_arn)),
            ("Message", quoted(&text)),
            ("SubscribeURL", quoted(&url)),
            ("Timestamp", quoted(&at)),
            ("SignatureVersion", quoted(&self.signature_version.to_string())),
            ("Signature", quoted(&signature)),
            ("SigningCertURL", quoted(&certificate_url(self.base_url, notary))),
        ]))
    }
}

fn certificate_url(base_url: &str, notary: &Notary) -> String {
    let name = notary.fingerprint().unwrap_or_default();
    format!("{base_url}{}{name}.pem", crate::certificates::PREFIX)
}

/// As SNS lays documents out.
fn document(members: &[(&str, String)]) -> String {
    let lines: Vec<String> = members.iter().map(|(name, value)| format!("  \"{name}\" : {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

pub fn printed(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Bytes as attributes print them.
pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
