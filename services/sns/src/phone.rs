//! SMS: what is published to a phone number, the settings of an account, and who does not want to be written to.
//! Source: the SNS API reference, "SetSMSAttributes", and the developer guide, "Mobile text messaging with Amazon SNS".

use std::{collections::BTreeMap, ops::ControlFlow};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_delivery::{Event, Handover};
use tidemill_platform::{Cx, Fault, doors::LogLine, page};
use tidemill_store::{Batch, Partition, Table};

use crate::{
    Sns,
    api::{
        CheckIfPhoneNumberIsOptedOutInput, CheckIfPhoneNumberIsOptedOutResponse, GetSMSAttributesInput,
        GetSMSAttributesResponse, InvalidParameterException, ListOriginationNumbersRequest,
        ListOriginationNumbersResult, ListPhoneNumbersOptedOutInput, ListPhoneNumbersOptedOutResponse,
        OptInPhoneNumberInput, OptInPhoneNumberResponse, PublishResponse, SetSMSAttributesInput,
        SetSMSAttributesResponse,
    },
    message::Message,
    parcels,
    provider::Parcel,
    state::{TopicRow, invalid},
    status::Ended,
};

/// Account → its settings, in the first partition.
const SETTINGS: Table<String, SmsRow> = Table::new("sns.sms");
/// (account, number) → when its owner said stop, in the first partition.
const OPTED_OUT: Table<(String, String), i64> = Table::new("sns.opted-out");

const LISTED: usize = 100;
/// Characters of one publish.
const LONGEST: usize = 1600;
/// Characters of a topic's display name that SMS begin with.
const SHOWN_NAME: usize = 10;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct SmsRow {
    attributes: BTreeMap<String, String>,
}

/// A number in E.164's form.
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (2..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}

/// The SMS of a topic begins with the topic's display name.
pub fn of_topic(topic: &TopicRow, text: &str) -> String {
    let name: String = topic.settings.display_name.chars().take(SHOWN_NAME).collect();
    if name.is_empty() { text.into() } else { format!("{name}> {text}") }
}

/// An SMS; what its message's attributes ask for is among the details.
pub fn parcel(number: &str, text: &str, message: &Message) -> Parcel {
    let asked = message.attributes.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("AWS.SNS.SMS.").or_else(|| name.strip_prefix("AWS.MM.SMS."))?;
        Some((name.to_string(), value.printed().into_owned()))
    });
    Parcel {
        protocol: "sms".into(),
        to: number.into(),
        text: text.into(),
        details: asked.collect(),
        ..Parcel::default()
    }
}

/// `Publish` with a phone number.
pub async fn publish(sns: &Sns, cx: &Cx, number: &str, message: &Message) -> Result<PublishResponse, Fault> {
    if !is_number(number) {
        return Err(invalid(format!("PhoneNumber Reason: {number} is not valid to publish to")));
    }
    let text = message.text_for("sms");
    if text.chars().count() > LONGEST {
        return Err(invalid("Message too long"));
    }
    let settings = sns.sms(cx.account())?;
    let mut parcel = parcel(number, text, message);
    for (detail, setting) in [("SMSType", "DefaultSMSType"), ("SenderID", "DefaultSenderID")] {
        if let (false, Some(value)) = (parcel.details.contains_key(detail), settings.attributes.get(setting))
        {
            parcel.details.insert(detail.into(), value.clone());
        }
    }
    let id = sns.send_sms(cx, parcel).await?;
    Ok(PublishResponse { message_id: Some(id), sequence_number: None })
}

impl Sns {
    /// Hands an SMS over; gives its message id.
    pub async fn send_sms(&self, cx: &Cx, parcel: Parcel) -> Result<String, Fault> {
        let id = cx.random().uuid();
        let target = cx.arn("sns", format!("phone-number/{}", parcel.to)).to_string();
        let event =
            Event { id: id.clone(), source: target.clone(), trace: cx.trace().clone(), ..Event::default() };
        let mut batch = Batch::new(Partition::of(&target));
        let staged =
            self.delivery.stage(&mut batch, parcels::handover(cx, target, "Notification", event, parcel));
        let ticket = self.platform.submit(batch)?;
        staged.release(ticket.seq());
        ticket.await;
        Ok(id)
    }

