//! Subscriptions: made, confirmed, set, listed, taken off.

use std::{collections::BTreeMap, sync::Arc};

use tidemill_api::Unit;
use tidemill_delivery::{Event, Handover};
use tidemill_platform::{Cx, Fault, page::page};
use tidemill_store::Batch;

use crate::{
    Sns,
    api::{
        ConfirmSubscriptionInput, ConfirmSubscriptionResponse, GetSubscriptionAttributesInput,
        GetSubscriptionAttributesResponse, InvalidParameterException, ListSubscriptionsByTopicInput,
        ListSubscriptionsByTopicResponse, ListSubscriptionsInput, ListSubscriptionsResponse,
        SetSubscriptionAttributesInput, SubscribeInput, SubscribeResponse, Subscription as Listed,
        UnsubscribeInput,
    },
    endpoint, mail,
    notification::Asking,
    parcels, protocols,
    replay::Replay,
    state::{Standing, Subscription, SubscriptionRow, Topic, invalid},
    subscription_settings::SubscriptionSettings,
};

const LISTED: usize = 100;

pub async fn subscribe(sns: &Sns, cx: &Cx, input: SubscribeInput) -> Result<SubscribeResponse, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    let endpoint = input.endpoint.unwrap_or_default();
    let attributes = input.attributes.unwrap_or_default();
    let row = sns.subscribe(cx, &topic, &input.protocol, &endpoint, &attributes).await?;
    let is_told = row.standing == Standing::Confirmed || input.return_subscription_arn == Some(true);
    let told = if is_told { row.arn } else { "pending confirmation".into() };
    Ok(SubscribeResponse { subscription_arn: Some(told) })
}

