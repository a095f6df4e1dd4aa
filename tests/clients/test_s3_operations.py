"""S3's operations one by one: buckets, reading, listing, copying, parts, tags, errors included."""

import base64
import hashlib
import zlib

import pytest
from support import refused

MEGABYTE = 1 << 20


def sentence(info):
    return info.value.response["Error"]["Message"]


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3, name):
    s3.create_bucket(Bucket=name)
    return name


def body(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def test_buckets(s3, bucket):
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    assert s3.list_buckets(Prefix=bucket)["Buckets"][0]["Name"] == bucket
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)
    with refused("404", 404):
        s3.head_bucket(Bucket=bucket)
    with refused("NoSuchBucket", 404) as info:
        s3.delete_bucket(Bucket=bucket)
    assert sentence(info) == "The specified bucket does not exist" and info.value.response["Error"]["BucketName"] == bucket


def test_a_bucket_made_twice(server, s3, bucket):
    # In us-east-1 the owner's second creation succeeds; everybody else's does not.
    s3.create_bucket(Bucket=bucket)
    with refused("BucketAlreadyExists", 409):
        server.client("s3", key="123456789012").create_bucket(Bucket=bucket)


@pytest.mark.parametrize("wrong", ["ab", "UPPER-case", "with_underscore", "-dash", "dot..dot", "192.168.0.1", "x" * 64])
def test_names_of_buckets_are_checked(s3, wrong):
    with refused("InvalidBucketName", 400) as info:
        # The client's own check lets these through as paths.
        s3.create_bucket(Bucket=wrong)
    assert sentence(info) == "The specified bucket is not valid."


def test_tags_of_buckets(s3, bucket):
    with refused("NoSuchTagSet", 404) as info:
        s3.get_bucket_tagging(Bucket=bucket)
    assert sentence(info) == "The TagSet does not exist"
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "a"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "a"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    with refused("NoSuchTagSet", 404):
        s3.get_bucket_tagging(Bucket=bucket)


@pytest.mark.parametrize(("asked", "start", "end"), [("bytes=0-0", 0, 0), ("bytes=5-9", 5, 9), ("bytes=90-", 90, 99), ("bytes=-10", 90, 99), ("bytes=95-900", 95, 99), ("bytes=-900", 0, 99)])
def test_ranges(s3, bucket, asked, start, end):
    whole = bytes(range(100))
    s3.put_object(Bucket=bucket, Key="k", Body=whole)
    got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ContentRange"]) == (206, f"bytes {start}-{end}/100")
    assert got["Body"].read() == whole[start:end + 1] and got["ContentLength"] == end + 1 - start


def test_ranges_that_cannot_be(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    with refused("InvalidRange", 416) as info:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-20")
    assert sentence(info) == "The requested range is not satisfiable"
    for ignored in ["bytes=5-2", "lines=1-2", "bytes=a-b"]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=ignored)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["Body"].read() == b"0123456789", ignored


def test_what_describes_an_object_comes_back(s3, bucket):
    told = {"ContentType": "text/x", "CacheControl": "no-cache", "ContentDisposition": "inline", "ContentEncoding": "gzip", "ContentLanguage": "de", "Metadata": {"a": "1", "b-c": "2"}}
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **told)
    assert put["ETag"] == f'"{hashlib.md5(b"x").hexdigest()}"'
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {member: head[member] for member in told} == told
    assert s3.put_object(Bucket=bucket, Key="plain", Body=b"x") and s3.head_object(Bucket=bucket, Key="plain")["ContentType"] == "binary/octet-stream"
    shown = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/plain", ResponseCacheControl="max-age=1")
    assert (shown["ContentType"], shown["CacheControl"]) == ("text/plain", "max-age=1")
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"long": "x" * 2100})


