"""S3: buckets, objects, listings, copies, multipart uploads, notifications."""

import pytest
import requests_free as http
from support import refused


@pytest.fixture
def bucket(server, name):
    server.client("s3").create_bucket(Bucket=name)
    return name


def test_objects_come_back_whole_and_in_parts(server, bucket):
    s3 = server.client("s3")
    body = bytes(range(256)) * 40_000
    put = s3.put_object(Bucket=bucket, Key="a b/ü.bin", Body=body, ContentType="image/png", Metadata={"colour": "blue"})
    assert put["ServerSideEncryption"] == "AES256"
    got = s3.get_object(Bucket=bucket, Key="a b/ü.bin")
    assert got["Body"].read() == body and got["ContentType"] == "image/png" and got["Metadata"] == {"colour": "blue"}
    part = s3.get_object(Bucket=bucket, Key="a b/ü.bin", Range="bytes=5000000-5000009")
    assert part["Body"].read() == body[5_000_000:5_000_010]
    assert part["ContentRange"] == f"bytes 5000000-5000009/{len(body)}" and part["ResponseMetadata"]["HTTPStatusCode"] == 206
    head = s3.head_object(Bucket=bucket, Key="a b/ü.bin")
    assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"]


def test_what_is_not_there_is_named(server, bucket):
    s3 = server.client("s3")
    with refused("NoSuchKey", 404) as info:
        s3.get_object(Bucket=bucket, Key="nope")
    assert info.value.response["Error"]["Key"] == "nope"
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket=bucket + "x")
    with refused("404"):
        s3.head_object(Bucket=bucket, Key="nope")
    with refused("NotImplemented", 501):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def test_conditions(server, bucket):
    s3 = server.client("s3")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    with refused("304"):
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="k", IfMatch='"00000000000000000000000000000000"')


def test_listings_page_and_group(server, bucket):
    s3 = server.client("s3")
    for key in ["a/1", "a/2", "b/1", "c", "d"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    grouped = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in grouped["CommonPrefixes"]] == ["a/", "b/"]
    assert [o["Key"] for o in grouped["Contents"]] == ["c", "d"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [o["Key"] for page in pages for o in page["Contents"]] == ["a/1", "a/2", "b/1", "c", "d"]
    first = s3.list_objects(Bucket=bucket, MaxKeys=3)
    assert first["IsTruncated"] and [o["Key"] for o in first["Contents"]] == ["a/1", "a/2", "b/1"]


def test_copies_and_deletes(server, bucket):
    s3 = server.client("s3")
    s3.put_object(Bucket=bucket, Key="from", Body=b"body")
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    s3.delete_object(Bucket=bucket, Key="from")
    assert s3.get_object(Bucket=bucket, Key="to")["Body"].read() == b"body"
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "to"}, {"Key": "never"}]})
    assert sorted(o["Key"] for o in gone["Deleted"]) == ["never", "to"]
    s3.delete_bucket(Bucket=bucket)


def test_multipart_uploads(server, bucket):
    s3 = server.client("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    bodies = [b"a" * (5 << 20), b"b" * 100]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=n, Body=body)["ETag"]}
             for n, body in enumerate(bodies, 1)]
    with refused("InvalidPart", 400):
        s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload,
                                     MultipartUpload={"Parts": [{"PartNumber": 3, "ETag": parts[0]["ETag"]}]})
    done = s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"')
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(bodies)
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)


def test_presigned_urls_and_the_cli(server, bucket, tmp_path):
    s3 = server.client("s3")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "signed"})
    assert http.put(url, b"through a url") == 200
    file = tmp_path / "file.txt"
    server.cli("s3", "cp", f"s3://{bucket}/signed", str(file))
    assert file.read_bytes() == b"through a url"


def test_notifications_need_a_target_that_exists(server, bucket):
    configuration = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:nobody", "Events": ["s3:ObjectCreated:*"]}]}
    with refused("InvalidArgument", 400):
        server.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