    fn sms(&self, account: &str) -> Result<SmsRow, Fault> {
        let found = self.platform.store.get(&SETTINGS, Partition::FIRST, &account.to_string());
        Ok(found.map_err(Fault::internal)?.map(|found| found.value).unwrap_or_default())
    }

    pub fn is_opted_out(&self, account: &str, number: &str) -> bool {
        let key = (account.to_string(), number.to_string());
        self.platform.store.get(&OPTED_OUT, Partition::FIRST, &key).is_ok_and(|found| found.is_some())
    }

    /// The owner of a phone wants no SMS any more.
    pub async fn opt_out(&self, cx: &Cx, number: &str) -> Result<(), Fault> {
        check_number(number)?;
        let mut batch = Batch::new(Partition::FIRST);
        batch.put(&OPTED_OUT, &(cx.account().into(), number.into()), &cx.now().millis());
        self.platform.submit(batch)?.await;
        Ok(())
    }

    /// Writes what became of an SMS, if the account asks for it.
    pub fn log_sms(&self, cx: &Cx, handover: &Handover, ended: Ended, answer: &str) {
        let Some((_, number)) = handover.target.split_once(":phone-number/") else { return };
        let Ok(settings) = self.sms(cx.account()) else { return };
        if !settings.attributes.contains_key("DeliveryStatusIAMRole") {
            return;
        }
        let rate = settings.attributes.get("DeliveryStatusSuccessSamplingRate");
        let rate = rate.and_then(|rate| rate.parse().ok()).unwrap_or(100);
        if ended == Ended::Delivered && cx.random().below(100) >= rate {
            return;
        }
        let (word, place) = if ended == Ended::Delivered { ("SUCCESS", "") } else { ("FAILURE", "/Failure") };
        let line = json!({
            "notification": {
                "messageId": handover.event_id,
                "timestamp": crate::status::printed(handover.accepted_at),
            },
            "delivery": {
                "destination": number,
                "providerResponse": answer,
                "dwellTimeMs": cx.now().millis() - handover.accepted_at,
                "numberOfMessageParts": 1,
            },
            "status": word,
        });
        if let Some(logs) = cx.platform().doors.logs.get() {
            let group = format!("sns/{}/{}/DirectPublishToPhoneNumber{place}", cx.region(), cx.account());
            let line = LogLine { at: cx.now(), message: line.to_string() };
            logs.write(cx.account(), cx.region(), &group, &cx.random().uuid(), vec![line]);
        }
    }
}

pub async fn set_sms_attributes(
    sns: &Sns,
    cx: &Cx,
    input: SetSMSAttributesInput,
) -> Result<SetSMSAttributesResponse, Fault> {
    input.attributes.iter().try_for_each(|(name, value)| check_setting(name, value))?;
    let ticket = {
        let _deciding = sns.registry.lock();
        let mut row = sns.sms(cx.account())?;
        for (name, value) in input.attributes {
            if value.is_empty() {
                row.attributes.remove(&name)
            } else {
                row.attributes.insert(name, value)
            };
        }
        let mut batch = Batch::new(Partition::FIRST);
        batch.put(&SETTINGS, &cx.account().to_string(), &row);
        sns.platform.submit(batch)?
    };
    ticket.await;
    Ok(SetSMSAttributesResponse {})
}

fn check_setting(name: &str, value: &str) -> Result<(), Fault> {
    let wrong = |sentence: String| Err(InvalidParameterException::new(sentence).into());
    let is_good = match name {
        _ if value.is_empty() => true,
        "DefaultSMSType" => matches!(value, "Promotional" | "Transactional"),
        "DefaultSenderID" => is_sender(value),
        "MonthlySpendLimit" => value.parse::<u32>().is_ok(),
        "DeliveryStatusSuccessSamplingRate" => value.parse::<u8>().is_ok_and(|rate| rate <= 100),
        "DeliveryStatusIAMRole" => value.starts_with("arn:"),
        "UsageReportS3Bucket" => return Err(Fault::not_implemented("UsageReportS3Bucket of SMS settings")),
        _ => return wrong(format!("{name} is not a valid attribute")),
    };
    if is_good { Ok(()) } else { wrong(format!("{name} is invalid")) }
}

/// 1 to 11 letters and digits, one letter at least.
fn is_sender(value: &str) -> bool {
    (1..=11).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !value.starts_with('-')
        && !value.ends_with('-')
}