def test_checksums_are_proved(s3, bucket):
    right = base64.b64encode(zlib.crc32(b"body").to_bytes(4, "big")).decode()
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"body", ChecksumCRC32=right)["ChecksumCRC32"] == right
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == right
    sha = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"body", ChecksumAlgorithm="SHA256")["ChecksumSHA256"] == sha
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ChecksumCRC32=right)
    with refused("BadDigest", 400) as info:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5=base64.b64encode(hashlib.md5(b"body").digest()).decode())
    assert sentence(info) == "The Content-MD5 you specified did not match what we received."
    with refused("InvalidDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5="nonsense")
    assert body(s3, bucket, "k") == b"body"


def test_keys_are_any_text_up_to_a_length(s3, bucket):
    for key in ["with space", "plus+plus", "a//b", "ünï/☃", "per%20cent", "./dot", "x" * 1024, "&<>\"'", "new\nline"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert body(s3, bucket, key) == key.encode()
        assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
        s3.delete_object(Bucket=bucket, Key=key)
    with refused("KeyTooLongError", 400) as info:
        s3.put_object(Bucket=bucket, Key="x" * 1025, Body=b"x")
    assert sentence(info) == "Your key is too long"


def test_conditions_of_reading_and_deleting(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    changed = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert body(s3, bucket, "k", IfMatch=etag) == b"1" and body(s3, bucket, "k", IfUnmodifiedSince=changed) == b"1"
    with refused("304", 304):
        s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=changed)
    with refused("412", 412):
        s3.head_object(Bucket=bucket, Key="k", IfMatch='"x"')
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"00000000000000000000000000000000"')
    with refused("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="new", Body=b"2", IfMatch=etag)
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert body(s3, bucket, "k") == b"2"


def fill(s3, bucket, *keys):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")


def listed(answer):
    return [one["Key"] for one in answer.get("Contents", [])], [one["Prefix"] for one in answer.get("CommonPrefixes", [])]


def test_listings_know_prefixes_delimiters_and_beginnings(s3, bucket):
    fill(s3, bucket, "a/1", "a/2/x", "a/2/y", "b", "c#1", "c#2")
    ask = lambda **more: listed(s3.list_objects_v2(Bucket=bucket, **more))
    assert ask(Prefix="a/", Delimiter="/") == (["a/1"], ["a/2/"]) and ask(Delimiter="#") == (["a/1", "a/2/x", "a/2/y", "b"], ["c#"])
    assert ask(StartAfter="b") == (["c#1", "c#2"], []) and ask(Prefix="nothing") == ([], [])
    assert ask(MaxKeys=0) == ([], []) and s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 6
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0] and s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_listings_page_over_groups(s3, bucket, operation):
    fill(s3, bucket, *[f"{folder}/{number}" for folder in "abc" for number in range(3)], "d", "e")
    pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
    assert [len(one.get("Contents", [])) + len(one.get("CommonPrefixes", [])) for one in pages] == [2, 2, 1]
    keys, groups = zip(*map(listed, pages))
    assert (sum(keys, []), sum(groups, [])) == (["d", "e"], ["a/", "b/", "c/"])


def test_listings_refuse_nonsense(s3, bucket):
    with refused("InvalidArgument", 400) as info:
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense")
    assert sentence(info) == "The continuation token provided is incorrect"
    with refused("InvalidArgument", 400):
        s3.list_objects_v2(Bucket=bucket, MaxKeys=-1)


def test_copies(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="from", Body=b"body", ContentType="text/x", Metadata={"a": "1"})
    source = {"Bucket": bucket, "Key": "from"}
    other = name + "-other"
    s3.create_bucket(Bucket=other)
    s3.copy_object(Bucket=other, Key="ü to", CopySource=source)
    head = s3.head_object(Bucket=other, Key="ü to")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"a": "1"})
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/y")
    head = s3.head_object(Bucket=bucket, Key="from")
    assert (head["ContentType"], head["Metadata"]) == ("text/y", {"b": "2"})
    with refused("InvalidRequest", 400) as info:
        s3.copy_object(Bucket=bucket, Key="from", CopySource=source)
    assert sentence(info).startswith("This copy request is illegal because it is trying to copy an object to itself without changing")
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "nothing"})
    with refused("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket + "x", "Key": "from"})
    with refused("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="to", CopySource=source, CopySourceIfNoneMatch=head["ETag"])


def test_deleting_many(s3, bucket):
    fill(s3, bucket, "a", "b")
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [{"Key": "a"}]})
    assert "Deleted" not in quiet and listed(s3.list_objects_v2(Bucket=bucket))[0] == ["b"]
    with refused("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})
    with refused("NoSuchBucket", 404):
        s3.delete_objects(Bucket=bucket + "x", Delete={"Objects": [{"Key": "a"}]})


@pytest.fixture
def upload(s3, bucket):
    return {"Bucket": bucket, "Key": "big", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="big", ContentType="text/x", Metadata={"a": "1"})["UploadId"]}


