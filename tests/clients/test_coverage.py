"""What the contracts promise is there, and everything else of a service says that it is not."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import ROOT

OPERATIONS = ROOT / "contracts" / "operations"
SERVICES = sorted(path.stem for path in OPERATIONS.glob("*.txt"))


def promised(service):
    lines = (OPERATIONS / f"{service}.txt").read_text().split("\n")
    return {line.strip() for line in lines if line.strip() and not line.startswith(("#", "botocore:"))}


def model_name(service):
    line = next(line for line in (OPERATIONS / f"{service}.txt").read_text().split("\n") if line.startswith("botocore:"))
    return line.split(":")[1].strip().split("/")[0]


def values(shape, depth=0):
    """The least a client sends: required members, with values that pass the model."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_tagged_union", False):
            name = next(iter(shape.members))
            return {name: values(shape.members[name], depth + 1)}
        return {} if depth > 8 else {name: values(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [values(shape.member, depth + 1)] * max(1, shape.metadata.get("min", 0))
    if kind == "map":
        return {}
    if kind in ("integer", "long"):
        return max(1, int(shape.metadata.get("min", 1)))
    if kind in ("float", "double"):
        return 1.0
    if kind == "boolean":
        return False
    if kind == "timestamp":
        return 1
    if kind == "blob":
        return b"x"
    if shape.enum:
        return shape.enum[0]
    return "x" * max(1, int(shape.metadata.get("min", 1)))


@pytest.mark.parametrize("service", SERVICES)
def test_operations_are_there_or_say_that_they_are_not(server, service):
    # Prefixes of endpoints' names are of no use where the endpoint is an address.
    config = Config(inject_host_prefix=False, retries={"max_attempts": 0})
    client = boto3.client(model_name(service), endpoint_url=server.endpoint, region_name="us-east-1",
                          aws_access_key_id="test", aws_secret_access_key="test", config=config)
    wanted = promised(service)
    for operation in client.meta.service_model.operation_names:
        shape = client.meta.service_model.operation_model(operation)
        if shape.has_event_stream_input or "Invoke" in operation or operation == "StartLiveTail":
            continue
        method = next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)
        arguments = values(shape.input_shape) if shape.input_shape else {}
        code = ""
        try:
            getattr(client, method)(**arguments)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if operation in wanted:
            assert code != "NotImplemented", f"{operation}: {message}"
        else:
            assert code == "NotImplemented" and operation in message, f"{operation}: {code}"
