"""Writes sdk_requests.json: requests as boto3's clients and botocore's signers send them, captured before the network.

Run by hand when a case is added: python3 sdk_requests.py > sdk_requests.json
"""

import base64
import datetime
import io
import json
import sys
from urllib.parse import urlsplit

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import Credentials

KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "FwoG/token+with=signs=="
NOW = datetime.datetime(2026, 3, 1, 12, 30, 15, tzinfo=datetime.timezone.utc)
botocore.auth.get_current_datetime = lambda *_, **__: NOW.replace(tzinfo=None)
botocore.auth.formatdate = lambda usegmt: "Sun, 01 Mar 2026 12:30:15 GMT"
botocore.auth.time.time = lambda: NOW.timestamp()

cases = []


def note(name, method, url, headers, body=b"", bucket=None):
    parts = urlsplit(url)
    headers = [[key, value.decode() if isinstance(value, bytes) else str(value)] for key, value in headers.items()
               if not key.lower().startswith(("user-agent", "amz-sdk-"))]
    if not any(key.lower() == "host" for key, _ in headers):
        headers.append(["host", parts.netloc])
    cases.append({
        "name": name, "method": method, "path": parts.path, "query": parts.query, "headers": headers,
        "body": base64.b64encode(body).decode(), "bucket": bucket,
    })


class Raw(io.BytesIO):
    def stream(self, *_, **__):
        yield self.read()


def client(service, region="eu-west-1", token=None, **config):
    made = boto3.client(service, region_name=region, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
                        aws_session_token=token, config=Config(retries={"max_attempts": 0}, **config))
    return made


def send(name, made, operation, bucket=None, **parameters):
    def capture(request, **_):
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        body = body.encode() if isinstance(body, str) else bytes(body)
        note(name, request.method, request.url, request.headers, body, bucket)
        return AWSResponse(request.url, 400, {}, Raw(b""))

    made.meta.events.register("before-send", capture)
    try:
        getattr(made, operation)(**parameters)
    except Exception as error:  # The answer is empty, so the client complains; the request is what is wanted.
        print(name, type(error).__name__, file=sys.stderr)


send("sqs over json", client("sqs"), "send_message", QueueUrl="https://sqs.eu-west-1.amazonaws.com/000000000000/q", MessageBody="héllo")
send("dynamodb with a session token", client("dynamodb", token=TOKEN), "get_item", TableName="t", Key={"id": {"S": "1"}})
send("sns over the query protocol", client("sns"), "publish", TopicArn="arn:aws:sns:eu-west-1:000000000000:t", Message="a b&c=d")
arn = "arn:aws:lambda:eu-west-1:000000000000:function:f"
send("lambda with an ARN in the path", client("lambda"), "invoke", FunctionName=arn, Payload=b"{}")
send("lambda with a query", client("lambda"), "list_functions", Marker="a/b+c d~e", MaxItems=5)
send("scheduler with a colon and space", client("scheduler"), "get_schedule", Name="na me:x")
send("cloudwatch over cbor", client("cloudwatch"), "describe_alarms", AlarmNames=["a"])
for key in ["plain.txt", "a b+c&d=e?f.txt", "ünï/čode.txt", "../dots//slashes/./x", "tilde~star*paren()'!.txt", "100%25.txt"]:
    send(f"s3 get {key}", client("s3"), "get_object", Bucket="bucket", Key=key)
send("s3 list", client("s3"), "list_objects_v2", Bucket="bucket", Prefix="a b/ü+", Delimiter="/", ContinuationToken="1/+==")
send("s3 put with metadata", client("s3", token=TOKEN), "put_object", Bucket="bucket", Key="k", Body=b"data",
     Metadata={"one": "  two   three "}, ContentType="text/plain")
send("s3 put hashed", client("s3", s3={"payload_signing_enabled": True}, request_checksum_calculation="when_required"),
     "put_object", Bucket="bucket", Key="k", Body=b"data")
send("s3 put streamed with a trailer", client("s3"), "put_object", Bucket="bucket", Key="k", Body=io.BytesIO(b"x" * 9000))

path_style = {"s3": {"addressing_style": "path"}}
for name, version, bucket in [("s3 presigned", "s3v4", None), ("s3 presigned version 2", "s3", None)]:
    made = client("s3", region="us-east-1", token=TOKEN, signature_version=version, **path_style)
    url = made.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a b+ü.txt", "ResponseContentType": "text/x y"}, ExpiresIn=60)
    note(name, "GET", url, {}, b"", bucket)
url = client("sts").generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
note("sts presigned", "GET", url, {})
send("s3 version 2 header", client("s3", region="us-east-1", signature_version="s3", **path_style), "put_object",
     Bucket="bucket", Key="a b.txt", Body=b"data", Metadata={"one": "two"}, ContentType="text/plain", ACL="private")
send("s3 version 2 tagging", client("s3", region="us-east-1", signature_version="s3", **path_style), "get_object_tagging",
     Bucket="bucket", Key="k", VersionId="v+1/2")

plain = AWSRequest("GET", "https://example.eu-west-1.amazonaws.com//a/./b/../c%20d/?x=1&X=2&empty", headers={"My-Header": "a   b"})
botocore.auth.SigV4Auth(Credentials(KEY, SECRET), "service", "eu-west-1").add_auth(plain)
note("a path to be normalised", "GET", plain.url, plain.headers)

forms = [client("s3", region="us-east-1", token=TOKEN, signature_version=version).generate_presigned_post("bucket", "k")["fields"]
         for version in ("s3v4", "s3")]
json.dump({"secret": SECRET, "now_s": int(NOW.timestamp()), "forms": forms, "requests": cases}, sys.stdout, indent=1, ensure_ascii=False)
