"""Requests that nobody should send."""

import json

import requests_free as http
from support import refused, table


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


def scoped(service):
    return f"AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"


def test_broken_xml_is_refused(server, name):
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;">]><CompleteMultipartUpload>&c;</CompleteMultipartUpload>'
    for body in [b"<", b"<a/>", b"<CompleteMultipartUpload><Part>", b"\xff\xfe", b"<a>" * 10_000, bomb]:
        status, answer = http.post(f"{server.endpoint}/{name}/k?uploadId={upload}", body, Authorization=scoped("s3"), Content_Type="application/xml")
        assert status == 400 and b"<Code>" in answer and b"<RequestId>" in answer, (body[:40], status, answer[:200])
    s3.abort_multipart_upload(Bucket=name, Key="k", UploadId=upload)


def test_broken_forms_are_refused(server):
    for body in [b"", b"Action=", b"Action=Nonsense&Version=2010-05-08", b"Action=CreateRole&%%%=%zz", b"&&&&", b"Action=CreateRole&RoleName=" + b"x" * 100_000]:
        status, answer = http.post(server.endpoint, body, Authorization=scoped("iam"), Content_Type="application/x-www-form-urlencoded")
        assert 400 <= status < 500 and b"<Code>" in answer, (body[:40], status, answer[:200])


def test_broken_cbor_is_refused(server):
    for body in [b"", b"\xff", b"\xbf", b"\x9f" * 50_000, b"\xa1\x61", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"]:
        status, answer = http.post(f"{server.endpoint}/service/Logs_20140328/operation/PutLogEvents", body, Authorization=scoped("logs"),
                                   Content_Type="application/cbor", Smithy_Protocol="rpc-v2-cbor", Accept="application/cbor")
        assert 400 <= status < 500, (body[:20], status, answer[:200])


def test_unknown_members_do_no_harm_and_wrong_types_are_named(server, name):
    status, answer = dynamodb(server, "ListTables", b'{"Limit": 5, "Unknown": {"deep": [1, 2, {"x": null}]}}')
    assert status == 200 and "TableNames" in json.loads(answer)
    status, answer = dynamodb(server, "ListTables", b'{"Limit": "five"}')
    assert status == 400 and json.loads(answer)["__type"].endswith("SerializationException")


def test_what_is_too_large_is_refused(server, name):
    tables = table(server, name)
    with refused("ValidationException", 400) as info:
        tables.put_item(TableName=name, Item={"id": {"S": "a"}, "big": {"S": "x" * (400 * 1024)}})
    assert info.value.response["Error"]["Message"] == "Item size has exceeded the maximum allowed size"
    status, _ = dynamodb(server, "PutItem", b'{"TableName": "' + b"x" * (20 << 20) + b'"}')
    assert status in (400, 413)
    deep = "{\"L\": [" * 40 + "{\"S\": \"x\"}" + "]}" * 40
    status, answer = dynamodb(server, "PutItem", f'{{"TableName": "{name}", "Item": {{"id": {{"S": "a"}}, "d": {deep}}}}}'.encode())
    assert status == 400 and "ValidationException" in json.loads(answer)["__type"]


def test_invalid_expressions_are_explained(server, name):
    tables = table(server, name)
    cases = [
        ({"ConditionExpression": "id ="}, "Invalid ConditionExpression: Syntax error"),
        ({"ConditionExpression": "attribute_exists(nope, id)"}, "Invalid ConditionExpression: Incorrect number of operands"),
        ({"ConditionExpression": "id = :missing"}, "Invalid ConditionExpression: An expression attribute value used in expression is not defined"),
        ({"ConditionExpression": "#n = :v", "ExpressionAttributeValues": {":v": {"S": "x"}}}, "Invalid ConditionExpression: An expression attribute name used in the document path is not defined"),
        ({"ConditionExpression": "(" * 400 + "id = :v" + ")" * 400, "ExpressionAttributeValues": {":v": {"S": "x"}}}, "Invalid ConditionExpression"),
    ]
    for arguments, sentence in cases:
        with refused("ValidationException", 400) as info:
            tables.put_item(TableName=name, Item={"id": {"S": "a"}}, **arguments)
        assert info.value.response["Error"]["Message"].startswith(sentence), info.value.response["Error"]["Message"]
