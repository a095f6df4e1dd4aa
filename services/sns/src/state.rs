//! What SNS keeps: topics and their subscriptions, in memory ready to be published to and in the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_delivery::{Delivery, Removal, Staged};
use tidemill_event_pattern::{FilterPolicy, Matcher, Scope};
use tidemill_outbound::Outbound;
use tidemill_platform::{Arn, Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Seq, Table};

use crate::{
    api::{InvalidParameterException, NotFoundException},
    message::Message,
    notary::Notary,
    order::Order,
    outbox::Outbox,
    pace::Pace,
    protection::Protection,
    provider::Provider,
    replay::Replay,
    subscription_settings::SubscriptionSettings,
    topic_settings::TopicSettings,
};

/// ARN → topic; everything of a topic is in the partition of its ARN.
const TOPICS: Table<String, TopicRow> = Table::new("sns.topic");
/// (topic ARN, id) → subscription.
const SUBSCRIPTIONS: Table<(String, String), SubscriptionRow> = Table::new("sns.subscription");

/// A token confirms for two days; a deleted subscription counts as long.
const KEPT_MS: i64 = 172_800_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicRow {
    pub name: String,
    pub arn: String,
    pub account: String,
    pub region: String,
    pub is_fifo: bool,
    pub settings: TopicSettings,
    pub tags: BTreeMap<String, String>,
    pub created_at: i64,
    /// Since when a FIFO topic has its archive, in milliseconds since 1970.
    #[serde(default)]
    pub archive_since: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionRow {
    /// The last part of the ARN.
    pub id: String,
    pub arn: String,
    pub topic_arn: String,
    pub protocol: String,
    pub endpoint: String,
    pub owner: String,
    /// ARN of who subscribed.
    pub principal: String,
    pub standing: Standing,
    /// When it came to stand as it does, in milliseconds since 1970.
    pub since: i64,
    /// Confirms the subscription; empty where nothing is to be confirmed.
    pub token: String,
    /// The owner's signature was under the subscription or its confirmation.
    pub authenticated: bool,
    /// Only the owner may unsubscribe.
    pub authenticate_on_unsubscribe: bool,
    pub settings: SubscriptionSettings,
    #[serde(default)]
    pub replay: Option<Replay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    Pending,
    Confirmed,
    Deleted,
}

/// A subscription ready to be delivered to.
pub struct Subscription {
    pub row: SubscriptionRow,
    /// The endpoint, where it is a resource.
    pub target: Option<Arn>,
    policy: Option<FilterPolicy>,
}

/// A topic.
pub struct Topic {
    pub arn: Arn,
    pub partition: Partition,
    pub row: RwLock<Arc<TopicRow>>,
    /// By id, all that stand in any way.
    pub subscriptions: RwLock<BTreeMap<String, Arc<Subscription>>>,
    /// The confirmed ones without a filter policy.
    pub open: RwLock<BTreeMap<String, Arc<Subscription>>>,
    /// Filter policies of the confirmed ones, by what they look at.
    pub by_attributes: Matcher<Arc<str>>,
    pub by_body: Matcher<Arc<str>>,
    /// What a FIFO topic remembers; held while a message is decided on.
    pub order: Mutex<Order>,
    /// What its data protection policy asks for.
    pub protection: RwLock<Option<Arc<Protection>>>,
}

pub struct Sns {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub me: Weak<Sns>,
    pub notary: Arc<Notary>,
    pub outbound: Outbound,
    pub pace: Pace,
    pub outbox: Arc<Outbox>,
    /// Where parcels go.
    pub provider: Arc<dyn Provider>,
    /// Held while applications, devices and phone numbers are decided on.
    pub registry: Mutex<()>,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
}

impl Sns {
    pub fn open(platform: Arc<Platform>, delivery: Delivery) -> Result<Arc<Sns>, Damaged> {
        let mut topics = BTreeMap::new();
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&TOPICS, partition)? {
                let Some(topic) = Topic::of(row) else { continue };
                *topic.order.lock() = Order::open(&platform.store, &topic.arn, partition)?;
                topics.insert(arn, topic);
            }
            for ((arn, _), row) in platform.store.all(&SUBSCRIPTIONS, partition)? {
                if let Some(topic) = topics.get(&arn) {
                    topic.hold(row);
                }
            }
        }
        let notary = Arc::new(Notary::open(&platform)?);
        let outbox = Arc::new(Outbox::open(&platform)?);
        Ok(Arc::new_cyclic(|me| Sns {
            platform,
            delivery,
            me: me.clone(),
            notary,
            outbound: Outbound::new(),
            pace: Pace::default(),
            provider: outbox.clone(),
            outbox,
            registry: Mutex::new(()),
            topics: RwLock::new(topics),
        }))
    }

    /// The topic a request names.
    pub fn topic(&self, arn: &str) -> Result<Arc<Topic>, Fault> {
        let parts = arn.split(':').count();
        if parts < 6 {
            return Err(invalid(format!(
                "TopicArn Reason: An ARN must have at least 6 elements, not {parts}"
            )));
        }
        self.by_arn(arn).ok_or_else(no_topic)
    }

    pub fn by_arn(&self, arn: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(arn).cloned()
    }

    /// All topics of the caller's account and region, by ARN.
    pub fn of_caller(&self, cx: &Cx) -> Vec<Arc<Topic>> {
        let prefix = cx.arn("sns", "").to_string();
        let topics = self.topics.read();
        let of_prefix = topics.range(prefix.clone()..).take_while(|(arn, _)| arn.starts_with(&prefix));
        of_prefix.map(|(_, topic)| topic.clone()).collect()
    }

    /// The subscription a request names.
    pub fn subscription(&self, arn: &str) -> Result<(Arc<Topic>, Arc<Subscription>), Fault> {
        let Some((topic, id)) = arn.rsplit_once(':').filter(|_| arn.split(':').count() >= 6) else {
            return Err(invalid(format!(
                "SubscriptionArn Reason: An ARN must have at least 6 elements, not {}",
                arn.split(':').count()
            )));
        };
        let gone = || Fault::from(NotFoundException::new("Subscription does not exist"));
        let topic = self.by_arn(topic).ok_or_else(gone)?;
        let found = topic.subscriptions.read().get(id).cloned();
        let found = found.filter(|one| one.row.standing == Standing::Confirmed || !one.row.token.is_empty());
        let found = found.filter(|one| one.row.standing != Standing::Deleted).ok_or_else(gone)?;
        Ok((topic, found))
    }

    /// Puts a topic beside the others, or gives the one there is.
    pub async fn insert(&self, row: TopicRow) -> Result<Result<Arc<Topic>, Arc<Topic>>, Fault> {
        let (topic, ticket) = {
            let mut topics = self.topics.write();
            if let Some(there) = topics.get(&row.arn) {
                return Ok(Err(there.clone()));
            }
            let ticket = self.platform.submit(written(&row))?;
            let arn = row.arn.clone();
            let topic = Topic::of(row).ok_or_else(no_topic)?;
            topics.insert(arn, topic.clone());
            (topic, ticket)
        };
        ticket.await;
        Ok(Ok(topic))
    }

    /// Away with a topic and its subscriptions.
    pub async fn remove(&self, topic: &Topic) -> Result<(), Fault> {
        let ticket = {
            let mut topics = self.topics.write();
            let arn = topic.arn.to_string();
            let mut batch = Batch::new(topic.partition);
            batch.delete(&TOPICS, &arn);
            for id in topic.subscriptions.read().keys() {
                batch.delete(&SUBSCRIPTIONS, &(arn.clone(), id.clone()));
            }
            topic.order.lock().forget(&mut batch);
            let ticket = self.platform.submit(batch)?;
            topics.remove(&arn);
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn change(
        &self,
        topic: &Topic,
        decide: impl FnOnce(&mut TopicRow) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let ticket = {
            let mut row = topic.row.write();
            let mut next = TopicRow::clone(&row);
            decide(&mut next)?;
            let ticket = self.platform.submit(written(&next))?;
            *topic.protection.write() = Protection::of(&next);
            *row = Arc::new(next);
            ticket
        };
        ticket.await;
        Ok(())
    }

    /// Decides on a subscription, seeing all of the topic (`None`: nothing changes). A request to its endpoint may go
    /// into the same batch.
    pub async fn change_subscription<T>(
        &self,
        topic: &Topic,
        decide: impl FnOnce(
            &BTreeMap<String, Arc<Subscription>>,
            &mut Batch,
        ) -> Result<(Option<SubscriptionRow>, Option<Staged>, T), Fault>,
    ) -> Result<T, Fault> {
        let (answer, seq) = {
            let mut subscriptions = topic.subscriptions.write();
            let mut batch = Batch::new(topic.partition);
            let (row, asking, answer) = decide(&subscriptions, &mut batch)?;
            let Some(row) = row else { return Ok(answer) };
            let over = expired(&subscriptions, row.since);
            for id in &over {
                batch.delete(&SUBSCRIPTIONS, &(row.topic_arn.clone(), id.clone()));
            }
            batch.put(&SUBSCRIPTIONS, &(row.topic_arn.clone(), row.id.clone()), &row);
            let seq = self.platform.submit(batch)?.seq();
            over.iter().for_each(|id| drop(subscriptions.remove(id)));
            topic.hold_in(&mut subscriptions, row);
            asking.into_iter().for_each(|staged| staged.release(seq));
            (answer, seq)
        };
        self.platform.store.durable(seq).await;
        Ok(answer)
    }
}

impl Sns {
    /// Changes a subscription that there is, without waiting until that is durable.
    pub fn change_now(
        &self,
        topic: &Topic,
        id: &str,
        removal: Option<&Removal>,
        change: impl FnOnce(&mut SubscriptionRow),
    ) -> Result<Seq, Fault> {
        let mut subscriptions = topic.subscriptions.write();
        let mut batch = Batch::new(topic.partition);
        removal.into_iter().for_each(|removal| removal.add_to(&mut batch));
        let row = subscriptions.get(id).map(|one| {
            let mut row = one.row.clone();
            change(&mut row);
            batch.put(&SUBSCRIPTIONS, &(row.topic_arn.clone(), row.id.clone()), &row);
            row
        });
        let seq = self.platform.submit(batch)?.seq();
        row.into_iter().for_each(|row| topic.hold_in(&mut subscriptions, row));
        Ok(seq)
    }
}

/// Those nobody confirmed in time, and those deleted long ago.
fn expired(subscriptions: &BTreeMap<String, Arc<Subscription>>, now: i64) -> Vec<String> {
    let is_over = |one: &Subscription| one.row.is_over(now);
    subscriptions.iter().filter(|(_, one)| is_over(one)).map(|(id, _)| id.clone()).collect()
}

fn written(row: &TopicRow) -> Batch {
    let mut batch = Batch::new(Partition::of(&row.arn));
    batch.put(&TOPICS, &row.arn, row);
    batch
}

impl SubscriptionRow {
    /// Not confirmed in time, or deleted long ago.
    pub fn is_over(&self, now: i64) -> bool {
        self.standing != Standing::Confirmed && self.since + KEPT_MS <= now
    }

    /// How lists name it.
    pub fn shown_arn(&self) -> String {
        match self.standing {
            Standing::Pending => "PendingConfirmation".into(),
            Standing::Confirmed => self.arn.clone(),
            Standing::Deleted => "Deleted".into(),
        }
    }
}

impl Topic {
    fn of(row: TopicRow) -> Option<Arc<Topic>> {
        let protection = Protection::of(&row);
        Some(Arc::new(Topic {
            arn: row.arn.parse().ok()?,
            partition: Partition::of(&row.arn),
            row: RwLock::new(Arc::new(row)),
            subscriptions: RwLock::default(),
            open: RwLock::default(),
            by_attributes: Matcher::new(),
            by_body: Matcher::new(),
            order: Mutex::default(),
            protection: RwLock::new(protection),
        }))
    }

    pub fn row(&self) -> Arc<TopicRow> {
        self.row.read().clone()
    }

    fn hold(&self, row: SubscriptionRow) {
        self.hold_in(&mut self.subscriptions.write(), row);
    }

    fn hold_in(&self, subscriptions: &mut BTreeMap<String, Arc<Subscription>>, row: SubscriptionRow) {
        let id: Arc<str> = Arc::from(row.id.as_str());
        let one = Arc::new(Subscription::of(row));
        self.by_attributes.remove(&id);
        self.by_body.remove(&id);
        self.open.write().remove(&*id);
        let waits = one.row.replay.as_ref().is_some_and(Replay::holds_new);
        if one.row.standing == Standing::Confirmed && !waits {
            let pattern = one.policy.as_ref().and_then(|policy| Some((policy.scope(), policy.pattern()?)));
            match pattern {
                Some((Scope::MessageAttributes, pattern)) => self.by_attributes.add(id.clone(), pattern),
                Some((Scope::MessageBody, pattern)) => self.by_body.add(id.clone(), pattern),
                None => drop(self.open.write().insert(id.to_string(), one.clone())),
            }
        }
        subscriptions.insert(id.to_string(), one);
    }

    /// How many stand in a way, for `GetTopicAttributes`.
    pub fn count(&self, standing: Standing, now: i64) -> usize {
        let subscriptions = self.subscriptions.read();
        subscriptions.values().filter(|one| one.row.standing == standing && !one.row.is_over(now)).count()
    }
}

impl Subscription {
    fn of(row: SubscriptionRow) -> Subscription {
        let policy = row.settings.policy();
        Subscription { target: row.endpoint.parse().ok(), policy, row }
    }

    /// Whether the filter policy lets a message through, for one that is sent to this subscription alone.
    pub fn lets_through(&self, message: &Message) -> bool {
        self.policy.as_ref().is_none_or(|policy| match policy.scope() {
            Scope::MessageAttributes => policy.matches_attributes(message.filtered()),
            Scope::MessageBody => policy.matches_body(&message.text),
        })
    }
}

pub fn invalid(reason: impl std::fmt::Display) -> Fault {
    InvalidParameterException::new(format!("Invalid parameter: {reason}")).into()
}

pub fn no_topic() -> Fault {
    NotFoundException::new("Topic does not exist").into()
}
