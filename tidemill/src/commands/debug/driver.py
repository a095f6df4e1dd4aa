"""Runs one invocation of a Python function for `tidemill invoke --debug`: imports the handler, calls it, writes what came of it.

Takes the event's file and the file for the outcome. The clock of the function stands: a person steps through it.
"""

import importlib
import json
import os
import sys
import traceback


class Context:
    def __init__(self, request_id, arn, timeout_ms):
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = None
        self.identity = None
        self._timeout_ms = timeout_ms

    def get_remaining_time_in_millis(self):
        return self._timeout_ms


def handler_of(name):
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module.replace("/", ".")), function)


def main(event_file, outcome_file):
    task = os.environ["LAMBDA_TASK_ROOT"]
    os.chdir(task)
    sys.path[0] = task
    asked = json.loads(open(event_file).read())
    context = Context(asked["request_id"], asked["arn"], asked["timeout_ms"])
    try:
        result = handler_of(os.environ["_HANDLER"])(asked["event"], context)
        outcome = {"payload": json.dumps(result)}
    except BaseException as error:
        traceback.print_exc()
        outcome = {"error": {"errorMessage": str(error), "errorType": type(error).__name__, "requestId": asked["request_id"],
                             "stackTrace": traceback.format_tb(error.__traceback__)}}
    with open(outcome_file, "w") as file:
        json.dump(outcome, file)


main(*sys.argv[1:3])
