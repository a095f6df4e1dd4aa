"""How a request finds its service: hosts that name buckets and services, paths, scopes, targets."""

import http.client
import json

import pytest


def ask(server, method, path, body=b"", **headers):
    """Status, headers and body. Underscores in header names stand for dashes."""
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=30)
    connection.request(method, path, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def scope(service, region="us-east-1"):
    return f"AWS4-HMAC-SHA256 Credential=test/20261123/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture
def bucket(server, name):
    s3 = server.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="in/k", Body=b"found")
    return name


@pytest.mark.parametrize("host", ["{}.s3.localhost.localstack.cloud", "{}.s3.localhost.localstack.cloud:4566", "{}.s3.us-east-1.localhost.localstack.cloud:4566", "{}.s3.localhost", "{}.s3.amazonaws.com",
                                  "{}.s3.us-east-1.amazonaws.com", "{}.S3.LOCALHOST"])
def test_hosts_name_buckets(server, bucket, host):
    assert ask(server, "GET", "/in/k", Host=host.format(bucket), Authorization=scope("s3"))[::2] == (200, b"found")
    status, _, body = ask(server, "GET", "/?list-type=2", Host=host.format(bucket), Authorization=scope("s3"))
    assert status == 200 and b"<Key>in/k</Key>" in body


@pytest.mark.parametrize("host", ["localhost:4566", "127.0.0.1:4566", "s3.localhost.localstack.cloud:4566", "s3.us-east-1.amazonaws.com"])
def test_paths_name_buckets(server, bucket, host):
    assert ask(server, "GET", f"/{bucket}/in/k", Host=host, Authorization=scope("s3"))[::2] == (200, b"found")


def test_hosts_name_services(server, name):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    status, _, body = ask(server, "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15", Host="sts.us-east-1.localhost.localstack.cloud:4566", **form)
    assert status == 200 and b"<Account>000000000000</Account>" in body
    target = {"X_Amz_Target": "DynamoDB_20120810.ListTables", "Content_Type": "application/x-amz-json-1.0"}
    assert "TableNames" in json.loads(ask(server, "POST", "/", b"{}", Host="dynamodb.eu-west-1.localhost.localstack.cloud", **target)[2])


def test_targets_scopes_and_paths_are_enough(server):
    target = {"X_Amz_Target": "Logs_20140328.DescribeLogGroups", "Content_Type": "application/x-amz-json-1.1"}
    assert "logGroups" in json.loads(ask(server, "POST", "/", b"{}", **target)[2])
    assert ask(server, "GET", "/2015-03-31/functions/", Authorization=scope("lambda"))[0] == 200
    assert ask(server, "GET", "/2015-03-31/functions")[0] == 200


def test_regions_are_apart(server, name):
    target = {"X_Amz_Target": "Logs_20140328.CreateLogGroup", "Content_Type": "application/x-amz-json-1.1"}
    assert ask(server, "POST", "/", json.dumps({"logGroupName": name}).encode(), Authorization=scope("logs", "eu-west-1"), **target)[0] == 200
    assert server.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"] == []


def test_answers_carry_request_ids(server, bucket):
    _, headers, _ = ask(server, "GET", f"/{bucket}/in/k", Authorization=scope("s3"))
    assert headers["x-amz-request-id"] and headers["x-amz-id-2"]
    target = {"X_Amz_Target": "DynamoDB_20120810.ListTables", "Content_Type": "application/x-amz-json-1.0", "Authorization": scope("dynamodb")}
    first, second = (ask(server, "POST", "/", b"{}", **target)[1]["x-amzn-requestid"] for _ in range(2))
    assert first and first != second


def test_connections_are_kept(server):
    connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=30)
    for _ in range(3):
        connection.request("GET", "/_localstack/health")
        answer = connection.getresponse()
        assert answer.status == 200 and "services" in json.loads(answer.read())
        assert connection.sock, "the platform closed the connection"
