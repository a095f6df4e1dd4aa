"""`kill -9` at random under load: what was acknowledged is there, no stream record is skipped, mappings go on."""

import random
import threading
import time

from support import function, table, zipped

KILLS = 6
COPY = """
import os, boto3
seen = boto3.resource("dynamodb").Table(os.environ["SEEN"])
def handler(event, context):
    for record in event["Records"]:
        seen.put_item(Item={"id": record["dynamodb"]["Keys"]["id"]["S"], "sequence": record["dynamodb"]["SequenceNumber"]})
"""


class Writer(threading.Thread):
    """Writes until it is told to stop; remembers what was acknowledged."""

    def __init__(self, write, begin):
        super().__init__()
        self.write, self.next, self.acknowledged, self.ends = write, begin, [], False

    def run(self):
        while not self.ends:
            key = f"{self.next:06}"
            self.next += 1
            try:
                self.write(key)
            except Exception:  # noqa: BLE001 - the platform was killed; this one was not acknowledged
                return
            self.acknowledged.append(key)


def test_acknowledged_is_there_after_kills_at_random(private_server, name, eventually):
    server, chance = private_server, random.Random(20261123)
    tables = table(server, name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    table(server, name + "-seen")
    function(server, name, zipped(app__py=COPY), Environment={"Variables": {"SEEN": name + "-seen"}})
    stream = tables.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    mapping = server.client("lambda").create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="TRIM_HORIZON", BatchSize=25)
    server.client("s3").create_bucket(Bucket=name)
    items, objects = set(), set()
    for _ in range(KILLS):
        tables, s3 = server.client("dynamodb"), server.client("s3")
        writers = [Writer(lambda key: tables.put_item(TableName=name, Item={"id": {"S": key}}), len(items) * 2),
                   Writer(lambda key: s3.put_object(Bucket=name, Key=key, Body=key.encode() * 50), len(objects) * 2)]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.2, 1.0))
        server.kill()
        for writer in writers:
            writer.ends = True
            writer.join(30)
        items.update(writers[0].acknowledged)
        objects.update(writers[1].acknowledged)
        server.start()
    tables, s3 = server.client("dynamodb"), server.client("s3")
    rows = {item["id"]["S"] for page in tables.get_paginator("scan").paginate(TableName=name) for item in page["Items"]}
    keys = {entry["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name) for entry in page.get("Contents", [])}
    assert len(items) > 50 and len(objects) > 50, "the load was too thin to prove anything"
    assert items <= rows and objects <= keys
    for key in chance.sample(sorted(objects), 20):
        assert s3.get_object(Bucket=name, Key=key)["Body"].read() == key.encode() * 50
    assert server.client("lambda").get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled"
    seen = lambda: {item["id"]["S"] for page in tables.get_paginator("scan").paginate(TableName=name + "-seen") for item in page["Items"]}
    eventually(lambda: seen() == rows, seconds=60)
