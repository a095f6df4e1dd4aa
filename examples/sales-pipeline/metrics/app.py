"""Adds new sales from the table's stream to the figures of their region."""

import os
from collections import defaultdict
from decimal import Decimal

import boto3

metrics = boto3.resource("dynamodb").Table(os.environ["METRICS_TABLE"])


def handler(event, context):
    figures = defaultdict(lambda: [0, Decimal(0)])
    for record in event["Records"]:
        sale = record["dynamodb"]["NewImage"]
        figure = figures[sale["region"]["S"]]
        figure[0] += 1
        figure[1] += Decimal(sale["amount"]["N"])
    for region, (count, amount) in figures.items():
        metrics.update_item(
            Key={"region": region},
            UpdateExpression="ADD sales :count, revenue :amount",
            ExpressionAttributeValues={":count": count, ":amount": amount},
        )
        print(f"{region}: {count} more, {amount}")
