//! Platform endpoints: the devices of an application, each known by its token, and what is published to one of them.
//! They stay in the store, for an application may have millions.

use std::{collections::BTreeMap, ops::ControlFlow};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_delivery::{Event, Handover};
use tidemill_platform::{Cx, Fault, page};
use tidemill_store::{Batch, Partition, Seq, Table};

use crate::{
    Sns,
    api::{
        CreateEndpointResponse, CreatePlatformEndpointInput, DeleteEndpointInput, Endpoint as Listed,
        EndpointDisabledException, GetEndpointAttributesInput, GetEndpointAttributesResponse,
        ListEndpointsByPlatformApplicationInput, ListEndpointsByPlatformApplicationResponse,
        NotFoundException, PlatformApplicationDisabledException, PublishResponse, SetEndpointAttributesInput,
    },
    applications::ApplicationRow,
    message::Message,
    parcels,
    provider::Parcel,
    state::invalid,
};

/// (application's ARN, id) → device, in the application's partition.
const DEVICES: Table<(String, String), DeviceRow> = Table::new("sns.device");
/// (application's ARN, token) → id of the device, likewise.
const TOKENS: Table<(String, String), String> = Table::new("sns.token");

const LISTED: usize = 100;
const LONGEST_USER_DATA: usize = 2048;
/// Devices that are deleted together.
const CHUNK: usize = 1000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRow {
    pub id: String,
    pub arn: String,
    pub application_arn: String,
    pub token: String,
    pub is_enabled: bool,
    pub user_data: Option<String>,
}

impl DeviceRow {
    fn key(&self) -> (String, String) {
        (self.application_arn.clone(), self.id.clone())
    }

    fn shown(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([
            ("Enabled".to_string(), self.is_enabled.to_string()),
            ("Token".to_string(), self.token.clone()),
        ]);
        all.extend(self.user_data.clone().map(|data| ("CustomUserData".to_string(), data)));
        all
    }

    fn with(mut self, attributes: &BTreeMap<String, String>) -> Result<DeviceRow, Fault> {
        for (name, value) in attributes {
            let wrong =
                |why: &str| invalid(format!("Attributes Reason: Invalid value for attribute: {name}{why}"));
            match name.as_str() {
                "Enabled" => {
                    self.is_enabled = value.to_ascii_lowercase().parse().map_err(|_| wrong(""))?;
                }
                "Token" if value.is_empty() => return Err(wrong(": cannot be empty")),
                "Token" => self.token = value.clone(),
                "CustomUserData" if value.len() > LONGEST_USER_DATA => {
                    return Err(wrong(": must be at most 2048 bytes long in UTF-8 encoding"));
                }
                "CustomUserData" => self.user_data = Some(value.clone()).filter(|data| !data.is_empty()),
                _ => return Err(invalid(format!("Attributes Reason: Invalid attribute name: {name}"))),
            }
        }
        Ok(self)
    }
}

/// Checks an ARN whose resource is `kind` and so many names behind slashes.
pub fn check_arn(parameter: &str, arn: &str, kind: &str, names: usize) -> Result<(), Fault> {
    let parts = arn.split(':').count();
    if parts < 6 {
        return Err(invalid(format!(
            "{parameter} Reason: An ARN must have at least 6 elements, not {parts}"
        )));
    }
    let mut resource = arn.splitn(6, ':').nth(5).unwrap_or_default().split('/');
    if resource.next() != Some(kind) || resource.count() != names {
        return Err(invalid(format!(
            "{parameter} Reason: Wrong number of slashes in relative portion of the ARN."
        )));
    }
    Ok(())
}

/// `…:endpoint/GCM/app/id` → `…:app/GCM/app` and the id.
fn parts(endpoint_arn: &str) -> Option<(String, String)> {
    let (before, after) = endpoint_arn.split_once(":endpoint/")?;
    let (application, id) = after.rsplit_once('/')?;
    Some((format!("{before}:app/{application}"), id.into()))
}

/// The platform in a device's ARN.
pub fn platform(endpoint_arn: &str) -> Option<&str> {
    endpoint_arn.split_once(":endpoint/")?.1.split('/').next()
}

