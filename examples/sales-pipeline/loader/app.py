"""Reads a sales file that has landed in the bucket and writes its sale as a row."""

import json
import os
import urllib.parse
from decimal import Decimal

import boto3

s3 = boto3.client("s3")
sales = boto3.resource("dynamodb").Table(os.environ["SALES_TABLE"])


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        sale = json.loads(body, parse_float=Decimal)
        # The same notification may come twice; the same version of a file stays one row.
        sale_id = f'{key}#{record["s3"]["object"]["sequencer"]}'
        sales.put_item(Item={"id": sale_id, "region": sale["region"], "amount": sale["amount"], "file": key})
        print(f"{key}: {sale['amount']} in {sale['region']}")
