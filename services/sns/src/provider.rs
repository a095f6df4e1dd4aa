//! Providers bring what leaves the platform for people and devices: e-mails, SMS and push notifications. The outbox is
//! the one there is; a provider that speaks SMTP or a carrier's API implements [`Provider`].

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidemill_delivery::Removal;
use tidemill_platform::Cx;
use tidemill_store::Seq;

/// Something for somebody outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// `email`, `email-json`, `sms` or `application`.
    pub protocol: String,
    /// An address, a phone number, or a device's token.
    pub to: String,
    /// Of e-mails.
    pub subject: String,
    pub text: String,
    /// What the kind of parcel has beside it: `From`, `TopicArn`, `SMSType`, `Platform`, …
    pub details: BTreeMap<String, String>,
}

/// How a parcel went out.
pub enum Receipt {
    /// It is kept in the platform's own store, and the hand-over's removal is part of the batch with this sequence.
    Kept(Seq),
    /// A provider outside took it, and said this.
    Sent(String),
}

/// Why a parcel did not go out.
pub enum Refusal {
    /// It may go later.
    Later(String),
    /// Nobody can be reached there.
    Never(String),
}

pub trait Provider: Send + Sync {
    /// Tries once to send a parcel. A provider that keeps it in the platform's store takes `removal` into its batch, so
    /// that it is kept exactly once; others leave it alone.
    fn send<'a>(
        &'a self,
        cx: &'a Cx,
        parcel: Parcel,
        removal: Removal,
    ) -> BoxFuture<'a, Result<Receipt, Refusal>>;
}
