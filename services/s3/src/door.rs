//! Objects for callers inside the platform: function code, templates, what Firehose writes.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use s3s::dto::StreamingBlob;
use tidemill_platform::{
    Cx, Fault,
    doors::{Object, Objects},
};

use crate::{
    S3,
    checksums::Hasher,
    errors,
    objects::Write,
    state::{Headers, ObjectRow},
};

impl Objects for S3 {
    fn get<'a>(
        &'a self,
        _: &'a Cx,
        bucket: &'a str,
        key: &'a str,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Object, Fault>> {
        async move {
            if version.is_some_and(|v| v != "null") {
                return Err(Fault::not_implemented("reading versions of objects"));
            }
            let read = async {
                let bucket = self.bucket(bucket)?;
                let object = self.find(&bucket, key).await?.ok_or_else(errors::no_such_key)?;
                Ok(Object { body: self.whole(&object.body)?, etag: object.etag, version_id: None })
            };
            read.await.map_err(|error| errors::to_fault(&error))
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        cx: &'a Cx,
        bucket: &'a str,
        key: &'a str,
        body: Bytes,
        content_type: &'a str,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let write = async {
                let bucket = self.bucket(bucket)?;
                let mut hasher = Hasher::new(&[]);
                let received =
                    self.receive(Some(StreamingBlob::from(s3s::Body::from(body))), &mut hasher).await?;
                let (md5, checksums) = hasher.finish();
                let object = ObjectRow {
                    size: received.size,
                    etag: hex::encode(md5),
                    modified_at: cx.now().millis(),
                    body: received.body.clone(),
                    headers: Headers { content_type: Some(content_type.to_string()), ..Headers::default() },
                    checksums,
                    ..ObjectRow::default()
                };
                let write = Write { key, object, received: Some(&received), event: "ObjectCreated:Put" };
                self.write(cx, &bucket, write, (None, None)).await
            };
            write.await.map_err(|error: s3s::S3Error| errors::to_fault(&error))
        }
        .boxed()
    }

    fn make_bucket<'a>(&'a self, cx: &'a Cx, bucket: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match self.create_bucket(cx, bucket, cx.region().to_string(), Default::default()).await {
                Err(error) if error.code().as_str() == "BucketAlreadyOwnedByYou" => Ok(()),
                other => other.map_err(|error| errors::to_fault(&error)),
            }
        }
        .boxed()
    }
}
