//! Objects: put, get, head, delete.

use std::sync::Arc;

use http::StatusCode;
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use tidemill_platform::Cx;
use tidemill_store::Batch;

use crate::{
    bodies::Received,
    checksums::{Checksums, Hasher, check_md5},
    conditions::{Conditions, check_read, check_write},
    errors,
    notifications::Happened,
    state::{Bucket, Headers, OBJECTS, ObjectRow, S3},
};

const DEFAULT_TYPE: &str = "binary/octet-stream";
/// User metadata may be this large in all (S3's limit).
const MOST_METADATA: usize = 2048;

pub async fn put_object(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let input = request.input;
    refuse(&[
        ("PutObject with customer-provided encryption keys", input.sse_customer_algorithm.is_some()),
        (
            "PutObject with KMS encryption",
            input.server_side_encryption.as_ref().is_some_and(|sse| sse.as_str() != "AES256"),
        ),
        (
            "PutObject with object lock",
            input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(),
        ),
        ("PutObject with write offsets", input.write_offset_bytes.is_some()),
        (
            "PutObject with a canned ACL other than private",
            input
                .acl
                .as_ref()
                .is_some_and(|acl| !matches!(acl.as_str(), "private" | "bucket-owner-full-control")),
        ),
    ])?;
    check_key(&input.key)?;
    let metadata = input.metadata.unwrap_or_default();
    check_metadata(&metadata)?;
    let bucket = s3.bucket(&input.bucket)?;
    let mut announced = Checksums {
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
        composite: false,
    };
    let trailers = request.extensions.get::<tidemill_platform::service::Trailers>().cloned();
    let mut algorithms = announced.algorithms();
    algorithms.extend(input.checksum_algorithm.map(|a| a.as_str().to_string()));
    algorithms.extend(trailer_algorithms(&request.headers));
    let mut hasher = Hasher::new(&algorithms);
    let received = s3.receive(input.body, &mut hasher).await?;
    let (md5, checksums) = hasher.finish();
    check_md5(&md5, input.content_md5.as_deref())?;
    if let Some(trailers) = &trailers {
        announced = with_trailers(announced, trailers);
    }
    checksums.check(&announced)?;
    let object = ObjectRow {
        size: received.size,
        etag: hex::encode(md5),
        modified_at: cx.now().millis(),
        body: received.body.clone(),
        headers: Headers {
            content_type: input.content_type.or_else(|| Some(DEFAULT_TYPE.into())),
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input
                .content_encoding
                .map(|list| without_chunked(&list))
                .filter(|list| !list.is_empty()),
            content_language: input.content_language,
            website_redirect: input.website_redirect_location,
            expires: input.expires.map(|at| time::OffsetDateTime::from(at).unix_timestamp() * 1000),
        },
        metadata: metadata.into_iter().collect(),
        tags: parse_tags(input.tagging.as_deref())?,
        checksums,
        parts: Vec::new(),
    };
    let output = PutObjectOutput {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        checksum_crc32: object.checksums.crc32.clone(),
        checksum_crc32c: object.checksums.crc32c.clone(),
        checksum_crc64nvme: object.checksums.crc64nvme.clone(),
        checksum_sha1: object.checksums.sha1.clone(),
        checksum_sha256: object.checksums.sha256.clone(),
        checksum_type: Some(ChecksumType::from_static("FULL_OBJECT")),
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..PutObjectOutput::default()
    };
    let conditions = (input.if_match.as_ref(), input.if_none_match.as_ref());
    let write = Write { key: &input.key, object, received: Some(&received), event: "ObjectCreated:Put" };
    s3.write(cx, &bucket, write, conditions).await?;
    Ok(S3Response::new(output))
}

/// An object about to replace what is there.
pub struct Write<'a> {
    pub key: &'a str,
    pub object: ObjectRow,
    /// Pieces to be written with it; `None` when it shares those of another.
    pub received: Option<&'a Received>,
    pub event: &'static str,
}

impl S3 {
    /// Decides, writes and tells: object, pieces and hand-overs are one batch. Answers when that is durable.
    pub async fn write(
        &self,
        cx: &Cx,
        bucket: &Bucket,
        write: Write<'_>,
        (if_match, if_none_match): (Option<&ETagCondition>, Option<&ETagCondition>),
    ) -> S3Result<()> {
        self.write_with(cx, bucket, write, (if_match, if_none_match), |_| Ok(())).await
    }

