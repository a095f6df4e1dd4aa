"""EventBridge Schemas: registries, versions, search, export and discovery from a bus's events; with boto3 and the AWS CLI."""

import json

import pytest
from support import refused

OPEN_API = {"openapi": "3.0.0", "info": {"title": "Order", "version": "1.0.0"}, "paths": {},
            "components": {"schemas": {"Order": {"type": "object", "properties": {"amount": {"type": "number", "nullable": True}, "by": {"$ref": "#/components/schemas/Customer"}}},
                                       "Customer": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}}
DRAFT4 = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": {"zebra": {"type": "string"}}}
WAITER = {"Delay": 0.05, "MaxAttempts": 400}


@pytest.fixture
def schemas(server):
    return server.client("schemas")


def sentence(info):
    return info.value.response["Error"]["Message"]


def test_registries_are_kept_listed_tagged_and_deleted(server, schemas, name):
    made = schemas.create_registry(RegistryName=name, Description="ours", Tags={"a": "b"})
    arn = f"arn:aws:schemas:us-east-1:000000000000:registry/{name}"
    assert (made["RegistryArn"], made["RegistryName"], made["Tags"]) == (arn, name, {"a": "b"})
    for number in range(3):
        schemas.create_registry(RegistryName=f"{name}-{number}")
    pages = schemas.get_paginator("list_registries").paginate(RegistryNamePrefix=name, PaginationConfig={"PageSize": 3})
    assert [[one["RegistryName"] for one in page["Registries"]] for page in pages] == [[name, f"{name}-0", f"{name}-1"], [f"{name}-2"]]
    assert schemas.list_registries(Scope="AWS")["Registries"] == []
    assert schemas.update_registry(RegistryName=name, Description="changed")["Description"] == "changed"
    schemas.tag_resource(ResourceArn=arn, Tags={"c": "d"})
    schemas.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert schemas.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"c": "d"}
    assert json.loads(server.cli("schemas", "describe-registry", "--registry-name", name))["Description"] == "changed"
    with refused("ConflictException", 409):
        schemas.create_registry(RegistryName=name)
    with refused("BadRequestException", 400):
        schemas.create_registry(RegistryName=name + "-long", Description="x" * 257)
    for bad in ("aws.own", "with space", "x" * 65):
        with refused("BadRequestException", 400):
            schemas.create_registry(RegistryName=bad)
    schemas.create_schema(RegistryName=name, SchemaName="s", Type="OpenApi3", Content=json.dumps(OPEN_API))
    with refused("BadRequestException", 400):
        schemas.delete_registry(RegistryName=name)
    schemas.delete_schema(RegistryName=name, SchemaName="s")
    schemas.delete_registry(RegistryName=name)
    with refused("NotFoundException", 404) as info:
        schemas.describe_registry(RegistryName=name)
    assert sentence(info) == f"Registry with name {name} does not exist." and info.value.response["Code"] == "NotFound"
    with refused("NotFoundException", 404):
        schemas.list_tags_for_resource(ResourceArn=arn)


