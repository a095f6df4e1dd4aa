//! Search: versions whose name or text has all the keywords.

use tidemill_platform::{Cx, Fault, Timestamp, page::page};

use crate::{
    Schemas, api,
    api::{SearchSchemasRequest, SearchSchemasResponse},
    checks,
    faults::{bad_request, bad_token},
    rows::{SchemaRow, Version},
    state::limit,
};

pub async fn search_schemas(
    schemas: &Schemas,
    cx: &Cx,
    input: SearchSchemasRequest,
) -> Result<SearchSchemasResponse, Fault> {
    let keywords = checks::required(input.keywords, "Keywords")?;
    let words: Vec<String> = keywords.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return Err(bad_request("Keywords must not be empty."));
    }
    let limit = limit(input.limit)?;
    let rows = schemas.show(|kept| {
        kept.registry(cx, &input.registry_name)?;
        Ok::<_, Fault>(kept.schemas_of(cx, &input.registry_name).cloned().collect::<Vec<SchemaRow>>())
    });
    let mut found = Vec::new();
    for row in rows.await? {
        let versions = matching(schemas, &row, &words)?;
        if !versions.is_empty() {
            found.push((row, versions));
        }
    }
    let page = page(found, |(row, _)| row.arn.clone(), input.next_token.as_deref(), limit);
    let page = page.ok_or_else(bad_token)?;
    let shown = page.items.into_iter().map(|(row, versions)| summary(row, versions));
    Ok(SearchSchemasResponse { schemas: Some(shown.collect()), next_token: page.next_token })
}

fn matching(schemas: &Schemas, row: &SchemaRow, words: &[String]) -> Result<Vec<Version>, Fault> {
    let name = row.name.to_lowercase();
    let mut matching = Vec::new();
    for version in &row.versions {
        let text = schemas.content(&row.arn, version.number)?.to_lowercase();
        if words.iter().all(|word| name.contains(word) || text.contains(word)) {
            matching.push(version.clone());
        }
    }
    Ok(matching)
}

fn summary(row: SchemaRow, versions: Vec<Version>) -> api::SearchSchemaSummary {
    let versions = versions.into_iter().map(|version| api::SearchSchemaVersionSummary {
        created_date: Some(Timestamp::from_millis(version.created_at)),
        schema_version: Some(version.number.to_string()),
        r#type: Some(version.kind.as_str().into()),
    });
    api::SearchSchemaSummary {
        registry_name: Some(row.registry),
        schema_arn: Some(row.arn),
        schema_name: Some(row.name),
        schema_versions: Some(versions.collect()),
    }
}
