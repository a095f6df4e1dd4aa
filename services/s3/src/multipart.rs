//! Multipart uploads. Parts are pieces written once; completing an upload lists them in an object.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, page};
use tidemill_store::{Batch, Table};

use crate::{
    bodies::Body,
    buckets::owner,
    checksums::{Checksums, Hasher, check_md5},
    copies::{read_source, source},
    errors,
    objects::{
        Write, check_key, check_metadata, parse_tags, refuse, timestamp, trailer_algorithms, with_trailers,
    },
    state::{Bucket, Headers, ObjectRow, S3},
};

/// (bucket id, (key, upload id))
type UploadKey = (String, (String, String));
/// In the bucket's partition.
const UPLOADS: Table<UploadKey, UploadRow> = Table::new("s3.upload");
/// (upload id, part number) → part. In the bucket's partition.
const PARTS: Table<(String, u64), PartRow> = Table::new("s3.part");

/// Every part but the last must be at least this large.
const LEAST_PART: u64 = 5 << 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct UploadRow {
    started_at: i64,
    headers: Headers,
    metadata: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    checksum_algorithm: Option<String>,
    checksum_type: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartRow {
    size: u64,
    /// MD5 in hex.
    etag: String,
    modified_at: i64,
    body: Body,
    checksums: Checksums,
}

pub async fn create_multipart_upload(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    refuse(&[
        ("uploads with customer-provided encryption keys", input.sse_customer_algorithm.is_some()),
        (
            "uploads with KMS encryption",
            input.server_side_encryption.as_ref().is_some_and(|sse| sse.as_str() != "AES256"),
        ),
        ("uploads with object lock", input.object_lock_mode.is_some()),
    ])?;
    check_key(&input.key)?;
    let bucket = s3.bucket(&input.bucket)?;
    let metadata = input.metadata.unwrap_or_default();
    check_metadata(&metadata)?;
    let upload = UploadRow {
        started_at: cx.now().millis(),
        headers: Headers {
            content_type: input.content_type.or_else(|| Some("binary/octet-stream".into())),
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            website_redirect: input.website_redirect_location,
            expires: input.expires.map(|at| time::OffsetDateTime::from(at).unix_timestamp() * 1000),
        },
        metadata: metadata.into_iter().collect(),
        tags: parse_tags(input.tagging.as_deref())?,
        checksum_algorithm: input.checksum_algorithm.as_ref().map(|a| a.as_str().to_string()),
        checksum_type: input.checksum_type.as_ref().map(|t| t.as_str().to_string()),
    };
    let upload_id = cx.random().hex::<32>();
    let mut batch = Batch::new(bucket.partition);
    batch.put(&UPLOADS, &upload_key(&bucket, &input.key, &upload_id), &upload);
    s3.submit(batch)?.await;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload_id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn upload_key(bucket: &Bucket, key: &str, upload_id: &str) -> (String, (String, String)) {
    (bucket.row.read().id.clone(), (key.to_string(), upload_id.to_string()))
}

impl S3 {
    fn upload(&self, bucket: &Bucket, key: &str, upload_id: &str) -> S3Result<UploadRow> {
        let found = self
            .platform
            .store
            .get(&UPLOADS, bucket.partition, &upload_key(bucket, key, upload_id))
            .map_err(errors::damaged)?;
        found.map(|found| found.value).ok_or_else(errors::no_such_upload)
    }

    fn parts(&self, bucket: &Bucket, upload_id: &str) -> S3Result<BTreeMap<u64, PartRow>> {
        let mut parts = BTreeMap::new();
        let range = (upload_id.to_string(), 0)..=(upload_id.to_string(), u64::MAX);
        let scanned = self.platform.store.scan(&PARTS, bucket.partition, range, |(_, number), part| {
            parts.insert(number, part);
            ControlFlow::Continue(())
        });
        scanned.map_err(errors::damaged)?;
        Ok(parts)
    }

    /// Forgets a bucket's uploads when the bucket goes.
    pub fn drop_uploads(&self, batch: &mut Batch, bucket: &Bucket) -> S3Result<()> {
        for (key, _) in self.uploads(bucket)? {
            let parts = self.parts(bucket, &key.1.1)?;
            self.forget_upload(batch, &key, parts.iter().map(|(number, part)| (*number, &part.body)))?;
        }
        Ok(())
    }

    fn uploads(&self, bucket: &Bucket) -> S3Result<Vec<(UploadKey, UploadRow)>> {
        let id = bucket.row.read().id.clone();
        let mut uploads = Vec::new();
        let range = (id.clone(), (String::new(), String::new()))
            ..(format!("{id}\u{1}"), (String::new(), String::new()));
        let scanned = self.platform.store.scan(&UPLOADS, bucket.partition, range, |key, upload| {
            uploads.push((key, upload));
            ControlFlow::Continue(())
        });
        scanned.map_err(errors::damaged)?;
        Ok(uploads)
    }

    fn forget_upload<'a>(
        &self,
        batch: &mut Batch,
        key: &(String, (String, String)),
        parts: impl Iterator<Item = (u64, &'a Body)>,
    ) -> S3Result<()> {
        batch.delete(&UPLOADS, key);
        for (number, body) in parts {
            batch.delete(&PARTS, &(key.1.1.clone(), number));
            self.release(batch, body)?;
        }
        Ok(())
    }

    /// Writes a part over one of the same number.
    async fn put_part(
        &self,
        bucket: &Bucket,
        key: &str,
        upload_id: &str,
        number: u64,
        part: PartRow,
        fill: impl FnOnce(&mut Batch) -> S3Result<()>,
    ) -> S3Result<()> {
        let ticket = {
            let _turn = self.lock_key(upload_id, &number.to_string());
            self.upload(bucket, key, upload_id)?;
            let place = (upload_id.to_string(), number);
            let there = self.platform.store.get(&PARTS, bucket.partition, &place).map_err(errors::damaged)?;
            let mut batch = Batch::new(bucket.partition);
            fill(&mut batch)?;
            if let Some(there) = there {
                self.release(&mut batch, &there.value.body)?;
            }
            batch.put(&PARTS, &place, &part);
            self.submit(batch)?
        };
        ticket.await;
        Ok(())
    }
}

fn number(part_number: i32) -> S3Result<u64> {
    match part_number {
        1..=10_000 => Ok(part_number.unsigned_abs().into()),
        _ => Err(errors::invalid_argument("Part number must be an integer between 1 and 10000, inclusive")),
    }
}

pub async fn upload_part(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let input = request.input;
    let number = number(input.part_number)?;
    let bucket = s3.bucket(&input.bucket)?;
    let upload = s3.upload(&bucket, &input.key, &input.upload_id)?;
    let mut announced = Checksums {
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
        composite: false,
    };
    let mut algorithms = announced.algorithms();
    algorithms.extend(upload.checksum_algorithm);
    algorithms.extend(trailer_algorithms(&request.headers));
    let mut hasher = Hasher::new(&algorithms);
    let received = s3.receive(input.body, &mut hasher).await?;
    let (md5, checksums) = hasher.finish();
    check_md5(&md5, input.content_md5.as_deref())?;
    if let Some(trailers) = request.extensions.get::<tidemill_platform::service::Trailers>() {
        announced = with_trailers(announced, trailers);
    }
    checksums.check(&announced)?;
    let part = PartRow {
        size: received.size,
        etag: hex::encode(md5),
        modified_at: cx.now().millis(),
        body: received.body.clone(),
        checksums: checksums.clone(),
    };
    let etag = part.etag.clone();
    s3.put_part(&bucket, &input.key, &input.upload_id, number, part, |batch| {
        s3.settle(batch, &received);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..UploadPartOutput::default()
    }))
}

pub async fn upload_part_copy(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let number = number(input.part_number)?;
    let bucket = s3.bucket(&input.bucket)?;
    let (from_bucket, from_key) = source(&input.copy_source)?;
    let there = read_source(s3, from_bucket, from_key).await?;
    let range = copy_range(input.copy_source_range.as_deref(), there.size)?;
    let stream = s3.stream(&there.body, range);
    let mut hasher = Hasher::new(&[]);
    let received = s3.receive(Some(stream), &mut hasher).await?;
    let (md5, checksums) = hasher.finish();
    let part = PartRow {
        size: received.size,
        etag: hex::encode(md5),
        modified_at: cx.now().millis(),
        body: received.body.clone(),
        checksums,
    };
    let result = CopyPartResult {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(timestamp(part.modified_at)),
        ..CopyPartResult::default()
    };
    s3.put_part(&bucket, &input.key, &input.upload_id, number, part, |batch| {
        s3.settle(batch, &received);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..UploadPartCopyOutput::default()
    }))
}