    /// As [`S3::write`], with more writes in the same batch.
    pub async fn write_with(
        &self,
        cx: &Cx,
        bucket: &Bucket,
        write: Write<'_>,
        (if_match, if_none_match): (Option<&ETagCondition>, Option<&ETagCondition>),
        also: impl FnOnce(&mut Batch) -> S3Result<()>,
    ) -> S3Result<()> {
        let ticket = {
            let gate = bucket.gate.read();
            if gate.0 {
                return Err(errors::no_such_bucket(""));
            }
            let id = bucket.row.read().id.clone();
            let _turn = self.lock_key(&id, write.key);
            let key = (id, write.key.to_string());
            let there = self
                .platform
                .store
                .get(&OBJECTS, bucket.partition, &key)
                .map_err(errors::damaged)?
                .map(|found| found.value);
            check_write(there.as_ref(), if_match, if_none_match)?;
            let mut batch = Batch::new(bucket.partition);
            match write.received {
                Some(received) => self.settle(&mut batch, received),
                None => self.share(&mut batch, &write.object.body)?,
            }
            if let Some(there) = &there {
                self.release(&mut batch, &there.body)?;
            }
            also(&mut batch)?;
            batch.put(&OBJECTS, &key, &write.object);
            let happened = Happened {
                event: write.event,
                key: write.key,
                size: Some(write.object.size),
                etag: Some(&write.object.etag),
            };
            let staged = self.notify(cx, bucket, &mut batch, &happened);
            let ticket = self.submit(batch)?;
            staged.into_iter().for_each(|row| row.release(ticket.seq()));
            ticket
        };
        ticket.await;
        Ok(())
    }

    /// Removes an object; removing what is not there succeeds.
    pub async fn remove(
        &self,
        cx: &Cx,
        bucket: &Bucket,
        name: &str,
        if_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let ticket = {
            let _gate = bucket.gate.read();
            let id = bucket.row.read().id.clone();
            let _turn = self.lock_key(&id, name);
            let key = (id, name.to_string());
            let there = self
                .platform
                .store
                .get(&OBJECTS, bucket.partition, &key)
                .map_err(errors::damaged)?
                .map(|found| found.value);
            check_write(there.as_ref(), if_match, None)?;
            let Some(there) = there else { return Ok(()) };
            let mut batch = Batch::new(bucket.partition);
            batch.delete(&OBJECTS, &key);
            self.release(&mut batch, &there.body)?;
            let happened = Happened { event: "ObjectRemoved:Delete", key: name, size: None, etag: None };
            let staged = self.notify(cx, bucket, &mut batch, &happened);
            let ticket = self.submit(batch)?;
            staged.into_iter().for_each(|row| row.release(ticket.seq()));
            ticket
        };
        ticket.await;
        Ok(())
    }
}

pub async fn get_object(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    refuse(&[
        ("reading versions of objects", input.version_id.as_ref().is_some_and(|v| v != "null")),
        ("customer-provided encryption keys", input.sse_customer_algorithm.is_some()),
    ])?;
    let bucket = s3.bucket(&input.bucket)?;
    let object = s3.find(&bucket, &input.key).await?.ok_or_else(errors::no_such_key)?;
    let conditions = Conditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    };
    check_read(&object, &conditions)?;
    let wanted = wanted_range(&object, input.range.as_ref(), input.part_number)?;
    let range = wanted.clone().unwrap_or(0..object.size);
    let with_checksums =
        input.checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == "ENABLED") && wanted.is_none();
    let shown = if with_checksums { object.checksums.clone() } else { Checksums::default() };
    let headers = object.headers.clone();
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".into()),
        body: Some(s3.stream(&object.body, range.clone())),
        content_length: i64::try_from(range.end - range.start).ok(),
        content_range: wanted
            .as_ref()
            .map(|r| format!("bytes {}-{}/{}", r.start, r.end.saturating_sub(1), object.size)),
        content_type: input.response_content_type.or(headers.content_type),
        cache_control: input.response_cache_control.or(headers.cache_control),
        content_disposition: input.response_content_disposition.or(headers.content_disposition),
        content_encoding: input.response_content_encoding.or(headers.content_encoding),
        content_language: input.response_content_language.or(headers.content_language),
        expires: input.response_expires.or(headers.expires.map(timestamp)),
        website_redirect_location: headers.website_redirect,
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified_at)),
        metadata: Some(object.metadata.clone().into_iter().collect()),
        parts_count: parts_count(&object, input.part_number),
        tag_count: (!object.tags.is_empty()).then(|| i32::try_from(object.tags.len()).unwrap_or(i32::MAX)),
        checksum_type: with_checksums.then(|| checksum_type(&object.checksums)),
        checksum_crc32: shown.crc32,
        checksum_crc32c: shown.crc32c,
        checksum_crc64nvme: shown.crc64nvme,
        checksum_sha1: shown.sha1,
        checksum_sha256: shown.sha256,
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..GetObjectOutput::default()
    };
    let mut response = S3Response::new(output);
    if wanted.is_some() {
        response.status = Some(StatusCode::PARTIAL_CONTENT);
    }
    Ok(response)
}

