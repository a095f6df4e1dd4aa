//! The CloudFormation type of pipes. Its properties are the members of the request that makes a pipe, and subject to the
//! same constraints.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use tidemill_api::Shape;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, text},
};
use tidemill_wire::{
    Dynamic,
    validate::{self, Dialect},
    value::{ValueReader, from_value},
};

use crate::{Pipes, api, api::CreatePipeRequest, request, rows::PipeRow};

pub struct Resources(pub Arc<Pipes>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &["AWS::Pipes::Pipe"]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            let name = text(wanted.properties, "Name")
                .unwrap_or_else(|| shortened(wanted.generated_name).to_string());
            match self.0.make(cx, input(&name, &wanted)?).await {
                Ok(row) => self.provided(cx, row, true).await,
                Err(fault) if fault.code() == "ConflictException" => {
                    Err(Fault::new("AlreadyExists", format!("{name} already exists")))
                }
                Err(fault) => Err(fault),
            }
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        async move {
            let same = |path: &str| old.pointer(path) == wanted.properties.pointer(path);
            let position = "/SourceParameters/DynamoDBStreamParameters/StartingPosition";
            if !same("/Name") || !same("/Source") || !same(position) {
                return Ok(Updated::Replace);
            }
            // Not the merge of UpdatePipe: what the template no longer says falls back to its default.
            let input = input(physical_id, &wanted)?;
            let row = self.0.alter(cx, physical_id, |there| self.remade(cx, there, input)).await?;
            self.provided(cx, row, false).await.map(Updated::InPlace)
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        _: &'a str,
        physical_id: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match self.0.unmake(cx, physical_id).await {
                Err(fault) if fault.code() == "NotFoundException" => Ok(()),
                other => other.map(drop),
            }
        }
        .boxed()
    }
}

impl Resources {
    fn remade(&self, cx: &Cx, there: &PipeRow, input: CreatePipeRequest) -> Result<PipeRow, Fault> {
        let row = request::fresh(&self.0, cx, input)?;
        Ok(PipeRow {
            id: there.id.clone(),
            created_at: there.created_at,
            failed: row.failed.map(|_| "UPDATE_FAILED".into()),
            ..row
        })
    }

    /// A pipe that cannot run is no resource that exists.
    async fn provided(&self, cx: &Cx, row: PipeRow, is_new: bool) -> Result<Provided, Fault> {
        if row.failed.is_some() {
            if is_new {
                self.0.unmake(cx, &row.name).await?;
            }
            return Err(Fault::new("NotStabilized", row.reason));
        }
        let time = |millis: i64| jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_string();
        let attributes = [
            ("Arn", row.arn.clone()),
            ("CreationTime", time(row.created_at)),
            ("CurrentState", row.state().to_string()),
            ("LastModifiedTime", time(row.changed_at)),
            ("StateReason", row.reason.clone()),
        ];
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_string(), Value::from(value)));
        Ok(Provided { physical_id: row.name, attributes: attributes.collect() })
    }
}

/// Names have at most 64 characters.
fn shortened(name: &str) -> &str {
    name.char_indices().rev().nth(63).map_or(name, |(at, _)| &name[at..]).trim_start_matches('-')
}

fn input(name: &str, wanted: &Wanted<'_>) -> Result<CreatePipeRequest, Fault> {
    let schema = CreatePipeRequest::schema();
    let mut request = wanted.properties.clone();
    let members = request.as_object_mut().ok_or_else(|| Fault::validation("Properties must be an object"))?;
    members.insert("Name".into(), json!(name));
    let mut tags: BTreeMap<String, Value> =
        wanted.tags.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    if let Some(Value::Object(own)) = members.remove("Tags") {
        tags.extend(own);
    }
    if !tags.is_empty() {
        members.insert("Tags".into(), json!(tags));
    }
    if let Some(unknown) = members.keys().find(|key| schema.members.iter().all(|known| known.name != **key)) {
        return Err(Fault::validation(format!("Unsupported property {unknown}")));
    }
    let refused = |error: tidemill_api::ReadError| Fault::validation(error.message);
    let read = Dynamic::read(schema, &mut ValueReader::new(&request)).map_err(refused)?;
    match validate::explain(&read, Dialect::of(&api::SERVICE)) {
        Some(fault) => Err(fault),
        None => from_value(&request).map_err(refused),
    }
}