/// `bytes=first-last`, both given and within the source.
fn copy_range(header: Option<&str>, size: u64) -> S3Result<std::ops::Range<u64>> {
    let Some(header) = header else { return Ok(0..size) };
    let read = || {
        let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    };
    match read() {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some(_) => Err(errors::invalid_argument(format!(
            "Range specified is not valid for source object of size: {size}"
        ))),
        None => Err(errors::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

pub async fn complete_multipart_upload(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let upload = s3.upload(&bucket, &input.key, &input.upload_id)?;
    let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let there = s3.parts(&bucket, &input.upload_id)?;
    let chosen = choose(&listed, &there)?;
    let (etag, checksums) =
        combined(&chosen, upload.checksum_algorithm.as_deref(), upload.checksum_type.as_deref());
    let sizes: Vec<u64> = chosen.iter().map(|part| part.size).collect();
    if input.mpu_object_size.is_some_and(|size| u64::try_from(size).ok() != Some(sizes.iter().sum())) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed."
        ));
    }
    let object = ObjectRow {
        size: sizes.iter().sum(),
        etag: etag.clone(),
        modified_at: cx.now().millis(),
        body: Body(chosen.iter().flat_map(|part| part.body.0.clone()).collect()),
        headers: upload.headers,
        metadata: upload.metadata,
        tags: upload.tags,
        checksums: checksums.clone(),
        parts: sizes,
    };
    let kept: Vec<u64> = listed.iter().filter_map(|part| u64::try_from(part.part_number?).ok()).collect();
    let nothing = crate::bodies::Received { body: Body::default(), size: 0, pending: Vec::new() };
    let write = Write {
        key: &input.key,
        object,
        received: Some(&nothing),
        event: "ObjectCreated:CompleteMultipartUpload",
    };
    let key = upload_key(&bucket, &input.key, &input.upload_id);
    let done =
        s3.write_with(cx, &bucket, write, (input.if_match.as_ref(), input.if_none_match.as_ref()), |batch| {
            let left = there
                .iter()
                .filter(|(number, _)| !kept.contains(number))
                .map(|(number, part)| (*number, &part.body));
            s3.forget_upload(batch, &key, left)?;
            for number in &kept {
                batch.delete(&PARTS, &(input.upload_id.clone(), *number));
            }
            Ok(())
        });
    done.await?;
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("{}/{}/{}", cx.base_url(), input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(etag)),
        checksum_type: Some(ChecksumType::from_static(if checksums.composite {
            "COMPOSITE"
        } else {
            "FULL_OBJECT"
        })),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        server_side_encryption: Some(ServerSideEncryption::from_static("AES256")),
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// The listed parts, checked: in order, present with that ETag, large enough.
fn choose<'a>(listed: &[CompletedPart], there: &'a BTreeMap<u64, PartRow>) -> S3Result<Vec<&'a PartRow>> {
    if listed.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    let missing = || {
        s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
        )
    };
    let mut last = 0;
    let mut chosen = Vec::new();
    for part in listed {
        let number = part.part_number.and_then(|n| u64::try_from(n).ok()).ok_or_else(missing)?;
        if number <= last {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        last = number;
        let found = there.get(&number).ok_or_else(missing)?;
        if part.e_tag.as_ref().is_none_or(|etag| etag.value() != found.etag) {
            return Err(missing());
        }
        chosen.push(found);
    }
    let before_last = &chosen[..chosen.len() - 1];
    if before_last.iter().any(|part| part.size < LEAST_PART) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(chosen)
}

