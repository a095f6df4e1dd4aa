"""Pieces that several tests need."""

import io
import zipfile

import pytest
from botocore.exceptions import ClientError

from conftest import TRUST


def zipped(**files):
    """A zip of `name` → text; double underscores in names stand for dots."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


def refused(code, status=None):
    """A context in which the call must fail with this code."""

    class Refused:
        def __enter__(self):
            self.raises = pytest.raises(ClientError)
            self.info = self.raises.__enter__()
            return self.info

        def __exit__(self, *raised):
            done = self.raises.__exit__(*raised)
            response = self.info.value.response
            assert response["Error"]["Code"] == code, response
            if status:
                assert response["ResponseMetadata"]["HTTPStatusCode"] == status
            return done

    return Refused()


def function(server, name, code, runtime="python3.11", handler="app.handler", **more):
    """A function that is ready to be invoked; gives its ARN."""
    iam, functions = server.client("iam"), server.client("lambda")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    made = functions.create_function(FunctionName=name, Runtime=runtime, Handler=handler, Role=role,
                                     Code={"ZipFile": code}, Timeout=more.pop("Timeout", 10), **more)
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    return made["FunctionArn"]


def table(server, name, **more):
    """A table with the string key `id`."""
    tables = server.client("dynamodb")
    tables.create_table(TableName=name, BillingMode="PAY_PER_REQUEST",
                        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], **more)
    tables.get_waiter("table_exists").wait(TableName=name)
    return tables
