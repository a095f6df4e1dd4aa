//! API destinations as enrichments and targets: the `HttpParameters` of a pipe, and the call, which is waited for. Neither
//! takes batches, so each event is a request of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use tidemill_input_transformer::PipeContext;
use tidemill_platform::{Arn, Cx, Fault, doors::DestinationCall};

use crate::settings::Setting;

/// `HttpParameters`; every value can be a path into the event.
#[derive(Default)]
pub struct Http {
    path: Vec<Setting>,
    headers: Vec<(String, Setting)>,
    query: Vec<(String, Setting)>,
}

/// Whether an ARN of `events` is an API destination's.
pub fn is_destination(arn: &Arn) -> bool {
    arn.service == "events" && arn.resource.starts_with("api-destination/")
}

impl Http {
    pub fn parse(
        path: Vec<String>,
        headers: BTreeMap<String, String>,
        query: BTreeMap<String, String>,
    ) -> Result<Http, Fault> {
        let all = |what: &str, given: BTreeMap<String, String>| -> Result<Vec<_>, Fault> {
            given.into_iter().map(|(name, text)| Ok((name, Setting::parse(what, &text)?))).collect()
        };
        Ok(Http {
            path: path
                .iter()
                .map(|text| Setting::parse("PathParameterValues", text))
                .collect::<Result<_, _>>()?,
            headers: all("HeaderParameters", headers)?,
            query: all("QueryStringParameters", query)?,
        })
    }

    /// Sends one event and gives the answer's body.
    pub async fn call(
        &self,
        cx: &Cx,
        arn: &str,
        event: &Value,
        context: &PipeContext<'_>,
        payload: &str,
    ) -> Result<Bytes, Fault> {
        let all = |settings: &[(String, Setting)]| -> Result<BTreeMap<_, _>, Fault> {
            settings.iter().map(|(name, one)| Ok((name.clone(), one.of(event, context)?))).collect()
        };
        let call = DestinationCall {
            arn: arn.into(),
            payload: Bytes::from(payload.to_string()),
            path: self.path.iter().map(|one| one.of(event, context)).collect::<Result<_, _>>()?,
            headers: all(&self.headers)?,
            query: all(&self.query)?,
        };
        cx.platform().doors.destinations.ask("API destinations")?.call(cx, call).await
    }
}