def test_policies_change_by_revision(schemas, name):
    schemas.create_registry(RegistryName=name)
    with refused("NotFoundException", 404):
        schemas.get_resource_policy(RegistryName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    first = schemas.put_resource_policy(RegistryName=name, Policy=policy)
    shown = schemas.get_resource_policy(RegistryName=name)
    assert json.loads(shown["Policy"]) == json.loads(policy) and shown["RevisionId"] == first["RevisionId"]
    with refused("PreconditionFailedException", 412):
        schemas.put_resource_policy(RegistryName=name, Policy=policy, RevisionId="other")
    second = schemas.put_resource_policy(RegistryName=name, Policy=policy, RevisionId=first["RevisionId"])
    assert second["RevisionId"] != first["RevisionId"]
    with refused("BadRequestException", 400):
        schemas.put_resource_policy(RegistryName=name, Policy="[]")
    for wrong in [{"Effect": "Maybe"}, {"Principal": "ann"}, {"Action": "events:PutEvents"}]:
        statement = {"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "schemas:*", "Resource": "*", **wrong}
        with refused("BadRequestException", 400):
            schemas.put_resource_policy(RegistryName=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    schemas.delete_resource_policy(RegistryName=name)
    with refused("NotFoundException", 404):
        schemas.delete_resource_policy(RegistryName=name)


def test_a_schema_has_versions(schemas, name):
    schemas.create_registry(RegistryName=name)
    here = {"RegistryName": name, "SchemaName": "shop@Order"}
    made = schemas.create_schema(**here, Type="OpenApi3", Content=json.dumps(OPEN_API), Description="an order", Tags={"a": "b"})
    assert made["SchemaArn"] == f"arn:aws:schemas:us-east-1:000000000000:schema/{name}/shop@Order"
    assert (made["SchemaVersion"], made["Type"]) == ("1", "OpenApi3")
    with refused("ConflictException", 409):
        schemas.create_schema(**here, Type="OpenApi3", Content=json.dumps(OPEN_API))
    updated = schemas.update_schema(**here, Type="JSONSchemaDraft4", Content=json.dumps(DRAFT4), ClientTokenId="t")
    assert updated["SchemaVersion"] == "2"
    assert schemas.update_schema(**here, Type="JSONSchemaDraft4", Content=json.dumps(DRAFT4), ClientTokenId="t")["SchemaVersion"] == "2"
    assert schemas.update_schema(**here, Description="changed")["SchemaVersion"] == "2"
    latest, first = schemas.describe_schema(**here), schemas.describe_schema(**here, SchemaVersion="1")
    assert json.loads(latest["Content"]) == DRAFT4 and (latest["Type"], latest["Description"], latest["Tags"]) == ("JSONSchemaDraft4", "changed", {"a": "b"})
    assert json.loads(first["Content"]) == OPEN_API and first["Type"] == "OpenApi3" and first["VersionCreatedDate"] <= latest["VersionCreatedDate"]
    assert [one["SchemaVersion"] for one in schemas.list_schema_versions(**here)["SchemaVersions"]] == ["1", "2"]
    summary = schemas.list_schemas(RegistryName=name, SchemaNamePrefix="shop")["Schemas"]
    assert [(one["SchemaName"], one["VersionCount"]) for one in summary] == [("shop@Order", 2)]
    schemas.delete_schema_version(**here, SchemaVersion="2")
    assert schemas.describe_schema(**here)["SchemaVersion"] == "1"
    with refused("NotFoundException", 404):
        schemas.describe_schema(**here, SchemaVersion="2")
    for kind, content in (("OpenApi3", "{}"), ("OpenApi3", "nonsense"), ("OpenApi3", json.dumps(DRAFT4)), ("JSONSchemaDraft4", "[]"), ("Avro", "{}"), ("OpenApi3", json.dumps({**OPEN_API, "x": "x" * 100000}))):
        with refused("BadRequestException", 400):
            schemas.create_schema(RegistryName=name, SchemaName="bad", Type=kind, Content=content)
    schemas.delete_schema_version(**here, SchemaVersion="1")
    with refused("NotFoundException", 404) as info:
        schemas.describe_schema(**here)
    assert sentence(info) == "Schema with name shop@Order does not exist."


def test_schemas_are_found_and_exported(schemas, name):
    schemas.create_registry(RegistryName=name)
    schemas.create_schema(RegistryName=name, SchemaName="order", Type="OpenApi3", Content=json.dumps(OPEN_API))
    schemas.create_schema(RegistryName=name, SchemaName="animal", Type="JSONSchemaDraft4", Content=json.dumps(DRAFT4))
    schemas.update_schema(RegistryName=name, SchemaName="animal", Content=json.dumps({"type": "string"}))
    found = lambda words: [(one["SchemaName"], [version["SchemaVersion"] for version in one["SchemaVersions"]])
                           for one in schemas.search_schemas(RegistryName=name, Keywords=words)["Schemas"]]
    assert found("zebra") == [("animal", ["1"])] and found("ANIMAL") == [("animal", ["1", "2"])]
    assert found("amount customer") == [("order", ["1"])] and found("zebra amount") == []
    exported = schemas.export_schema(RegistryName=name, SchemaName="order", Type="JSONSchemaDraft4")
    assert json.loads(exported["Content"]) == {
        "$schema": "http://json-schema.org/draft-04/schema#", "title": "Order", "type": "object",
        "properties": {"amount": {"type": ["number", "null"]}, "by": {"$ref": "#/definitions/Customer"}},
        "definitions": {"Customer": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}}
    assert exported["Type"] == "JSONSchemaDraft4"
    with refused("BadRequestException", 400):
        schemas.export_schema(RegistryName=name, SchemaName="order", Type="OpenApi3")


def test_the_structure_of_events_is_told(schemas):
    event = lambda detail: json.dumps({"source": "shop", "detail-type": "Order Placed", "detail": detail})
    told = schemas.get_discovered_schema(Type="OpenApi3", Events=[event({"n": 1, "to": {"city": "x"}, "at": "2026-01-01T00:00:00Z"}), event({"n": 2, "tags": ["a"]})])
    parts = json.loads(told["Content"])["components"]["schemas"]
    assert parts["AWSEvent"]["x-amazon-events-source"] == "shop" and parts["AWSEvent"]["properties"]["detail"] == {"$ref": "#/components/schemas/OrderPlaced"}
    assert parts["OrderPlaced"]["required"] == ["n"] and parts["To"]["properties"] == {"city": {"type": "string"}}
    assert parts["OrderPlaced"]["properties"] == {"n": {"type": "number"}, "to": {"$ref": "#/components/schemas/To"},
                                                  "at": {"type": "string", "format": "date-time"}, "tags": {"type": "array", "items": {"type": "string"}}}
    told = json.loads(schemas.get_discovered_schema(Type="JSONSchemaDraft4", Events=['{"a": true}'])["Content"])
    assert told["properties"] == {"a": {"type": "boolean"}} and told["title"] == "Event"
    for events in (["{oops"], ["{}"] * 11):
        with refused("BadRequestException", 400):
            schemas.get_discovered_schema(Type="OpenApi3", Events=events)


def test_discoverers_learn_from_a_bus(private_server, name, eventually):
    server, schemas, events = private_server, private_server.client("schemas"), private_server.client("events")
    bus = events.create_event_bus(Name=name)["EventBusArn"]
    put = lambda detail, kind="Order Placed": events.put_events(Entries=[{"EventBusName": name, "Source": "com.shop", "DetailType": kind, "Detail": json.dumps(detail)}])
    for bad in ("arn:aws:sqs:us-east-1:000000000000:jobs", bus + "-lost"):
        with refused("BadRequestException", 400):
            schemas.create_discoverer(SourceArn=bad)
    put({"early": 1}, "Too Early")
    made = schemas.create_discoverer(SourceArn=bus, Description="learns", Tags={"a": "b"})
    assert (made["DiscovererId"], made["State"], made["CrossAccount"]) == (f"events-event-bus-{name}", "STARTED", True)
    with refused("ConflictException", 409):
        schemas.create_discoverer(SourceArn=bus)
    here = {"RegistryName": "discovered-schemas", "SchemaName": "com.shop@OrderPlaced"}
    versions = lambda: [one["SchemaVersion"] for one in schemas.list_schema_versions(**here)["SchemaVersions"]]
    known = lambda: [one["SchemaName"] for one in schemas.list_schemas(RegistryName="discovered-schemas")["Schemas"]]
    put({"id": 1, "to": {"city": "x"}})
    eventually(lambda: known() == ["com.shop@OrderPlaced"])
    put({"id": 2, "to": {"city": "y"}})
    put({"id": 3, "note": "new"})
    eventually(lambda: versions() == ["1", "2"])
    parts = json.loads(schemas.describe_schema(**here)["Content"])["components"]["schemas"]
    assert parts["AWSEvent"]["x-amazon-events-detail-type"] == "Order Placed"
    assert sorted(parts["OrderPlaced"]["properties"]) == ["id", "note", "to"] and parts["OrderPlaced"]["required"] == ["id"]
    schemas.stop_discoverer(DiscovererId=made["DiscovererId"])
    put({"x": 1}, "While Stopped")
    server.stop()
    server.start()
    assert schemas.describe_discoverer(DiscovererId=made["DiscovererId"])["State"] == "STOPPED"
    schemas.start_discoverer(DiscovererId=made["DiscovererId"])
    schemas.update_discoverer(DiscovererId=made["DiscovererId"], CrossAccount=False)
    put({"x": 1}, "After Start")
    eventually(lambda: "com.shop@AfterStart" in known())
    assert known() == ["com.shop@AfterStart", "com.shop@OrderPlaced"] and versions() == ["1", "2"]
    listed = schemas.list_discoverers(SourceArnPrefix=bus)["Discoverers"]
    assert [(one["DiscovererId"], one["State"], one["CrossAccount"], one["Tags"]) for one in listed] == [(made["DiscovererId"], "STARTED", False, {"a": "b"})]
    schemas.delete_discoverer(DiscovererId=made["DiscovererId"])
    with refused("NotFoundException", 404):
        schemas.describe_discoverer(DiscovererId=made["DiscovererId"])


def test_stacks_have_registries_schemas_and_discoverers(server, schemas, name):
    template = {"Resources": {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": name}},
        "Registry": {"Type": "AWS::EventSchemas::Registry", "Properties": {"RegistryName": name, "Description": "ours", "Tags": [{"Key": "a", "Value": "b"}]}},
        "Policy": {"Type": "AWS::EventSchemas::RegistryPolicy", "Properties": {"RegistryName": {"Fn::GetAtt": ["Registry", "RegistryName"]}, "Policy": {"Version": "2012-10-17", "Statement": []}}},
        "Schema": {"Type": "AWS::EventSchemas::Schema", "Properties": {"RegistryName": {"Fn::GetAtt": ["Registry", "RegistryName"]}, "SchemaName": "order", "Type": "OpenApi3", "Content": json.dumps(OPEN_API)}},
        "Learner": {"Type": "AWS::EventSchemas::Discoverer", "Properties": {"SourceArn": {"Fn::GetAtt": ["Bus", "Arn"]}}}},
        "Outputs": {"Version": {"Value": {"Fn::GetAtt": ["Schema", "SchemaVersion"]}}, "Id": {"Value": {"Fn::GetAtt": ["Learner", "DiscovererId"]}}}}
    stacks = server.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAITER)
    outputs = lambda: {one["OutputKey"]: one["OutputValue"] for one in stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    assert outputs()["Version"] == "1" and schemas.describe_discoverer(DiscovererId=outputs()["Id"])["State"] == "STARTED"
    assert schemas.get_resource_policy(RegistryName=name)["Policy"] and schemas.describe_registry(RegistryName=name)["Tags"]["a"] == "b"
    template["Resources"]["Schema"]["Properties"].update(Type="JSONSchemaDraft4", Content=json.dumps(DRAFT4))
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=WAITER)
    assert outputs()["Version"] == "2" and json.loads(schemas.describe_schema(RegistryName=name, SchemaName="order")["Content"]) == DRAFT4
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=WAITER)
    with refused("NotFoundException"):
        schemas.describe_registry(RegistryName=name)
