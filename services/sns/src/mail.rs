//! What e-mails say, as SNS words them.

use crate::{
    provider::Parcel,
    state::{SubscriptionRow, TopicRow},
};

const SENDER: &str = "no-reply@sns.amazonaws.com";
const SENDER_NAME: &str = "AWS Notifications";
const SUBJECT: &str = "AWS Notification Message";
const NO_REPLY: &str = "Please do not reply directly to this email. If you have any questions or comments regarding this email, please contact us at https://aws.amazon.com/support";

/// An e-mail without its text.
pub fn to(topic: &TopicRow, row: &SubscriptionRow, subject: &str) -> Parcel {
    let name = Some(topic.settings.display_name.as_str()).filter(|name| !name.is_empty());
    let from = format!("\"{}\" <{SENDER}>", name.unwrap_or(SENDER_NAME).replace('"', "'"));
    Parcel {
        protocol: row.protocol.clone(),
        to: row.endpoint.clone(),
        subject: subject.into(),
        text: String::new(),
        details: [("From".to_string(), from), ("TopicArn".to_string(), topic.arn.clone())].into(),
    }
}

/// The subject of a notification.
pub fn subject(given: Option<&String>) -> &str {
    given.map_or(SUBJECT, String::as_str)
}

/// A message with the way out of the topic below it.
pub fn notification(text: &str, unsubscribe_url: &str) -> String {
    format!(
        "{text}\n\n--\nIf you wish to stop receiving notifications from this topic, please click or visit the link below to unsubscribe:\n{unsubscribe_url}\n\n{NO_REPLY}\n"
    )
}

/// Subject and text of the question whether somebody wants to be subscribed, or of the news that they no longer are.
pub fn asking(kind: &str, topic_arn: &str, link: &str) -> (&'static str, String) {
    if kind == "SubscriptionConfirmation" {
        let text = format!(
            "You have chosen to subscribe to the topic:\n{topic_arn}\n\nTo confirm this subscription, click or visit the link below (If this was in error no action is necessary):\n{link}\n\n{NO_REPLY}\n"
        );
        return ("AWS Notification - Subscription Confirmation", text);
    }
    let text = format!(
        "Your subscription to the topic below has been deactivated:\n{topic_arn}\n\nIf this was in error or you wish to resubscribe, click or visit the link below to resubscribe:\n{link}\n\n{NO_REPLY}\n"
    );
    ("AWS Notification - Unsubscribe Confirmation", text)
}