/// A push notification; it gets the device's token when it goes.
pub fn parcel(endpoint_arn: &str, text: &str, message: &Message) -> Parcel {
    let asked = message.attributes.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("AWS.SNS.MOBILE.")?;
        Some((name.to_string(), value.printed().into_owned()))
    });
    Parcel {
        protocol: "application".into(),
        to: endpoint_arn.into(),
        subject: message.subject.clone().unwrap_or_default(),
        text: text.into(),
        details: asked.collect(),
    }
}

/// The device of a token, made if it is new. Who asks again has to give the same attributes.
pub async fn create_platform_endpoint(
    sns: &Sns,
    cx: &Cx,
    input: CreatePlatformEndpointInput,
) -> Result<CreateEndpointResponse, Fault> {
    if input.token.is_empty() {
        return Err(invalid("Token Reason: cannot be empty"));
    }
    let mut attributes = input.attributes.unwrap_or_default();
    attributes.extend(input.custom_user_data.map(|data| ("CustomUserData".to_string(), data)));
    let (arn, seq) = {
        let _deciding = sns.registry.lock();
        let (application, _) = sns.named_application(&input.platform_application_arn)?;
        let id = cx.random().uuid();
        let fresh = DeviceRow {
            arn: format!("{}/{id}", application.arn.replacen(":app/", ":endpoint/", 1)),
            id,
            application_arn: application.arn.clone(),
            token: input.token,
            is_enabled: true,
            user_data: None,
        };
        let fresh = fresh.with(&attributes)?;
        match sns.of_token(&application.arn, &fresh.token)? {
            Some(there) => (check_same(there, &fresh)?, sns.platform.store.submitted()),
            None => {
                let mut batch = written(&fresh);
                let staged = sns.announce(cx, &mut batch, &application, "EndpointCreated", &fresh.arn);
                let seq = sns.platform.submit(batch)?.seq();
                staged.into_iter().for_each(|staged| staged.release(seq));
                (fresh.arn, seq)
            }
        }
    };
    sns.platform.store.durable(seq).await;
    Ok(CreateEndpointResponse { endpoint_arn: Some(arn) })
}

fn check_same(there: DeviceRow, fresh: &DeviceRow) -> Result<String, Fault> {
    if there.is_enabled == fresh.is_enabled && there.user_data == fresh.user_data {
        return Ok(there.arn);
    }
    Err(invalid(format!(
        "Token Reason: Endpoint {} already exists with the same Token, but different attributes.",
        there.arn
    )))
}

fn written(row: &DeviceRow) -> Batch {
    let mut batch = Batch::new(Partition::of(&row.application_arn));
    batch.put(&DEVICES, &row.key(), row);
    batch.put(&TOKENS, &(row.application_arn.clone(), row.token.clone()), &row.id);
    batch
}

impl Sns {
    /// A device, and what must be durable before it is shown.
    pub fn device(&self, arn: &str) -> Result<Option<(DeviceRow, Seq)>, Fault> {
        let Some(key) = parts(arn) else { return Ok(None) };
        let found =
            self.platform.store.get(&DEVICES, Partition::of(&key.0), &key).map_err(Fault::internal)?;
        Ok(found.map(|found| (found.value, found.seq)))
    }

    fn named_device(&self, arn: &str) -> Result<(DeviceRow, Seq), Fault> {
        check_arn("EndpointArn", arn, "endpoint", 3)?;
        self.device(arn)?.ok_or_else(|| NotFoundException::new("Endpoint does not exist").into())
    }

    fn of_token(&self, application_arn: &str, token: &str) -> Result<Option<DeviceRow>, Fault> {
        let (store, partition) = (&self.platform.store, Partition::of(application_arn));
        let key = (application_arn.to_string(), token.to_string());
        let Some(id) = store.get(&TOKENS, partition, &key).map_err(Fault::internal)? else { return Ok(None) };
        let found = store.get(&DEVICES, partition, &(key.0, id.value)).map_err(Fault::internal)?;
        Ok(found.map(|found| found.value))
    }

    /// Away with the devices of an application. To be called under the registry's lock.
    pub fn forget_devices(&self, application_arn: &str) -> Result<(), Fault> {
        loop {
            let (devices, _) = self.devices(application_arn, None, CHUNK)?;
            if devices.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(Partition::of(application_arn));
            for device in devices {
                batch.delete(&DEVICES, &device.key());
                batch.delete(&TOKENS, &(device.application_arn, device.token));
            }
            // The batch that takes the application away is durable later than this one.
            drop(self.platform.submit(batch)?);
        }
    }

