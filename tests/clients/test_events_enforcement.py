"""EventBridge buses that hold their events to schemas: rejected entries and dead letters, with boto3."""

import json

import pytest
from support import refused

MODE, REGISTRY = "tidemill:schema-enforcement", "tidemill:schema-registry"
ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}}
JSON_SCHEMA = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["detail"],
               "properties": {"detail": {"$ref": "#/definitions/Order"}}, "definitions": {"Order": ORDER}}
OPEN_API = {"openapi": "3.0.0", "info": {"title": "Order", "version": "1.0.0"}, "paths": {}, "components": {"schemas": {
    "AWSEvent": {"type": "object", "required": ["detail"], "properties": {"detail": {"$ref": "#/components/schemas/Order"}}}, "Order": ORDER}}}


class Bus:
    """A bus with a registry, a queue that gets its events and one that gets its dead letters."""

    def __init__(self, server, name, mode, kind="JSONSchemaDraft4", schema=JSON_SCHEMA):
        self.server, self.name = server, name
        self.events, self.schemas, self.sqs = server.client("events"), server.client("schemas"), server.client("sqs")
        self.out, out = self.queue(name)
        self.lost, lost = self.queue(f"{name}-lost")
        self.schemas.create_registry(RegistryName=name)
        self.schemas.create_schema(RegistryName=name, SchemaName="shop@OrderPlaced", Type=kind, Content=json.dumps(schema))
        tags = [{"Key": MODE, "Value": mode}, {"Key": REGISTRY, "Value": name}]
        self.arn = self.events.create_event_bus(Name=name, Tags=tags, DeadLetterConfig={"Arn": lost})["EventBusArn"]
        self.events.put_rule(Name="all", EventBusName=name, EventPattern='{"source": [{"prefix": ""}]}')
        self.events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "q", "Arn": out}])

    def queue(self, name):
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def put(self, *details, kind="Order Placed"):
        return self.events.put_events(Entries=[{"EventBusName": self.name, "Source": "shop", "DetailType": kind, "Detail": json.dumps(one)} for one in details])

    def received(self, url, wait=5):
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, MessageAttributeNames=["All"])
        return answer.get("Messages", [])

    def details(self):
        return [json.loads(message["Body"])["detail"] for message in self.received(self.out)]


@pytest.mark.parametrize("kind, schema", [("JSONSchemaDraft4", JSON_SCHEMA), ("OpenApi3", OPEN_API)])
def test_entries_that_break_their_schema_are_rejected(server, name, kind, schema):
    bus = Bus(server, name, "reject", kind, schema)
    answer = bus.put({"id": 1}, {"id": "one"}, {"note": "no id"})
    assert answer["FailedEntryCount"] == 2 and "EventId" in answer["Entries"][0]
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, "SchemaViolation", "SchemaViolation"]
    assert answer["Entries"][2]["ErrorMessage"] == 'The event breaks version 1 of schema shop@OrderPlaced: "id" is a required property at /detail.'
    assert bus.details() == [{"id": 1}]
    assert bus.put({"any": "thing"}, kind="Unknown")["FailedEntryCount"] == 0, "what has no schema passes"
    assert bus.details() == [{"any": "thing"}]
    assert bus.received(bus.lost, wait=0) == []


def test_events_that_break_their_schema_are_dead_lettered(server, name):
    bus = Bus(server, name, "dead-letter")
    answer = bus.put({"id": "one"}, {"id": 2})
    assert answer["FailedEntryCount"] == 0
    letter = bus.received(bus.lost)[0]
    event, attributes = json.loads(letter["Body"]), {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert (event["id"], event["detail"]) == (answer["Entries"][0]["EventId"], {"id": "one"})
    assert attributes == {"EVENT_BUS_ARN": bus.arn, "ERROR_CODE": "SchemaViolation",
                          "ERROR_MESSAGE": 'The event breaks version 1 of schema shop@OrderPlaced: "one" is not of type "integer" at /detail/id.'}
    assert bus.details() == [{"id": 2}]


def test_a_new_version_counts_at_once_and_tags_switch_it_off(server, name):
    bus = Bus(server, name, "reject")
    assert bus.put({"note": "a"})["FailedEntryCount"] == 1
    freer = {**JSON_SCHEMA, "definitions": {"Order": {"type": "object"}}}
    bus.schemas.update_schema(RegistryName=name, SchemaName="shop@OrderPlaced", Content=json.dumps(freer))
    assert bus.put({"note": "b"})["FailedEntryCount"] == 0
    bus.schemas.delete_schema(RegistryName=name, SchemaName="shop@OrderPlaced")
    bus.schemas.create_schema(RegistryName=name, SchemaName="shop@OrderPlaced", Type="JSONSchemaDraft4", Content=json.dumps(JSON_SCHEMA))
    assert bus.put({"note": "c"})["FailedEntryCount"] == 1, "another schema of the name is another schema"
    bus.events.tag_resource(ResourceARN=bus.arn, Tags=[{"Key": MODE, "Value": "off"}])
    assert bus.put({"note": "d"})["FailedEntryCount"] == 0
    with refused("ValidationException", 400):
        bus.events.tag_resource(ResourceARN=bus.arn, Tags=[{"Key": MODE, "Value": "warn"}])
    with refused("ValidationException", 400):
        bus.events.create_event_bus(Name=name + "2", Tags=[{"Key": MODE, "Value": "warn"}])
    assert bus.put({"note": "e"})["FailedEntryCount"] == 0
    assert sorted(one["note"] for one in bus.details()) == ["b", "d", "e"]


def test_without_a_queue_events_are_rejected_and_bad_schemas_let_nothing_pass(server, name):
    bus = Bus(server, name, "dead-letter")
    bus.events.update_event_bus(Name=name)
    assert bus.put({"id": "one"})["Entries"][0]["ErrorCode"] == "SchemaViolation"
    bus.schemas.update_schema(RegistryName=name, SchemaName="shop@OrderPlaced", Content=json.dumps({**JSON_SCHEMA, "type": 5}))
    error = bus.put({"id": 1})["Entries"][0]
    assert error["ErrorCode"] == "SchemaViolation" and "cannot be used" in error["ErrorMessage"]


def test_what_comes_from_another_bus_is_held_to_it_too(server, name):
    bus = Bus(server, name, "dead-letter")
    bus.events.create_event_bus(Name=name + "-first")
    bus.events.put_rule(Name="on", EventBusName=name + "-first", EventPattern='{"source": ["shop"]}')
    bus.events.put_targets(Rule="on", EventBusName=name + "-first", Targets=[{"Id": "b", "Arn": bus.arn, "RoleArn": "arn:aws:iam::000000000000:role/x"}])
    bus.events.put_events(Entries=[{"EventBusName": name + "-first", "Source": "shop", "DetailType": "Order Placed", "Detail": detail}
                                   for detail in ['{"id": 1}', '{"id": "x"}']])
    assert bus.details() == [{"id": 1}]
    assert json.loads(bus.received(bus.lost)[0]["Body"])["detail"] == {"id": "x"}