/// The ETag of an upload is the MD5 of its parts' MD5s with their number; composite checksums likewise.
fn combined(parts: &[&PartRow], algorithm: Option<&str>, kind: Option<&str>) -> (String, Checksums) {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.etag).unwrap_or_default());
    }
    let etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
    let full = kind == Some("FULL_OBJECT") || algorithm == Some("CRC64NVME") || algorithm.is_none();
    let mut checksums = Checksums { composite: !full, ..Checksums::default() };
    if full {
        // The checksum of the whole would need the whole read again; it is left out rather than guessed.
        return (etag, checksums);
    }
    let name = algorithm.unwrap_or_default().to_lowercase();
    let mut hasher = Hasher::new(&[name.to_uppercase()]);
    for part in parts {
        let value =
            part.checksums.each().into_iter().find(|(n, _)| *n == name).and_then(|(_, value)| value.clone());
        hasher.update(&BASE64_STANDARD.decode(value.unwrap_or_default()).unwrap_or_default());
    }
    let (_, of_parts) = hasher.finish();
    let suffix = |value: Option<String>| value.map(|value| format!("{value}-{}", parts.len()));
    checksums.crc32 = suffix(of_parts.crc32);
    checksums.crc32c = suffix(of_parts.crc32c);
    checksums.sha1 = suffix(of_parts.sha1);
    checksums.sha256 = suffix(of_parts.sha256);
    (etag, checksums)
}

