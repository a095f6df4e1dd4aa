"""Runs inside a function: Powertools for AWS Lambda (Python) and the X-Ray SDK, a path each; `event["path"]` says which."""

import os

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_xray_sdk.core import patch, xray_recorder

patch(["botocore"])
logger = Logger(service="shop")
metrics = Metrics(namespace="shop", service="shop")
tracer = Tracer(service="shop", auto_patch=False)
app = LambdaFunctionUrlResolver()
paid = 0


@logger.inject_lambda_context(log_event=True)
def log(event, context):
    logger.append_keys(customer="c1")
    logger.info("an order came", order=7)
    try:
        raise TypeError("no price")
    except TypeError:
        logger.exception("it went wrong")
    return "logged"


@metrics.log_metrics(capture_cold_start_metric=True)
def measure(event, context):
    metrics.add_dimension(name="shop", value="north")
    metrics.add_metric(name="orders", unit=MetricUnit.Count, value=2)
    return "measured"


@idempotent_function(data_keyword_argument="order", config=IdempotencyConfig(event_key_jmespath="id"),
                     persistence_store=DynamoDBPersistenceLayer(table_name=os.environ["TABLE"]))
def once(order):
    global paid
    paid += 1
    return {"order": order["id"], "payment": paid}


def pay(event, context):
    return [once(order=event["order"]), once(order=event["order"])]


@tracer.capture_method
def work():
    tracer.put_annotation("order", 7)
    tracer.put_metadata("basket", {"items": 3})
    boto3.client("s3").list_buckets()
    return xray_recorder.current_subsegment().name


@tracer.capture_lambda_handler
def trace(event, context):
    segment = xray_recorder.current_segment()
    with xray_recorder.in_subsegment("by hand") as below:
        below.put_annotation("n", 1)
        return {"sampled": segment.sampled, "parent": bool(segment.id), "same": segment.trace_id in os.environ["_X_AMZN_TRACE_ID"],
                "worked": work(), "daemon": "AWS_XRAY_DAEMON_ADDRESS" in os.environ}


@app.get("/orders/<order_id>")
def order(order_id):
    if order_id == "none":
        raise NotFoundError("no such order")
    return {"id": order_id, "limit": app.current_event.get_query_string_value("limit")}


@app.post("/orders")
def create():
    return Response(status_code=201, content_type="text/plain", body=app.current_event.json_body["id"], cookies=[])


def judge(record):
    body = getattr(record, "body", None) or record.dynamodb.new_image["word"]
    logger.info("record", word=body)
    if body == "bad":
        raise ValueError("a bad record")


def handler(event, context):
    if "requestContext" in event:
        return app.resolve(event, context)
    if "Records" in event:
        first = event["Records"][0]
        if first["eventSource"] == "aws:sqs":
            fifo = first["eventSourceARN"].endswith(".fifo")
            processor = SqsFifoPartialProcessor() if fifo else BatchProcessor(EventType.SQS)
        else:
            processor = BatchProcessor(EventType.DynamoDBStreams)
        processor.raise_on_entire_batch_failure = False
        return process_partial_response(event=event, record_handler=judge, processor=processor, context=context)
    return {"log": log, "measure": measure, "pay": pay, "trace": trace}[event["path"]](event, context)
