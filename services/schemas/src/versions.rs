//! Versions of schemas.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Schemas, api,
    api::{
        DeleteSchemaVersionRequest, ExportSchemaRequest, ExportSchemaResponse, ListSchemaVersionsRequest,
        ListSchemaVersionsResponse,
    },
    checks,
    content::JSON_SCHEMA,
    export,
    faults::{bad_request, bad_token, not_found},
    rows::{SchemaRow, Version},
    state::limit,
};

impl Schemas {
    /// A version of a schema; the latest where none is named.
    pub async fn version(
        &self,
        cx: &Cx,
        (registry, name): (&str, &str),
        number: Option<&str>,
    ) -> Result<(SchemaRow, Version), Fault> {
        let row = self.show(|kept| kept.schema(cx, registry, name).cloned()).await?;
        let version = match number {
            None => row.latest(),
            Some(number) => find(&row, number)?,
        };
        Ok((row, version))
    }
}

fn find(row: &SchemaRow, number: &str) -> Result<Version, Fault> {
    let found = row.versions.iter().find(|version| version.number.to_string() == number);
    let missing = || not_found(format!("Schema {} with version {number} does not exist.", row.name));
    found.cloned().ok_or_else(missing)
}

pub async fn list_schema_versions(
    schemas: &Schemas,
    cx: &Cx,
    input: ListSchemaVersionsRequest,
) -> Result<ListSchemaVersionsResponse, Fault> {
    let limit = limit(input.limit)?;
    let found = schemas.show(|kept| kept.schema(cx, &input.registry_name, &input.schema_name).cloned());
    let row = found.await?;
    // As wide as any number, so that their order is that of the texts.
    let key = |version: &&Version| format!("{:020}", version.number);
    let page = page(&row.versions, key, input.next_token.as_deref(), limit).ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|version| api::SchemaVersionSummary {
        schema_arn: Some(row.arn.clone()),
        schema_name: Some(row.name.clone()),
        schema_version: Some(version.number.to_string()),
        r#type: Some(version.kind.as_str().into()),
    });
    Ok(ListSchemaVersionsResponse { schema_versions: Some(shown.collect()), next_token: page.next_token })
}

/// Takes a version away; the schema goes with its last one.
pub async fn delete_schema_version(
    schemas: &Schemas,
    cx: &Cx,
    input: DeleteSchemaVersionRequest,
) -> Result<Unit, Fault> {
    schemas
        .decide(|kept, effects| {
            let mut row = kept.schema(cx, &input.registry_name, &input.schema_name)?.clone();
            let gone = find(&row, &input.schema_version)?;
            if row.versions.len() == 1 {
                effects.remove_schema(&row);
                return Ok(());
            }
            row.versions.retain(|version| version.number != gone.number);
            row.changed_at = cx.now().millis();
            effects.contents.push(((row.arn.clone(), gone.number), None));
            effects.schemas.push((row.arn.clone(), Some(row)));
            Ok(())
        })
        .await?;
    Ok(Unit)
}

pub async fn export_schema(
    schemas: &Schemas,
    cx: &Cx,
    input: ExportSchemaRequest,
) -> Result<ExportSchemaResponse, Fault> {
    if checks::required(input.r#type, "Type")? != JSON_SCHEMA {
        return Err(bad_request(format!("Schemas are exported as {JSON_SCHEMA} only.")));
    }
    let named = (input.registry_name.as_str(), input.schema_name.as_str());
    let (row, version) = schemas.version(cx, named, input.schema_version.as_deref()).await?;
    let mut content = schemas.content(&row.arn, version.number)?;
    if version.kind != JSON_SCHEMA {
        content = export::to_json_schema(&content)
            .ok_or_else(|| bad_request("The schema has no components that could be exported."))?;
    }
    Ok(ExportSchemaResponse {
        content: Some(content),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        schema_version: Some(version.number.to_string()),
        r#type: Some(JSON_SCHEMA.into()),
    })
}
