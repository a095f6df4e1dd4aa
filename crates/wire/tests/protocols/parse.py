"""Reads answers with botocore's own parsers: parse.py SOURCES ANSWERS. Prints what each case thinks of its answer."""

import base64
import copy
import json
import pathlib
import sys

sources, answers = pathlib.Path(sys.argv[1]), json.load(open(sys.argv[2]))
sys.path.insert(0, str(sources))

from botocore.awsrequest import HeadersDict  # noqa: E402
from botocore.model import NoShapeFoundError, OperationModel, ServiceModel  # noqa: E402
from botocore.parsers import PROTOCOL_PARSERS  # noqa: E402
from botocore.utils import parse_timestamp  # noqa: E402


def plain(value):
    """Bytes as text and floats that JSON lacks as words, as the cases write them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def parse(suite, case, answer):
    """What a client makes of the answer, and what the case says it should."""
    name = case["given"].get("name", "OperationName")
    model = ServiceModel({**copy.deepcopy(suite), "operations": {name: case}})
    operation = OperationModel(case["given"], model)
    protocol = model.metadata["protocol"]
    parser = PROTOCOL_PARSERS[protocol](timestamp_parser=lambda value: parse_timestamp(value).timestamp())
    response = {
        "status_code": answer["status"],
        "headers": HeadersDict(answer["headers"]),
        "body": base64.b64decode(answer["body"]),
        "context": {"operation_name": name},
    }
    shape = operation.output_shape
    if protocol == "query" and shape and shape.members:
        shape.serialization["resultWrapper"] = f"{name}Result"
    parsed = parser.parse(response, shape)
    if "error" in case:
        try:
            parsed.update(parser.parse(response, model.shape_for_error_code(parsed["Error"]["Code"])))
        except NoShapeFoundError:
            pass
        parsed["Error"] = {key: parsed["Error"][key] for key in ("Code", "Message") if key in parsed["Error"]}
        wanted = {"Error": {"Code": case.get("errorCode", ""), "Message": case.get("errorMessage", "")}}
        wanted.update(case["error"])
    else:
        wanted = case["result"]
    metadata = parsed.pop("ResponseMetadata", {})
    if protocol == "smithy-rpc-v2-cbor" and shape is None:
        # botocore looks for no request id where an operation has no output.
        metadata["RequestId"] = answer["headers"]["x-amzn-requestid"]
    if metadata.get("RequestId") != "id-of-request":
        raise ValueError(f"the request id is {metadata.get('RequestId')}")
    return plain(parsed), wanted


def check_head(case, answer):
    """The status, and each header the case wants."""
    wanted = case["response"]
    if answer["status"] != wanted["status_code"]:
        raise ValueError(f"status {answer['status']}, not {wanted['status_code']}")
    for name, value in wanted.get("headers", {}).items():
        if answer["headers"].get(name.lower()) != value:
            raise ValueError(f"header {name} is {answer['headers'].get(name.lower())}, not {value}")


verdicts = []
files = {}
for answer in answers:
    file = answer["file"]
    if file not in files:
        suites = json.load(open(sources / "tests/unit/protocols/output" / f"{file}.json"))
        files[file] = [(suite, case) for suite in suites for case in suite["cases"]]
    suite, case = files[file][answer["number"]]
    verdict = {"file": file, "id": case["id"]}
    try:
        parsed, wanted = parse(suite, case, answer)
        if parsed != wanted:
            raise ValueError(f"read {json.dumps(parsed)}, expected {json.dumps(wanted)}, from {base64.b64decode(answer['body'])}")
        check_head(case, answer)
    except Exception as problem:  # noqa: BLE001 - whatever goes wrong is the case's verdict
        verdict["problem"] = f"{type(problem).__name__}: {problem}"
    verdicts.append(verdict)
json.dump(verdicts, sys.stdout)