pub async fn abort_multipart_upload(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let ticket = {
        s3.upload(&bucket, &input.key, &input.upload_id)?;
        let parts = s3.parts(&bucket, &input.upload_id)?;
        let mut batch = Batch::new(bucket.partition);
        s3.forget_upload(
            &mut batch,
            &upload_key(&bucket, &input.key, &input.upload_id),
            parts.iter().map(|(number, part)| (*number, &part.body)),
        )?;
        s3.submit(batch)?
    };
    ticket.await;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub async fn list_parts(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let bucket = s3.bucket(&input.bucket)?;
    let upload = s3.upload(&bucket, &input.key, &input.upload_id)?;
    let limit = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(1000).min(1000);
    let after = u64::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
    let all = s3.parts(&bucket, &input.upload_id)?;
    let mut rest = all.into_iter().filter(|(number, _)| *number > after);
    let page: Vec<(u64, PartRow)> = rest.by_ref().take(limit).collect();
    let truncated = rest.next().is_some();
    let last = page.last().map_or(0, |(number, _)| i32::try_from(*number).unwrap_or(0));
    let account = bucket.row.read().account.clone();
    let parts = page.into_iter().map(|(number, part)| Part {
        part_number: i32::try_from(number).ok(),
        last_modified: Some(timestamp(part.modified_at)),
        e_tag: Some(ETag::Strong(part.etag)),
        size: i64::try_from(part.size).ok(),
        checksum_crc32: part.checksums.crc32,
        checksum_crc32c: part.checksums.crc32c,
        checksum_crc64nvme: part.checksums.crc64nvme,
        checksum_sha1: part.checksums.sha1,
        checksum_sha256: part.checksums.sha256,
    });
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(i32::try_from(after).unwrap_or(0)),
        next_part_number_marker: Some(last),
        max_parts: i32::try_from(limit).ok(),
        is_truncated: Some(truncated),
        parts: Some(parts.collect()),
        owner: Some(owner(&account)),
        initiator: Some(Initiator { id: owner(&account).id, display_name: None }),
        storage_class: Some(StorageClass::from_static("STANDARD")),
        checksum_algorithm: upload.checksum_algorithm.map(ChecksumAlgorithm::from),
        checksum_type: upload.checksum_type.map(ChecksumType::from),
        ..ListPartsOutput::default()
    }))
}

pub async fn list_multipart_uploads(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    refuse(&[("ListMultipartUploads with a delimiter", input.delimiter.is_some())])?;
    let bucket = s3.bucket(&input.bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let limit = usize::try_from(input.max_uploads.unwrap_or(1000)).unwrap_or(1000).min(1000);
    let marker = input.key_marker.as_ref().map(|key| {
        page::encode(&format!("{key}\u{0}{}", input.upload_id_marker.as_deref().unwrap_or("\u{10FFFF}")))
    });
    let mine = s3.uploads(&bucket)?.into_iter().filter(|((_, (key, _)), _)| key.starts_with(&prefix));
    let page = page::page(mine, |((_, (key, id)), _)| format!("{key}\u{0}{id}"), marker.as_deref(), limit);
    let page = page.ok_or_else(|| errors::invalid_argument("Invalid key-marker"))?;
    let account = bucket.row.read().account.clone();
    let last = page.items.last().map(|((_, place), _)| place.clone()).filter(|_| page.next_token.is_some());
    let uploads = page.items.into_iter().map(|((_, (key, id)), upload)| MultipartUpload {
        key: Some(key),
        upload_id: Some(id),
        initiated: Some(timestamp(upload.started_at)),
        owner: Some(owner(&account)),
        initiator: Some(Initiator { id: owner(&account).id, display_name: None }),
        storage_class: Some(StorageClass::from_static("STANDARD")),
        checksum_algorithm: upload.checksum_algorithm.map(ChecksumAlgorithm::from),
        checksum_type: upload.checksum_type.map(ChecksumType::from),
    });
    Ok(S3Response::new(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        bucket: Some(input.bucket),
        prefix: input.prefix,
        key_marker: Some(input.key_marker.unwrap_or_default()),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        is_truncated: Some(last.is_some()),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: last.as_ref().map(|(key, _)| key.clone()),
        next_upload_id_marker: last.map(|(_, id)| id),
        ..ListMultipartUploadsOutput::default()
    }))
}
