"""What signatures must prove under `--auth enforce`: times, tokens, presigned addresses, bodies sent in chunks."""

import base64
import datetime
import hashlib
import hmac
import http.client
import time
import zlib

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from conftest import TRUST, Server
from support import refused

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that checks signatures, and the keys of `ann`, who made the bucket `kept`; the role is `worker`."""
    data = tmp_path_factory.mktemp("guarded") / "store"
    server = Server(data).start()
    iam = server.client("iam")
    iam.create_user(UserName="ann")
    iam.create_role(RoleName="worker", AssumeRolePolicyDocument=TRUST)
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    server.client("s3").create_bucket(Bucket="kept")
    server.client("s3").put_object(Bucket="kept", Key="k", Body=b"body")
    server.stop()
    server = Server(data, "--auth", "enforce").start()
    yield server, {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    server.stop()


@pytest.fixture
def hours_off(monkeypatch):
    """Turns the signer's clock, not the platform's."""

    def turn(hours):
        now = lambda remove_tzinfo=True: datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(hours=hours)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", now)

    return turn


def ask(server, method, path, body=b"", **headers):
    """Status and body, with headers as they are given."""
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=30)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("hours", [-1, 1])
def test_requests_of_another_time_are_refused(guarded, hours_off, hours):
    server, keys = guarded
    hours_off(hours)
    with refused("RequestTimeTooSkewed", 403) as info:
        server.client("s3", **keys).list_buckets()
    assert info.value.response["Error"]["Message"] == "The difference between the request time and the current time is too large."
    with refused("InvalidSignatureException", 400) as info:
        server.client("dynamodb", **keys).list_tables()
    assert info.value.response["Error"]["Message"].startswith("Signature expired: " if hours < 0 else "Signature not yet current: ")
    with refused("SignatureDoesNotMatch", 403):
        server.client("iam", **keys).list_users()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_addresses(guarded, hours_off, monkeypatch, version):
    server, keys = guarded
    s3 = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=keys["key"], aws_secret_access_key=keys["secret"],
                      config=Config(signature_version=version))
    sign = lambda **more: s3.generate_presigned_url("get_object", Params={"Bucket": "kept", "Key": "k"}, **more).removeprefix(server.endpoint)
    assert ask(server, "GET", sign()) == (200, b"body")
    status, body = ask(server, "GET", sign().replace("/kept/k", "/kept/other"))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body
    status, body = ask(server, "DELETE", sign())
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in body
    hours_off(-1)
    now = time.time()
    monkeypatch.setattr(botocore.auth.time, "time", lambda: now - 3600)
    status, body = ask(server, "GET", sign(ExpiresIn=60))
    assert status == 403 and b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in body
    assert ask(server, "GET", sign(ExpiresIn=7200)) == (200, b"body")


def test_nobody_is_let_in(guarded):
    server, _ = guarded
    status, body = ask(server, "GET", "/kept/k")
    assert status == 403 and b"<Code>AccessDenied</Code>" in body
    status, body = ask(server, "POST", "/", b"{}", **{"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"})
    assert status == 400 and b"MissingAuthenticationTokenException" in body


def test_sessions_want_their_tokens(guarded):
    server, keys = guarded
    given = server.client("sts", **keys).assume_role(RoleArn="arn:aws:iam::000000000000:role/worker", RoleSessionName="loader")["Credentials"]

    def client(token):
        return boto3.client("sts", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=given["AccessKeyId"],
                            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=token, config=Config(retries={"max_attempts": 0}))

    assert client(given["SessionToken"]).get_caller_identity()["Arn"].endswith("assumed-role/worker/loader")
    for token in [None, "nonsense"]:
        with refused("InvalidClientTokenId", 403) as info:
            client(token).get_caller_identity()
        assert info.value.response["Error"]["Message"] == "The security token included in the request is invalid."


def test_keys_end_when_they_are_switched_off(guarded):
    server, keys = guarded
    iam = server.client("iam", **keys)
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    bob = server.client("sts", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    assert bob.get_caller_identity()["Arn"].endswith("user/bob")
    iam.update_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    with refused("InvalidClientTokenId", 403):
        bob.get_caller_identity()
    iam.update_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert bob.get_caller_identity()["Arn"].endswith("user/bob")
    iam.delete_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"])
    with refused("InvalidClientTokenId", 403):
        bob.get_caller_identity()


def seed(server, keys, path, content, length, **headers):
    """The signed head of an upload in chunks, and its signer."""
    request = AWSRequest("PUT", server.endpoint + path, headers={"x-amz-content-sha256": content, "x-amz-decoded-content-length": str(length), "Content-Encoding": "aws-chunked", **headers})
    signer = botocore.auth.S3SigV4Auth(Credentials(keys["key"], keys["secret"]), "s3", "us-east-1")
    # The signer would put the hash of the whole body here; this one is sent in pieces.
    signer.payload = lambda _: content
    signer._modify_request_before_signing = lambda request: botocore.auth.SigV4Auth._modify_request_before_signing(signer, request)
    signer.add_auth(request)
    return dict(request.headers.items()), request.headers["Authorization"].rsplit("Signature=", 1)[1]


def in_chunks(keys, headers, previous, pieces):
    """The pieces as S3's chunks, each signed over the one before."""
    day = headers["X-Amz-Date"][:8]
    key = ("AWS4" + keys["secret"]).encode()
    for part in [day, "us-east-1", "s3", "aws4_request"]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    body = b""
    for piece in [*pieces, b""]:
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", headers["X-Amz-Date"], f"{day}/us-east-1/s3/aws4_request", previous, EMPTY, hashlib.sha256(piece).hexdigest()])
        previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        body += f"{len(piece):x};chunk-signature={previous}\r\n".encode() + piece + b"\r\n"
    return body