impl Sns {
    /// Makes a subscription, or gives the one there is if it is the same. An HTTP endpoint is asked to confirm it.
    pub async fn subscribe(
        &self,
        cx: &Cx,
        topic: &Topic,
        protocol: &str,
        endpoint: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<SubscriptionRow, Fault> {
        protocols::check(self, cx, &topic.row(), protocol, endpoint)?;
        let (attributes, replay) = split(attributes);
        let settings = SubscriptionSettings::default().with(&topic.row(), protocol, endpoint, &attributes);
        let settings = settings.map_err(in_subscribe)?;
        let replay =
            replay.map(|policy| Replay::read(cx, topic, &policy)).transpose().map_err(in_subscribe)?;
        let mut fresh = self.fresh(cx, topic, protocol, endpoint, settings);
        fresh.replay = replay.flatten();
        self.change_subscription(topic, |subscriptions, batch| {
            let there = subscriptions.values().find(|one| {
                one.row.protocol == protocol
                    && one.row.endpoint == endpoint
                    && one.row.standing != Standing::Deleted
                    && !one.row.is_over(fresh.since)
            });
            let Some(there) = there else {
                let staged = match &fresh.replay {
                    Some(replay) => Some(self.delivery.stage(batch, replay.begin(cx, &fresh))),
                    None => self.ask(cx, topic, &fresh, "SubscriptionConfirmation", batch)?,
                };
                return Ok((Some(fresh.clone()), staged, fresh));
            };
            if !attributes.is_empty() && there.row.settings != fresh.settings {
                return Err(invalid(
                    "Attributes Reason: Subscription already exists with different attributes",
                ));
            }
            if there.row.standing == Standing::Confirmed {
                return Ok((None, None, there.row.clone()));
            }
            // Asked again, with the token it has.
            let asking = self.ask(cx, topic, &there.row, "SubscriptionConfirmation", batch)?;
            Ok((Some(there.row.clone()), asking, there.row.clone()))
        })
        .await
    }

    fn fresh(
        &self,
        cx: &Cx,
        topic: &Topic,
        protocol: &str,
        endpoint: &str,
        settings: SubscriptionSettings,
    ) -> SubscriptionRow {
        let id = cx.random().uuid();
        let is_asked = protocol.starts_with("http") || protocol.starts_with("email");
        SubscriptionRow {
            arn: format!("{}:{id}", topic.arn),
            id,
            topic_arn: topic.arn.to_string(),
            protocol: protocol.into(),
            endpoint: endpoint.into(),
            owner: cx.account().into(),
            principal: cx.request().principal.arn.clone(),
            standing: if is_asked { Standing::Pending } else { Standing::Confirmed },
            since: cx.now().millis(),
            token: if is_asked { token(cx) } else { String::new() },
            authenticated: !is_asked,
            authenticate_on_unsubscribe: false,
            settings,
            replay: None,
        }
    }

    /// Stages the request that asks an endpoint to confirm; `None` where nobody is asked.
    fn ask(
        &self,
        cx: &Cx,
        topic: &Topic,
        row: &SubscriptionRow,
        kind: &str,
        batch: &mut Batch,
    ) -> Result<Option<tidemill_delivery::Staged>, Fault> {
        if row.token.is_empty() {
            return Ok(None);
        }
        let id = cx.random().uuid();
        let asking = Asking {
            kind,
            id: &id,
            topic_arn: &row.topic_arn,
            token: &row.token,
            at: cx.now(),
            signature_version: topic.row().settings.signature_version,
            base_url: &cx.base_url(),
        };
        if row.protocol.starts_with("email") {
            let handover = self.letter(cx, topic, row, &asking)?;
            return Ok(Some(self.delivery.stage(batch, handover)));
        }
        let event = Event {
            id: id.clone(),
            source: row.topic_arn.clone(),
            via: row.arn.clone(),
            payload: asking.document(&row.arn, &self.notary)?.into(),
            trace: cx.trace().clone(),
            ..Event::default()
        };
        let handover = endpoint::handover(cx, row, event, endpoint::confirmation_policy(), kind);
        Ok(Some(self.delivery.stage(batch, handover)))
    }
}

impl Sns {
    /// The same question as an e-mail.
    fn letter(
        &self,
        cx: &Cx,
        topic: &Topic,
        row: &SubscriptionRow,
        asking: &Asking<'_>,
    ) -> Result<Handover, Fault> {
        let (subject, plain) = mail::asking(asking.kind, &row.topic_arn, &asking.url());
        let mut parcel = mail::to(&topic.row(), row, subject);
        parcel.text = match row.protocol.as_str() {
            "email" => plain,
            _ => asking.document(&row.arn, &self.notary)?,
        };
        let event = Event {
            id: asking.id.into(),
            source: row.topic_arn.clone(),
            via: row.arn.clone(),
            trace: cx.trace().clone(),
            ..Event::default()
        };
        Ok(parcels::handover(cx, row.arn.clone(), asking.kind, event, parcel))
    }
}

/// 256 hex digits, as SNS's tokens have.
fn token(cx: &Cx) -> String {
    (0..16).map(|_| format!("{:016x}", cx.random().u64())).collect()
}

pub async fn confirm_subscription(
    sns: &Sns,
    cx: &Cx,
    input: ConfirmSubscriptionInput,
) -> Result<ConfirmSubscriptionResponse, Fault> {
    let unknown = || invalid("Token");
    let wrong = || Fault::from(InvalidParameterException::new("Invalid token"));
    if input.token.is_empty() || !input.token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let topic = sns.by_arn(&input.topic_arn).ok_or_else(unknown)?;
    let now = cx.now().millis();
    let is_signed = !cx.request().principal.access_key.is_empty();
    let only_owner =
        input.authenticate_on_unsubscribe.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let arn = sns
        .change_subscription(&topic, |subscriptions, _| {
            let found =
                subscriptions.values().find(|one| !one.row.token.is_empty() && one.row.token == input.token);
            let found = found.filter(|one| !one.row.is_over(now)).ok_or_else(unknown)?;
            if found.row.standing == Standing::Confirmed {
                return Ok((None, None, found.row.arn.clone()));
            }
            let row = SubscriptionRow {
                standing: Standing::Confirmed,
                since: now,
                authenticated: is_signed,
                authenticate_on_unsubscribe: only_owner && is_signed,
                ..found.row.clone()
            };
            Ok((Some(row.clone()), None, row.arn))
        })
        .await?;
    Ok(ConfirmSubscriptionResponse { subscription_arn: Some(arn) })
}

pub async fn unsubscribe(sns: &Sns, cx: &Cx, input: UnsubscribeInput) -> Result<Unit, Fault> {
    match sns.subscription(&input.subscription_arn) {
        Ok((topic, one)) => {
            sns.take_off(cx, &topic, &one).await?;
            Ok(Unit)
        }
        // Who is not subscribed is unsubscribed.
        Err(fault) if fault.status() == 404 => Ok(Unit),
        Err(fault) => Err(fault),
    }
}

impl Sns {
    /// Ends a subscription. An HTTP endpoint is told, with a link that restores it.
    pub async fn take_off(&self, cx: &Cx, topic: &Topic, one: &Subscription) -> Result<(), Fault> {
        if one.row.standing == Standing::Pending {
            return Err(invalid(
                "SubscriptionArn Reason: This subscription is not confirmed and cannot be unsubscribed from.",
            ));
        }
        if one.row.authenticate_on_unsubscribe && cx.request().principal.access_key.is_empty() {
            return Err(crate::api::AuthorizationErrorException::new(
                "Only the owner may unsubscribe from this subscription.",
            )
            .into());
        }
        self.change_subscription(topic, |_, batch| {
            let row =
                SubscriptionRow { standing: Standing::Deleted, since: cx.now().millis(), ..one.row.clone() };
            let staged = self.ask(cx, topic, &row, "UnsubscribeConfirmation", batch)?;
            Ok((Some(row), staged, ()))
        })
        .await
    }
}

pub async fn get_subscription_attributes(
    sns: &Sns,
    _: &Cx,
    input: GetSubscriptionAttributesInput,
) -> Result<GetSubscriptionAttributesResponse, Fault> {
    let (topic, one) = sns.subscription(&input.subscription_arn)?;
    Ok(GetSubscriptionAttributesResponse { attributes: Some(shown(&topic, &one)) })
}

fn shown(topic: &Topic, one: &Subscription) -> BTreeMap<String, String> {
    let row = &one.row;
    let settings = &row.settings;
    let text = |value: &str| value.to_string();
    let mut all = BTreeMap::from([
        ("SubscriptionArn".to_string(), row.arn.clone()),
        ("TopicArn".into(), row.topic_arn.clone()),
        ("Protocol".into(), row.protocol.clone()),
        ("Endpoint".into(), row.endpoint.clone()),
        ("Owner".into(), row.owner.clone()),
        ("SubscriptionPrincipal".into(), row.principal.clone()),
        ("PendingConfirmation".into(), (row.standing == Standing::Pending).to_string()),
        ("ConfirmationWasAuthenticated".into(), row.authenticated.to_string()),
        ("RawMessageDelivery".into(), settings.raw.to_string()),
    ]);
    if let Some(policy) = &settings.filter_policy {
        all.insert("FilterPolicy".into(), policy.clone());
        let scope = if settings.filters_body { "MessageBody" } else { "MessageAttributes" };
        all.insert("FilterPolicyScope".into(), text(scope));
    }
    if let Some(replay) = &row.replay {
        all.insert("ReplayPolicy".into(), replay.policy.clone());
        all.insert("ReplayStatus".into(), replay.status.name().into());
    }
    all.extend(settings.redrive_policy.clone().map(|policy| ("RedrivePolicy".into(), policy)));
    all.extend(settings.delivery_policy.clone().map(|policy| ("DeliveryPolicy".into(), policy)));
    if row.protocol.starts_with("http")
        && let Ok(policy) = endpoint::policy(topic, one)
    {
        all.insert("EffectiveDeliveryPolicy".into(), policy.effective_of_subscription().to_string());
    }
    all
}

pub async fn set_subscription_attributes(
    sns: &Sns,
    cx: &Cx,
    input: SetSubscriptionAttributesInput,
) -> Result<Unit, Fault> {
    let (topic, one) = sns.subscription(&input.subscription_arn)?;
    let value = input.attribute_value.unwrap_or_default();
    sns.set_attributes(cx, &topic, &one.row.id, &BTreeMap::from([(input.attribute_name, value)])).await?;
    Ok(Unit)
}

impl Sns {
    pub async fn set_attributes(
        &self,
        cx: &Cx,
        topic: &Topic,
        id: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let (attributes, replay) = split(attributes);
        let replay = replay.map(|policy| Replay::read(cx, topic, &policy)).transpose()?;
        self.change_subscription(topic, |subscriptions, batch| {
            let one = subscriptions.get(id);
            let one = one.ok_or_else(|| crate::api::NotFoundException::new("Subscription does not exist"))?;
            let (protocol, endpoint) = (&one.row.protocol, &one.row.endpoint);
            let settings = one.row.settings.with(&topic.row(), protocol, endpoint, &attributes)?;
            let mut row = SubscriptionRow { settings, ..one.row.clone() };
            let Some(replay) = replay else { return Ok((Some(row), None, ())) };
            row.replay = replay;
            let begun = row.replay.as_ref().map(|replay| replay.begin(cx, &row));
            Ok((Some(row), begun.map(|begun| self.delivery.stage(batch, begun)), ()))
        })
        .await
    }
}

/// The attributes, and the replay among them, which is more than a setting.
fn split(attributes: &BTreeMap<String, String>) -> (BTreeMap<String, String>, Option<String>) {
    let mut attributes = attributes.clone();
    let replay = attributes.remove("ReplayPolicy");
    (attributes, replay)
}

/// The sentences of `Subscribe` say that it is its attributes that are wrong.
fn in_subscribe(fault: Fault) -> Fault {
    let reason = fault.message().strip_prefix("Invalid parameter: ").unwrap_or_default();
    let is_said = reason.is_empty() || reason == "AttributeName" || reason.starts_with("Attributes Reason: ");
    if is_said { fault } else { invalid(format!("Attributes Reason: {reason}")) }
}

pub async fn list_subscriptions(
    sns: &Sns,
    cx: &Cx,
    input: ListSubscriptionsInput,
) -> Result<ListSubscriptionsResponse, Fault> {
    let topics = sns.of_caller(cx);
    let all = topics.iter().flat_map(|topic| standing(cx, topic)).collect();
    let (subscriptions, next_token) = listed(all, input.next_token.as_deref())?;
    Ok(ListSubscriptionsResponse { subscriptions: Some(subscriptions), next_token })
}

pub async fn list_subscriptions_by_topic(
    sns: &Sns,
    cx: &Cx,
    input: ListSubscriptionsByTopicInput,
) -> Result<ListSubscriptionsByTopicResponse, Fault> {
    let topic = sns.topic(&input.topic_arn)?;
    let (subscriptions, next_token) = listed(standing(cx, &topic), input.next_token.as_deref())?;
    Ok(ListSubscriptionsByTopicResponse { subscriptions: Some(subscriptions), next_token })
}

/// Those that lists show.
fn standing(cx: &Cx, topic: &Topic) -> Vec<Arc<Subscription>> {
    let now = cx.now().millis();
    let subscriptions = topic.subscriptions.read();
    let is_shown = |one: &&Arc<Subscription>| one.row.standing != Standing::Deleted && !one.row.is_over(now);
    subscriptions.values().filter(is_shown).cloned().collect()
}

fn listed(all: Vec<Arc<Subscription>>, token: Option<&str>) -> Result<(Vec<Listed>, Option<String>), Fault> {
    let page = page(all, |one| one.row.arn.clone(), token, LISTED).ok_or_else(|| invalid("NextToken"))?;
    let shown = page.items.iter().map(|one| Listed {
        subscription_arn: Some(one.row.shown_arn()),
        owner: Some(one.row.owner.clone()),
        protocol: Some(one.row.protocol.clone()),
        endpoint: Some(one.row.endpoint.clone()),
        topic_arn: Some(one.row.topic_arn.clone()),
    });
    Ok((shown.collect(), page.next_token))
}
