//! The table: which function answers which operation. What is not here `s3s` answers with `NotImplemented`.

use std::sync::Arc;

use s3s::{S3Request, S3Response, S3Result, dto::*};
use tidemill_platform::Cx;

use crate::{S3, buckets, copies, errors, listing, multipart, notifications, objects};

/// The state behind `s3s`'s trait.
pub struct Adapter(pub Arc<S3>);

macro_rules! operations {
    ($($operation:ident($input:ident) -> $output:ident = $function:path;)*) => {
        #[async_trait::async_trait]
        impl s3s::S3 for Adapter {
            $(async fn $operation(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                let cx = context(&request.extensions)?;
                $function(&self.0, &cx, request).await
            })*
        }
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head_bucket;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list_buckets;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::get_bucket_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::get_bucket_versioning;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = buckets::put_bucket_tagging;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = buckets::get_bucket_tagging;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = buckets::delete_bucket_tagging;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput = notifications::put_bucket_notification_configuration;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = notifications::get_bucket_notification_configuration;
    put_object(PutObjectInput) -> PutObjectOutput = objects::put_object;
    get_object(GetObjectInput) -> GetObjectOutput = objects::get_object;
    head_object(HeadObjectInput) -> HeadObjectOutput = objects::head_object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = objects::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = objects::delete_objects;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copies::copy_object;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::list_objects_v2;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create_multipart_upload;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = multipart::upload_part_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete_multipart_upload;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort_multipart_upload;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list_multipart_uploads;
}

/// The request's context, put among its extensions by `http_service`.
fn context(extensions: &http::Extensions) -> S3Result<Cx> {
    extensions.get::<Cx>().cloned().ok_or_else(|| errors::internal("a request came without its context"))
}
