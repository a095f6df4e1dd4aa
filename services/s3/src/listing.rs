//! Listings: version 2, and version 1 on top of it.

use std::{ops::ControlFlow, sync::Arc};

use s3s::{S3Request, S3Response, S3Result, dto::*};
use tidemill_platform::{Cx, page};

use crate::{
    buckets::owner,
    errors,
    objects::{checksum_type, timestamp},
    state::{Bucket, OBJECTS, ObjectRow, S3},
};

const MOST: usize = 1000;

/// What a listing found: objects and common prefixes in the order of their names.
struct Found {
    objects: Vec<(String, ObjectRow)>,
    prefixes: Vec<String>,
    /// The name after which the next page begins.
    more_after: Option<String>,
}

pub async fn list_objects_v2(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let limit = limit(input.max_keys)?;
    let token = match input.continuation_token.as_deref() {
        Some(token) => Some(
            page::decode(token)
                .ok_or_else(|| errors::invalid_argument("The continuation token provided is incorrect"))?,
        ),
        None => None,
    };
    let after = token.or_else(|| input.start_after.clone().filter(|after| !after.is_empty()));
    let found = s3.list(
        &bucket,
        input.prefix.as_deref().unwrap_or(""),
        input.delimiter.as_deref(),
        after.as_deref(),
        limit,
    )?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let account = bucket.row.read().account.clone();
    let shown_owner = (input.fetch_owner == Some(true)).then(|| owner(&account));
    let count = found.objects.len() + found.prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encode(input.prefix.as_deref().unwrap_or(""))),
        max_keys: i32::try_from(limit).ok(),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(found.more_after.is_some()),
        next_continuation_token: found.more_after.as_deref().map(page::encode),
        contents: contents(found.objects, &encode, shown_owner),
        common_prefixes: common(found.prefixes, &encode),
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type,
        start_after: input.start_after.as_deref().map(&encode),
        ..ListObjectsV2Output::default()
    }))
}

pub async fn list_objects(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let limit = limit(input.max_keys)?;
    let marker = input.marker.clone().filter(|marker| !marker.is_empty());
    let found = s3.list(
        &bucket,
        input.prefix.as_deref().unwrap_or(""),
        input.delimiter.as_deref(),
        marker.as_deref(),
        limit,
    )?;
    let encode = encoder(input.encoding_type.as_ref())?;
    let account = bucket.row.read().account.clone();
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encode(input.prefix.as_deref().unwrap_or(""))),
        marker: Some(encode(input.marker.as_deref().unwrap_or(""))),
        max_keys: i32::try_from(limit).ok(),
        is_truncated: Some(found.more_after.is_some()),
        // Without a delimiter the last key is the marker, and S3 does not print it.
        next_marker: found.more_after.as_deref().filter(|_| input.delimiter.is_some()).map(&encode),
        contents: contents(found.objects, &encode, Some(owner(&account))),
        common_prefixes: common(found.prefixes, &encode),
        delimiter: input.delimiter.as_deref().map(&encode),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

impl S3 {
    /// Reads names after `after` that begin with `prefix`; names that share what comes before the next `delimiter`
    /// count as one. A prefix's names are skipped in one step, however many there are.
    fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> S3Result<Found> {
        let id = bucket.row.read().id.clone();
        let delimiter = delimiter.filter(|d| !d.is_empty());
        let mut found = Found { objects: Vec::new(), prefixes: Vec::new(), more_after: None };
        let mut last = String::new();
        let mut from = match after {
            // A common prefix as marker stands for all names under it.
            Some(after)
                if delimiter.is_some_and(|d| after.ends_with(d))
                    && after.starts_with(prefix)
                    && after.len() > prefix.len() =>
            {
                beyond(after)
            }
            Some(after) if after >= prefix => format!("{after}\0"),
            _ => prefix.to_string(),
        };
        loop {
            let mut jump = None;
            let range = (id.clone(), from.clone())..(format!("{id}\u{1}"), String::new());
            let scanned = self.platform.store.scan(&OBJECTS, bucket.partition, range, |(_, name), object| {
                if !name.starts_with(prefix) {
                    return ControlFlow::Break(());
                }
                if found.objects.len() + found.prefixes.len() >= limit {
                    found.more_after = Some(last.clone());
                    return ControlFlow::Break(());
                }
                let cut = delimiter
                    .and_then(|d| name[prefix.len()..].find(d).map(|at| prefix.len() + at + d.len()));
                match cut {
                    Some(end) => {
                        last = name[..end].to_string();
                        found.prefixes.push(last.clone());
                        jump = Some(beyond(&last));
                        ControlFlow::Break(())
                    }
                    None => {
                        last.clone_from(&name);
                        found.objects.push((name, object));
                        ControlFlow::Continue(())
                    }
                }
            });
            scanned.map_err(errors::damaged)?;
            match jump {
                Some(next) => from = next,
                None => return Ok(if limit == 0 { Found { more_after: None, ..found } } else { found }),
            }
        }
    }
}

/// The first name that does not begin with this prefix.
fn beyond(prefix: &str) -> String {
    // U+10FFFF sorts after every other character of a name.
    format!("{prefix}\u{10FFFF}")
}

fn limit(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        Some(n) if n < 0 => {
            Err(errors::invalid_argument("Argument max-keys must be an integer between 0 and 2147483647"))
        }
        Some(n) => Ok(usize::try_from(n).unwrap_or(MOST).min(MOST)),
        None => Ok(MOST),
    }
}

/// How names are printed: URL-encoded where asked for, as XML cannot carry every character.
fn encoder(encoding: Option<&EncodingType>) -> S3Result<impl Fn(&str) -> String + use<>> {
    let url = match encoding.map(EncodingType::as_str) {
        None => false,
        Some("url") => true,
        Some(_) => return Err(errors::invalid_argument("Invalid Encoding Method specified in Request")),
    };
    Ok(move |text: &str| if url { crate::notifications::url_encode(text, true) } else { text.to_string() })
}

fn contents(
    objects: Vec<(String, ObjectRow)>,
    encode: &impl Fn(&str) -> String,
    owner: Option<Owner>,
) -> Option<ObjectList> {
    let list: ObjectList = objects
        .into_iter()
        .map(|(name, object)| {
            let algorithms: Vec<ChecksumAlgorithm> =
                object.checksums.algorithms().into_iter().map(ChecksumAlgorithm::from).collect();
            Object {
                key: Some(encode(&name)),
                last_modified: Some(timestamp(object.modified_at)),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                size: i64::try_from(object.size).ok(),
                storage_class: Some(ObjectStorageClass::from_static("STANDARD")),
                checksum_type: (!algorithms.is_empty()).then(|| checksum_type(&object.checksums)),
                checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
                owner: owner.clone(),
                ..Object::default()
            }
        })
        .collect();
    (!list.is_empty()).then_some(list)
}

fn common(prefixes: Vec<String>, encode: &impl Fn(&str) -> String) -> Option<CommonPrefixList> {
    let list: CommonPrefixList =
        prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect();
    (!list.is_empty()).then_some(list)
}
