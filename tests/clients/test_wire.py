"""Requests that nobody should send."""

import json

import requests_free as http
from support import refused


def dynamodb(server, operation, body):
    scope = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
    return http.post(server.endpoint, body, Authorization=scope, X_Amz_Target=f"DynamoDB_20120810.{operation}", Content_Type="application/x-amz-json-1.0")


def test_unknown_operations_are_told_from_unbuilt_ones(server):
    status, body = dynamodb(server, "Nonsense", b"{}")
    assert (status, json.loads(body)["__type"].split("#")[-1]) == (400, "UnknownOperationException")
    status, body = dynamodb(server, "CreateBackup", b"{}")
    assert status == 501 and "CreateBackup" in body.decode()
    with refused("NotImplemented", 501):
        server.client("kinesis").list_streams()


def test_broken_bodies_are_refused(server):
    for body in [b"", b"{", b"[]", b"\xff\xfe", b'{"TableName": 5}', b"[" * 100_000, b'{"TableName":"' + b"x" * 5000 + b'"}']:
        status, answer = dynamodb(server, "DescribeTable", body)
        assert status == 400 and json.loads(answer)["__type"], body[:40]
    assert server.client("sts").get_caller_identity()["Account"] == "000000000000"