pub async fn get_sms_attributes(
    sns: &Sns,
    cx: &Cx,
    input: GetSMSAttributesInput,
) -> Result<GetSMSAttributesResponse, Fault> {
    let mut all = BTreeMap::from([("MonthlySpendLimit".to_string(), "1".to_string())]);
    all.extend(sns.sms(cx.account())?.attributes);
    if let Some(names) = input.attributes.filter(|names| !names.is_empty()) {
        all.retain(|name, _| names.contains(name));
    }
    sns.platform.store.durable(sns.platform.store.submitted()).await;
    Ok(GetSMSAttributesResponse { attributes: Some(all) })
}

fn check_number(number: &str) -> Result<(), Fault> {
    if is_number(number) {
        return Ok(());
    }
    Err(invalid("PhoneNumber Reason: input incorrectly formatted"))
}

pub async fn check_if_phone_number_is_opted_out(
    sns: &Sns,
    cx: &Cx,
    input: CheckIfPhoneNumberIsOptedOutInput,
) -> Result<CheckIfPhoneNumberIsOptedOutResponse, Fault> {
    check_number(&input.phone_number)?;
    let is_opted_out = sns.is_opted_out(cx.account(), &input.phone_number);
    Ok(CheckIfPhoneNumberIsOptedOutResponse { is_opted_out: Some(is_opted_out) })
}

pub async fn list_phone_numbers_opted_out(
    sns: &Sns,
    cx: &Cx,
    input: ListPhoneNumbersOptedOutInput,
) -> Result<ListPhoneNumbersOptedOutResponse, Fault> {
    let token = input.next_token.as_deref();
    let after = token.map(|token| page::decode(token).ok_or_else(|| invalid("NextToken"))).transpose()?;
    let (numbers, next_token) = sns.numbers(&OPTED_OUT, cx.account(), after, LISTED)?;
    let phone_numbers = numbers.into_iter().map(|(number, _)| number).collect();
    Ok(ListPhoneNumbersOptedOutResponse { phone_numbers: Some(phone_numbers), next_token })
}

/// Phone numbers with what is kept of them, and the token of the next page.
pub type Numbers<V> = (Vec<(String, V)>, Option<String>);

impl Sns {
    /// A page of a table of an account's phone numbers.
    pub fn numbers<V: serde::de::DeserializeOwned>(
        &self,
        table: &Table<(String, String), V>,
        account: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Numbers<V>, Fault> {
        let from = (account.to_string(), after.clone().unwrap_or_default());
        let to = (format!("{account}\u{1}"), String::new());
        let mut found = Vec::new();
        let scanned = self.platform.store.scan(table, Partition::FIRST, from..to, |(_, number), row| {
            if after.as_ref() != Some(&number) {
                found.push((number, row));
            }
            if found.len() <= limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.map_err(Fault::internal)?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(|(number, _)| page::encode(number));
        Ok((found, next))
    }
}

pub async fn opt_in_phone_number(
    sns: &Sns,
    cx: &Cx,
    input: OptInPhoneNumberInput,
) -> Result<OptInPhoneNumberResponse, Fault> {
    check_number(&input.phone_number)?;
    let mut batch = Batch::new(Partition::FIRST);
    batch.delete(&OPTED_OUT, &(cx.account().into(), input.phone_number));
    sns.platform.submit(batch)?.await;
    Ok(OptInPhoneNumberResponse {})
}

/// No number of the carriers' belongs to anybody here.
pub async fn list_origination_numbers(
    _: &Sns,
    _: &Cx,
    _: ListOriginationNumbersRequest,
) -> Result<ListOriginationNumbersResult, Fault> {
    Ok(ListOriginationNumbersResult { phone_numbers: Some(Vec::new()), next_token: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_up_to_fifteen_digits() {
        for (text, is) in [
            ("+4915112345678", true),
            ("15551234567", true),
            ("+0123", false),
            ("+1555a", false),
            ("", false),
        ] {
            assert_eq!(is_number(text), is, "{text}");
        }
    }

    #[test]
    fn senders_have_a_letter() {
        for (text, is) in
            [("MyShop", true), ("12345", false), ("a-b", true), ("-ab", false), ("abcdefghijkl", false)]
        {
            assert_eq!(is_sender(text), is, "{text}");
        }
    }
}