pub async fn head_object(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input.clone();
    let read = GetObjectInput {
        bucket: input.bucket,
        checksum_mode: input.checksum_mode,
        expected_bucket_owner: None,
        if_match: input.if_match,
        if_modified_since: input.if_modified_since,
        if_none_match: input.if_none_match,
        if_unmodified_since: input.if_unmodified_since,
        key: input.key,
        part_number: input.part_number,
        range: input.range,
        request_payer: None,
        response_cache_control: input.response_cache_control,
        response_content_disposition: input.response_content_disposition,
        response_content_encoding: input.response_content_encoding,
        response_content_language: input.response_content_language,
        response_content_type: input.response_content_type,
        response_expires: input.response_expires,
        sse_customer_algorithm: input.sse_customer_algorithm,
        sse_customer_key: None,
        sse_customer_key_md5: None,
        version_id: input.version_id,
    };
    let response = get_object(s3, cx, request.map_input(|_| read)).await?;
    let got = response.output;
    let output = HeadObjectOutput {
        accept_ranges: got.accept_ranges,
        content_length: got.content_length,
        content_range: got.content_range,
        content_type: got.content_type,
        cache_control: got.cache_control,
        content_disposition: got.content_disposition,
        content_encoding: got.content_encoding,
        content_language: got.content_language,
        expires: got.expires,
        website_redirect_location: got.website_redirect_location,
        e_tag: got.e_tag,
        last_modified: got.last_modified,
        metadata: got.metadata,
        parts_count: got.parts_count,
        checksum_type: got.checksum_type,
        checksum_crc32: got.checksum_crc32,
        checksum_crc32c: got.checksum_crc32c,
        checksum_crc64nvme: got.checksum_crc64nvme,
        checksum_sha1: got.checksum_sha1,
        checksum_sha256: got.checksum_sha256,
        server_side_encryption: got.server_side_encryption,
        ..HeadObjectOutput::default()
    };
    let mut answer = S3Response::new(output);
    answer.status = response.status;
    Ok(answer)
}

pub async fn delete_object(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    refuse(&[
        ("deleting versions of objects", input.version_id.as_ref().is_some_and(|v| v != "null")),
        ("DeleteObject with MFA", input.mfa.is_some()),
    ])?;
    let bucket = s3.bucket(&input.bucket)?;
    s3.remove(cx, &bucket, &input.key, input.if_match.as_ref()).await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub async fn delete_objects(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    if input.delete.objects.len() > 1000 || input.delete.objects.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    let quiet = input.delete.quiet == Some(true);
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for object in input.delete.objects {
        let version = object.version_id.filter(|v| v != "null");
        let outcome = match version {
            Some(_) => Err(errors::not_implemented("deleting versions of objects")),
            None => s3.remove(cx, &bucket, &object.key, None).await,
        };
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() }),
            Err(error) => failed.push(Error {
                code: Some(error.code().as_str().to_string()),
                key: Some(object.key),
                message: error.message().map(str::to_string),
                version_id: None,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!deleted.is_empty()).then_some(deleted),
        errors: (!failed.is_empty()).then_some(failed),
        ..DeleteObjectsOutput::default()
    }))
}

