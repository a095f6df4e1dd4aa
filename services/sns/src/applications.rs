//! Platform applications: the apps of a push service (`GCM`, `APNS`, …) whose devices are endpoints. Credentials are kept
//! for the provider and never shown. Source: the SNS API reference, "SetPlatformApplicationAttributes".

use std::{collections::BTreeMap, ops::ControlFlow};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidemill_api::Unit;
use tidemill_delivery::{Event, Handover, Staged};
use tidemill_platform::{Arn, Cx, Fault, page};
use tidemill_store::{Batch, Partition, Seq, Table};

use crate::{
    Sns,
    api::{
        CreatePlatformApplicationInput, CreatePlatformApplicationResponse, DeletePlatformApplicationInput,
        GetPlatformApplicationAttributesInput, GetPlatformApplicationAttributesResponse,
        ListPlatformApplicationsInput, ListPlatformApplicationsResponse, NotFoundException,
        PlatformApplication as Listed, SetPlatformApplicationAttributesInput,
    },
    devices, notification,
    state::invalid,
};

/// ARN → application, in the first partition.
const APPLICATIONS: Table<String, ApplicationRow> = Table::new("sns.application");

const LISTED: usize = 100;
const PLATFORMS: &[&str] = &[
    "ADM",
    "APNS",
    "APNS_SANDBOX",
    "APNS_VOIP",
    "APNS_VOIP_SANDBOX",
    "BAIDU",
    "GCM",
    "MACOS",
    "MACOS_SANDBOX",
    "MPNS",
    "WNS",
];
const SECRET: &[&str] = &["PlatformCredential", "PlatformPrincipal"];
const EVENTS: &[&str] =
    &["EventEndpointCreated", "EventEndpointDeleted", "EventEndpointUpdated", "EventDeliveryFailure"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplicationRow {
    pub arn: String,
    pub platform: String,
    pub attributes: BTreeMap<String, String>,
}

impl ApplicationRow {
    pub fn is_enabled(&self) -> bool {
        self.attributes.get("Enabled").is_none_or(|value| value == "true")
    }

    fn shown(&self) -> BTreeMap<String, String> {
        let mut all = self.attributes.clone();
        all.retain(|name, _| !SECRET.contains(&name.as_str()));
        all.entry("Enabled".into()).or_insert_with(|| "true".into());
        all
    }
}

pub async fn create_platform_application(
    sns: &Sns,
    cx: &Cx,
    input: CreatePlatformApplicationInput,
) -> Result<CreatePlatformApplicationResponse, Fault> {
    check_name(&input.name)?;
    if !PLATFORMS.contains(&input.platform.as_str()) {
        return Err(invalid(format!("Platform Reason: {} is not supported", input.platform)));
    }
    input.attributes.iter().try_for_each(|(name, value)| check_attribute(name, value))?;
    check_credentials(&input.platform, &input.attributes)?;
    let arn = cx.arn("sns", format!("app/{}/{}", input.platform, input.name)).to_string();
    let row = ApplicationRow { arn: arn.clone(), platform: input.platform, attributes: input.attributes };
    let ticket = {
        let _deciding = sns.registry.lock();
        match sns.application(&arn)? {
            Some((there, _)) if there != row => {
                return Err(invalid(
                    "Attributes Reason: An application with the same name but different properties already exists",
                ));
            }
            _ => {}
        }
        sns.platform.submit(written(&row))?
    };
    ticket.await;
    Ok(CreatePlatformApplicationResponse { platform_application_arn: Some(arn) })
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(invalid(" Reason: cannot be empty"));
    }
    if name.len() > 256 {
        return Err(invalid(format!("{name} Reason: must be at most 256 characters long")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
        return Err(invalid(format!(
            "{name} Reason: must contain only characters 'a'-'z', 'A'-'Z', '0'-'9', '_', '-', and '.'"
        )));
    }
    Ok(())
}

fn check_attribute(name: &str, value: &str) -> Result<(), Fault> {
    let is_good = match name {
        "PlatformCredential" | "PlatformPrincipal" | "ApplePlatformTeamID" | "ApplePlatformBundleID" => true,
        "Enabled" => matches!(value, "true" | "false"),
        _ if EVENTS.contains(&name) => value.is_empty() || value.parse::<Arn>().is_ok(),
        "SuccessFeedbackRoleArn" | "FailureFeedbackRoleArn" | "SuccessFeedbackSampleRate" => {
            return Err(Fault::not_implemented(format!("{name} of a platform application")));
        }
        _ => return Err(invalid(format!("Attributes Reason: Invalid attribute name: {name}"))),
    };
    if is_good {
        return Ok(());
    }
    Err(invalid(format!("Attributes Reason: Invalid value for attribute: {name}")))
}

/// Google's push service knows an application by its key alone, the others by a principal and its credential.
fn check_credentials(platform: &str, attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
    let has = |name: &str| attributes.get(name).is_some_and(|value| !value.is_empty());
    let wrong = |what: &str| Err(invalid(format!("Attributes Reason: {what}")));
    match (has("PlatformPrincipal"), has("PlatformCredential")) {
        (true, false) => wrong("PlatformPrincipal attribute provided without PlatformCredential"),
        (false, true) if platform != "GCM" => {
            wrong("PlatformCredential attribute provided without PlatformPrincipal")
        }
        (false, false) => wrong("PlatformCredential attribute required"),
        _ => Ok(()),
    }
}

fn written(row: &ApplicationRow) -> Batch {
    let mut batch = Batch::new(Partition::FIRST);
    batch.put(&APPLICATIONS, &row.arn, row);
    batch
}

impl Sns {
    /// An application, and what must be durable before it is shown.
    pub fn application(&self, arn: &str) -> Result<Option<(ApplicationRow, Seq)>, Fault> {
        let found = self.platform.store.get(&APPLICATIONS, Partition::FIRST, &arn.to_string());
        Ok(found.map_err(Fault::internal)?.map(|found| (found.value, found.seq)))
    }

    /// The application a request names.
    pub fn named_application(&self, arn: &str) -> Result<(ApplicationRow, Seq), Fault> {
        devices::check_arn("PlatformApplicationArn", arn, "app", 2)?;
        self.application(arn)?
            .ok_or_else(|| NotFoundException::new("PlatformApplication does not exist").into())
    }

    /// Tells the topic that an application names for a kind of event, in the batch of what happened.
    pub fn announce(
        &self,
        cx: &Cx,
        batch: &mut Batch,
        application: &ApplicationRow,
        kind: &str,
        endpoint_arn: &str,
    ) -> Option<Staged> {
        let (topic, event) = announcement(cx, application, kind, endpoint_arn, json!({}))?;
        self.delivery.deliver(cx, batch, &topic, event).ok()
    }

    /// What tells of a delivery to a device that was given up.
    pub fn announced_failure(
        &self,
        cx: &Cx,
        application: &ApplicationRow,
        endpoint_arn: &str,
        failure: Value,
    ) -> Option<Handover> {
        let (topic, event) = announcement(cx, application, "DeliveryFailure", endpoint_arn, failure)?;
        self.delivery.accept(cx, &topic, event).ok()
    }
}

/// The topic that wants to know, and what it is told.
fn announcement(
    cx: &Cx,
    application: &ApplicationRow,
    kind: &str,
    endpoint_arn: &str,
    more: Value,
) -> Option<(Arn, Event)> {
    let topic: Arn = application.attributes.get(&format!("Event{kind}"))?.parse().ok()?;
    let mut told = json!({
        "EndpointArn": endpoint_arn,
        "EventType": kind,
        "Resource": application.arn,
        "Service": "SNS",
        "Time": notification::printed(cx.now()),
    });
    if let (Some(told), Some(more)) = (told.as_object_mut(), more.as_object()) {
        told.extend(more.clone());
    }
    let event = Event {
        id: cx.random().uuid(),
        source: endpoint_arn.into(),
        via: application.arn.clone(),
        payload: told.to_string().into(),
        trace: cx.trace().clone(),
        ..Event::default()
    };
    Some((topic, event))
}

/// Its devices go with it.
pub async fn delete_platform_application(
    sns: &Sns,
    _: &Cx,
    input: DeletePlatformApplicationInput,
) -> Result<Unit, Fault> {
    let arn = input.platform_application_arn;
    devices::check_arn("PlatformApplicationArn", &arn, "app", 2)?;
    let ticket = {
        let _deciding = sns.registry.lock();
        sns.forget_devices(&arn)?;
        let mut batch = Batch::new(Partition::FIRST);
        batch.delete(&APPLICATIONS, &arn);
        sns.platform.submit(batch)?
    };
    ticket.await;
    Ok(Unit)
}

pub async fn get_platform_application_attributes(
    sns: &Sns,
    _: &Cx,
    input: GetPlatformApplicationAttributesInput,
) -> Result<GetPlatformApplicationAttributesResponse, Fault> {
    let (row, seq) = sns.named_application(&input.platform_application_arn)?;
    sns.platform.store.durable(seq).await;
    Ok(GetPlatformApplicationAttributesResponse { attributes: Some(row.shown()) })
}

pub async fn set_platform_application_attributes(
    sns: &Sns,
    _: &Cx,
    input: SetPlatformApplicationAttributesInput,
) -> Result<Unit, Fault> {
    input.attributes.iter().try_for_each(|(name, value)| check_attribute(name, value))?;
    let ticket = {
        let _deciding = sns.registry.lock();
        let (mut row, _) = sns.named_application(&input.platform_application_arn)?;
        row.attributes.extend(input.attributes);
        row.attributes.retain(|_, value| !value.is_empty());
        check_credentials(&row.platform, &row.attributes)?;
        sns.platform.submit(written(&row))?
    };
    ticket.await;
    Ok(Unit)
}

pub async fn list_platform_applications(
    sns: &Sns,
    cx: &Cx,
    input: ListPlatformApplicationsInput,
) -> Result<ListPlatformApplicationsResponse, Fault> {
    let prefix = cx.arn("sns", "app/").to_string();
    let after = input.next_token.as_deref();
    let after = after.map(|token| page::decode(token).ok_or_else(|| invalid("NextToken"))).transpose()?;
    let mut found = Vec::new();
    let from = after.clone().unwrap_or_else(|| prefix.clone());
    let store = &sns.platform.store;
    let seen = store.scan_seen(&APPLICATIONS, Partition::FIRST, from.., |arn: String, row| {
        if !arn.starts_with(&prefix) || found.len() > LISTED {
            return ControlFlow::Break(());
        }
        if after.as_ref() != Some(&arn) {
            found.push(row);
        }
        ControlFlow::Continue(())
    });
    store.durable(seen.map_err(Fault::internal)?).await;
    let is_more = found.len() > LISTED;
    found.truncate(LISTED);
    let next_token = found.last().filter(|_| is_more).map(|row| page::encode(&row.arn));
    let shown = found
        .iter()
        .map(|row| Listed { platform_application_arn: Some(row.arn.clone()), attributes: Some(row.shown()) });
    Ok(ListPlatformApplicationsResponse { platform_applications: Some(shown.collect()), next_token })
}
