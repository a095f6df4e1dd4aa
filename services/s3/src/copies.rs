//! Copies: the new object shares the pieces of the old.

use std::sync::Arc;

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use tidemill_platform::Cx;

use crate::{
    conditions::{Conditions, check_read},
    errors,
    objects::{Write, check_key, check_metadata, checksum_type, parse_tags, refuse, timestamp},
    state::{Headers, ObjectRow, S3},
};

/// A copy in one request may be this large (S3's limit).
const MOST: u64 = 5 << 30;

pub async fn copy_object(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    refuse(&[
        (
            "CopyObject with customer-provided encryption keys",
            input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some(),
        ),
        (
            "CopyObject with KMS encryption",
            input.server_side_encryption.as_ref().is_some_and(|sse| sse.as_str() != "AES256"),
        ),
        ("CopyObject with object lock", input.object_lock_mode.is_some()),
        ("CopyObject to another checksum algorithm", input.checksum_algorithm.is_some()),
    ])?;
    check_key(&input.key)?;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let there = read_source(s3, from_bucket, from_key).await?;
    let conditions = Conditions {
        if_match: input.copy_source_if_match.as_ref(),
        if_none_match: input.copy_source_if_none_match.as_ref(),
        if_modified_since: input.copy_source_if_modified_since.as_ref(),
        if_unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    };
    // A copy never answers 304: what a read would call unmodified fails it.
    check_read(&there, &conditions).map_err(|_| {
        s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
    })?;
    if there.size > MOST {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
        ));
    }
    let replaces = input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
    let same = from_bucket == input.bucket && from_key == input.key;
    if same
        && !replaces
        && input.website_redirect_location.is_none()
        && input.storage_class.is_none()
        && input.server_side_encryption.is_none()
    {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    let mut object = ObjectRow { modified_at: cx.now().millis(), ..there };
    if replaces {
        let metadata = input.metadata.unwrap_or_default();
        check_metadata(&metadata)?;
        object.metadata = metadata.into_iter().collect();
        object.headers = Headers {
            content_type: input.content_type.or_else(|| Some("binary/octet-stream".into())),
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            website_redirect: input.website_redirect_location,
            expires: input.expires.map(|at| time::OffsetDateTime::from(at).unix_timestamp() * 1000),
        };
    }
    if input.tagging_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE") {
        object.tags = parse_tags(input.tagging.as_deref())?;
    }
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_at)),
        checksum_type: Some(checksum_type(&object.checksums)),
        checksum_crc32: object.checksums.crc32.clone(),
        checksum_crc32c: object.checksums.crc32c.clone(),
        checksum_crc64nvme: object.checksums.crc64nvme.clone(),
        checksum_sha1: object.checksums.sha1.clone(),
        checksum_sha256: object.checksums.sha256.clone(),
    };
    let bucket = s3.bucket(&input.bucket)?;
    s3.write(
        cx,
        &bucket,
        Write { key: &input.key, object, received: None, event: "ObjectCreated:Copy" },
        (None, None),
    )
    .await?;
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..CopyObjectOutput::default()
    }))
}

/// Bucket and key of a copy source.
pub fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            refuse(&[("copying versions of objects", version_id.as_deref().is_some_and(|v| v != "null"))])?;
            Ok((bucket, key))
        }
        _ => Err(errors::not_implemented("copying from access points")),
    }
}

pub async fn read_source(s3: &S3, bucket: &str, key: &str) -> S3Result<ObjectRow> {
    let bucket = s3.bucket(bucket)?;
    s3.find(&bucket, key).await?.ok_or_else(errors::no_such_key)
}
