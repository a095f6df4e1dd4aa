//! Published versions: configurations and code that no longer change.

use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Lambda,
    api::{
        FunctionConfiguration, InvalidParameterValueException, ListVersionsByFunctionRequest,
        ListVersionsByFunctionResponse, PublishVersionRequest,
    },
    configuration::{base64_of_hex, wire},
    functions::expect_revision,
    names::Named,
    state::Configuration,
};

pub async fn publish_version(
    lambda: &Lambda,
    cx: &Cx,
    input: PublishVersionRequest,
) -> Result<FunctionConfiguration, Fault> {
    if input.publish_to.is_some() {
        return Err(Fault::not_implemented("PublishVersion with PublishTo"));
    }
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    expect_revision(&row, input.revision_id.as_deref())?;
    if input.code_sha256.is_some_and(|sha| sha != base64_of_hex(&row.latest.code_sha256)) {
        let sentence = format!(
            "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST. Please try again with the CodeSHA256 in $LATEST.",
            base64_of_hex(&row.latest.code_sha256)
        );
        return Err(InvalidParameterValueException::new(sentence).into());
    }
    publish(lambda, cx, &named, input.description, input.revision_id).await
}

/// Publishes `$LATEST`; when nothing changed since the last version, that one is the answer.
pub async fn publish(
    lambda: &Lambda,
    cx: &Cx,
    named: &Named,
    description: Option<String>,
    revision: Option<String>,
) -> Result<FunctionConfiguration, Fault> {
    lambda.expect_storage(&named.arn, lambda.get(named)?.latest.code_size)?;
    let answer = lambda
        .change(named, None, |row| {
            expect_revision(row, revision.as_deref())?;
            let mut fresh = row.latest.clone();
            fresh.description = description.unwrap_or(fresh.description);
            let last = row.versions.get(&row.last_version);
            if let Some(last) = last.filter(|last| same(last, &fresh)) {
                let number = row.last_version;
                return Ok(wire(row, &number.to_string(), last, format!("{}:{number}", row.arn)));
            }
            row.last_version += 1;
            let number = row.last_version;
            fresh.revision_id = cx.random().uuid();
            row.versions.insert(number, fresh.clone());
            row.expect_snapshot(number);
            Ok(wire(row, &number.to_string(), &fresh, format!("{}:{number}", row.arn)))
        })
        .await?;
    lambda.snapshot_soon(&named.arn);
    Ok(answer)
}

fn same(last: &Configuration, fresh: &Configuration) -> bool {
    let plain = |c: &Configuration| Configuration { revision_id: String::new(), modified_at: 0, ..c.clone() };
    plain(last) == plain(fresh)
}

pub async fn list_versions_by_function(
    lambda: &Lambda,
    cx: &Cx,
    input: ListVersionsByFunctionRequest,
) -> Result<ListVersionsByFunctionResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let row = lambda.get(&named)?;
    let latest = (String::new(), wire(&row, "$LATEST", &row.latest, format!("{}:$LATEST", row.arn)));
    let published = row.versions.iter().map(|(number, c)| {
        (format!("{number:010}"), wire(&row, &number.to_string(), c, format!("{}:{number}", row.arn)))
    });
    let limit = usize::try_from(input.max_items.unwrap_or(50).min(50)).unwrap_or(50);
    let page = page(
        std::iter::once(latest).chain(published),
        |(key, _)| key.clone(),
        input.marker.as_deref(),
        limit,
    );
    let page = page.ok_or_else(|| Fault::from(InvalidParameterValueException::new("Invalid Marker")))?;
    Ok(ListVersionsByFunctionResponse {
        versions: Some(page.items.into_iter().map(|(_, c)| c).collect()),
        next_marker: page.next_token,
    })
}