/// The bytes asked for, by range or part; `None` for all.
fn wanted_range(
    object: &ObjectRow,
    range: Option<&Range>,
    part: Option<i32>,
) -> S3Result<Option<std::ops::Range<u64>>> {
    let unsatisfiable = || s3_error!(InvalidRange, "The requested range is not satisfiable");
    if let Some(number) = part {
        if range.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            ));
        }
        let sizes = if object.parts.is_empty() {
            std::slice::from_ref(&object.size)
        } else {
            object.parts.as_slice()
        };
        let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1)).filter(|at| *at < sizes.len());
        let at = at.ok_or_else(|| {
            errors::custom("InvalidPartNumber", 416, "The requested partnumber is not satisfiable")
        })?;
        let begins: u64 = sizes[..at].iter().sum();
        return Ok(Some(begins..begins + sizes[at]));
    }
    match range {
        Some(range) => range.check(object.size).map(Some).map_err(|_| unsatisfiable()),
        None => Ok(None),
    }
}

fn parts_count(object: &ObjectRow, part: Option<i32>) -> Option<i32> {
    part.filter(|_| !object.parts.is_empty()).and_then(|_| i32::try_from(object.parts.len()).ok())
}

pub fn checksum_type(checksums: &Checksums) -> ChecksumType {
    ChecksumType::from_static(if checksums.composite { "COMPOSITE" } else { "FULL_OBJECT" })
}

pub fn timestamp(millis: i64) -> Timestamp {
    // S3 prints whole seconds in headers; listings show milliseconds.
    let nanos = i128::from(millis) * 1_000_000;
    Timestamp::from(
        time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH),
    )
}

pub fn refuse(asked: &[(&str, bool)]) -> S3Result<()> {
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(errors::not_implemented(what)),
        None => Ok(()),
    }
}

pub fn check_key(key: &str) -> S3Result<()> {
    if key.len() > 1024 { Err(s3_error!(KeyTooLongError, "Your key is too long")) } else { Ok(()) }
}

pub fn check_metadata(metadata: &Metadata) -> S3Result<()> {
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_METADATA {
        Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"))
    } else {
        Ok(())
    }
}

/// `a=1&b=2` of the tagging header: at most ten.
pub fn parse_tags(header: Option<&str>) -> S3Result<std::collections::BTreeMap<String, String>> {
    let mut tags = std::collections::BTreeMap::new();
    for pair in header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .map(|t| t.into_owned())
        };
        let (Ok(name), Ok(value)) = (decode(name), decode(value)) else {
            return Err(errors::invalid_argument(
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            ));
        };
        if tags.insert(name, value).is_some() {
            return Err(errors::invalid_argument(
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            ));
        }
    }
    if tags.len() > 10 {
        Err(errors::custom("BadRequest", 400, "Object tags cannot be greater than 10"))
    } else {
        Ok(tags)
    }
}

/// `x-amz-trailer: x-amz-checksum-crc32` announces a checksum that follows the body.
pub fn trailer_algorithms(headers: &http::HeaderMap) -> Vec<String> {
    let announced = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).unwrap_or_default();
    announced
        .split(',')
        .filter_map(|name| name.trim().strip_prefix("x-amz-checksum-").map(str::to_uppercase))
        .collect()
}

/// The checksums that came after the body.
pub fn with_trailers(mut announced: Checksums, trailers: &tidemill_platform::service::Trailers) -> Checksums {
    let Some(headers) = trailers.get() else { return announced };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    announced.crc32 = announced.crc32.or_else(|| text("x-amz-checksum-crc32"));
    announced.crc32c = announced.crc32c.or_else(|| text("x-amz-checksum-crc32c"));
    announced.crc64nvme = announced.crc64nvme.or_else(|| text("x-amz-checksum-crc64nvme"));
    announced.sha1 = announced.sha1.or_else(|| text("x-amz-checksum-sha1"));
    announced.sha256 = announced.sha256.or_else(|| text("x-amz-checksum-sha256"));
    announced
}

/// `aws-chunked` says how the body came, not what it is.
fn without_chunked(encoding: &str) -> String {
    encoding
        .split(',')
        .map(str::trim)
        .filter(|part| !part.eq_ignore_ascii_case("aws-chunked"))
        .collect::<Vec<_>>()
        .join(",")
}
