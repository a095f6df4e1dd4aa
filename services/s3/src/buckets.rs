//! Buckets.

use std::{ops::ControlFlow, sync::Arc};

use s3s::{S3Request, S3Response, S3Result, dto::*, s3_error};
use tidemill_platform::{Cx, page};
use tidemill_store::Batch;

use crate::{
    errors,
    objects::{refuse, timestamp},
    state::{BUCKETS, Bucket, BucketRow, OBJECTS, S3},
};

pub async fn create_bucket(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let input = request.input;
    refuse(&[
        ("buckets with object lock", input.object_lock_enabled_for_bucket == Some(true)),
        (
            "buckets with a canned ACL other than private",
            input.acl.as_ref().is_some_and(|acl| acl.as_str() != "private"),
        ),
    ])?;
    let configuration = input.create_bucket_configuration.unwrap_or_default();
    refuse(&[("directory buckets", configuration.bucket.is_some() || configuration.location.is_some())])?;
    let constraint = configuration.location_constraint.map(|c| c.as_str().to_string());
    let region = match (constraint, cx.region()) {
        (None, "us-east-1") => "us-east-1".to_string(),
        (None, _) => {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."
            ));
        }
        (Some(region), "us-east-1") if region == "us-east-1" => {
            return Err(s3_error!(
                InvalidLocationConstraint,
                "The specified location-constraint is not valid"
            ));
        }
        (Some(region), asked) if region != asked && asked != "us-east-1" => {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
                region
            ));
        }
        (Some(region), _) => region,
    };
    s3.create_bucket(cx, &input.bucket, region, Default::default()).await?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) }))
}

impl S3 {
    /// Makes a bucket. Making one's own again succeeds in us-east-1 only, as S3 has it.
    pub async fn create_bucket(
        &self,
        cx: &Cx,
        name: &str,
        region: String,
        tags: std::collections::BTreeMap<String, String>,
    ) -> S3Result<()> {
        check_name(name)?;
        let row = BucketRow {
            id: cx.random().hex::<8>(),
            name: name.into(),
            account: cx.account().into(),
            region,
            created_at: cx.now().millis(),
            notifications: Vec::new(),
            tags,
        };
        let ticket = {
            let mut buckets = self.buckets.write();
            if let Some(there) = buckets.get(name) {
                let there = there.row.read();
                return match (there.account == cx.account(), there.region.as_str()) {
                    (true, "us-east-1") if row.region == "us-east-1" => Ok(()),
                    (true, _) => Err(s3_error!(
                        BucketAlreadyOwnedByYou,
                        "Your previous request to create the named bucket succeeded and you already own it."
                    )),
                    (false, _) => Err(s3_error!(
                        BucketAlreadyExists,
                        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
                    )),
                };
            }
            let bucket = Bucket::new(row);
            let ticket = self.save(&bucket, &bucket.row.read())?;
            buckets.insert(name.to_string(), Arc::new(bucket));
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub fn save(&self, bucket: &Bucket, row: &BucketRow) -> S3Result<tidemill_store::Ticket> {
        let mut batch = Batch::new(bucket.partition);
        batch.put(&BUCKETS, &row.name, row);
        self.submit(batch)
    }

    /// Changes what is kept of a bucket and answers when that is durable.
    pub async fn change_bucket(&self, bucket: &Bucket, change: impl FnOnce(&mut BucketRow)) -> S3Result<()> {
        let ticket = {
            let mut row = bucket.row.write();
            let mut next = row.clone();
            change(&mut next);
            let ticket = self.save(bucket, &next)?;
            *row = next;
            ticket
        };
        ticket.await;
        Ok(())
    }

    pub async fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let bucket = self.bucket(name)?;
        let ticket = {
            let mut gone = bucket.gate.write();
            let id = bucket.row.read().id.clone();
            let mut holds = false;
            let range = (id.clone(), String::new())..(format!("{id}\u{1}"), String::new());
            let scanned = self.platform.store.scan(&OBJECTS, bucket.partition, range, |_, _| {
                holds = true;
                ControlFlow::Break(())
            });
            scanned.map_err(errors::damaged)?;
            if holds {
                return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
            }
            let mut batch = Batch::new(bucket.partition);
            batch.delete(&BUCKETS, &name.to_string());
            self.drop_uploads(&mut batch, &bucket)?;
            let ticket = self.submit(batch)?;
            gone.0 = true;
            self.buckets.write().remove(name);
            ticket
        };
        ticket.await;
        Ok(())
    }
}

pub async fn delete_bucket(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    s3.delete_bucket(&request.input.bucket).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub async fn head_bucket(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    let region = bucket.row.read().region.clone();
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(region), ..HeadBucketOutput::default() }))
}

