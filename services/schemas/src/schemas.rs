//! Schemas: a name, and versions under it.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Schemas, api,
    api::{
        CreateSchemaRequest, CreateSchemaResponse, DeleteSchemaRequest, DescribeSchemaRequest,
        DescribeSchemaResponse, ListSchemasRequest, ListSchemasResponse, UpdateSchemaRequest,
        UpdateSchemaResponse,
    },
    checks, content,
    faults::{bad_request, bad_token, conflict},
    rows::{SchemaRow, Tags, Version, schema_arn},
    state::limit,
};

/// Versions that a schema may have.
const MOST_VERSIONS: usize = 100;

/// A version to be: its kind and text.
pub struct Text<'a> {
    pub kind: &'a str,
    pub content: String,
}

pub async fn create_schema(
    schemas: &Schemas,
    cx: &Cx,
    input: CreateSchemaRequest,
) -> Result<CreateSchemaResponse, Fault> {
    let kind = checks::kind(&checks::required(input.r#type, "Type")?)?;
    let text = Text { kind, content: checks::required(input.content, "Content")? };
    let tags = input.tags.unwrap_or_default();
    let row = schemas
        .create_schema(cx, (&input.registry_name, &input.schema_name), text, input.description, tags)
        .await?;
    let (latest, changed_at) = (row.latest(), row.changed_at);
    Ok(CreateSchemaResponse {
        description: row.description,
        last_modified: Some(Timestamp::from_millis(changed_at)),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        schema_version: Some(latest.number.to_string()),
        tags: Some(row.tags),
        r#type: Some(latest.kind),
        version_created_date: Some(Timestamp::from_millis(latest.created_at)),
    })
}

impl Schemas {
    /// Makes a schema, named by its registry and itself, with its first version.
    pub async fn create_schema(
        &self,
        cx: &Cx,
        (registry, name): (&str, &str),
        text: Text<'_>,
        description: Option<String>,
        tags: Tags,
    ) -> Result<SchemaRow, Fault> {
        checks::name("Schema", name, 385)?;
        checks::description(description.as_deref())?;
        content::check(text.kind, &text.content)?;
        let now = cx.now().millis();
        self.decide(|kept, effects| {
            if kept.schema(cx, registry, name).is_ok() {
                return Err(conflict(format!("Schema with name {name} already exists.")));
            }
            kept.registry(cx, registry)?;
            let row = SchemaRow {
                name: name.into(),
                registry: registry.into(),
                arn: schema_arn(cx, registry, name),
                description,
                tags,
                versions: vec![Version { number: 1, kind: text.kind.into(), created_at: now }],
                changed_at: now,
                ..SchemaRow::default()
            };
            effects.contents.push(((row.arn.clone(), 1), Some(text.content)));
            effects.schemas.push((row.arn.clone(), Some(row.clone())));
            Ok(row)
        })
        .await
    }

    /// Changes a schema; a text becomes its next version. A repeated token changes nothing.
    pub async fn update_schema(
        &self,
        cx: &Cx,
        (registry, name): (&str, &str),
        text: Option<Text<'_>>,
        token: Option<String>,
        change: impl FnOnce(&mut SchemaRow),
    ) -> Result<SchemaRow, Fault> {
        if let Some(text) = &text {
            content::check(text.kind, &text.content)?;
        }
        let now = cx.now().millis();
        self.decide(|kept, effects| {
            let mut row = kept.schema(cx, registry, name)?.clone();
            if token.is_some() && token == row.client_token {
                return Ok(row);
            }
            change(&mut row);
            (row.client_token, row.changed_at) = (token, now);
            if let Some(text) = text {
                if row.versions.len() >= MOST_VERSIONS {
                    return Err(bad_request(format!("Schema with name {name} has too many versions.")));
                }
                let number = row.latest().number + 1;
                row.versions.push(Version { number, kind: text.kind.into(), created_at: now });
                row.shape = None;
                effects.contents.push(((row.arn.clone(), number), Some(text.content)));
            }
            effects.schemas.push((row.arn.clone(), Some(row.clone())));
            Ok(row)
        })
        .await
    }

    pub async fn delete_schema(&self, cx: &Cx, registry: &str, name: &str) -> Result<(), Fault> {
        self.decide(|kept, effects| {
            effects.remove_schema(kept.schema(cx, registry, name)?);
            Ok(())
        })
        .await
    }
}

pub async fn update_schema(
    schemas: &Schemas,
    cx: &Cx,
    input: UpdateSchemaRequest,
) -> Result<UpdateSchemaResponse, Fault> {
    let named = (input.registry_name.as_str(), input.schema_name.as_str());
    let before = schemas.read(|kept| kept.schema(cx, named.0, named.1).map(SchemaRow::latest))?;
    checks::description(input.description.as_deref())?;
    let kind = input.r#type.as_ref().map(checks::kind).transpose()?.unwrap_or(&before.kind);
    if input.content.is_none() && kind != before.kind {
        return Err(bad_request("Content is required where Type changes."));
    }
    let text = input.content.map(|content| Text { kind, content });
    let description = input.description;
    let row = schemas
        .update_schema(cx, named, text, input.client_token_id, |row| {
            row.description = description.or(row.description.take());
        })
        .await?;
    let (latest, changed_at) = (row.latest(), row.changed_at);
    Ok(UpdateSchemaResponse {
        description: row.description,
        last_modified: Some(Timestamp::from_millis(changed_at)),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        schema_version: Some(latest.number.to_string()),
        tags: Some(row.tags),
        r#type: Some(latest.kind),
        version_created_date: Some(Timestamp::from_millis(latest.created_at)),
    })
}

pub async fn describe_schema(
    schemas: &Schemas,
    cx: &Cx,
    input: DescribeSchemaRequest,
) -> Result<DescribeSchemaResponse, Fault> {
    let named = (input.registry_name.as_str(), input.schema_name.as_str());
    let (row, version) = schemas.version(cx, named, input.schema_version.as_deref()).await?;
    Ok(DescribeSchemaResponse {
        content: Some(schemas.content(&row.arn, version.number)?),
        description: row.description,
        last_modified: Some(Timestamp::from_millis(row.changed_at)),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        schema_version: Some(version.number.to_string()),
        tags: Some(row.tags),
        r#type: Some(version.kind),
        version_created_date: Some(Timestamp::from_millis(version.created_at)),
    })
}

pub async fn list_schemas(
    schemas: &Schemas,
    cx: &Cx,
    input: ListSchemasRequest,
) -> Result<ListSchemasResponse, Fault> {
    let (prefix, limit) = (input.schema_name_prefix.unwrap_or_default(), limit(input.limit)?);
    let page = schemas.show(|kept| {
        kept.registry(cx, &input.registry_name)?;
        let rows = kept.schemas_of(cx, &input.registry_name).filter(|row| row.name.starts_with(&prefix));
        page(rows.cloned(), |row| row.arn.clone(), input.next_token.as_deref(), limit).ok_or_else(bad_token)
    });
    let page = page.await?;
    let shown = page.items.into_iter().map(|row| api::SchemaSummary {
        last_modified: Some(Timestamp::from_millis(row.changed_at)),
        version_count: i64::try_from(row.versions.len()).ok(),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        tags: Some(row.tags),
    });
    Ok(ListSchemasResponse { schemas: Some(shown.collect()), next_token: page.next_token })
}

pub async fn delete_schema(schemas: &Schemas, cx: &Cx, input: DeleteSchemaRequest) -> Result<Unit, Fault> {
    schemas.delete_schema(cx, &input.registry_name, &input.schema_name).await?;
    Ok(Unit)
}