def part(s3, upload, number, content):
    return {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=content)["ETag"]}


def test_uploads_are_listed_and_aborted(s3, bucket, upload):
    for number in [2, 1, 3]:
        part(s3, upload, number, b"x" * number)
    parts = s3.list_parts(**upload, MaxParts=2)
    assert [(one["PartNumber"], one["Size"]) for one in parts["Parts"]] == [(1, 1), (2, 2)] and parts["IsTruncated"]
    assert [one["PartNumber"] for one in s3.list_parts(**upload, PartNumberMarker=2)["Parts"]] == [3]
    assert [(one["Key"], one["UploadId"]) for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [("big", upload["UploadId"])]
    assert listed(s3.list_objects_v2(Bucket=bucket)) == ([], [])
    s3.abort_multipart_upload(**upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with refused("NoSuchUpload", 404):
        part(s3, upload, 1, b"x")
    with refused("NoSuchUpload", 404):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]})


def test_uploads_end_as_s3_wants(s3, bucket, upload):
    small, last = part(s3, upload, 1, b"a" * 100), part(s3, upload, 2, b"b" * 100)
    with refused("EntityTooSmall", 400) as info:
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [small, last]})
    assert sentence(info) == "Your proposed upload is smaller than the minimum allowed size"
    with refused("InvalidPartOrder", 400):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [last, small]})
    with refused("InvalidPart", 400):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": last["ETag"]}]})
    with refused("MalformedXML", 400):
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": []})
    with refused("InvalidArgument", 400) as info:
        part(s3, upload, 10_001, b"x")
    assert sentence(info) == "Part number must be an integer between 1 and 10000, inclusive"
    replaced = part(s3, upload, 1, b"c" * 5 * MEGABYTE)
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [replaced, last]})
    digests = b"".join(hashlib.md5(content).digest() for content in [b"c" * 5 * MEGABYTE, b"b" * 100])
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    head = s3.head_object(Bucket=bucket, Key="big")
    assert (head["ContentType"], head["Metadata"], head["ContentLength"]) == ("text/x", {"a": "1"}, 5 * MEGABYTE + 100)
    second = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert second["Body"].read() == b"b" * 100 and second["PartsCount"] == 2


def test_parts_are_copied(s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="from", Body=b"0123456789" * MEGABYTE)
    source = {"Bucket": bucket, "Key": "from"}
    etags = [s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, CopySourceRange=span)["CopyPartResult"]["ETag"]
             for number, span in [(1, f"bytes=0-{5 * MEGABYTE - 1}"), (2, "bytes=5-9")]]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]})
    assert body(s3, bucket, "big") == (b"0123456789" * MEGABYTE)[:5 * MEGABYTE] + b"56789"


def test_the_client_splits_large_files_itself(s3, bucket, tmp_path):
    large = bytes(range(256)) * 80_000
    (tmp_path / "large").write_bytes(large)
    s3.upload_file(str(tmp_path / "large"), bucket, "large")
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    s3.download_file(bucket, "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large


def test_the_cli(server, s3, bucket, tmp_path):
    for path in ["one.txt", "sub/two.txt"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    server.cli("s3", "sync", str(tmp_path), f"s3://{bucket}/up")
    assert "PRE sub/" in server.cli("s3", "ls", f"s3://{bucket}/up/")
    server.cli("s3", "mv", f"s3://{bucket}/up/one.txt", f"s3://{bucket}/moved")
    assert body(s3, bucket, "moved") == b"one.txt"
    server.cli("s3", "rb", "--force", f"s3://{bucket}")
    with refused("404", 404):
        s3.head_bucket(Bucket=bucket)
