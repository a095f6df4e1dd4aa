"""EventBridge Pipes that call HTTP endpoints: API destinations as enrichments and as targets."""

import json

import pytest
from support import refused
from test_events_destinations import connection, endpoint
from test_pipes import Pipe, pipe  # noqa: F401: fixtures

BATCH_OF_ONE = {"SqsQueueParameters": {"BatchSize": 1}}


def destination(pipe, url, method="POST", **more):
    events = pipe.server.client("events")
    arn = connection(events, pipe.name)
    return events.create_api_destination(Name=pipe.name, ConnectionArn=arn, InvocationEndpoint=url, HttpMethod=method, **more)["ApiDestinationArn"]


def test_an_endpoint_is_a_target(pipe, endpoint, eventually):
    arn = destination(pipe, endpoint.url + "/orders/*")
    pipe.create(pipe.queue("in"), arn, TargetParameters={
        "InputTemplate": '{"order": <$.body.id>}',
        "HttpParameters": {"PathParameterValues": ["$.body.id"], "HeaderParameters": {"x-kind": "order"}, "QueryStringParameters": {"of": "$.messageId"}}})
    assert pipe.describe()["SourceParameters"] == BATCH_OF_ONE
    pipe.send({"id": 7})
    method, path, headers, body = endpoint.next()
    assert method == "POST" and path.startswith("/orders/7?of=") and len(path) > 40
    assert (headers["x-kind"], headers["x-api-key"], json.loads(body)) == ("order", "secret!", {"order": 7})
    eventually(lambda: pipe.left() == 0)


def test_each_message_is_a_request_and_failures_come_again(pipe, endpoint, eventually):
    endpoint.script += [(500, {}, "no"), (200, {}, ""), (200, {}, "")]
    pipe.create(pipe.queue("in", VisibilityTimeout="1"), destination(pipe, endpoint.url))
    pipe.send("one", "two")
    bodies = [json.loads(endpoint.next()[3])["body"] for _ in range(3)]
    assert sorted(set(bodies)) == ["one", "two"]
    eventually(lambda: pipe.left() == 0)
    assert endpoint.asked.empty()


def test_what_an_endpoint_never_takes_ends_in_the_queues_dead_letter_queue(pipe, endpoint, eventually):
    endpoint.script += [(404, {}, "")] * 5
    redrive = json.dumps({"deadLetterTargetArn": pipe.queue("lost"), "maxReceiveCount": 2})
    pipe.create(pipe.queue("in", VisibilityTimeout="1", RedrivePolicy=redrive), destination(pipe, endpoint.url))
    pipe.send("one")
    assert pipe.receive(1, of="lost") == ["one"]


def test_an_endpoint_enriches(pipe, endpoint):
    endpoint.script += [(200, {}, '{"customer": "ann"}'), (200, {}, ""), (200, {}, '[{"a": 1}, {"a": 2}]')]
    arn = destination(pipe, endpoint.url + "/who/*", method="PUT")
    pipe.create(pipe.queue("in"), pipe.queue("out"), Enrichment=arn, EnrichmentParameters={
        "InputTemplate": '{"id": <$.body.id>}', "HttpParameters": {"PathParameterValues": ["$.body.id"]}})
    assert pipe.describe()["SourceParameters"] == BATCH_OF_ONE
    pipe.send({"id": 1})
    assert (*endpoint.next()[:2], pipe.receive(1)) == ("PUT", "/who/1", ['{"customer":"ann"}'])
    pipe.send({"id": 2})
    assert json.loads(endpoint.next()[3]) == {"id": 2}
    pipe.send({"id": 3})
    assert sorted(pipe.receive(2)) == ['{"a":1}', '{"a":2}'], "an empty answer lets nothing through, an array each of its items"


def test_endpoints_take_no_batches(pipe):
    events = pipe.server.client("events")
    source, target = pipe.queue("in"), pipe.queue("out")
    arn = f"arn:aws:events:us-east-1:000000000000:api-destination/{pipe.name}/id"
    for wrong in [{"target": arn}, {"Enrichment": arn}]:
        with refused("ValidationException", 400):
            pipe.create(**{"source": source, "target": target, "SourceParameters": {"SqsQueueParameters": {"BatchSize": 2}}, **wrong})
    with refused("ValidationException", 400):
        pipe.create(source, target, TargetParameters={"HttpParameters": {"PathParameterValues": ["a"]}})
    assert events.list_api_destinations(NamePrefix=pipe.name)["ApiDestinations"] == []