    fn devices(
        &self,
        application_arn: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<DeviceRow>, Seq), Fault> {
        let from = (application_arn.to_string(), after.clone().unwrap_or_default());
        let to = (format!("{application_arn}\u{1}"), String::new());
        let mut found = Vec::new();
        let partition = Partition::of(application_arn);
        let seen = self.platform.store.scan_seen(&DEVICES, partition, from..to, |(_, id), row| {
            if after.as_ref() != Some(&id) {
                found.push(row);
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Ok((found, seen.map_err(Fault::internal)?))
    }

    /// A push notification with its device's token in the place of its ARN, or why it cannot go.
    pub fn addressed(&self, mut parcel: Parcel) -> Result<Parcel, String> {
        let device = self.device(&parcel.to).map_err(|fault| fault.to_string())?;
        let (device, _) = device.ok_or("The endpoint does not exist")?;
        let application = self.application(&device.application_arn).map_err(|fault| fault.to_string())?;
        if !application.is_some_and(|(row, _)| row.is_enabled()) {
            return Err("Platform application is disabled".into());
        }
        if !device.is_enabled {
            return Err("Endpoint is disabled".into());
        }
        parcel.details.insert("Platform".into(), platform(&device.arn).unwrap_or_default().into());
        parcel.details.insert("EndpointArn".into(), device.arn);
        parcel.to = device.token;
        Ok(parcel)
    }

    /// The platform knows the device's token no more.
    pub async fn disable(&self, cx: &Cx, arn: &str) -> Result<(), Fault> {
        self.change_device(cx, arn, &[("Enabled".to_string(), "false".to_string())].into()).await
    }

    async fn change_device(
        &self,
        cx: &Cx,
        arn: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let seq = {
            let _deciding = self.registry.lock();
            let (before, _) = self.named_device(arn)?;
            let after = before.clone().with(attributes)?;
            if let Some(other) =
                self.of_token(&after.application_arn, &after.token)?.filter(|other| other.id != after.id)
            {
                return Err(invalid(format!(
                    "Token Reason: Endpoint {} already exists with the same Token, but different attributes.",
                    other.arn
                )));
            }
            let mut batch = Batch::new(Partition::of(&after.application_arn));
            batch.delete(&TOKENS, &(before.application_arn, before.token));
            batch.put(&DEVICES, &after.key(), &after);
            batch.put(&TOKENS, &(after.application_arn.clone(), after.token.clone()), &after.id);
            let application = self.application(&after.application_arn)?;
            let staged = application
                .and_then(|(row, _)| self.announce(cx, &mut batch, &row, "EndpointUpdated", &after.arn));
            let seq = self.platform.submit(batch)?.seq();
            staged.into_iter().for_each(|staged| staged.release(seq));
            seq
        };
        self.platform.store.durable(seq).await;
        Ok(())
    }

    /// What tells of a publish to a device that was given up.
    pub fn delivery_failed(&self, cx: &Cx, handover: &Handover, reason: &str) -> Option<Handover> {
        let (application_arn, _) = parts(&handover.target)?;
        let (application, _) = self.application(&application_arn).ok()??;
        let kind = match reason {
            "Endpoint is disabled" => "EndpointDisabled",
            "Platform application is disabled" => "PlatformApplicationDisabled",
            _ => "InvalidPlatformToken",
        };
        let failure = json!({
            "DeliveryAttempts": handover.tries + 1,
            "FailureMessage": reason,
            "FailureType": kind,
            "MessageId": handover.event_id,
        });
        self.announced_failure(cx, &application, &handover.target, failure)
    }
}

/// `Publish` with a device's ARN.
pub async fn publish(
    sns: &Sns,
    cx: &Cx,
    arn: &str,
    message: &Message,
    is_structured: bool,
) -> Result<PublishResponse, Fault> {
    let none = || invalid("TargetArn Reason: No endpoint found for the target arn specified");
    let (device, _) = sns.device(arn)?.ok_or_else(none)?;
    let application: ApplicationRow = sns.application(&device.application_arn)?.ok_or_else(none)?.0;
    let text = match is_structured {
        true => structured(&message.text, &application.platform)?,
        false => message.text.clone(),
    };
    if !application.is_enabled() {
        return Err(PlatformApplicationDisabledException::new("Platform application is disabled").into());
    }
    if !device.is_enabled {
        return Err(EndpointDisabledException::new("Endpoint is disabled").into());
    }
    let id = cx.random().uuid();
    let event = Event { id: id.clone(), source: arn.into(), trace: cx.trace().clone(), ..Event::default() };
    let handover = parcels::handover(cx, arn.into(), "Notification", event, parcel(arn, &text, message));
    let mut batch = Batch::new(Partition::of(arn));
    let staged = sns.delivery.stage(&mut batch, handover);
    let ticket = sns.platform.submit(batch)?;
    staged.release(ticket.seq());
    ticket.await;
    Ok(PublishResponse { message_id: Some(id), sequence_number: None })
}

/// What a message of JSON structure has for a platform.
fn structured(text: &str, platform: &str) -> Result<String, Fault> {
    let texts: BTreeMap<String, Value> = serde_json::from_str(text)
        .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    let of = |key: &str| texts.get(key).and_then(Value::as_str);
    if let Some(text) = of(platform) {
        let is_json = serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok();
        return is_json.then(|| text.to_string()).ok_or_else(|| {
            invalid(format!(
                "Message Reason: Invalid notification for protocol {platform}: Notification is malformed"
            ))
        });
    }
    of("default")
        .map(str::to_string)
        .ok_or_else(|| invalid(format!("JSON must contain an entry for 'default' or '{platform}'.")))
}

pub async fn get_endpoint_attributes(
    sns: &Sns,
    _: &Cx,
    input: GetEndpointAttributesInput,
) -> Result<GetEndpointAttributesResponse, Fault> {
    let (row, seq) = sns.named_device(&input.endpoint_arn)?;
    sns.platform.store.durable(seq).await;
    Ok(GetEndpointAttributesResponse { attributes: Some(row.shown()) })
}

pub async fn set_endpoint_attributes(
    sns: &Sns,
    cx: &Cx,
    input: SetEndpointAttributesInput,
) -> Result<Unit, Fault> {
    sns.change_device(cx, &input.endpoint_arn, &input.attributes).await?;
    Ok(Unit)
}

pub async fn delete_endpoint(sns: &Sns, cx: &Cx, input: DeleteEndpointInput) -> Result<Unit, Fault> {
    check_arn("EndpointArn", &input.endpoint_arn, "endpoint", 3)?;
    let seq = {
        let _deciding = sns.registry.lock();
        // Deleting what is not there succeeds.
        let Some((row, _)) = sns.device(&input.endpoint_arn)? else { return Ok(Unit) };
        let mut batch = Batch::new(Partition::of(&row.application_arn));
        batch.delete(&DEVICES, &row.key());
        batch.delete(&TOKENS, &(row.application_arn.clone(), row.token));
        let application = sns.application(&row.application_arn)?;
        let staged =
            application.and_then(|(one, _)| sns.announce(cx, &mut batch, &one, "EndpointDeleted", &row.arn));
        let seq = sns.platform.submit(batch)?.seq();
        staged.into_iter().for_each(|staged| staged.release(seq));
        seq
    };
    sns.platform.store.durable(seq).await;
    Ok(Unit)
}

pub async fn list_endpoints_by_platform_application(
    sns: &Sns,
    _: &Cx,
    input: ListEndpointsByPlatformApplicationInput,
) -> Result<ListEndpointsByPlatformApplicationResponse, Fault> {
    let (application, _) = sns.named_application(&input.platform_application_arn)?;
    let after = input.next_token.as_deref();
    let after = after.map(|token| page::decode(token).ok_or_else(|| invalid("NextToken"))).transpose()?;
    let (mut found, seen) = sns.devices(&application.arn, after, LISTED + 1)?;
    sns.platform.store.durable(seen).await;
    let is_more = found.len() > LISTED;
    found.truncate(LISTED);
    let next_token = found.last().filter(|_| is_more).map(|row| page::encode(&row.id));
    let shown =
        found.iter().map(|row| Listed { endpoint_arn: Some(row.arn.clone()), attributes: Some(row.shown()) });
    Ok(ListEndpointsByPlatformApplicationResponse { endpoints: Some(shown.collect()), next_token })
}
