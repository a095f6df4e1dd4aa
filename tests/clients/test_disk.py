"""A disk that fills up: writes are refused, reads go on, and writing goes on when there is space again."""

import random
import subprocess

import pytest
from botocore.exceptions import ClientError
from conftest import Server
from support import table


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(tmp_path)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=False)


@pytest.mark.parametrize("body", ["x" * 100_000, random.Random(1).randbytes(50_000).hex()], ids=["alike", "unlike"])
def test_a_full_disk_refuses_writes_and_recovers(small_disk, name, body):
    """Rows that are much alike take little room in the log: what cannot be written first is a checkpoint."""
    server = Server(small_disk / "store").start()
    try:
        tables = table(server, name)
        tables.put_item(TableName=name, Item={"id": {"S": "before"}})
        server.stop()
        tables = server.start().client("dynamodb")
        tables.put_item(TableName=name, Item={"id": {"S": "begun"}})
        filler = small_disk / "filler"
        filler.write_bytes(b"\0" * (1024 * 1024))
        with filler.open("ab") as file:
            try:
                while True:
                    file.write(b"\0" * (1024 * 1024))
                    file.flush()
            except OSError:
                pass
        acknowledged, refused = [], None
        for number in range(3000):
            try:
                tables.put_item(TableName=name, Item={"id": {"S": f"row-{number}"}, "body": {"S": body}})
                acknowledged.append(number)
            except ClientError as error:
                refused = error.response
                break
        assert refused, "the disk never was full"
        assert refused["ResponseMetadata"]["HTTPStatusCode"] == 503 and refused["Error"]["Code"] == "ServiceUnavailable"
        assert "Item" in tables.get_item(TableName=name, Key={"id": {"S": "before"}}), "what a checkpoint has is read"
        filler.unlink()
        tables.put_item(TableName=name, Item={"id": {"S": "after"}})
        server.kill()
        server.start()
        tables = server.client("dynamodb")
        for key in ["before", "after", *[f"row-{number}" for number in acknowledged]]:
            assert "Item" in tables.get_item(TableName=name, Key={"id": {"S": key}}), key
    finally:
        server.stop()