def test_every_chunk_is_proved(guarded):
    server, keys = guarded
    pieces = [b"a" * 65_536, b"b" * 65_536, b"c" * 10]
    whole = b"".join(pieces)
    headers, signature = seed(server, keys, "/kept/chunked", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", len(whole))
    body = in_chunks(keys, headers, signature, pieces)
    assert ask(server, "PUT", "/kept/chunked", body, **headers)[0] == 200
    s3 = server.client("s3", **keys)
    stored = s3.get_object(Bucket="kept", Key="chunked")
    assert stored["Body"].read() == whole and stored.get("ContentEncoding") in (None, "")
    headers, signature = seed(server, keys, "/kept/forged", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", len(whole))
    body = in_chunks(keys, headers, signature, pieces).replace(b"b" * 65_536, b"x" * 65_536)
    status, answer = ask(server, "PUT", "/kept/forged", body, **headers)
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in answer
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket="kept", Key="forged")


def test_checksums_may_come_behind_the_body(guarded):
    server, keys = guarded

    def send(key, checksum):
        headers, _ = seed(server, keys, f"/kept/{key}", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", 5, **{"x-amz-trailer": "x-amz-checksum-crc32"})
        return ask(server, "PUT", f"/kept/{key}", b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n", **headers)

    assert send("trailed", base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")))[0] == 200
    assert server.client("s3", **keys).get_object(Bucket="kept", Key="trailed")["Body"].read() == b"hello"
    status, answer = send("wrong", b"AAAAAA==")
    assert status == 400 and b"<Code>BadDigest</Code>" in answer
    with refused("NoSuchKey", 404):
        server.client("s3", **keys).get_object(Bucket="kept", Key="wrong")


def test_a_body_must_be_the_signed_one(guarded):
    server, keys = guarded
    request = AWSRequest("PUT", server.endpoint + "/kept/swapped", data=b"signed")
    botocore.auth.S3SigV4Auth(Credentials(keys["key"], keys["secret"]), "s3", "us-east-1").add_auth(request)
    headers = dict(request.headers.items())
    assert headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD" or ask(server, "PUT", "/kept/swapped", b"forged", **headers)[0] == 400
    headers["X-Amz-Content-SHA256"] = hashlib.sha256(b"other").hexdigest()
    assert ask(server, "PUT", "/kept/swapped", b"signed", **headers)[0] in (400, 403)
