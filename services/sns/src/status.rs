//! Delivery status logging: what became of a delivery, as a line in CloudWatch Logs. Source: the SNS developer guide,
//! "Amazon SNS message delivery status".

use md5::{Digest, Md5};
use serde_json::json;
use tidemill_platform::{Cx, doors::LogLine};

use crate::{Sns, state::SubscriptionRow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Delivered,
    Failed,
}

/// A line to be written.
pub struct Status {
    account: String,
    region: String,
    group: String,
    line: LogLine,
}

impl Status {
    /// The line, if the topic logs such deliveries and the sample takes this one.
    pub fn of(
        cx: &Cx,
        sns: &Sns,
        subscription: &SubscriptionRow,
        message_id: &str,
        text: &str,
        ended: Ended,
        answer: &str,
    ) -> Option<Status> {
        let topic = sns.by_arn(&subscription.topic_arn)?.row();
        if topic.settings.feedback.is_empty() {
            return None;
        }
        let (failures, successes) = topic.settings.logs(&subscription.protocol);
        let is_wanted = match ended {
            Ended::Failed => failures,
            Ended::Delivered => cx.random().below(100) < u64::from(successes),
        };
        if !is_wanted {
            return None;
        }
        let (word, code, place) = match ended {
            Ended::Delivered => ("SUCCESS", 200, ""),
            Ended::Failed => ("FAILURE", 400, "/Failure"),
        };
        let message = json!({
            "notification": {
                "messageMD5Sum": hex::encode(Md5::digest(text.as_bytes())),
                "messageId": message_id,
                "topicArn": topic.arn,
                "timestamp": printed(cx.now().millis()),
            },
            "delivery": {
                "deliveryId": cx.random().uuid(),
                "destination": subscription.endpoint,
                "providerResponse": answer,
                "dwellTimeMs": 0,
                "attempts": 1,
                "statusCode": code,
            },
            "status": word,
        });
        Some(Status {
            group: format!("sns/{}/{}/{}{place}", topic.region, topic.account, topic.name),
            account: topic.account.clone(),
            region: topic.region.clone(),
            line: LogLine { at: cx.now(), message: message.to_string() },
        })
    }

    pub fn write(&self, cx: &Cx) {
        if let Some(logs) = cx.platform().doors.logs.get() {
            let stream = cx.random().uuid();
            logs.write(&self.account, &self.region, &self.group, &stream, vec![self.line.clone()]);
        }
    }
}

/// A moment as these lines print it.
pub fn printed(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