pub async fn get_bucket_location(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    let region = bucket.row.read().region.clone();
    // us-east-1 is printed as nothing.
    let constraint = (region != "us-east-1").then(|| BucketLocationConstraint::from(region));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: constraint }))
}

pub async fn list_buckets(
    s3: &Arc<S3>,
    cx: &Cx,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let input = request.input;
    let prefix = input.prefix.clone().unwrap_or_default();
    let mut mine: Vec<s3s::dto::Bucket> = Vec::new();
    for bucket in s3.buckets.read().values() {
        let row = bucket.row.read();
        let chosen = row.account == cx.account()
            && row.name.starts_with(&prefix)
            && input.bucket_region.as_ref().is_none_or(|r| *r == row.region);
        if chosen {
            mine.push(s3s::dto::Bucket {
                name: Some(row.name.clone()),
                creation_date: Some(timestamp(row.created_at)),
                bucket_region: input.max_buckets.map(|_| row.region.clone()),
            });
        }
    }
    mine.sort_by(|a, b| a.name.cmp(&b.name));
    let limit = usize::try_from(input.max_buckets.unwrap_or(10_000)).unwrap_or(10_000);
    let page = page::page(
        mine,
        |bucket| bucket.name.clone().unwrap_or_default(),
        input.continuation_token.as_deref(),
        limit,
    );
    let page =
        page.ok_or_else(|| errors::invalid_argument("The continuation token provided is incorrect"))?;
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(page.items),
        continuation_token: page.next_token,
        owner: Some(owner(cx.account())),
        prefix: input.prefix,
    }))
}

pub async fn get_bucket_versioning(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    s3.bucket(&request.input.bucket)?;
    // Never enabled: S3 answers an empty configuration.
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

pub async fn put_bucket_tagging(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    let tags =
        request.input.tagging.tag_set.into_iter().filter_map(|tag| Some((tag.key?, tag.value?))).collect();
    s3.change_bucket(&bucket, |row| row.tags = tags).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub async fn get_bucket_tagging(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    let tags = bucket.row.read().tags.clone();
    if tags.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    }
    let tag_set = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
}

pub async fn delete_bucket_tagging(
    s3: &Arc<S3>,
    _: &Cx,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let bucket = s3.bucket(&request.input.bucket)?;
    s3.change_bucket(&bucket, |row| row.tags.clear()).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

/// The canonical user id of an account: 64 hex digits, always the same.
pub fn canonical_id(account: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(account))
}

pub fn owner(account: &str) -> Owner {
    Owner { display_name: None, id: Some(canonical_id(account)) }
}

/// 3 to 63 of `a-z0-9.-`, beginning and ending with a letter or digit, no IPv4 address. Source: "Bucket naming rules".
fn check_name(name: &str) -> S3Result<()> {
    let known = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let fine =
        known && (3..=63).contains(&name.len()) && edge(name.bytes().next()) && edge(name.bytes().last());
    let address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if fine && !address && !name.contains("..") && !name.starts_with("xn--") && !name.ends_with("-s3alias") {
        return Ok(());
    }
    Err(s3_error!(InvalidBucketName, "The specified bucket is not valid."))
}
