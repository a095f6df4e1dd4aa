"""Sends the notifications of a queue. A notification that fails comes back alone; after three times it is in the queue Lost."""

import json
import os

import boto3

sent = boto3.resource("dynamodb").Table(os.environ["SENT"])


def send(notice):
    """Where a provider's API would be called; what was sent is counted per channel."""
    if "@" not in notice["to"] and notice["channel"] == "email":
        raise ValueError(f"{notice['to']} is no address")
    sent.update_item(
        Key={"channel": notice["channel"]},
        UpdateExpression="SET last_to = :to, last_text = :text ADD notices :one",
        ExpressionAttributeValues={":to": notice["to"], ":text": notice["text"], ":one": 1},
    )


def handler(event, context):
    failed = []
    for record in event["Records"]:
        try:
            notice = json.loads(record["body"])
            send(notice)
            print(f"{notice['channel']} to {notice['to']}: order {notice['orderId']}")
        except (KeyError, ValueError) as error:
            print(f"{record['messageId']} is not sent: {error}")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
