"""CloudWatch Logs: groups, streams, events, tail."""

import threading
import time

import boto3
import pytest
from botocore.config import Config
from support import refused


@pytest.fixture
def logs(server):
    return server.client("logs")


def test_groups(logs, name):
    logs.create_log_group(logGroupName=name, tags={"team": "sales"})
    with refused("ResourceAlreadyExistsException", 400) as info:
        logs.create_log_group(logGroupName=name)
    assert info.value.response["Error"]["Message"] == "The specified log group already exists"
    logs.put_retention_policy(logGroupName=name, retentionInDays=14)
    group = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    assert group["retentionInDays"] == 14 and group["arn"].endswith(f":log-group:{name}:*") and group["logGroupClass"] == "STANDARD"
    logs.delete_retention_policy(logGroupName=name)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    with refused("InvalidParameterException", 400):
        logs.put_retention_policy(logGroupName=name, retentionInDays=2)
    arn = group["arn"].removesuffix(":*")
    logs.tag_resource(resourceArn=arn, tags={"a": "b"})
    logs.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}
    assert logs.list_tags_log_group(logGroupName=name)["tags"] == {"a": "b"}
    logs.delete_log_group(logGroupName=name)
    with refused("ResourceNotFoundException", 400) as info:
        logs.delete_log_group(logGroupName=name)
    assert info.value.response["Error"]["Message"] == "The specified log group does not exist."


def test_events(logs, name):
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="one")
    with refused("ResourceAlreadyExistsException", 400):
        logs.create_log_stream(logGroupName=name, logStreamName="one")
    now = int(time.time() * 1000)
    logs.put_log_events(logGroupName=name, logStreamName="one", logEvents=[{"timestamp": now + n, "message": f"line {n} {'ERROR' if n == 3 else ''}"} for n in range(5)])
    events = logs.get_log_events(logGroupName=name, logStreamName="one", startFromHead=True)["events"]
    assert [e["message"].split()[1] for e in events] == ["0", "1", "2", "3", "4"] and events[0]["timestamp"] == now
    assert [e["message"] for e in logs.filter_log_events(logGroupName=name, filterPattern="ERROR")["events"]] == ["line 3 ERROR"]
    assert len(logs.filter_log_events(logGroupName=name, startTime=now + 2, endTime=now + 4)["events"]) == 3
    stream = logs.describe_log_streams(logGroupName=name)["logStreams"][0]
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (now, now + 4)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name, PaginationConfig={"PageSize": 2})
    assert sum(len(page["events"]) for page in pages) == 5
    with refused("ResourceNotFoundException", 400):
        logs.put_log_events(logGroupName=name, logStreamName="two", logEvents=[{"timestamp": now, "message": "x"}])
    with refused("InvalidParameterException", 400):
        logs.put_log_events(logGroupName=name, logStreamName="one", logEvents=[{"timestamp": now + 5, "message": "x"}, {"timestamp": now, "message": "y"}])
    old = logs.put_log_events(logGroupName=name, logStreamName="one", logEvents=[{"timestamp": now - 15 * 86_400_000, "message": "x"}])
    assert old["rejectedLogEventsInfo"]["tooOldLogEventEndIndex"] == 1
    logs.delete_log_stream(logGroupName=name, logStreamName="one")
    assert logs.describe_log_streams(logGroupName=name)["logStreams"] == []


def test_tails_are_live(server, logs, name):
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="one")
    arn = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"].removesuffix(":*")
    # The operation's endpoint has a prefix, which an address has no names for.
    tailing = boto3.client("logs", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id="test",
                           aws_secret_access_key="test", config=Config(inject_host_prefix=False))
    stream = tailing.start_live_tail(logGroupIdentifiers=[arn])["responseStream"]

    def write():
        server.client("logs").put_log_events(logGroupName=name, logStreamName="one", logEvents=[{"timestamp": int(time.time() * 1000), "message": "now"}])

    seen = []
    for event in stream:
        if "sessionStart" in event:
            threading.Thread(target=write).start()
        seen += [result["message"] for result in event.get("sessionUpdate", {}).get("sessionResults", [])]
        if seen:
            break
    stream.close()
    assert seen == ["now"]


def test_the_cli_reads(server, logs, name):
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="one")
    logs.put_log_events(logGroupName=name, logStreamName="one", logEvents=[{"timestamp": int(time.time() * 1000), "message": "seen by the CLI"}])
    assert "seen by the CLI" in server.cli("logs", "filter-log-events", "--log-group-name", name)


def test_patterns_ask_for_fields_and_columns(logs, name):
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    now = int(time.time() * 1000)
    lines = ['{"level":"ERROR","status":503,"who":{"id":1}}', '{"level":"INFO","status":200}', '127.0.0.1 - frank [10/Oct/2000] "GET /x" 404 1534', "plain ERROR"]
    logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=[{"timestamp": now + i, "message": line} for i, line in enumerate(lines)])
    found = lambda pattern: [lines.index(event["message"]) for event in logs.filter_log_events(logGroupName=name, filterPattern=pattern)["events"]]
    assert found('{ $.level = "ERROR" }') == [0]
    assert found("{ $.status >= 200 && $.who NOT EXISTS }") == [1]
    assert found("[ip, dash, user, ..., status = 4*, bytes > 1000]") == [2]
    assert found("%ERR[A-Z]R$%") == [3]
    with refused("InvalidParameterException", 400):
        found("{ $.level == 1 }")


def test_patterns_are_tried(logs):
    tried = logs.test_metric_filter(filterPattern="[ip, ..., status, bytes]", logEventMessages=["one", "1.2.3.4 x 200 17"])
    assert tried["matches"] == [{"eventNumber": 2, "eventMessage": "1.2.3.4 x 200 17", "extractedValues": {"$ip": "1.2.3.4", "$status": "200", "$bytes": "17"}}]
